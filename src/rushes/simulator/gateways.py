"""How gateways in front of OpenAI's videos API say things: every shape that is known of them.

Written from docs/providers.md ("Dialects of OpenAI-compatible servers"), not from the provider's tables. Each
task draws its shapes once, from its seed; the report names them, with the reason that was given, so that a
test can compare what a client made of them.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from rushes.simulator.draws import Lane, bits
from rushes.simulator.fate import Outcome
from rushes.simulator.faults import Fault
from rushes.simulator.message import SimResponse

Body = dict[str, Any]


class Facet(IntEnum):
    """What is drawn; the values number the draws of one seed."""

    SUBMIT = 1
    SUBMIT_STATUS = 2
    OPEN_WORD = 3
    LAST_WORD = 4
    LETTERS = 5
    PROGRESS = 6
    FAILURE = 7
    POLL = 8
    CONTENT = 9
    URL = 10
    REFUSAL = 11
    NOT_FOUND = 12


@dataclass(frozen=True, slots=True)
class Dialect:
    """The shapes of one task, or of one refused submit."""

    seed: int
    names: list[str] = field(default_factory=list)
    """Shapes that were used, in order, each once."""

    def pick(self, facet: Facet, among: Sequence[str]) -> str:
        """One of these; the same one whenever it is asked."""
        name = among[bits(self.seed, Lane.DIALECT, facet) % len(among)]
        named = f"{facet.name.lower()}={name}"
        if named not in self.names:
            self.names.append(named)
        return name


# --- submits ----------------------------------------------------------------------------------------------

ROW_ID: Final = 12
"""A number of the gateway's own database; no task can be asked about by it."""

_SUBMITS: Final[Mapping[str, Callable[[str, Body], Body]]] = {
    "openai": lambda _task_id, video: video,
    "NOT_START": lambda task_id, _video: {"id": task_id, "status": "NOT_START", "progress": "0%"},
    "number": lambda task_id, _video: {"id": int(task_id), "status": "queued"},
    "packed": lambda _task_id, video: video,
    "task_id alone": lambda task_id, _video: {"task_id": task_id},
    "both": lambda task_id, video: {**video, "task_id": task_id},
    "task object": lambda task_id, _video: _enveloped(
        {"id": ROW_ID, "task_id": task_id, "status": "NOT_START", "progress": "0%"}
    ),
    "data": lambda task_id, _video: {
        "code": 0,
        "message": "SUCCEED",
        "data": {"task_id": task_id, "task_status": "submitted"},
    },
    "list": lambda _task_id, video: {"data": [video]},
    "failed": lambda task_id, _video: {"id": task_id, "status": "failed", "error": "it may be so"},
    "odd": lambda task_id, _video: {"id": task_id, "status": 3, "progress": [], "error": 1, "created_at": {}},
}
_PACKED: Final = "litellm:custom_llm_provider:openai;model_id:{};video_id:{}"


def task_id_in(dialect: Dialect, plain: str) -> str:
    """The task's id in the form that its acceptance has; unlike `plain` in its form only."""
    match dialect.pick(Facet.SUBMIT, tuple(_SUBMITS)):
        case "number":
            return str(int(plain.replace("-", "")[:24], 16))
        case "packed":
            # no character that a path would have to quote
            fillers = ("r" * 40 + "x" * length + letter for letter in "abcdefgh" for length in range(12))
            packed = (_packed(filler, plain) for filler in fillers)
            return next((one for one in packed if not set(one) & set("=/+")), plain)
        case _:
            return plain


def _packed(model: str, plain: str) -> str:
    return f"video_{b64encode(_PACKED.format(model, plain).encode()).decode()}"


