"""Why an open task waits: the last answer about it that was none, until an answer is understood again.

The words of an answer belong to operators. For metrics, alerts and tenants they are sorted into a few kinds.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

REASON_CHARACTERS_MAX: Final = 300
"""How much of a reason is kept."""

NOT_FOUND_HELD: Final = "not_found_held"
"""The provider does not know the task, so soon after it took it that it may yet learn of it."""

ALERT_TASKS: Final = 10
"""More tasks than these with trouble of one kind at one provider are an alert."""

ALERT_SECONDS: Final = 300.0
"""And so is trouble that one task has had for that long."""

_HTTP_STATUS: Final = re.compile(r"\bHTTP ([1-5]\d\d)\b")

_KINDS_BY_WORDS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    # the first kind with a text that the reason contains, in lower case
    ("another_task", ("another task",)),
    (
        "unknown_status",
        ("unknown status", "no status in the answer", "invalid enum value", "is not a known status"),
    ),
    ("undecodable", ("undecodable",)),
    ("provider_raised", ("raised ",)),
    ("timeout", ("timed out", "time-out", "timeout", "did not answer within", "became free in time")),
    ("worker_stopped", ("worker stopped",)),
    ("not_askable", ("cannot be asked", "the remote task id is ")),
)

_NEUTRAL: Final[dict[str, str]] = {
    "another_task": "the provider's answer was about another task",
    "unknown_status": "the provider's answer was not understood",
    "undecodable": "the provider's answer was not understood",
    "not_understood": "the provider's answer was not understood",
    "http_429": "the provider is busy",
    "timeout": "the provider did not answer in time",
    "network": "the provider could not be reached",
    NOT_FOUND_HELD: "the provider does not know the task yet",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """The last answer about a task that was none. `count` are such answers in a row, of any kind.

    `kind` and `reason`, one of a small set and the words, are the last one's. Times are epoch
    milliseconds, of the first and the last of them.
    """

    kind: str
    reason: str
    count: int
    since_ms: int
    at_ms: int


class TroubleRow(NamedTuple):
    """A task's trouble as it is stored; without a kind it is over. `times` None means once more."""

    task_id: int
    attempt: int
    kind: str | None
    reason: str | None = None
    times: int | None = None
    since_ms: int | None = None
    at_ms: int | None = None


def kind_of(reason: str, http_status: int | None = None) -> str:
    """The kind of a reason, one of about a hundred: `http_503`, `timeout`, `undecodable`, …

    An HTTP status other than 2xx decides, named or given; then the words do, and what they do not tell is
    `not_understood` where there was an answer and `network` where there was none.
    """
    if http_status is not None and not 200 <= http_status < 300:
        return f"http_{http_status}" if 100 <= http_status < 600 else "http_other"
    if http_status is None and (named := _HTTP_STATUS.search(reason)):
        return f"http_{named[1]}"
    words = reason.lower()
    for kind, texts in _KINDS_BY_WORDS:
        if any(text in words for text in texts):
            return kind
    return "network" if http_status is None else "not_understood"


def neutral(kind: str) -> str:
    """What tenants read in place of the words, which may name the operator's hosts and settings."""
    return _NEUTRAL.get(kind, "the provider did not give a usable answer")


def is_alert(*, tasks: int, lasted_seconds: float) -> bool:
    """Whether trouble of one kind at one provider is worth an operator's look."""
    return tasks > ALERT_TASKS or lasted_seconds >= ALERT_SECONDS


def in_one_line(reason: str) -> str:
    """The reason as it is kept: one line, bounded."""
    return " ".join(reason[: 2 * REASON_CHARACTERS_MAX].split())[:REASON_CHARACTERS_MAX]
