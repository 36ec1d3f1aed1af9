"""fal's queue API: any model that fal runs, by its path.

    submit   POST /{model}[?fal_webhook=…]           -> {request_id, response_url, status_url, cancel_url}
    poll     GET  /{app}/requests/{request_id}/status  -> {status: IN_QUEUE | IN_PROGRESS | COMPLETED, error?,
                                                          queue_position?: while it is IN_QUEUE}
             GET  /{app}/requests/{request_id}         -> {video: {url}}, once it is COMPLETED
    cancel   PUT  /{app}/requests/{request_id}/cancel  -> 202; 400 once it has ended

COMPLETED tells that there is a result, not that it is a video: a refusal is the result's HTTP status with a
`detail`. So a task's last poll makes two requests. The remote task id is `{app}/requests/{request_id}` as
the answer to the submit gives it, for a request id alone does not say where to ask; without it, `app` is
the model's path up to the application's name, as fal's own client has it. A result does not say which request
it is of: it is asked for over a fresh connection. Checked against fal-client 1.0.3.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    CancelRefused,
    CancelResult,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    OutputKind,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Unknown,
)
from rushes.providers.answers import (
    RENDERING,
    UNDECODABLE,
    AboutAnotherTask,
    RemoteId,
    Unnamed,
    accepted,
    failure_type_of_text,
    kind_of_file,
    path_segment,
    queue_position_of,
    require_same_task,
    succeeded,
    words_in,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.described import body_of
from rushes.providers.families import fal_places
from rushes.providers.http.transport import Response
from rushes.providers.http_provider import HttpProvider
from rushes.providers.inputs import InputFile, addresses, as_described

LINK_SECONDS: Final = 86_400.0
"""fal keeps files until the account's own setting deletes them; rushes counts on a day."""

_REQUESTS: Final = "/requests/"

_NAMESPACES: Final = frozenset({"workflows", "comfy"})
"""First segments of a model's path that stand before the owner's name."""

_FROM_TEXT: Final = "/text-to-video"
_FROM_IMAGE: Final = "/image-to-video"
"""The last part of a path, of models whose variants differ in it."""

_NO_SUCH_PATH: Final = "Not Found"
"""The `detail` of a 404 for a path that no application has: a wrong host or model, no verdict."""

_CONTENT_POLICY: Final = "content_policy_violation"
_REQUEST_ID_HEADER: Final = "x-fal-request-id"
_ERROR_TYPE_HEADER: Final = "x-fal-error-type"


# --- the wire -------------------------------------------------------------------------------------------


class _Submitted(msgspec.Struct, frozen=True):
    request_id: RemoteId
    response_url: Any = None


class _Status(msgspec.Struct, frozen=True):
    """`error` and `error_type` only with COMPLETED; a type says that the request failed, without a result.

    ERROR is what callbacks say of a failed request; where a status says it, it is one.
    """

    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "ERROR"]
    request_id: Any = None
    queue_position: Any = None
    error: Any = None
    error_type: Any = None


class _File(msgspec.Struct, frozen=True):
    url: str | None = None


class _Result(msgspec.Struct, frozen=True):
    """What a model of videos returns: always a `video`, though it may be null, and files besides it."""

    video: _File | None


class _Problem(msgspec.Struct, frozen=True):
    """The first that a refusal says. `loc` is `["body", field, …]`, or `["body"]`."""

    msg: str = ""
    type: str = ""
    loc: tuple[Any, ...] = ()

    @property
    def is_typed(self) -> bool:
        """Whether it has what only fal's own errors have, and not any web server's."""
        return bool(self.type)


class _Refusal(msgspec.Struct, frozen=True):
    """A model error (`detail` is a list) or a request error (`detail` is a text, with an `error_type`)."""

    detail: Any
    error_type: Any = None


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_status = msgspec.json.Decoder(_Status).decode
_decode_result = msgspec.json.Decoder(_Result).decode
_decode_refusal = msgspec.json.Decoder(_Refusal).decode


