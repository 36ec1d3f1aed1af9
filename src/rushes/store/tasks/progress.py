"""What people see of a task in flight: its progress, and why it waits. No decision reads either."""

from collections.abc import Sequence

from sqlalchemy import Connection

from rushes.domain.trouble import TroubleRow
from rushes.store.database import Rows, statement
from rushes.store.tasks import guards
from rushes.store.tasks.rows import storable

_PROGRESS = Rows(id=int, attempt=int, progress=int)


_TROUBLES = Rows(id=int, attempt=int, kind=str, reason=str, times=int, since_ms=int, at_ms=int)


def record_progress_if_owned(
    connection: Connection, rows: Sequence[tuple[int, int, int]], *, worker_id: str
) -> None:
    """Store the progress of `(task_id, attempt, progress)`, for progress bars only."""
    connection.execute(
        statement(
            f"UPDATE video_tasks SET progress = v.progress FROM {_PROGRESS.sql(connection)}"
            f" WHERE {guards.still_owned(connection)}"
        ),
        {**_PROGRESS.parameters(connection, rows), "worker_id": worker_id},
    )


def record_troubles_if_owned(connection: Connection, rows: Sequence[TroubleRow], *, worker_id: str) -> None:
    """Store why these attempts wait, or that the reason is over, for people only.

    A row without a count is one more: for submits, whose attempts come one after the other.
    """
    latest = {row.task_id: row for row in rows}
    is_one_more = "v.kind IS NOT NULL AND v.times IS NULL AND video_tasks.trouble_kind IS NOT NULL"
    connection.execute(
        statement(
            "UPDATE video_tasks SET trouble_kind = v.kind, trouble_reason = v.reason, trouble_count ="
            f" CASE WHEN {is_one_more} THEN video_tasks.trouble_count + 1"
            " WHEN v.kind IS NOT NULL THEN COALESCE(v.times, 1) END,"
            f" trouble_since_ms = CASE WHEN {is_one_more}"
            " THEN video_tasks.trouble_since_ms ELSE v.since_ms END, trouble_at_ms = v.at_ms"
            f" FROM {_TROUBLES.sql(connection)} WHERE {guards.still_owned(connection)}"
        ),
        {
            **_TROUBLES.parameters(
                connection,
                [
                    (*row[:3], None if row.reason is None else storable(row.reason), *row[4:])
                    for row in latest.values()
                ],
            ),
            "worker_id": worker_id,
        },
    )
