"""Runway's tasks API: `/v1/text_to_video`, `/v1/image_to_video` and `/v1/tasks/{id}`.

As strict as grsai.py. A task that has ended tells what it cost: as much as is asked for its seconds,
or nothing where it failed, unless it was for its own prompt.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec

from rushes.simulator.families.grsai import Reference
from rushes.simulator.families.wire import (
    UNREADABLE,
    Call,
    CancelCall,
    Cancelling,
    MalformedCall,
    PollCall,
    Refusal,
    SubmitCall,
    Wire,
    is_task_id,
)
from rushes.simulator.fate import Family, Outcome
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.work import SimTask, TaskView

API_VERSION: Final = "2024-11-06"
TEXT_PATH: Final = "/v1/text_to_video"
IMAGE_PATH: Final = "/v1/image_to_video"
TASKS_PATH: Final = "/v1/tasks/"

CREDITS_PER_SECOND: Final = {"gen4.5": 12, "veo3.1_fast": 15}
OTHER_CREDITS_PER_SECOND: Final = 20
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


class Resold(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """What a client may send for a model that Runway resells; which ratios and seconds, `_RESOLD` says."""

    model: str
    prompt_text: str
    ratio: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+:[0-9]+$")]
    duration: Annotated[int, msgspec.Meta(ge=2, le=15)] = 5
    prompt_image: Reference | None = None
    audio: bool | None = None
    seed: int | None = None


class _Named(msgspec.Struct):
    model: str


_read_own = msgspec.json.Decoder(Gen45 | Veo31Fast).decode
_read_resold = msgspec.json.Decoder(Resold).decode
_read_name = msgspec.json.Decoder(_Named).decode

_RESOLD: Final[Mapping[str, tuple[int, int, int, bool, bool]]] = {
    "veo3.1": (4, 8, 1000, True, True),
    "kling3.0_standard": (3, 15, 2500, True, False),
    "kling3.0_pro": (3, 15, 2500, True, False),
    "kling3.0_4k": (3, 15, 2500, True, False),
    "klingO3_standard": (3, 15, 2500, True, False),
    "klingO3_pro": (3, 15, 2500, True, False),
    "klingO3_4k": (3, 15, 2500, True, False),
    "seedance2": (4, 15, 3500, True, True),
    "seedance2_fast": (4, 15, 3500, True, True),
    "seedance2_mini": (4, 15, 3500, True, True),
    "seedance2_5": (4, 15, 15_000, True, True),
    "gemini_omni_flash": (3, 10, 2500, False, False),
    "gemini_omni_flash_1.1": (3, 10, 2500, False, False),
    "wan3": (2, 15, 2500, True, False),
    "wan3_prime": (2, 15, 2500, True, False),
}
"""Least and most seconds, the longest prompt, and whether it takes `audio` and `seed`."""


def _read_body(data: bytes) -> Gen45 | Veo31Fast | Resold:
    """Raises `msgspec.ValidationError` as a decoder does."""
    model = _read_name(data).model
    if model not in _RESOLD:
        own: Gen45 | Veo31Fast = _read_own(data)
        return own
    body: Resold = _read_resold(data)
    least, most, _, has_audio, has_seed = _RESOLD[model]
    if not least <= body.duration <= most:
        raise msgspec.ValidationError(f"duration must be {least} to {most} - at `$.duration`")
    if body.audio is not None and not has_audio:
        raise msgspec.ValidationError("Object contains unknown field `audio`")
    if body.seed is not None and not has_seed:
        raise msgspec.ValidationError("Object contains unknown field `seed`")
    return body


_write = msgspec.json.Encoder().encode

_OWN: Final = {Gen45: "gen4.5", Veo31Fast: "veo3.1_fast"}
_FAMILIES: Final = {"gen4.5": Family.SORA, "veo3.1_fast": Family.VEO_FAST}
_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (401, "The API key is not valid."),
    Refusal.KEY_DISABLED: (401, "The API key has been disabled."),
    Refusal.BALANCE_EXHAUSTED: (400, "You do not have enough credits to run this task."),
}


class RunwayWire(Wire):
    """`{id}` for a submit, a task object for a poll, `{error}` for what is refused."""

    name = "runway"

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """Runway's host and key."""
        return {"RUNWAYML_HOST": base_url, "RUNWAYML_API_SECRET": api_key}

    def match(self, method: str, path: str) -> bool:
        """POST to the two kinds of video, GET and DELETE for a task."""
        if method == "POST":
            return path in (TEXT_PATH, IMAGE_PATH)
        return method in ("GET", "DELETE") and path.startswith(TASKS_PATH)

    def read(self, request: SimRequest) -> Call:
        """A submit, a question for a task, or its end; each must name the API's version."""
        submit = request.method == "POST"
        if request.headers.get("x-runway-version") != API_VERSION:
            return MalformedCall(f"the header X-Runway-Version is not {API_VERSION}", submit=submit)
        if not submit:
            task_id = request.path.removeprefix(TASKS_PATH)
            if not is_task_id(task_id):
                return MalformedCall("expected /v1/tasks/{id}", submit=False)
            return CancelCall(task_id) if request.method == "DELETE" else PollCall(task_id)
        try:
            body = _read_body(request.body)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=True)
        model = body.model if isinstance(body, Resold) else _OWN[type(body)]
        units_max = _RESOLD[model][2] if model in _RESOLD else _UNITS_MAX
        if not 0 < len(body.prompt_text.encode("utf-16-le")) // 2 <= units_max:
            return MalformedCall(f"promptText must have 1 to {units_max} UTF-16 code units", submit=True)
        if (body.prompt_image is not None) is not (request.path == IMAGE_PATH):
            return MalformedCall("promptImage belongs to image_to_video, and nowhere else", submit=True)
        width, _, height = body.ratio.partition(":")
        return SubmitCall(
            model=model,
            family=_FAMILIES.get(model, Family.MINIMAX),
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
        is_deleted = view.outcome is Outcome.CANCELLED and task.fate.wording & 1
        if view.outcome is Outcome.FORGOTTEN or is_deleted:
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
            case Outcome.CANCELLED:
                answer["status"] = "CANCELLED"
            case outcome:
                answer |= _failure(view, outcome)
        if view.outcome not in (None, Outcome.STUCK):
            answer["cost"] = {"credits": cost_credits(task, view.outcome)}
        if view.status is not None:
            answer["status"] = view.status
        return SimResponse(200, _write(answer))

    @property
    def cancels_running_tasks(self) -> bool:
        """Yes, without a refund."""
        return True

    def cancelled(self, call: CancelCall, came_to: Cancelling) -> SimResponse:
        """204, also for a task that has ended (here its video stays); 404 without one."""
        if came_to is Cancelling.NO_SUCH_TASK:
            return self.no_such_task(call.task_id, call.detail)
        return SimResponse(204, b"")

    def charge_of(self, task: SimTask, outcome: Outcome) -> float | None:
        """Its credits, of failures too."""
        return None if outcome is Outcome.FORGOTTEN else cost_credits(task, outcome)

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """404, in the API's own words."""
        return SimResponse(404, _write({"error": f"Task with id {task_id} not found"}))


def cost_credits(task: SimTask, outcome: Outcome | None) -> int:
    """What a task that ended so is charged, in the simulator's Runway credits."""
    if outcome is Outcome.CANCELLED and task.started_at is not None:
        return _price(task)
    charged = (Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITHOUT_URL, Outcome.INPUT_MODERATION)
    return _price(task) if outcome in charged else 0


def _price(task: SimTask) -> int:
    return CREDITS_PER_SECOND.get(task.model, OTHER_CREDITS_PER_SECOND) * task.duration_seconds


def _unfinished(view: TaskView) -> dict[str, Any]:
    """Without progress it is said to wait, too."""
    if view.progress is None or view.waits:
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
