"""Any server with OpenAI's videos API, another rushes among them.

    submit   POST {base}/videos               -> {id, status, …}
    poll     GET  {base}/videos/{id}          -> {id, status, progress?, error?}
    file     GET  {base}/videos/{id}/content  with the key

What other servers than OpenAI's own say instead is in openai_dialects.py.

A submit is a multipart form, as the official SDK sends it: every such server takes that, and not every
one takes JSON. A success has no URL of its own; its file is the content path, which needs the key. There
is no callback. Checked against openai 3.54.0 (`types/video.py`, `types/video_create_params.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, assert_never

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
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
from rushes.providers import openai_dialects as dialects
from rushes.providers.answers import (
    NO_SUCH_ID,
    RENDERING_AT,
    Complaint,
    Unnamed,
    failure_type_of_text,
    is_remote_task_id,
    path_segment,
    succeeded,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.http.transport import Response, retry_after_seconds
from rushes.providers.http_provider import HttpProvider
from rushes.providers.inputs import InputFile, multipart_form
from rushes.providers.openai_dialects import Said, Standing

LINK_SECONDS: Final = 3600.0
"""OpenAI kept files for an hour; its `expires_at` need not be there, and other servers have none."""

SIZES: Final[Mapping[tuple[str, str], str]] = {
    ("9:16", "small"): "720x1280",
    ("16:9", "small"): "1280x720",
    ("9:16", "large"): "1024x1792",
    ("16:9", "large"): "1792x1024",
}


_OWN_CODES: Final = frozenset(failure_type.value for failure_type in FailureType)
_NO_SUCH_TASK: Final = re.compile(r"\b(task|video|job|generation)\b.*\bnot (found|exist)", re.I | re.S)
_CONTENT: Final = "/content"


# --- what is sent ---------------------------------------------------------------------------------------


def _form(request: SubmitRequest) -> tuple[dict[str, str], dict[str, InputFile]]:
    """The form's fields and files; raises `ValueError` for an option that the API does not have."""
    options: dict[str, Any] = dict(request.options)
    fields = {"model": request.api_model, "prompt": request.prompt}
    if "aspect_ratio" in options or "size" in options:
        fields["size"] = SIZES[options.pop("aspect_ratio", "9:16"), options.pop("size", "small")]
    if "duration" in options:
        fields["seconds"] = str(options.pop("duration"))
    given: dict[str, InputFile] = {}
    for role, files in request.inputs.items():
        if role != "references":
            raise ValueError(f"{request.api_model} has no input {role}")
        if files[0].url is not None:
            fields["input_reference[image_url]"] = files[0].url
        else:
            given["input_reference"] = files[0]
    for option in options:
        raise ValueError(f"{request.api_model} has no option {option}")
    return fields, given


# --- the provider ---------------------------------------------------------------------------------------


