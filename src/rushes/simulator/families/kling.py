"""Kling's API, both generations: `/text-to-video/…` with `/tasks`, and `/v1/videos/text2video`.

Stricter than the service, as grsai.py is. A task can be asked for by the client's own key, which must
be new. A success tells what it cost: money for even seeds, units for odd ones.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qs

import msgspec

from rushes.simulator.families.grsai import Prompt, Reference
from rushes.simulator.families.wire import (
    UNREADABLE,
    Call,
    FindCall,
    MalformedCall,
    PollCall,
    Refusal,
    SubmitCall,
    Wire,
    is_callback_url,
)
from rushes.simulator.fate import Family, Outcome
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.work import SimTask, TaskView

_NEWER: Final = re.compile(r"/(text-to-video|image-to-video)/([a-z0-9.\-]+)")
_OLDER: Final = re.compile(r"/v1/videos/(text2video|image2video)")
_OLDER_TASK: Final = re.compile(r"/v1/videos/(text2video|image2video)/([A-Za-z0-9_\-]{1,200})")
_TASKS: Final = "/tasks"
_RESOLUTIONS: Final = {"kling-3.0": ("720p", "1080p", "4k"), "kling-3.0-turbo": ("720p", "1080p")}
_UNIT_USD: Final = 0.14

Key = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_\-]{1,64}$")]


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """How the video is to be."""

    resolution: Literal["720p", "1080p", "4k"] = "720p"
    aspect_ratio: Literal["16:9", "9:16", "1:1"] | None = None
    duration: Annotated[int, msgspec.Meta(ge=3, le=15)] = 5
    audio: Literal["native", "off"] | None = None
    multi_shot: bool = False


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """What has nothing to do with the video."""

    callback_url: str | None = None
    external_task_id: Key | None = None


class PromptPart(msgspec.Struct, tag_field="type", tag="prompt", forbid_unknown_fields=True):
    """The text of an image-to-video task."""

    text: Prompt


class FramePart(msgspec.Struct, tag_field="type", tag="first_frame", forbid_unknown_fields=True):
    """Its picture."""

    url: Reference


class TextBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client may send to text-to-video."""

    prompt: Prompt
    settings: Settings = msgspec.field(default_factory=Settings)
    options: Options = msgspec.field(default_factory=Options)


class ImageBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client may send to image-to-video."""

    contents: list[PromptPart | FramePart]
    settings: Settings = msgspec.field(default_factory=Settings)
    options: Options = msgspec.field(default_factory=Options)


class OlderBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client may send to the older generation."""

    model_name: Literal["kling-v2-6"]
    prompt: Prompt
    image: Reference | None = None
    mode: Literal["std", "pro"] = "std"
    duration: Literal["5", "10"] = "5"
    aspect_ratio: Literal["16:9", "9:16", "1:1"] | None = None
    callback_url: str | None = None
    external_task_id: Key | None = None


_write = msgspec.json.Encoder().encode

_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (401, 1002, "Authorization is invalid"),
    Refusal.KEY_DISABLED: (401, 1000, "Authentication failed"),
    Refusal.BALANCE_EXHAUSTED: (429, 1102, "Resource pack depleted or expired"),
    Refusal.PROMPT: (400, 1301, "The request contains content that triggers the content security policy"),
}


