"""What one account may ask for, each as one transaction: the API's side of batches and credits.

Every function takes the account's id and finds nothing of any other account's: an id that is not one's own
is `NotFound`, like one that does not exist. Answers have the field names of the HTTP API.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from rushes.domain.catalogue import Catalogue
from rushes.domain.credits import EntryType
from rushes.domain.errors import NotFound
from rushes.domain.prompts import TaskDraft
from rushes.domain.retries import RetryPolicy
from rushes.domain.task import TaskStatus
from rushes.engine import accept, views
from rushes.engine.accept import AcceptedBatch, BatchRequest
from rushes.engine.events import event_heads
from rushes.engine.file_links import FileLinks, file_fields
from rushes.engine.holding import held_reasons
from rushes.engine.retries import retry_item
from rushes.store import archive, batches, deliveries, ledger, retries, schema

EXPORT_PAGE_ROWS = 500
"""Items that one read of an export fetches."""


def available_credits(connection: Connection, account_id: int, now_ms: int) -> int:
    """Credits that the account may spend now; those past their expiry do not count."""
    return sum(lot.remaining for lot in ledger.lots(connection, account_id) if lot.is_live(now_ms))


# --- batches --------------------------------------------------------------------------------------------


def create_batch(
    connection: Connection, request: BatchRequest, *, public_id: str, retry_policy: RetryPolicy, now_ms: int
) -> dict[str, Any]:
    """Accept the batch, or find it if this request was made before. See `accept.accept_batch`."""
    accepted = accept.accept_batch(connection, request, public_id=public_id, now_ms=now_ms)
    if not accepted.idempotent_replay:
        row = accepted.row
        if retry_policy.max:
            retries.ask_for(connection, row["id"], retry_policy)
        if request.webhook_url is not None:
            deliveries.open_feed(
                connection,
                row["id"],
                account_id=request.account_id,
                url=request.webhook_url,
                now_ms=now_ms,
            )
    return _accepted_view(connection, accepted, now_ms)


def find_replay(
    connection: Connection,
    request_scope: str,
    request_id: str | None,
    drafts: Sequence[TaskDraft],
    *facts: object,
    now_ms: int,
) -> dict[str, Any] | None:
    """What `create_batch` answers to a repeat, or None. See `accept.find_replay`."""
    found = accept.find_replay(connection, request_scope, request_id, drafts, *facts)
    return None if found is None else _accepted_view(connection, found, now_ms)


def _accepted_view(connection: Connection, accepted: AcceptedBatch, now_ms: int) -> dict[str, Any]:
    row = accepted.row
    is_replay = accepted.idempotent_replay
    return {
        "batch_id": row["public_id"],
        "request_id": row["request_id"],
        "status": row["status"],
        "total_count": row["total_count"],
        "cost_per_video": row["cost_per_video"],
        "required_credits": _credits_at_first(connection, row["id"])
        if is_replay
        else row["credits_reserved"],
        "available_credits": available_credits(connection, row["account_id"], now_ms),
        "idempotent_replay": is_replay,
    }


def _credits_at_first(connection: Connection, batch_id: int) -> int:
    """What accepting the batch reserved; what its re-rolls cost is not in it."""
    task = schema.video_tasks.c
    total = connection.scalar(
        select(func.coalesce(func.sum(task.credits), 0)).where(
            task.batch_id == batch_id, task.retry_number == 0
        )
    )
    return int(total or 0)


def batch(connection: Connection, account_id: int, public_id: str, *, now_ms: int) -> dict[str, Any]:
    """One batch."""
    return views.batch_view(_batch_row(connection, account_id, public_id), now_ms=now_ms)


def _batch_row(connection: Connection, account_id: int, public_id: str) -> Mapping[str, Any]:
    """The batch's row, by the statement that is asked most often of all."""
    row = connection.execute(_BATCH_OF_ACCOUNT, {"public_id": public_id, "account_id": account_id}).first()
    if row is None:
        raise NotFound(f'there is no batch "{public_id}"')
    return dict(row._mapping)


_BATCH_OF_ACCOUNT = select(schema.batches).where(
    schema.batches.c.public_id == bindparam("public_id"),
    schema.batches.c.account_id == bindparam("account_id"),
)


def batch_page(
    connection: Connection, account_id: int, *, limit: int, after: str | None, now_ms: int
) -> tuple[list[dict[str, Any]], bool]:
    """Batches, newest first, after the one with the id `after`; and whether there are more."""
    rows = batches.list_batches(connection, account_id=account_id, limit=limit + 1, after=after)
    return [views.batch_view(row, now_ms=now_ms) for row in rows[:limit]], len(rows) > limit


