"""Google's Gemini API: Gemini Omni by interactions, Veo by long-running operations.

    Omni     POST /v1/interactions {model, input, background, response_format}  -> {id, status}
             GET  /v1/interactions/{id}          -> {id, status, steps?, errors?}
             POST /v1/interactions/{id}/cancel   -> {id, status}, of one that has not ended
    Veo      POST /v1beta/models/{model}:predictLongRunning {instances, parameters}  -> {name}
             GET  /v1beta/{name}                 -> {name, done?, error?, response?}
    file     GET  the URI in the answer, with the key

What moderation holds back of a Veo video is listed inside a response that otherwise looks like a success:
`raiMediaFilteredCount` and `raiMediaFilteredReasons`. That is a failure here, whatever else is there.
There is no progress, and no callback. Checked against google-genai 3.6.1: `_operations_converters.py` and
`types.py` for Veo, `_gaos/types/interactions` for Omni; the SDK itself takes `/v1` for all, and has no
longer a submit for Veo.
"""

import re
from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    SUCCEEDED_WITHOUT_VIDEO_URL,
    CancelRefused,
    CancelResult,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Throttled,
)
from rushes.providers.answers import (
    NO_SUCH_ID,
    UNDECODABLE,
    RemoteId,
    accepted,
    failure_type_of_text,
    require_same_task,
    succeeded,
    words_in,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.families.google_bodies import omni_body, veo_body
from rushes.providers.http.transport import Response
from rushes.providers.http_provider import HttpProvider

LINK_SECONDS: Final = 2 * 86_400.0
"""Google keeps generated files for two days."""

_OPERATION: Final = re.compile(r"models/[a-z0-9][a-z0-9.\-]*/operations/[A-Za-z0-9_\-]+")
_INTERACTION: Final = re.compile(r"interactions/[A-Za-z0-9_\-]+")


# --- the wire: Veo ----------------------------------------------------------------------------------------


class _Operation(msgspec.Struct, frozen=True):
    """A submit's answer names one."""

    name: str


class _File(msgspec.Struct, frozen=True):
    uri: str | None = None


class _Sample(msgspec.Struct, frozen=True):
    video: _File | None = None


class _Videos(msgspec.Struct, frozen=True, rename="camel"):
    generated_samples: list[msgspec.Raw] | None = None
    rai_media_filtered_count: Any = None
    rai_media_filtered_reasons: Any = None


class _Response(msgspec.Struct, frozen=True, rename="camel"):
    generate_video_response: _Videos | None = None


class _Progress(msgspec.Struct, frozen=True):
    """An operation that is asked for; `done` is left out until it is.

    Name and `done` are strict, and so is the video of a success. The rest is read as far as it can be.
    """

    name: str
    done: bool = False
    error: Any = None
    response: msgspec.Raw = msgspec.Raw(b"null")


# --- the wire: Omni ---------------------------------------------------------------------------------------


class _Started(msgspec.Struct, frozen=True):
    id: RemoteId


class _Interaction(msgspec.Struct, frozen=True):
    id: RemoteId
    status: Literal[
        "queued", "in_progress", "completed", "failed", "cancelled", "incomplete", "budget_exceeded"
    ]
    steps: msgspec.Raw = msgspec.Raw(b"null")
    errors: Any = None


class _Kind(msgspec.Struct, frozen=True):
    type: str


class _Content(msgspec.Struct, frozen=True):
    type: str
    uri: msgspec.Raw = msgspec.Raw(b"null")
    text: Any = None


class _ModelOutput(msgspec.Struct, frozen=True):
    content: list[_Content] | None = None
    error: Any = None


# --- the wire: refusals -----------------------------------------------------------------------------------


class _Error(msgspec.Struct, frozen=True):
    message: str
    status: Any = None
    details: Any = None

    def texts(self, name: str) -> list[str]:
        """The texts of that name in its details."""
        details = self.details if isinstance(self.details, list) else []
        found = [detail.get(name) for detail in details if isinstance(detail, dict)]
        return [text for text in found if isinstance(text, str)]


class _Complaint(msgspec.Struct, frozen=True):
    error: _Error


_decode_operation = msgspec.json.Decoder(_Operation).decode
_decode_progress = msgspec.json.Decoder(_Progress).decode
_decode_started = msgspec.json.Decoder(_Started).decode
_decode_interaction = msgspec.json.Decoder(_Interaction).decode
_decode_response = msgspec.json.Decoder(_Response | None).decode
_decode_sample = msgspec.json.Decoder(_Sample).decode
_decode_url = msgspec.json.Decoder(str | None).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_decode_steps = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_output = msgspec.json.Decoder(_ModelOutput).decode
_decode_complaint = msgspec.json.Decoder(_Complaint).decode

_NOT_OURS: Final = frozenset({"user_input", "thought"})
"""Steps of an interaction that hold no output."""

_NO_VIDEO_FIELDS: Final = frozenset({"@type", "generateVideoResponse"})
"""What an operation's response may hold without holding anything that this version does not know."""

_INVALID_ARGUMENT: Final = 3
_RETRY_DELAY: Final = re.compile(r"(\d{1,6})(\.\d{1,9})?s")


# --- the provider ---------------------------------------------------------------------------------------


class GoogleProvider(HttpProvider):
    """One key of the Gemini API. A remote task id is the resource's name, as it stands in its path."""

    name = "google"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"x-goog-api-key": config.api_key}
        super().__init__(config, headers=headers, file_headers=headers, link_seconds=LINK_SECONDS)

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        is_veo = request.api_model.startswith("veo-")
        try:
            body = veo_body(request) if is_veo else omni_body(request)
        except ValueError as error:
            reason = "the prompt is not valid text" if isinstance(error, UnicodeError) else str(error)
            return Rejected(reason, FailureType.PARAM_ERROR)
        if is_veo:
            url = f"{self.host}/v1beta/models/{request.api_model}:predictLongRunning"
            return await self.send_submit(url, body, _operation)
        return await self.send_submit(f"{self.host}/v1/interactions", body, _interaction)

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once."""
        if _INTERACTION.fullmatch(remote_task_id):
            url = f"{self.host}/v1/{remote_task_id}"
            return await self.send_poll(
                "GET", url, None, lambda body: self._interaction_result(body, remote_task_id)
            )
        if _OPERATION.fullmatch(remote_task_id):
            url = f"{self.host}/v1beta/{remote_task_id}"
            return await self.send_poll(
                "GET", url, None, lambda body: self._operation_result(body, remote_task_id)
            )
        return NO_SUCH_ID

    async def cancel(self, remote_task_id: str) -> CancelResult:
        """Cancel an interaction that is queued. Veo's operations cannot be cancelled here."""
        if not _INTERACTION.fullmatch(remote_task_id):
            return CancelRefused("only an interaction can be cancelled")
        url = f"{self.host}/v1/{remote_task_id}"

        def standing(body: bytes) -> str | None:
            found = _decode_interaction(body)
            require_same_task(remote_task_id, f"interactions/{found.id}")
            return None if found.status == "queued" else f"it is {found.status}"

        cancel = ("POST", f"{url}/cancel", b"{}")
        return await self.cancel_if_waiting(url, standing, cancel, too_late=(400, 409))

    def _operation_result(self, body: bytes, asked: str) -> PollResult:
        operation = _decode_progress(body)
        require_same_task(asked, operation.name)
        if not operation.done:
            return Processing(None)
        if operation.error is not None:
            code = operation.error.get("code") if isinstance(operation.error, dict) else None
            return self._failure(words_in(operation.error), code)
        response = _decode_response(operation.response)
        videos = None if response is None else response.generate_video_response
        if videos is None:
            if set(_decode_keys(operation.response) or ()) - _NO_VIDEO_FIELDS:
                return NoAnswer("it is done, with nothing that is known to be a video", 200)
            return Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)
        if videos.rai_media_filtered_count or videos.rai_media_filtered_reasons:
            reasons = words_in(videos.rai_media_filtered_reasons)
            message = self.words.clean(reasons or "the video was held back by moderation")
            return Failed(message, FailureType.OUTPUT_MODERATION)
        samples = map(_decode_sample, videos.generated_samples or ())
        file = next((sample.video for sample in samples if sample.video is not None), None)
        return succeeded((file.uri if file else None) or "", 100)

    def _interaction_result(self, body: bytes, asked: str) -> PollResult:
        interaction = _decode_interaction(body)
        require_same_task(asked, f"interactions/{interaction.id}")
        match interaction.status:
            case "queued" | "in_progress":
                return Processing(None)
            case "completed":
                return self._output(interaction)
            case "cancelled":
                return Failed("the interaction was cancelled", FailureType.CANCELLED)
            case "failed" | "incomplete" | "budget_exceeded":
                said = "; ".join(filter(None, (_said_by(interaction.errors), _errors_in_steps(interaction))))
                return self._failure(said or f"the interaction is {interaction.status}")
            case other:
                assert_never(other)

    def _output(self, interaction: _Interaction) -> PollResult:
        """The last video of a completed interaction; without one, what it said instead."""
        contents = [content for output in _outputs(interaction) for content in output.content or ()]
        videos = [content for content in contents if content.type == "video"]
        if videos:
            return succeeded(_decode_url(videos[-1].uri) or "", 100)
        texts = [words_in(content.text) for content in contents if content.type == "text"]
        text = " ".join(filter(None, texts))
        if text:
            return self._failure(text)
        if all(content.type in ("video", "text") for content in contents) and not _unknown(interaction):
            return Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)
        return NoAnswer("it is completed, with nothing that is known to be a video", 200)

    def _failure(self, message: str | None, code: object = None) -> Failed:
        text = self.words.clean(message or REMOTE_TASK_FAILED)
        by_code = FailureType.PARAM_ERROR if code == _INVALID_ARGUMENT else FailureType.MODEL_ERROR
        return Failed(text, failure_type_of_text(text) or by_code)

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """A wrong key and an account without billing are answered 400, as a bad parameter is."""
        error = _error_of(response.body)
        outcome = super().submit_refused(response)
        if error is None:
            return outcome
        text = self.words.clean(f"HTTP {response.status}: {error.message}")
        if response.status == 400 and "API_KEY_INVALID" in error.texts("reason"):
            return NotSent(f"the key was refused ({text})", pauses_provider=True, key_refused=True)
        if response.status == 400 and error.status == "FAILED_PRECONDITION":
            return NotSent(text, pauses_provider=True)
        if response.status == 404 and error.status == "NOT_FOUND":
            return Rejected(self.words.clean(error.message), FailureType.PARAM_ERROR)
        if isinstance(outcome, Throttled) and outcome.retry_after_seconds is None:
            return Throttled(outcome.reason, _retry_delay(error))
        return outcome

    def poll_refused(self, response: Response) -> PollResult:
        """Only a 404 in the API's own words ends a task: there is no such operation or interaction."""
        error = _error_of(response.body) if response.status == 404 else None
        if error is not None and error.status in ("NOT_FOUND", "not_found"):
            return Failed(self.words.clean(error.message), FailureType.NOT_FOUND)
        return super().poll_refused(response)


