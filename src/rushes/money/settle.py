"""Settling: final statuses, credits, counters and events in one transaction, many tasks at a time.

`apply_group` is the transaction by which a worker commits what it has learnt; see `rushes.run.commit`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.credits import EntryType, ResolutionKind
from rushes.domain.task import (
    SUBMIT_OUTCOME_UNKNOWN,
    BatchStatus,
    Failed,
    FailureType,
    TaskStatus,
    Verdict,
)
from rushes.domain.trouble import TroubleRow
from rushes.store import batches, ledger, tasks
from rushes.store.acceptance import gates
from rushes.store.batches import BatchCounters
from rushes.store.inputs import last_frames
from rushes.store.tasks import FinishedTask, remote_ids, retries

_SETTLE, _REFUND = ResolutionKind.SETTLE.value, ResolutionKind.REFUND.value


BeforeClosing: TypeAlias = Callable[[Connection, Sequence[FinishedTask], int], object]
"""What may still happen to tasks that have just ended, before batches that are complete are closed."""


def resolve(
    connection: Connection,
    finished: Sequence[FinishedTask],
    now_ms: int,
    before_closing: BeforeClosing | None = None,
    *,
    returned: Sequence[int] = (),
) -> int:
    """Settle or refund tasks that this transaction has just ended, and close batches that are complete.

    Every failure passes here, once: the primary key of `task_resolutions` refuses a second time.
    `before_closing(connection, finished, now_ms)` may open batches again. `returned` has a batch id for each
    task that this transaction made pending again: all batches are locked at once, in their order. Returns how
    many were closed.
    """
    if not finished:
        _count_returned(connection, returned)
        return 0
    book = ledger.Book(connection, {task.account_id for task in finished})
    its_batches = {task.batch_id for task in finished}
    counters = batches.lock_counters(connection, its_batches.union(returned))
    _return(counters, returned)
    reservations = batches.reservations(connection, its_batches)
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
    ledger.insert_resolutions(connection, resolutions)
    book.write()
    batches.write_reservations(connection, reservations)
    batches.write_counters(connection, counters.values())
    batches.insert_events(connection, events, now_ms)
    if given_back:
        retries.count(connection, {batch_id: (0, -amount) for batch_id, amount in given_back.items()})
    if before_closing is not None:
        before_closing(connection, finished, now_ms)
    last_frames.expect(connection, [task.task_id for task in finished], now_ms=now_ms)
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

    Idempotent: True when this call closed it, False when it was closed before, still has open tasks, or waits
    for verdicts. Runs in the transaction of the batch's last task, or of its last verdict.
    """
    batch = batches.lock_counters(connection, [batch_id])[batch_id]
    if batch.finalized_at_ms is not None or batch.pending + batch.processing > 0:
        return False
    if batch.cancelled_at_ms is None and gates.awaits_verdicts(connection, batch_id):
        return False  # the verdict that may buy another clip closes it, or opens an item again
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


def _count_returned(connection: Connection, returned: Sequence[int]) -> None:
    """Count one task per given batch id as pending again."""
    if returned:
        counters = batches.lock_counters(connection, returned)
        _return(counters, returned)
        batches.write_counters(connection, counters.values())


def _return(counters: Mapping[int, BatchCounters], returned: Iterable[int]) -> None:
    for batch_id in returned:
        counters[batch_id].processing -= 1
        counters[batch_id].pending += 1


