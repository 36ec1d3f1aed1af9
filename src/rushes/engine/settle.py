"""Settling: final statuses, credits, counters and events in one transaction, many tasks at a time.

The functions of a `Connection` here are the transactions; `Committer` gathers what a worker learns and
commits it in groups.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any, TypeAlias

from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.credits import EntryType, ResolutionKind
from rushes.domain.errors import StatementRefused, StoreError
from rushes.domain.task import (
    SUBMIT_OUTCOME_UNKNOWN,
    BatchStatus,
    FailureType,
    TaskStatus,
    Verdict,
)
from rushes.store import batches, ledger, retries, tasks
from rushes.store.batches import BatchCounters
from rushes.store.database import Database, Rows, statement
from rushes.store.tasks import FinishedTask

GROUP_TASKS_MAX = 1000
"""Tasks whose outcomes one transaction carries."""

COMMIT_INTERVAL_SECONDS = 0.1
"""Under load a group gathers for so long: a transaction costs about as much as settling a hundred tasks.

The first outcome after a pause is committed at once.
"""

COMMIT_RETRY_SECONDS_MAX = 5.0
"""The longest pause between tries while the database refuses."""

log = telemetry.logger()

_SETTLE, _REFUND = ResolutionKind.SETTLE.value, ResolutionKind.REFUND.value
_RESOLUTIONS = Rows(task_id=int, batch_id=int, attempt=int, kind=str, credits=int, created_at_ms=int)


# --- transactions -------------------------------------------------------------------------------------


BeforeClosing: TypeAlias = Callable[[Connection, Sequence[FinishedTask], int], object]
"""What may still happen to tasks that have just ended, before batches that are complete are closed."""


def resolve(
    connection: Connection,
    finished: Sequence[FinishedTask],
    now_ms: int,
    before_closing: BeforeClosing | None = None,
) -> int:
    """Settle or refund tasks that this transaction has just ended, and close batches that are complete.

    Every failure passes here, once: the primary key of `task_resolutions` refuses a second time.
    `before_closing(connection, finished, now_ms)` may open batches again. Returns how many were closed.
    """
    if not finished:
        return 0
    book = ledger.Book(connection, {task.account_id for task in finished})
    counters = batches.lock_counters(connection, {task.batch_id for task in finished})
    reservations = batches.reservations(connection, counters)
    resolutions: list[tuple[object, ...]] = []
    events: list[tuple[int, int, str, int | None]] = []
    given_back: Counter[int] = Counter()  # by re-rolls that failed, to their batch's cap
    for task in sorted(finished):  # by task id: no two are equal
        batch = counters[task.batch_id]
        _count_finished(batch, task)
        batch.event_seq += 1
        if task.status is TaskStatus.SUCCEEDED:
            kind, entry_type, event = _SETTLE, EntryType.SETTLE, telemetry.VIDEO_SUCCEEDED
            parts = reservations[task.batch_id].settle(task.credits) if task.credits else []
        else:
            kind, entry_type, event = _REFUND, EntryType.REFUND, telemetry.VIDEO_FAILED
            parts = reservations[task.batch_id].refund(task.credits) if task.credits else []
            if task.retry_number:
                given_back[task.batch_id] += task.credits
        book.append(
            task.account_id, entry_type, parts, now_ms=now_ms, batch_id=task.batch_id, task_id=task.task_id
        )
        resolutions.append((task.task_id, task.batch_id, task.attempt, kind, task.credits, now_ms))
        events.append((task.batch_id, batch.event_seq, event, task.task_id))
    connection.execute(
        statement(
            "INSERT INTO task_resolutions (task_id, batch_id, attempt, kind, credits, created_at_ms)"
            f" SELECT task_id, batch_id, attempt, kind, credits, created_at_ms"
            f" FROM {_RESOLUTIONS.sql(connection)}"
        ),
        _RESOLUTIONS.parameters(connection, resolutions),
    )
    book.write()
    batches.write_reservations(connection, reservations)
    batches.write_counters(connection, counters.values())
    batches.insert_events(connection, events, now_ms)
    if given_back:
        retries.count(connection, {batch_id: (0, -amount) for batch_id, amount in given_back.items()})
    if before_closing is not None:
        before_closing(connection, finished, now_ms)
    # what was opened again meanwhile is left alone: closing looks at the stored counters
    complete = [batch.batch_id for batch in counters.values() if batch.pending + batch.processing == 0]
    return sum(finalize_batch_credits(connection, batch_id, now_ms) for batch_id in complete)


def _count_finished(batch: BatchCounters, task: FinishedTask) -> None:
    if task.was is TaskStatus.PENDING:
        batch.pending -= 1
    else:
        batch.processing -= 1
    if task.status is TaskStatus.SUCCEEDED:
        batch.succeeded += 1
        batch.credits_settled += task.credits
    else:
        batch.failed += 1
        batch.credits_refunded += task.credits


def finalize_batch_credits(connection: Connection, batch_id: int, now_ms: int) -> bool:
    """Close a batch's account: `reserved = settled + refunded`, final status, the batch's event.

    Idempotent: True when this call closed it, False when it was closed before or still has open tasks.
    Runs in the transaction of the batch's last task.
    """
    batch = batches.lock_counters(connection, [batch_id])[batch_id]
    if batch.finalized_at_ms is not None or batch.pending + batch.processing > 0:
        return False
    if batch.cancelled_at_ms is not None:
        status, event = BatchStatus.CANCELLED, telemetry.BATCH_CANCELLED
    elif batch.failed == 0:
        status, event = BatchStatus.SUCCEEDED, telemetry.BATCH_SUCCEEDED
    elif batch.succeeded == 0:
        status, event = BatchStatus.FAILED, telemetry.BATCH_FAILED
    else:
        status, event = BatchStatus.PARTIAL, telemetry.BATCH_PARTIAL
    _add_event(connection, batch, event, now_ms)
    batches.write_counters(connection, [batch])
    batches.close_batch(connection, batch_id, status, now_ms)
    return True


def _add_event(connection: Connection, batch: BatchCounters, event: str, now_ms: int) -> None:
    batch.event_seq += 1
    batches.insert_events(connection, [(batch.batch_id, batch.event_seq, event, None)], now_ms)


def count_returned(connection: Connection, batch_ids: Iterable[int]) -> None:
    """Count one task per given batch id as pending again."""
    returned = list(batch_ids)
    if not returned:
        return
    counters = batches.lock_counters(connection, returned)
    for batch_id in returned:
        counters[batch_id].processing -= 1
        counters[batch_id].pending += 1
    batches.write_counters(connection, counters.values())


@dataclass(slots=True)
class Group:
    """What one worker has learnt and not yet committed. Rows are `(task_id, attempt, …)`."""

    accepted: list[tuple[int, int, str]] = field(default_factory=list)
    unconfirmed: list[tuple[int, int]] = field(default_factory=list)
    returned: list[tuple[int, int]] = field(default_factory=list)
    resubmitted: list[tuple[int, int]] = field(default_factory=list)
    given_up: list[tuple[int, int]] = field(default_factory=list)
    verdicts: list[tuple[int, int, Verdict]] = field(default_factory=list)
    progress: list[tuple[int, int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.lists())

    def lists(self) -> tuple[list[Any], ...]:
        """The lists, in the order in which they are applied."""
        return (
            self.accepted,
            self.unconfirmed,
            self.returned,
            self.resubmitted,
            self.given_up,
            self.progress,
            self.verdicts,
        )


@dataclass(frozen=True, slots=True)
class Applied:
    """What a group's commit changed; ends that are not `settled` or `resubmitted` were stale."""

    settled: frozenset[int]
    resubmitted: frozenset[int]
    closed_batches: int


