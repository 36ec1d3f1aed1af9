"""xAI: Grok Imagine's videos.

    submit   POST /v1/videos/generations   -> {request_id}
    poll     GET  /v1/videos/{request_id}  -> {status, video?, usage?, error?, progress?}, or 202 and no body

An answer to a poll need not name its request: each poll has a fresh connection, and a `request_id` that is
there must be the one asked for. A video that xAI blocks is `done` without a URL, and `respect_moderation` is
false; it is charged. The cost is in ticks of a US dollar.
There is no callback and no cancel. Checked against xai-sdk 1.21.0 and xAI's guide to video generation.
"""

from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    AMOUNT_MAX,
    RENDERING,
    RENDERING_AT,
    UNDECODABLE,
    RemoteId,
    accepted,
    amount_in,
    complaint_of,
    path_segment,
    progress_of,
    require_same_task,
    succeeded,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.codes import Meanings, failed_with_code
from rushes.providers.described import body_of, described_options
from rushes.providers.http.transport import Response
from rushes.providers.http_provider import HttpProvider

LINK_SECONDS: Final = 86_400.0
TICKS_PER_USD: Final = 10_000_000_000
_TICKS_MAX: Final = int(AMOUNT_MAX) * TICKS_PER_USD

_MEANINGS: Final[Meanings] = {}
"""xAI documents no codes of its failed videos: their words say what they are."""

_MADE_UP_ID: Final = "rushes-doctor"
_WRONG_KEY: Final = "api key"
_NO_CREDITS: Final = ("available credits", "spending limit", "doesn't have any credits")
_NO_MODEL: Final = "does not exist or your team"
_BLOCKED: Final = "the video was blocked by xAI's moderation"


# --- the wire -------------------------------------------------------------------------------------------


class _Submitted(msgspec.Struct, frozen=True):
    request_id: RemoteId


class _Video(msgspec.Struct, frozen=True):
    url: str | None = None
    respect_moderation: bool | None = None


class _Answer(msgspec.Struct, frozen=True):
    """A poll's answer: the status is strict, and so is the video of a success."""

    status: Literal["pending", "done", "failed", "expired"]
    request_id: RemoteId | None = None
    video: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None
    usage: Any = None
    progress: Any = None


class _OwnError(msgspec.Struct, frozen=True):
    code: str
    error: str


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_video = msgspec.json.Decoder(_Video | None).decode
_decode_error = msgspec.json.Decoder(_OwnError).decode

_FIELDS: Final = {"first_frame": "image", "references": "reference_images"}


def _submit_body(request: SubmitRequest) -> bytes:
    """Raises `ValueError` for an option that the model does not have, or text that is not valid Unicode."""
    body: dict[str, Any] = {
        "model": request.api_model,
        "prompt": request.prompt,
        **described_options(request),
    }
    for name, files in request.inputs.items():
        if name not in _FIELDS:
            raise ValueError(f"{request.api_model} has no input {name}")
        urls = [{"url": file.address} for file in files]
        body[_FIELDS[name]] = urls if name == "references" else urls[0]
    return body_of(body)


# --- the provider ---------------------------------------------------------------------------------------


class XaiProvider(HttpProvider):
    """One team at xAI."""

    name = "xai"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Bearer {config.api_key}"}
        super().__init__(config, headers=headers, link_seconds=LINK_SECONDS)

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        try:
            body = _submit_body(request)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        return await self.send_submit(f"{self.host}/v1/videos/generations", body, _outcome)

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """xAI says by words what is wrong: a wrong key is a 400, an empty purse a 403 or a 429."""
        outcome = super().submit_refused(response)
        said = complaint_of(response.body)
        if said is None or not 400 <= response.status < 500:
            return outcome
        text = said.message.lower()
        if any(words in text for words in _NO_CREDITS):
            return NotSent(self.words.clean(said.message), pauses_provider=True)
        if response.status == 400 and _WRONG_KEY in text:
            reason = self.words.clean(f"the key was refused (HTTP 400: {said.message})")
            return NotSent(reason, pauses_provider=True, key_refused=True)
        if response.status in (400, 404) and _NO_MODEL in text:
            reason = self.words.clean(f"this team has no such model: {said.message}")
            return Rejected(reason, FailureType.PARAM_ERROR)
        return outcome

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once, over a fresh connection; what does not say a status strictly is no answer."""
        try:
            url = f"{self.host}/v1/videos/{path_segment(remote_task_id)}"
        except ValueError as error:
            return NoAnswer(f"the remote task id cannot be asked for: {error}")
        statuses: list[int] = []

        def read(body: bytes) -> PollResult:
            return RENDERING if statuses[-1] == 202 and not body else self._verdict(body, remote_task_id)

        return await self.send_poll(
            "GET", url, None, read, check=lambda response: statuses.append(response.status), fresh=True
        )

    async def check(self) -> str | None:
        """Ask about a request that is not there: xAI answers 400, as for a bad parameter, to a wrong key."""
        answer = await self.send_question(
            "GET", f"{self.host}/v1/videos/{_MADE_UP_ID}", None, _status_and_words
        )
        if isinstance(answer, NoAnswer):
            return f"no answer: {answer.error}"
        status, words = answer
        if status in (401, 403) or (status == 400 and _WRONG_KEY in words.lower()):
            return self.words.clean(f"refused: HTTP {status}: {words}")
        return f"the service is unwell: HTTP {status}" if status >= 500 else None

    def poll_refused(self, response: Response) -> PollResult:
        """A 404 in xAI's own form is a request that is not there."""
        error = _own_error(response.body) if response.status == 404 else None
        if error is None:
            return self.no_answer(response)
        return Failed(self.words.clean(error.error or error.code or "HTTP 404"), FailureType.NOT_FOUND)

    def _verdict(self, body: bytes, remote_task_id: str) -> PollResult:
        answer = _decode_answer(body)
        require_same_task(remote_task_id, answer.request_id)
        cost = _usd_in(answer.usage)
        unit = None if cost is None else "USD"
        match answer.status:
            case "pending":
                return RENDERING_AT[progress_of(answer.progress)]
            case "done":
                video = _decode_video(answer.video)
                if video is not None and video.respect_moderation is False:
                    return Failed(_BLOCKED, FailureType.OUTPUT_MODERATION, cost, unit)
                return succeeded((video.url if video else None) or "", 100, cost, unit)
            case "failed":
                failed = failed_with_code(answer.error, _MEANINGS, self.words)
                return Failed(failed.error_message, failed.failure_type, cost, unit)
            case "expired":
                return Failed("the request expired at xAI", FailureType.TIMEOUT, cost, unit)
            case other:
                assert_never(other)


def _status_and_words(response: Response) -> tuple[int, str]:
    said = complaint_of(response.body)
    return response.status, "" if said is None else said.message


def _outcome(body: bytes) -> SubmitOutcome:
    return accepted(_decode_submitted(body).request_id)


def _own_error(body: bytes) -> _OwnError | None:
    """The error as xAI itself writes it; None for what anybody else may have written."""
    try:
        return _decode_error(body)
    except UNDECODABLE:
        return None


def _usd_in(usage: object) -> float | None:
    match usage:
        case {"cost_in_usd_ticks": int() as ticks} if not isinstance(ticks, bool):
            return amount_in(ticks / TICKS_PER_USD) if 0 <= ticks < _TICKS_MAX else None
        case _:
            return None


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return XaiProvider(config)
