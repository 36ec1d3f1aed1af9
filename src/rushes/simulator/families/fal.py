"""fal's queue API for a few video models: a submit, a poll of two requests (status and result), a cancel.

Stricter than the real service on purpose, as grsai.py is: fal takes any input into its queue and
refuses it as the result, here a mistake is refused at once. Requests are only found below their own
application's path.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qs

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
    is_task_id,
    key_after,
)
from rushes.simulator.fate import Family, Outcome
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.work import SimTask, TaskView

PREFIX: Final = "/fal-ai/"
_REQUESTS: Final = "/requests/"
_TOLD_BY_STATUS: Final = frozenset({Outcome.FORGOTTEN, Outcome.BUSINESS_CODE, Outcome.CANCELLED})


class VeoBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may send for Veo 3.1; `image_url` only to the variant that starts with an image."""

    prompt: Prompt
    aspect_ratio: Literal["16:9", "9:16"] = "16:9"
    duration: Literal["4s", "6s", "8s"] = "8s"
    resolution: Literal["720p", "1080p", "4k"] = "720p"
    image_url: Reference | None = None
    negative_prompt: str | None = None
    generate_audio: bool = True
    seed: int | None = None


class KlingBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may send for Kling 3."""

    prompt: Prompt
    aspect_ratio: Literal["16:9", "9:16", "1:1"] = "16:9"
    duration: Literal["3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"] = "5"
    negative_prompt: str | None = None
    generate_audio: bool = True
    cfg_scale: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


class KlingImageBody(msgspec.Struct, forbid_unknown_fields=True):
    """The same from a picture, whose shape the video takes."""

    prompt: Prompt
    start_image_url: Reference
    duration: Literal["3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"] = "5"
    negative_prompt: str | None = None
    generate_audio: bool = True
    cfg_scale: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


_IMAGE_VARIANT: Final = "/image-to-video"
Body = VeoBody | KlingBody | KlingImageBody
_MODELS: Final[dict[str, tuple[type[Body], Family]]] = {
    "fal-ai/veo3.1": (VeoBody, Family.VEO_PRO),
    "fal-ai/veo3.1/image-to-video": (VeoBody, Family.VEO_PRO),
    "fal-ai/veo3.1/fast": (VeoBody, Family.VEO_FAST),
    "fal-ai/veo3.1/fast/image-to-video": (VeoBody, Family.VEO_FAST),
    **{
        f"fal-ai/kling-video/{version}/{variant}-to-video": (kind, Family.MINIMAX)
        for version in ("v3/pro", "v3/standard", "v3/4k", "v2.6/pro")
        for variant, kind in (("text", KlingBody), ("image", KlingImageBody))
    },
}

_write = msgspec.json.Encoder().encode

_FLAGGED: Final = (
    "The content could not be processed because it contained material flagged by a content checker."
)
_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (401, "Cannot access application. Authentication is required to access it."),
    Refusal.KEY_DISABLED: (403, "User is locked. Reason: Disabled key."),
    Refusal.BALANCE_EXHAUSTED: (403, "User is locked. Reason: Exhausted balance. Top up your balance."),
}
_REQUEST_ERRORS: Final = (
    (500, "runner_server_error", "The runner encountered an internal server error"),
    (503, "runner_disconnected", "The runner disconnected unexpectedly"),
    (504, "request_timeout", "Request timed out"),
)


class FalWire(Wire):
    """`{request_id, response_url, status_url, cancel_url}` for a submit; errors are `{detail}`."""

    name = "fal"
    outcomes = frozenset(Outcome) - {Outcome.VIOLATION}

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """fal's host and key."""
        return {"FAL_HOST": base_url, "FAL_KEY": api_key}

    def match(self, method: str, path: str) -> bool:
        """POST to a model, GET and PUT below an application's requests."""
        return path.startswith(PREFIX) and (method in ("GET", "PUT")) is (_REQUESTS in path)

    def key(self, request: SimRequest) -> str | None:
        """`Authorization: Key …`."""
        return key_after("Key", request)

    def read(self, request: SimRequest) -> Call:
        """A submit, one of a poll's two questions, or a cancel."""
        if request.method == "PUT":
            return _cancel_call(request.path)
        if _REQUESTS in request.path:
            return _poll_call(request.path)
        model = request.path[1:]
        if model not in _MODELS:
            return MalformedCall(f"there is no application {model}", submit=True)
        kind, family = _MODELS[model]
        try:
            body = msgspec.json.decode(request.body, type=kind)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=True)
        has_image = isinstance(body, KlingImageBody) or (
            isinstance(body, VeoBody) and body.image_url is not None
        )
        if has_image is not model.endswith(_IMAGE_VARIANT):
            return MalformedCall("image_url belongs to image-to-video, and nowhere else", submit=True)
        callback_url = _webhook(request.query)
        if callback_url is not None and not is_callback_url(callback_url):
            return MalformedCall("fal_webhook is not an http(s) URL", submit=True)
        return SubmitCall(
            model=_plain(model),
            family=family,
            prompt=body.prompt,
            portrait=not isinstance(body, KlingImageBody) and body.aspect_ratio == "9:16",
            duration_seconds=int(body.duration.removesuffix("s")),
            marker=callback_url or "",
            callback_url=callback_url,
        )

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """The request id, and the URLs to ask."""
        url = f"{base_url}/{app_of(task.model)}{_REQUESTS}{task.id}"
        answer = {
            "status": "IN_QUEUE",
            "request_id": task.id,
            "response_url": url,
            "status_url": f"{url}/status",
            "cancel_url": f"{url}/cancel",
            "queue_position": 0,
        }
        return SimResponse(200, _write(answer))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """401 or 403 for the account's trouble, 422 for the input's."""
        match refusal:
            case Refusal.PROMPT:
                return _model_error(["body", "prompt"], _FLAGGED, "content_policy_violation")
            case Refusal.MALFORMED:
                return _model_error(["body"], reason, "value_error")
            case Refusal.DUPLICATE:
                return _model_error(["body"], reason, "value_error")
            case account:
                status, text = _REFUSALS[account]
                return SimResponse(status, _write({"detail": text}))

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """The status, or the result as the application would have answered it."""
        app, _, question = detail.partition(" ")
        is_gone = view.outcome is Outcome.FORGOTTEN or (
            view.outcome is Outcome.CANCELLED and view.task.fate.wording & 1
        )
        if app != app_of(view.task.model) or is_gone:
            return self.no_such_task(view.task.id, detail)
        answer = _status(view) if question == "status" else _result(view)
        return dataclasses.replace(answer, headers=(("x-fal-request-id", view.task.id),))

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """404 with a `detail` that is not that of a wrong path."""
        return SimResponse(404, _write({"detail": f"Request {task_id} was not found"}))

    def cancelled(self, call: CancelCall, came_to: Cancelling) -> SimResponse:
        """202 when it is dropped, and while it renders, which goes on: its application may not care."""
        match came_to:
            case Cancelling.DONE | Cancelling.RUNNING:
                return SimResponse(202, _write({"status": "CANCELLATION_REQUESTED"}))
            case Cancelling.ENDED:
                return SimResponse(400, _write({"status": "ALREADY_COMPLETED"}))
            case Cancelling.NO_SUCH_TASK:
                return SimResponse(404, _write({"status": "NOT_FOUND"}))

    def callback_body(self, view: TaskView) -> bytes | None:
        """The result with `status` OK or ERROR; nothing before there is one."""
        if view.outcome in (None, Outcome.STUCK, Outcome.FORGOTTEN, Outcome.CANCELLED):
            return None
        result = _result(view)
        answer: dict[str, Any] = {
            "request_id": view.task.id,
            "gateway_request_id": view.task.id,
            "status": "OK" if result.status == 200 else "ERROR",
            "payload": msgspec.json.decode(result.body),
        }
        if result.status != 200:
            answer["error"] = f"Invalid status code: {result.status}"
        return _write(answer)


