"""Alibaba's Model Studio (DashScope): Wan and HappyHorse. One API in several regions, each with its keys.

    submit   POST {base}/services/aigc/video-generation/video-synthesis  -> {output: {task_id, task_status}}
    poll     GET  {base}/tasks/{task_id}
             -> {output: {task_id, task_status, video_url?, code?, message?}, usage?}
    cancel   POST {base}/tasks/{task_id}/cancel, of one that is PENDING

A submit has to say `X-DashScope-Async`. A task lives for a day; then, and where there never was one, its
status is UNKNOWN. There is no progress and no callback. A success reports the seconds that are charged. Of
models with a name for each kind of video (`…-t2v`), the name follows what goes in. Checked against dashscope
2.0.2, litellm 1.110.2 and Model Studio's list of error codes.
"""

from dataclasses import replace
from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    CancelRefused,
    CancelResult,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    QUEUED,
    RENDERING,
    RemoteId,
    Unnamed,
    accepted,
    amount_in,
    complaint_of,
    path_segment,
    require_same_task,
    succeeded,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.codes import (
    Meaning,
    Meanings,
    coded_refusal,
    failed_with_code,
    refusal_that_says,
)
from rushes.providers.described import body_of, described_options, roles_of
from rushes.providers.http.transport import Response
from rushes.providers.http_provider import HttpProvider

LINK_SECONDS: Final = 86_400.0
COST_UNIT: Final = "seconds"
"""What it counts in: those of the video, and of a video that goes in."""

POLL_INTERVAL_MIN_SECONDS: Final = 15.0
"""As often as it suggests to ask; the operator's own setting goes before it."""

_SYNTHESIS: Final = "/services/aigc/video-generation/video-synthesis"
_TEXT_TO_VIDEO: Final = "-t2v"

_MEANINGS: Final[Meanings] = {
    "InvalidApiKey": Meaning.KEY,
    "Workspace.AccessDenied": Meaning.KEY,
    "AccessDenied": Meaning.KEY,
    "AccessDenied.Unpurchased": Meaning.ACCOUNT,
    "AllocationQuota.FreeTierOnly": Meaning.ACCOUNT,
    "Arrearage": Meaning.ACCOUNT,
    "CommodityNotPurchased": Meaning.ACCOUNT,
    "PostpaidBillOverdue": Meaning.ACCOUNT,
    "PrepaidBillOverdue": Meaning.ACCOUNT,
    "Model.AccessDenied": Meaning.MODEL,
    "ModelNotFound": Meaning.MODEL,
    "model_not_found": Meaning.MODEL,
    "Throttling": Meaning.BUSY,
    "LimitRequests": Meaning.BUSY,
    "BadRequest": Meaning.PARAMETER,
    "InvalidParameter": Meaning.PARAMETER,
    "InvalidURL": Meaning.PARAMETER,
    "UnsupportedOperation": Meaning.PARAMETER,
    "DataInspectionFailed": Meaning.INPUT_MODERATION,
    "IPInfringementSuspect": Meaning.INPUT_MODERATION,
    "InternalError": Meaning.MODEL_ERROR,
    "ModelServingError": Meaning.MODEL_ERROR,
    "RequestTimeOut": Meaning.MODEL_ERROR,
}
_WRONG_REGION: Final = (
    "a key, its models and the host are of one region: Beijing and Singapore have their own"
)
_HINTS: Final = {
    "InvalidApiKey": _WRONG_REGION,
    "AccessDenied.Unpurchased": "activate Model Studio for the account",
    "Model.AccessDenied": "this key's workspace may not use the model",
    "ModelNotFound": "this region has no such model",
    "model_not_found": "this region has no such model",
}


# --- the wire -------------------------------------------------------------------------------------------


class _Taken(msgspec.Struct, frozen=True):
    task_id: RemoteId


class _Submitted(msgspec.Struct, frozen=True):
    output: _Taken


class _Task(msgspec.Struct, frozen=True):
    task_status: Literal["PENDING", "RUNNING", "SUSPENDED", "SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"]
    task_id: RemoteId | None = None
    video_url: msgspec.Raw = msgspec.Raw(b"null")
    code: Any = None
    message: Any = None


class _Answer(msgspec.Struct, frozen=True):
    """A poll's answer: the status is strict, and so is the URL of a success."""

    output: _Task
    usage: Any = None


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_url = msgspec.json.Decoder(str | None).decode


