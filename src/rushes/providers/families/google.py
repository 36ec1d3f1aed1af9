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
from typing import Any, Final

import msgspec

from rushes.domain.task import (
    SUCCEEDED_WITHOUT_VIDEO_URL,
    CancelRefused,
    CancelResult,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Rejected,
    SubmitOutcome,
    Throttled,
)
from rushes.providers.answers import (
    NO_SUCH_ID,
    RENDERING,
    UNDECODABLE,
    accepted,
    require_same_task,
    succeeded,
    words_in,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.families.google_interactions import (
    cancel_if_queued,
    failure,
    inline,
    interaction_body,
    interaction_in,
    options_in,
    started,
    verdict_on,
)
from rushes.providers.http.transport import Response
from rushes.providers.http_provider import HttpProvider

LINK_SECONDS: Final = 2 * 86_400.0
"""Google keeps generated files for two days."""

_DELIVERY: Final = {"delivery": "uri"}
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
_decode_response = msgspec.json.Decoder(_Response | None).decode
_decode_sample = msgspec.json.Decoder(_Sample).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_decode_complaint = msgspec.json.Decoder(_Complaint).decode
_encode = msgspec.json.Encoder().encode

_NO_VIDEO_FIELDS: Final = frozenset({"@type", "generateVideoResponse"})
"""What an operation's response may hold without holding anything that this version does not know."""

_VEO_FIELDS: Final = {
    "aspect_ratio": "aspectRatio",
    "duration": "durationSeconds",
    "resolution": "resolution",
}
_VEO_INPUTS: Final = {"first_frame": "image", "last_frame": "lastFrame"}
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
            body = _veo_body(request) if is_veo else interaction_body(request, _DELIVERY)
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
        return await cancel_if_queued(self, url, _interaction_id(remote_task_id))

    def _operation_result(self, body: bytes, asked: str) -> PollResult:
        operation = _decode_progress(body)
        require_same_task(asked, operation.name)
        if not operation.done:
            return RENDERING
        if operation.error is not None:
            code = operation.error.get("code") if isinstance(operation.error, dict) else None
            return failure(words_in(operation.error), self.words, code)
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
        return verdict_on(
            interaction_in(body, _interaction_id(asked)), self.words, lambda video: video.address
        )

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
    interaction_id = started(body)
    return accepted(f"interactions/{interaction_id}" if interaction_id else "")


def _interaction_id(remote_task_id: str) -> str:
    return remote_task_id.removeprefix("interactions/")


def _veo_body(request: SubmitRequest) -> bytes:
    """The JSON of a Veo operation. Raises `ValueError` for what the model does not take."""
    parameters = options_in(request.options, _VEO_FIELDS, request.api_model)
    instance: dict[str, Any] = {"prompt": request.prompt}
    for role, files in request.inputs.items():
        if role not in _VEO_INPUTS:
            raise ValueError(f"{request.api_model} has no input {role}")
        content_type, data = inline(files[0], request.api_model)
        instance[_VEO_INPUTS[role]] = {"bytesBase64Encoded": data, "mimeType": content_type}
    return _encode({"instances": [instance], "parameters": {"sampleCount": 1, **parameters}})


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
