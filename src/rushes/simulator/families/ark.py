"""Ark's content generation: `/api/v3/contents/generations/tasks`, and the same at `/intl` for ModelArk.

The two differ in their names of the models, and each refuses the other's. A success reports its tokens by
the formula that Ark publishes; a failure reports none, for it is free.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from rushes.simulator.families.content import Item, problem_of_content, prompt_of
from rushes.simulator.families.wire import (
    UNREADABLE,
    Call,
    CancelCall,
    Cancelling,
    MalformedCall,
    PollCall,
    Refusal,
    SubmitCall,
    Wire,
    is_callback_url,
    is_task_id,
)
from rushes.simulator.fate import Family, Outcome
from rushes.simulator.files import last_frame_url
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.work import SimTask, TaskView

TASKS: Final = "/contents/generations/tasks"

_LARGEST: Final = {
    "seedance-2-5-260628": ("1080p", 30, 30),
    "seedance-2-0-260128": ("4k", 15, 9),
    "seedance-2-0-fast-260128": ("720p", 15, 9),
    "seedance-2-0-mini-260615": ("720p", 15, 9),
}
"""The largest resolution, the longest duration and the most references of each model, by its name after the
region's word."""
_LINES: Final = ("480p", "720p", "1080p", "4k")
_TOKENS_PER_SECOND: Final = {"480p": 10_044, "720p": 21_600, "1080p": 48_600, "4k": 194_400}


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client may send. The official SDK sends null for what it was not given."""

    model: str
    content: list[Item]
    resolution: Literal["480p", "720p", "1080p", "4k"] | None = None
    ratio: Literal["16:9", "9:16", "4:3", "3:4", "1:1", "21:9", "adaptive"] | None = None
    duration: Annotated[int, msgspec.Meta(ge=4, le=30)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-1, le=2**32 - 1)] | None = None
    generate_audio: bool | None = None
    watermark: bool | None = None
    return_last_frame: bool | None = None
    camera_fixed: bool | None = None
    callback_url: str | None = None
    safety_identifier: str | None = None
    service_tier: None = None
    execution_expires_after: None = None
    priority: None = None
    draft: None = None
    frames: None = None
    tools: None = None
    output_format: None = None
    omni_reference_task_type: None = None

    @property
    def lines(self) -> str:
        """The resolution, by default 720p."""
        return self.resolution or "720p"

    @property
    def seconds(self) -> int:
        """The duration, by default five seconds."""
        return self.duration or 5


_read_body = msgspec.json.Decoder(Body).decode
_write = msgspec.json.Encoder().encode

_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (401, "AuthenticationError", "The API key in the request is missing or invalid."),
    Refusal.KEY_DISABLED: (403, "AccessDenied", "The request failed because you do not have access."),
    Refusal.BALANCE_EXHAUSTED: (403, "AccountOverdueError", "Your account has an overdue balance."),
    Refusal.PROMPT: (
        400,
        "InputTextSensitiveContentDetected",
        "The request failed because the input text may contain sensitive information.",
    ),
}


class ArkWire(Wire):
    """One region: the task object for a poll, `{error: {code, message, param, type}}` for what is refused."""

    def __init__(
        self, name: str, *, base: str, word: str, variables: tuple[str, str] = ("ARK_HOST", "ARK_API_KEY")
    ) -> None:
        self._name, self._base, self._word, self._variables = name, base, word, variables

    @property
    def name(self) -> str:
        """The instance of rushes that it is for."""
        return self._name

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """The region's base URL and key."""
        host, key = self._variables
        return {host: base_url + self._base, key: api_key}

    def match(self, method: str, path: str) -> bool:
        """POST to the tasks, GET and DELETE for one."""
        if method == "POST":
            return path == self._base + TASKS
        return method in ("GET", "DELETE") and path.startswith(f"{self._base}{TASKS}/")

    def read(self, request: SimRequest) -> Call:
        """A submit, a question for a task, or its cancel."""
        if request.method != "POST":
            task_id = request.path.removeprefix(f"{self._base}{TASKS}/")
            if not is_task_id(task_id):
                return MalformedCall("expected /contents/generations/tasks/{id}", submit=False)
            return CancelCall(task_id) if request.method == "DELETE" else PollCall(task_id)
        try:
            body = _read_body(request.body)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=True)
        problem = self._problem(body)
        if problem is not None:
            return MalformedCall(problem, submit=True)
        return SubmitCall(
            model=body.model,
            family=Family.SORA,
            prompt=prompt_of(body.content),
            portrait=body.ratio in ("9:16", "3:4"),
            duration_seconds=body.seconds,
            resolution=body.lines,
            callback_url=body.callback_url,
            wants_last_frame=bool(body.return_last_frame),
        )

    def _problem(self, body: Body) -> str | None:
        known = body.model.removeprefix(f"{self._word}-")
        lines, seconds, references_max = _LARGEST.get(known, ("", 0, 0))
        if not seconds or not body.model.startswith(f"{self._word}-"):
            return f"the model or endpoint {body.model} does not exist or you do not have access to it"
        if _LINES.index(body.lines) > _LINES.index(lines):
            return f"resolution {body.lines} is not supported by {body.model}"
        if body.seconds > seconds:
            return f"duration must be at most {seconds} for {body.model}"
        if body.callback_url is not None and not is_callback_url(body.callback_url):
            return "callback_url is no URL"
        return problem_of_content(body.content, references_max)

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """`{id}`."""
        return SimResponse(200, _write({"id": task.id}))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """An error with a code of Ark's own; a model that is not there is a 404."""
        status, code, text = _REFUSALS.get(refusal, (400, "InvalidParameter", reason))
        if code == "InvalidParameter" and reason.startswith("the model or endpoint"):
            status, code = 404, "InvalidEndpointOrModel.NotFound"
        return _error(status, code, text)

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """A task object; which of its fields are there depends on its status."""
        if view.outcome is Outcome.FORGOTTEN:
            return self.no_such_task(view.task.id, detail)
        return SimResponse(200, _write(_task_object(view)))

    def charge_of(self, task: SimTask, outcome: Outcome) -> float | None:
        """The tokens of a success."""
        charged = (Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITHOUT_URL)
        return tokens_of(task) if outcome in charged else None

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """404, with a code of Ark's own."""
        return _error(404, "ResourceNotFound", f"The specified task {task_id} is not found.")

    def cancelled(self, call: CancelCall, came_to: Cancelling) -> SimResponse:
        """200 for a queued task and for one that has ended, whose record stays here; 400 while it renders."""
        match came_to:
            case Cancelling.DONE | Cancelling.ENDED:
                return SimResponse(200, b"{}")
            case Cancelling.RUNNING:
                return _error(400, "TaskRunningCannotCancel", "The task is running and cannot be cancelled.")
            case Cancelling.NO_SUCH_TASK:
                return self.no_such_task(call.task_id, call.detail)

    def callback_body(self, view: TaskView) -> bytes | None:
        """The task object."""
        return None if view.outcome is Outcome.FORGOTTEN else _write(_task_object(view))


