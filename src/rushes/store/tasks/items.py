"""The newest tasks of a batch's items, and whether their videos were deleted."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from rushes.store.database import Rows, for_update, statement
from rushes.store.reuse.sources import PRICE
from rushes.store.tasks.retries import REROLLS_OF_TASK

_INDEXES = Rows(item_index=int)
_IDS = Rows(id=int)


def lock_items(connection: Connection, batch_id: int, item_indexes: Sequence[int]) -> Sequence[Row[Any]]:
    """Those of the items that are there, locked until the transaction ends.

    `item_index, id, status, credits, model, alias, choice, options, erased_at_ms`.
    """
    query = statement(
        f"SELECT item_index, id, status, {PRICE.format(t='video_tasks')} AS credits, model, alias, choice,"
        " options, erased_at_ms FROM video_tasks"
        " WHERE batch_id = :batch_id"
        f" AND is_current = 1 AND {_INDEXES.among(connection, 'item_index')}"
        f" ORDER BY id{for_update(connection)}"
    )
    asked = sorted(set(item_indexes))
    parameters = {**_INDEXES.parameters(connection, [(index,) for index in asked]), "batch_id": batch_id}
    rows = connection.execute(query, parameters).all()
    if len(rows) < len(asked):
        # PostgreSQL leaves out what another retry has replaced while this one waited for it
        rows = connection.execute(query, parameters).all()
    return rows


def not_cancelled(connection: Connection, task_ids: Sequence[int], *, now_ms: int) -> Sequence[Row[Any]]:
    """Those of the tasks whose batch was not cancelled and whose deadline has not passed, by batch and item,
    with what a next try needs; `rerolls` is how many re-rolls the item has used."""
    return connection.execute(
        statement(
            f"SELECT t.id, t.batch_id, t.item_index, t.retry_number, {PRICE.format(t='t')} AS credits,"
            f" t.failure_type, t.error, t.model, t.alias, t.choice, t.options, {REROLLS_OF_TASK} AS rerolls"
            f" FROM video_tasks t JOIN batches b ON b.id = t.batch_id, {_IDS.sql(connection)}"
            " WHERE t.id = v.id AND b.cancelled_at_ms IS NULL"
            " AND (t.deadline_at_ms IS NULL OR t.deadline_at_ms > :now) ORDER BY t.batch_id, t.item_index"
        ),
        {**_IDS.parameters(connection, [(task_id,) for task_id in task_ids]), "now": now_ms},
    ).all()


def failed_indexes(
    connection: Connection, batch_id: int, *, failure_type: str | None, from_index: int, limit: int
) -> list[int]:
    """The next failed items (of that type) of a batch, from this index on, at most `limit`."""
    of_type = "" if failure_type is None else " AND failure_type = :failure_type"
    found = connection.scalars(
        statement(
            "SELECT item_index FROM video_tasks WHERE batch_id = :batch_id AND is_current = 1"
            f" AND status = 'failed' AND item_index >= :from_index{of_type} ORDER BY item_index LIMIT :limit"
        ),
        {
            "batch_id": batch_id,
            "from_index": from_index,
            "limit": limit,
            **({} if failure_type is None else {"failure_type": failure_type}),
        },
    )
    return list(found)


def current_row(connection: Connection, batch_id: int, item_index: int) -> Row[Any] | None:
    """Where the item's newest task stands: at which provider, under which remote id, how it ended."""
    return connection.execute(
        statement(
            "SELECT id, attempt, status, provider, host, remote_task_id, unconfirmed_at_ms, error,"
            " failure_type"
            " FROM video_tasks WHERE batch_id = :batch_id AND item_index = :item_index AND is_current = 1"
        ),
        {"batch_id": batch_id, "item_index": item_index},
    ).first()


def credits_of(connection: Connection, task_id: int) -> int:
    """The task's price."""
    found = connection.scalar(statement("SELECT credits FROM video_tasks WHERE id = :id"), {"id": task_id})
    return int(found or 0)


def mark_deleted(connection: Connection, batch_id: int, item_index: int, *, now_ms: int) -> None:
    """Hide the item's video for good."""
    connection.execute(
        statement(
            "INSERT INTO deleted_videos (batch_id, item_index, deleted_at_ms)"
            " VALUES (:batch_id, :item_index, :now) ON CONFLICT (batch_id, item_index) DO NOTHING"
        ),
        {"batch_id": batch_id, "item_index": item_index, "now": now_ms},
    )