def apply_group(
    connection: Connection,
    group: Group,
    *,
    worker_id: str,
    now_ms: int,
    before_closing: BeforeClosing | None = None,
) -> Applied:
    """Commit a group. Each statement is guarded by status and attempt, and by the owner where it ends one."""
    if group.accepted:
        tasks.record_accepted_if_attempt(connection, group.accepted)
    if group.unconfirmed:
        tasks.mark_unconfirmed_if_owned(connection, group.unconfirmed, worker_id=worker_id, now_ms=now_ms)
    if group.progress:
        tasks.record_progress_if_owned(connection, group.progress, worker_id=worker_id)
    finished: list[FinishedTask] = []
    if group.verdicts:
        finished = tasks.finish_if_owned(connection, group.verdicts, worker_id=worker_id, now_ms=now_ms)
    if group.given_up:
        finished += tasks.give_up_if_unnamed(
            connection,
            group.given_up,
            worker_id=worker_id,
            error=SUBMIT_OUTCOME_UNKNOWN,
            failure_type=FailureType.UNKNOWN,
            now_ms=now_ms,
        )
    back: list[int] = []
    if group.returned:
        back += tasks.return_to_pending_if_owned(connection, group.returned, worker_id=worker_id)
    resubmitted: list[tuple[int, int]] = []
    if group.resubmitted:
        resubmitted = tasks.resubmit_if_unnamed(
            connection,
            group.resubmitted,
            worker_id=worker_id,
            error=SUBMIT_OUTCOME_UNKNOWN,
            failure_type=FailureType.UNKNOWN,
            now_ms=now_ms,
        )
        back += [batch_id for _, batch_id in resubmitted]
    closed_batches = resolve(connection, finished, now_ms, before_closing)
    count_returned(connection, back)
    return Applied(
        settled=frozenset(task.task_id for task in finished),
        resubmitted=frozenset(task_id for task_id, _ in resubmitted),
        closed_batches=closed_batches,
    )


