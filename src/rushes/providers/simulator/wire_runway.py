"""Runway's tasks API: `/v1/text_to_video`, `/v1/image_to_video` and `/v1/tasks/{id}`.

As strict as wire_grsai.py. A task that has ended tells what it cost: as much as is asked for its seconds,
or nothing where it failed, unless it was for its own prompt.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec

from rushes.providers.simulator.fate import Family, Outcome
from rushes.providers.simulator.message import SimRequest, SimResponse
from rushes.providers.simulator.wire import (
    TASK_ID_CHARACTERS_MAX,
    UNREADABLE,
    Call,
    MalformedCall,
    PollCall,
    Refusal,
    SubmitCall,
    Wire,
)
from rushes.providers.simulator.wire_grsai import Reference
from rushes.providers.simulator.work import SimTask, TaskView

API_VERSION: Final = "2024-11-06"
TEXT_PATH: Final = "/v1/text_to_video"
IMAGE_PATH: Final = "/v1/image_to_video"
TASKS_PATH: Final = "/v1/tasks/"

CREDITS_PER_SECOND: Final = {"gen4.5": 12, "veo3.1_fast": 15}
"""The simulator's own prices: the service changes its."""

_UNITS_MAX: Final = 1000
_FIRST_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""`createdAt` of a task that was submitted at the zero of the caller's clock."""

Ratio = Literal["1280:720", "720:1280"]
LargeRatio = Literal["1280:720", "720:1280", "1920:1080", "1080:1920"]


class Gen45(
    msgspec.Struct, tag_field="model", tag="gen4.5", rename="camel", kw_only=True, forbid_unknown_fields=True
):
    """What a client may send for gen4.5."""

    prompt_text: str
    ratio: Ratio
    duration: Annotated[int, msgspec.Meta(ge=2, le=10)]
    prompt_image: Reference | None = None
    seed: int | None = None


class Veo31Fast(
    msgspec.Struct,
    tag_field="model",
    tag="veo3.1_fast",
    rename="camel",
    kw_only=True,
    forbid_unknown_fields=True,
):
    """What a client may send for veo3.1_fast."""

    prompt_text: str
    ratio: LargeRatio
    duration: Literal[4, 6, 8] = 8
    prompt_image: Reference | None = None
    audio: bool = True
    negative_prompt: str | None = None
    seed: int | None = None


_read_body = msgspec.json.Decoder(Gen45 | Veo31Fast).decode
_write = msgspec.json.Encoder().encode

_FAMILIES: Final = {"gen4.5": Family.SORA, "veo3.1_fast": Family.VEO_FAST}
_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (401, "The API key is not valid."),
    Refusal.KEY_DISABLED: (401, "The API key has been disabled."),
    Refusal.BALANCE_EXHAUSTED: (400, "You do not have enough credits to run this task."),
}


