"""Final statuses: each of these ends tasks, once, and returns those whose credits are now to be resolved."""

import math
from collections.abc import Collection, Sequence
from typing import Any, Final, assert_never

from sqlalchemy import Connection

from rushes.domain.catalogue.price import exact, micros_of
from rushes.domain.task import Failed, FailureType, OutputFile, Succeeded, TaskStatus, Verdict
from rushes.store.database import (
    Rows,
    for_update,
    lease_time,
    skip_locked,
    statement,
    unindexed,
    update_returning,
)
from rushes.store.tasks import guards
from rushes.store.tasks.rows import FinishedTask, storable

REPORTED_COST_MAX = 1e9
"""What a provider may report for one video, in any unit; more is kept, but not converted."""


FINISHED_COLUMNS: Final = "id, batch_id, account_id, attempt, credits, status, provider, retry_number"
"""Of `video_tasks`, as `_finished` reads them."""

_NAMES = Rows(name=str)
_IDS = Rows(id=int)


_FINISHED = Rows(
    id=int,
    attempt=int,
    status=str,
    progress=int,
    video_url=str,
    error=str,
    failure_type=str,
    provider_cost=float,
    provider_cost_unit=str,
    reported_micros=int,
)


_FURTHER = Rows(task_id=int, position=int, kind=str, url=str)


# What was reported, in the money of the expected cost: reported money as it is, units at their price.
# A figure so large that the product would not fit is left as it was reported.
_ACTUAL_COST = (
    "CASE WHEN v.reported_micros = 0 OR (v.provider_cost_unit = cost_unit AND cost_unit_nanos = 0) THEN 0"
    " WHEN v.provider_cost_unit = cost_currency THEN v.reported_micros"
    " WHEN v.provider_cost_unit = cost_unit AND v.reported_micros < 9000000000000000000 / cost_unit_nanos"
    " THEN (v.reported_micros * cost_unit_nanos + 500000000) / 1000000000 END"
)


_STATUSES = {status.value: status for status in TaskStatus}


def finish_if_owned(
    connection: Connection,
    rows: Sequence[tuple[int, int, Verdict]],
    *,
    worker_id: str,
    now_ms: int,
) -> list[FinishedTask]:
    """Give `(task_id, attempt, verdict)` their final status; a stale owner or attempt changes nothing.

    Nor does the verdict of a poll under an id that turned out to be another's: the attempt is unconfirmed.
    """
    return _finish(
        connection,
        rows,
        where=f"{guards.still_owned(connection)} AND video_tasks.unconfirmed_at_ms IS NULL",
        now_ms=now_ms,
        worker_id=worker_id,
    )


def refuse_if_unnamed(
    connection: Connection, rows: Sequence[tuple[int, int, Failed]], *, now_ms: int
) -> list[FinishedTask]:
    """Fail `(task_id, attempt, refusal)` that their provider read and did not take.

    Guarded by the attempt only: the refusal is a fact about that attempt, whoever owns the task by now.
    """
    return _finish(
        connection,
        rows,
        where=f"{guards.still_at_attempt(connection)} AND video_tasks.remote_task_id IS NULL",
        now_ms=now_ms,
    )


def finish_if_named(
    connection: Connection, row: tuple[int, int, Verdict], remote_task_id: str, *, now_ms: int
) -> list[FinishedTask]:
    """Give the attempt `(task_id, attempt, verdict)` its final status while it goes by that remote id."""
    return _finish(
        connection,
        [row],
        where=f"{guards.still_at_attempt(connection)} AND video_tasks.remote_task_id = :remote_task_id",
        now_ms=now_ms,
        remote_task_id=remote_task_id,
    )


def _finish(
    connection: Connection,
    rows: Sequence[tuple[int, int, Verdict]],
    *,
    where: str,
    now_ms: int,
    **more: str,
) -> list[FinishedTask]:
    values: list[tuple[object, ...]] = []
    seen: set[tuple[int, int]] = set()
    files: dict[tuple[int, int], tuple[OutputFile, ...]] = {}
    for task_id, attempt, verdict in rows:
        if (task_id, attempt) in seen:
            continue  # the first verdict of an attempt stands
        seen.add((task_id, attempt))
        match verdict:
            case Succeeded(video_url=url, further_files=further):
                files |= {(task_id, attempt): further} if further else {}
                end: tuple[object, ...] = ("succeeded", 100, storable(url, whole=True), None, None)
            case Failed(error_message=error, failure_type=failure_type):
                end = ("failed", None, None, storable(error), failure_type.value)
            case other:
                assert_never(other)
        values.append((task_id, attempt, *end, *_reported(verdict)))
    ended = update_returning(
        connection,
        "video_tasks",
        "status = v.status, progress = COALESCE(v.progress, video_tasks.progress), video_url = v.video_url,"
        " error = v.error, failure_type = v.failure_type, provider_cost = v.provider_cost,"
        f" provider_cost_unit = v.provider_cost_unit, actual_cost_micros = {_ACTUAL_COST},"
        " unconfirmed_at_ms = NULL, completed_at_ms = :now",
        source=_FINISHED.sql(connection),
        where=where,
        columns=(
            "video_tasks.id, batch_id, account_id, video_tasks.attempt, credits, v.status, provider,"
            " retry_number"
        ),
        parameters={**_FINISHED.parameters(connection, values), "now": now_ms, **more},
    )
    if files:
        _add_further(connection, [(row[0], files.get((row[0], row[3]), ())) for row in ended], now_ms=now_ms)
    return [_finished(row, TaskStatus.PROCESSING) for row in ended]


