"""How servers that call themselves OpenAI-compatible answer: the dialects, as tables and readers of JSON.

OpenAI's own answer is one dialect of many: gateways put their own status words, ids, errors and URLs into
it. Each table holds what was seen, and docs/providers.md says where. One readable fact is enough: a known
status is the verdict and an id in its place is an acceptance, whatever form the other fields have. What is
in no table is no verdict.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Literal

import msgspec

from rushes.domain.task import FailureType
from rushes.providers.answers import UNDECODABLE, AboutAnotherTask, Complaint, progress_of

_decode = msgspec.json.Decoder().decode


class Standing(Enum):
    """What a status word says of a task."""

    QUEUED = "queued"
    """It waits."""
    OPEN = "open"
    """It waits or renders."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"


# --- the tables -----------------------------------------------------------------------------------------

_WORDS: Final[Mapping[Standing, tuple[str, ...]]] = {
    Standing.QUEUED: (
        *("queued", "not_start", "not_started", "notstart", "notstarted", "in_queue", "inqueue"),
        *("queueing", "queuing", "waiting", "scheduled", "throttled"),
    ),
    Standing.OPEN: (
        *("pending", "submitted", "created", "preparing", "starting", "accepted"),
        *("in_progress", "inprogress", "processing", "running", "generating", "rendering", "started"),
        # new-api says it of a task that it has not yet asked its upstream about
        "unknown",
    ),
    Standing.SUCCEEDED: (
        *("completed", "complete", "succeeded", "succeed", "success", "successful", "finished", "done"),
    ),
    Standing.FAILED: (
        *("failed", "failure", "fail", "error", "errored", "expired", "cancelled", "canceled", "cancel"),
        *("rejected", "aborted", "timeout", "timed_out", "violation", "moderation_blocked", "blocked"),
    ),
}
STATUSES: Final[Mapping[str, Standing]] = {
    word: standing for standing, words in _WORDS.items() for word in words
}
"""Every known status, in lower case with `_` for a space or a hyphen. A word in no row is no answer."""

FAILURE_TYPE_OF_STATUS: Final[Mapping[str, FailureType]] = {
    "expired": FailureType.TIMEOUT,
    "timeout": FailureType.TIMEOUT,
    "timed_out": FailureType.TIMEOUT,
    "cancelled": FailureType.UNKNOWN,
    "canceled": FailureType.UNKNOWN,
    "cancel": FailureType.UNKNOWN,
    "violation": FailureType.OUTPUT_MODERATION,
    "moderation_blocked": FailureType.OUTPUT_MODERATION,
    "blocked": FailureType.OUTPUT_MODERATION,
}
"""Failures whose status says more than that they are one; it is their reason too where none is given."""

MODERATION_CODES: Final[Mapping[str, FailureType]] = {
    "moderation_blocked": FailureType.OUTPUT_MODERATION,
    "content_policy_violation": FailureType.OUTPUT_MODERATION,
    "content_filter": FailureType.OUTPUT_MODERATION,
    "sentinel_block": FailureType.INPUT_MODERATION,
    "sensitive_words_detected": FailureType.INPUT_MODERATION,
    "prompt_blocked": FailureType.INPUT_MODERATION,
    **{kind.value: kind for kind in (FailureType.INPUT_MODERATION, FailureType.OUTPUT_MODERATION)},
}

CHECKED_BEFORE_SENDING: Final = frozenset({"sensitive_words_detected"})
"""Refusals of a prompt that a gateway makes by itself, so that they are certain with a 5xx too."""

ACCOUNT_EXHAUSTED_CODES: Final = frozenset(
    {"insufficient_user_quota", "pre_consume_token_quota_failed", "insufficient_quota"}
)
"""The account has no credit left. Gateways take their price before they send, so it is certain with any
HTTP status, also 429 and 5xx."""

NO_CHANNEL_CODES: Final = frozenset({"model_not_found"})
NO_CHANNEL_TEXTS: Final = ("no available channel", "无可用渠道")
"""With a 503: a gateway's router found no upstream, and so it sent nothing. A text that speaks of a retry
comes after a request that was sent."""

NOT_FOUND_CODES: Final = frozenset(
    {"not_found", "video_not_found", "task_not_found", "task_not_exist", "task_not_exists"}
)

