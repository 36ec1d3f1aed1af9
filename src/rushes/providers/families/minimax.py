"""MiniMax's API, version 2: H3 and H3-Max.

    submit   POST /v2/video_generation             -> {task_id}
    poll     GET  /v2/query/video_generation/{id}  -> {task: {id, status, content?, usage?, error?}}

    cancel   DELETE the same, of a task that is queued

There is no progress. A success reports its seconds. An address for callbacks has to send a challenge back
before any come; they carry no signature. A task that is not there is answered 500, with `record not found`.
Checked against MiniMax' reference of the API and litellm 1.110.2.
"""

from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    CancelRefused,
    CancelResult,
    Failed,
    FailureType,
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
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.codes import Meaning, Meanings, coded_refusal, failed_with_code
from rushes.providers.described import body_of, content_of, described_options
from rushes.providers.http.transport import Response
from rushes.providers.http_provider import HttpProvider

LINK_SECONDS: Final = 32_400.0
"""How long the links of version 1 lived; how long those of version 2 live, MiniMax does not say."""

COST_UNIT: Final = "seconds"

_NO_SUCH_TASK: Final = "record not found"

_MEANINGS: Final[Meanings] = {
    "authorized_error": Meaning.KEY,
    "insufficient_balance_error": Meaning.ACCOUNT,
    "rate_limit_error": Meaning.BUSY,
    "bad_request_error": Meaning.PARAMETER,
    "unprocessable_entity_error": Meaning.INPUT_MODERATION,
    "server_error": Meaning.MODEL_ERROR,
    # the numbers, as failed tasks have them
    "1000": Meaning.MODEL_ERROR,
    "1026": Meaning.INPUT_MODERATION,
    "1027": Meaning.OUTPUT_MODERATION,
    "2013": Meaning.PARAMETER,
}
_HINTS: Final = {
    "authorized_error": "a key of api.minimax.io does not work at api.minimaxi.com, nor the other way round"
}


# --- the wire -------------------------------------------------------------------------------------------


class _Submitted(msgspec.Struct, frozen=True):
    task_id: RemoteId


class _Content(msgspec.Struct, frozen=True):
    url: str | None = None


class _Task(msgspec.Struct, frozen=True):
    id: RemoteId
    status: Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
    content: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None
    usage: Any = None


class _Answer(msgspec.Struct, frozen=True):
    """A poll's answer: id and status are strict, and so is the content of a success."""

    task: _Task


class _Error(msgspec.Struct, frozen=True):
    type: str
    message: str


class _OwnError(msgspec.Struct, frozen=True):
    type: Literal["error"]
    error: _Error


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_content = msgspec.json.Decoder(_Content | None).decode
_decode_error = msgspec.json.Decoder(_OwnError).decode


def _submit_body(request: SubmitRequest) -> bytes:
    """Raises `ValueError` for an option that the model does not have, or text that is not valid Unicode."""
    body = {"model": request.api_model, "content": content_of(request), **described_options(request)}
    if request.callback_url is not None:
        body["callback_url"] = request.callback_url
    return body_of(body)


# --- the provider ---------------------------------------------------------------------------------------


class MiniMaxProvider(HttpProvider):
    """One account at MiniMax, international or Chinese: its host says which."""

    name = "minimax"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Bearer {config.api_key}"}
        super().__init__(config, headers=headers, link_seconds=LINK_SECONDS)

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        try:
            body = _submit_body(request)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        return await self.send_submit(f"{self.host}/v2/video_generation", body, _outcome)

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """MiniMax' own type of error says what it is: a 402 is an empty purse, a 422 a moderated prompt."""
        refused = coded_refusal(response, _MEANINGS, self.words, _HINTS)
        return super().submit_refused(response) if refused is None else refused

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; what does not say a status strictly is no answer."""
        return await self.poll_by_id(f"{self.host}/v2/query/video_generation", remote_task_id, self._verdict)

    async def cancel(self, remote_task_id: str) -> CancelResult:
        """Cancel a task that is queued: the same request deletes the record of one that has ended."""
        try:
            url = f"{self.host}/v2/query/video_generation/{path_segment(remote_task_id)}"
        except ValueError as error:
            return CancelRefused(f"the remote task id cannot be asked for: {error}")

        def standing(body: bytes) -> str | None:
            task = _decode_answer(body).task
            require_same_task(remote_task_id, task.id)
            return None if task.status == "queued" else f"it is {task.status}"

        return await self.cancel_if_waiting(url, standing, ("DELETE", url, None), too_late=(400, 404, 409))

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """The callback's `task_id`, or the id of its `task`."""
        try:
            return str(_decode_submitted(body).task_id)
        except UNDECODABLE:
            return _task_id_in(body)

    def poll_refused(self, response: Response) -> PollResult:
        """`record not found`, in MiniMax' own form, is a task that is not there."""
        error = _own_error(response.body)
        if error is None or _NO_SUCH_TASK not in error.message or response.status not in (400, 404, 500):
            return self.no_answer(response)
        return Failed(self.words.clean(error.message), FailureType.NOT_FOUND)

    def _verdict(self, body: bytes, asked: str) -> PollResult:
        task = _decode_answer(body).task
        require_same_task(asked, task.id)
        match task.status:
            case "queued":
                return QUEUED
            case "running":
                return RENDERING
            case "succeeded":
                content = _decode_content(task.content)
                seconds = _seconds_in(task.usage)
                unit = None if seconds is None else COST_UNIT
                return succeeded((content.url if content else None) or "", 100, seconds, unit)
            case "failed":
                return failed_with_code(task.error, _MEANINGS, self.words)
            case "cancelled":
                return Failed("the task was cancelled at MiniMax", FailureType.CANCELLED)
            case "expired":
                return Failed("the task was not made in the time that MiniMax gives it", FailureType.TIMEOUT)
            case other:
                assert_never(other)


def _outcome(body: bytes) -> SubmitOutcome:
    return accepted(_decode_submitted(body).task_id)


def _task_id_in(body: bytes) -> str | None:
    try:
        return str(_decode_answer(body).task.id)
    except UNDECODABLE:
        return None


def _own_error(body: bytes) -> _Error | None:
    """The error as MiniMax itself writes it; None for what anybody else may have written."""
    try:
        return _decode_error(body).error
    except UNDECODABLE:
        return None


def _seconds_in(usage: object) -> float | None:
    """The seconds that are charged; None where pictures may be charged too: then the expected cost holds."""
    match usage:
        case {"input_image_count": int() as images} if images > 0:
            return None
        case {"total_seconds": int() | float() as seconds}:
            return amount_in(seconds)
        case _:
            return None


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return MiniMaxProvider(config)
