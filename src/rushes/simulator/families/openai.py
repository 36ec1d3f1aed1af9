"""OpenAI's videos API: `/v1/videos`, `/v1/videos/{id}` and `/v1/videos/{id}/content`.

As strict as grsai.py; takes forms, as the official SDK sends them, and JSON. Files need the key.
"""

from collections.abc import Mapping
from email import message_from_bytes
from email.policy import HTTP
from typing import Annotated, Any, Final, Literal

import msgspec

from rushes.simulator.families.grsai import Prompt, Reference
from rushes.simulator.families.wire import (
    UNREADABLE,
    Call,
    FileCall,
    MalformedCall,
    PollCall,
    Refusal,
    SubmitCall,
    Wire,
    is_task_id,
)
from rushes.simulator.fate import Family, Outcome
from rushes.simulator.gateways import (
    Dialect,
    accepted_in,
    failure_in,
    no_such_task_in,
    progress_in,
    told_in,
    url_in,
    word_in,
)
from rushes.simulator.message import FILES_PREFIX, SimRequest, SimResponse
from rushes.simulator.work import SimTask, TaskView

VIDEOS_PATH: Final = "/v1/videos"
POLL_AFTER_MS: Final = 200
"""The wait suggested to the SDK's `create_and_poll`."""

_CONTENT: Final = "/content"
_FIRST_SECOND: Final = 1_767_225_600
"""`created_at` of a task that was submitted at the zero of the caller's clock: 2026-01-01."""


class ImageReference(msgspec.Struct, forbid_unknown_fields=True):
    """An image by its URL."""

    image_url: Reference


class VideoBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may send."""

    prompt: Prompt
    model: Literal["sora-2", "sora-2-pro"] = "sora-2"
    seconds: Annotated[str, msgspec.Meta(pattern=r"^([1-9]|1[0-9]|20)$")] = "4"
    size: Literal["720x1280", "1280x720", "1024x1792", "1792x1024"] = "720x1280"
    input_reference: ImageReference | None = None


_read_body = msgspec.json.Decoder(VideoBody).decode
_write = msgspec.json.Encoder().encode

_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (401, "invalid_request_error", "invalid_api_key"),
    Refusal.KEY_DISABLED: (401, "invalid_request_error", "account_deactivated"),
    Refusal.BALANCE_EXHAUSTED: (403, "insufficient_quota", "billing_hard_limit_reached"),
    Refusal.PROMPT: (400, "invalid_request_error", "moderation_blocked"),
    Refusal.MALFORMED: (400, "invalid_request_error", "invalid_value"),
}


class OpenAIWire(Wire):
    """A video object for a submit and a poll; `{error: {message, type, param, code}}` for a refusal."""

    name = "openai-video"
    outcomes = frozenset(
        {
            *(Outcome.SUCCEEDED, Outcome.OUTPUT_MODERATION, Outcome.INPUT_MODERATION, Outcome.ERROR),
            *(Outcome.FORGOTTEN, Outcome.FAILED_WITHOUT_REASON, Outcome.STUCK),
        }
    )

    has_dialects = True

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """The base URL ends in `/v1`."""
        return {"OPENAI_VIDEO_BASE_URL": f"{base_url}/v1", "OPENAI_VIDEO_API_KEY": api_key}

    def match(self, method: str, path: str) -> bool:
        """POST for a submit, GET below it."""
        if method == "POST":
            return path == VIDEOS_PATH
        return method == "GET" and path.startswith(f"{VIDEOS_PATH}/")

    def read(self, request: SimRequest) -> Call:
        """A submit, a question for a video, or for its file."""
        if request.method == "POST":
            return _submit_call(request)
        task_id, _, rest = request.path.removeprefix(f"{VIDEOS_PATH}/").partition("/")
        if rest not in ("", "content") or not is_task_id(task_id):
            return MalformedCall("expected /v1/videos/{id} or /v1/videos/{id}/content", submit=False)
        return FileCall(task_id) if rest else PollCall(task_id)

    def video_path(self, task_id: str) -> str:
        """The content path, which needs the key."""
        return f"{VIDEOS_PATH}/{task_id}{_CONTENT}"

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """The video, queued."""
        video = _video(task, status="queued", progress=0)
        return _answer(video) if task.dialect is None else accepted_in(task.dialect, task.id, video)

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """An error object."""
        status, kind, code = _REFUSALS[refusal]
        return _error(status, reason, kind, code)

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """The video as it stands."""
        task = view.task
        if task.dialect is not None:
            return _result_in(task.dialect, view)
        if view.outcome is Outcome.FORGOTTEN:
            return self.no_such_task(task.id, detail)
        match view.outcome:
            case None | Outcome.STUCK:
                queued = view.progress is not None and view.progress < 5
                video = _video(task, status="queued" if queued else "in_progress", progress=view.progress)
            case Outcome.SUCCEEDED:
                video = _video(task, status="completed", progress=100)
                video["completed_at"] = video["expires_at"] = _FIRST_SECOND + int(task.finished_at or 0)
                video["expires_at"] += 3600
            case outcome:
                video = _video(task, status="failed", progress=view.progress)
                video["error"] = _failure(view, outcome)
        if view.status is not None:
            video["status"] = view.status
        return _answer(video)

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """404 in the API's own words."""
        return _error(404, f"Video with id '{task_id}' not found.", "invalid_request_error", "not_found")


