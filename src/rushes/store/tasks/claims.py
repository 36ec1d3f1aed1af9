"""Claiming what waits: the intent to submit, committed before anything is sent."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from rushes.domain.task import TaskStatus, submit_key
from rushes.store.database import Rows, for_update, lock_name, skip_locked, statement, unindexed
from rushes.store.tables.schema import CLAIMABLE
from rushes.store.tasks.rows import ClaimedTask

_NAMES = Rows(name=str)


def lock_and_count_in_flight(connection: Connection, provider: str, count_max: int) -> int:
    """The provider's tasks in flight, of all workers, counted up to `count_max`.

    Until the transaction ends, others who ask this for the same provider wait.
    """
    lock_name(connection, f"in flight at {provider}")
    return count_at(connection, TaskStatus.PROCESSING, provider, count_max)


def lock_and_count_of_models(
    connection: Connection, provider: str, models: Sequence[str], since_ms: int
) -> dict[str, tuple[int, int]]:
    """By model the tasks in flight at the provider, of all workers, and those that were claimed after then.

    Until the transaction ends, others who ask this for the same provider wait. A task that has come back and
    waits again does not count as claimed.
    """
    lock_name(connection, f"limits of models at {provider}")
    parameters = _NAMES.parameters(connection, [(name,) for name in models])
    of_models = f" AND {unindexed(connection, 'model')} IN (SELECT v.name FROM {_NAMES.sql(connection)})"
    counted = "sum(CASE WHEN dispatched_at_ms > :since THEN 1 ELSE 0 END)"
    found = dict.fromkeys(models, (0, 0))
    in_flight = connection.execute(
        statement(
            f"SELECT model, count(*), {counted} FROM video_tasks"
            f" WHERE status = 'processing' AND provider = :provider{of_models} GROUP BY model"
        ),
        {**parameters, "provider": provider, "since": since_ms},
    )
    for model, count, claimed in in_flight:
        found[model] = (int(count), int(claimed))
    ended = connection.execute(
        statement(
            "SELECT model, count(*) FROM video_tasks WHERE completed_at_ms > :since"
            " AND dispatched_at_ms > :since AND status IN ('succeeded', 'failed') AND provider = :provider"
            f"{of_models} GROUP BY model"
        ),
        {**parameters, "provider": provider, "since": since_ms},
    )
    for model, count in ended:
        found[model] = (found[model][0], found[model][1] + int(count))
    return found


def count_at(connection: Connection, status: TaskStatus, provider: str, count_max: int) -> int:
    """The provider's tasks of that status, counted up to `count_max`; of pending ones what may be sent."""
    of_status = CLAIMABLE if status is TaskStatus.PENDING else f"status = '{status.value}'"
    found = connection.scalar(
        statement(
            # written out: an index of the rows of one status serves no parameter
            f"SELECT count(*) FROM (SELECT 1 FROM video_tasks WHERE {of_status}"
            " AND provider = :provider LIMIT :count_max) AS counted"
        ),
        {"provider": provider, "count_max": count_max},
    )
    return int(found or 0)


def claim_if_pending(
    connection: Connection,
    batch_id: int,
    *,
    provider: str,
    worker_id: str,
    limit: int,
    now_ms: int,
    models: Sequence[str] | None = None,
    host: str | None = None,
) -> list[ClaimedTask]:
    """Commit the intent to submit up to `limit` tasks of a batch to the provider's host: processing, next
    attempt, this worker. With `models` only tasks of these.
    """
    of_models, names = _only(connection, models)
    rows = connection.execute(
        statement(
            f"WITH picked AS MATERIALIZED (SELECT id FROM video_tasks WHERE {CLAIMABLE}"
            f" AND provider = :provider AND batch_id = :batch_id{of_models}"
            " AND (deadline_at_ms IS NULL OR deadline_at_ms > :now) ORDER BY item_index"
            f" LIMIT :limit{skip_locked(connection)})"
            " UPDATE video_tasks SET status = 'processing', attempt = attempt + 1, worker_id = :worker_id,"
            " dispatched_at_ms = :now, unconfirmed_at_ms = NULL, remote_task_id = NULL, progress = 0,"
            " host = :host"
            f" WHERE id IN (SELECT id FROM picked) AND {unindexed(connection, 'status')} = 'pending'"
            " RETURNING id, batch_id, attempt, provider, model, api_model, prompt,"
            " COALESCE(sent_options, options) AS options,"
            " dispatched_at_ms, item_index, retry_number,"
            " (SELECT b.public_id FROM batches b WHERE b.id = :batch_id) AS batch_public_id"
        ),
        {
            **names,
            "worker_id": worker_id,
            "now": now_ms,
            "provider": provider,
            "batch_id": batch_id,
            "limit": limit,
            "host": host,
        },
    ).all()
    return [_claimed(row) for row in sorted(rows, key=lambda row: row.item_index)]


def _claimed(row: Row[Any]) -> ClaimedTask:
    return ClaimedTask(
        task_id=row.id,
        batch_id=row.batch_id,
        attempt=row.attempt,
        provider=row.provider,
        model=row.model,
        api_model=row.api_model,
        prompt=row.prompt,
        options=msgspec.json.decode(row.options),
        dispatched_at_ms=row.dispatched_at_ms,
        submit_key=submit_key(row.batch_public_id, row.item_index, row.retry_number, row.attempt),
    )


def _only(connection: Connection, models: Sequence[str] | None) -> tuple[str, Mapping[str, Any]]:
    """The condition that a pending task is of one of these models, with its parameters; None for any."""
    if models is None:
        return "", {}
    # without an index of the models: the one of what waits at a provider is the right one
    column = unindexed(connection, "model")
    return (
        f" AND {column} IN (SELECT v.name FROM {_NAMES.sql(connection)})",
        _NAMES.parameters(connection, [(name,) for name in models]),
    )


def wait_for_own_transactions(connection: Connection, worker_id: str) -> None:
    """Wait until every claim and adoption of the worker has ended, also one whose connection was lost.

    They hold the worker's row; a COMMIT that was on its way when the connection was cut may take effect
    later. Nothing to wait for on SQLite, where a process has one writer.
    """
    connection.execute(
        statement(f"SELECT id FROM workers WHERE id = :worker_id{for_update(connection)}"),
        {"worker_id": worker_id},
    )


def owned_without_remote_id(
    connection: Connection, *, provider: str, worker_id: str
) -> list[tuple[int, int]]:
    """`(task_id, attempt)` of the worker's tasks in flight that are neither named nor unconfirmed.

    For a worker that cannot know whether its claim took effect.
    """
    wait_for_own_transactions(connection, worker_id)
    result = connection.execute(
        statement(
            "SELECT id, attempt FROM video_tasks WHERE worker_id = :worker_id AND status = 'processing'"
            " AND provider = :provider AND remote_task_id IS NULL AND unconfirmed_at_ms IS NULL"
        ),
        {"worker_id": worker_id, "provider": provider},
    )
    return [(row[0], row[1]) for row in result]