@dataclass(slots=True)
class Group:
    """What one worker has learnt and not yet committed. Rows are `(task_id, attempt, …)`."""

    accepted: list[tuple[int, int, str]] = field(default_factory=list)
    troubles: list[TroubleRow] = field(default_factory=list)
    unconfirmed: list[tuple[int, int]] = field(default_factory=list)
    returned: list[tuple[int, int]] = field(default_factory=list)
    resubmitted: list[tuple[int, int]] = field(default_factory=list)
    given_up: list[tuple[int, int]] = field(default_factory=list)
    refused: list[tuple[int, int, Failed]] = field(default_factory=list)
    verdicts: list[tuple[int, int, Verdict]] = field(default_factory=list)
    progress: list[tuple[int, int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.lists())

    def lists(self) -> tuple[list[Any], ...]:
        """The lists, in the order in which they are applied."""
        return (
            self.accepted,
            self.troubles,
            self.unconfirmed,
            self.returned,
            self.resubmitted,
            self.given_up,
            self.refused,
            self.progress,
            self.verdicts,
        )

    def halves(self) -> tuple["Group", "Group"]:
        """The rows that are applied first, and the others."""
        first, second = Group(), Group()
        left = len(self) // 2
        for rows, early, late in zip(self.lists(), first.lists(), second.lists(), strict=True):
            early.extend(rows[:left])
            late.extend(rows[left:])
            left -= len(early)
        return first, second


@dataclass(frozen=True, slots=True)
class Applied:
    """What a group's commit changed; ends that are not `settled` or `resubmitted` were stale.

    `named` are the `(task_id, attempt)` that took their remote ids, `contested` those that were given another
    attempt's: they are unconfirmed, and what a poll under that id said counts for nothing.
    """

    settled: frozenset[int]
    resubmitted: frozenset[int]
    closed_batches: int
    named: frozenset[tuple[int, int]] = frozenset()
    contested: frozenset[tuple[int, int]] = frozenset()


def apply_group(
    connection: Connection,
    group: Group,
    *,
    worker_id: str,
    now_ms: int,
    before_closing: BeforeClosing | None = None,
) -> Applied:
    """Commit a group: tasks first, then whose remote ids are, then accounts, then batches.

    What is certain of a submit (accepted, returned, refused) is guarded by the attempt; all else by the owner
    too.
    """
    named, contested = _name(connection, group.accepted, now_ms)
    if group.troubles:
        tasks.record_troubles_if_owned(connection, group.troubles, worker_id=worker_id)
    if group.unconfirmed:
        tasks.mark_unconfirmed_if_owned(connection, group.unconfirmed, worker_id=worker_id, now_ms=now_ms)
    if group.progress:
        tasks.record_progress_if_owned(connection, group.progress, worker_id=worker_id)
    finished: list[FinishedTask] = []
    if group.verdicts:
        finished += tasks.finish_if_owned(connection, group.verdicts, worker_id=worker_id, now_ms=now_ms)
    if group.refused:
        finished += tasks.refuse_if_unnamed(connection, group.refused, now_ms=now_ms)
    back: list[int] = []
    if group.returned:
        back += tasks.return_to_pending_if_unnamed(connection, group.returned)
    unknown: dict[str, Any] = {"error": SUBMIT_OUTCOME_UNKNOWN, "failure_type": FailureType.UNKNOWN}
    unknown |= {"worker_id": worker_id, "now_ms": now_ms}
    if group.given_up:
        finished += tasks.give_up_if_unnamed(connection, group.given_up, **unknown)
    resubmitted: list[tuple[int, int]] = []
    if group.resubmitted:
        resubmitted = tasks.resubmit_if_unnamed(connection, group.resubmitted, **unknown)
        back += [batch_id for _, batch_id in resubmitted]
    return Applied(
        settled=frozenset(task.task_id for task in finished),
        resubmitted=frozenset(task_id for task_id, _ in resubmitted),
        closed_batches=resolve(connection, finished, now_ms, before_closing, returned=back),
        named=named,
        contested=contested,
    )


def _name(
    connection: Connection, accepted: Sequence[tuple[int, int, str]], now_ms: int
) -> tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]:
    """Store remote ids; the `(task_id, attempt)` that took theirs, and those whose id is another's."""
    if not accepted:
        return frozenset(), frozenset()
    named = tasks.record_accepted_if_attempt(connection, accepted)
    contested = remote_ids.take_if_free(connection, named)
    if contested:
        remote_ids.unname(connection, contested, now_ms=now_ms)
    refused = frozenset((attempt.task_id, attempt.attempt) for attempt in contested)
    return frozenset((attempt.task_id, attempt.attempt) for attempt in named) - refused, refused