class KlingWire(Wire):
    """`{code, message, request_id, data}` for everything."""

    name = "kling"

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """Kling's host and key."""
        return {"KLING_HOST": base_url, "KLING_API_KEY": api_key}

    def key(self, request: SimRequest) -> str | None:
        """The API key or, of a signed token, the access key that it names."""
        token = super().key(request)
        parts = (token or "").split(".")
        if len(parts) != 3:
            return token
        try:
            claims = msgspec.json.decode(urlsafe_b64decode(parts[1] + "=="), type=dict[str, Any])
        except (ValueError, *UNREADABLE):
            return token
        return str(claims.get("iss"))

    def match(self, method: str, path: str) -> bool:
        """POST for submits, GET for tasks."""
        if method == "POST":
            return _NEWER.fullmatch(path) is not None or _OLDER.fullmatch(path) is not None
        return method == "GET" and (path == _TASKS or _OLDER_TASK.fullmatch(path) is not None)

    def read(self, request: SimRequest) -> Call:
        """A submit, or a question by the task's id or the client's key."""
        if request.method == "GET":
            return _question(request)
        try:
            newer = _NEWER.fullmatch(request.path)
            if newer is not None:
                return _newer_submit(newer[1], newer[2], request.body)
            return _older_submit(request.path.rpartition("/")[2], request.body)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=True)

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """The task, submitted."""
        if _is_older(task):
            return _answer({"task_id": task.id, "task_status": "submitted"})
        return _answer({"id": task.id, "status": "submitted", "external_id": task.submit_key or None})

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """A business code on its HTTP status; an empty pack comes with 429."""
        status, code, text = _REFUSALS.get(refusal, (400, 1201, reason))
        return _refusal(status, code, text)

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """The task, or a list with it."""
        kind = _kind(view.task) if _is_older(view.task) else ""
        if view.outcome is Outcome.FORGOTTEN or detail != kind:
            return self.no_such_task(view.task.id, detail)
        return _answer(_older_task(view)) if kind else _answer([_task(view)])

    def charge_of(self, task: SimTask, outcome: Outcome) -> float | None:
        """The amount of a success's bill: units or US dollars; the older models always say units."""
        if outcome is not Outcome.SUCCEEDED:
            return None
        return units_of(task) if _is_older(task) else float(_bill(task)["amount"])

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """404, with Kling's code for it."""
        return _refusal(404, 1203, f"Resource {task_id} not found")

    def found(self, call: FindCall, view: TaskView | None) -> SimResponse:
        """As a poll; the newer generation's path knows nothing of the older one's tasks."""
        detail, _, key = call.submit_key.rpartition("/")
        if view is not None:
            return self.result(view, detail)
        return self.no_such_task(key, detail) if detail else _answer([])

    def callback_body(self, view: TaskView) -> bytes | None:
        """The task object."""
        if view.outcome is Outcome.FORGOTTEN:
            return None
        return _write(_older_task(view) if _is_older(view.task) else _task(view))


def _question(request: SimRequest) -> Call:
    older = _OLDER_TASK.fullmatch(request.path)
    if older is not None:
        is_key = older[2].startswith("bat_")
        return FindCall(f"{older[1]}/{older[2]}") if is_key else PollCall(older[2], older[1])
    asked = parse_qs(request.query)
    match asked:
        case {"task_ids": [task_id]} if len(asked) == 1:
            return PollCall(task_id)
        case {"external_task_ids": [key]} if len(asked) == 1:
            return FindCall(key)
        case _:
            return MalformedCall("expected task_ids or external_task_ids, and not both", submit=False)


def _newer_submit(kind: str, model: str, body: bytes) -> Call:
    wanted: TextBody | ImageBody
    if kind == "text-to-video":
        wanted = msgspec.json.decode(body, type=TextBody)
        prompt = wanted.prompt
    else:
        wanted = msgspec.json.decode(body, type=ImageBody)
        texts = [part.text for part in wanted.contents if isinstance(part, PromptPart)]
        if len(texts) != 1 or len(wanted.contents) != 2 or wanted.settings.aspect_ratio is not None:
            return MalformedCall("contents must be a prompt and a first_frame", submit=True)
        prompt = texts[0]
    if wanted.settings.resolution not in _RESOLUTIONS.get(model, ()):
        return MalformedCall(f"{model} has no {wanted.settings.resolution}", submit=True)
    if model == "kling-3.0-turbo" and wanted.settings.audio is not None:
        return MalformedCall("kling-3.0-turbo has no setting audio", submit=True)
    if wanted.options.callback_url is not None and not is_callback_url(wanted.options.callback_url):
        return MalformedCall("callback_url is no URL", submit=True)
    return SubmitCall(
        model=model,
        family=Family.MINIMAX,
        prompt=prompt,
        portrait=wanted.settings.aspect_ratio == "9:16",
        duration_seconds=wanted.settings.duration,
        resolution=wanted.settings.resolution,
        callback_url=wanted.options.callback_url,
        submit_key=wanted.options.external_task_id or "",
    )


