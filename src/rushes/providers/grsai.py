"""Grsai, generation 1: Sora and Veo. Also what generation 2 (grsai_unified.py) shares with it.

    submit   POST /v1/video/sora-video, /v1/video/veo  -> {code, msg, data: {id}}
    poll     POST /v1/draw/result {id}                 -> {code, msg, data: the result of any model}

Answers are decoded strictly: a wrong type, a missing field or an unknown status is no answer at all, and
never ends a task. Fields that the protocol does not have are ignored.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    REMOTE_ERROR,
    REMOTE_TASK_FAILED,
    SUCCEEDED_WITHOUT_VIDEO_URL,
    Accepted,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.providers.base import Provider, ProviderConfig, ResultFiles, SubmitRequest, origin_of
from rushes.providers.transport import Response, TransportError, retry_after_seconds

MESSAGE_CHARACTERS_MAX: Final = 1000
REMOTE_TASK_ID_CHARACTERS_MAX: Final = 200
VIDEO_URL_CHARACTERS_MAX: Final = 8192

SECRET_CHARACTERS_MIN: Final = 8
"""A shorter key is not masked where the service repeats it: it could be any word."""

NO_SUCH_TASK: Final = -22


UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the expected JSON."""

Progress = Annotated[int, msgspec.Meta(ge=0, le=100)]


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


class GrsaiProvider:
    """Sora and Veo at Grsai, which publishes no limits: it says 429 when it has enough."""

    name = "grsai"

    def __init__(self, config: ProviderConfig) -> None:
        self.limits = config.limits
        self.result_files = ResultFiles(trusted_origin=origin_of(config.host))
        self._host = config.host.rstrip("/")
        self._transport = config.transport
        self._timeout_seconds = config.timeout_seconds
        self._words = Words(secret=config.api_key)
        self._headers = {"authorization": f"Bearer {config.api_key}", "content-type": "application/json"}
        self._result_url = f"{self._host}/v1/draw/result"

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
        try:
            response = await self._transport.request(
                "POST",
                self._host + path,
                headers=self._headers,
                body=body,
                timeout_seconds=self._timeout_seconds,
            )
        except TransportError as error:
            return Unknown(error.reason) if error.may_have_been_received else NotSent(error.reason)
        if not 200 <= response.status < 300:
            return outcome_of_http_status(response, self._words)
        return self._outcome(response)

    def _outcome(self, response: Response) -> SubmitOutcome:
        try:
            envelope = _decode_envelope(response.body)
            if envelope.code != 0:
                message = self._words.clean(envelope.msg or REMOTE_ERROR)
                return Rejected(message, failure_type_of_refusal(message))
            return accepted(_decode_submitted(envelope.data).id)
        except UNDECODABLE as error:
            return Unknown(self._words.undecodable(error))

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; see the module's text for what is an answer."""
        try:
            response = await self._transport.request(
                "POST",
                self._result_url,
                headers=self._headers,
                body=_encode(_Question(remote_task_id)),
                timeout_seconds=self._timeout_seconds,
            )
        except TransportError as error:
            return NoAnswer(error.reason)
        except UnicodeEncodeError:
            return NoAnswer("the remote task id is not valid text")
        if not 200 <= response.status < 300:
            return no_answer(response)
        try:
            envelope = _decode_envelope(response.body)
            if envelope.code != 0:
                return self._words.refusal(envelope.code, envelope.msg)
            result = _decode_result(envelope.data)
        except UNDECODABLE as error:
            return NoAnswer(self._words.undecodable(error), response.status)
        return self._verdict(result)

    def _verdict(self, result: _Result) -> PollResult:
        """The one exit for every model."""
        match result.status:
            case "running":
                return _PROCESSING[result.progress]
            case "succeeded":
                first = result.results[0].url if result.results else ""
                return succeeded(first or result.url or "", result.progress)
            case "failed":
                return self._words.failure(result.failure_reason, result.error)
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


def accepted(remote_task_id: str) -> Accepted | Unknown:
    """`Accepted`, unless the id is none that could ever be polled."""
    if is_remote_task_id(remote_task_id):
        return Accepted(remote_task_id)
    return Unknown("accepted without a usable id")


def is_remote_task_id(text: str) -> bool:
    """Whether it can be an id: not empty, printable and not too long to be stored."""
    return 0 < len(text) <= REMOTE_TASK_ID_CHARACTERS_MAX and text.isprintable()


def succeeded(video_url: str, progress: int) -> PollResult:
    """`Succeeded`, or what a success without a usable URL is."""
    if not video_url:
        return Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)
    if len(video_url) > VIDEO_URL_CHARACTERS_MAX or not video_url.isprintable():
        return NoAnswer("the video URL is not a URL", http_status=200)
    return Succeeded(video_url, progress)


