"""Grsai: Sora and Veo, and the unified API of generation 2.

Generation 1 is `/v1/video/sora-video`, `/v1/video/veo` and `/v1/draw/result`; generation 2, which has no
callback, is `/v1/api/generate` and `/v1/api/result`, for `minimax-h3`.

Stricter than the real service on purpose: an unknown field or a value out of the published set is
refused with the field's name, so that a client's mistake is seen here. The numbers and texts of
business codes other than 0 and -22 are the simulator's own; the service does not publish them.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

import msgspec

from rushes.simulator.families.wire import (
    TASK_ID_CHARACTERS_MAX,
    UNREADABLE,
    Call,
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

SORA_PATH = "/v1/video/sora-video"
VEO_PATH = "/v1/video/veo"
RESULT_PATH = "/v1/draw/result"
NO_SUCH_TASK = -22
NO_CALLBACK = "-1"

Prompt = Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]
Reference = Annotated[str, msgspec.Meta(min_length=1)]


class SoraBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What a client may send for Sora."""

    model: Literal["sora-2"]
    prompt: Prompt
    url: Reference | None = None
    aspect_ratio: Literal["9:16", "16:9"] = "9:16"
    duration: Literal[10, 15] = 10
    size: Literal["small", "large"] = "small"
    web_hook: str | None = None
    shut_progress: bool = False


class VeoBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What a client may send for Veo."""

    model: Literal["veo3.1-fast", "veo3.1-pro", "veo3-fast", "veo3-pro"]
    prompt: Prompt
    first_frame_url: Reference | None = None
    last_frame_url: Reference | None = None
    urls: Annotated[list[Reference], msgspec.Meta(max_length=3)] | None = None
    aspect_ratio: Literal["16:9", "9:16"] = "16:9"
    web_hook: str | None = None
    shut_progress: bool = False


class ResultBody(msgspec.Struct):
    """What a client sends for a result."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=TASK_ID_CHARACTERS_MAX)]


_read_sora = msgspec.json.Decoder(SoraBody).decode
_read_veo = msgspec.json.Decoder(VeoBody).decode
_read_result = msgspec.json.Decoder(ResultBody).decode
_write = msgspec.json.Encoder().encode

VEO_SECONDS = 8

_REFUSAL_CODES = {
    Refusal.UNAUTHORISED: -1,
    Refusal.KEY_DISABLED: -2,
    Refusal.BALANCE_EXHAUSTED: -3,
    Refusal.PROMPT: -4,
    Refusal.MALFORMED: -1,
}


class GrsaiWire(Wire):
    """`{code, msg, data}` around every answer; one result path for every model."""

    name = "grsai"
    outcomes = frozenset(Outcome) - {Outcome.VIOLATION}

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """Both generations have one host and one key."""
        return {"GRSAI_HOST": base_url, "GRSAI_API_KEY": api_key}

    def match(self, method: str, path: str) -> bool:
        """The three paths, POST only."""
        return method == "POST" and path in (RESULT_PATH, SORA_PATH, VEO_PATH)

    def read(self, request: SimRequest) -> Call:
        """A submit of Sora or Veo, or a question for a result."""
        path = request.path
        try:
            if path == RESULT_PATH:
                return PollCall(_read_result(request.body).id)
            body = _read_sora(request.body) if path == SORA_PATH else _read_veo(request.body)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=path != RESULT_PATH)
        return _submit_call(body)

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """`{code: 0, msg, data: {id}}`."""
        return SimResponse(200, _write({"code": 0, "msg": "success", "data": {"id": task.id}}))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """A business code with its reason; a wrong key also has HTTP status 401."""
        status = 401 if refusal is Refusal.UNAUTHORISED else 200
        return _business_error(_REFUSAL_CODES[refusal], reason, data=None, status=status)

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """The result object in its envelope, or a business code."""
        fate = view.task.fate
        if view.outcome is Outcome.BUSINESS_CODE:
            return _business_error(fate.code, fate.text, data=None if fate.wording & 1 else ...)
        if view.outcome is Outcome.FORGOTTEN:
            return self.no_such_task(view.task.id, detail)
        return SimResponse(200, _write({"code": 0, "msg": "success", "data": result_object(view)}))

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """Code -22."""
        return _business_error(NO_SUCH_TASK, f"task {task_id} does not exist", data=None)

    def callback_body(self, view: TaskView) -> bytes | None:
        """The result object without its envelope."""
        if view.outcome in (Outcome.BUSINESS_CODE, Outcome.FORGOTTEN):
            return None
        return _write(result_object(view))


