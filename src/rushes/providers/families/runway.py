"""Runway's tasks API.

    submit   POST /v1/text_to_video, /v1/image_to_video   -> {id}
    poll     GET  /v1/tasks/{id}                          -> {id, status, progress?, output?, failure?,
                                                              failureCode?, cost?}
    cancel   DELETE /v1/tasks/{id}                        -> 204; deletes the video of one that has ended

Every request names the API's version. A task that has ended tells what it cost, in Runway's credits: a
failed one may have a cost too. There is no callback. Checked against runwayml 5.24.0.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    CancelRefused,
    CancelResult,
    Failed,
    FailureType,
    NotSent,
    OutputKind,
    PollResult,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    QUEUED,
    RENDERING_AT,
    UNDECODABLE,
    RemoteId,
    accepted,
    amount_in,
    failure_type_of_text,
    path_segment,
    progress_of,
    require_same_task,
    succeeded,
    text_in,
    words_in,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest, origin_of
from rushes.providers.described import body_of
from rushes.providers.http.transport import Response, TransportError
from rushes.providers.http_provider import HttpProvider
from rushes.providers.inputs import InputFile, addresses, as_described, multipart_form

API_VERSION: Final = "2024-11-06"

LINK_SECONDS: Final = 86_400.0
"""Runway says 24 to 48 hours."""

COST_UNIT: Final = "credits"
"""What Runway counts its costs in; the models' costs say what one is in money."""

POLL_INTERVAL_MIN_SECONDS: Final = 5.0
"""Runway has no news of a task more often; the operator's own setting goes before it."""

PROMPT_UNITS_MAX: Final = 15_000
"""UTF-16 code units of the longest prompt that any model takes; what one takes, the catalogue says."""


# --- the wire -------------------------------------------------------------------------------------------


class _Submitted(msgspec.Struct, frozen=True):
    id: RemoteId


class _Task(msgspec.Struct, frozen=True, rename="camel"):
    """A task in any state; `progress` only while it runs, from 0 to 1, and `cost` once it has ended.

    Id and status are strict, and so is the output of a success. The rest is read as far as it can be.
    """

    id: RemoteId
    status: Literal["PENDING", "THROTTLED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"]
    progress: Any = None
    output: msgspec.Raw = msgspec.Raw(b"null")
    failure: Any = None
    failure_code: Any = None
    cost: Any = None


class _Place(msgspec.Struct, frozen=True, rename="camel"):
    """Where a file goes before it is named by its `runway_uri`: a form with these fields before the file."""

    runway_uri: str
    upload_url: str
    fields: dict[str, str]


class _Complaint(msgspec.Struct, frozen=True):
    error: str


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_task = msgspec.json.Decoder(_Task).decode
_decode_output = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_decode_url = msgspec.json.Decoder(str | None).decode
_decode_place = msgspec.json.Decoder(_Place).decode
_decode_complaint = msgspec.json.Decoder(_Complaint).decode

_RATIOS: Final[Mapping[tuple[str, str], str]] = {
    ("16:9", "720p"): "1280:720",
    ("9:16", "720p"): "720:1280",
    ("16:9", "1080p"): "1920:1080",
    ("9:16", "1080p"): "1080:1920",
}
"""The pixels of an aspect ratio and a resolution: the API takes both as one."""

_KNOWN: Final = ("aspect_ratio", "resolution", "duration", "seed")
"""The options whose place in a request is written here; those of other models are described as data."""

_INPUTS: Final = {"first_frame": "promptImage"}

DURATION_SECONDS: Final = 5
"""Of gen4.5, which requires one."""


def _submit_body(request: SubmitRequest) -> bytes:
    """Raises `ValueError` for what the API would refuse, or text that is not valid Unicode."""
    described = request.described_fields(_KNOWN)
    options = request.plain_options(_KNOWN)
    body: dict[str, Any] = {"model": request.api_model, "promptText": request.prompt}
    ratio = options.pop("aspect_ratio", "16:9"), options.pop("resolution", "720p")
    if "ratio" not in described:
        if ratio not in _RATIOS:
            raise ValueError(f"{request.api_model} has no {ratio[0]} in {ratio[1]}")
        body["ratio"] = _RATIOS[ratio]
    described_inputs, others = as_described(request.inputs, request.wires)
    body |= described | described_inputs
    body |= addresses(others, _INPUTS, frozenset(), request.api_model)
    duration = options.pop("duration", DURATION_SECONDS if request.api_model == "gen4.5" else None)
    if duration is not None:
        body.setdefault("duration", duration)
    if "seed" in options:
        body["seed"] = options.pop("seed")
    for option in options:
        raise ValueError(f"{request.api_model} has no option {option}")
    units = len(request.prompt.encode("utf-16-le", errors="surrogatepass")) // 2
    if units > PROMPT_UNITS_MAX:
        raise ValueError(f"the prompt has {units} UTF-16 code units; Runway takes {PROMPT_UNITS_MAX}")
    return body_of(body)


# --- the provider ---------------------------------------------------------------------------------------