class RunwayWire(Wire):
    """`{id}` for a submit, a task object for a poll, `{error}` for what is refused."""

    name = "runway"
    outcomes = frozenset(Outcome) - {Outcome.VIOLATION, Outcome.BUSINESS_CODE}

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """Runway's host and key."""
        return {"RUNWAYML_HOST": base_url, "RUNWAYML_API_SECRET": api_key}

    def match(self, method: str, path: str) -> bool:
        """POST to the two kinds of video, GET for a task."""
        if method == "POST":
            return path in (TEXT_PATH, IMAGE_PATH)
        return method == "GET" and path.startswith(TASKS_PATH)

    def read(self, request: SimRequest) -> Call:
        """A submit, or a question for a task; both must name the API's version."""
        submit = request.method == "POST"
        if request.headers.get("x-runway-version") != API_VERSION:
            return MalformedCall(f"the header X-Runway-Version is not {API_VERSION}", submit=submit)
        if not submit:
            task_id = request.path.removeprefix(TASKS_PATH)
            if not 0 < len(task_id) <= TASK_ID_CHARACTERS_MAX or "/" in task_id:
                return MalformedCall("expected /v1/tasks/{id}", submit=False)
            return PollCall(task_id)
        try:
            body = _read_body(request.body)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=True)
        if not 0 < len(body.prompt_text.encode("utf-16-le")) // 2 <= _UNITS_MAX:
            return MalformedCall(f"promptText must have 1 to {_UNITS_MAX} UTF-16 code units", submit=True)
        if (body.prompt_image is not None) is not (request.path == IMAGE_PATH):
            return MalformedCall("promptImage belongs to image_to_video, and nowhere else", submit=True)
        model = "gen4.5" if isinstance(body, Gen45) else "veo3.1_fast"
        width, _, height = body.ratio.partition(":")
        return SubmitCall(
            model=model,
            family=_FAMILIES[model],
            prompt=body.prompt_text,
            portrait=int(width) < int(height),
            duration_seconds=body.duration,
        )

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """`{id}`."""
        return SimResponse(200, _write({"id": task.id}))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """400 or 401 with an `error`; the account's empty purse is a 400 like the input's mistakes."""
        status, text = _REFUSALS.get(refusal, (400, f"Validation of body failed: {reason}"))
        return SimResponse(status, _write({"error": text, "docUrl": "https://docs.dev.runwayml.com/api"}))

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """A task object; its fields depend on its status."""
        task = view.task
        if view.outcome is Outcome.FORGOTTEN:
            return self.no_such_task(task.id, detail)
        created = _FIRST_DAY + timedelta(seconds=task.submitted_at)
        answer: dict[str, Any] = {"id": task.id, "createdAt": created.isoformat()}
        match view.outcome:
            case None | Outcome.STUCK:
                answer |= _unfinished(view)
                answer["estimatedCost"] = {"credits": _price(task)}
            case Outcome.SUCCEEDED | Outcome.SUCCEEDED_WITHOUT_URL:
                answer["status"] = "SUCCEEDED"
                answer["output"] = [] if view.video_url is None else [view.video_url]
            case outcome:
                answer |= _failure(view, outcome)
        if view.outcome not in (None, Outcome.STUCK):
            answer["cost"] = {"credits": cost_credits(task, view.outcome)}
        if view.status is not None:
            answer["status"] = view.status
        return SimResponse(200, _write(answer))

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """404, in the API's own words."""
        return SimResponse(404, _write({"error": f"Task with id {task_id} not found"}))


def cost_credits(task: SimTask, outcome: Outcome | None) -> int:
    """What a task that ended so is charged, in the simulator's Runway credits."""
    charged = (Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITHOUT_URL, Outcome.INPUT_MODERATION)
    return _price(task) if outcome in charged else 0


def _price(task: SimTask) -> int:
    return CREDITS_PER_SECOND[task.model] * task.duration_seconds


def _unfinished(view: TaskView) -> dict[str, Any]:
    """Its first twentieth a task waits; without progress it is said to wait, too."""
    if view.progress is None or view.progress < 5:
        return {"status": "THROTTLED" if view.task.fate.wording & 1 else "PENDING"}
    return {"status": "RUNNING", "progress": view.progress / 100}


def _failure(view: TaskView, outcome: Outcome) -> dict[str, Any]:
    answer: dict[str, Any] = {"status": "FAILED", "failure": view.task.fate.text}
    match outcome:
        case Outcome.INPUT_MODERATION:
            third_party = view.task.fate.wording & 1
            answer["failureCode"] = "INPUT_PREPROCESSING.SAFETY.TEXT" if third_party else "SAFETY.INPUT.TEXT"
        case Outcome.OUTPUT_MODERATION:
            answer["failureCode"] = "SAFETY.OUTPUT.VIDEO"
        case Outcome.ERROR:
            answer["failureCode"] = "INTERNAL.BAD_OUTPUT.CODE01"
        case _:
            pass  # fails without reason
    return answer
