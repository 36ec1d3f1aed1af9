"""What a worker needs to ask a provider about its attempts: their submit keys, and which to cancel."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from rushes.domain.task import submit_key
from rushes.store.database import lateral, statement
from rushes.store.tasks import guards

CANCELLED_BATCHES_MAX: Final = 100
"""Cancelled batches with open tasks that one look takes in."""


def submit_keys_if_owned(
    connection: Connection, rows: Sequence[tuple[int, int]], *, worker_id: str
) -> dict[int, str]:
    """The submit keys, by task, of those `(task_id, attempt)` that are still in flight and the worker's."""
    result = connection.execute(
        statement(
            "SELECT video_tasks.id, batches.public_id, video_tasks.item_index, video_tasks.retry_number,"
            " video_tasks.attempt"
            f" FROM video_tasks JOIN batches ON batches.id = video_tasks.batch_id,"
            f" {guards.ATTEMPTS.sql(connection)} WHERE {guards.still_owned(connection)}"
        ),
        {**guards.ATTEMPTS.parameters(connection, rows), "worker_id": worker_id},
    )
    return {row[0]: submit_key(row[1], row[2], row[3], row[4]) for row in result}


def named_of_cancelled_batches(connection: Connection, worker_id: str) -> list[tuple[int, int]]:
    """`(task_id, attempt)` of the worker's tasks at providers whose batch was cancelled, oldest batch first.

    The look at the batches goes through an index of the cancelled ones that are still open; mostly there is
    none.
    """
    open_tasks = lateral(connection, "video_tasks", "batch_id = v.id", kinds=("status = 'processing'",))
    rows = connection.execute(
        statement(
            "SELECT id, attempt FROM (SELECT t.id, t.batch_id, t.attempt, t.worker_id, t.remote_task_id FROM"
            " (SELECT id FROM batches WHERE cancelled_at_ms IS NOT NULL AND finalized_at_ms IS NULL"
            f" ORDER BY id LIMIT :batches_max) AS v {open_tasks}) AS open_tasks"
            " WHERE worker_id = :worker_id AND remote_task_id IS NOT NULL ORDER BY batch_id, id"
        ),
        {"worker_id": worker_id, "batches_max": CANCELLED_BATCHES_MAX},
    )
    return [(row[0], row[1]) for row in rows]