def _submit_call(body: SoraBody | VeoBody) -> Call:
    if body.web_hook is None:
        return MalformedCall("webHook is missing: the streaming mode is not simulated", submit=True)
    has_callback = body.web_hook != NO_CALLBACK
    if has_callback and not is_callback_url(body.web_hook):
        return MalformedCall('webHook is neither "-1" nor an http(s) URL', submit=True)
    veo_family = Family.VEO_PRO if body.model.endswith("-pro") else Family.VEO_FAST
    return SubmitCall(
        model=body.model,
        family=Family.SORA if isinstance(body, SoraBody) else veo_family,
        prompt=body.prompt,
        portrait=body.aspect_ratio == "9:16",
        duration_seconds=body.duration if isinstance(body, SoraBody) else VEO_SECONDS,
        marker=body.web_hook if has_callback else "",
        callback_url=body.web_hook if has_callback else None,
        callback_progress=not body.shut_progress,
    )


def result_object(view: TaskView) -> dict[str, Any]:
    """`data` of a result: the same for Sora and Veo but for where the URL stands.

    Fields that say nothing are absent, null or empty by turns: the service does all three.
    """
    fate, outcome = view.task.fate, view.outcome
    data: dict[str, Any] = {"id": view.task.id}
    silence = fate.wording & 3
    is_sora = view.task.family is Family.SORA
    if view.video_url is not None:
        pid = f"s_{view.task.id[-32:]}"
        if is_sora:
            data["results"] = [{"url": view.video_url, "removeWatermark": True, "pid": pid}]
        else:
            data["url"] = view.video_url
    elif silence:
        empty: object = [] if is_sora else ""
        data["results" if is_sora else "url"] = None if silence == 1 else empty
    if view.progress is not None:
        data["progress"] = view.progress
    match outcome:
        case None | Outcome.STUCK:
            data["status"], reason, text = "running", "", ""
        case Outcome.SUCCEEDED | Outcome.SUCCEEDED_WITHOUT_URL:
            data["status"], reason, text = "succeeded", "", ""
        case Outcome.OUTPUT_MODERATION | Outcome.INPUT_MODERATION | Outcome.ERROR:
            data["status"], reason, text = "failed", outcome.value, fate.text
        case _:
            data["status"], reason, text = "failed", "", ""
    if view.status is not None:
        data["status"] = view.status
    if reason or text or fate.wording & 4:
        data["failure_reason"], data["error"] = reason, text
    return data


def _business_error(code: int, message: str, *, data: object, status: int = 200) -> SimResponse:
    answer: dict[str, Any] = {"code": code, "msg": message}
    if data is not ...:
        answer["data"] = data
    return SimResponse(status, _write(answer))


# --- generation 2 --------------------------------------------------------------------------------------

GENERATE_PATH = "/v1/api/generate"
UNIFIED_RESULT_PATH = "/v1/api/result"
FULL_HD_SECONDS_MAX = 10


class MiniMaxBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What a client may send for `minimax-h3`."""

    model: Literal["minimax-h3"]
    prompt: Prompt
    reply_type: Literal["async"]
    aspect_ratio: Literal["portrait", "landscape"] = "landscape"
    resolution: Literal["480p", "768p", "1080p"] = "768p"
    duration: Annotated[int, msgspec.Meta(ge=1, le=15)] = 6
    images: Annotated[list[Reference], msgspec.Meta(max_length=9)] | None = None
    audios: Annotated[list[Reference], msgspec.Meta(max_length=3)] | None = None
    seed: int | None = None


_read_minimax = msgspec.json.Decoder(MiniMaxBody).decode


class UnifiedWire(Wire):
    """Answers without an envelope; `violation` is a status of its own."""

    name = "grsai-unified"
    outcomes = frozenset(Outcome)

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """Both generations have one host and one key."""
        return {"GRSAI_HOST": base_url, "GRSAI_API_KEY": api_key}

    def match(self, method: str, path: str) -> bool:
        """POST to generate, GET for a result."""
        return (method == "GET" and path == UNIFIED_RESULT_PATH) or (
            method == "POST" and path == GENERATE_PATH
        )

    def read(self, request: SimRequest) -> Call:
        """A submit or a question for a result."""
        if request.path == UNIFIED_RESULT_PATH:
            return _unified_poll_call(request.query)
        try:
            body = _read_minimax(request.body)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=True)
        if body.resolution == "1080p" and body.duration > FULL_HD_SECONDS_MAX:
            reason = f"1080p allows at most {FULL_HD_SECONDS_MAX} seconds - at `$.duration`"
            return MalformedCall(reason, submit=True)
        return SubmitCall(
            model=body.model,
            family=Family.MINIMAX,
            prompt=body.prompt,
            portrait=body.aspect_ratio == "portrait",
            duration_seconds=body.duration,
        )

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """`{id, status}`."""
        return SimResponse(200, _write({"id": task.id, "status": "running"}))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """`{id: "", status: "failed", error}`; a wrong key also has HTTP status 401."""
        status = 401 if refusal is Refusal.UNAUTHORISED else 200
        return SimResponse(status, _write({"id": "", "status": "failed", "error": reason}))

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """`{id, status, progress?, results?, failure_reason?, error?, code?}`."""
        fate = view.task.fate
        if view.outcome is Outcome.FORGOTTEN:
            return self.no_such_task(view.task.id, detail)
        answer: dict[str, Any] = {"id": view.task.id}
        reason, text = "", ""
        match view.outcome:
            case None | Outcome.STUCK:
                answer["status"] = "running"
            case Outcome.SUCCEEDED | Outcome.SUCCEEDED_WITHOUT_URL:
                answer["status"] = "succeeded"
            case Outcome.VIOLATION:
                answer["status"], text = "violation", fate.text
            case Outcome.BUSINESS_CODE:
                answer["status"], answer["code"], text = "failed", fate.code, fate.text
            case Outcome.FAILED_WITHOUT_REASON:
                answer["status"] = "failed"
            case other:
                answer["status"], reason, text = "failed", other.value, fate.text
        if view.status is not None:
            answer["status"] = view.status
        if view.progress is not None:
            answer["progress"] = view.progress
        silence = fate.wording & 3
        if view.video_url is not None:
            answer["results"] = [{"url": view.video_url}]
        elif silence:
            answer["results"] = None if silence == 1 else []
        if reason or text or fate.wording & 4:
            answer["failure_reason"], answer["error"] = reason, text
        return SimResponse(200, _write(answer))

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """Code -22."""
        answer = {"id": task_id, "status": "failed", "code": NO_SUCH_TASK, "error": "task does not exist"}
        return SimResponse(200, _write(answer))


def _unified_poll_call(query: str) -> Call:
    try:
        ids = parse_qs(query, max_num_fields=10).get("id", [])
    except ValueError:
        ids = []
    if len(ids) != 1 or len(ids[0]) > TASK_ID_CHARACTERS_MAX:
        return MalformedCall("expected one id in the query", submit=False)
    return PollCall(ids[0])