def accepted_in(dialect: Dialect, task_id: str, video: Body) -> SimResponse:
    """The acceptance."""
    body = _SUBMITS[dialect.pick(Facet.SUBMIT, tuple(_SUBMITS))](task_id, video)
    status = int(dialect.pick(Facet.SUBMIT_STATUS, ("200", "200", "201", "202")))
    return _answer(status, body)


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal: how it is said, and the reason that a client can keep of it."""

    status: int
    body: Body
    reason: str


_BLOCKED: Final = "The prompt was flagged by our moderation system."
_REFUSALS: Final[Mapping[str, Refused]] = {
    "object": Refused(400, {"error": {"message": _BLOCKED, "type": "t", "code": "x"}}, _BLOCKED),
    "code, message, data": Refused(
        400, {"code": "fail_to_fetch_task", "message": _BLOCKED, "data": None}, _BLOCKED
    ),
    "text": Refused(422, {"error": _BLOCKED}, _BLOCKED),
    "number": Refused(400, {"error": {"message": _BLOCKED, "code": 1301}}, _BLOCKED),
    "null message": Refused(
        400, {"error": {"message": None, "code": "moderation_blocked"}}, "moderation_blocked"
    ),
    "detail": Refused(400, {"detail": {"error": {"message": _BLOCKED, "code": "y"}}}, _BLOCKED),
    "handed on": Refused(
        400,
        {
            "code": "fail_to_fetch_task",
            "message": json.dumps({"error": {"message": _BLOCKED, "code": "moderation_blocked"}}),
            "data": None,
        },
        _BLOCKED,
    ),
    "own word list": Refused(
        500, {"error": {"message": "sensitive words", "code": "sensitive_words_detected"}}, "sensitive words"
    ),
}


def refused_in(dialect: Dialect) -> tuple[SimResponse, str]:
    """A refusal of the prompt, and the reason given."""
    refused = _REFUSALS[dialect.pick(Facet.REFUSAL, tuple(_REFUSALS))]
    return _answer(refused.status, refused.body), refused.reason


_NO_CHANNEL: Final[Mapping[str, Body]] = {
    "code": {
        "error": {"message": "No available channel for model sora-2 (distributor)", "code": "model_not_found"}
    },
    "text": {"error": {"message": "当前分组 default 下对于模型 sora-2 无可用渠道", "type": "one_api_error"}},
}
_UNCLEAR: Final[Mapping[str, Body]] = {
    "do_request_failed": {"code": "do_request_failed", "message": "请求上游地址失败", "data": None},
    "get_channel_failed": {"code": "get_channel_failed", "message": "渠道不存在(retry)", "data": None},
    "fail_to_fetch_task": {
        "code": "fail_to_fetch_task",
        "message": json.dumps({"error": {"message": "No available channel", "code": "model_not_found"}}),
        "data": None,
    },
}


def failed_in(dialect: Dialect, fault: Fault) -> SimResponse | None:
    """A fault of a submit in the gateway's own words; None where it has none of its own."""
    match fault:
        case Fault.THROTTLED_BARE:
            return _answer(503, _NO_CHANNEL[dialect.pick(Facet.REFUSAL, tuple(_NO_CHANNEL))])
        case Fault.THROTTLED:
            return _answer(
                429, {"code": "fail_to_fetch_task", "message": "当前分组上游负载已饱和", "data": None}
            )
        case Fault.SERVER_ERROR:
            return _answer(503, _UNCLEAR[dialect.pick(Facet.REFUSAL, tuple(_UNCLEAR))])
        case _:
            return None


# --- polls ------------------------------------------------------------------------------------------------

_OPEN: Final = (
    *("queued", "pending", "submitted", "not_start", "not_started", "in_queue", "queueing", "waiting"),
    *("created", "preparing", "starting", "in_progress", "processing", "running", "generating", "started"),
    *("unknown", "rendering", "scheduled"),
)
_SUCCEEDED: Final = ("completed", "complete", "succeeded", "succeed", "success", "finished", "done")
_FAILED: Final = ("failed", "failure", "fail", "error", "expired", "cancelled", "canceled", "timeout")
_FAILED_BY_MODERATION: Final = ("failed", "failure", "violation", "moderation_blocked")
_LETTERS: Final[Mapping[str, Callable[[str], str]]] = {
    "lower": lambda word: word,
    "upper": str.upper,
    "title": str.title,
    "hyphen": lambda word: word.replace("_", "-"),
}
_PROGRESS: Final[Mapping[str, Callable[[int], Any]]] = {
    "whole": lambda share: share,
    "percent": lambda share: f"{share}%",
    "fraction": lambda share: share - 0.5,
    "text": str,
    "too much": lambda share: share + 100,
    "words": lambda _share: "almost there",
    "list": lambda share: [share],
}
"""`missing` is one more."""

