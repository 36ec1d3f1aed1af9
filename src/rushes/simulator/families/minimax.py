"""MiniMax, version 2: `/v2/video_generation` and `/v2/query/video_generation/{id}`.

Stricter than the real service, see grsai.py. A task that is not there is a 500, as there.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from rushes.simulator.families.content import Image, Item, Text, problem_of_content, prompt_of
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
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.work import SimTask, TaskView

SUBMIT_PATH: Final = "/v2/video_generation"
QUERY_PATH: Final = "/v2/query/video_generation/"

_RESOLUTIONS: Final = {"MiniMax-H3": ("768P", "2K"), "MiniMax-H3-Max": ("480P", "768P")}
_PROMPT_CHARACTERS_MAX: Final = 7000
_REFERENCES_MAX: Final = 9


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client may send."""

    model: Literal["MiniMax-H3", "MiniMax-H3-Max"]
    content: list[Item]
    duration: Annotated[int, msgspec.Meta(ge=5, le=15)]
    resolution: Literal["480P", "768P", "2K"] = "768P"
    ratio: Literal["adaptive", "16:9", "9:16", "4:3", "3:4", "1:1", "21:9"] = "adaptive"
    callback_url: str | None = None
    aigc_watermark: bool = False


_read_body = msgspec.json.Decoder(Body).decode
_write = msgspec.json.Encoder().encode

_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (401, "authorized_error", "login fail: invalid api key (1004)"),
    Refusal.KEY_DISABLED: (401, "authorized_error", "login fail: the api key is disabled (1004)"),
    Refusal.BALANCE_EXHAUSTED: (402, "insufficient_balance_error", "insufficient balance (1008)"),
    Refusal.PROMPT: (
        422,
        "unprocessable_entity_error",
        "video description contains sensitive content (1026)",
    ),
}


class MiniMaxWire(Wire):
    """`{task_id}` for a submit, `{task}` for a poll, `{type: "error", error}` for what is refused."""

    name = "minimax"

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """MiniMax' host and key."""
        return {"MINIMAX_HOST": base_url, "MINIMAX_API_KEY": api_key}

    def match(self, method: str, path: str) -> bool:
        """POST to submit, GET for a task."""
        if method == "POST":
            return path == SUBMIT_PATH
        return method in ("GET", "DELETE") and path.startswith(QUERY_PATH)

    def read(self, request: SimRequest) -> Call:
        """A submit, or a question for a task."""
        if request.method in ("GET", "DELETE"):
            task_id = request.path.removeprefix(QUERY_PATH)
            if not is_task_id(task_id):
                return MalformedCall("expected /v2/query/video_generation/{task_id}", submit=False)
            return CancelCall(task_id) if request.method == "DELETE" else PollCall(task_id)
        try:
            body = _read_body(request.body)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=True)
        problem = _problem(body)
        if problem is not None:
            return MalformedCall(problem, submit=True)
        return SubmitCall(
            model=body.model,
            family=Family.MINIMAX,
            prompt=prompt_of(body.content),
            portrait=body.ratio in ("9:16", "3:4"),
            duration_seconds=body.duration,
            resolution=body.resolution,
            input_images=sum(isinstance(item, Image) for item in body.content),
            callback_url=body.callback_url,
        )

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """`{task_id}`."""
        return SimResponse(200, _write({"task_id": task.id}))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """An error with its type, and its number at the end of the message."""
        status, kind, text = _REFUSALS.get(
            refusal, (400, "bad_request_error", f"invalid params, {reason} (2013)")
        )
        return _error(status, kind, text)

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """A task object; which of its fields are there depends on its status."""
        if view.outcome is Outcome.FORGOTTEN:
            return self.no_such_task(view.task.id, detail)
        return SimResponse(200, _write({"task": self._task_object(view)}))

    def callback_body(self, view: TaskView) -> bytes | None:
        """As a poll has it."""
        is_forgotten = view.outcome is Outcome.FORGOTTEN
        return None if is_forgotten else _write({"task": self._task_object(view)})

    def cancelled(self, call: CancelCall, came_to: Cancelling) -> SimResponse:
        """200 for a queued task and for one that has ended, whose record stays here; 400 while it renders."""
        match came_to:
            case Cancelling.DONE | Cancelling.ENDED:
                return SimResponse(200, _write({"task_id": call.task_id, "status": "cancelled"}))
            case Cancelling.RUNNING:
                return _error(400, "bad_request_error", "invalid params, the task is running (2013)")
            case Cancelling.NO_SUCH_TASK:
                return self.no_such_task(call.task_id, call.detail)

    def _task_object(self, view: TaskView) -> dict[str, Any]:
        task = view.task
        answer: dict[str, Any] = {"id": task.id, "model": task.model, "duration": task.duration_seconds}
        match view.outcome:
            case None | Outcome.STUCK:
                waits = view.progress is None or view.waits
                answer["status"] = "queued" if waits else "running"
            case Outcome.SUCCEEDED | Outcome.SUCCEEDED_WITHOUT_URL:
                answer |= _success(view)
            case outcome:
                answer |= _failure(view, outcome)
        if view.status is not None:
            answer["status"] = view.status
        return answer

    def charge_of(self, task: SimTask, outcome: Outcome) -> float | None:
        """The seconds of a success; pictures are charged too, and the answer does not say how."""
        is_made = outcome in (Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITHOUT_URL)
        return task.duration_seconds if is_made and not task.input_images else None

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """500, with its words."""
        return _error(500, "server_error", "record not found (1000)")


def _problem(body: Body) -> str | None:
    if body.resolution not in _RESOLUTIONS[body.model]:
        return f"resolution {body.resolution} is not supported by {body.model}"
    if body.callback_url is not None and not is_callback_url(body.callback_url):
        return "callback_url is no URL"
    problem = problem_of_content(body.content, _REFERENCES_MAX)
    if problem is not None:
        return problem
    if len(prompt_of(body.content)) > _PROMPT_CHARACTERS_MAX:
        return "the prompt is too long"
    if body.ratio == "adaptive" and all(isinstance(item, Text) for item in body.content):
        return "ratio cannot be adaptive for text to video"
    roles = {item.role for item in body.content if not isinstance(item, Text)}
    if body.model == "MiniMax-H3-Max" and roles - {"first_frame", "last_frame"}:
        return "MiniMax-H3-Max takes no references"
    return None


def _error(status: int, kind: str, message: str) -> SimResponse:
    error = {"type": kind, "message": message, "http_code": str(status)}
    return SimResponse(status, _write({"type": "error", "error": error, "request_id": "r-0"}))


def _success(view: TaskView) -> dict[str, Any]:
    task = view.task
    return {
        "status": "succeeded",
        "content": None if view.video_url is None else {"url": view.video_url},
        "resolution": task.resolution,
        "usage": {
            "total_seconds": task.duration_seconds,
            "output_seconds": task.duration_seconds,
            "input_seconds": 0,
            "input_image_count": task.input_images,
        },
    }


def _failure(view: TaskView, outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Outcome.INPUT_MODERATION:
            error = {"code": "1026", "message": "video description contains sensitive content"}
        case Outcome.OUTPUT_MODERATION:
            error = {"code": "1027", "message": "the generated video contains sensitive content"}
        case Outcome.ERROR if view.task.fate.wording & 3 == 0:
            return {"status": "expired"}
        case Outcome.ERROR:
            error = {"code": "1000", "message": view.task.fate.text}
        case Outcome.CANCELLED:
            return {"status": "cancelled"}
        case _:
            return {"status": "failed", "error": None}
    return {"status": "failed", "error": error}