# --- what the models take -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a family of models takes its options. `seconds` writes a duration, which is always a text.

    `inputs` are the fields of files; `first_frame` is what follows the path of the variant that starts with
    an image.
    """

    fields: Mapping[str, str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    seconds: str = "{}"
    first_frame: str = ""


_VEO: Final = _Dialect(
    fields={
        "aspect_ratio": "aspect_ratio",
        "duration": "duration",
        "resolution": "resolution",
        "seed": "seed",
    },
    inputs={"first_frame": "image_url"},
    seconds="{}s",
    first_frame="/image-to-video",
)
_OTHERS: Final = _Dialect(fields={"aspect_ratio": "aspect_ratio", "duration": "duration"})


def _submit_body(request: SubmitRequest, dialect: _Dialect) -> bytes:
    """Raises `ValueError` for an option that the model does not have, or text that is not valid Unicode."""
    described, others = as_described(request.inputs, request.wires)
    body: dict[str, Any] = {
        "prompt": request.prompt,
        **request.described_fields(dialect.fields),
        **described,
        **addresses(others, dialect.inputs, frozenset(), request.api_model),
    }
    has_own_shape = "first_frame" in request.inputs and request.api_model.endswith(_FROM_TEXT)
    for option, value in request.plain_options(dialect.fields).items():
        if option not in dialect.fields:
            raise ValueError(f"{request.api_model} has no option {option}")
        if option == "aspect_ratio" and has_own_shape:
            continue  # such a variant takes the picture's
        body[dialect.fields[option]] = dialect.seconds.format(value) if option == "duration" else value
    return body_of(body)


# --- the provider ---------------------------------------------------------------------------------------


class FalProvider(HttpProvider):
    """The models of fal. It refuses nothing for being busy: requests wait in its queue."""

    name = "fal"

    def __init__(self, config: ProviderConfig) -> None:
        headers = {"authorization": f"Key {config.api_key}"}
        super().__init__(config, headers=headers, link_seconds=LINK_SECONDS)
        self._adds_secrets = bool(config.secrets)
        self._queue = fal_places.Queue(self.host, config.now)

    async def upload_input(self, file: InputFile) -> str | NotSent | Rejected:
        """Give fal's storage a file; what an operator adds to every request goes to the queue alone."""
        if self._adds_secrets:
            reason = "files are not uploaded where headers or a query are added to every request"
            return Rejected(reason, FailureType.PARAM_ERROR)

        asked = partial(self._request, fresh=False)
        return await fal_places.give(
            file, self.host, self._submit_headers, asked, self.submit_refused, self.words
        )

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        fresh: bool,
        is_submit: bool = False,
    ) -> Response:
        """At the queue's other name where the first one cannot be reached."""
        ask = partial(super()._request, method, headers=headers, body=body, fresh=fresh, is_submit=is_submit)
        return await self._queue.ask(url, ask)

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        dialect = _VEO if request.api_model.startswith("fal-ai/veo") else _OTHERS
        try:
            body = _submit_body(request, dialect)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        model = request.api_model
        if "first_frame" in request.inputs:
            model = model.replace(_FROM_TEXT, _FROM_IMAGE) + dialect.first_frame
        url = f"{self.host}/{model}"
        if request.callback_url is not None:
            url += f"?fal_webhook={quote(request.callback_url, safe='')}"
        return await self.send_submit(url, body, lambda answer: _outcome(answer, request.api_model))

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """A model's own refusal is the task's; all else is what its status says."""
        problem = _typed_by_head(_problem(response.body), response)
        outcome = super().submit_refused(response)
        if isinstance(outcome, Rejected) and problem and problem.type == _CONTENT_POLICY:
            return Rejected(outcome.reason, FailureType.INPUT_MODERATION)
        return outcome

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask for the status and, once there is a result, for it."""
        try:
            url, request_id = self._place_of(remote_task_id)
        except ValueError as error:
            return NoAnswer(f"the remote task id cannot be asked for: {error}")
        question = _Question(request_id)
        result = await self.send_poll(
            "GET", f"{url}/status", None, lambda body: self._status(body, question), check=question.note_head
        )
        completed = question.completed
        if completed is None:
            return result
        return await self.send_poll(
            "GET",
            url,
            None,
            _video,
            refused=lambda response: self._result_refused(response, completed),
            check=question.check_head,
            fresh=True,
        )

    def _place_of(self, remote_task_id: str) -> tuple[str, str]:
        """The URL below which the request is, and its id; raises `ValueError`."""
        app, requests, request_id = remote_task_id.rpartition(_REQUESTS)
        if not requests:
            raise ValueError("it names no application")
        segments = [*app.split("/"), _REQUESTS.strip("/"), request_id]
        return "/".join([self.host, *map(path_segment, segments)]), request_id

    async def cancel(self, remote_task_id: str) -> CancelResult:
        """Take the request out of fal's queue. A request that has started is signalled, too: so ask first."""
        try:
            url, request_id = self._place_of(remote_task_id)
        except ValueError as error:
            return CancelRefused(f"the remote task id cannot be asked for: {error}")

        def standing(body: bytes) -> str | None:
            status = _decode_status(body)
            require_same_task(request_id, status.request_id if isinstance(status.request_id, str) else None)
            return None if status.status == "IN_QUEUE" else f"it is {status.status}"

        cancel = ("PUT", f"{url}/cancel", b"")
        return await self.cancel_if_waiting(f"{url}/status", standing, cancel, too_late=(400, 404))

    def _status(self, body: bytes, question: "_Question") -> PollResult | Unnamed:
        status = _decode_status(body)
        named = status.request_id if isinstance(status.request_id, str) else None
        require_same_task(question.request_id, named)
        if status.status == "IN_QUEUE":
            return Processing(None, is_queued=True, queue_position=queue_position_of(status.queue_position))
        if status.status == "IN_PROGRESS":
            return RENDERING
        error, error_type = words_in(status.error), words_in(status.error_type)
        if status.status == "ERROR" or error_type:
            failed = self._failed(_Problem(msg=error or "", type=error_type or ""))
            return failed if named is not None else Unnamed(failed)
        question.completed = status
        return Processing(100)

    def poll_refused(self, response: Response) -> PollResult:
        """A 404 says that there is no such request, unless it says that there is no such path."""
        problem = _problem(response.body) if response.status == 404 else None
        if problem is None or problem.msg == _NO_SUCH_PATH:
            return self.no_answer(response)
        return Failed(self.words.clean(problem.msg or "HTTP 404"), FailureType.NOT_FOUND)

    def _result_refused(self, response: Response, completed: _Status) -> PollResult:
        """What it means that a completed request's result is not answered with 2xx.

        A verdict is what the status said too, what has a type of fal's, and a 422. All else may be the
        way's trouble or a lagging replica ("still in progress"), and the result stays to be asked for.
        """
        if response.status in (401, 403, 429):
            return self.no_answer(response)
        problem = _typed_by_head(_problem(response.body), response)
        if problem is not None and (problem.is_typed or response.status == 422):
            return self._failed(problem, response.status)
        if error := words_in(completed.error):
            return Failed(self.words.clean(error), FailureType.MODEL_ERROR)
        return self.no_answer(response)

    def _failed(self, problem: _Problem, http_status: int | None = None) -> Failed:
        message = self.words.clean(problem.msg or problem.type or REMOTE_TASK_FAILED)
        return Failed(message, _failure_type(problem, http_status))


