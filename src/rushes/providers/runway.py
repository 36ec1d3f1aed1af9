"""Runway's tasks API.

    submit   POST /v1/text_to_video, /v1/image_to_video   -> {id}
    poll     GET  /v1/tasks/{id}                          -> {id, status, progress?, output?, failure?,
                                                              failureCode?, cost?}

Every request names the API's version. A task that has ended tells what it cost, in Runway's credits: a
failed one may have a cost too. There is no callback. Checked against runwayml 5.24.0.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    UNDECODABLE,
    accepted,
    failure_type_of_text,
    no_answer,
    path_segment,
    succeeded,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.http_provider import HttpProvider
from rushes.providers.transport import Response

API_VERSION: Final = "2024-11-06"

LINK_SECONDS: Final = 86_400.0
"""Runway says 24 to 48 hours."""

POLL_INTERVAL_MIN_SECONDS: Final = 5.0
"""Runway has no news of a task more often; the operator's own setting goes before it."""

PROMPT_UNITS_MAX: Final = 1000
"""UTF-16 code units of a prompt."""


# --- the wire -------------------------------------------------------------------------------------------


class _Submitted(msgspec.Struct, frozen=True):
    id: str


class _Cost(msgspec.Struct, frozen=True):
    credits: float


class _Task(msgspec.Struct, frozen=True, rename="camel"):
    """A task in any state; `progress` only while it runs, from 0 to 1, and `cost` once it has ended."""

    id: str
    status: Literal["PENDING", "THROTTLED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"]
    progress: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    output: list[str] | None = None
    failure: str | None = None
    failure_code: str | None = None
    cost: _Cost | None = None


class _Complaint(msgspec.Struct, frozen=True):
    error: str


_encode = msgspec.json.Encoder().encode
_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_task = msgspec.json.Decoder(_Task).decode
_decode_complaint = msgspec.json.Decoder(_Complaint).decode

_RATIOS: Final[Mapping[tuple[str, str], str]] = {
    ("16:9", "720p"): "1280:720",
    ("9:16", "720p"): "720:1280",
    ("16:9", "1080p"): "1920:1080",
    ("9:16", "1080p"): "1080:1920",
}
"""The pixels of an aspect ratio and a resolution: the API takes both as one."""

DURATION_SECONDS: Final = 5
"""Of gen4.5, which must be told one."""


def _submit_body(request: SubmitRequest) -> bytes:
    """Raises `ValueError` for what the API would refuse, or text that is not valid Unicode."""
    options = dict(request.options)
    ratio = options.pop("aspect_ratio", "16:9"), options.pop("resolution", "720p")
    if ratio not in _RATIOS:
        raise ValueError(f"{request.api_model} has no {ratio[0]} in {ratio[1]}")
    body: dict[str, Any] = {
        "model": request.api_model,
        "promptText": request.prompt,
        "ratio": _RATIOS[ratio],
    }
    duration = options.pop("duration", DURATION_SECONDS if request.api_model == "gen4.5" else None)
    if duration is not None:
        body["duration"] = duration
    if "first_frame_url" in options:
        body["promptImage"] = options.pop("first_frame_url")
    if "seed" in options:
        body["seed"] = options.pop("seed")
    for option in options:
        raise ValueError(f"{request.api_model} has no option {option}")
    try:
        units = len(request.prompt.encode("utf-16-le")) // 2
        if units > PROMPT_UNITS_MAX:
            raise ValueError(f"the prompt has {units} UTF-16 code units; Runway takes {PROMPT_UNITS_MAX}")
        return _encode(body)
    except UnicodeEncodeError:
        raise ValueError("the prompt or an option is not valid text") from None


# --- the provider ---------------------------------------------------------------------------------------


class RunwayProvider(HttpProvider):
    """Runway's own models and those that it resells. What is above the account's limit waits, THROTTLED."""

    name = "runway"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Bearer {config.api_key}", "x-runway-version": API_VERSION}
        super().__init__(config, headers=headers, link_seconds=LINK_SECONDS)
        if self.limits.poll_interval_min_seconds is None:
            self.limits = replace(self.limits, poll_interval_min_seconds=POLL_INTERVAL_MIN_SECONDS)

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once; a first frame makes it an image-to-video task."""
        try:
            body = _submit_body(request)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        kind = "image_to_video" if "first_frame_url" in request.options else "text_to_video"
        return await self.send_submit(f"{self.host}/v1/{kind}", body, _outcome)

    def complaint(self, body: bytes) -> str | None:
        """`error`."""
        try:
            return _decode_complaint(body).error
        except UNDECODABLE:
            return None

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """An account without credits is answered 400, as a bad parameter is: it must not fail the tasks."""
        outcome = super().submit_refused(response)
        if isinstance(outcome, Rejected) and "enough credits" in outcome.reason:
            return NotSent(outcome.reason, pauses_provider=True)
        return outcome

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; what does not decode strictly is no answer."""
        try:
            url = f"{self.host}/v1/tasks/{path_segment(remote_task_id)}"
        except ValueError as error:
            return NoAnswer(f"the remote task id cannot be asked for: {error}")
        return await self.send_poll("GET", url, None, self._verdict)

    def poll_refused(self, response: Response) -> PollResult:
        """A 404 in Runway's own words is a task that is not there; deleted ones are not."""
        said = self.complaint(response.body) if response.status == 404 else None
        if said is None:
            return no_answer(response)
        return Failed(self.words.clean(said or "HTTP 404"), FailureType.NOT_FOUND)

    def _verdict(self, body: bytes) -> PollResult:
        task = _decode_task(body)
        cost = None if task.cost is None else task.cost.credits
        match task.status:
            case "PENDING" | "THROTTLED":
                return Processing(None)
            case "RUNNING":
                return Processing(None if task.progress is None else round(100 * task.progress))
            case "SUCCEEDED":
                return succeeded(task.output[0] if task.output else "", 100, cost)
            case "FAILED":
                message = self.words.clean(task.failure or task.failure_code or REMOTE_TASK_FAILED)
                return Failed(message, _failure_type(task.failure_code, task.failure), cost)
            case "CANCELLED":
                return Failed("the task was cancelled at Runway", FailureType.CANCELLED, cost)
            case other:
                assert_never(other)


def _outcome(body: bytes) -> SubmitOutcome:
    return accepted(_decode_submitted(body).id)


_BY_CODE: Final = (
    ("SAFETY.OUTPUT", FailureType.OUTPUT_MODERATION),
    ("SAFETY.INPUT", FailureType.INPUT_MODERATION),
    ("INPUT_PREPROCESSING.SAFETY", FailureType.INPUT_MODERATION),
    ("SAFETY", FailureType.OUTPUT_MODERATION),
    ("ASSET.INVALID", FailureType.PARAM_ERROR),
    ("THIRD_PARTY.INPUT_VALIDATION", FailureType.PARAM_ERROR),
)
"""How failure codes begin, in dotted parts; the first that fits. All others are the model's errors."""


def _failure_type(code: str | None, failure: str | None) -> FailureType:
    if not code:
        return failure_type_of_text(failure or "") or FailureType.MODEL_ERROR
    for beginning, failure_type in _BY_CODE:
        if f"{code}.".startswith(f"{beginning}."):
            return failure_type
    return FailureType.MODEL_ERROR


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return RunwayProvider(config)
