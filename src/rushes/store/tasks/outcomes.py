"""How a submit turned out, and whose the attempt is from then on."""

from collections.abc import Sequence

from sqlalchemy import Connection

from rushes.domain.task import FailureType
from rushes.store.database import Rows, statement, update_returning
from rushes.store.tasks import guards
from rushes.store.tasks.remote_ids import NamedAttempt

_ACCEPTED = Rows(id=int, attempt=int, remote_task_id=str)


def record_accepted_if_attempt(
    connection: Connection, rows: Sequence[tuple[int, int, str]]
) -> list[NamedAttempt]:
    """Store the remote ids of `(task_id, attempt, remote_task_id)`; returns the attempts that took one.

    Guarded by the attempt only: the id is a fact about that attempt, whoever owns the task by now. Whether it
    is another's is for `remote_ids.take_if_free` to say.
    """
    first: dict[tuple[int, int], str] = {}
    for task_id, attempt, remote_task_id in rows:
        first.setdefault((task_id, attempt), remote_task_id)
    named = update_returning(
        connection,
        "video_tasks",
        f"remote_task_id = v.remote_task_id, unconfirmed_at_ms = NULL, {guards.NO_TROUBLE}",
        source=_ACCEPTED.sql(connection),
        where=f"{guards.still_at_attempt(connection)} AND video_tasks.remote_task_id IS NULL",
        columns="video_tasks.id, video_tasks.attempt, provider, host, v.remote_task_id",
        parameters=_ACCEPTED.parameters(connection, [(*key, remote) for key, remote in first.items()]),
    )
    return [NamedAttempt(*row) for row in named]


def mark_unconfirmed_if_owned(
    connection: Connection, rows: Sequence[tuple[int, int]], *, worker_id: str, now_ms: int
) -> None:
    """The outcome of these `(task_id, attempt)` submissions is unknown: hold them, never repeat blindly."""
    connection.execute(
        statement(
            f"UPDATE video_tasks SET unconfirmed_at_ms = :now FROM {guards.ATTEMPTS.sql(connection)}"
            f" WHERE {guards.still_owned(connection)} AND video_tasks.remote_task_id IS NULL"
        ),
        {**guards.ATTEMPTS.parameters(connection, rows), "worker_id": worker_id, "now": now_ms},
    )


def return_to_pending_if_unnamed(connection: Connection, rows: Sequence[tuple[int, int]]) -> list[int]:
    """These attempts certainly never reached the provider's queue: their tasks may be claimed again.

    Guarded by the attempt only, which is certain of it, whoever owns the task by now. The attempt number is
    kept: a number that could come twice would let a commit that is run again after a lost connection touch
    the wrong attempt. Returns the batch of each task that went back.
    """
    result = connection.execute(
        statement(
            "UPDATE video_tasks SET status = 'pending', worker_id = NULL, dispatched_at_ms = NULL,"
            " unconfirmed_at_ms = NULL"
            f" FROM {guards.ATTEMPTS.sql(connection)} WHERE {guards.still_at_attempt(connection)}"
            " AND video_tasks.remote_task_id IS NULL RETURNING video_tasks.batch_id"
        ),
        guards.ATTEMPTS.parameters(connection, rows),
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
    parameters = {**guards.ATTEMPTS.parameters(connection, rows), "worker_id": worker_id}
    connection.execute(
        statement(
            "INSERT INTO task_attempts (task_id, attempt, provider, model, api_model, host, remote_task_id,"
            " dispatched_at_ms, ended_at_ms, error, failure_type, trouble_reason)"
            " SELECT video_tasks.id, video_tasks.attempt, provider, model, api_model, host, remote_task_id,"
            " dispatched_at_ms, :now, :error, :failure_type, trouble_reason"
            f" FROM video_tasks, {guards.ATTEMPTS.sql(connection)} WHERE {guards.still_owned(connection)}"
            " AND video_tasks.remote_task_id IS NULL"
        ),
        {**parameters, "now": now_ms, "error": error, "failure_type": failure_type.value},
    )
    result = connection.execute(
        statement(
            "UPDATE video_tasks SET status = 'pending', worker_id = NULL, dispatched_at_ms = NULL,"
            " unconfirmed_at_ms = NULL, progress = 0"
            f" FROM {guards.ATTEMPTS.sql(connection)} WHERE {guards.still_owned(connection)}"
            " AND video_tasks.remote_task_id IS NULL RETURNING video_tasks.id, video_tasks.batch_id"
        ),
        parameters,
    )
    return [(row[0], row[1]) for row in result]


def move_remote_task(
    connection: Connection, failed: NamedAttempt, *, to_task_id: int, worker_id: str, now_ms: int
) -> None:
    """Put a pending task at the provider, as its first attempt, under the id of its item's failed one.

    The failed one, if it had the id, is without it from now on: no two attempts carry one.
    """
    connection.execute(
        statement(
            "UPDATE video_tasks SET remote_task_id = NULL WHERE id = :id AND attempt = :attempt"
            " AND remote_task_id = :remote_task_id"
        ),
        {"id": failed.task_id, "attempt": failed.attempt, "remote_task_id": failed.remote_task_id},
    )
    connection.execute(
        statement(
            "UPDATE video_tasks SET status = 'processing', attempt = 1, worker_id = :worker_id,"
            " provider = :provider, host = :host, remote_task_id = :remote_task_id, dispatched_at_ms = :now"
            " WHERE id = :id AND status = 'pending'"
        ),
        {
            "worker_id": worker_id,
            "provider": failed.provider,
            "host": failed.host,
            "remote_task_id": failed.remote_task_id,
            "now": now_ms,
            "id": to_task_id,
        },
    )


def hand_over_if_owned(
    connection: Connection, rows: Sequence[tuple[int, int]], *, worker_id: str, to_worker_id: str
) -> list[int]:
    """Make these `(task_id, attempt)` another worker's; returns those that were.

    An attempt without a remote id stays: only the worker that sent it can learn its outcome.
    """
    result = connection.execute(
        statement(
            f"UPDATE video_tasks SET worker_id = :to_worker_id FROM {guards.ATTEMPTS.sql(connection)}"
            f" WHERE {guards.still_owned(connection)} AND video_tasks.remote_task_id IS NOT NULL"
            " RETURNING video_tasks.id"
        ),
        {
            **guards.ATTEMPTS.parameters(connection, rows),
            "worker_id": worker_id,
            "to_worker_id": to_worker_id,
        },
    )
    return [row[0] for row in result.all()]


def remote_ids_if_owned(
    connection: Connection, rows: Sequence[tuple[int, int]], *, worker_id: str
) -> dict[int, str | None]:
    """The remote ids, as far as they are known, of those `(task_id, attempt)` that are still in flight."""
    result = connection.execute(
        statement(
            "SELECT video_tasks.id, video_tasks.remote_task_id"
            f" FROM video_tasks, {guards.ATTEMPTS.sql(connection)}"
            f" WHERE {guards.still_owned(connection)}"
        ),
        {**guards.ATTEMPTS.parameters(connection, rows), "worker_id": worker_id},
    )
    return {row[0]: row[1] for row in result}
