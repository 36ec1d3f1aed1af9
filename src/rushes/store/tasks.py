"""Rows of `video_tasks`. Every change of a task in flight is guarded, and the guard is in its name.

Groups go through one statement each (see `Rows`). What is picked with a LIMIT is picked in a MATERIALIZED
query: PostgreSQL may run a subquery that locks rows more than once, and would then pick too many. Guards
are written so that no planner takes an index of theirs over the primary key (see `unindexed`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never

import msgspec
from sqlalchemy import Connection, Row

from rushes.domain.task import Failed, FailureType, Succeeded, TaskStatus, Verdict
from rushes.store.database import (
    Rows,
    for_update,
    is_postgresql,
    skip_locked,
    statement,
    unindexed,
    update_returning,
)

CANDIDATE_BATCHES_MAX = 256
"""Batches that one claim looks at, least recently served first."""


REMOTE_TEXT_CHARACTERS_MAX = 4000
"""How much of a provider's error message is stored. A URL is stored whole: cut, it leads nowhere."""


def storable(remote_text: str, *, whole: bool = False) -> str:
    """A provider's text without what a database refuses (NUL, lone surrogates), bounded unless `whole`."""
    kept = remote_text[: None if whole else REMOTE_TEXT_CHARACTERS_MAX]
    if kept.isascii() and kept.isprintable():
        return kept
    return kept.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class ClaimedTask:
    """A task whose intent to submit is committed, with all that the submission needs."""

    task_id: int
    batch_id: int
    attempt: int
    provider: str
    model: str
    api_model: str
    prompt: str
    options: dict[str, Any]
    dispatched_at_ms: int


@dataclass(frozen=True, slots=True)
class OwnedTask:
    """A task in flight as its owner needs to know it."""

    task_id: int
    batch_id: int
    attempt: int
    provider: str
    model: str
    remote_task_id: str | None
    progress: int
    dispatched_at_ms: int
    unconfirmed_at_ms: int | None
    host: str | None = None


class FinishedTask(NamedTuple):
    """A task that this transaction has just ended, and whose credits it must now resolve."""

    task_id: int
    batch_id: int
    account_id: int
    attempt: int
    credits: int
    status: TaskStatus
    was: TaskStatus
    retry_number: int = 0


@dataclass(frozen=True, slots=True)
class CandidateBatch:
    """A batch with pending tasks for a provider."""

    batch_id: int
    account_id: int
    pending_count: int


def owned_task_from_row(row: Row[Any]) -> OwnedTask:
    """From a row with the columns of `OwnedTask`, in its order."""
    return OwnedTask(*tuple(row))


_NAMES = Rows(name=str)

# --- dispatch -----------------------------------------------------------------------------------------


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


def dispatchable_batches(
    connection: Connection, provider: str, models: Sequence[str] | None = None
) -> list[CandidateBatch]:
    """Open batches with pending tasks for the provider (of these models), least recently served first."""
    of_models, names = _only(connection, models)
    rows = connection.execute(
        statement(
            "SELECT b.id, b.account_id, b.pending_count FROM batches b"
            " WHERE b.pending_count > 0 AND b.cancelled_at_ms IS NULL AND EXISTS ("
            "SELECT 1 FROM video_tasks t WHERE t.status = 'pending' AND t.provider = :provider"
            f" AND t.batch_id = b.id{of_models})"
            " ORDER BY b.last_dispatched_at_ms, b.id LIMIT :limit"
        ),
        {**names, "provider": provider, "limit": CANDIDATE_BATCHES_MAX},
    )
    return [CandidateBatch(*row) for row in rows]


def lock_and_count_in_flight(connection: Connection, provider: str, count_max: int) -> int:
    """The provider's tasks in flight, of all workers, counted up to `count_max`.

    Until the transaction ends, others who ask this for the same provider wait.
    """
    if is_postgresql(connection):
        connection.execute(
            statement("SELECT pg_advisory_xact_lock(hashtextextended('in flight at ' || :provider, 0))"),
            {"provider": provider},
        )
    return count_at(connection, TaskStatus.PROCESSING, provider, count_max)


