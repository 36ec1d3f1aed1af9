"""What a provider's polls did not bring: the last answer about each task that was not understood.

Kept in memory and written in bulk, as progress is: a poll that is understood costs nothing here, and one
that is not costs no database write of its own.
"""

from collections import Counter
from itertools import islice
from typing import Final

from rushes import telemetry
from rushes.domain.trouble import Trouble, TroubleRow, in_one_line

NEW_ROWS_MAX: Final = 4000
"""Tasks whose trouble is new, or over, that one `take` gives: 100,000 are reported within a minute."""

GROWN_ROWS_MAX: Final = 1000
"""Tasks that one `take` gives whose trouble is the same as before, more often."""

KINDS_MAX: Final = 200
"""Kinds that are counted apart; what a plug-in makes up beyond counts as `other`."""

LOG_SECONDS: Final = 60.0
"""At most one line for each kind in that time."""

log = telemetry.logger()


class _Held:
    """One task's trouble in memory; times are the event loop's."""

    __slots__ = ("at", "attempt", "count", "is_stored", "kind", "reason", "since")

    def __init__(self, attempt: int, kind: str, since: float) -> None:
        self.attempt, self.kind = attempt, kind
        self.reason = ""
        self.count = 0
        self.since = self.at = since
        self.is_stored = False


class _Line:
    """What the next log line of a kind tells."""

    __slots__ = ("polls", "reason", "said_at")

    def __init__(self) -> None:
        self.polls = 0
        self.reason = ""
        self.said_at = float("-inf")


class Unanswered:
    """The tasks in flight of one provider whose last answer was none.

    `counts` are all such answers by kind since the worker started.
    """

    def __init__(self, provider: str) -> None:
        self.tasks: dict[int, _Held] = {}
        self.counts: Counter[str] = Counter()
        self._provider = provider
        self._new: dict[int, int] = {}  # task id → attempt: first to be written, or to be cleared
        self._grown: dict[int, None] = {}
        self._lines: dict[str, _Line] = {}

    def note(self, task_id: int, attempt: int, *, kind: str, reason: str, now: float) -> None:
        """An answer about the task was none."""
        if kind not in self.counts and len(self.counts) >= KINDS_MAX:
            kind = "other"
        self.counts[kind] += 1
        held = self.tasks.get(task_id)
        if held is None:
            held = self.tasks[task_id] = _Held(attempt, kind, now)
            self._new[task_id] = attempt
        elif held.kind != kind:  # a gateway may answer with another status each time: the count goes on
            held.kind = kind
            self._new[task_id] = attempt
            self._grown.pop(task_id, None)
        elif task_id not in self._new:
            self._grown[task_id] = None
        held.count += 1
        held.at = now
        held.reason = reason
        line = self._lines.get(kind)
        if line is None:
            line = self._lines[kind] = _Line()
        line.polls += 1
        line.reason = reason

    def understood(self, task_id: int) -> None:
        """An answer about the task was understood: its trouble is over."""
        held = self.tasks.pop(task_id, None)
        if held is None:
            return
        self._grown.pop(task_id, None)
        if held.is_stored:
            self._new[task_id] = held.attempt
        else:
            self._new.pop(task_id, None)  # nobody has seen it: nothing to clear

    def forget(self, task_id: int) -> None:
        """The task is settled, or another worker's: what is stored of it stays."""
        self.tasks.pop(task_id, None)
        self._new.pop(task_id, None)
        self._grown.pop(task_id, None)

    def remember(self, task_id: int, attempt: int, stored: Trouble, *, now: float, now_ms: int) -> None:
        """An adopted task's trouble, as its row has it: the count goes on from there."""
        held = _Held(attempt, stored.kind, now - (now_ms - stored.since_ms) / 1000)
        held.reason = stored.reason
        held.at = now - (now_ms - stored.at_ms) / 1000
        held.count = stored.count
        held.is_stored = True
        self.tasks[task_id] = held

    def take(self, *, now: float, now_ms: int) -> list[TroubleRow]:
        """What changed since the last call, new troubles and those that are over first; and log lines due."""
        self._say(now)
        if not self._new and not self._grown:
            return []
        rows: list[TroubleRow] = []
        for task_id, attempt in list(islice(self._new.items(), NEW_ROWS_MAX)):
            held = self.tasks.get(task_id)
            rows.append(
                TroubleRow(task_id, attempt, None) if held is None else self._row(task_id, held, now, now_ms)
            )
            del self._new[task_id]
        for task_id in list(islice(self._grown, min(GROWN_ROWS_MAX, NEW_ROWS_MAX - len(rows)))):
            rows.append(self._row(task_id, self.tasks[task_id], now, now_ms))
            del self._grown[task_id]
        return rows

    @staticmethod
    def _row(task_id: int, held: _Held, now: float, now_ms: int) -> TroubleRow:
        held.is_stored = True
        since_ms, at_ms = (now_ms - int((now - at) * 1000) for at in (held.since, held.at))
        reason = in_one_line(held.reason)
        return TroubleRow(task_id, held.attempt, held.kind, reason, held.count, since_ms, at_ms)

    def _say(self, now: float) -> None:
        for kind, line in self._lines.items():
            if line.polls and now - line.said_at >= LOG_SECONDS:
                log.warning(
                    telemetry.POLL_UNANSWERED,
                    provider=self._provider,
                    kind=kind,
                    reason=in_one_line(line.reason),
                    polls=line.polls,
                    tasks=sum(held.kind == kind for held in self.tasks.values()),
                )
                line.polls, line.said_at = 0, now