def _plain(model: str) -> str:
    """The model's path without the word for its variant, as the catalogue has it."""
    if model.startswith("fal-ai/kling-video/"):
        return model.replace(_IMAGE_VARIANT, "/text-to-video")
    return model.removesuffix(_IMAGE_VARIANT)


def app_of(model: str) -> str:
    """`owner/name`: the part of a model's path under which its requests are."""
    return "/".join(model.split("/")[:2])


def _webhook(query: str) -> str | None:
    return next(iter(parse_qs(query).get("fal_webhook", [])), None)


def _poll_call(path: str) -> Call:
    app, _, rest = path[1:].partition(_REQUESTS)
    task_id, _, question = rest.partition("/")
    if question not in ("", "status") or not is_task_id(task_id):
        return MalformedCall("expected /requests/{id} or /requests/{id}/status", submit=False)
    if question == "status":
        return PollCall(task_id, f"{app} status", tells=_TOLD_BY_STATUS)
    return PollCall(task_id, f"{app} result", first=False)


def _cancel_call(path: str) -> Call:
    app, _, rest = path[1:].partition(_REQUESTS)
    task_id, _, question = rest.partition("/")
    if question != "cancel" or not is_task_id(task_id):
        return MalformedCall("expected /requests/{id}/cancel", submit=False)
    return CancelCall(task_id, app)