class RunwayProvider(HttpProvider):
    """Runway's own models and those that it resells. What is above the account's limit waits, THROTTLED."""

    name = "runway"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Bearer {config.api_key}", "x-runway-version": API_VERSION}
        super().__init__(config, headers=headers, link_seconds=LINK_SECONDS)
        self._adds_secrets, self._origin = bool(config.secrets), origin_of(config.host)
        if self.limits.poll_interval_min_seconds is None:
            self.limits = replace(self.limits, poll_interval_min_seconds=POLL_INTERVAL_MIN_SECONDS)

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once; a first frame makes it an image-to-video task."""
        try:
            body = _submit_body(request)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        kind = "image_to_video" if "first_frame" in request.inputs else "text_to_video"
        return await self.send_submit(f"{self.host}/v1/{kind}", body, _outcome)

    async def upload_input(self, file: InputFile) -> str | NotSent | Rejected:
        """Give Runway a file; it keeps it for a day under an address of its own.

        The place for it is at another host: there the key does not go, nor anything that an operator adds.
        """
        if self._adds_secrets:
            reason = "files are not uploaded where headers or a query are added to every request"
            return Rejected(reason, FailureType.PARAM_ERROR)
        question = body_of({"filename": file.file_name, "type": "ephemeral"})
        try:
            response = await self._request(
                "POST", f"{self.host}/v1/uploads", self._submit_headers, question, fresh=False
            )
            if not 200 <= response.status < 300:
                return self._upload_refused(response)
            place = _decode_place(response.body)
            if not place.upload_url.startswith("https://") and origin_of(place.upload_url) != self._origin:
                return NotSent("the place for files is no https URL")
            content_type, form = multipart_form(place.fields, {"file": file})
            given = await self._request(
                "POST", place.upload_url, {"content-type": content_type}, form, fresh=False
            )
        except TransportError as error:
            return NotSent(error.reason)
        except UNDECODABLE as error:
            return NotSent(self.words.undecodable(error))
        if not 200 <= given.status < 300:
            return NotSent(f"the place for files answered HTTP {given.status}")
        return place.runway_uri

    def _upload_refused(self, response: Response) -> NotSent | Rejected:
        outcome = self.submit_refused(response)
        return outcome if isinstance(outcome, NotSent | Rejected) else NotSent(f"HTTP {response.status}")

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """An account without credits is answered 400, as a bad parameter is: it must not fail the tasks."""
        outcome = super().submit_refused(response)
        if isinstance(outcome, Rejected) and "enough credits" in outcome.reason:
            return NotSent(outcome.reason, pauses_provider=True)
        return outcome

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; what does not say a status strictly is no answer."""
        return await self.poll_by_id(f"{self.host}/v1/tasks", remote_task_id, self._verdict)

    async def cancel(self, remote_task_id: str) -> CancelResult:
        """Cancel a task that waits: Runway refunds none that has started, and deletes one that has ended."""
        try:
            url = f"{self.host}/v1/tasks/{path_segment(remote_task_id)}"
        except ValueError as error:
            return CancelRefused(f"the remote task id cannot be asked for: {error}")

        def standing(body: bytes) -> str | None:
            task = _decode_task(body)
            require_same_task(remote_task_id, task.id)
            return None if task.status in ("PENDING", "THROTTLED") else f"it is {task.status}"

        return await self.cancel_if_waiting(url, standing, ("DELETE", url, None))

    def poll_refused(self, response: Response) -> PollResult:
        """A 404 in Runway's own words is a task that is not there; deleted ones are not."""
        said = _own_words(response.body) if response.status == 404 else None
        if said is None:
            return self.no_answer(response)
        return Failed(self.words.clean(said or "HTTP 404"), FailureType.NOT_FOUND)

    def _verdict(self, body: bytes, asked: str) -> PollResult:
        task = _decode_task(body)
        require_same_task(asked, task.id)
        cost = _credits_in(task.cost)
        unit = None if cost is None else COST_UNIT
        match task.status:
            case "PENDING" | "THROTTLED":
                return QUEUED
            case "RUNNING":
                return RENDERING_AT[_progress_of_part(task.progress)]
            case "SUCCEEDED":
                files = _decode_output(task.output) or []
                further = [(OutputKind.VIDEO, text_in(file)) for file in files[1:]]
                return succeeded((_decode_url(files[0]) or "") if files else "", 100, cost, unit, further)
            case "FAILED":
                code, failure = words_in(task.failure_code), words_in(task.failure)
                message = self.words.clean(failure or code or REMOTE_TASK_FAILED)
                return Failed(message, _failure_type(code, failure), cost, unit)
            case "CANCELLED":
                return Failed("the task was cancelled at Runway", FailureType.CANCELLED, cost, unit)
            case other:
                assert_never(other)


def _outcome(body: bytes) -> SubmitOutcome:
    return accepted(_decode_submitted(body).id)


def _own_words(body: bytes) -> str | None:
    """`error`, as Runway itself writes it; None for what anybody else may have written."""
    try:
        return _decode_complaint(body).error
    except UNDECODABLE:
        return None


def _progress_of_part(part: object) -> int | None:
    """Per cent of a part of 1."""
    if isinstance(part, bool) or not isinstance(part, int | float):
        return None
    return progress_of(round(100 * min(max(part, 0), 1)))


def _credits_in(cost: object) -> float | None:
    match cost:
        case {"credits": int() | float() as credits}:
            return amount_in(credits)
        case _:
            return None


_BY_CODE: Final = (
    ("SAFETY.OUTPUT", FailureType.OUTPUT_MODERATION),
    ("SAFETY.INPUT", FailureType.INPUT_MODERATION),
    ("INPUT_PREPROCESSING.SAFETY", FailureType.INPUT_MODERATION),
    ("SAFETY", FailureType.OUTPUT_MODERATION),
    ("ASSET.INVALID", FailureType.PARAM_ERROR),
    ("THIRD_PARTY.INPUT_VALIDATION", FailureType.PARAM_ERROR),
)
"""How failure codes start, in dotted parts; the first that fits. All others are the model's errors."""


def _failure_type(code: str | None, failure: str | None) -> FailureType:
    if not code:
        return failure_type_of_text(failure or "") or FailureType.MODEL_ERROR
    for start, failure_type in _BY_CODE:
        if f"{code}.".startswith(f"{start}."):
            return failure_type
    return FailureType.MODEL_ERROR


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return RunwayProvider(config)
