"""Volcengine's Ark and BytePlus' ModelArk: Seedance. One API at two hosts, each with its keys and model ids.

    submit   POST {base}/contents/generations/tasks       -> {id}
    poll     GET  {base}/contents/generations/tasks/{id}  -> {id, status, content?, usage?, error?}
    cancel   DELETE {base}/contents/generations/tasks/{id}, of one that is queued

There is no progress. A success reports its tokens, which is what Ark charges by. A callback is the task as a
poll has it, without a signature. Checked against volcengine-ark-runtime 5.0.54 and ModelArk's error codes.
"""

from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    CancelRefused,
    CancelResult,
    Failed,
    FailureType,
    OutputKind,
    PollResult,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    QUEUED,
    RENDERING,
    UNDECODABLE,
    RemoteId,
    accepted,
    amount_in,
    path_segment,
    require_same_task,
    succeeded,
    words_in,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.codes import Meaning, Meanings, coded_refusal, failed_with_code, meaning_of
from rushes.providers.described import body_of, content_of, described_options
from rushes.providers.http.transport import Response
from rushes.providers.http_provider import HttpProvider

LINK_SECONDS: Final = 86_400.0
"""Ark deletes a task's files a day after it has ended."""

COST_UNIT: Final = "tokens"
"""What Ark counts in; the models' costs say what one is in money."""

_TASKS: Final = "/contents/generations/tasks"

_WRONG_REGION: Final = (
    "a key works in its own region only: Volcengine's at ark.cn-beijing.volces.com, BytePlus' at"
    " ark.ap-southeast.bytepluses.com"
)
_NOT_ACTIVATED: Final = "activate the model in Ark's console"
_NO_SUCH_MODEL: Final = "this account has no such model or endpoint"

_MEANINGS: Final[Meanings] = {
    "AuthenticationError": Meaning.KEY,
    "AccessDenied": Meaning.KEY,
    "AccountOverdueError": Meaning.ACCOUNT,
    "InvalidAccountStatus": Meaning.ACCOUNT,
    "OperationDenied.ServiceOverdue": Meaning.ACCOUNT,
    "SetLimitExceeded": Meaning.ACCOUNT,
    "ModelNotOpen": Meaning.MODEL,
    "OperationDenied.ServiceNotOpen": Meaning.MODEL,
    "InvalidEndpoint": Meaning.MODEL,
    "InvalidEndpointOrModel": Meaning.MODEL,
    "UnsupportedModel": Meaning.MODEL,
    "RateLimitExceeded": Meaning.BUSY,
    "AccountRateLimitExceeded": Meaning.BUSY,
    "ModelAccountRpmRateLimitExceeded": Meaning.BUSY,
    "ModelAccountTpmRateLimitExceeded": Meaning.BUSY,
    "QuotaExceeded": Meaning.BUSY,
    "ServerOverloaded": Meaning.BUSY,
    "ModelLoadingError": Meaning.BUSY,
    "MissingParameter": Meaning.PARAMETER,
    "InvalidParameter": Meaning.PARAMETER,
    "SensitiveContentDetected": Meaning.INPUT_MODERATION,
    "InputTextSensitiveContentDetected": Meaning.INPUT_MODERATION,
    "InputImageSensitiveContentDetected": Meaning.INPUT_MODERATION,
    "InputVideoSensitiveContentDetected": Meaning.INPUT_MODERATION,
    "InputAudioSensitiveContentDetected": Meaning.INPUT_MODERATION,
    "OutputTextSensitiveContentDetected": Meaning.OUTPUT_MODERATION,
    "OutputImageSensitiveContentDetected": Meaning.OUTPUT_MODERATION,
    "OutputVideoSensitiveContentDetected": Meaning.OUTPUT_MODERATION,
    "OutputAudioSensitiveContentDetected": Meaning.OUTPUT_MODERATION,
    "InternalServiceError": Meaning.MODEL_ERROR,
    "InternalError": Meaning.MODEL_ERROR,
}
_HINTS: Final = {
    "ModelNotOpen": _NOT_ACTIVATED,
    "OperationDenied.ServiceNotOpen": _NOT_ACTIVATED,
    "InvalidEndpoint": _NO_SUCH_MODEL,
    "InvalidEndpointOrModel": _NO_SUCH_MODEL,
    "AuthenticationError": _WRONG_REGION,
}


# --- the wire -------------------------------------------------------------------------------------------


class _Submitted(msgspec.Struct, frozen=True):
    id: RemoteId