def _operation(body: bytes) -> SubmitOutcome:
    name = _decode_operation(body).name
    return accepted(name if _OPERATION.fullmatch(name) else "")


def _interaction(body: bytes) -> SubmitOutcome:
    name = f"interactions/{_decode_started(body).id}"
    return accepted(name if _INTERACTION.fullmatch(name) else "")


def _outputs(interaction: _Interaction) -> list[_ModelOutput]:
    steps = _decode_steps(interaction.steps) or ()
    return [_decode_output(step) for step in steps if _decode_kind(step).type == "model_output"]


def _said_by(errors: object) -> str | None:
    """Messages, or else codes."""
    faults = errors if isinstance(errors, list) else [errors]
    said = [words_in(fault) or _code_of(fault) for fault in faults]
    return "; ".join(filter(None, said)) or None


def _code_of(fault: object) -> str | None:
    return words_in(fault.get("code")) if isinstance(fault, dict) else None


def _errors_in_steps(interaction: _Interaction) -> str | None:
    """What the steps of a failed interaction say; a form that is not known says nothing."""
    try:
        return "; ".join(filter(None, (words_in(output.error) for output in _outputs(interaction))))
    except UNDECODABLE:
        return None


def _unknown(interaction: _Interaction) -> bool:
    """Whether there is a step of a kind that this version does not know."""
    kinds = {_decode_kind(step).type for step in _decode_steps(interaction.steps) or ()}
    return bool(kinds - _NOT_OURS - {"model_output"})


def _error_of(body: bytes) -> _Error | None:
    try:
        return _decode_complaint(body).error
    except UNDECODABLE:
        return None


def _retry_delay(error: _Error) -> float | None:
    """What google.rpc.RetryInfo asks for, in seconds."""
    for delay in error.texts("retryDelay"):
        found = _RETRY_DELAY.fullmatch(delay)
        if found is not None:
            return float(found[0][:-1])
    return None


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return GoogleProvider(config)
