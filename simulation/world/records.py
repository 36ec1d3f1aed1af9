"""What workers have handed over, as the files of their machine tell: each outlives its process, and is read only
when that is dead. Workers whose clocks agree stand on one machine; the others each on their own."""

from collections.abc import Collection
from typing import Protocol

from simulation.truth.witness import Attempt


class Holder(Protocol):
    """The process that has a record open."""

    is_dead: bool

    def record_dropped(self, worker_id: str, handed: Collection[Attempt]) -> None:
        """Its worker says that nobody needs the record any more."""


class Machine:
    """The records of the workers of one machine."""

    def __init__(self) -> None:
        self._handed: dict[str, set[Attempt]] = {}
        self._open: dict[str, Holder] = {}

    def never_handed(self, worker_id: str, attempt: Attempt) -> bool:
        """Whether a record that can be read says that the worker never handed the attempt over."""
        holder = self._open.get(worker_id)
        if worker_id not in self._handed or (holder is not None and not holder.is_dead):
            return False
        return attempt not in self._handed[worker_id]

    def begin(self, worker_id: str, holder: Holder) -> None:
        """The process opens the worker's record."""
        self._handed.setdefault(worker_id, set())
        self._open[worker_id] = holder

    def note(self, worker_id: str, attempt: Attempt) -> None:
        """The attempt is about to be handed over."""
        self._handed[worker_id].add(attempt)

    def end(self, worker_id: str, *, is_needed: bool) -> None:
        """The record is over."""
        holder = self._open.pop(worker_id, None)
        if not is_needed:
            handed = self._handed.pop(worker_id, set())
            if holder is not None:
                holder.record_dropped(worker_id, handed)


class Record:
    """One worker's; a `SentRecord`."""

    def __init__(self, machine: Machine, worker_id: str, holder: Holder) -> None:
        self._machine, self._worker_id, self._holder = machine, worker_id, holder
        self._is_open = self._is_over = False

    def open(self) -> None:
        """See `SentRecord`."""
        if not self._is_over:
            self._is_open = True
            self._machine.begin(self._worker_id, self._holder)

    def leaves(self, task_id: int, attempt: int) -> bool:
        """See `SentRecord`."""
        if self._is_open:
            self._machine.note(self._worker_id, (task_id, attempt))
        return not self._is_over

    def close(self, *, is_needed: bool) -> None:
        """See `SentRecord`."""
        self._is_over = True
        if self._is_open:
            self._is_open = False
            self._machine.end(self._worker_id, is_needed=is_needed)


class Records:
    """The machine's records as one process sees them; a `SentRecords`."""

    def __init__(self, machine: Machine, holder: Holder) -> None:
        self._machine, self._holder = machine, holder

    def of(self, worker_id: str) -> Record:
        """See `SentRecords`."""
        return Record(self._machine, worker_id, self._holder)

    def never_sent(self, worker_id: str, claimed: Collection[Attempt]) -> set[Attempt]:
        """See `SentRecords`."""
        return {attempt for attempt in claimed if self._machine.never_handed(worker_id, attempt)}
