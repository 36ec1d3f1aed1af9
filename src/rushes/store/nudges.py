"""Nudges: which tasks in flight a callback has spoken of. At most one row per task, and none is a fact.

A row says "look at this task now" and, for a submit whose outcome is unknown, which remote id to look
for. Nothing else of a callback is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from rushes.store.database import Rows, skip_locked, statement


@dataclass(frozen=True, slots=True)
class Nudge:
    """What callbacks said of a task since its owner last looked. `received_count` tells later ones apart."""

    task_id: int
    attempt: int
    remote_task_id: str | None
    received_count: int


def is_in_flight(connection: Connection, task_id: int, *, attempt: int, provider: str) -> bool:
    """Whether this attempt is at this provider now: callbacks of all others are too late, or not its own."""
    found = connection.scalar(
        statement(
            "SELECT 1 FROM video_tasks WHERE id = :task_id AND attempt = :attempt"
            " AND provider = :provider AND status = 'processing'"
        ),
        {"task_id": task_id, "attempt": attempt, "provider": provider},
    )
    return found is not None


def put(
    connection: Connection, task_id: int, *, attempt: int, remote_task_id: str | None, now_ms: int
) -> None:
    """Ask the task's owner to look at it; one row per task, however many callbacks come."""
    connection.execute(
        statement(
            "INSERT INTO callback_nudges (task_id, attempt, remote_task_id, received_count, received_at_ms)"
            " SELECT id, attempt, CAST(:remote_task_id AS text), 1, CAST(:now AS bigint) FROM video_tasks"
            " WHERE id = :task_id AND attempt = :attempt AND status = 'processing'"
            " ON CONFLICT (task_id) DO UPDATE SET attempt = excluded.attempt,"
            " remote_task_id = COALESCE(excluded.remote_task_id, callback_nudges.remote_task_id),"
            " received_count = callback_nudges.received_count + 1, received_at_ms = excluded.received_at_ms"
        ),
        {"task_id": task_id, "attempt": attempt, "remote_task_id": remote_task_id, "now": now_ms},
    )


def of_worker(connection: Connection, worker_id: str, *, limit: int) -> list[Nudge]:
    """Nudges for tasks that this worker has in flight, the oldest first."""
    rows = connection.execute(
        statement(
            "SELECT n.task_id, n.attempt, n.remote_task_id, n.received_count FROM callback_nudges n"
            " JOIN video_tasks t ON t.id = n.task_id WHERE t.worker_id = :worker_id"
            " AND t.status = 'processing' AND t.attempt = n.attempt"
            " ORDER BY n.received_at_ms, n.task_id LIMIT :limit"
        ),
        {"worker_id": worker_id, "limit": limit},
    )
    return [Nudge(*row) for row in rows]


_TAKEN = Rows(task_id=int, received_count=int)


def delete_unless_newer(connection: Connection, taken: Sequence[Nudge]) -> None:
    """Forget these nudges; one that a further callback has renewed meanwhile stays."""
    connection.execute(
        statement(
            "DELETE FROM callback_nudges WHERE EXISTS (SELECT 1"
            f" FROM {_TAKEN.sql(connection)} WHERE v.task_id = callback_nudges.task_id"
            " AND v.received_count = callback_nudges.received_count)"
        ),
        _TAKEN.parameters(connection, [(nudge.task_id, nudge.received_count) for nudge in taken]),
    )


def sweep(connection: Connection, *, limit: int) -> int:
    """Forget nudges of attempts that are no longer in flight, up to `limit`; returns how many."""
    result = connection.execute(
        statement(
            "WITH gone AS MATERIALIZED (SELECT n.task_id FROM callback_nudges n JOIN video_tasks t"
            " ON t.id = n.task_id WHERE t.status <> 'processing' OR t.attempt <> n.attempt"
            f" ORDER BY n.task_id LIMIT :limit{skip_locked_of(connection)})"
            " DELETE FROM callback_nudges WHERE task_id IN (SELECT task_id FROM gone)"
        ),
        {"limit": limit},
    )
    return result.rowcount


def count(connection: Connection) -> int:
    """How many nudges wait."""
    return int(connection.scalar(statement("SELECT COUNT(*) FROM callback_nudges")) or 0)


def skip_locked_of(connection: Connection) -> str:
    """`skip_locked` for the nudges alone: the tasks they speak of are not to be locked."""
    lock = skip_locked(connection)
    return lock.replace("FOR UPDATE", "FOR UPDATE OF n") if lock else ""