# --- group commit -------------------------------------------------------------------------------------


class SettleOutcome(StrEnum):
    """What became of an end: stored, another's business by now, or refused by a constraint."""

    SETTLED = "settled"
    STALE = "stale"
    REFUSED = "refused"


class Committer:
    """Gathers a worker's outcomes and commits them in groups, one transaction at a time.

    While one group is being committed the next one gathers, so the group size follows the load. A group
    that the database refuses for a while is kept and tried again: nothing learnt is dropped.
    `on_settled(task_id, attempt, outcome)` is called after its commit for each verdict and each attempt
    given up, `on_commit(size, seconds)` for each group.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        now_ms: Callable[[], int],
        on_settled: Callable[[int, int, SettleOutcome], None],
        on_commit: Callable[[int, float], None] = lambda _size, _seconds: None,
        before_closing: BeforeClosing | None = None,
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._now_ms = now_ms
        self._on_settled = on_settled
        self._on_commit = on_commit
        self._before_closing = before_closing
        self._group = Group()
        self._in_hand: Group | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._next_commit_at = 0.0
        self.settled_total = 0
        self.groups_total = 0
        self.closed_batches_total = 0

    def accepted(self, task_id: int, attempt: int, remote_task_id: str) -> None:
        """The provider named the attempt."""
        self._group.accepted.append((task_id, attempt, remote_task_id))
        self._woken()

    def unconfirmed(self, task_id: int, attempt: int) -> None:
        """Nobody knows whether the provider took the attempt."""
        self._group.unconfirmed.append((task_id, attempt))
        self._woken()

    def returned(self, task_id: int, attempt: int) -> None:
        """The attempt certainly never reached the provider's queue."""
        self._group.returned.append((task_id, attempt))
        self._woken()

    def resubmitted(self, task_id: int, attempt: int) -> None:
        """The operator's policy gives an unconfirmed attempt up and makes a new one."""
        self._group.resubmitted.append((task_id, attempt))
        self._woken()

    def given_up(self, task_id: int, attempt: int) -> None:
        """The operator's policy gives an unconfirmed attempt up, and its task fails."""
        self._group.given_up.append((task_id, attempt))
        self._woken()

    def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
        """The task has ended."""
        self._group.verdicts.append((task_id, attempt, verdict))
        self._woken()

    def progress(self, rows: Sequence[tuple[int, int, int]]) -> None:
        """Progress of many tasks, for progress bars."""
        self._group.progress.extend(rows)
        self._woken()

    def _woken(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def flushed(self) -> None:
        """Wait until everything gathered so far is committed."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit groups until cancelled; run again, it goes on with the group that it was cancelled in.

        That group may have been committed already: to commit it once more changes nothing.
        """
        if self._in_hand is not None or len(self._group):
            self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._in_hand is not None or len(self._group):
                if self._in_hand is None:
                    await self._gather()
                    self._in_hand = self._take()
                await self._commit(self._in_hand)
                self._in_hand = None
            self._idle.set()

    async def _gather(self) -> None:
        """Wait until the group is full or the last one's commit began long enough ago."""
        now = asyncio.get_running_loop().time
        if len(self._group) < GROUP_TASKS_MAX and now() < self._next_commit_at:
            await asyncio.sleep(self._next_commit_at - now())
        self._next_commit_at = now() + COMMIT_INTERVAL_SECONDS

    def _take(self) -> Group:
        """The oldest outcomes, at most GROUP_TASKS_MAX of each kind.

        What became of a task after it was accepted never goes out before its acceptance.
        """
        group, rest = self._group, Group()
        only_accepted = len(group.accepted) > GROUP_TASKS_MAX
        for rows, left in zip(group.lists(), rest.lists(), strict=True):
            taken = 0 if only_accepted and rows is not group.accepted else GROUP_TASKS_MAX
            left.extend(rows[taken:])
            del rows[taken:]
        self._group = rest
        return group

    async def _commit(self, group: Group) -> None:
        pause_seconds = 0.05
        while True:
            started = asyncio.get_running_loop().time()
            try:
                applied = await self._database.transact(
                    apply_group,
                    group,
                    worker_id=self._worker_id,
                    now_ms=self._now_ms(),
                    before_closing=self._before_closing,
                )
            except StatementRefused as error:
                await self._commit_one_by_one(group, error)
                return
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, COMMIT_RETRY_SECONDS_MAX)
                continue
            self._on_commit(len(group), asyncio.get_running_loop().time() - started)
            self._report(group, applied)
            return

    def _report(self, group: Group, applied: Applied) -> None:
        self.groups_total += 1
        self.settled_total += len(applied.settled)
        self.closed_batches_total += applied.closed_batches
        for task_id, attempt, _verdict in group.verdicts:
            self._tell(task_id, attempt, done=task_id in applied.settled)
        for task_id, attempt in group.given_up:
            self._tell(task_id, attempt, done=task_id in applied.settled)
        for task_id, attempt in group.resubmitted:
            self._tell(task_id, attempt, done=task_id in applied.resubmitted)

    def _tell(self, task_id: int, attempt: int, *, done: bool) -> None:
        if not done:
            log.info(telemetry.SETTLE_STALE, task_id=task_id, attempt=attempt)
        self._on_settled(task_id, attempt, SettleOutcome.SETTLED if done else SettleOutcome.STALE)

    async def _commit_one_by_one(self, group: Group, error: Exception) -> None:
        """A constraint refused the group: keep what is sound, name what is not, block nobody else."""
        singles = [(index, row) for index, rows in enumerate(group.lists()) for row in rows]
        if len(singles) <= 1:
            log.error(telemetry.SETTLE_REFUSED, group=repr(singles), error=type(error).__name__)
            ends: tuple[list[Any], ...] = (group.verdicts, group.given_up, group.resubmitted)
            for row in chain.from_iterable(ends):
                self._on_settled(row[0], row[1], SettleOutcome.REFUSED)
            return
        for index, row in singles:
            single = Group()
            single.lists()[index].append(row)
            await self._commit(single)