class _Content(msgspec.Struct, frozen=True):
    video_url: str | None = None
    last_frame_url: Any = None


class _Task(msgspec.Struct, frozen=True):
    """A task in any state: id and status are strict, and so is the content of a success."""

    id: RemoteId
    status: Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
    content: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None
    usage: Any = None


class _Error(msgspec.Struct, frozen=True):
    code: str
    message: Any = None


class _OwnError(msgspec.Struct, frozen=True):
    error: _Error


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_task = msgspec.json.Decoder(_Task).decode
_decode_content = msgspec.json.Decoder(_Content | None).decode
_decode_error = msgspec.json.Decoder(_OwnError).decode


def _submit_body(request: SubmitRequest) -> bytes:
    """Raises `ValueError` for an option that the model does not have, or text that is not valid Unicode."""
    body = {
        "model": request.api_model,
        "content": content_of(request),
        **described_options(request),
    }
    if request.callback_url is not None:
        body["callback_url"] = request.callback_url
    return body_of(body)


# --- the provider ---------------------------------------------------------------------------------------


class ArkProvider(HttpProvider):
    """One account in one region; `host` is the base URL up to `/api/v3`."""

    name = "ark"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Bearer {config.api_key}"}
        super().__init__(config, headers=headers, link_seconds=LINK_SECONDS)

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        try:
            body = _submit_body(request)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        return await self.send_submit(self.host + _TASKS, body, _outcome)

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """Ark's own code says what it is; the HTTP status alone does not (404: a model, 403: a debt)."""
        refused = coded_refusal(response, _MEANINGS, self.words, _HINTS)
        return super().submit_refused(response) if refused is None else refused

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; what does not say a status strictly is no answer."""
        return await self.poll_by_id(self.host + _TASKS, remote_task_id, self._verdict)

    async def cancel(self, remote_task_id: str) -> CancelResult:
        """Cancel a task that is queued: the same request deletes the record of one that has ended."""
        try:
            url = f"{self.host}{_TASKS}/{path_segment(remote_task_id)}"
        except ValueError as error:
            return CancelRefused(f"the remote task id cannot be asked for: {error}")

        def standing(body: bytes) -> str | None:
            task = _decode_task(body)
            require_same_task(remote_task_id, task.id)
            return None if task.status == "queued" else f"it is {task.status}"

        return await self.cancel_if_waiting(url, standing, ("DELETE", url, None), too_late=(400, 404, 409))

    def poll_refused(self, response: Response) -> PollResult:
        """A 404 in Ark's own words is a task that is not there, unless it is about a model or a path."""
        error = _own_error(response.body) if response.status == 404 else None
        if error is None or "notfound" not in error.code.replace("_", "").lower():
            return self.no_answer(response)
        if meaning_of(error.code, _MEANINGS) is not None:
            return self.no_answer(response)
        return Failed(self.words.clean(words_in(error.message) or error.code), FailureType.NOT_FOUND)

    def _verdict(self, body: bytes, asked: str) -> PollResult:
        task = _decode_task(body)
        require_same_task(asked, task.id)
        match task.status:
            case "queued":
                return QUEUED
            case "running":
                return RENDERING
            case "succeeded":
                content = _decode_content(task.content)
                url = (content.video_url if content else None) or ""
                tokens = _tokens_in(task.usage)
                unit = None if tokens is None else COST_UNIT
                frame = content.last_frame_url if content else None
                return succeeded(url, 100, tokens, unit, [(OutputKind.LAST_FRAME, frame)])
            case "failed":
                return failed_with_code(task.error, _MEANINGS, self.words)
            case "cancelled":
                return Failed("the task was cancelled at Ark", FailureType.CANCELLED)
            case "expired":
                return Failed("the task was not made in the time that Ark gives it", FailureType.TIMEOUT)
            case other:
                assert_never(other)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """The callback's `id`: it is the task as a poll answers it."""
        try:
            return str(_decode_submitted(body).id)
        except UNDECODABLE:
            return None


def _outcome(body: bytes) -> SubmitOutcome:
    return accepted(_decode_submitted(body).id)


def _own_error(body: bytes) -> _Error | None:
    """The error as Ark itself writes it; None for what anybody else may have written."""
    try:
        return _decode_error(body).error
    except UNDECODABLE:
        return None


def _tokens_in(usage: object) -> float | None:
    match usage:
        case {"completion_tokens": int() | float() as tokens}:
            return amount_in(tokens)
        case _:
            return None


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return ArkProvider(config)
