"""Replicate: `/v1/models/{owner}/{name}/predictions`, and `/v1/predictions` for versions, polls and cancels.

Stricter than the service, as grsai.py is: each model's input has its own fields.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from rushes.simulator.families.grsai import Prompt, Reference
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
    is_callback_url,
)
from rushes.simulator.fate import Family, Outcome
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.work import SimTask, TaskView

_SUBMIT: Final = re.compile(r"/v1/models/([a-z0-9.\-]+/[a-z0-9.\-]+)/predictions")
_BY_VERSION: Final = "/v1/predictions"
_PREDICTION: Final = re.compile(r"/v1/predictions/([A-Za-z0-9_\-]{1,200})")
_CANCEL: Final = re.compile(r"/v1/predictions/([A-Za-z0-9_\-]{1,200})/cancel")

VERSION: Final = "a" * 64
"""The one version that the simulator knows: Seedance's."""

Seconds = Annotated[int, msgspec.Meta(ge=2, le=12)]


class VeoInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of google/veo-3.1-fast."""

    prompt: Prompt
    aspect_ratio: Literal["16:9", "9:16"] = "16:9"
    duration: Literal[4, 6, 8] = 8
    resolution: Literal["720p", "1080p"] = "720p"
    generate_audio: bool = True
    seed: int | None = None
    image: Reference | None = None
    last_frame: Reference | None = None


class KlingInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of kwaivgi/kling-v2.5-turbo-pro."""

    prompt: Prompt
    aspect_ratio: Literal["16:9", "9:16", "1:1"] = "16:9"
    duration: Literal[5, 10] = 5
    start_image: Reference | None = None


class HailuoInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of minimax/hailuo-2.3."""

    prompt: Prompt
    duration: Literal[6, 10] = 6
    resolution: Literal["768p", "1080p"] = "768p"
    first_frame_image: Reference | None = None
    aspect_ratio: Literal["16:9"] = "16:9"


class SeedanceInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of bytedance/seedance-1-pro-fast."""

    prompt: Prompt
    aspect_ratio: Literal["16:9", "9:16", "1:1", "4:3", "3:4", "21:9"] = "16:9"
    duration: Seconds = 5
    resolution: Literal["480p", "720p", "1080p"] = "1080p"
    seed: int | None = None
    image: Reference | None = None


Input = VeoInput | KlingInput | HailuoInput | SeedanceInput
_INPUTS: Final[Mapping[str, tuple[type[Input], Family]]] = {
    "google/veo-3.1-fast": (VeoInput, Family.VEO_FAST),
    "kwaivgi/kling-v2.5-turbo-pro": (KlingInput, Family.MINIMAX),
    "minimax/hailuo-2.3": (HailuoInput, Family.MINIMAX),
    "bytedance/seedance-1-pro-fast": (SeedanceInput, Family.SORA),
}


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client may send."""

    input: msgspec.Raw
    version: str | None = None
    webhook: str | None = None
    webhook_events_filter: list[Literal["start", "output", "logs", "completed"]] | None = None


_read_body = msgspec.json.Decoder(Body).decode
_write = msgspec.json.Encoder().encode

_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (401, "Unauthenticated", "You did not pass a valid authentication token"),
    Refusal.KEY_DISABLED: (403, "Forbidden", "Your account has been disabled"),
    Refusal.BALANCE_EXHAUSTED: (
        402,
        "Insufficient credit",
        "You have insufficient credit to run this model. Go to https://replicate.com/account/billing",
    ),
    Refusal.PROMPT: (422, "Input validation failed", "The prompt was flagged as sensitive"),
}


class ReplicateWire(Wire):
    """A prediction for everything; `{title, detail, status}` for what is refused."""

    name = "replicate"

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """Replicate's host and token."""
        return {"REPLICATE_HOST": base_url, "REPLICATE_API_TOKEN": api_key}

    def match(self, method: str, path: str) -> bool:
        """POST for submits and cancels, GET for a prediction."""
        if method == "POST":
            found = _SUBMIT.fullmatch(path) or _CANCEL.fullmatch(path)
            return path == _BY_VERSION or found is not None
        return method == "GET" and _PREDICTION.fullmatch(path) is not None

    def read(self, request: SimRequest) -> Call:
        """A submit, a question for a prediction, or its cancel."""
        if request.method == "GET":
            return PollCall(request.path.removeprefix(f"{_BY_VERSION}/"))
        cancel = _CANCEL.fullmatch(request.path)
        if cancel is not None:
            return CancelCall(cancel[1])
        try:
            return _submit_call(request)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=True)

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """201 with the prediction, starting."""
        url = f"{base_url}{_BY_VERSION}/{task.id}"
        answer = _prediction(task, "starting") | {"urls": {"get": url, "cancel": f"{url}/cancel"}}
        return SimResponse(201, _write(answer))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """A problem; 422 for the input, 404 for a model that is not there."""
        status, title, detail = _REFUSALS.get(refusal, (422, "Input validation failed", reason))
        if reason.startswith("The requested model"):
            status, title = 404, "Not found"
        return _problem(status, title, detail)

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """The prediction as it stands."""
        if view.outcome is Outcome.FORGOTTEN:
            return self.no_such_task(view.task.id, detail)
        return SimResponse(200, _write(_standing(view)))

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """404."""
        return _problem(404, "Not found", f"The requested prediction {task_id} could not be found.")

    def cancelled(self, call: CancelCall, came_to: Cancelling) -> SimResponse:
        """The prediction; of one that renders or has ended, as it stands."""
        match came_to:
            case Cancelling.DONE:
                return SimResponse(200, _write({"id": call.task_id, "status": "canceled"}))
            case Cancelling.NO_SUCH_TASK:
                return self.no_such_task(call.task_id, call.detail)
            case Cancelling.RUNNING | Cancelling.ENDED:
                return _problem(422, "Unprocessable", "The prediction cannot be canceled")

    def callback_body(self, view: TaskView) -> bytes | None:
        """The prediction."""
        return None if view.outcome is Outcome.FORGOTTEN else _write(_standing(view))