def _older_submit(kind: str, body: bytes) -> Call:
    wanted = msgspec.json.decode(body, type=OlderBody)
    if (wanted.image is not None) is not (kind == "image2video"):
        return MalformedCall("image belongs to image2video, and nowhere else", submit=True)
    key = wanted.external_task_id
    return SubmitCall(
        model=f"{wanted.model_name} {kind}",
        family=Family.MINIMAX,
        prompt=wanted.prompt,
        portrait=wanted.aspect_ratio == "9:16",
        duration_seconds=int(wanted.duration),
        resolution="1080p" if wanted.mode == "pro" else "720p",
        callback_url=wanted.callback_url,
        submit_key=f"{kind}/{key}" if key else "",
    )


def _is_older(task: SimTask) -> bool:
    return " " in task.model


def _kind(task: SimTask) -> str:
    return task.model.partition(" ")[2]


def units_of(task: SimTask) -> float:
    """What a success is charged, in units."""
    per_second = {"720p": 0.6, "1080p": 0.8, "4k": 3.0}[task.resolution]
    return round(per_second * task.duration_seconds, 2)


def _answer(data: object) -> SimResponse:
    return SimResponse(200, _write({"code": 0, "message": "SUCCEED", "request_id": "r-1", "data": data}))


def _refusal(status: int, code: int, message: str) -> SimResponse:
    return SimResponse(status, _write({"code": code, "message": message, "request_id": "r-1"}))


def _task(view: TaskView) -> dict[str, Any]:
    task = view.task
    answer: dict[str, Any] = {"id": task.id, "status": _status(view, "succeeded")}
    if task.submit_key:
        answer["external_id"] = task.submit_key
    match view.outcome:
        case None | Outcome.STUCK | Outcome.FAILED_WITHOUT_REASON:
            pass
        case Outcome.SUCCEEDED:
            answer["outputs"] = [{"type": "video", "id": "v-1", "url": view.video_url, "duration": "5"}]
            answer["billing"] = [_bill(task)]
        case Outcome.SUCCEEDED_WITHOUT_URL:
            answer["outputs"] = []
        case outcome:
            answer["message"] = _said(view, outcome)
    return answer


def _bill(task: SimTask) -> dict[str, str]:
    if task.seed & 1:
        return {"charge_type": "unit", "package_type": "video", "amount": f"{units_of(task):.2f}"}
    return {"charge_type": "cash", "currency": "USD", "amount": f"{units_of(task) * _UNIT_USD:.4f}"}


def _older_task(view: TaskView) -> dict[str, Any]:
    task = view.task
    answer: dict[str, Any] = {"task_id": task.id, "task_status": _status(view, "succeed")}
    if task.submit_key:
        answer["task_info"] = {"external_task_id": task.submit_key.rpartition("/")[2]}
    match view.outcome:
        case None | Outcome.STUCK | Outcome.FAILED_WITHOUT_REASON:
            pass
        case Outcome.SUCCEEDED:
            answer["task_result"] = {"videos": [{"id": "v-1", "url": view.video_url, "duration": "5"}]}
            answer["final_unit_deduction"] = f"{units_of(task):.2f}"
        case Outcome.SUCCEEDED_WITHOUT_URL:
            answer["task_result"] = {"videos": []}
        case outcome:
            answer["task_status_msg"] = _said(view, outcome)
    return answer


def _status(view: TaskView, success: str) -> str:
    if view.status is not None:
        return view.status
    match view.outcome:
        case None | Outcome.STUCK:
            return "submitted" if view.waits else "processing"
        case Outcome.SUCCEEDED | Outcome.SUCCEEDED_WITHOUT_URL:
            return success
        case _:
            return "failed"


def _said(view: TaskView, outcome: Outcome) -> str:
    if outcome in (Outcome.INPUT_MODERATION, Outcome.OUTPUT_MODERATION):
        return view.task.fate.text or "Failure to pass the risk control system: content policy"
    return view.task.fate.text
