"""What an audit looks at of a batch, without the database: stored rows, or a signed statement's content."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from rushes.domain.credits import EntryType, LedgerEntry, decode_parts, encode_parts


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """A batch as stored. Counters and credits are what its tasks and entries must add up to."""

    batch_id: int
    public_id: str
    account_id: int
    account: str
    status: str
    total: int
    pending: int
    processing: int
    succeeded: int
    failed: int
    credits_reserved: int
    credits_settled: int
    credits_refunded: int
    cancelled: bool
    completed: bool
    finalized: bool
    awaits_verdicts: bool = False


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """A task as stored: whether it is the item's current one, complete as its status demands, and
    owned by a worker in the register, without which nobody follows or adopts it.
    """

    task_id: int
    account_id: int
    item_index: int
    retry_number: int
    is_current: bool
    credits: int
    status: str
    attempt: int
    owned: bool
    completed: bool
    has_video: bool
    has_error: bool
    rejected: bool = False


@dataclass(frozen=True, slots=True)
class ResolutionFacts:
    """A resolution as stored."""

    task_id: int
    attempt: int
    kind: str
    credits: int


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line of the batch's reservation as stored."""

    line: int
    lot_id: int
    reserved: int
    settled: int
    refunded: int


# --- from rows ----------------------------------------------------------------------------------------


def batch_from_row(row: Row[Any]) -> BatchFacts:
    """From a row of `audit_queries.batches`."""
    return BatchFacts(
        batch_id=row.id,
        public_id=row.public_id,
        account_id=row.account_id,
        account=f"#{row.account_id}" if row.account is None else row.account,
        status=row.status,
        total=row.total_count,
        pending=row.pending_count,
        processing=row.processing_count,
        succeeded=row.succeeded_count,
        failed=row.failed_count,
        credits_reserved=row.credits_reserved,
        credits_settled=row.credits_settled,
        credits_refunded=row.credits_refunded,
        cancelled=row.cancelled_at_ms is not None,
        completed=row.completed_at_ms is not None,
        finalized=row.finalized_at_ms is not None,
        awaits_verdicts=row.awaits_verdicts == 1,
    )


def tasks_from_rows(rows: Iterable[Row[Any]]) -> list[TaskFacts]:
    """From rows of `audit_queries.tasks`."""
    return [
        TaskFacts(
            task_id=row.id,
            account_id=row.account_id,
            item_index=row.item_index,
            retry_number=row.retry_number,
            is_current=row.is_current == 1,
            credits=row.credits,
            status=row.status,
            attempt=row.attempt,
            owned=row.owner is not None,
            completed=row.completed_at_ms is not None,
            has_video=bool(row.video_url),
            has_error=row.error is not None and row.failure_type is not None,
            rejected=row.rejected == 1,
        )
        for row in rows
    ]


def resolutions_from_rows(rows: Iterable[Row[Any]]) -> list[ResolutionFacts]:
    """From rows of `audit_queries.resolutions`."""
    return [ResolutionFacts(row.task_id, row.attempt, row.kind, row.credits) for row in rows]


def lines_from_rows(rows: Iterable[Row[Any]]) -> list[StoredLine]:
    """From rows of `audit_queries.reservation_lines`."""
    return [StoredLine(row.line, row.lot_id, row.reserved, row.settled, row.refunded) for row in rows]


def entry_from_row(row: Row[Any]) -> LedgerEntry | None:
    """The entry of a row with the columns of `ledger_entries`; None when its type or parts make no sense.

    Parts must be spelt as `encode_parts` spells them: the entry's hash is made of that spelling.
    """
    try:
        entry_type = EntryType(row.type)
        parts = decode_parts(row.parts)
    except (ValueError, TypeError):
        return None
    if encode_parts(parts) != row.parts:
        return None
    if not all(type(part.lot_id) is int and type(part.amount) is int for part in parts):
        return None
    return LedgerEntry(
        account_id=row.account_id,
        seq=row.seq,
        type=entry_type,
        delta=row.delta,
        balance_after=row.balance_after,
        batch_id=row.batch_id,
        task_id=row.task_id,
        parts=parts,
        description=row.description,
        created_at_ms=row.created_at_ms,
    )
