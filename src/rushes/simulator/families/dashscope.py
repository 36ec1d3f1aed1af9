"""Model Studio's video synthesis and its tasks; Singapore's stand under `/intl`.

Stricter than the real service, see grsai.py. A task that is not there is a 200 with the status UNKNOWN. Only
the last seconds count: a success reports those that it was asked for.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

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

SYNTHESIS: Final = "/services/aigc/video-generation/video-synthesis"
TASKS: Final = "/tasks/"
CANCEL: Final = "/cancel"

_NO_MODEL: Final = "Model not exist."
_NOT_ASYNCHRONOUS: Final = "current user api does not support synchronous calls."
_FRAMES: Final = frozenset({"first_frame", "last_frame"})
_REFERENCES: Final = frozenset({"reference_image", "reference_video", "reference_audio"})

_WAN_3: Final = ("480P", 2, 30, _FRAMES | _REFERENCES)
_HORSE_480: Final = ("480P", 3, 15)
_MODELS: Final[Mapping[str, tuple[str, int, int, frozenset[str]]]] = {
    "wan3.0-video": _WAN_3,
    "wan3.0-video-prime": _WAN_3,
    "wan2.7-t2v": ("720P", 2, 15, frozenset()),
    "wan2.7-i2v": ("720P", 2, 15, _FRAMES | {"driving_audio", "first_clip"}),
    "happyhorse-1.1-t2v": (*_HORSE_480, frozenset()),
    "happyhorse-1.1-i2v": (*_HORSE_480, frozenset({"first_frame"})),
    "happyhorse-1.1-r2v": (*_HORSE_480, frozenset({"reference_image"})),
    "happyhorse-1.0-t2v": ("720P", 3, 15, frozenset()),
    "happyhorse-1.0-i2v": ("720P", 3, 15, frozenset({"first_frame"})),
    "happyhorse-1.0-r2v": ("720P", 3, 15, frozenset({"reference_image"})),
}
"""The smallest resolution, the shortest and the longest duration, and the media of each model."""
_NEEDS_MEDIA: Final = ("-i2v", "-r2v")


class Media(msgspec.Struct, forbid_unknown_fields=True):
    """One file that goes in."""

    type: str
    url: Annotated[str, msgspec.Meta(min_length=1)]


class Input(msgspec.Struct, forbid_unknown_fields=True):
    """What the video is made of."""

    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]
    negative_prompt: str | None = None
    media: Annotated[list[Media], msgspec.Meta(min_length=1, max_length=20)] | None = None


class Parameters(msgspec.Struct, forbid_unknown_fields=True):
    """What it should be like."""

    resolution: Literal["480P", "720P", "1080P"] = "1080P"
    ratio: Literal["16:9", "9:16", "1:1", "4:3", "3:4"] | None = None
    duration: Annotated[int, msgspec.Meta(ge=2, le=30)] = 5
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None
    prompt_extend: bool = True
    watermark: bool = False


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may send."""

    model: str
    input: Input
    parameters: Parameters = msgspec.field(default_factory=Parameters)


_read_body = msgspec.json.Decoder(Body).decode
_write = msgspec.json.Encoder().encode

_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (401, "InvalidApiKey", "Invalid API-key provided."),
    Refusal.KEY_DISABLED: (403, "AccessDenied", "Access denied."),
    Refusal.BALANCE_EXHAUSTED: (
        400,
        "Arrearage",
        "Access denied, please make sure your account is in good standing.",
    ),
    Refusal.PROMPT: (400, "DataInspectionFailed", "Input data may contain inappropriate content."),
}


