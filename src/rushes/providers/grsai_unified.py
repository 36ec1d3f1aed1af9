"""Grsai, generation 2: the unified API of its current models, such as `minimax-h3`.

    submit   POST /v1/api/generate      -> {id, status?, error?}
    poll     GET  /v1/api/result?id=…   -> {id, status, progress?, results?, failure_reason?, error?, code?}

No envelope, and no callback: polling completes everything, so a callback URL is not sent.
"""

from typing import Final, Literal, assert_never
from urllib.parse import quote

import msgspec

from rushes.domain.task import (
    REMOTE_ERROR,
    REMOTE_TASK_FAILED,
    FailureType,
    NoAnswer,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Unknown,
)
from rushes.providers.answers import Progress, accepted, failure_type_of_refusal, succeeded
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.grsai import GrsaiApi, refusal, submit_body


class _Submitted(msgspec.Struct, frozen=True):
    id: str | None = None
    status: str | None = None
    error: str | None = None
    code: int | None = None
    msg: str | None = None


class _Head(msgspec.Struct, frozen=True):
    """What is read first: with a code that is not 0, nothing else is looked at."""

    code: int | None = None
    msg: str | None = None
    error: str | None = None


class _File(msgspec.Struct, frozen=True):
    url: str


class _Result(msgspec.Struct, frozen=True):
    id: str
    status: Literal["running", "succeeded", "failed", "violation"]
    progress: Progress | None = None
    results: list[_File] | None = None
    failure_reason: str | None = None
    error: str | None = None


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_result = msgspec.json.Decoder(_Result).decode

_FIELDS: Final = {
    "aspect_ratio": "aspectRatio",
    "resolution": "resolution",
    "duration": "duration",
    "reference_urls": "images",
    "audio_urls": "audios",
    "seed": "seed",
}
_ASPECT_RATIOS: Final = {"9:16": "portrait", "16:9": "landscape"}


class GrsaiUnifiedProvider(GrsaiApi):
    """The models of Grsai's unified API."""

    name = "grsai-unified"

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self._submit_url = f"{self.host}/v1/api/generate"
        self._result_url = f"{self.host}/v1/api/result?id="

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once. `request.callback_url` is not used: the API documents no callback."""
        try:
            body = submit_body(_with_named_ratio(request), _FIELDS, replyType="async")
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        return await self.send_submit(self._submit_url, body, self._outcome)

    def _outcome(self, body: bytes) -> SubmitOutcome:
        """An id means accepted, whatever else is said: polls will tell the rest."""
        submitted = _decode_submitted(body)
        if submitted.id:
            return accepted(submitted.id)
        said = submitted.msg or submitted.error
        if submitted.error or submitted.code or submitted.status in ("failed", "violation"):
            message = self.words.clean(said or (REMOTE_ERROR if submitted.code else REMOTE_TASK_FAILED))
            if submitted.status == "violation":
                return Rejected(message, FailureType.INPUT_MODERATION)
            return Rejected(message, failure_type_of_refusal(message))
        return Unknown("accepted without a usable id")

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; what does not decode strictly is no answer."""
        try:
            url = self._result_url + quote(remote_task_id, safe="")
        except UnicodeEncodeError:
            return NoAnswer("the remote task id is not valid text")
        return await self.send_poll("GET", url, None, self._verdict)

    def _verdict(self, body: bytes) -> PollResult:
        head = _decode_head(body)
        if head.code:
            return refusal(self.words, head.code, head.msg or head.error)
        result = _decode_result(body)
        match result.status:
            case "running":
                return Processing(result.progress)
            case "succeeded":
                progress = 100 if result.progress is None else result.progress
                return succeeded(result.results[0].url if result.results else "", progress)
            case "failed":
                return self.words.failure(result.failure_reason, result.error)
            case "violation":
                return self.words.failure(result.failure_reason, result.error, moderated=True)
            case other:
                assert_never(other)


def _with_named_ratio(request: SubmitRequest) -> SubmitRequest:
    """The aspect ratio in the API's words; `portrait` and `landscape` themselves pass."""
    ratio = request.options.get("aspect_ratio")
    if ratio not in _ASPECT_RATIOS:
        return request
    options = {**request.options, "aspect_ratio": _ASPECT_RATIOS[ratio]}
    return SubmitRequest(api_model=request.api_model, prompt=request.prompt, options=options)


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return GrsaiUnifiedProvider(config)
