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
    NotSent,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Unknown,
)
from rushes.providers.base import Provider, ProviderConfig, ResultFiles, SubmitRequest, origin_of
from rushes.providers.grsai import (
    UNDECODABLE,
    Progress,
    Words,
    accepted,
    failure_type_of_refusal,
    no_answer,
    outcome_of_http_status,
    submit_body,
    succeeded,
)
from rushes.providers.transport import Response, TransportError


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


class GrsaiUnifiedProvider:
    """The models of Grsai's unified API."""

    name = "grsai-unified"

    def __init__(self, config: ProviderConfig) -> None:
        self.limits = config.limits
        self.result_files = ResultFiles(trusted_origin=origin_of(config.host))
        host = config.host.rstrip("/")
        self._transport = config.transport
        self._timeout_seconds = config.timeout_seconds
        self._words = Words(secret=config.api_key)
        self._poll_headers = {"authorization": f"Bearer {config.api_key}"}
        self._submit_headers = {**self._poll_headers, "content-type": "application/json"}
        self._submit_url = f"{host}/v1/api/generate"
        self._result_url = f"{host}/v1/api/result?id="

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once. `request.callback_url` is not used: the API documents no callback."""
        try:
            body = submit_body(_with_named_ratio(request), _FIELDS, replyType="async")
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        try:
            response = await self._transport.request(
                "POST",
                self._submit_url,
                headers=self._submit_headers,
                body=body,
                timeout_seconds=self._timeout_seconds,
            )
        except TransportError as error:
            return Unknown(error.reason) if error.may_have_been_received else NotSent(error.reason)
        if not 200 <= response.status < 300:
            return outcome_of_http_status(response, self._words)
        return self._outcome(response)

    def _outcome(self, response: Response) -> SubmitOutcome:
        """An id means accepted, whatever else is said: polls will tell the rest."""
        try:
            submitted = _decode_submitted(response.body)
        except UNDECODABLE as error:
            return Unknown(self._words.undecodable(error))
        if submitted.id:
            return accepted(submitted.id)
        said = submitted.msg or submitted.error
        if submitted.error or submitted.code or submitted.status in ("failed", "violation"):
            message = self._words.clean(said or (REMOTE_ERROR if submitted.code else REMOTE_TASK_FAILED))
            if submitted.status == "violation":
                return Rejected(message, FailureType.INPUT_MODERATION)
            return Rejected(message, failure_type_of_refusal(message))
        return Unknown("accepted without a usable id")

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; what does not decode strictly is no answer."""
        try:
            response = await self._transport.request(
                "GET",
                self._result_url + quote(remote_task_id, safe=""),
                headers=self._poll_headers,
                body=None,
                timeout_seconds=self._timeout_seconds,
            )
        except TransportError as error:
            return NoAnswer(error.reason)
        except UnicodeEncodeError:
            return NoAnswer("the remote task id is not valid text")
        if not 200 <= response.status < 300:
            return no_answer(response)
        try:
            head = _decode_head(response.body)
            if head.code:
                return self._words.refusal(head.code, head.msg or head.error)
            result = _decode_result(response.body)
        except UNDECODABLE as error:
            return NoAnswer(self._words.undecodable(error), response.status)
        return self._verdict(result)

    def _verdict(self, result: _Result) -> PollResult:
        match result.status:
            case "running":
                return Processing(result.progress)
            case "succeeded":
                progress = 100 if result.progress is None else result.progress
                return succeeded(result.results[0].url if result.results else "", progress)
            case "failed":
                return self._words.failure(result.failure_reason, result.error)
            case "violation":
                return self._words.failure(result.failure_reason, result.error, moderated=True)
            case other:
                assert_never(other)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """None: the API has no callbacks."""
        return None


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
