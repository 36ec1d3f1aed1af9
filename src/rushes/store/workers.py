"""Workers and their leases. A task in flight names its worker; a worker whose lease ran out loses them."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from rushes.domain.errors import RushesError
from rushes.store import schema
from rushes.store.database import Rows, is_postgresql, skip_locked, statement
from rushes.store.tasks import OwnedTask, owned_task_from_row

_ADOPTED_COLUMNS = (
    "id, batch_id, attempt, provider, model, remote_task_id, progress, dispatched_at_ms, unconfirmed_at_ms"
)

_NAMES = Rows(name=str)


class LeaseLost(RushesError):
    """The worker was declared dead: its tasks may be another's. It must start anew under a new id."""

    code = "LEASE_LOST"


def register(
    connection: Connection, worker_id: str, *, host: str, pid: int, now_ms: int, lease_expires_at_ms: int
) -> None:
    """Add the worker with its first lease."""
    connection.execute(
        insert(schema.workers).values(
            id=worker_id, host=host, pid=pid, started_at_ms=now_ms, lease_expires_at_ms=lease_expires_at_ms
        )
    )


def renew_lease_if_alive(
    connection: Connection, worker_id: str, *, lease_expires_at_ms: int, report: str
) -> bool:
    """Extend the lease; False when another worker has declared this one dead."""
    c = schema.workers.c
    result = connection.execute(
        schema.workers.update()
        .where(c.id == worker_id, c.lease_expires_at_ms > 0)
        .values(lease_expires_at_ms=lease_expires_at_ms, report=report)
    )
    return result.rowcount == 1


def require_lease(connection: Connection, worker_id: str, now_ms: int) -> None:
    """Hold the worker's row for this transaction, so that it cannot be declared dead meanwhile.

    Raises `LeaseLost` when its lease has run out.
    """
    lock = " FOR SHARE" if is_postgresql(connection) else ""
    lease = connection.scalar(
        statement(f"SELECT lease_expires_at_ms FROM workers WHERE id = :worker_id{lock}"),
        {"worker_id": worker_id},
    )
    if lease is None or lease <= now_ms:
        raise LeaseLost(f"worker {worker_id} has lost its lease")


def release(connection: Connection, worker_id: str) -> None:
    """Give the lease back: whatever the worker still owns may be adopted at once."""
    owns = connection.scalar(
        statement("SELECT 1 FROM video_tasks WHERE worker_id = :id AND status = 'processing' LIMIT 1"),
        {"id": worker_id},
    )
    c = schema.workers.c
    if owns is None:
        connection.execute(delete(schema.workers).where(c.id == worker_id))
    else:
        connection.execute(schema.workers.update().where(c.id == worker_id).values(lease_expires_at_ms=0))


def any_dead(connection: Connection, worker_id: str, *, now_ms: int) -> bool:
    """Whether another worker's lease has run out."""
    found = connection.scalar(
        statement("SELECT 1 FROM workers WHERE lease_expires_at_ms <= :now AND id <> :me LIMIT 1"),
        {"now": now_ms, "me": worker_id},
    )
    return found is not None


def adopt(
    connection: Connection, worker_id: str, *, providers: Sequence[str], now_ms: int, limit: int
) -> list[OwnedTask]:
    """Take over up to `limit` tasks of workers whose lease has run out, and forget emptied workers.

    Only tasks of the given providers are taken: those that this worker can poll.

    An adopted attempt without a remote task id may have been sent by the dead worker: it becomes
    unconfirmed. Two workers never adopt the same task (SKIP LOCKED).
    """
    require_lease(connection, worker_id, now_ms)
    dead = list(
        connection.scalars(
            statement(
                "SELECT id FROM workers WHERE lease_expires_at_ms <= :now AND id <> :me"
                f" ORDER BY lease_expires_at_ms, id{skip_locked(connection)}"
            ),
            {"now": now_ms, "me": worker_id},
        )
    )
    adopted: list[OwnedTask] = []
    for dead_id in dead:
        connection.execute(
            statement("UPDATE workers SET lease_expires_at_ms = 0 WHERE id = :id"), {"id": dead_id}
        )
        room = limit - len(adopted)
        if room > 0:
            adopted += _take_over(
                connection, worker_id, dead_id, providers=providers, now_ms=now_ms, limit=room
            )
        connection.execute(
            statement(
                "DELETE FROM workers WHERE id = :id AND NOT EXISTS (SELECT 1 FROM video_tasks"
                " WHERE worker_id = :id AND status = 'processing')"
            ),
            {"id": dead_id},
        )
    return adopted


def _take_over(
    connection: Connection,
    worker_id: str,
    dead_id: str,
    *,
    providers: Sequence[str],
    now_ms: int,
    limit: int,
) -> list[OwnedTask]:
    rows = connection.execute(
        statement(
            "WITH picked AS MATERIALIZED (SELECT id FROM video_tasks"
            " WHERE worker_id = :dead AND status = 'processing'"
            f" AND provider IN (SELECT v.name FROM {_NAMES.sql(connection)})"
            f" ORDER BY id LIMIT :limit{skip_locked(connection)})"
            " UPDATE video_tasks SET worker_id = :me, unconfirmed_at_ms = CASE"
            " WHEN remote_task_id IS NULL AND unconfirmed_at_ms IS NULL THEN :now"
            " ELSE unconfirmed_at_ms END WHERE id IN (SELECT id FROM picked)"
            f" RETURNING {_ADOPTED_COLUMNS}"
        ),
        {
            **_NAMES.parameters(connection, [(name,) for name in providers]),
            "me": worker_id,
            "dead": dead_id,
            "now": now_ms,
            "limit": limit,
        },
    )
    return [owned_task_from_row(row) for row in rows]


def owned_in_flight(connection: Connection, worker_id: str, *, providers: Sequence[str]) -> list[OwnedTask]:
    """The worker's tasks in flight at these providers, but for those whose submit is still under way.

    For a worker that cannot know whether its adoption took effect.
    """
    rows = connection.execute(
        statement(
            f"SELECT {_ADOPTED_COLUMNS} FROM video_tasks WHERE worker_id = :me AND status = 'processing'"
            f" AND provider IN (SELECT v.name FROM {_NAMES.sql(connection)})"
            " AND (remote_task_id IS NOT NULL OR unconfirmed_at_ms IS NOT NULL) ORDER BY id"
        ),
        {**_NAMES.parameters(connection, [(name,) for name in providers]), "me": worker_id},
    )
    return [owned_task_from_row(row) for row in rows]


def live_workers(connection: Connection, now_ms: int) -> Sequence[dict[str, object]]:
    """The workers with a valid lease, oldest first."""
    c = schema.workers.c
    rows = connection.execute(
        select(schema.workers).where(c.lease_expires_at_ms > now_ms).order_by(c.started_at_ms, c.id)
    )
    return [dict(row._mapping) for row in rows]
