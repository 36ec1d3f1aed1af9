"""What batches asked for when their items fail, kept beside the engine's own counters: cap, stop-loss, last model.

Decided again from the tries alone, in the order in which the journal shows them; nothing is imported from
the engine. Retries by hand count, and nothing refuses them.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from simulation.truth.broken import broken
from simulation.truth.journal import TaskRow

_PPM = 1_000_000


class RetriesRow(NamedTuple):
    """The watched columns of `batch_retries`."""

    batch_id: int
    max: int
    credits_max: int | None
    pass_rate_min_ppm: int | None
    pass_rate_after: int | None
    last_model: str | None
    last_credits: int | None
    made: int
    used: int
    stopped_at_ms: int | None


@dataclass(slots=True)
class Rerolls:
    """One batch's; `stored` is the last row seen. Failed re-rolls give back what they used."""

    stored: RetriesRow
    made: int = 0
    used: int = 0
    passed: int = 0
    ended: int = 0
    is_stopped: bool = False

    def row(self, row: RetriesRow) -> None:
        """The row as it is now: only its counters may change."""
        if row[:7] != self.stored[:7]:
            broken("POLICY_CHANGED", f"{self.stored} became {row}")
        self.stored = row
        if row.stopped_at_ms is not None and not self.is_stopped:
            self.is_stopped = True
            if not self._is_lossy():
                broken("STOPPED_EARLY", f"{row} with {self.passed} of {self.ended} tries passed")

    def _is_lossy(self) -> bool:
        rate, after = self.stored.pass_rate_min_ppm, self.stored.pass_rate_after
        if rate is None or after is None:
            return False
        return self.ended >= after and self.passed * _PPM < rate * self.ended

    def try_ended(self, task: TaskRow) -> None:
        """A try of the batch has ended."""
        self.ended += 1
        self.passed += task.status == "succeeded"
        if task.retry_number and task.status == "failed":
            self.used -= task.credits

    def try_made(self, task: TaskRow, *, by_itself: bool) -> None:
        """A failed item of the batch is tried again, by the engine itself or by a user."""
        self.made += 1
        self.used += task.credits
        if not by_itself:
            return
        asked = self.stored
        if task.retry_number > asked.max:
            broken("REROLLED_TOO_OFTEN", f"{task} under {asked}")
        if self.is_stopped or self._is_lossy():
            broken("STOP_LOSS", f"{task} although {self.passed} of {self.ended} tries passed: {asked}")
        if asked.credits_max is not None and self.used > asked.credits_max:
            broken("CAP", f"{task} makes {self.used} credits of re-rolls: {asked}")
        is_last = task.retry_number == asked.max and asked.last_model is not None
        if is_last and (task.model, task.credits) != (asked.last_model, asked.last_credits):
            broken("LAST_MODEL", f"{task} under {asked}")

    def check(self) -> None:
        """After a commit: the stored counters are ours."""
        if (self.stored.made, self.stored.used) != (self.made, self.used):
            broken("REROLLS_MISCOUNTED", f"{self.stored}, its tries say {self.made} for {self.used} credits")


class AllRerolls:
    """Of all batches that asked."""

    def __init__(self) -> None:
        self._of: dict[int, Rerolls] = {}
        self._touched: set[int] = set()

    def row(self, values: tuple[Any, ...]) -> None:
        """A row of `batch_retries`."""
        row = RetriesRow(*values)
        self._touched.add(row.batch_id)
        self._of.setdefault(row.batch_id, Rerolls(row)).row(row)

    def try_ended(self, task: TaskRow) -> None:
        """A task has ended."""
        if task.batch_id in self._of:
            self._touched.add(task.batch_id)
            self._of[task.batch_id].try_ended(task)

    def try_made(self, task: TaskRow, *, by_itself: bool) -> None:
        """A task is new. A worker makes none but re-rolls that a batch asked for."""
        asked = self._of.get(task.batch_id)
        if by_itself and (asked is None or not task.retry_number):
            broken("REROLLED_UNASKED", str(task))
        if asked is not None and task.retry_number:
            self._touched.add(task.batch_id)
            asked.try_made(task, by_itself=by_itself)

    def check_touched(self) -> None:
        """Compare what this commit touched."""
        for batch_id in sorted(self._touched):
            self._of[batch_id].check()
        self._touched.clear()
