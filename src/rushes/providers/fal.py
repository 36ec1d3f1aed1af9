"""fal's queue API: any model that fal runs, by its path.

    submit   POST /{model}[?fal_webhook=…]           -> {request_id, response_url, status_url, cancel_url}
    poll     GET  /{app}/requests/{request_id}/status  -> {status: IN_QUEUE | IN_PROGRESS | COMPLETED, error?}
             GET  /{app}/requests/{request_id}         -> {video: {url}}, once it is COMPLETED

COMPLETED tells that there is a result, not that it is a video: a refusal is the result's HTTP status with a
`detail`. So a task's last poll makes two requests. The remote task id is `{app}/requests/{request_id}` as
the answer to the submit gives it, for a request id alone does not say where to ask; without it, `app` is
the model's path up to the application's name, as fal's own client has it. Checked against fal-client 1.0.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Unknown,
)
from rushes.providers.answers import (
    UNDECODABLE,
    accepted,
    failure_type_of_text,
    no_answer,
    outcome_of_http_status,
    path_segment,
    succeeded,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.http_provider import HttpProvider
from rushes.providers.transport import Response

LINK_SECONDS: Final = 86_400.0
"""fal keeps files until the account's own setting deletes them; rushes counts on a day."""

_REQUESTS: Final = "/requests/"

_NAMESPACES: Final = frozenset({"workflows", "comfy"})
"""First segments of a model's path that stand before the owner's name."""

_NO_SUCH_PATH: Final = "Not Found"
"""The `detail` of a 404 for a path that no application has: a wrong host or model, no verdict."""

_CONTENT_POLICY: Final = "content_policy_violation"


# --- the wire -------------------------------------------------------------------------------------------


class _Submitted(msgspec.Struct, frozen=True):
    request_id: str
    response_url: str | None = None


class _Status(msgspec.Struct, frozen=True):
    """`error` and `error_type` only with COMPLETED; a type says that the request failed, without a result."""

    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    error: str | None = None
    error_type: str | None = None


class _File(msgspec.Struct, frozen=True):
    url: str


class _Result(msgspec.Struct, frozen=True):
    """What a model of videos returns: always a `video`, though it may be null."""

    video: _File | None


class _Problem(msgspec.Struct, frozen=True):
    """One entry of a model error's `detail`. `loc` is `["body", field, …]`, or `["body"]`."""

    msg: str = ""
    type: str = ""
    loc: list[str | int] = []


class _Complaint(msgspec.Struct, frozen=True):
    """A model error (`detail` is a list) or a request error (`detail` is a text, with an `error_type`)."""

    detail: list[_Problem] | _Problem | str
    error_type: str | None = None

    @property
    def problem(self) -> _Problem:
        """The first that is said."""
        match self.detail:
            case str(text):
                return _Problem(msg=text, type=self.error_type or "")
            case [first, *_]:
                return first
            case _Problem() as problem:
                return problem
            case _:
                return _Problem(type=self.error_type or "")

    @property
    def is_typed(self) -> bool:
        """Whether it has what only fal's own errors have, and not any web server's."""
        return bool(self.problem.type)


_encode = msgspec.json.Encoder().encode
_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_status = msgspec.json.Decoder(_Status).decode
_decode_result = msgspec.json.Decoder(_Result).decode
_decode_complaint = msgspec.json.Decoder(_Complaint).decode