def _submit_body(request: SubmitRequest) -> bytes:
    """Raises `ValueError` for an option that the model does not have, or text that is not valid Unicode."""
    fields = described_options(request)
    media = [{"type": role, "url": url} for role, url in roles_of(request)]
    given = {"prompt": request.prompt, **fields.pop("input", {})}
    if media:
        given["media"] = media
    return body_of({"model": _name_for(request), "input": given, **fields})


def _name_for(request: SubmitRequest) -> str:
    """The model's name for a video that starts with a picture, or is like pictures, where it has several."""
    if not request.api_model.endswith(_TEXT_TO_VIDEO):
        return request.api_model
    stem = request.api_model.removesuffix(_TEXT_TO_VIDEO)
    if "first_frame" in request.inputs:
        return f"{stem}-i2v"
    return f"{stem}-r2v" if "references" in request.inputs else request.api_model


# --- the provider ---------------------------------------------------------------------------------------


class DashScopeProvider(HttpProvider):
    """One account in one region; `host` is the base URL up to `/api/v1`."""

    name = "dashscope"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Bearer {config.api_key}"}
        super().__init__(config, headers=headers, link_seconds=LINK_SECONDS)
        self._submit_headers["x-dashscope-async"] = "enable"
        if self.limits.poll_interval_min_seconds is None:
            self.limits = replace(self.limits, poll_interval_min_seconds=POLL_INTERVAL_MIN_SECONDS)

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        try:
            body = _submit_body(request)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        return await self.send_submit(self.host + _SYNTHESIS, body, self._outcome)

    def _outcome(self, body: bytes) -> SubmitOutcome:
        """The acceptance; some refusals come with 200, and then they have a code and no output."""
        try:
            return accepted(_decode_submitted(body).output.task_id)
        except msgspec.DecodeError:
            said = None if b'"output"' in body else complaint_of(body)
            refused = None if said is None else refusal_that_says(said, _MEANINGS, self.words, _HINTS)
            if refused is None:
                raise
            return refused

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """Its own code says what it is; the HTTP status alone does not (400: a debt)."""
        refused = coded_refusal(response, _MEANINGS, self.words, _HINTS)
        return super().submit_refused(response) if refused is None else refused

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; what does not say a status strictly is no answer."""
        return await self.poll_by_id(f"{self.host}/tasks", remote_task_id, self._verdict)

    async def cancel(self, remote_task_id: str) -> CancelResult:
        """Cancel a task that is PENDING; Model Studio cancels no other."""
        try:
            url = f"{self.host}/tasks/{path_segment(remote_task_id)}"
        except ValueError as error:
            return CancelRefused(f"the remote task id cannot be asked for: {error}")

        def standing(body: bytes) -> str | None:
            task = _decode_answer(body).output
            require_same_task(remote_task_id, task.task_id)
            return None if task.task_status == "PENDING" else f"it is {task.task_status}"

        cancel = ("POST", f"{url}/cancel", b"")
        return await self.cancel_if_waiting(url, standing, cancel, too_late=(400,))

    def _verdict(self, body: bytes, asked: str) -> PollResult | Unnamed:
        answer = _decode_answer(body)
        require_same_task(asked, answer.output.task_id)
        result = self._result(answer)
        is_final = not isinstance(result, Processing | NoAnswer)
        return Unnamed(result) if is_final and answer.output.task_id is None else result

    def _result(self, answer: _Answer) -> PollResult:
        task = answer.output
        match task.task_status:
            case "PENDING":
                return QUEUED
            case "RUNNING" | "SUSPENDED":
                return RENDERING
            case "SUCCEEDED":
                seconds = _seconds_in(answer.usage)
                unit = None if seconds is None else COST_UNIT
                return succeeded(_decode_url(task.video_url) or "", 100, seconds, unit)
            case "FAILED":
                return self._failed(task)
            case "CANCELED":
                return Failed("the task was cancelled at Model Studio", FailureType.CANCELLED)
            case "UNKNOWN":
                return Failed(
                    "Model Studio knows no such task: it forgets a task after a day", FailureType.NOT_FOUND
                )
            case other:
                assert_never(other)

    def _failed(self, task: _Task) -> Failed:
        """One code stands for inputs and outputs that were refused: the words say which."""
        failed = failed_with_code({"code": task.code, "message": task.message}, _MEANINGS, self.words)
        says_output = failed.error_message.lower().startswith("output")
        if failed.failure_type is FailureType.INPUT_MODERATION and says_output:
            return replace(failed, failure_type=FailureType.OUTPUT_MODERATION)
        return failed


def _seconds_in(usage: object) -> float | None:
    match usage:
        case {"duration": int() | float() as seconds}:
            return amount_in(seconds)
        case _:
            return None


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return DashScopeProvider(config)