class DashScopeWire(Wire):
    """One region: `{output, request_id}`, and `{code, message, request_id}` for what is refused."""

    def __init__(self, name: str, *, base: str, variables: tuple[str, str]) -> None:
        self._name, self._base, self._variables = name, base, variables

    @property
    def name(self) -> str:
        """The instance of rushes that it is for."""
        return self._name

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """The region's base URL and key."""
        host, key = self._variables
        return {host: base_url + self._base, key: api_key}

    def match(self, method: str, path: str) -> bool:
        """POST to the synthesis, GET for a task, POST for its cancel."""
        if method == "POST" and not path.endswith(CANCEL):
            return path == self._base + SYNTHESIS
        return path.startswith(self._base + TASKS) and method in ("GET", "POST")

    def read(self, request: SimRequest) -> Call:
        """A submit, a question for a task, or its cancel."""
        if request.path.startswith(self._base + TASKS):
            is_cancel = request.method == "POST"
            task_id = request.path.removeprefix(self._base + TASKS).removesuffix(CANCEL if is_cancel else "")
            if not is_task_id(task_id):
                return MalformedCall("expected /tasks/{task_id}", submit=False)
            return CancelCall(task_id) if is_cancel else PollCall(task_id)
        if request.headers.get("x-dashscope-async") != "enable":
            return MalformedCall(_NOT_ASYNCHRONOUS, submit=True)
        try:
            body = _read_body(request.body)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=True)
        problem = _problem(body)
        if problem is not None:
            return MalformedCall(problem, submit=True)
        return SubmitCall(
            model=_family_of(body.model),
            family=Family.VEO_FAST,
            prompt=body.input.prompt,
            portrait=body.parameters.ratio in ("9:16", "3:4"),
            duration_seconds=body.parameters.duration,
            resolution=body.parameters.resolution,
        )

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """`{output: {task_id, task_status}, request_id}`."""
        output = {"task_id": task.id, "task_status": "PENDING"}
        return SimResponse(200, _write({"output": output, "request_id": f"r-{task.id}"}))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """A code of its own; what is missing in the request is a 400, or a 403 without the header."""
        status, code, text = _REFUSALS.get(refusal, (400, "InvalidParameter", reason))
        if refusal is Refusal.MALFORMED and reason == _NO_MODEL:
            status, code = 404, "ModelNotFound"
        if refusal is Refusal.MALFORMED and reason == _NOT_ASYNCHRONOUS:
            status, code = 403, "AccessDenied"
        return SimResponse(status, _write({"code": code, "message": text, "request_id": "r-0"}))

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """A task with its output, and its usage once it has succeeded."""
        task = view.task
        if view.outcome is Outcome.FORGOTTEN:
            return self.no_such_task(task.id, detail)
        output: dict[str, Any] = {"task_id": task.id, "submit_time": "2026-11-29 10:00:00.000"}
        answer: dict[str, Any] = {"request_id": f"r-{task.id}", "output": output}
        match view.outcome:
            case None | Outcome.STUCK:
                output["task_status"] = _unfinished(view)
            case Outcome.SUCCEEDED | Outcome.SUCCEEDED_WITHOUT_URL:
                output |= {"task_status": "SUCCEEDED", "orig_prompt": task.prompt}
                if view.video_url is not None:
                    output["video_url"] = view.video_url
                answer["usage"] = {
                    "duration": task.duration_seconds,
                    "video_count": 1,
                    "SR": int(task.resolution.removesuffix("P")),
                }
            case Outcome.CANCELLED:
                output["task_status"] = "CANCELED"
            case outcome:
                output |= {"task_status": "FAILED"} | _failure(view, outcome)
        if view.status is not None:
            output["task_status"] = view.status
        return SimResponse(200, _write(answer))

    def cancelled(self, call: CancelCall, came_to: Cancelling) -> SimResponse:
        """200 for a task that is PENDING, 400 for every other."""
        return _cancelled(came_to)

    def charge_of(self, task: SimTask, outcome: Outcome) -> float | None:
        """The seconds of a success."""
        charged = (Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITHOUT_URL)
        return task.duration_seconds if outcome in charged else None

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """200, and the status UNKNOWN."""
        output = {"task_id": task_id, "task_status": "UNKNOWN"}
        return SimResponse(200, _write({"request_id": "r-0", "output": output}))


def _family_of(model: str) -> str:
    """The one name of a model that has several, by the kind of video."""
    for suffix in _NEEDS_MEDIA:
        model = model.removesuffix(suffix) + "-t2v" if model.endswith(suffix) else model
    return model


def _cancelled(came_to: Cancelling) -> SimResponse:
    if came_to is Cancelling.DONE:
        return SimResponse(200, _write({"request_id": "r-0"}))
    said = {
        "code": "UnsupportedOperation",
        "message": f"Failed to cancel the task, it is {came_to.value}.",
    }
    return SimResponse(400, _write(said | {"request_id": "r-0"}))


def _problem(body: Body) -> str | None:
    if body.model not in _MODELS:
        return _NO_MODEL
    smallest, shortest, longest, media_types = _MODELS[body.model]
    parameters, media = body.parameters, body.input.media or []
    types = {item.type for item in media}
    if smallest == "720P" and parameters.resolution == "480P":
        return f"resolution 480P is not supported by {body.model}"
    if not shortest <= parameters.duration <= longest:
        return f"duration must be in [{shortest}, {longest}] for {body.model}"
    if types - media_types:
        return f"media type {min(types - media_types)} is not supported by {body.model}"
    if not media and body.model.endswith(_NEEDS_MEDIA):
        return f"media is required for {body.model}"
    if types & _FRAMES and types & _REFERENCES:
        return "first_frame and last_frame cannot be mixed with references"
    if types & _FRAMES and parameters.ratio is not None:
        return "ratio is not supported with a first frame"
    if sum(item.type in _FRAMES for item in media) > len(types & _FRAMES) or types == {"last_frame"}:
        return "there is one first frame, and one last frame after it"
    if sum(item.type == "reference_image" for item in media) > (10 if "wan3" in body.model else 9):
        return "too many reference images"
    return None


def _unfinished(view: TaskView) -> str:
    """Without progress it is said to wait, too."""
    if view.waits:
        return "PENDING"
    if view.progress is None:
        return "SUSPENDED" if view.task.fate.wording & 3 == 3 else "PENDING"
    return "RUNNING"


def _failure(view: TaskView, outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Outcome.INPUT_MODERATION:
            message = "Input data may contain inappropriate content."
            return {"code": "DataInspectionFailed", "message": message}
        case Outcome.OUTPUT_MODERATION:
            message = "Output data may contain inappropriate content."
            return {"code": "DataInspectionFailed", "message": message}
        case Outcome.ERROR:
            return {"code": "InternalError.Algo", "message": view.task.fate.text}
        case _:
            return {}
