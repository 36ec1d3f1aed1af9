"""Grsai, generation 2: the unified API, `/v1/api/generate` and `/v1/api/result`; `minimax-h3`.

As strict as generation 1, see wire_grsai.py. The protocol has no callback.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

import msgspec

from rushes.providers.simulator.fate import Family, Outcome
from rushes.providers.simulator.message import SimRequest, SimResponse
from rushes.providers.simulator.wire import (
    TASK_ID_CHARACTERS_MAX,
    UNREADABLE,
    Call,
    MalformedCall,
    PollCall,
    Refusal,
    SubmitCall,
    Wire,
)
from rushes.providers.simulator.wire_grsai import NO_SUCH_TASK, Prompt, Reference
from rushes.providers.simulator.work import SimTask, TaskView

GENERATE_PATH = "/v1/api/generate"
RESULT_PATH = "/v1/api/result"
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


_read_body = msgspec.json.Decoder(MiniMaxBody).decode
_write = msgspec.json.Encoder().encode


class UnifiedWire(Wire):
    """Answers without an envelope; `violation` is a status of its own."""

    name = "grsai-unified"
    outcomes = frozenset(Outcome)

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """Both generations have one host and one key."""
        return {"GRSAI_HOST": base_url, "GRSAI_API_KEY": api_key}

    def match(self, method: str, path: str) -> bool:
        """POST to generate, GET for a result."""
        return (method == "GET" and path == RESULT_PATH) or (method == "POST" and path == GENERATE_PATH)

    def read(self, request: SimRequest) -> Call:
        """A submit or a question for a result."""
        if request.path == RESULT_PATH:
            return _poll_call(request.query)
        try:
            body = _read_body(request.body)
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


def _poll_call(query: str) -> Call:
    try:
        ids = parse_qs(query, max_num_fields=10).get("id", [])
    except ValueError:
        ids = []
    if len(ids) != 1 or len(ids[0]) > TASK_ID_CHARACTERS_MAX:
        return MalformedCall("expected one id in the query", submit=False)
    return PollCall(ids[0])