class OpenAIVideoProvider(HttpProvider):
    """One account at one such server; `config.host` is its base URL, up to `/v1`."""

    name = "openai-video"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Bearer {config.api_key}"}
        super().__init__(config, headers=headers, file_headers=headers, link_seconds=LINK_SECONDS)
        self.result_files = replace(
            self.result_files, url_in_json=dialects.video_url_of, described_at=_video_of_content
        )

    # --- submit

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        try:
            content_type, body = multipart_form(*_form(request))
        except ValueError as error:
            reason = "the prompt is not valid text" if isinstance(error, UnicodeError) else str(error)
            return Rejected(reason, FailureType.PARAM_ERROR)
        return await self.send_submit(f"{self.host}/videos", body, self._outcome, content_type)

    def _outcome(self, body: bytes) -> SubmitOutcome:
        """Of a 2xx answer: an id in its place is an acceptance, whatever else is there."""
        said = dialects.read(body)
        usable = next((named for named in said.ids if is_remote_task_id(named)), None)
        if usable is not None:
            return Accepted(usable)
        if said.complaint is None:
            return Unknown("accepted without a usable id")
        refusal = self._certain_refusal(200, said.complaint, None)
        return refusal or Unknown(self.words.clean(f"no usable id in the answer: {said.complaint.text}"))

    def complaint(self, body: bytes) -> Complaint | None:
        """The error in any of its shapes."""
        return dialects.complaint_of(body)

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """A refused prompt and an unknown model are the task's own; all else is as its status says,

        unless the error's code says for certain that nothing was taken.
        """
        error = dialects.complaint_of(response.body)
        if error is not None:
            refusal = self._certain_refusal(response.status, error, retry_after_seconds(response))
            if refusal is not None:
                return refusal
            if response.status in (400, 403, 404, 422) and error.code == "model_not_found":
                return Rejected(self.words.clean(error.text), FailureType.PARAM_ERROR)
        return super().submit_refused(response)

    def _certain_refusal(
        self, http_status: int, error: Complaint, retry_after: float | None
    ) -> SubmitOutcome | None:
        reason = self.words.clean(f"HTTP {http_status}: {error.text}")
        match dialects.certain_refusal(http_status, error):
            case "moderation":
                return Rejected(self.words.clean(error.text), FailureType.INPUT_MODERATION)
            case "account exhausted":
                return NotSent(f"the account has no credit left ({reason})", pauses_provider=True)
            case "no channel":
                return Throttled(reason, retry_after)
            case None:
                return None
            case other:
                assert_never(other)

    # --- poll

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once."""
        try:
            url = f"{self.host}/videos/{path_segment(remote_task_id)}"
        except ValueError:
            return NO_SUCH_ID
        return await self.send_poll("GET", url, None, lambda body: self._result(remote_task_id, url, body))

    def _result(self, asked: str, url: str, body: bytes) -> PollResult | Unnamed:
        said = dialects.read(body)
        dialects.require_same_task(asked, said)
        result = self._result_of(said, url)
        is_verdict = isinstance(result, Succeeded | Failed)
        return Unnamed(result) if is_verdict and not said.ids else result

    def _result_of(self, said: Said, url: str) -> PollResult:
        match said.standing:
            case Standing.QUEUED:
                return Processing(said.progress, is_queued=True)
            case Standing.OPEN:
                return RENDERING_AT[said.progress]
            case Standing.SUCCEEDED:
                return succeeded(url + _CONTENT, 100)
            case Standing.FAILED:
                return self._failure(said)
            case None:
                return NoAnswer(self.words.clean(_why_no_answer(said)), http_status=200)
            case other:
                assert_never(other)

    def _failure(self, said: Said) -> Failed:
        status = dialects.status_key(said.status or "")
        by_status = dialects.FAILURE_TYPE_OF_STATUS.get(status)
        if said.complaint is None:
            reason = REMOTE_TASK_FAILED if by_status is None else status
            return Failed(reason, by_status or FailureType.MODEL_ERROR)
        kind = _failure_type(said.complaint) or by_status or FailureType.MODEL_ERROR
        return Failed(self.words.clean(said.complaint.text), kind)

    def poll_refused(self, response: Response) -> PollResult:
        """Only the API's own words that there is no such video end a task; other words are kept."""
        error = dialects.complaint_of(response.body)
        if error is None:
            return super().poll_refused(response)
        by_code = error.code.lower() in dialects.NOT_FOUND_CODES
        by_text = response.status == 404 and _NO_SUCH_TASK.search(error.message) is not None
        if response.status in (400, 404) and (by_code or by_text):
            return Failed(self.words.clean(error.text), FailureType.NOT_FOUND)
        reason = self.words.clean(f"HTTP {response.status}: {error.text}")
        return NoAnswer(reason, response.status, retry_after_seconds(response))


def _why_no_answer(said: Said) -> str:
    why = "no status in the answer" if said.status is None else f'the unknown status "{said.status}"'
    return why if said.complaint is None else f"{why}: {said.complaint.text}"


def _failure_type(error: Complaint) -> FailureType | None:
    """From the code, which another rushes takes from its own failure types; from the text last."""
    code = error.code.lower()
    if code in dialects.MODERATION_CODES:
        return dialects.MODERATION_CODES[code]
    if code in _OWN_CODES:
        return FailureType(code)
    return failure_type_of_text(f"{error.code} {error.message}")


def _video_of_content(url: str) -> str | None:
    """The address of the video object whose file this URL has."""
    return url.removesuffix(_CONTENT) if url.endswith(_CONTENT) else None


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return OpenAIVideoProvider(config)
