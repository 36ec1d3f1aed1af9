"""Live workers, and how much there is for them to do."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from rushes.domain.notation import iso_time
from rushes.domain.task import FINAL_STATUSES
from rushes.store import batches, workers
from rushes.store.tables import schema


def open_task_count(connection: Connection) -> int:
    """Tasks of all batches without a final status."""
    c = schema.batches.c
    found = connection.scalar(select(func.sum(c.pending_count + c.processing_count)))
    return int(found or 0)


def open_providers(connection: Connection, batch_public_id: str) -> set[str]:
    """The providers of the batch's tasks without a final status. Raises `NotFound`."""
    c = schema.video_tasks.c
    query = (
        select(c.provider)
        .where(
            c.batch_id == batches.batch_row_id(connection, batch_public_id),
            c.status.not_in([status.value for status in FINAL_STATUSES]),
        )
        .distinct()
    )
    return set(connection.scalars(query))


def open_aliases(connection: Connection, batch_public_id: str) -> set[str]:
    """The aliases of the batch's tasks without a final status: another of their models may make them yet."""
    c = schema.video_tasks.c
    query = (
        select(c.alias)
        .where(
            c.batch_id == batches.batch_row_id(connection, batch_public_id),
            c.status.not_in([status.value for status in FINAL_STATUSES]),
            c.alias.is_not(None),
        )
        .distinct()
    )
    return set(connection.scalars(query))


def live_workers(connection: Connection, *, now_ms: int) -> list[dict[str, Any]]:
    """Workers with a valid lease, oldest first; `report` is what each last said of itself."""
    rows: Sequence[Mapping[str, Any]] = workers.live_workers(connection, now_ms)
    return [
        {
            "worker_id": row["id"],
            "host": row["host"],
            "pid": row["pid"],
            "started_at": iso_time(row["started_at_ms"]),
            "lease_expires_at": iso_time(row["lease_expires_at_ms"]),
            "report": msgspec.json.decode(row["report"]),
        }
        for row in rows
    ]