_FAILURES: Final[Mapping[str, Callable[[str, str], Body]]] = {
    "object": lambda code, text: {"error": {"code": code, "message": text}},
    "text": lambda _code, text: {"error": text},
    "fail_reason": lambda _code, text: {"fail_reason": text},
    "code, message, data": lambda code, text: {"code": code, "message": text, "data": None},
    "number": lambda _code, text: {"error": {"code": 1301, "message": text}},
    "null message": lambda code, _text: {"error": {"code": code, "message": None}},
    "handed on": lambda code, text: {
        "error": {"code": "upstream_error", "message": json.dumps({"error": {"code": code, "message": text}})}
    },
}
_SILENT_FAILURES: Final[Mapping[str, Body]] = {
    "nothing": {},
    "null": {"error": None},
    "empty": {"error": {"code": 0, "message": ""}, "message": "success"},
}
TELLING: Final = frozenset({"expired", "cancelled", "canceled", "timeout", "violation", "moderation_blocked"})
"""Status words that are a reason where none is given."""


def word_in(dialect: Dialect, outcome: Outcome | None) -> str:
    """The status."""
    match outcome:
        case None | Outcome.STUCK:
            word = dialect.pick(Facet.OPEN_WORD, _OPEN)
        case Outcome.SUCCEEDED:
            word = dialect.pick(Facet.LAST_WORD, _SUCCEEDED)
        case Outcome.OUTPUT_MODERATION | Outcome.INPUT_MODERATION:
            word = dialect.pick(Facet.LAST_WORD, _FAILED_BY_MODERATION)
        case _:
            word = dialect.pick(Facet.LAST_WORD, _FAILED)
    return _LETTERS[dialect.pick(Facet.LETTERS, tuple(_LETTERS))](word)


def progress_in(dialect: Dialect, share: int | None) -> Body:
    """The progress, in any form."""
    form = dialect.pick(Facet.PROGRESS, (*_PROGRESS, "missing"))
    return {} if form == "missing" or share is None else {"progress": _PROGRESS[form](share)}


def failure_in(dialect: Dialect, outcome: Outcome, text: str) -> tuple[Body, str]:
    """The fields that say why a task failed, and the reason that they tell; empty for none."""
    if outcome is Outcome.FAILED_WITHOUT_REASON or (outcome is Outcome.ERROR and not text):
        fields = _SILENT_FAILURES[dialect.pick(Facet.FAILURE, tuple(_SILENT_FAILURES))]
        word = word_in(dialect, outcome).lower()
        return fields, word if word in TELLING else ""
    is_moderation = outcome is not Outcome.ERROR
    code = "moderation_blocked" if is_moderation else "internal_error"
    text = _BLOCKED if is_moderation else text
    form = dialect.pick(Facet.FAILURE, tuple(_FAILURES))
    return _FAILURES[form](code, text), code if form == "null message" else text


def told_in(dialect: Dialect, task_id: str, video: Body, fields: Body) -> SimResponse:
    """The answer to a poll: `video` with the fields that the dialect has instead of its own."""
    match dialect.pick(Facet.POLL, _POLLS):
        case "task object":
            own = {name: value for name, value in fields.items() if name not in ("data", "code", "message")}
            reason = fields.get("message") if "code" in fields else None
            failed = {"fail_reason": reason} if reason else {}
            return _answer(200, _enveloped({"id": ROW_ID, "task_id": task_id, **own, **failed}))
        case "no id":
            return _answer(200, fields)
        case "both":
            return _answer(200, {**video, **fields, "id": "upstream-1", "task_id": task_id})
        case "upstream in data":
            return _answer(200, {**fields, "id": task_id, "data": {"id": "upstream-1", "status": "running"}})
        case _:
            return _answer(200, {**video, **fields, "id": task_id})