def _submit_call(request: SimRequest) -> Call:
    body = _read_body(request.body)
    named = _SUBMIT.fullmatch(request.path)
    model = "bytedance/seedance-1-pro-fast" if body.version == VERSION else named[1] if named else ""
    if model not in _INPUTS or (named is not None) is (body.version is not None):
        return MalformedCall("The requested model or version could not be found.", submit=True)
    kind, family = _INPUTS[model]
    wanted = msgspec.json.decode(body.input, type=kind)
    if body.webhook is not None and not is_callback_url(body.webhook):
        return MalformedCall("webhook must be a URL", submit=True)
    return SubmitCall(
        model=model,
        family=family,
        prompt=wanted.prompt,
        portrait=wanted.aspect_ratio == "9:16",
        duration_seconds=wanted.duration,
        callback_url=body.webhook,
    )


def _problem(status: int, title: str, detail: str) -> SimResponse:
    return SimResponse(status, _write({"title": title, "detail": detail, "status": status}))


def _prediction(task: SimTask, status: str) -> dict[str, Any]:
    return {
        "id": task.id,
        "model": task.model,
        "version": "hidden",
        "status": status,
        "input": {"prompt": task.prompt},
        "output": None,
        "error": None,
        "logs": "",
        "metrics": {},
        "created_at": "2026-11-29T00:00:00.000Z",
    }


def _standing(view: TaskView) -> dict[str, Any]:
    task, text = view.task, view.task.fate.text
    match view.outcome:
        case None | Outcome.STUCK:
            answer = _prediction(task, "starting" if view.waits else "processing")
        case Outcome.SUCCEEDED:
            answer = _prediction(task, "succeeded")
            answer["output"] = [view.video_url] if task.fate.wording & 1 else view.video_url
            answer["metrics"] = {"predict_time": task.fate.render_seconds}
        case Outcome.SUCCEEDED_WITHOUT_URL:
            answer = _prediction(task, "succeeded")
            answer["output"] = [] if task.fate.wording & 1 else None
        case Outcome.CANCELLED:
            answer = _prediction(task, "canceled")
        case Outcome.FAILED_WITHOUT_REASON:
            answer = _prediction(task, "failed")
        case Outcome.INPUT_MODERATION | Outcome.OUTPUT_MODERATION:
            said = text or "The input or output was flagged as sensitive. Please try other inputs. (E005)"
            answer = _prediction(task, "failed") | {"error": said}
        case _:
            answer = _prediction(task, "failed") | {"error": text}
    return answer if view.status is None else answer | {"status": view.status}