def _status(view: TaskView) -> SimResponse:
    """`logs` is there, and null, unless it is asked for: fal-client reads it."""
    answer: dict[str, Any] = {"status": "COMPLETED", "request_id": view.task.id, "logs": None}
    if view.outcome in (None, Outcome.STUCK):
        queued = view.waits
        answer["status"] = "IN_QUEUE" if queued else "IN_PROGRESS"
        if queued:
            answer["queue_position"] = view.position
    else:
        answer["metrics"] = {"inference_time": view.task.fate.render_seconds}
        if view.outcome is Outcome.CANCELLED:
            answer["error_type"], answer["error"] = "client_cancelled", "Request cancelled by the client"
        if view.outcome is Outcome.BUSINESS_CODE:
            _, answer["error_type"], answer["error"] = _request_error(view)
    if view.status is not None:
        answer["status"] = view.status
    return SimResponse(200, _write(answer))


def _result(view: TaskView) -> SimResponse:
    text = view.task.fate.text
    if view.status is not None:
        return SimResponse(200, _write({"status": view.status}))
    match view.outcome:
        case None | Outcome.STUCK:
            return SimResponse(400, _write({"detail": "Request is still in progress"}))
        case Outcome.SUCCEEDED:
            file = {"url": view.video_url, "content_type": "video/mp4", "file_name": "output.mp4"}
            return SimResponse(200, _write({"video": file}))
        case Outcome.SUCCEEDED_WITHOUT_URL:
            return SimResponse(200, _write({"video": None}))
        case Outcome.INPUT_MODERATION:
            return _model_error(["body", "prompt"], text or _FLAGGED, "content_policy_violation")
        case Outcome.OUTPUT_MODERATION:
            return _model_error(["body"], text or _FLAGGED, "content_policy_violation")
        case Outcome.BUSINESS_CODE:
            status, error_type, error = _request_error(view)
            return SimResponse(status, _write({"detail": error, "error_type": error_type}))
        case Outcome.FAILED_WITHOUT_REASON:
            return SimResponse(422, _write({"detail": []}))
        case _:
            return _model_error(["body"], text, "no_media_generated")


def _request_error(view: TaskView) -> tuple[int, str, str]:
    return _REQUEST_ERRORS[view.task.fate.wording % len(_REQUEST_ERRORS)]


def _model_error(place: list[str], text: str, kind: str) -> SimResponse:
    error = {"loc": place, "msg": text, "type": kind, "url": f"https://docs.fal.ai/errors#{kind}"}
    return SimResponse(422, _write({"detail": [error]}))
