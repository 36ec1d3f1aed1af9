"""Any server with OpenAI's videos API, another rushes among them.

    submit   POST {base}/videos               -> {id, status, …}
    poll     GET  {base}/videos/{id}          -> {id, status, progress?, error?}
    file     GET  {base}/videos/{id}/content  with the key

A submit is a multipart form, as the official SDK sends it: every such server takes that, and not every
one takes JSON. A success has no URL of its own; its file is the content path, which needs the key. There
is no callback. Checked against openai 3.54.0 (`types/video.py`, `types/video_create_params.py`).
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    Failed,
    FailureType,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    NO_SUCH_ID,
    UNDECODABLE,
    Progress,
    accepted,
    failure_type_of_text,
    path_segment,
    succeeded,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.http_provider import HttpProvider
from rushes.providers.transport import Response

LINK_SECONDS: Final = 3600.0
"""OpenAI kept files for an hour; its `expires_at` need not be there, and other servers have none."""

SIZES: Final[Mapping[tuple[str, str], str]] = {
    ("9:16", "small"): "720x1280",
    ("16:9", "small"): "1280x720",
    ("9:16", "large"): "1024x1792",
    ("16:9", "large"): "1792x1024",
}


# --- the wire -------------------------------------------------------------------------------------------


class _Error(msgspec.Struct, frozen=True):
    """Why a video failed, or what is wrong with a request."""

    message: str
    code: str | None = None


class _Video(msgspec.Struct, frozen=True):
    id: str
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: Progress | None = None
    error: _Error | None = None


class _Complaint(msgspec.Struct, frozen=True):
    error: _Error


class _Problem(msgspec.Struct, frozen=True):
    """The complaint of another rushes (RFC 9457)."""

    error: str
    detail: str


_decode_video = msgspec.json.Decoder(_Video).decode
_decode_complaint = msgspec.json.Decoder(_Complaint).decode
_decode_problem = msgspec.json.Decoder(_Problem).decode

_MODERATION_CODES: Final[Mapping[str, FailureType]] = {
    "moderation_blocked": FailureType.OUTPUT_MODERATION,
    "content_policy_violation": FailureType.OUTPUT_MODERATION,
    "sentinel_block": FailureType.INPUT_MODERATION,
}
_OWN_CODES: Final = frozenset(failure_type.value for failure_type in FailureType)
_NOT_FOUND_CODES: Final = frozenset({"not_found", "NOT_FOUND", "video_not_found"})


def multipart_form(fields: Mapping[str, str]) -> tuple[str, bytes]:
    """The content type and the body of a form (RFC 7578). Raises `ValueError` for text that is not Unicode.

    The boundary is a hash of the fields, so that nobody can put it into one.
    """
    parts = [(name, value.encode()) for name, value in fields.items()]
    boundary = blake2b(repr(parts).encode(), digest_size=16).hexdigest()
    body = b"".join(
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in parts
    )
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


def _fields(request: SubmitRequest) -> dict[str, str]:
    """The form's fields; raises `ValueError` for an option that the API does not have."""
    options: dict[str, Any] = dict(request.options)
    fields = {"model": request.api_model, "prompt": request.prompt}
    if "aspect_ratio" in options or "size" in options:
        fields["size"] = SIZES[options.pop("aspect_ratio", "9:16"), options.pop("size", "small")]
    if "duration" in options:
        fields["seconds"] = str(options.pop("duration"))
    if "reference_url" in options:
        fields["input_reference[image_url]"] = options.pop("reference_url")
    for option in options:
        raise ValueError(f"{request.api_model} has no option {option}")
    return fields


# --- the provider ---------------------------------------------------------------------------------------


class OpenAIVideoProvider(HttpProvider):
    """One account at one such server; `config.host` is its base URL, up to `/v1`."""

    name = "openai-video"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Bearer {config.api_key}"}
        super().__init__(config, headers=headers, file_headers=headers, link_seconds=LINK_SECONDS)

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        try:
            content_type, body = multipart_form(_fields(request))
        except ValueError as error:
            reason = "the prompt is not valid text" if isinstance(error, UnicodeError) else str(error)
            return Rejected(reason, FailureType.PARAM_ERROR)
        return await self.send_submit(
            f"{self.host}/videos", body, lambda said: accepted(_decode_video(said).id), content_type
        )

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once."""
        try:
            url = f"{self.host}/videos/{path_segment(remote_task_id)}"
        except ValueError:
            return NO_SUCH_ID
        return await self.send_poll("GET", url, None, lambda body: self._result(url, body))

    def _result(self, url: str, body: bytes) -> PollResult:
        video = _decode_video(body)
        match video.status:
            case "queued" | "in_progress":
                return Processing(video.progress)
            case "completed":
                return succeeded(f"{url}/content", 100)
            case "failed":
                return self._failure(video.error)
            case other:
                assert_never(other)

    def _failure(self, error: _Error | None) -> Failed:
        if error is None:
            return Failed(REMOTE_TASK_FAILED, FailureType.MODEL_ERROR)
        message = self.words.clean(error.message or error.code or REMOTE_TASK_FAILED)
        return Failed(message, _failure_type(error) or FailureType.MODEL_ERROR)

    def complaint(self, body: bytes) -> str | None:
        """The message of OpenAI's error, or another rushes' detail."""
        error = _error_of(body)
        return None if error is None else error.message

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """A refused prompt and an unknown model are the task's own; all else is as its status says."""
        error = _error_of(response.body)
        if error is not None and response.status in (400, 403, 404, 422):
            moderated = error.code is not None and error.code in _MODERATION_CODES
            if moderated:
                return Rejected(self.words.clean(error.message), FailureType.INPUT_MODERATION)
            if error.code == "model_not_found":
                return Rejected(self.words.clean(error.message), FailureType.PARAM_ERROR)
        return super().submit_refused(response)

    def poll_refused(self, response: Response) -> PollResult:
        """Only a 404 in the API's own words ends a task: there is no such video."""
        error = _error_of(response.body) if response.status == 404 else None
        if error is not None and (error.code in _NOT_FOUND_CODES or "not found" in error.message.lower()):
            return Failed(self.words.clean(error.message), FailureType.NOT_FOUND)
        return super().poll_refused(response)


def _error_of(body: bytes) -> _Error | None:
    try:
        return _decode_complaint(body).error
    except UNDECODABLE:
        pass
    try:
        problem = _decode_problem(body)
    except UNDECODABLE:
        return None
    return _Error(problem.detail, problem.error)


def _failure_type(error: _Error) -> FailureType | None:
    """From the code, which another rushes takes from its own failure types; from the text last."""
    if error.code is not None:
        if error.code in _MODERATION_CODES:
            return _MODERATION_CODES[error.code]
        if error.code in _OWN_CODES:
            return FailureType(error.code)
    return failure_type_of_text(f"{error.code or ''} {error.message}")


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return OpenAIVideoProvider(config)
