"""Grsai, generation 1: Sora and Veo. Also what generation 2 (grsai_unified.py) shares with it.

submit   POST /v1/video/sora-video, /v1/video/veo  -> {code, msg, data: {id}}
poll     POST /v1/draw/result {id}                 -> {code, msg, data: the result of any model}
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    REMOTE_ERROR,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    RENDERING_AT,
    UNDECODABLE,
    RemoteId,
    Unnamed,
    Words,
    accepted,
    failure_type_of_refusal,
    failure_type_of_text,
    is_remote_task_id,
    progress_of,
    require_same_task,
    succeeded,
    words_in,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.described import body_of
from rushes.providers.http.connection import encode_head
from rushes.providers.http_provider import HttpProvider
from rushes.providers.inputs import addresses

NO_SUCH_TASK: Final = -22


# --- the wire -------------------------------------------------------------------------------------------


class Envelope(msgspec.Struct, frozen=True):
    """Around every answer of generation 1. `data` is a result only when `code` is 0."""

    code: int
    msg: Any = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Submitted(msgspec.Struct, frozen=True):
    id: RemoteId


class _Question(msgspec.Struct, frozen=True):
    id: str


class _Named(msgspec.Struct, frozen=True):
    """Whatever else it is, it may say which task it is about."""

    id: RemoteId | None = None


class _File(msgspec.Struct, frozen=True):
    url: str | None = None


class _Result(msgspec.Struct, frozen=True):
    """SoraVideoResponse and VeoVideoResponse in one: they differ in where the URL stands.

    Id and status are strict, and so is the URL of a success. The rest is read as far as it can be.
    """

    id: RemoteId
    status: Literal["running", "succeeded", "failed"]
    progress: Any = None
    results: msgspec.Raw = msgspec.Raw(b"null")
    url: msgspec.Raw = msgspec.Raw(b"null")
    failure_reason: Any = None
    error: Any = None


class _Callback(msgspec.Struct, frozen=True):
    id: RemoteId


_encode = msgspec.json.Encoder().encode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_result = msgspec.json.Decoder(_Result).decode
_decode_named = msgspec.json.Decoder(_Named | None).decode
_decode_files = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_decode_file = msgspec.json.Decoder(_File).decode
_decode_url = msgspec.json.Decoder(str | None).decode
_decode_callback = msgspec.json.Decoder(_Callback).decode

_SORA_FIELDS: Final = {
    "aspect_ratio": "aspectRatio",
    "duration": "duration",
    "size": "size",
}
_SORA_INPUTS: Final = {"references": "url"}
_VEO_FIELDS: Final = {
    "aspect_ratio": "aspectRatio",
}
_VEO_INPUTS: Final = {"first_frame": "firstFrameUrl", "last_frame": "lastFrameUrl", "references": "urls"}
_NO_CALLBACK: Final = "-1"


# --- the provider ---------------------------------------------------------------------------------------


class GrsaiApi(HttpProvider):
    """Both generations: one key."""

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config, headers={"authorization": f"Bearer {config.api_key}"})


class GrsaiProvider(GrsaiApi):
    """Sora and Veo at Grsai, which publishes no limits: it says 429 when it has enough."""

    name = "grsai"
    asks_over_lines = True

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self._result_url = f"{self.host}/v1/draw/result"

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once; answered at once with the id, whether or not there is a callback URL."""
        if request.api_model.startswith("sora"):
            path, fields, inputs = "/v1/video/sora-video", _SORA_FIELDS, _SORA_INPUTS
        elif request.api_model.startswith("veo"):
            path, fields, inputs = "/v1/video/veo", _VEO_FIELDS, _VEO_INPUTS
        else:
            return Rejected(f"{self.name} has no model {request.api_model}", FailureType.PARAM_ERROR)
        try:
            body = submit_body(request, fields, inputs, webHook=request.callback_url or _NO_CALLBACK)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        return await self.send_submit(self.host + path, body, self._outcome)

    def _outcome(self, body: bytes) -> SubmitOutcome:
        envelope = _decode_envelope(body)
        if envelope.code != 0:
            message = self.words.clean(words_in(envelope.msg) or REMOTE_ERROR)
            return Rejected(message, failure_type_of_refusal(message))
        return accepted(_decode_submitted(envelope.data).id)

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; the one exit for every model."""
        try:
            question = _encode(_Question(remote_task_id))
        except UnicodeEncodeError:
            return NoAnswer("the remote task id is not valid text")
        return await self.send_poll(
            "POST", self._result_url, question, lambda body: self.verdict_in(body, remote_task_id)
        )

    def poll_question(self, remote_task_id: str) -> bytes | None:
        """The same question as bytes, to be asked over a line."""
        try:
            body = _encode(_Question(remote_task_id))
        except UnicodeEncodeError:
            return None
        return b"%bcontent-length: %d\r\n\r\n%b" % (self._question_head, len(body), body)

    @cached_property
    def _question_head(self) -> bytes:
        return encode_head("POST", self._result_url, self._submit_headers)

    def verdict_in(self, body: bytes, asked: str) -> PollResult | Unnamed:
        envelope = _decode_envelope(body)
        if envelope.code != 0:
            return refusal(self.words, envelope.code, envelope.msg, named=id_in(envelope.data), asked=asked)
        result = _decode_result(envelope.data)
        require_same_task(asked, result.id)
        match result.status:
            case "running":
                return RENDERING_AT[progress_of(result.progress)]
            case "succeeded":
                url = first_url(result.results) or _decode_url(result.url) or ""
                return succeeded(url, full_unless_told(result.progress))
            case "failed":
                return self.words.failure(result.failure_reason, result.error)
            case other:
                assert_never(other)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """The `id` of the result object that Grsai posts."""
        try:
            remote_task_id = str(_decode_callback(body).id)
        except UNDECODABLE:
            return None
        return remote_task_id if is_remote_task_id(remote_task_id) else None


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return GrsaiProvider(config)


# --- shared with generation 2 -------------------------------------------------------------------------


def submit_body(
    request: SubmitRequest, fields: Mapping[str, str], inputs: Mapping[str, str], **extra: Any
) -> bytes:
    """The JSON of a submit; `fields` maps rushes' option names to the API's, `inputs` those of files.

    A field whose name is a plural is a list. Raises `ValueError` for an option that the API does not have, or
    text that is not valid Unicode.
    """
    body: dict[str, Any] = {"model": request.api_model, "prompt": request.prompt, **extra}
    for option, value in request.options.items():
        if option not in fields:
            raise ValueError(f"{request.api_model} has no option {option}")
        body[fields[option]] = value
    lists = frozenset(role for role, name in inputs.items() if name.endswith("s"))
    body |= addresses(request.inputs, inputs, lists, request.api_model)
    return body_of(body)


def refusal(
    words: Words, code: int, message: object, *, named: RemoteId | None, asked: str
) -> Failed | Unnamed:
    """A poll answered with a business code. Few of these answers say which task they are about."""
    require_same_task(asked, named)
    text = words.clean(words_in(message) or REMOTE_ERROR)
    if code == NO_SUCH_TASK:
        failed = Failed(text, FailureType.NOT_FOUND)
    else:
        failed = Failed(text, failure_type_of_text(text) or FailureType.UNKNOWN)
    return failed if named is not None else Unnamed(failed)


def id_in(data: bytes | msgspec.Raw) -> RemoteId | None:
    """The id that an answer without a result names, if any."""
    try:
        named = _decode_named(data)
    except UNDECODABLE:
        return None
    return None if named is None else named.id


def first_url(results: msgspec.Raw) -> str:
    """The URL of the first file, empty without one. Raises `UNDECODABLE` for what is none; the other files
    and other fields are not looked at."""
    files = _decode_files(results)
    return (_decode_file(files[0]).url or "") if files else ""


def full_unless_told(progress: object) -> int:
    """A success's progress: as it says, 100 where it says nothing readable."""
    reported = progress_of(progress)
    return 100 if reported is None else reported
