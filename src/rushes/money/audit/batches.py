"""Checking one batch at a time: its reservation, its tasks, their resolutions and ledger entries.

`check_batch` needs no database, so that a signed statement is verified by the same checks.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from rushes.domain.credits import EntryType, LedgerEntry, Reservation, ReservationLine, ResolutionKind
from rushes.domain.task import FINAL_STATUSES, BatchStatus, TaskStatus
from rushes.money.audit.facts import (
    BatchFacts,
    ResolutionFacts,
    StoredLine,
    TaskFacts,
    batch_from_row,
    entry_from_row,
    lines_from_rows,
    resolutions_from_rows,
    tasks_from_rows,
)
from rushes.money.audit.violations import Findings
from rushes.money.audit.violations import ViolationCode as Code
from rushes.store import audit_queries
from rushes.store.audit_queries import Grouped
from rushes.store.retention import folds

MISSING_ITEMS_NAMED_MAX = 1000
"""Missing items that are named, one by one, in one batch."""

_FINAL = frozenset(status.value for status in FINAL_STATUSES)
_STATUSES = frozenset(status.value for status in TaskStatus)


def check_batches(connection: Connection, found: Findings) -> tuple[int, int]:
    """Check every batch, folded ones by what is left; returns how many batches and tasks there are."""
    lines = Grouped(audit_queries.reservation_lines(connection))
    tasks = Grouped(audit_queries.tasks(connection))
    resolutions = Grouped(audit_queries.resolutions(connection))
    entries = Grouped(audit_queries.entries_by_batch(connection))
    batch_count = task_count = last_id = 0

    def report_ownerless(key: int | None) -> int:
        ownerless = list(tasks.before(key))
        _report_ownerless(entries.before(key), lines.before(key), resolutions.before(key), ownerless, found)
        return len(ownerless)

    both = heapq.merge(
        audit_queries.batches(connection), folds.lines_by_batch(connection), key=lambda row: int(row.id)
    )
    for row in both:
        if "statement_hash" in row._mapping:
            if row.id == last_id:
                found.add(Code.FOLD_WRONG, "a folded batch is there", batch_id=row.public_id)
            task_count += report_ownerless(row.id)
            leavings = [*lines.of(row.id), *tasks.of(row.id), *resolutions.of(row.id)]
            _check_folded(row, list(entries.of(row.id)), len(leavings), found)
            continue
        last_id = row.id
        batch_count += 1
        task_count += report_ownerless(row.id)
        its_tasks = tasks_from_rows(tasks.of(row.id))
        task_count += len(its_tasks)
        check_batch(
            batch_from_row(row),
            lines=lines_from_rows(lines.of(row.id)),
            tasks=its_tasks,
            resolutions=resolutions_from_rows(resolutions.of(row.id)),
            # entries that cannot be read have been reported by the ledger's replay
            entries=[entry for entry in map(entry_from_row, entries.of(row.id)) if entry is not None],
            found=found,
        )
        _check_events(row, found)
    task_count += report_ownerless(None)
    return batch_count, task_count


def _report_ownerless(
    entries: Iterable[Row[Any]],
    lines: Iterable[Row[Any]],
    resolutions: Iterable[Row[Any]],
    tasks: Iterable[Row[Any]],
    found: Findings,
) -> None:
    """Name the rows of each kind whose batch does not exist."""
    for row in entries:
        found.add(
            Code.BATCH_UNKNOWN, "the entry's batch does not exist", account=f"#{row.account_id}", seq=row.seq
        )
    for row in lines:
        found.add(Code.BATCH_UNKNOWN, f"reservation line {row.line} has no batch", batch_id=f"#{row[0]}")
    for row in resolutions:
        found.add(
            Code.BATCH_UNKNOWN, f"the resolution of task {row.task_id} has no batch", batch_id=f"#{row[0]}"
        )
    for row in tasks:
        found.add(
            Code.BATCH_UNKNOWN,
            "the task's batch does not exist",
            batch_id=f"#{row[0]}",
            item_index=row.item_index,
        )


def _check_folded(row: Row[Any], entries: Sequence[Row[Any]], leavings: int, found: Findings) -> None:
    """Of a folded batch only ledger entries may be left, of no more credits than were signed for."""

    def fault(message: str) -> None:
        found.add(Code.FOLD_WRONG, message, account=row.account, batch_id=row.public_id)

    if leavings:
        fault(f"{leavings} rows of a folded batch are there")
    sums = dict.fromkeys(EntryType, 0)
    for entry in filter(None, map(entry_from_row, entries)):
        sums[entry.type] += sum(part.amount for part in entry.parts)
    is_whole = len(entries) == row.entries_count
    for entry_type, signed in (
        (EntryType.RESERVE, row.credits_reserved),
        (EntryType.SETTLE, row.credits_settled),
        (EntryType.REFUND, row.credits_refunded),
    ):
        if sums[entry_type] > signed or (is_whole and sums[entry_type] != signed):
            fault(f"its entries {entry_type} {sums[entry_type]} credits, its fold was signed for {signed}")
    if len(entries) > row.entries_count:
        fault(f"it has {len(entries)} ledger entries, its fold was signed for {row.entries_count}")


def _check_events(row: Row[Any], found: Findings) -> None:
    if (row.events, row.first_event, row.last_event) != (row.event_seq, 1, row.event_seq):
        found.add(
            Code.BATCH_EVENTS_WRONG,
            f"{row.events} events numbered {row.first_event} to {row.last_event} are stored,"
            f" the batch counts {row.event_seq}",
            batch_id=row.public_id,
        )


# --- one batch ------------------------------------------------------------------------------------------


def check_batch(
    batch: BatchFacts,
    *,
    lines: Sequence[StoredLine],
    tasks: Sequence[TaskFacts],
    resolutions: Sequence[ResolutionFacts],
    entries: Sequence[LedgerEntry],
    found: Findings,
) -> None:
    """Report everything about the batch that does not add up. `entries` are in the ledger's order."""
    check = _BatchCheck(batch, tasks, found)
    check.items()
    check.resolved_once(resolutions, entries)
    check.reservation(lines, entries)
    check.totals(entries)
    check.status()


