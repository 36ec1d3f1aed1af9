"""Pages of an account's event log, each event with its document."""

from typing import Any

from sqlalchemy import Connection, select

from rushes.read.events import event_document
from rushes.store import archive
from rushes.store.batches import without_deleted
from rushes.store.tables import schema


def log_page(
    connection: Connection, account_id: int, *, after: int, limit: int, base: str
) -> tuple[list[dict[str, Any]], bool]:
    """`{id, batch_id, type, timestamp, data}` of events after that position, and whether there are more."""
    log, events, batches, tasks = (
        schema.account_events,
        schema.batch_events,
        schema.batches,
        schema.video_tasks,
    )
    rows = connection.execute(
        select(log.c.position, log.c.batch_id, events.c.type, events.c.created_at_ms, events.c.task_id)
        .join_from(log, events, (events.c.batch_id == log.c.batch_id) & (events.c.seq == log.c.seq))
        .where(log.c.account_id == account_id, log.c.position > after)
        .order_by(log.c.position)
        .limit(limit + 1)
    ).all()
    shown = rows[:limit]
    task_ids = [row.task_id for row in shown if row.task_id is not None]
    of_batches = select(batches).where(batches.c.id.in_({row.batch_id for row in shown}))
    its_batches = {row["id"]: dict(row) for row in connection.execute(of_batches).mappings()}
    of_tasks = connection.execute(select(tasks).where(tasks.c.id.in_(task_ids))).mappings()
    its_tasks = {task["id"]: task for task in without_deleted(connection, of_tasks)}
    kept = archive.files_of(connection, task_ids)
    found = []
    for row in shown:
        batch, task = its_batches[row.batch_id], its_tasks.get(row.task_id)
        document = event_document(row.type, row.created_at_ms, batch, task, kept.get(row.task_id), base=base)
        found.append({"id": row.position, "batch_id": batch["public_id"], **document})
    return found, len(rows) > limit
