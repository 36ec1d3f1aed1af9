"""Google's Gemini API: Gemini Omni by interactions, Veo by long-running operations.

    Omni     POST /v1/interactions {model, input, background, response_format}  -> {id, status}
             GET  /v1/interactions/{id}          -> {id, status, steps?, errors?}
    Veo      POST /v1beta/models/{model}:predictLongRunning {instances, parameters}  -> {name}
             GET  /v1beta/{name}                 -> {name, done?, error?, response?}
    file     GET  the URI in the answer, with the key

What moderation holds back of a Veo video is told inside a response that otherwise looks like a success:
`raiMediaFilteredCount` and `raiMediaFilteredReasons`. That is a failure here, whatever else is there.
There is no progress, and no callback. Checked against google-genai 3.6.1: `_operations_converters.py` and
`types.py` for Veo, `_gaos/types/interactions` for Omni; the SDK itself takes `/v1` for all, and has no
submit for Veo any more.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    SUCCEEDED_WITHOUT_VIDEO_URL,
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
    accepted,
    failure_type_of_refusal,
    failure_type_of_text,
    succeeded,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.http_provider import HttpProvider
from rushes.providers.transport import Response

LINK_SECONDS: Final = 2 * 86_400.0
"""Google keeps generated files for two days."""

_OPERATION: Final = re.compile(r"models/[a-z0-9][a-z0-9.\-]*/operations/[A-Za-z0-9_\-]+")
_INTERACTION: Final = re.compile(r"interactions/[A-Za-z0-9_\-]+")


# --- the wire: Veo ----------------------------------------------------------------------------------------


class _Operation(msgspec.Struct, frozen=True):
    """A submit's answer names one."""

    name: str


class _Status(msgspec.Struct, frozen=True):
    """google.rpc.Status."""

    code: int | None = None
    message: str | None = None


class _File(msgspec.Struct, frozen=True):
    uri: str | None = None


class _Sample(msgspec.Struct, frozen=True):
    video: _File | None = None


class _Videos(msgspec.Struct, frozen=True, rename="camel"):
    generated_samples: list[_Sample] | None = None
    rai_media_filtered_count: int | None = None
    rai_media_filtered_reasons: list[str] | None = None


class _Response(msgspec.Struct, frozen=True, rename="camel"):
    generate_video_response: _Videos


class _Progress(msgspec.Struct, frozen=True):
    """An operation that is asked for; `done` is left out until it is."""

    name: str
    done: bool = False
    error: _Status | None = None
    response: _Response | None = None


# --- the wire: Omni ---------------------------------------------------------------------------------------


class _Started(msgspec.Struct, frozen=True):
    id: str
    status: str


class _Fault(msgspec.Struct, frozen=True):
    code: str | None = None
    message: str | None = None


class _Interaction(msgspec.Struct, frozen=True):
    id: str
    status: Literal[
        "queued", "in_progress", "completed", "failed", "cancelled", "incomplete", "budget_exceeded"
    ]
    steps: list[msgspec.Raw] | None = None
    errors: list[_Fault] | None = None


class _Kind(msgspec.Struct, frozen=True):
    type: str


class _Content(msgspec.Struct, frozen=True):
    type: str
    uri: str | None = None
    text: str | None = None


class _ModelOutput(msgspec.Struct, frozen=True):
    content: list[_Content] | None = None
    error: _Status | None = None


# --- the wire: refusals -----------------------------------------------------------------------------------


class _Detail(msgspec.Struct, frozen=True, rename="camel"):
    reason: str | None = None
    retry_delay: str | None = None


class _Error(msgspec.Struct, frozen=True):
    message: str
    status: str | None = None
    details: list[_Detail] | None = None


class _Complaint(msgspec.Struct, frozen=True):
    error: _Error


_encode = msgspec.json.Encoder().encode
_decode_operation = msgspec.json.Decoder(_Operation).decode
_decode_progress = msgspec.json.Decoder(_Progress).decode
_decode_started = msgspec.json.Decoder(_Started).decode
_decode_interaction = msgspec.json.Decoder(_Interaction).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_output = msgspec.json.Decoder(_ModelOutput).decode
_decode_complaint = msgspec.json.Decoder(_Complaint).decode