class _BatchCheck:
    def __init__(self, batch: BatchFacts, tasks: Sequence[TaskFacts], found: Findings) -> None:
        self._batch, self._tasks, self._found = batch, tasks, found
        self._current = [task for task in tasks if task.is_current]

    def _batch_fault(self, code: Code, message: str) -> None:
        self._found.add(code, message, account=self._batch.account, batch_id=self._batch.public_id)

    def _task_fault(self, code: Code, message: str, task: TaskFacts) -> None:
        self._found.add(
            code,
            message,
            account=self._batch.account,
            batch_id=self._batch.public_id,
            item_index=task.item_index,
        )

    def _entry_fault(
        self, code: Code, message: str, entry: LedgerEntry, task: TaskFacts | None = None
    ) -> None:
        batch = self._batch
        self._found.add(
            code,
            message,
            account=batch.account if entry.account_id == batch.account_id else f"#{entry.account_id}",
            batch_id=batch.public_id,
            item_index=None if task is None else task.item_index,
            seq=entry.seq,
        )

    # --- items ----------------------------------------------------------------------------------------

    def items(self) -> None:
        """Items are numbered without gaps; of each the last try is current, the others failed or were
        rejected.
        """
        tries: defaultdict[int, list[TaskFacts]] = defaultdict(list)
        for task in self._tasks:
            tries[task.item_index].append(task)
            self._check_state(task)
        # the counter itself may be wrong by any amount, so no more than this is named
        for item_index in range(min(self._batch.total, len(tries) + MISSING_ITEMS_NAMED_MAX)):
            if item_index not in tries:
                self._found.add(
                    Code.ITEM_MISSING,
                    "the batch counts this item, but it has no task",
                    account=self._batch.account,
                    batch_id=self._batch.public_id,
                    item_index=item_index,
                )
        for of_item in tries.values():
            of_item.sort(key=lambda task: task.retry_number)
            if [task.retry_number for task in of_item] != list(range(len(of_item))):
                self._task_fault(Code.ITEM_ROWS_WRONG, "its tries are not numbered one by one", of_item[0])
            if [task.is_current for task in of_item] != [False] * (len(of_item) - 1) + [True]:
                self._task_fault(Code.ITEM_ROWS_WRONG, "not its last try alone is current", of_item[0])

    def _check_state(self, task: TaskFacts) -> None:
        final = task.status in _FINAL
        wrong: str | None = None
        if task.status not in _STATUSES:
            wrong = "is not a status"
        elif task.account_id != self._batch.account_id:
            wrong = "but of another account than its batch"
        elif not task.is_current and task.status != TaskStatus.FAILED and not task.rejected:
            wrong = "but was retried, which only a failed task is, or one whose clip was rejected or bad"
        elif task.status == TaskStatus.PROCESSING and (not task.owned or task.attempt < 1):
            wrong = "but no known worker owns it, or it has no attempt"
        elif final != task.completed:
            wrong = f"but has {'no' if final else 'a'} time of completion"
        elif (task.status == TaskStatus.SUCCEEDED) != task.has_video:
            wrong = f"but has {'a' if task.has_video else 'no'} video"
        elif task.status == TaskStatus.FAILED and not task.has_error:
            wrong = "but has no error"
        if wrong is not None:
            self._task_fault(Code.TASK_STATE_WRONG, f"the task is {task.status}, {wrong}", task)

    # --- each final task resolved once, with one entry ------------------------------------------------

    def resolved_once(self, resolutions: Sequence[ResolutionFacts], entries: Sequence[LedgerEntry]) -> None:
        """One resolution and one entry for each final task, none for any other."""
        by_task: defaultdict[int, list[ResolutionFacts]] = defaultdict(list)
        for resolution in resolutions:
            by_task[resolution.task_id].append(resolution)
        entries_of: defaultdict[int, list[LedgerEntry]] = defaultdict(list)
        for entry in entries:
            if entry.type in (EntryType.SETTLE, EntryType.REFUND) and entry.task_id is not None:
                entries_of[entry.task_id].append(entry)
        for task in self._tasks:
            self._check_resolution(task, by_task.pop(task.task_id, []))
            self._check_entries(task, entries_of.pop(task.task_id, []))
        for task_id in by_task:
            self._batch_fault(
                Code.TASK_UNKNOWN, f"task {task_id} is resolved, but the batch has no such task"
            )
        for task_id, its_entries in entries_of.items():
            for entry in its_entries:
                self._entry_fault(Code.TASK_UNKNOWN, f"the batch has no task {task_id}", entry)

    def _check_resolution(self, task: TaskFacts, resolutions: Sequence[ResolutionFacts]) -> None:
        if task.status not in _FINAL:
            if resolutions:
                self._task_fault(Code.TASK_RESOLVED_EARLY, f"the task is {task.status}, but resolved", task)
            return
        if not resolutions:
            self._task_fault(Code.TASK_NOT_RESOLVED, f"the task is {task.status}, but not resolved", task)
            return
        if len(resolutions) > 1:
            self._task_fault(Code.TASK_RESOLVED_TWICE, f"the task has {len(resolutions)} resolutions", task)
        expected = ResolutionFacts(task.task_id, task.attempt, _kind_of(task).value, task.credits)
        if any(resolution != expected for resolution in resolutions):
            self._task_fault(
                Code.TASK_RESOLUTION_WRONG,
                f"the resolution is not a {expected.kind} of {expected.credits} credits"
                f" for attempt {expected.attempt}",
                task,
            )

    def _check_entries(self, task: TaskFacts, entries: Sequence[LedgerEntry]) -> None:
        if task.status not in _FINAL:
            for entry in entries:
                self._entry_fault(
                    Code.TASK_ENTRY_UNRESOLVED,
                    f"the task is {task.status}, but has a {entry.type}",
                    entry,
                    task,
                )
            return
        kind = _kind_of(task)
        if not entries:
            self._task_fault(Code.TASK_ENTRY_MISSING, f"the ledger has no {kind} for the task", task)
            return
        for entry in entries[1:]:
            self._entry_fault(Code.TASK_ENTRY_TWICE, f"another {entry.type} for the same task", entry, task)
        entry = entries[0]
        amount = sum(part.amount for part in entry.parts)
        if entry.type.value != kind.value or amount != task.credits:
            self._entry_fault(
                Code.TASK_ENTRY_WRONG,
                f"a {entry.type} of {amount} credits; the task demands a {kind} of {task.credits}",
                entry,
                task,
            )

    # --- the reservation ------------------------------------------------------------------------------

    def reservation(self, lines: Sequence[StoredLine], entries: Sequence[LedgerEntry]) -> None:
        """Replay the reservation: settles take from its front, refunds from its end, line by line."""
        replayed = Reservation()
        for entry in entries:
            if entry.account_id != self._batch.account_id:
                self._entry_fault(Code.ENTRY_SUBJECT_WRONG, "the batch is another account's", entry)
                continue
            if any(part.amount <= 0 for part in entry.parts):
                continue  # reported by the ledger's replay
            if entry.type is EntryType.RESERVE:
                taken = enumerate(entry.parts, start=len(replayed.lines))
                replayed.add(ReservationLine(number, part.lot_id, part.amount) for number, part in taken)
            elif entry.type in (EntryType.SETTLE, EntryType.REFUND):
                self._resolve(replayed, entry)
        expected = [StoredLine(r.line, r.lot_id, r.reserved, r.settled, r.refunded) for r in replayed.lines]
        for line in range(max(len(expected), len(lines))):
            if line >= len(lines) or line >= len(expected) or lines[line] != expected[line]:
                self._batch_fault(
                    Code.RESERVATION_WRONG, f"reservation line {line} is not what the ledger makes of it"
                )

    def _resolve(self, replayed: Reservation, entry: LedgerEntry) -> None:
        amount = sum(part.amount for part in entry.parts)
        if amount > replayed.held:
            self._entry_fault(
                Code.RESERVATION_OVERDRAWN,
                f"a {entry.type} of {amount} credits, only {replayed.held} are held",
                entry,
            )
            return
        keep = entry.type is EntryType.SETTLE
        parts = replayed.settle(amount) if keep else replayed.refund(amount)
        if tuple(parts) != entry.parts:
            self._entry_fault(
                Code.RESERVATION_ORDER_WRONG,
                "the settle does not take from the reservation's front"
                if keep
                else "the refund does not unwind the reservation from its end",
                entry,
            )

    # --- totals and status ----------------------------------------------------------------------------

    def totals(self, entries: Sequence[LedgerEntry]) -> None:
        """The batch's counters and credits are those of its tasks, and of its entries."""
        batch = self._batch
        count = dict.fromkeys(TaskStatus, 0)
        for task in self._current:
            if task.status in _STATUSES:
                count[TaskStatus(task.status)] += 1
        counters = {
            TaskStatus.PENDING: batch.pending,
            TaskStatus.PROCESSING: batch.processing,
            TaskStatus.SUCCEEDED: batch.succeeded,
            TaskStatus.FAILED: batch.failed,
        }
        for status, stored in counters.items():
            if stored != count[status]:
                self._batch_fault(
                    Code.BATCH_COUNTS_WRONG, f"it counts {stored} {status} tasks, there are {count[status]}"
                )
        if batch.total != len(self._current):
            self._batch_fault(
                Code.BATCH_COUNTS_WRONG, f"it counts {batch.total} items, there are {len(self._current)}"
            )
        for name, stored, entry_type, of_tasks in (
            ("credits_reserved", batch.credits_reserved, EntryType.RESERVE, tuple(TaskStatus)),
            ("credits_settled", batch.credits_settled, EntryType.SETTLE, (TaskStatus.SUCCEEDED,)),
            ("credits_refunded", batch.credits_refunded, EntryType.REFUND, (TaskStatus.FAILED,)),
        ):
            in_tasks = sum(task.credits for task in self._tasks if task.status in of_tasks)
            in_entries = sum(
                part.amount for entry in entries if entry.type is entry_type for part in entry.parts
            )
            if not stored == in_tasks == in_entries:
                self._batch_fault(
                    Code.BATCH_CREDITS_WRONG,
                    f"{name} is {stored}, its tasks make {in_tasks}, its ledger entries {in_entries}",
                )
        held = batch.credits_reserved - batch.credits_settled - batch.credits_refunded
        if held < 0 or (batch.finalized and held != 0):
            self._batch_fault(
                Code.BATCH_CREDITS_WRONG, f"{held} credits are held{' although finalized' * batch.finalized}"
            )

    def status(self) -> None:
        """Finalized exactly when no task is open and no verdict awaited, with the status of the counts."""
        batch = self._batch
        is_open = any(task.status not in _FINAL for task in self._current)
        if batch.finalized and is_open:
            self._batch_fault(Code.BATCH_FINALIZED_EARLY, "it is finalized, but has open tasks")
        waits = batch.awaits_verdicts and not batch.cancelled
        if not batch.finalized and not is_open and not waits:
            self._batch_fault(Code.BATCH_NOT_FINALIZED, "all its tasks are final, but it is not finalized")
        allowed = self._allowed_statuses()
        if batch.status not in allowed:
            self._batch_fault(
                Code.BATCH_STATUS_WRONG, f"its status is {batch.status}, not {' or '.join(sorted(allowed))}"
            )
        if batch.completed != batch.finalized:
            self._batch_fault(Code.BATCH_STATUS_WRONG, "completed_at and finalized_at disagree")

    def _allowed_statuses(self) -> set[BatchStatus]:
        batch = self._batch
        if batch.cancelled:
            return {BatchStatus.CANCELLED}
        if not batch.finalized:
            # an item that was cancelled before anything was sent has failed, and the batch still waits
            untouched = batch.processing + batch.succeeded == 0
            return {BatchStatus.PENDING, BatchStatus.PROCESSING} if untouched else {BatchStatus.PROCESSING}
        if batch.failed == 0:
            return {BatchStatus.SUCCEEDED}
        return {BatchStatus.FAILED} if batch.succeeded == 0 else {BatchStatus.PARTIAL}


def _kind_of(task: TaskFacts) -> ResolutionKind:
    return ResolutionKind.SETTLE if task.status == TaskStatus.SUCCEEDED else ResolutionKind.REFUND
