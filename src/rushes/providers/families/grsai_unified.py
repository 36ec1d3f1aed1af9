"""Grsai, generation 2: the unified API of its current models, such as `minimax-h3`.

    submit   POST /v1/api/generate      -> {id, status?, error?}
    poll     GET  /v1/api/result?id=…   -> {id, status, progress?, results?, failure_reason?, error?, code?}

No envelope, and no callback: polling completes everything, so a callback URL is not sent.
"""

from dataclasses import replace
from typing import Any, Final, Literal, assert_never
from urllib.parse import quote

import msgspec

from rushes.domain.task import (
    REMOTE_ERROR,
    REMOTE_TASK_FAILED,
    FailureType,
    NoAnswer,
    PollResult,
    Rejected,
    SubmitOutcome,
    Unknown,
)
from rushes.providers.answers import (
    RENDERING_AT,
    RemoteId,
    Unnamed,
    accepted,
    failure_type_of_refusal,
    progress_of,
    require_same_task,
    succeeded,
    words_in,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.families.grsai import GrsaiApi, first_url, full_unless_told, id_in, refusal, submit_body
from rushes.providers.http.connection import encode_head


class _Submitted(msgspec.Struct, frozen=True):
    id: RemoteId | None = None
    status: Any = None
    error: Any = None
    code: Any = None
    msg: Any = None


class _Head(msgspec.Struct, frozen=True):
    """What is read first: with a code that is not 0, nothing else but the id is looked at."""

    code: Any = None
    msg: Any = None
    error: Any = None


class _Result(msgspec.Struct, frozen=True):
    """Id and status are strict, and so is the URL of a success. The rest is read as far as it can be."""

    id: RemoteId
    status: Literal["running", "succeeded", "failed", "violation"]
    progress: Any = None
    results: msgspec.Raw = msgspec.Raw(b"null")
    failure_reason: Any = None
    error: Any = None


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_result = msgspec.json.Decoder(_Result).decode

_FIELDS: Final = {
    "aspect_ratio": "aspectRatio",
    "resolution": "resolution",
    "duration": "duration",
    "seed": "seed",
}
_INPUTS: Final = {"references": "images", "audio": "audios"}
_ASPECT_RATIOS: Final = {"9:16": "portrait", "16:9": "landscape"}


class GrsaiUnifiedProvider(GrsaiApi):
    """The models of Grsai's unified API."""

    name = "grsai-unified"
    asks_over_lines = True

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self._submit_url = f"{self.host}/v1/api/generate"
        self._result_url = f"{self.host}/v1/api/result?id="

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once. `request.callback_url` is not used: the API documents no callback."""
        try:
            body = submit_body(_with_named_ratio(request), _FIELDS, _INPUTS, replyType="async")
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        return await self.send_submit(self._submit_url, body, self._outcome)

    def _outcome(self, body: bytes) -> SubmitOutcome:
        """An id means accepted, whatever else is said: polls will tell the rest."""
        submitted = _decode_submitted(body)
        if submitted.id is not None and submitted.id != "":
            return accepted(submitted.id)
        error, is_coded = words_in(submitted.error), type(submitted.code) is int and submitted.code != 0
        if error or is_coded or submitted.status in ("failed", "violation"):
            said = words_in(submitted.msg) or error
            message = self.words.clean(said or (REMOTE_ERROR if is_coded else REMOTE_TASK_FAILED))
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
        return await self.send_poll("GET", url, None, lambda body: self.verdict_in(body, remote_task_id))

    def poll_question(self, remote_task_id: str) -> bytes | None:
        """The same question as bytes, to be asked over a line."""
        try:
            url = self._result_url + quote(remote_task_id, safe="")
        except UnicodeEncodeError:
            return None
        return b"%b\r\n" % encode_head("GET", url, self._poll_headers)

    def verdict_in(self, body: bytes, asked: str) -> PollResult | Unnamed:
        head = _decode_head(body)
        if type(head.code) is int and head.code != 0:
            said = words_in(head.msg) or head.error
            return refusal(self.words, head.code, said, named=id_in(body), asked=asked)
        result = _decode_result(body)
        require_same_task(asked, result.id)
        match result.status:
            case "running":
                return RENDERING_AT[progress_of(result.progress)]
            case "succeeded":
                return succeeded(first_url(result.results), full_unless_told(result.progress))
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
    return replace(request, options=options)


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return GrsaiUnifiedProvider(config)