class _Question:
    """One poll: what its status said, and whether fal's answers name their request in the head.

    Where the status does so, in `x-fal-request-id`, the result has to. (Elsewhere that header is an id of
    another kind, and says nothing.)
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.completed: _Status | None = None
        self._is_named_in_head = False

    def note_head(self, response: Response) -> None:
        """Of the status' answer."""
        self._is_named_in_head = response.headers.get(_REQUEST_ID_HEADER) == self.request_id

    def check_head(self, response: Response) -> None:
        """Of the result's answer. Raises `AboutAnotherTask`."""
        named = response.headers.get(_REQUEST_ID_HEADER)
        if self._is_named_in_head and named is not None and named != self.request_id:
            raise AboutAnotherTask


def _outcome(body: bytes, model: str) -> SubmitOutcome:
    """The id is `request_id`; `response_url` says below which application, where it is readable."""
    submitted = _decode_submitted(body)
    request_id = str(submitted.request_id)
    path = _app(model) + _REQUESTS + request_id
    if isinstance(submitted.response_url, str) and _REQUESTS in submitted.response_url:
        path = _path_of(submitted.response_url)
    if not request_id or not path.endswith(_REQUESTS + request_id):
        return Unknown("accepted without a usable id: request_id and response_url disagree")
    return accepted(path)


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path.strip("/")
    except ValueError:
        return ""


def _app(model: str) -> str:
    """The part of a model's path under which its requests are: owner and name, after a namespace."""
    segments = model.split("/")
    return "/".join(segments[: 3 if segments[0] in _NAMESPACES else 2])


def _video(body: bytes) -> PollResult:
    video = _decode_result(body).video
    return succeeded((video.url if video else None) or "", 100, further_files=_further_files(body))


def _further_files(body: bytes) -> Iterator[tuple[OutputKind, object]]:
    """Every other field that is a file, or a list of them, as fal writes files: `{url, content_type}`."""
    for name, value in msgspec.json.decode(body).items():
        for file in value if isinstance(value, list) else [value]:
            if name != "video" and isinstance(file, dict) and "url" in file:
                kind = kind_of_file(name)
                yield kind_of_file(file.get("content_type")) if kind is OutputKind.FILE else kind, file["url"]


def _problem(body: bytes) -> _Problem | None:
    """What fal's own form of a refusal says; None for what is of another form."""
    try:
        said = _decode_refusal(body)
    except UNDECODABLE:
        return None
    error_type = words_in(said.error_type) or ""
    match said.detail:
        case str(text):
            return _Problem(text, error_type)
        case []:
            return _Problem(type=error_type)
        case [dict(first), *_] | dict(first):
            place = first.get("loc")
            where = tuple(place) if isinstance(place, list) else ()
            return _Problem(words_in(first.get("msg")) or "", words_in(first.get("type")) or "", where)
        case _:
            return None


def _typed_by_head(problem: _Problem | None, response: Response) -> _Problem | None:
    """The problem with the type that fal's head says, where its body says none."""
    named = response.headers.get(_ERROR_TYPE_HEADER, "").strip()
    if problem is None or problem.is_typed or not named:
        return problem
    return msgspec.structs.replace(problem, type=named)


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
