"""xAI's videos, under `/xai`: `/v1/videos/generations` and `/v1/videos/{request_id}`.

Stricter than the real service, see grsai.py. An answer to a poll does not name its request, as there. A video
that is blocked is charged, and so is one without a URL.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from rushes.simulator.families.wire import (
    UNREADABLE,
    Call,
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

PREFIX: Final = "/xai"
SUBMIT_PATH: Final = f"{PREFIX}/v1/videos/generations"
VIDEOS_PATH: Final = f"{PREFIX}/v1/videos/"
TICKS_PER_USD: Final = 10_000_000_000

USD_PER_1000_SECONDS: Final = {
    "grok-imagine-video": {"480p": 50, "720p": 70},
    "grok-imagine-video-1.5": {"480p": 80, "720p": 140, "1080p": 250},
    "grok-imagine-video-1.5-lite": {"480p": 20, "720p": 30, "1080p": 140},
}
"""The simulator's own prices: the service changes its."""


class Address(msgspec.Struct, forbid_unknown_fields=True):
    """A picture by its URL or as a data URI."""

    url: Annotated[str, msgspec.Meta(min_length=1)]


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client may send."""

    model: str
    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    duration: Annotated[int, msgspec.Meta(ge=1, le=15)] = 8
    aspect_ratio: Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3"] = "16:9"
    resolution: Literal["480p", "720p", "1080p"] = "480p"
    image: Address | None = None
    reference_images: Annotated[list[Address], msgspec.Meta(min_length=1, max_length=7)] | None = None


_read_body = msgspec.json.Decoder(Body).decode
_write = msgspec.json.Encoder().encode

_INVALID: Final = "Client specified an invalid argument"
_FORBIDDEN: Final = "The caller does not have permission to execute the specified operation"
_NOT_FOUND: Final = "Some requested entity was not found"
_NO_MODEL: Final = "does not exist or your team does not have access to it."
_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (400, _INVALID, "Incorrect API key provided: si***or."),
    Refusal.KEY_DISABLED: (403, _FORBIDDEN, "The API key is disabled."),
    Refusal.BALANCE_EXHAUSTED: (
        429,
        "Some resource has been exhausted",
        "Your team has either used all available credits or reached its monthly spending limit.",
    ),
    Refusal.PROMPT: (400, _INVALID, "The prompt was rejected by content moderation."),
}


class XaiWire(Wire):
    """`{request_id}` for a submit, `{status, video, usage}` for a poll, `{code, error}` for a refusal."""

    name = "xai"
    answers_name_the_task = False

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """xAI's host and key; its paths would be OpenAI's without the prefix."""
        return {"XAI_HOST": base_url + PREFIX, "XAI_API_KEY": api_key}

    def match(self, method: str, path: str) -> bool:
        """POST to submit, GET for a request."""
        return path == SUBMIT_PATH if method == "POST" else method == "GET" and path.startswith(VIDEOS_PATH)

    def read(self, request: SimRequest) -> Call:
        """A submit, or a question for a request."""
        if request.method == "GET":
            task_id = request.path.removeprefix(VIDEOS_PATH)
            if not is_task_id(task_id):
                return MalformedCall("expected /v1/videos/{request_id}", submit=False)
            return PollCall(task_id)
        try:
            body = _read_body(request.body)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=True)
        if body.model not in USD_PER_1000_SECONDS:
            return MalformedCall(f"The model {body.model} {_NO_MODEL}", submit=True)
        if body.resolution not in USD_PER_1000_SECONDS[body.model]:
            return MalformedCall(f"{body.model} has no resolution {body.resolution}", submit=True)
        if body.image is not None and body.reference_images is not None:
            return MalformedCall("image and reference_images exclude each other", submit=True)
        return SubmitCall(
            model=body.model,
            family=Family.VEO_FAST,
            prompt=body.prompt,
            portrait=body.aspect_ratio in ("9:16", "3:4", "2:3"),
            duration_seconds=body.duration,
            resolution=body.resolution,
        )

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """`{request_id}`."""
        return SimResponse(200, _write({"request_id": task.id}))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """A sentence as code, and one as error."""
        status, code, text = _REFUSALS.get(refusal, (400, _INVALID, reason))
        if text.endswith(_NO_MODEL):
            status, code = 404, _NOT_FOUND
        return SimResponse(status, _write({"code": code, "error": text}))

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """How it stands; at first, now and then, 202 without a body."""
        task = view.task
        if view.outcome is Outcome.FORGOTTEN:
            return self.no_such_task(task.id, detail)
        answer: dict[str, Any] = {"model": task.model}
        match view.outcome:
            case None | Outcome.STUCK:
                if view.progress is None and view.status is None:
                    return SimResponse(202, b"")
                answer |= {"status": "pending", "progress": view.progress}
            case Outcome.SUCCEEDED | Outcome.SUCCEEDED_WITHOUT_URL:
                answer |= _done(view, respects_moderation=True)
            case Outcome.OUTPUT_MODERATION:
                answer |= _done(view, respects_moderation=False)
            case Outcome.INPUT_MODERATION:
                text = "The prompt was rejected by content moderation."
                answer |= {"status": "failed", "error": {"code": "invalid_argument", "message": text}}
            case Outcome.ERROR if task.fate.wording & 3 == 0:
                answer["status"] = "expired"
            case Outcome.ERROR:
                error = {"code": "internal_error", "message": task.fate.text}
                answer |= {"status": "failed", "error": error}
            case _:
                answer["status"] = "failed"
        if view.status is not None:
            answer["status"] = view.status
        return SimResponse(200, _write(answer))

    def charge_of(self, task: SimTask, outcome: Outcome) -> float | None:
        """US dollars for each video that was made, blocked ones too."""
        charged = (Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITHOUT_URL, Outcome.OUTPUT_MODERATION)
        return ticks_of(task) / TICKS_PER_USD if outcome in charged else None

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """404, in xAI's own form."""
        return SimResponse(404, _write({"code": _NOT_FOUND, "error": f"Request {task_id} not found"}))


def ticks_of(task: SimTask) -> int:
    """What a finished video of this task is charged, blocked or not."""
    per_second = USD_PER_1000_SECONDS[task.model][task.resolution] * TICKS_PER_USD // 1000
    return per_second * task.duration_seconds


def _done(view: TaskView, *, respects_moderation: bool) -> dict[str, Any]:
    video: dict[str, Any] = {
        "duration": view.task.duration_seconds,
        "respect_moderation": respects_moderation,
        "url": view.video_url or "",
    }
    usage = {"cost_in_usd_ticks": ticks_of(view.task)}
    return {"status": "done", "video": video, "usage": usage, "progress": 100}