def no_answer(response: Response) -> NoAnswer:
    """What a poll answered with an HTTP status other than 2xx is."""
    return NoAnswer(f"HTTP {response.status}", response.status, retry_after_seconds(response))


class Words:
    """Texts of the service, made fit to be kept: one printable line, bounded, without our key."""

    def __init__(self, *, secret: str) -> None:
        self._secret = secret

    def clean(self, text: str) -> str:
        """Control characters (PostgreSQL refuses NUL) become spaces; an echoed key is masked."""
        if len(self._secret) >= SECRET_CHARACTERS_MIN and self._secret in text:
            text = text.replace(self._secret, "***")
        text = text[:MESSAGE_CHARACTERS_MAX]
        return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)

    def undecodable(self, error: Exception) -> str:
        """Why an answer is none; names the field, for msgspec does."""
        return self.clean(f"undecodable answer: {error}")

    def refusal(self, code: int, message: str | None) -> Failed:
        """A poll answered with a business code."""
        text = self.clean(message or REMOTE_ERROR)
        if code == NO_SUCH_TASK:
            return Failed(text, FailureType.NOT_FOUND)
        return Failed(text, failure_type_of_text(text) or FailureType.UNKNOWN)

    def failure(self, failure_reason: str | None, error: str | None, *, moderated: bool = False) -> Failed:
        """A remote task that ended badly; `moderated` when its status alone says so."""
        message = self.clean(failure_reason or error or REMOTE_TASK_FAILED)
        match failure_reason:
            case "input_moderation":
                return Failed(message, FailureType.INPUT_MODERATION)
            case "output_moderation":
                return Failed(message, FailureType.OUTPUT_MODERATION)
            case _ if moderated:
                return Failed(message, FailureType.OUTPUT_MODERATION)
            case _:
                by_text = failure_type_of_text(f"{failure_reason or ''} {error or ''}")
                return Failed(message, by_text or FailureType.MODEL_ERROR)


_TELLING_WORDS: Final[tuple[tuple[FailureType, tuple[str, ...]], ...]] = (
    # The account's trouble has no kind of its own. It comes first: "invalid api key" is no bad parameter.
    (
        FailureType.UNKNOWN,
        ("api key", "apikey", "api_key", "insufficient", "balance", "quota", "disabled", "余额", "密钥"),
    ),
    (
        FailureType.OUTPUT_MODERATION,
        (
            *("third-party", "third party", "similarity", "moderation", "content policy", "policies"),
            *("violat", "guardrail", "sensitive", "违规", "敏感", "审核"),
        ),
    ),
    (FailureType.PARAM_ERROR, ("parameter", "invalid", "required", "unsupported", "not support", "参数")),
)


def failure_type_of_text(text: str) -> FailureType | None:
    """The last resort for statistics: the first row of the table with a word that `text` contains."""
    text = text.lower()
    for failure_type, words in _TELLING_WORDS:
        if any(word in text for word in words):
            return failure_type
    return None


def failure_type_of_refusal(text: str) -> FailureType:
    """The same for a refused submit: nothing was made yet, so what is moderated is the input."""
    match failure_type_of_text(text):
        case FailureType.OUTPUT_MODERATION:
            return FailureType.INPUT_MODERATION
        case None if "prompt" in text.lower():
            return FailureType.INPUT_MODERATION
        case found:
            return found or FailureType.UNKNOWN


_KEY_REFUSED: Final = frozenset({401, 402, 403})
_WRONG_HOST: Final = frozenset({404, 405})
_BAD_REQUEST: Final = frozenset({400, 413, 414, 415, 422})


def outcome_of_http_status(response: Response, words: Words) -> SubmitOutcome:
    """What a submit answered with an HTTP status other than 2xx is.

    `NotSent` and a pause for what is wrong with the account or the host: all tasks would meet it. A 404
    counts as a wrong host, for the path is the API's own. `Unknown` for 5xx and for every status that
    does not say that the request was refused: whatever answered may stand in front of a service that
    took the task.
    """
    status = response.status
    try:
        complaint = _decode_complaint(response.body)
        said = complaint.msg or complaint.error
    except UNDECODABLE:
        said = None
    reason = words.clean(f"HTTP {status}: {said}" if said else f"HTTP {status}")
    if status == 429:
        return Throttled(reason, retry_after_seconds(response))
    if status in _KEY_REFUSED:
        return NotSent(f"the key was refused ({reason})", pauses_provider=True, key_refused=True)
    if status in _WRONG_HOST or 300 <= status < 400:
        return NotSent(f"no such API at this host ({reason})", pauses_provider=True)
    if status in _BAD_REQUEST:
        return Rejected(words.clean(said) if said else reason, FailureType.PARAM_ERROR)
    return Unknown(reason)