def count_at(connection: Connection, status: TaskStatus, provider: str, count_max: int) -> int:
    """The provider's tasks of that status, counted up to `count_max`."""
    found = connection.scalar(
        statement(
            # written out: an index of the rows of one status serves no parameter
            f"SELECT count(*) FROM (SELECT 1 FROM video_tasks WHERE status = '{status.value}'"
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
            f"WITH picked AS MATERIALIZED (SELECT id FROM video_tasks WHERE status = 'pending'"
            f" AND provider = :provider AND batch_id = :batch_id{of_models} ORDER BY item_index"
            f" LIMIT :limit{skip_locked(connection)})"
            " UPDATE video_tasks SET status = 'processing', attempt = attempt + 1, worker_id = :worker_id,"
            " dispatched_at_ms = :now, unconfirmed_at_ms = NULL, remote_task_id = NULL, progress = 0,"
            " host = :host"
            f" WHERE id IN (SELECT id FROM picked) AND {unindexed(connection, 'status')} = 'pending'"
            " RETURNING id, batch_id, attempt, provider, model, api_model, prompt, options,"
            " dispatched_at_ms, item_index"
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
    return [
        ClaimedTask(
            row[0], row[1], row[2], row[3], row[4], row[5], row[6], msgspec.json.decode(row[7]), row[8]
        )
        for row in sorted(rows, key=lambda row: row.item_index)
    ]


# --- what became of a submission ----------------------------------------------------------------------

_GUARD = Rows(id=int, attempt=int)
_ACCEPTED = Rows(id=int, attempt=int, remote_task_id=str)
_PROGRESS = Rows(id=int, attempt=int, progress=int)
_FINISHED = Rows(
    id=int,
    attempt=int,
    status=str,
    progress=int,
    video_url=str,
    error=str,
    failure_type=str,
    provider_cost=float,
)


def _still_at_attempt(connection: Connection) -> str:
    status = unindexed(connection, "video_tasks.status")
    return f"video_tasks.id = v.id AND +video_tasks.attempt = v.attempt AND {status} = 'processing'"


def _still_owned(connection: Connection) -> str:
    worker = unindexed(connection, "video_tasks.worker_id")
    return f"{_still_at_attempt(connection)} AND {worker} = :worker_id"


def record_accepted_if_attempt(connection: Connection, rows: Sequence[tuple[int, int, str]]) -> list[int]:
    """Store the remote ids of `(task_id, attempt, remote_task_id)`; returns the tasks that took one.

    Guarded by the attempt only: the id is a fact about that attempt, whoever owns the task by now.
    """
    result = connection.execute(
        statement(
            "UPDATE video_tasks SET remote_task_id = v.remote_task_id, unconfirmed_at_ms = NULL"
            f" FROM {_ACCEPTED.sql(connection)} WHERE {_still_at_attempt(connection)}"
            " AND video_tasks.remote_task_id IS NULL RETURNING video_tasks.id"
        ),
        _ACCEPTED.parameters(connection, rows),
    )
    return [row[0] for row in result]


def mark_unconfirmed_if_owned(
    connection: Connection, rows: Sequence[tuple[int, int]], *, worker_id: str, now_ms: int
) -> None:
    """The outcome of these `(task_id, attempt)` submissions is unknown: hold them, never repeat blindly."""
    connection.execute(
        statement(
            f"UPDATE video_tasks SET unconfirmed_at_ms = :now FROM {_GUARD.sql(connection)}"
            f" WHERE {_still_owned(connection)} AND video_tasks.remote_task_id IS NULL"
        ),
        {**_GUARD.parameters(connection, rows), "worker_id": worker_id, "now": now_ms},
    )


def return_to_pending_if_owned(
    connection: Connection, rows: Sequence[tuple[int, int]], *, worker_id: str
) -> list[int]:
    """These attempts certainly never reached the provider's queue: their tasks may be claimed again.

    The attempt number is kept: a number that could come twice would let a commit that is run again after
    a lost connection touch the wrong attempt. Returns the batch of each task that went back.
    """
    result = connection.execute(
        statement(
            "UPDATE video_tasks SET status = 'pending', worker_id = NULL, dispatched_at_ms = NULL,"
            " unconfirmed_at_ms = NULL"
            f" FROM {_GUARD.sql(connection)} WHERE {_still_owned(connection)}"
            " AND video_tasks.remote_task_id IS NULL RETURNING video_tasks.batch_id"
        ),
        {**_GUARD.parameters(connection, rows), "worker_id": worker_id},
    )
    return [row[0] for row in result]


def resubmit_if_unnamed(
    connection: Connection,
    rows: Sequence[tuple[int, int]],
    *,
    worker_id: str,
    error: str,
    failure_type: FailureType,
    now_ms: int,
) -> list[tuple[int, int]]:
    """End these attempts without ending their tasks: the next claim makes a new attempt.

    An attempt whose remote id has become known meanwhile goes on instead. The ended attempt is kept in
    `task_attempts`. Returns `(task_id, batch_id)` of the tasks that went back.
    """
    parameters = {**_GUARD.parameters(connection, rows), "worker_id": worker_id}
    connection.execute(
        statement(
            "INSERT INTO task_attempts (task_id, attempt, provider, model, api_model, host, remote_task_id,"
            " dispatched_at_ms, ended_at_ms, error, failure_type)"
            " SELECT video_tasks.id, video_tasks.attempt, provider, model, api_model, host, remote_task_id,"
            " dispatched_at_ms, :now, :error, :failure_type"
            f" FROM video_tasks, {_GUARD.sql(connection)} WHERE {_still_owned(connection)}"
            " AND video_tasks.remote_task_id IS NULL"
        ),
        {**parameters, "now": now_ms, "error": error, "failure_type": failure_type.value},
    )
    result = connection.execute(
        statement(
            "UPDATE video_tasks SET status = 'pending', worker_id = NULL, dispatched_at_ms = NULL,"
            " unconfirmed_at_ms = NULL, progress = 0"
            f" FROM {_GUARD.sql(connection)} WHERE {_still_owned(connection)}"
            " AND video_tasks.remote_task_id IS NULL RETURNING video_tasks.id, video_tasks.batch_id"
        ),
        parameters,
    )
    return [(row[0], row[1]) for row in result]


# --- progress and verdicts ----------------------------------------------------------------------------


def record_progress_if_owned(
    connection: Connection, rows: Sequence[tuple[int, int, int]], *, worker_id: str
) -> None:
    """Store the progress of `(task_id, attempt, progress)`, for progress bars only."""
    connection.execute(
        statement(
            f"UPDATE video_tasks SET progress = v.progress FROM {_PROGRESS.sql(connection)}"
            f" WHERE {_still_owned(connection)}"
        ),
        {**_PROGRESS.parameters(connection, rows), "worker_id": worker_id},
    )


def finish_if_owned(
    connection: Connection,
    rows: Sequence[tuple[int, int, Verdict]],
    *,
    worker_id: str,
    now_ms: int,
) -> list[FinishedTask]:
    """Give `(task_id, attempt, verdict)` their final status; a stale owner or attempt changes nothing."""
    values: list[tuple[object, ...]] = []
    seen: set[tuple[int, int]] = set()
    for task_id, attempt, verdict in rows:
        if (task_id, attempt) in seen:
            continue  # the first verdict of an attempt stands
        seen.add((task_id, attempt))
        match verdict:
            case Succeeded(video_url=url, provider_cost=cost):
                values.append(
                    (task_id, attempt, "succeeded", 100, storable(url, whole=True), None, None, cost)
                )
            case Failed(error_message=error, failure_type=failure_type, provider_cost=cost):
                told = storable(error), failure_type.value
                values.append((task_id, attempt, "failed", None, None, *told, cost))
            case other:
                assert_never(other)
    ended = update_returning(
        connection,
        "video_tasks",
        "status = v.status, progress = COALESCE(v.progress, video_tasks.progress), video_url = v.video_url,"
        " error = v.error, failure_type = v.failure_type, provider_cost = v.provider_cost,"
        " unconfirmed_at_ms = NULL, completed_at_ms = :now",
        source=_FINISHED.sql(connection),
        where=_still_owned(connection),
        columns=(
            "video_tasks.id, batch_id, account_id, video_tasks.attempt, credits, v.status, retry_number"
        ),
        parameters={**_FINISHED.parameters(connection, values), "worker_id": worker_id, "now": now_ms},
    )
    return [_finished(row, TaskStatus.PROCESSING) for row in ended]


def give_up_if_unnamed(
    connection: Connection,
    rows: Sequence[tuple[int, int]],
    *,
    worker_id: str,
    error: str,
    failure_type: FailureType,
    now_ms: int,
) -> list[FinishedTask]:
    """Fail tasks whose attempts `(task_id, attempt)` were never confirmed.

    One whose remote id has become known meanwhile goes on: its video is being made, and paid for.
    """
    result = connection.execute(
        statement(
            "UPDATE video_tasks SET status = 'failed', error = :error, failure_type = :failure_type,"
            f" unconfirmed_at_ms = NULL, completed_at_ms = :now FROM {_GUARD.sql(connection)}"
            f" WHERE {_still_owned(connection)} AND video_tasks.remote_task_id IS NULL"
            " RETURNING video_tasks.id, video_tasks.batch_id, video_tasks.account_id, video_tasks.attempt,"
            " video_tasks.credits, video_tasks.status, video_tasks.retry_number"
        ),
        {
            **_GUARD.parameters(connection, rows),
            "worker_id": worker_id,
            "error": error,
            "failure_type": failure_type.value,
            "now": now_ms,
        },
    )
    return [_finished(row, TaskStatus.PROCESSING) for row in result]


def fail_if_pending(
    connection: Connection,
    batch_id: int,
    *,
    error: str,
    failure_type: FailureType,
    limit: int,
    now_ms: int,
    made_before_ms: int = 2**62,
) -> list[FinishedTask]:
    """Fail up to `limit` tasks of the batch that no worker has claimed, and that are older than that time."""
    result = connection.execute(
        statement(
            "WITH picked AS MATERIALIZED (SELECT id FROM video_tasks WHERE status = 'pending'"
            " AND batch_id = :batch_id AND created_at_ms < :made_before"
            f" ORDER BY id LIMIT :limit{for_update(connection)})"
            " UPDATE video_tasks SET status = 'failed', error = :error, failure_type = :failure_type,"
            " completed_at_ms = :now WHERE id IN (SELECT id FROM picked)"
            f" AND {unindexed(connection, 'status')} = 'pending'"
            " RETURNING id, batch_id, account_id, attempt, credits, status, retry_number"
        ),
        {
            "error": error,
            "failure_type": failure_type.value,
            "now": now_ms,
            "batch_id": batch_id,
            "made_before": made_before_ms,
            "limit": limit,
        },
    )
    return [_finished(row, TaskStatus.PENDING) for row in result.all()]


def fail_if_unfollowed(
    connection: Connection,
    *,
    served: Collection[str],
    sent_before_ms: int,
    error: str,
    failure_type: FailureType,
    limit: int,
    now_ms: int,
) -> list[FinishedTask]:
    """Fail up to `limit` tasks of dead workers, sent before that time to providers that nobody serves."""
    result = connection.execute(
        statement(
            "WITH picked AS MATERIALIZED (SELECT t.id FROM video_tasks t WHERE t.status = 'processing'"
            " AND t.worker_id IN (SELECT id FROM workers WHERE lease_expires_at_ms <= :now)"
            f" AND t.provider NOT IN (SELECT v.name FROM {_NAMES.sql(connection)})"
            f" AND t.dispatched_at_ms < :sent_before LIMIT :limit{skip_locked(connection)})"
            " UPDATE video_tasks SET status = 'failed', error = :error, failure_type = :failure_type,"
            " unconfirmed_at_ms = NULL, completed_at_ms = :now WHERE id IN (SELECT id FROM picked)"
            f" AND {unindexed(connection, 'status')} = 'processing'"
            " RETURNING id, batch_id, account_id, attempt, credits, status, retry_number"
        ),
        {
            **_NAMES.parameters(connection, [(name,) for name in sorted(served)]),
            "sent_before": sent_before_ms,
            "error": error,
            "failure_type": failure_type.value,
            "limit": limit,
            "now": now_ms,
        },
    )
    return [_finished(row, TaskStatus.PROCESSING) for row in result.all()]


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


def _finished(row: Sequence[Any], was: TaskStatus) -> FinishedTask:
    task_id, batch_id, account_id, attempt, price, status, retry_number = row
    return FinishedTask(task_id, batch_id, account_id, attempt, price, _STATUSES[status], was, retry_number)


_STATUSES = {status.value: status for status in TaskStatus}


def hand_over_if_owned(
    connection: Connection, rows: Sequence[tuple[int, int]], *, worker_id: str, to_worker_id: str
) -> list[int]:
    """Make these `(task_id, attempt)` another worker's; returns those that were.

    An attempt without a remote id stays: only the worker that sent it can learn what became of it.
    """
    result = connection.execute(
        statement(
            f"UPDATE video_tasks SET worker_id = :to_worker_id FROM {_GUARD.sql(connection)}"
            f" WHERE {_still_owned(connection)} AND video_tasks.remote_task_id IS NOT NULL"
            " RETURNING video_tasks.id"
        ),
        {**_GUARD.parameters(connection, rows), "worker_id": worker_id, "to_worker_id": to_worker_id},
    )
    return [row[0] for row in result.all()]


# --- for owners that must look again ------------------------------------------------------------------


def remote_ids_if_owned(
    connection: Connection, rows: Sequence[tuple[int, int]], *, worker_id: str
) -> dict[int, str | None]:
    """The remote ids, as far as they are known, of those `(task_id, attempt)` that are still in flight."""
    result = connection.execute(
        statement(
            f"SELECT video_tasks.id, video_tasks.remote_task_id FROM video_tasks, {_GUARD.sql(connection)}"
            f" WHERE {_still_owned(connection)}"
        ),
        {**_GUARD.parameters(connection, rows), "worker_id": worker_id},
    )
    return {row[0]: row[1] for row in result}