_NOT_FOUND: Final[Mapping[str, SimResponse]] = {
    "code": SimResponse(404, b'{"error":{"message":"gone","code":"task_not_found"}}'),
    "detail": SimResponse(404, b'{"detail":"Task not found"}'),
    "task_not_exist": SimResponse(400, b'{"code":"task_not_exist","message":"task_not_exist","data":null}'),
}


def no_such_task_in(dialect: Dialect) -> SimResponse:
    """The answer to a poll for a task that no longer exists."""
    return _NOT_FOUND[dialect.pick(Facet.NOT_FOUND, tuple(_NOT_FOUND))]


# --- files ------------------------------------------------------------------------------------------------

_URLS: Final[Mapping[str, Callable[[str], Body]]] = {
    "url": lambda url: {"url": url},
    "video_url": lambda url: {"url": None, "video_url": url},
    "result_url": lambda url: {"result_url": url},
    "metadata": lambda url: {"metadata": {"url": url}},
    "output": lambda url: {"output": [url]},
    "video": lambda url: {"video": {"url": url}},
    "results": lambda url: {"results": [{"url": url}]},
    "content": lambda url: {"content": {"video_url": url}},
}
_CONTENTS: Final = ("bytes", "206", "202 first", "json", "redirect", "404", "405", "501", "400")
_MISSING: Final = frozenset({"404", "405", "501", "400"})


def url_in(dialect: Dialect, url: str) -> Body:
    """The URL in a success's answer, where the content path does not give the file; else nothing."""
    if dialect.pick(Facet.CONTENT, _CONTENTS) not in _MISSING:
        return {}
    return _URLS[dialect.pick(Facet.URL, tuple(_URLS))](url)


def content_in(
    dialect: Dialect, url: str, asked_before: int, serve: Callable[[], SimResponse]
) -> SimResponse:
    """The answer to the content path. `serve` gives the file itself, `url` is where it lies without a key."""
    form = dialect.pick(Facet.CONTENT, _CONTENTS)
    match form:
        case "206":
            whole = serve()
            last = len(whole.body) - 1
            ranged = (("content-range", f"bytes 0-{last}/{last + 1}"),)
            if whole.status != 200:
                return whole
            return SimResponse(206, whole.body, whole.content_type, whole.headers + ranged, whole.delivery)
        case "202 first" if not asked_before:
            return _answer(202, {"status": "processing"})
        case "json":
            return _answer(200, {"id": "x", **_URLS[dialect.pick(Facet.URL, tuple(_URLS))](url)})
        case "redirect":
            return SimResponse(302, headers=(("location", url),))
        case _ if form in _MISSING:
            return _answer(int(form), {"error": {"message": "no file here", "code": "no_content"}})
        case _:
            return serve()


_POLLS: Final = ("openai", "task object", "no id", "both", "upstream in data")

SHAPES_COUNT: Final = sum(
    map(
        len,
        (
            *(_SUBMITS, {"200", "201", "202"}, _OPEN, {*_SUCCEEDED, *_FAILED, *_FAILED_BY_MODERATION}),
            *(_LETTERS, {*_PROGRESS, "missing"}, {*_FAILURES, *_SILENT_FAILURES}, _POLLS, _CONTENTS, _URLS),
            _NOT_FOUND,
        ),
    )
)
"""Shapes that accepted tasks can have; refused submits have others."""


def _enveloped(task: Body) -> Body:
    return {"code": "success", "message": "", "data": task}


def _answer(status: int, body: Body) -> SimResponse:
    return SimResponse(status, json.dumps(body, ensure_ascii=False).encode())