_VEO_FIELDS: Final = {
    "aspect_ratio": "aspectRatio",
    "duration": "durationSeconds",
    "resolution": "resolution",
}
_OMNI_FIELDS: Final = {"aspect_ratio": "aspect_ratio", "duration": "duration", "resolution": "resolution"}
_NOT_OURS: Final = frozenset({"user_input", "thought"})
"""Steps of an interaction that hold no output."""

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
            body = _veo_body(request) if is_veo else _omni_body(request)
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
            return await self.send_poll("GET", url, None, self._interaction_result)
        if _OPERATION.fullmatch(remote_task_id):
            url = f"{self.host}/v1beta/{remote_task_id}"
            return await self.send_poll("GET", url, None, self._operation_result)
        return NO_SUCH_ID

    def _operation_result(self, body: bytes) -> PollResult:
        operation = _decode_progress(body)
        if not operation.done:
            return Processing(None)
        if operation.error is not None:
            return self._failure(operation.error.message, operation.error.code)
        if operation.response is None:
            return NoAnswer("it is done, with neither an error nor a response", 200)
        videos = operation.response.generate_video_response
        if videos.rai_media_filtered_count or videos.rai_media_filtered_reasons:
            reasons = "; ".join(videos.rai_media_filtered_reasons or ())
            message = self.words.clean(reasons or "the video was held back by moderation")
            return Failed(message, FailureType.OUTPUT_MODERATION)
        files = [sample.video for sample in videos.generated_samples or () if sample.video is not None]
        return succeeded((files[0].uri if files else None) or "", 100)

    def _interaction_result(self, body: bytes) -> PollResult:
        interaction = _decode_interaction(body)
        match interaction.status:
            case "queued" | "in_progress":
                return Processing(None)
            case "completed":
                return self._output(interaction)
            case "cancelled":
                return Failed("the interaction was cancelled", FailureType.CANCELLED)
            case "failed" | "incomplete" | "budget_exceeded":
                said = [fault.message or fault.code for fault in interaction.errors or ()]
                said += [output.error.message for output in _outputs(interaction) if output.error is not None]
                return self._failure(
                    "; ".join(filter(None, said)) or f"the interaction is {interaction.status}"
                )
            case other:
                assert_never(other)

    def _output(self, interaction: _Interaction) -> PollResult:
        """The last video of a completed interaction; without one, what it said instead."""
        contents = [content for output in _outputs(interaction) for content in output.content or ()]
        videos = [content for content in contents if content.type == "video"]
        if videos:
            return succeeded(videos[-1].uri or "", 100)
        text = " ".join(content.text for content in contents if content.type == "text" and content.text)
        if text:
            return self._failure(text)
        if all(content.type in ("video", "text") for content in contents) and not _unknown(interaction):
            return Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)
        return NoAnswer("it is completed, with nothing that is known to be a video", 200)

    def _failure(self, message: str | None, code: int | None = None) -> Failed:
        text = self.words.clean(message or REMOTE_TASK_FAILED)
        by_code = FailureType.PARAM_ERROR if code == _INVALID_ARGUMENT else FailureType.MODEL_ERROR
        return Failed(text, failure_type_of_text(text) or by_code)

    def complaint(self, body: bytes) -> str | None:
        """The `message` of an `error`."""
        error = _error_of(body)
        return None if error is None else error.message

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """A wrong key and an account without billing are answered 400, as a bad parameter is."""
        error = _error_of(response.body)
        outcome = super().submit_refused(response)
        if error is None:
            return outcome
        text = self.words.clean(f"HTTP {response.status}: {error.message}")
        reasons = {detail.reason for detail in error.details or ()}
        if response.status == 400 and "API_KEY_INVALID" in reasons:
            return NotSent(f"the key was refused ({text})", pauses_provider=True, key_refused=True)
        if response.status == 400 and error.status == "FAILED_PRECONDITION":
            return NotSent(text, pauses_provider=True)
        if response.status == 404 and error.status == "NOT_FOUND":
            return Rejected(self.words.clean(error.message), FailureType.PARAM_ERROR)
        if isinstance(outcome, Throttled) and outcome.retry_after_seconds is None:
            return Throttled(outcome.reason, _retry_delay(error))
        if isinstance(outcome, Rejected):
            kind = failure_type_of_refusal(error.message)
            moderated = kind is FailureType.INPUT_MODERATION
            return Rejected(outcome.reason, kind if moderated else FailureType.PARAM_ERROR)
        return outcome

    def poll_refused(self, response: Response) -> PollResult:
        """Only a 404 in the API's own words ends a task: there is no such operation or interaction."""
        error = _error_of(response.body) if response.status == 404 else None
        if error is not None and error.status in ("NOT_FOUND", "not_found"):
            return Failed(self.words.clean(error.message), FailureType.NOT_FOUND)
        return super().poll_refused(response)


def _veo_body(request: SubmitRequest) -> bytes:
    parameters = _options(request, _VEO_FIELDS)
    return _encode(
        {"instances": [{"prompt": request.prompt}], "parameters": {"sampleCount": 1, **parameters}}
    )


def _omni_body(request: SubmitRequest) -> bytes:
    wanted = _options(request, _OMNI_FIELDS)
    if "duration" in wanted:
        wanted["duration"] = f"{wanted['duration']}s"
    body = {
        "model": request.api_model,
        "input": request.prompt,
        "background": True,
        "store": True,
        "response_format": {"type": "video", "delivery": "uri", **wanted},
    }
    return _encode(body)


def _options(request: SubmitRequest, fields: Mapping[str, str]) -> dict[str, Any]:
    """The options in the API's words; raises `ValueError` for one that it does not have."""
    for option in request.options:
        if option not in fields:
            raise ValueError(f"{request.api_model} has no option {option}")
    return {fields[option]: value for option, value in request.options.items()}


def _operation(body: bytes) -> SubmitOutcome:
    name = _decode_operation(body).name
    return accepted(name if _OPERATION.fullmatch(name) else "")


def _interaction(body: bytes) -> SubmitOutcome:
    name = f"interactions/{_decode_started(body).id}"
    return accepted(name if _INTERACTION.fullmatch(name) else "")


def _outputs(interaction: _Interaction) -> list[_ModelOutput]:
    steps = interaction.steps or ()
    return [_decode_output(step) for step in steps if _decode_kind(step).type == "model_output"]


def _unknown(interaction: _Interaction) -> bool:
    """Whether there is a step of a kind that this version does not know."""
    kinds = {_decode_kind(step).type for step in interaction.steps or ()}
    return bool(kinds - _NOT_OURS - {"model_output"})


def _error_of(body: bytes) -> _Error | None:
    try:
        return _decode_complaint(body).error
    except UNDECODABLE:
        return None


def _retry_delay(error: _Error) -> float | None:
    """What google.rpc.RetryInfo asks for, in seconds."""
    for detail in error.details or ():
        found = _RETRY_DELAY.fullmatch(detail.retry_delay or "")
        if found is not None:
            return float(found[0][:-1])
    return None


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return GoogleProvider(config)
