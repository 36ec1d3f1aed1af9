"""Tasks that wait to be sent: which there are, and giving them to another model of their alias."""

from collections.abc import Sequence

from sqlalchemy import Connection

from rushes.store.database import Rows, skip_locked, statement, unindexed

_MOVED = Rows(id=int, model=str, provider=str, api_model=str)


def any_movable(connection: Connection) -> bool:
    """Whether a task waits that was asked for under an alias."""
    found = connection.scalar(
        statement("SELECT 1 FROM video_tasks WHERE status = 'pending' AND alias IS NOT NULL LIMIT 1")
    )
    return found is not None


def models_under(connection: Connection, alias: str) -> list[str]:
    """The models for which tasks wait under the alias; one step through the index for each."""
    found: list[str] = []
    while True:
        model = connection.scalar(
            statement(
                "SELECT min(model) FROM video_tasks WHERE status = 'pending' AND alias = :alias"
                " AND model > :last"
            ),
            {"alias": alias, "last": found[-1] if found else ""},
        )
        if model is None:
            return found
        found.append(str(model))


def movable(
    connection: Connection,
    alias: str,
    model: str,
    *,
    after_id: int,
    newest_first: bool,
    skip: int,
    limit: int,
) -> list[tuple[int, str]]:
    """`(task id, options as JSON)` of tasks that wait for this model under the alias, locked.

    Oldest first from the one after `after_id` on, or newest first from the one before it.
    """
    side, order = ("<", " DESC") if newest_first else (">", "")
    rows = connection.execute(
        statement(
            "SELECT id, options FROM video_tasks WHERE status = 'pending' AND alias = :alias"
            f" AND model = :model AND id {side} :after_id ORDER BY id{order}"
            f" LIMIT :limit OFFSET :skip{skip_locked(connection)}"
        ),
        {"alias": alias, "model": model, "after_id": after_id, "limit": limit, "skip": skip},
    )
    return [(row[0], row[1]) for row in rows]


def move_if_pending(connection: Connection, rows: Sequence[tuple[int, str, str, str]]) -> int:
    """Give the tasks `(id, model, provider, api_model)` to these models; returns how many still waited."""
    result = connection.execute(
        statement(
            "UPDATE video_tasks SET model = v.model, provider = v.provider, api_model = v.api_model"
            f" FROM {_MOVED.sql(connection)} WHERE video_tasks.id = v.id"
            f" AND {unindexed(connection, 'video_tasks.status')} = 'pending'"
            " RETURNING video_tasks.id"
        ),
        _MOVED.parameters(connection, rows),
    )
    return len(result.all())


def batches_waiting_since(connection: Connection, before_ms: int, *, limit: int) -> list[int]:
    """Batches with a task that has waited since before that time, least recently served first."""
    rows = connection.scalars(
        statement(
            "SELECT b.id FROM batches b WHERE b.pending_count > 0 AND b.created_at_ms < :before AND EXISTS ("
            "SELECT 1 FROM video_tasks t WHERE t.batch_id = b.id AND t.status = 'pending'"
            " AND t.created_at_ms < :before) ORDER BY b.last_dispatched_at_ms, b.id LIMIT :limit"
        ),
        {"before": before_ms, "limit": limit},
    )
    return [int(batch_id) for batch_id in rows]


def waiting_models(connection: Connection, looked_at: int) -> list[tuple[str, str, int]]:
    """`(provider, model, tasks)` of what waits, of the first so many tasks."""
    rows = connection.execute(
        statement(
            "SELECT provider, model, count(*) FROM (SELECT provider, model FROM video_tasks"
            " WHERE status = 'pending' LIMIT :looked_at) AS looked_at GROUP BY provider, model"
            " ORDER BY provider, model"
        ),
        {"looked_at": looked_at},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def unfollowed_models(connection: Connection, now_ms: int, looked_at: int) -> list[tuple[str, str, int]]:
    """`(provider, model, tasks)` in flight whose worker's lease has run out, of the first so many tasks."""
    rows = connection.execute(
        statement(
            "SELECT provider, model, count(*) FROM (SELECT t.provider, t.model FROM workers w"
            " JOIN video_tasks t ON t.worker_id = w.id AND t.status = 'processing'"
            " WHERE w.lease_expires_at_ms <= :now LIMIT :looked_at) AS looked_at GROUP BY provider, model"
            " ORDER BY provider, model"
        ),
        {"now": now_ms, "looked_at": looked_at},
    )
    return [(row[0], row[1], row[2]) for row in rows]