_ID_KEYS: Final = ("id", "task_id", "taskId")
_STATUS_KEYS: Final = ("status", "task_status", "state")
_MESSAGE_KEYS: Final = (*("message", "fail_reason", "failure_reason", "error_message", "reason", "msg"),)
_CODE_KEYS: Final = ("code", "error_code", "failure_code", "failureCode")
_URL_KEYS: Final = ("url", "video_url", "videoUrl", "result_url", "download_url")
_URL_HOLDERS: Final = (
    *("data", "metadata", "output", "outputs", "result", "results", "video", "videos", "content"),
    *("assets", "task_result"),
)

_DEPTH_MAX: Final = 8
"""How deep errors and URLs are looked for: an error of an error, in a text of a task in an envelope."""

_SAYS_NOTHING: Final = frozenset({"", "0", "200", "success", "ok", "null", "none"})
"""Codes and messages of an envelope that is not an error."""


# --- what an answer says --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HandedOn(Complaint):
    """An upstream's error, in a text of the gateway's own."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one answer says. `status` is the word as it came, `standing` None for one that is not known.

    `complaint` is not looked for in the answer of a named task that is well.
    """

    ids: tuple[str, ...]
    status: str | None
    standing: Standing | None
    progress: int | None
    complaint: Complaint | None


def read(body: bytes) -> Said:
    """The facts that are readable in an answer; raises `UNDECODABLE` for what is no JSON."""
    answer = _decode(body)
    task = _inner(answer)
    status, standing = _status_of(answer, task)
    ids = _ids_of(answer, task)
    is_good = bool(ids) and standing not in (Standing.FAILED, None)
    return Said(
        ids=ids,
        status=status,
        standing=standing,
        progress=next(filter(lambda read: read is not None, map(_progress_of, (answer, task))), None),
        complaint=None if is_good else _complaint_of(answer),
    )


def complaint_of(body: bytes) -> Complaint | None:
    """The error in a body; None when it has none that is readable."""
    try:
        return _complaint_of(_decode(body))
    except UNDECODABLE:
        return None


def video_url_of(body: bytes) -> str | None:
    """The URL of the video in a JSON answer; None without one."""
    try:
        return _url_of(_decode(body), 0)
    except UNDECODABLE:
        return None


def require_same_task(asked: str, said: Said) -> None:
    """Raises `AboutAnotherTask` for an answer that names tasks, and not this one.

    LiteLLM packs its route into the id, and not always the same one: what is compared is the id in there.
    """
    if said.ids and not any(_unpacked(named) == _unpacked(asked) for named in said.ids):
        raise AboutAnotherTask


def status_key(status: str) -> str:
    """A status word as `STATUSES` has it."""
    return status.strip().lower().replace("-", "_").replace(" ", "_")


# --- readers --------------------------------------------------------------------------------------------


def _inner(answer: Any) -> Any:
    """The object in an envelope's `data`: alone, or the only one of a list."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    return data if isinstance(data, dict) else None


def _texts(held: Any, keys: tuple[str, ...]) -> Iterator[str]:
    if isinstance(held, dict):
        for key in keys:
            value = held.get(key)
            if isinstance(value, str) and value.strip():
                yield value


def _numbers(held: Any, keys: tuple[str, ...]) -> Iterator[str]:
    if isinstance(held, dict):
        for key in keys:
            value = held.get(key)
            if isinstance(value, int) and not isinstance(value, bool):
                yield str(value)


def _ids_of(answer: Any, task: Any) -> tuple[str, ...]:
    """All ids, those to be polled by first: beside a text a number is a row of the gateway's database."""
    found = [
        *_texts(answer, _ID_KEYS),
        *_texts(task, _ID_KEYS),
        *_numbers(answer, _ID_KEYS),
        *_numbers(task, _ID_KEYS),
    ]
    return tuple(dict.fromkeys(found))


def _status_of(answer: Any, task: Any) -> tuple[str | None, Standing | None]:
    """The status of the task, which in an envelope is the inner one; two that differ are no status."""
    outer, inner = next(_texts(answer, _STATUS_KEYS), None), next(_texts(task, _STATUS_KEYS), None)
    if outer is None or inner is None:
        word = outer or inner
        return word, None if word is None else STATUSES.get(status_key(word))
    of_outer, of_inner = STATUSES.get(status_key(outer)), STATUSES.get(status_key(inner))
    if _ids_of(answer, None):
        return outer, of_outer
    if _ids_of(task, None) or of_outer is of_inner:
        return inner, of_inner
    return f"{outer}, and in data {inner}", None