# --- what the models take -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a family of models takes its options. `seconds` writes a duration, which is always a text.

    `first_frame` is what follows the path of the variant that begins with an image.
    """

    fields: Mapping[str, str]
    seconds: str = "{}"
    first_frame: str = ""


_VEO: Final = _Dialect(
    fields={
        "aspect_ratio": "aspect_ratio",
        "duration": "duration",
        "resolution": "resolution",
        "first_frame_url": "image_url",
        "seed": "seed",
    },
    seconds="{}s",
    first_frame="/image-to-video",
)
_OTHERS: Final = _Dialect(fields={"aspect_ratio": "aspect_ratio", "duration": "duration"})


def _submit_body(request: SubmitRequest, dialect: _Dialect) -> bytes:
    """Raises `ValueError` for an option that the model does not have, or text that is not valid Unicode."""
    body: dict[str, Any] = {"prompt": request.prompt}
    for option, value in request.options.items():
        if option not in dialect.fields:
            raise ValueError(f"{request.api_model} has no option {option}")
        body[dialect.fields[option]] = dialect.seconds.format(value) if option == "duration" else value
    try:
        return _encode(body)
    except UnicodeEncodeError:
        raise ValueError("the prompt or an option is not valid text") from None


# --- the provider ---------------------------------------------------------------------------------------


class FalProvider(HttpProvider):
    """The models of fal. It refuses nothing for being busy: requests wait in its queue."""

    name = "fal"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Key {config.api_key}"}
        super().__init__(config, headers=headers, link_seconds=LINK_SECONDS)

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        dialect = _VEO if request.api_model.startswith("fal-ai/veo") else _OTHERS
        try:
            body = _submit_body(request, dialect)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        url = f"{self.host}/{request.api_model}"
        if "first_frame_url" in request.options:
            url += dialect.first_frame
        if request.callback_url is not None:
            url += f"?fal_webhook={quote(request.callback_url, safe='')}"
        return await self.send_submit(url, body, lambda answer: _outcome(answer, request.api_model))

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """A model's own refusal is the task's; all else is what its status says."""
        complaint = _complaint(response.body)
        said = None if complaint is None else complaint.problem.msg or complaint.problem.type
        outcome = outcome_of_http_status(response, self.words, said)
        if isinstance(outcome, Rejected) and complaint and complaint.problem.type == _CONTENT_POLICY:
            return Rejected(outcome.reason, FailureType.INPUT_MODERATION)
        return outcome

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask for the status and, once there is a result, for it."""
        try:
            app, requests, request_id = remote_task_id.rpartition(_REQUESTS)
            if not requests:
                raise ValueError("it names no application")
            segments = [*app.split("/"), _REQUESTS.strip("/"), request_id]
            url = "/".join([self.host, *map(path_segment, segments)])
        except ValueError as error:
            return NoAnswer(f"the remote task id cannot be asked for: {error}")
        completed: list[_Status] = []

        def read(body: bytes) -> PollResult:
            status = _decode_status(body)
            if status.status != "COMPLETED":
                return Processing(None)
            if status.error_type:
                return self._failed(_Problem(msg=status.error or "", type=status.error_type))
            completed.append(status)
            return Processing(100)

        result = await self.send_poll("GET", f"{url}/status", None, read)
        if not completed:
            return result
        return await self.send_poll(
            "GET", url, None, _video, refused=lambda response: self._result_refused(response, completed[0])
        )

    def poll_refused(self, response: Response) -> PollResult:
        """A 404 says that there is no such request, unless it says that there is no such path."""
        complaint = _complaint(response.body) if response.status == 404 else None
        if complaint is None or complaint.problem.msg == _NO_SUCH_PATH:
            return no_answer(response)
        return Failed(self.words.clean(complaint.problem.msg or "HTTP 404"), FailureType.NOT_FOUND)

    def _result_refused(self, response: Response, completed: _Status) -> PollResult:
        """What it means that a completed request's result is not answered with 2xx.

        A verdict is what the status said too, what has a type of fal's, and a 422. All else may be the
        way's trouble or a lagging replica ("still in progress"), and the result stays to be asked for.
        """
        complaint = _complaint(response.body)
        if response.status in (401, 403, 429):
            return no_answer(response)
        if complaint is not None and (complaint.is_typed or response.status == 422):
            return self._failed(complaint.problem, response.status)
        if completed.error:
            return Failed(self.words.clean(completed.error), FailureType.MODEL_ERROR)
        return no_answer(response)

    def _failed(self, problem: _Problem, http_status: int | None = None) -> Failed:
        message = self.words.clean(problem.msg or problem.type or REMOTE_TASK_FAILED)
        return Failed(message, _failure_type(problem, http_status))


def _outcome(body: bytes, model: str) -> SubmitOutcome:
    submitted = _decode_submitted(body)
    own_path = f"{_REQUESTS}{submitted.request_id}"
    path = _app(model) + own_path
    if submitted.response_url is not None:
        path = urlsplit(submitted.response_url).path.strip("/")
    if not submitted.request_id or not path.endswith(own_path):
        return Unknown("accepted without a usable id: request_id and response_url disagree")
    return accepted(path)


def _app(model: str) -> str:
    """The part of a model's path under which its requests are: owner and name, after a namespace."""
    segments = model.split("/")
    return "/".join(segments[: 3 if segments[0] in _NAMESPACES else 2])


def _video(body: bytes) -> PollResult:
    video = _decode_result(body).video
    return succeeded(video.url if video else "", 100)


def _complaint(body: bytes) -> _Complaint | None:
    try:
        return _decode_complaint(body)
    except UNDECODABLE:
        return None


def _failure_type(problem: _Problem, http_status: int | None) -> FailureType:
    """By fal's types first; of moderation, what `loc` names is an input, and `["body"]` alone the video."""
    match problem.type:
        case "content_policy_violation" if len(problem.loc) > 1:
            return FailureType.INPUT_MODERATION
        case "content_policy_violation":
            return FailureType.OUTPUT_MODERATION
        case "client_cancelled":
            return FailureType.CANCELLED
        case "bad_request":
            return FailureType.PARAM_ERROR
        case "":
            return failure_type_of_text(problem.msg) or FailureType.MODEL_ERROR
        case _ if http_status == 422 and len(problem.loc) > 1:
            return FailureType.PARAM_ERROR
        case _:
            return FailureType.MODEL_ERROR


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return FalProvider(config)