def tokens_of(task: SimTask) -> int:
    """What a success of this task is charged."""
    return _TOKENS_PER_SECOND[task.resolution] * task.duration_seconds


def _error(status: int, code: str, message: str) -> SimResponse:
    error = {"code": code, "message": message, "param": "", "type": "BadRequest"}
    return SimResponse(status, _write({"error": error}))


def _task_object(view: TaskView) -> dict[str, Any]:
    task = view.task
    answer: dict[str, Any] = {
        "id": task.id,
        "model": task.model,
        "created_at": 1_790_000_000 + int(task.submitted_at),
        "updated_at": 1_790_000_000 + int(task.submitted_at),
        "duration": task.duration_seconds,
        "resolution": task.resolution,
    }
    match view.outcome:
        case None | Outcome.STUCK:
            waits = view.progress is None or view.waits
            answer["status"] = "queued" if waits else "running"
        case Outcome.SUCCEEDED | Outcome.SUCCEEDED_WITHOUT_URL:
            tokens = tokens_of(task)
            answer["status"] = "succeeded"
            answer["usage"] = {"completion_tokens": tokens, "total_tokens": tokens}
            answer["content"] = None if view.video_url is None else _content(view, view.video_url)
        case outcome:
            answer |= _failure(view, outcome)
    if view.status is not None:
        answer["status"] = view.status
    return answer


def _content(view: TaskView, video_url: str) -> dict[str, str]:
    if not view.task.wants_last_frame:
        return {"video_url": video_url}
    return {"video_url": video_url, "last_frame_url": last_frame_url(video_url)}


def _failure(view: TaskView, outcome: Outcome) -> dict[str, Any]:
    text, wording = view.task.fate.text, view.task.fate.wording
    match outcome:
        case Outcome.INPUT_MODERATION:
            code = "InputImageSensitiveContentDetected.PrivacyInformation"
        case Outcome.OUTPUT_MODERATION:
            kind = "Audio" if wording & 1 else "Video"
            code = f"Output{kind}SensitiveContentDetected.PolicyViolation"
        case Outcome.CANCELLED:
            return {"status": "cancelled"}
        case Outcome.ERROR if wording & 3 == 0:
            return {"status": "expired"}
        case Outcome.ERROR:
            code = "InternalServiceError"
        case _:
            return {"status": "failed", "error": None}
    return {"status": "failed", "error": {"code": code, "message": text}}