def _result_in(dialect: Dialect, view: TaskView) -> SimResponse:
    """The same in a gateway's dialect."""
    task, outcome = view.task, view.outcome
    if outcome is Outcome.FORGOTTEN:
        return no_such_task_in(dialect)
    fields: dict[str, Any] = progress_in(dialect, view.progress)
    fields["status"] = word_in(dialect, outcome) if view.status is None else view.status
    if outcome is Outcome.SUCCEEDED and view.video_url is not None:
        base_url = view.video_url.removesuffix(f"{VIDEOS_PATH}/{task.id}{_CONTENT}")
        fields |= url_in(dialect, f"{base_url}{FILES_PREFIX}{task.id}.mp4")
    elif outcome is not None and outcome is not Outcome.STUCK:
        why, task.reason_told = failure_in(dialect, outcome, task.fate.text)
        fields |= why
    return told_in(dialect, task.id, _video(task, status="", progress=None), fields)


def _submit_call(request: SimRequest) -> Call:
    try:
        body = _read_body(_as_json(request))
    except (*UNREADABLE, ValueError) as error:
        return MalformedCall(str(error), submit=True)
    width, _, height = body.size.partition("x")
    return SubmitCall(
        model=body.model,
        family=Family.SORA,
        prompt=body.prompt,
        portrait=int(width) < int(height),
        duration_seconds=int(body.seconds),
    )


def _as_json(request: SimRequest) -> bytes:
    """The body as JSON; raises `ValueError` for a form that is none."""
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        return request.body
    form = message_from_bytes(f"content-type: {content_type}\r\n\r\n".encode() + request.body, policy=HTTP)
    if not form.is_multipart():
        raise ValueError("not a multipart form")
    fields: dict[str, Any] = {}
    for part in form.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes):
            raise ValueError("a part of the form has no name")
        if part.get_filename() is not None:
            if name != "input_reference" or not content or part.get_content_maintype() != "image":
                raise ValueError(f"{name} is no file of an image")
            fields[name] = {"image_url": f"data:{part.get_content_type()};base64,…"}
        else:
            fields[name] = content.decode()
    reference = fields.pop("input_reference[image_url]", None)
    if reference is not None:
        fields["input_reference"] = {"image_url": reference}
    return _write(fields)


def _video(task: SimTask, *, status: str, progress: int | None) -> dict[str, Any]:
    sizes = {("sora-2", True): "720x1280", ("sora-2", False): "1280x720"}
    video: dict[str, Any] = {
        "id": task.id,
        "object": "video",
        "created_at": _FIRST_SECOND + int(task.submitted_at),
        "completed_at": None,
        "expires_at": None,
        "status": status,
        "model": task.model,
        "prompt": task.prompt,
        "seconds": str(task.duration_seconds),
        "size": sizes.get((task.model, task.portrait), "1024x1792" if task.portrait else "1792x1024"),
        "remixed_from_video_id": None,
        "error": None,
    }
    return video if progress is None else video | {"progress": progress}


def _failure(view: TaskView, outcome: Outcome) -> dict[str, str] | None:
    text = view.task.fate.text
    match outcome:
        case Outcome.FAILED_WITHOUT_REASON:
            return None
        case Outcome.OUTPUT_MODERATION | Outcome.INPUT_MODERATION:
            blocked = "Your request was blocked by our moderation system."
            return {"code": "moderation_blocked", "message": text or blocked}
        case _:
            return {"code": "internal_error", "message": text}


def _answer(video: dict[str, Any]) -> SimResponse:
    return SimResponse(200, _write(video), headers=(("openai-poll-after-ms", str(POLL_AFTER_MS)),))


def _error(status: int, message: str, kind: str, code: str) -> SimResponse:
    return SimResponse(
        status, _write({"error": {"message": message, "type": kind, "param": None, "code": code}})
    )
