"""Tasks that wait to be sent: which there are, and giving them to another model of their alias."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row

from rushes.domain.trouble import NOT_FOUND_HELD
from rushes.store.database import Rows, lateral, lease_time, skip_locked, statement, unindexed
from rushes.store.tables.schema import CLAIMABLE, LINKED, TROUBLED
from rushes.store.tasks.charges import CHARGE_FIELDS
from rushes.store.tasks.guards import NO_TROUBLE

GROUP_MS: Final = 5000
"""How far apart the submits of tasks may be that a forecast takes together."""

_IDS = Rows(id=int)
_MOVED = Rows(id=int, model=str, provider=str, api_model=str, **CHARGE_FIELDS)


def any_movable(connection: Connection) -> bool:
    """Whether a task waits that was asked for under an alias."""
    found = connection.scalar(
        statement(f"SELECT 1 FROM video_tasks WHERE {CLAIMABLE} AND alias IS NOT NULL LIMIT 1")
    )
    return found is not None


def models_under(connection: Connection, alias: str) -> list[str]:
    """The models for which tasks wait under the alias; one step through the index for each."""
    found: list[str] = []
    while True:
        model = connection.scalar(
            statement(
                f"SELECT min(model) FROM video_tasks WHERE {CLAIMABLE} AND alias = :alias AND model > :last"
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
) -> list[tuple[int, str, int]]:
    """`(task id, options as JSON, credits)` of tasks that wait for this model under the alias, locked.

    Oldest first from the one after `after_id` on, or newest first from the one before it.
    """
    side, order = ("<", " DESC") if newest_first else (">", "")
    rows = connection.execute(
        statement(
            f"SELECT id, options, credits FROM video_tasks WHERE {CLAIMABLE} AND alias = :alias"
            f" AND model = :model AND id {side} :after_id ORDER BY id{order}"
            f" LIMIT :limit OFFSET :skip{skip_locked(connection)}"
        ),
        {"alias": alias, "model": model, "after_id": after_id, "limit": limit, "skip": skip},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def move_if_pending(connection: Connection, rows: Sequence[tuple[object, ...]]) -> int:
    """Give the tasks to these models; returns how many still waited.

    Rows are `(id, model, provider, api_model, …)` and the charge, as `charge_row` gives it; no credits move.
    """
    charge = ", ".join(f"{name} = v.{name}" for name in CHARGE_FIELDS)
    result = connection.execute(
        statement(
            "UPDATE video_tasks SET model = v.model, provider = v.provider, api_model = v.api_model,"
            f" {NO_TROUBLE}, {charge}"
            f" FROM {_MOVED.sql(connection)} WHERE video_tasks.id = v.id"
            f" AND {unindexed(connection, 'video_tasks.status')} = 'pending'"
            " RETURNING video_tasks.id"
        ),
        _MOVED.parameters(connection, rows),
    )
    return len(result.all())


def batches_waiting_since(connection: Connection, before_ms: int, *, limit: int) -> list[int]:
    """Batches with a task that has waited since before that time, least recently served first."""
    # a look for each index of what is pending
    of_batch = "t.batch_id = b.id AND t.created_at_ms < :before AND t."
    waits = " OR ".join(
        f"EXISTS (SELECT 1 FROM video_tasks t WHERE {of_batch}{condition})"
        for condition in (CLAIMABLE, LINKED)
    )
    rows = connection.scalars(
        statement(
            "SELECT b.id FROM batches b WHERE b.pending_count > 0 AND b.created_at_ms < :before"
            f" AND ({waits}) ORDER BY b.last_dispatched_at_ms, b.id LIMIT :limit"
        ),
        {"before": before_ms, "limit": limit},
    )
    return [int(batch_id) for batch_id in rows]


def waiting_models(connection: Connection, looked_at: int) -> list[tuple[str, str, int]]:
    """`(provider, model, tasks)` of what waits, of the first `looked_at` tasks."""
    rows = connection.execute(
        statement(
            "SELECT provider, model, count(*) FROM (SELECT provider, model FROM video_tasks"
            f" WHERE {CLAIMABLE} LIMIT :looked_at) AS looked_at GROUP BY provider, model"
            " ORDER BY provider, model"
        ),
        {"looked_at": looked_at},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def models_in_flight(connection: Connection, looked_at: int) -> list[str]:
    """The models of the first `looked_at` tasks in flight."""
    query = (
        "SELECT DISTINCT model FROM (SELECT model FROM video_tasks WHERE status = 'processing' LIMIT :n) AS t"
    )
    return list(connection.scalars(statement(query), {"n": looked_at}))


def unfollowed_models(connection: Connection, now_ms: int, looked_at: int) -> list[tuple[str, str, int]]:
    """`(provider, model, tasks)` in flight whose worker's lease has ended, of the first `looked_at` tasks."""
    rows = connection.execute(
        statement(
            "SELECT provider, model, count(*) FROM (SELECT t.provider, t.model FROM workers w"
            " JOIN video_tasks t ON t.worker_id = w.id AND t.status = 'processing'"
            f" WHERE w.lease_expires_at_ms <= {lease_time(connection)} LIMIT :looked_at) AS looked_at"
            " GROUP BY provider, model"
            " ORDER BY provider, model"
        ),
        {"now": now_ms, "looked_at": looked_at},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def troubled(
    connection: Connection, *, batch_id: int | None, recent_ms: int, looked_at: int
) -> Sequence[Row[Any]]:
    """Open tasks with trouble by provider, kind and whether they are polled, of the first `looked_at` tasks.

    `current_…` leave out tasks that wait to be sent and whose last submit was before `recent_ms`.
    """
    of_batch = "" if batch_id is None else " AND batch_id = :batch_id"
    is_current = "(status = 'processing' OR trouble_at_ms >= :recent)"
    return connection.execute(
        statement(
            "SELECT provider, trouble_kind, is_polled, min(trouble_reason) AS reason, count(*) AS task_count,"
            " min(trouble_since_ms) AS since_ms, max(trouble_at_ms) AS at_ms,"
            " max(trouble_at_ms - trouble_since_ms) AS lasted_ms,"
            f" sum(CASE WHEN {is_current} THEN 1 ELSE 0 END) AS current_count,"
            f" max(CASE WHEN {is_current} THEN trouble_at_ms - trouble_since_ms ELSE 0 END) AS current_ms"
            " FROM (SELECT provider, trouble_kind, status, trouble_reason, trouble_since_ms, trouble_at_ms,"
            " CASE WHEN remote_task_id IS NULL THEN 0 ELSE 1 END AS is_polled"
            f" FROM video_tasks WHERE {TROUBLED}{of_batch} LIMIT :looked_at) AS looked_at"
            " GROUP BY provider, trouble_kind, is_polled"
        ),
        {"recent": recent_ms, "looked_at": looked_at, **({} if batch_id is None else {"batch_id": batch_id})},
    ).all()


class OpenGroup(NamedTuple):
    """Open tasks of a batch that stand alike. `kind` is `pending`, `unconfirmed`, `not_found` or `sent`.

    `not_found` are those that the provider does not know, so soon after it took them that this is held.

    `at_ms` is the last one's: of when its submit became unconfirmed, or when it was sent.
    """

    batch_id: int
    provider: str
    model: str
    kind: str
    task_count: int
    at_ms: int


def open_groups(connection: Connection, batch_ids: Sequence[int]) -> list[OpenGroup]:
    """The open tasks of these batches, those together that were sent within `GROUP_MS`."""
    # batch by batch through the batch's index: planners would rather read all tasks once
    kinds = (CLAIMABLE, LINKED, "status = 'processing'")
    open_tasks = lateral(connection, "video_tasks", "batch_id = v.id", kinds=kinds)
    unconfirmed = "status = 'processing' AND remote_task_id IS NULL AND unconfirmed_at_ms IS NOT NULL"
    rows = connection.execute(
        statement(
            "SELECT batch_id, provider, model, kind, count(*), max(at_ms) FROM ("
            "SELECT t.batch_id, t.provider, t.model, CASE WHEN t.status = 'pending' THEN 'pending'"
            f" WHEN {unconfirmed} THEN 'unconfirmed'"
            f" WHEN trouble_kind = '{NOT_FOUND_HELD}' THEN 'not_found' ELSE 'sent' END AS kind,"
            f" CASE WHEN t.status = 'pending' THEN 0 WHEN {unconfirmed} THEN t.unconfirmed_at_ms"
            " ELSE t.dispatched_at_ms END AS at_ms"
            f" FROM {_IDS.sql(connection)} {open_tasks}) AS open_tasks"
            " GROUP BY batch_id, provider, model, kind, at_ms / :group_ms"
        ),
        {**_IDS.parameters(connection, [(batch_id,) for batch_id in batch_ids]), "group_ms": GROUP_MS},
    )
    return [OpenGroup(row[0], row[1], row[2], row[3], int(row[4]), int(row[5])) for row in rows]


class AtProvider(NamedTuple):
    """Open tasks of all accounts at one provider: sent about `at_ms`, None of those that wait to be sent.

    Only of these is known whose they are.
    """

    provider: str
    model: str
    task_count: int
    at_ms: int | None
    account_id: int | None
    batch_id: int | None


def open_at_providers(connection: Connection) -> list[AtProvider]:
    """All that waits for a provider or is there; there, those together that were sent within a minute."""
    rows = connection.execute(
        statement(
            "SELECT provider, model, COUNT(*) AS tasks, CAST(NULL AS bigint) AS at_ms, account_id, batch_id"
            f" FROM video_tasks WHERE {CLAIMABLE} GROUP BY provider, model, account_id, batch_id"
            " UNION ALL SELECT provider, model, COUNT(*), MAX(dispatched_at_ms), NULL, NULL FROM video_tasks"
            " WHERE status = 'processing' GROUP BY provider, model, dispatched_at_ms / 60000"
        )
    )
    return [AtProvider(*row) for row in rows]


def in_flight_by_provider(connection: Connection) -> dict[str, int]:
    """Tasks of all accounts that are at a provider, or may be."""
    rows = connection.execute(
        statement("SELECT provider, COUNT(*) FROM video_tasks WHERE status = 'processing' GROUP BY provider")
    )
    return {provider: int(count) for provider, count in rows}


def open_tasks_by_provider(connection: Connection) -> dict[str, int]:
    """Tasks of all accounts that are pending or at a provider."""
    rows = connection.execute(
        statement(
            f"SELECT provider, COUNT(*) FROM video_tasks WHERE {CLAIMABLE} GROUP BY provider"
            f" UNION ALL SELECT provider, COUNT(*) FROM video_tasks WHERE {LINKED} GROUP BY provider"
            " UNION ALL"
            " SELECT provider, COUNT(*) FROM video_tasks WHERE status = 'processing' GROUP BY provider"
        )
    )
    found: dict[str, int] = {}
    for provider, count in rows:
        found[provider] = found.get(provider, 0) + int(count)
    return found
