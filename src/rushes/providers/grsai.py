"""Grsai, generation 1: Sora and Veo. Also what generation 2 (grsai_unified.py) shares with it.

submit   POST /v1/video/sora-video, /v1/video/veo  -> {code, msg, data: {id}}
poll     POST /v1/draw/result {id}                 -> {code, msg, data: the result of any model}
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    REMOTE_ERROR,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    UNDECODABLE,
    Progress,
    Words,
    accepted,
    failure_type_of_refusal,
    failure_type_of_text,
    is_remote_task_id,
    succeeded,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.http_provider import HttpProvider

NO_SUCH_TASK: Final = -22


# --- the wire -------------------------------------------------------------------------------------------


class Envelope(msgspec.Struct, frozen=True):
    """Around every answer of generation 1. `data` is decoded only when `code` is 0."""

    code: int
    msg: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Submitted(msgspec.Struct, frozen=True):
    id: str


class _Question(msgspec.Struct, frozen=True):
    id: str


class _File(msgspec.Struct, frozen=True, rename="camel"):
    url: str
    remove_watermark: bool = False
    pid: str = ""


class _Result(msgspec.Struct, frozen=True):
    """SoraVideoResponse and VeoVideoResponse in one: they differ in where the URL stands."""

    id: str
    status: Literal["running", "succeeded", "failed"]
    progress: Progress
    results: list[_File] | None = None
    url: str | None = None
    failure_reason: str | None = None
    error: str | None = None


class _Complaint(msgspec.Struct, frozen=True):
    """What a refusal with an HTTP status says, if anything."""

    msg: str | None = None
    error: str | None = None


class _Callback(msgspec.Struct, frozen=True):
    id: str


_encode = msgspec.json.Encoder().encode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_result = msgspec.json.Decoder(_Result).decode
_decode_complaint = msgspec.json.Decoder(_Complaint).decode
_decode_callback = msgspec.json.Decoder(_Callback).decode

_SORA_FIELDS: Final = {
    "aspect_ratio": "aspectRatio",
    "duration": "duration",
    "size": "size",
    "reference_url": "url",
}
_VEO_FIELDS: Final = {
    "aspect_ratio": "aspectRatio",
    "first_frame_url": "firstFrameUrl",
    "last_frame_url": "lastFrameUrl",
    "reference_urls": "urls",
}
_NO_CALLBACK: Final = "-1"


_PROCESSING: Final = tuple(Processing(progress) for progress in range(101))
"""Most polls are answered by one of these; making it anew is a tenth of what reading an answer takes."""


# --- the provider ---------------------------------------------------------------------------------------


class GrsaiApi(HttpProvider):
    """Both generations: one key, and complaints of one shape."""

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config, headers={"authorization": f"Bearer {config.api_key}"})

    def complaint(self, body: bytes) -> str | None:
        """`msg` or `error`."""
        try:
            complaint = _decode_complaint(body)
        except UNDECODABLE:
            return None
        return complaint.msg or complaint.error


class GrsaiProvider(GrsaiApi):
    """Sora and Veo at Grsai, which publishes no limits: it says 429 when it has enough."""

    name = "grsai"

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self._result_url = f"{self.host}/v1/draw/result"

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once; answered at once with the id, whether or not there is a callback URL."""
        if request.api_model.startswith("sora"):
            path, fields = "/v1/video/sora-video", _SORA_FIELDS
        elif request.api_model.startswith("veo"):
            path, fields = "/v1/video/veo", _VEO_FIELDS
        else:
            return Rejected(f"{self.name} has no model {request.api_model}", FailureType.PARAM_ERROR)
        try:
            body = submit_body(request, fields, webHook=request.callback_url or _NO_CALLBACK)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        return await self.send_submit(self.host + path, body, self._outcome)

    def _outcome(self, body: bytes) -> SubmitOutcome:
        envelope = _decode_envelope(body)
        if envelope.code != 0:
            message = self.words.clean(envelope.msg or REMOTE_ERROR)
            return Rejected(message, failure_type_of_refusal(message))
        return accepted(_decode_submitted(envelope.data).id)

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; the one exit for every model."""
        try:
            question = _encode(_Question(remote_task_id))
        except UnicodeEncodeError:
            return NoAnswer("the remote task id is not valid text")
        return await self.send_poll("POST", self._result_url, question, self._verdict)

    def _verdict(self, body: bytes) -> PollResult:
        envelope = _decode_envelope(body)
        if envelope.code != 0:
            return refusal(self.words, envelope.code, envelope.msg)
        result = _decode_result(envelope.data)
        match result.status:
            case "running":
                return _PROCESSING[result.progress]
            case "succeeded":
                first = result.results[0].url if result.results else ""
                return succeeded(first or result.url or "", result.progress)
            case "failed":
                return self.words.failure(result.failure_reason, result.error)
            case other:
                assert_never(other)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """The `id` of the result object that Grsai posts."""
        try:
            remote_task_id = _decode_callback(body).id
        except UNDECODABLE:
            return None
        return remote_task_id if is_remote_task_id(remote_task_id) else None


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return GrsaiProvider(config)


# --- shared with generation 2 -------------------------------------------------------------------------


def submit_body(request: SubmitRequest, fields: Mapping[str, str], **extra: Any) -> bytes:
    """The JSON of a submit; `fields` maps rushes' option names to the API's.

    Raises `ValueError` for an option that the API does not have, or text that is not valid Unicode.
    """
    body: dict[str, Any] = {"model": request.api_model, "prompt": request.prompt, **extra}
    for option, value in request.options.items():
        if option not in fields:
            raise ValueError(f"{request.api_model} has no option {option}")
        body[fields[option]] = value
    try:
        return _encode(body)
    except UnicodeEncodeError:
        raise ValueError("the prompt or an option is not valid text") from None


def refusal(words: Words, code: int, message: str | None) -> Failed:
    """A poll answered with a business code."""
    text = words.clean(message or REMOTE_ERROR)
    if code == NO_SUCH_TASK:
        return Failed(text, FailureType.NOT_FOUND)
    return Failed(text, failure_type_of_text(text) or FailureType.UNKNOWN)
