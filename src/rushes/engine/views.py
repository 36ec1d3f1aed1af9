"""Rows as the world sees them: the field names of the HTTP API, for every front end."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, select

from rushes.domain.task import BatchStatus
from rushes.store import ledger, schema

EXPORT_FIELDS = (
    "index",
    "item_id",
    "custom_id",
    "prompt",
    "model",
    "status",
    "error",
    "failure_type",
    "attempt",
    "remote_task_id",
    "video_url",
    "credits",
)
"""The columns of a batch's export, in order."""

OPEN_BATCH_STATUSES = frozenset({BatchStatus.PENDING.value, BatchStatus.PROCESSING.value})


def iso_time(at_ms: int | None) -> str | None:
    """Epoch milliseconds as ISO 8601 in UTC."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def batch_view(row: Mapping[str, Any], *, now_ms: int) -> dict[str, Any]:
    """A batch's row as `GET /v1/batches/{id}` answers it (without `ok`)."""
    return {
        "batch_id": row["public_id"],
        "request_id": row["request_id"],
        "status": row["status"],
        "total_count": row["total_count"],
        "succeeded_count": row["succeeded_count"],
        "failed_count": row["failed_count"],
        "processing_count": row["processing_count"],
        "pending_count": row["pending_count"],
        "cost_per_video": row["cost_per_video"],
        "credits_reserved": row["credits_reserved"],
        "credits_settled": row["credits_settled"],
        "credits_refunded": row["credits_refunded"],
        "created_at": iso_time(row["created_at_ms"]),
        "completed_at": iso_time(row["completed_at_ms"]),
        "eta_seconds": eta_seconds(row, now_ms=now_ms),
    }


def runs_on(processing_count: int) -> str:
    """What a cancelled batch still has at the provider, as the end of a sentence; empty when nothing."""
    match processing_count:
        case 0:
            return ""
        case 1:
            return "; 1 task is at the provider, runs on, and may be charged"
        case count:
            return f"; {count:,} tasks are at the provider, run on, and may be charged"


def eta_seconds(row: Mapping[str, Any], *, now_ms: int) -> float | None:
    """Seconds until the batch is finished at the pace so far: 0 when it is, None before a first result."""
    open_count: int = row["pending_count"] + row["processing_count"]
    finished_count: int = row["succeeded_count"] + row["failed_count"]
    if open_count == 0:
        return 0.0
    if finished_count == 0:
        return None
    elapsed_seconds: float = max(0, now_ms - row["created_at_ms"]) / 1000
    return round(elapsed_seconds * open_count / finished_count, 1)


def item_id(batch_public_id: str, item_index: int) -> str:
    """The public name of an item; it stays the same when the item is tried again."""
    return f"{batch_public_id}-{item_index}"


def item_view(
    row: Mapping[str, Any], *, batch_public_id: str, held_reason: str | None = None
) -> dict[str, Any]:
    """A task's row as `GET /v1/batches/{id}/items` answers it."""
    return {
        "item_id": item_id(batch_public_id, row["item_index"]),
        "index": row["item_index"],
        "custom_id": row["custom_id"],
        "status": row["status"],
        "progress": row["progress"],
        "prompt": row["prompt"],
        "model": row["model"],
        "alias": row["alias"],
        "held_reason": held_reason,
        "video_url": row["video_url"],
        "thumbnail_url": None,
        "error": row["error"],
        "failure_type": row["failure_type"],
        "attempt": row["attempt"],
        "metadata": None if row["metadata"] is None else msgspec.json.decode(row["metadata"]),
        "created_at": iso_time(row["created_at_ms"]),
        "completed_at": iso_time(row["completed_at_ms"]),
    }


def export_view(row: Mapping[str, Any], *, batch_public_id: str) -> dict[str, Any]:
    """A task's row with the `EXPORT_FIELDS`."""
    return {
        "index": row["item_index"],
        "item_id": item_id(batch_public_id, row["item_index"]),
        **{name: row[name] for name in EXPORT_FIELDS[2:]},
    }


def balance(connection: Connection, account: str, *, now_ms: int) -> dict[str, Any]:
    """`available, reserved, total, lots` of an account; credits past their expiry count as gone."""
    account_id = ledger.account_id(connection, account)
    held = connection.scalar(select(schema.accounts.c.held).where(schema.accounts.c.id == account_id)) or 0
    live = [lot for lot in ledger.lots(connection, account_id) if lot.is_live(now_ms)]
    available = sum(lot.remaining for lot in live)
    return {
        "account": account,
        "available": available,
        "reserved": held,
        "total": available + held,
        "lots": [
            {"kind": lot.kind.value, "remaining": lot.remaining, "expires_at": iso_time(lot.expires_at_ms)}
            for lot in live
        ],
    }


def ledger_entries(
    connection: Connection, account: str, *, limit: int = 100, offset: int = 0
) -> list[dict[str, Any]]:
    """The account's ledger entries, newest first."""
    of_account = schema.ledger_entries.c.account_id == ledger.account_id(connection, account)
    return ledger_rows(connection, [of_account], limit=limit, offset=offset)


def ledger_rows(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], *, limit: int, offset: int
) -> list[dict[str, Any]]:
    """The ledger entries that meet all conditions, newest first, as the API answers them."""
    entries, tasks, rows = schema.ledger_entries, schema.video_tasks, schema.batches
    query = (
        select(entries, rows.c.public_id, tasks.c.item_index)
        .select_from(
            entries.outerjoin(rows, rows.c.id == entries.c.batch_id).outerjoin(
                tasks, tasks.c.id == entries.c.task_id
            )
        )
        .where(*conditions)
        .order_by(entries.c.seq.desc())
        .limit(limit)
        .offset(offset)
    )
    return [
        {
            "id": row.seq,
            "type": row.type,
            "delta": row.delta,
            "balance_after": row.balance_after,
            "batch_id": row.public_id,
            "item_id": None if row.item_index is None else item_id(row.public_id, row.item_index),
            "description": row.description,
            "created_at": iso_time(row.created_at_ms),
        }
        for row in connection.execute(query)
    ]