def _progress_of(held: Any) -> int | None:
    return progress_of(held.get("progress")) if isinstance(held, dict) else None


def _complaint_of(answer: Any, depth: int = 0) -> Complaint | None:
    """The innermost error of an object, a text, a list of them, or JSON in a text."""
    if depth > _DEPTH_MAX:
        return None
    if isinstance(answer, str):
        return _complaint_of_text(answer, depth)
    if isinstance(answer, list):
        return _complaint_of(answer[0], depth + 1) if answer else None
    if not isinstance(answer, dict):
        return None
    codes = (*_texts(answer, _CODE_KEYS), *_numbers(answer, _CODE_KEYS))
    code = _meant(next(iter(codes), ""))
    error, detail = answer.get("error"), answer.get("detail")
    inner = _complaint_of(error, depth + 1)
    if isinstance(error, str) and isinstance(detail, str) and detail:  # RFC 9457, as another rushes says it
        return Complaint(detail, error or code)
    for held in (detail, answer.get("errors")):
        inner = inner or _complaint_of(held, depth + 1)
    for text in _texts(answer, _MESSAGE_KEYS):
        inner = inner or _complaint_of(text, depth + 1)
    inner = inner or _complaint_of(_inner(answer), depth + 1)
    if inner is None:
        return Complaint("", code) if code else None
    return replace(inner, code=inner.code or code)


def _complaint_of_text(text: str, depth: int) -> Complaint | None:
    """A text is the message itself, unless it is an upstream's JSON handed on."""
    if text.lstrip().startswith("{"):
        try:
            inner = _complaint_of(_decode(text), depth + 1)
        except UNDECODABLE:
            inner = None
        if inner is not None:
            return HandedOn(inner.message, inner.code)
    meant = _meant(text)
    return Complaint(meant) if meant else None


def _meant(text: str) -> str:
    return "" if text.strip().lower() in _SAYS_NOTHING else text


def _url_of(held: Any, depth: int) -> str | None:
    if depth > _DEPTH_MAX:
        return None
    if isinstance(held, str):
        return held if held.startswith(("https://", "http://")) else None
    if isinstance(held, list):
        return next((url for member in held[:10] if (url := _url_of(member, depth + 1))), None)
    if not isinstance(held, dict):
        return None
    named = (held.get(key) for key in _URL_KEYS)
    direct = next((url for value in named if isinstance(value, str) and (url := _url_of(value, depth))), None)
    holders = (held.get(key) for key in _URL_HOLDERS)
    return direct or next((url for value in holders if (url := _url_of(value, depth + 1))), None)


_LITELLM_PREFIX: Final = "video_"
_LITELLM_START: Final = "litellm:"
_LITELLM_ID: Final = ";video_id:"


def _unpacked(remote_task_id: str) -> str:
    """The upstream's id in an id of LiteLLM (`video_` and base64 of `litellm:…;video_id:…`)."""
    if not remote_task_id.startswith(_LITELLM_PREFIX):
        return remote_task_id
    packed = remote_task_id.removeprefix(_LITELLM_PREFIX)
    try:
        text = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return remote_task_id
    if not text.startswith(_LITELLM_START) or _LITELLM_ID not in text:
        return remote_task_id
    return text.partition(_LITELLM_ID)[2]


# --- refusals -------------------------------------------------------------------------------------------

Refusal = Literal["moderation", "account exhausted", "no channel"]


def certain_refusal(http_status: int, complaint: Complaint) -> Refusal | None:
    """What a refused submit's error says for certain beside its HTTP status: nothing was taken.

    An upstream's error that is handed on says nothing of the tries before it.
    """
    code = complaint.code.lower()
    if isinstance(complaint, HandedOn):
        return "moderation" if 400 <= http_status < 429 and code in MODERATION_CODES else None
    if code in ACCOUNT_EXHAUSTED_CODES:
        return "account exhausted"
    if code in CHECKED_BEFORE_SENDING or (400 <= http_status < 429 and code in MODERATION_CODES):
        return "moderation"
    text = complaint.message.lower()
    found_none = code in NO_CHANNEL_CODES or any(words in text for words in NO_CHANNEL_TEXTS)
    return "no channel" if http_status == 503 and found_none and "retry" not in text else None