def _add_further(
    connection: Connection, files: Sequence[tuple[int, Sequence[OutputFile]]], *, now_ms: int
) -> None:
    """Files that came besides the videos of these tasks are to be fetched, see `outputs.further`."""
    rows = [
        (task_id, position, file.kind.value, storable(file.url, whole=True))
        for task_id, its in files
        for position, file in enumerate(its, 1)
    ]
    connection.execute(
        statement(
            "INSERT INTO further_files (task_id, position, kind, url, state, next_attempt_at_ms,"
            " created_at_ms) SELECT v.task_id, v.position, v.kind, v.url, 'due', CAST(:now AS bigint),"
            f" CAST(:now AS bigint) FROM {_FURTHER.sql(connection)}"
        ),
        {**_FURTHER.parameters(connection, rows), "now": now_ms},
    )


def _reported(verdict: Verdict) -> tuple[float | None, str | None, int | None]:
    """What the provider said that it charged: the number, its unit, and whole millionths of that unit."""
    cost, unit = verdict.provider_cost, verdict.provider_cost_unit
    if cost is None or unit is None or not math.isfinite(cost) or not 0 <= cost < REPORTED_COST_MAX:
        return cost, None if unit is None else storable(unit), None
    return cost, storable(unit), micros_of(exact(cost))


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
            f" unconfirmed_at_ms = NULL, completed_at_ms = :now FROM {guards.ATTEMPTS.sql(connection)}"
            f" WHERE {guards.still_owned(connection)} AND video_tasks.remote_task_id IS NULL"
            " RETURNING video_tasks.id, video_tasks.batch_id, video_tasks.account_id, video_tasks.attempt,"
            " video_tasks.credits, video_tasks.status, video_tasks.provider, video_tasks.retry_number"
        ),
        {
            **guards.ATTEMPTS.parameters(connection, rows),
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
    item_index: int | None = None,
) -> list[FinishedTask]:
    """Fail up to `limit` tasks of the batch that no worker has claimed, and that are older than that time.

    With `item_index` only that item's.
    """
    of_item = "" if item_index is None else " AND item_index = :item_index"
    result = connection.execute(
        statement(
            "WITH picked AS MATERIALIZED (SELECT id FROM video_tasks WHERE status = 'pending'"
            f" AND batch_id = :batch_id AND created_at_ms < :made_before{of_item}"
            f" ORDER BY id LIMIT :limit{for_update(connection)})"
            " UPDATE video_tasks SET status = 'failed', error = :error, failure_type = :failure_type,"
            " completed_at_ms = :now WHERE id IN (SELECT id FROM picked)"
            f" AND {unindexed(connection, 'status')} = 'pending'"
            f" RETURNING {FINISHED_COLUMNS}"
        ),
        {
            "error": error,
            "failure_type": failure_type.value,
            "now": now_ms,
            "batch_id": batch_id,
            "made_before": made_before_ms,
            "limit": limit,
            **({} if item_index is None else {"item_index": item_index}),
        },
    )
    return [_finished(row, TaskStatus.PENDING) for row in result.all()]


def fail_if_waiting_for_frame(
    connection: Connection,
    task_ids: Sequence[int],
    *,
    error: str,
    failure_type: FailureType,
    now_ms: int,
) -> list[FinishedTask]:
    """Fail those of these tasks that still wait for another item's last frame."""
    result = connection.execute(
        statement(
            "UPDATE video_tasks SET status = 'failed', error = :error, failure_type = :failure_type,"
            f" completed_at_ms = :now WHERE id IN (SELECT v.id FROM {_IDS.sql(connection)})"
            f" AND {unindexed(connection, 'status')} = 'pending' AND +waits_for_frame = 1"
            f" RETURNING {FINISHED_COLUMNS}"
        ),
        {
            **_IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
            "error": storable(error),
            "failure_type": failure_type.value,
            "now": now_ms,
        },
    )
    return [_finished(row, TaskStatus.PENDING) for row in result.all()]


def fail_if_past_deadline(
    connection: Connection, *, error: str, failure_type: FailureType, limit: int, now_ms: int
) -> list[FinishedTask]:
    """Fail up to `limit` tasks that no worker has claimed, and whose deadline has passed."""
    result = connection.execute(
        statement(
            "WITH picked AS MATERIALIZED (SELECT id FROM video_tasks WHERE status = 'pending'"
            " AND deadline_at_ms IS NOT NULL AND deadline_at_ms <= :now"
            f" ORDER BY deadline_at_ms LIMIT :limit{skip_locked(connection)})"
            " UPDATE video_tasks SET status = 'failed', error = :error, failure_type = :failure_type,"
            " completed_at_ms = :now WHERE id IN (SELECT id FROM picked)"
            f" AND {unindexed(connection, 'status')} = 'pending'"
            f" RETURNING {FINISHED_COLUMNS}"
        ),
        {"error": error, "failure_type": failure_type.value, "now": now_ms, "limit": limit},
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
            " AND t.worker_id IN (SELECT id FROM workers"
            f" WHERE lease_expires_at_ms <= {lease_time(connection)})"
            f" AND t.provider NOT IN (SELECT v.name FROM {_NAMES.sql(connection)})"
            f" AND t.dispatched_at_ms < :sent_before LIMIT :limit{skip_locked(connection)})"
            " UPDATE video_tasks SET status = 'failed', error = :error, failure_type = :failure_type,"
            " unconfirmed_at_ms = NULL, completed_at_ms = :now WHERE id IN (SELECT id FROM picked)"
            f" AND {unindexed(connection, 'status')} = 'processing'"
            f" RETURNING {FINISHED_COLUMNS}"
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


def _finished(row: Sequence[Any], was: TaskStatus) -> FinishedTask:
    task_id, batch_id, account_id, attempt, price, status, provider, retry_number = row
    return FinishedTask(
        task_id, batch_id, account_id, attempt, price, _STATUSES[status], was, provider, retry_number
    )
