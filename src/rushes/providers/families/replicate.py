"""Replicate's predictions API: any video model that it runs, by its name or by a version of it.

    submit   POST /v1/models/{owner}/{name}/predictions {input}   -> {id, status}
             POST /v1/predictions {version, input}                -> {id, status}
    poll     GET  /v1/predictions/{id}                            -> {id, status, output?, error?}
    cancel   POST /v1/predictions/{id}/cancel                     -> {id, status}

All that a model takes stands in `input`, as the catalogue describes it. There is no progress, and no cost in
the answer. A callback is the prediction as a poll has it. Files are deleted an hour after the end.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    CancelRefused,
    CancelResult,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    NO_SUCH_ID,
    QUEUED,
    RENDERING,
    UNDECODABLE,
    RemoteId,
    accepted,
    complaint_of,
    failure_type_of_text,
    kind_of_file,
    require_same_task,
    succeeded,
    words_in,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.described import body_of, described_options
from rushes.providers.http.transport import Response
from rushes.providers.http_provider import HttpProvider
from rushes.providers.inputs import as_described
from rushes.providers.signatures import CallbackSignature

LINK_SECONDS: Final = 3600.0
"""Replicate deletes the files of API predictions after an hour."""

_ID: Final = re.compile(r"[A-Za-z0-9_\-]{1,200}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*/[A-Za-z0-9][A-Za-z0-9_.\-]*")
_VERSION: Final = re.compile(r"(?:[A-Za-z0-9_.\-]+/[A-Za-z0-9_.\-]+:)?([0-9a-f]{64})")


class _Submitted(msgspec.Struct, frozen=True):
    id: RemoteId


class _Prediction(msgspec.Struct, frozen=True):
    """A prediction in any state: id and status are strict, and so is the output of a success."""

    id: RemoteId
    status: Literal["starting", "processing", "succeeded", "failed", "canceled", "aborted"]
    output: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_prediction = msgspec.json.Decoder(_Prediction).decode
_decode_output = msgspec.json.Decoder(str | list[str] | None).decode


class ReplicateProvider(HttpProvider):
    """One account of Replicate."""

    name = "replicate"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Bearer {config.api_key}"}
        super().__init__(config, headers=headers, link_seconds=LINK_SECONDS)
        secret = config.extra.get("webhook_secret", "")
        self._signature = CallbackSignature(secret, "REPLICATE_WEBHOOK_SECRET")

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        version = _VERSION.fullmatch(request.api_model)
        try:
            if version is None and not _NAME.fullmatch(request.api_model):
                raise ValueError(f"{request.api_model[:100]!r} is neither owner/name nor a version")
            body = _body(request, None if version is None else version[1])
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        path = "predictions" if version else f"models/{request.api_model}/predictions"
        return await self.send_submit(f"{self.host}/v1/{path}", body, _outcome)

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """A 404 that names a model or version is that one's, not the host's."""
        said = complaint_of(response.body) if response.status == 404 else None
        if said is not None and ("model" in said.text.lower() or "version" in said.text.lower()):
            return Rejected(self.words.clean(said.text), FailureType.PARAM_ERROR)
        return super().submit_refused(response)

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once; what does not say a status strictly is no answer."""
        if not _ID.fullmatch(remote_task_id):
            return NO_SUCH_ID
        url = f"{self.host}/v1/predictions/{remote_task_id}"
        return await self.send_poll("GET", url, None, lambda body: self._verdict(body, remote_task_id))

    def poll_refused(self, response: Response) -> PollResult:
        """A 404 with Replicate's `detail` is a prediction that is not there."""
        said = complaint_of(response.body) if response.status == 404 else None
        if said is None or "prediction" not in said.text.lower():
            return self.no_answer(response)
        return Failed(self.words.clean(said.text), FailureType.NOT_FOUND)

    async def cancel(self, remote_task_id: str) -> CancelResult:
        """Cancel a prediction that is starting; one that runs is billed for its time."""
        if not _ID.fullmatch(remote_task_id):
            return CancelRefused("the remote task id cannot be asked for")
        url = f"{self.host}/v1/predictions/{remote_task_id}"

        def standing(body: bytes) -> str | None:
            prediction = _decode_prediction(body)
            require_same_task(remote_task_id, prediction.id)
            return None if prediction.status == "starting" else f"it is {prediction.status}"

        cancel = ("POST", f"{url}/cancel", b"{}")
        return await self.cancel_if_waiting(url, standing, cancel, too_late=(400, 409, 422))

    def _verdict(self, body: bytes, asked: str) -> PollResult:
        prediction = _decode_prediction(body)
        require_same_task(asked, prediction.id)
        match prediction.status:
            case "starting":
                return QUEUED
            case "processing":
                return RENDERING
            case "succeeded":
                output = _decode_output(prediction.output)
                first, *others = [output] if isinstance(output, str) else output or [""]
                if first and not first.startswith("http"):
                    return NoAnswer("the output is no file", 200)
                further = [(kind_of_file(url), url) for url in others if url.startswith("http")]
                return succeeded(first, 100, further_files=further)
            case "failed":
                message = self.words.clean(words_in(prediction.error) or REMOTE_TASK_FAILED)
                return Failed(message, failure_type_of_text(message) or FailureType.MODEL_ERROR)
            case "canceled":
                return Failed("the prediction was cancelled at Replicate", FailureType.CANCELLED)
            case "aborted":
                return Failed("Replicate ended the prediction before it started", FailureType.MODEL_ERROR)
            case other:
                assert_never(other)

    def callback_is_genuine(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether the service signed it, where its secret is set."""
        return self._signature.is_genuine(body, headers)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """The callback's `id`: it is the prediction."""
        try:
            named = str(_decode_submitted(body).id)
        except UNDECODABLE:
            return None
        return named if _ID.fullmatch(named) else None


def _body(request: SubmitRequest, version: str | None) -> bytes:
    """Raises `ValueError` for an option or input without a place, and text that is not valid Unicode."""
    files, unknown = as_described(request.inputs, request.wires)
    for role in unknown:
        raise ValueError(f"{request.api_model} has no input {role}")
    options = described_options(request)
    wanted = {"prompt": request.prompt, **options.pop("input", {}), **files.pop("input", {})}
    body: dict[str, Any] = {"input": wanted, **options, **files}
    if version is not None:
        body["version"] = version
    if request.callback_url is not None:
        body |= {"webhook": request.callback_url, "webhook_events_filter": ["start", "completed"]}
    return body_of(body)


def _outcome(body: bytes) -> SubmitOutcome:
    return accepted(_decode_submitted(body).id)


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return ReplicateProvider(config)