def item_page(
    connection: Connection,
    account_id: int,
    public_id: str,
    *,
    status: str | None,
    limit: int,
    offset: int,
    catalogue: Catalogue,
    links: FileLinks,
    now_ms: int,
) -> tuple[list[dict[str, Any]], int]:
    """Items in their order, each with what is kept of its video, and how many there are with that status."""
    row = _batch_row(connection, account_id, public_id)
    rows = batches.list_items(connection, row["id"], status=status, limit=limit, offset=offset)
    total = row["total_count"] if status is None else row[f"{status}_count"]
    held = held_reasons(connection, rows, catalogue, now_ms)
    kept = archive.files_of(connection, [item["id"] for item in rows])
    items = [
        views.item_view(item, batch_public_id=public_id, held_reason=held.get(item["id"]))
        | file_fields(item, kept.get(item["id"]), links=links, now_ms=now_ms)
        for item in rows
    ]
    return items, total


def export_page(
    connection: Connection, account_id: int, public_id: str, *, from_index: int
) -> list[dict[str, Any]]:
    """The next items of an export, from that index on; empty at its end."""
    row_id = batches.batch_row_id(connection, public_id, account_id=account_id)
    c = schema.video_tasks.c
    rows = connection.execute(
        select(schema.video_tasks)
        .where(c.batch_id == row_id, c.is_current == 1, c.item_index >= from_index)
        .order_by(c.item_index)
        .limit(EXPORT_PAGE_ROWS)
    )
    tasks = batches.without_deleted(connection, rows.mappings())
    return [views.export_view(task, batch_public_id=public_id) for task in tasks]


def cancel(connection: Connection, account_id: int, public_id: str, *, now_ms: int) -> int:
    """Cancel what is at no provider yet; returns the credits given back. Raises `BatchNotCancellable`."""
    row_id = batches.batch_row_id(connection, public_id, account_id=account_id)
    return accept.cancel_batch(connection, row_id, now_ms=now_ms)


def retry(
    connection: Connection, account_id: int, public_id: str, item_index: int, *, now_ms: int
) -> dict[str, Any]:
    """Make a failed item wait again. Raises `NotFound`, `ItemNotRetryable`, `InsufficientCredits`."""
    row_id = batches.batch_row_id(connection, public_id, account_id=account_id)
    task_id = retry_item(connection, row_id, item_index, now_ms=now_ms)
    c = schema.video_tasks.c
    price = connection.scalar(select(c.credits).where(c.id == task_id))
    return {
        "batch_id": public_id,
        "item_id": views.item_id(public_id, item_index),
        "status": TaskStatus.PENDING.value,
        "required_credits": price,
        "available_credits": available_credits(connection, account_id, now_ms),
    }


def event_head(connection: Connection, account_id: int, public_id: str) -> tuple[int, int, bool]:
    """`(row id, number of the last event, finished)` of a batch."""
    row_id = batches.batch_row_id(connection, public_id, account_id=account_id)
    return event_heads(connection, [row_id])[0]


# --- credits --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LedgerFilter:
    """Which entries are asked for; times are epoch milliseconds, from (included) to (excluded)."""

    batch_id: str | None = None
    type: EntryType | None = None
    from_ms: int | None = None
    to_ms: int | None = None


def ledger_page(
    connection: Connection, account_id: int, wanted: LedgerFilter, *, limit: int, offset: int
) -> tuple[list[dict[str, Any]], int]:
    """Entries, newest first, and how many there are in all. Raises `NotFound` for another's batch."""
    c = schema.ledger_entries.c
    conditions = [c.account_id == account_id]
    if wanted.batch_id is not None:
        row_id = batches.batch_row_id(connection, wanted.batch_id, account_id=account_id)
        conditions.append(c.batch_id == row_id)
    if wanted.type is not None:
        conditions.append(c.type == wanted.type.value)
    if wanted.from_ms is not None:
        conditions.append(c.created_at_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        conditions.append(c.created_at_ms < wanted.to_ms)
    total = connection.scalar(select(func.count()).select_from(schema.ledger_entries).where(*conditions))
    entries = views.ledger_rows(connection, conditions, limit=limit, offset=offset)
    return entries, int(total or 0)


# --- webhooks -------------------------------------------------------------------------------------------


def delivery_page(
    connection: Connection,
    account_id: int,
    *,
    status: str | None,
    limit: int,
    after: tuple[str, int] | None,
) -> tuple[list[dict[str, Any]], bool]:
    """Rows of deliveries, newest first, and whether there are more."""
    rows = deliveries.list_deliveries(connection, account_id, limit=limit + 1, status=status, after=after)
    return rows[:limit], len(rows) > limit
