"""Each try of an item, and what a batch's re-rolls have come to: reads, for every front end.

A try is a row of `video_tasks`: the first, and one more for every re-roll or retry by hand. Within a try an
attempt is given up when nobody knows whether its submit arrived and the operator's policy is to send it
again; those stand in `task_attempts`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from rushes.domain.errors import NotFound
from rushes.domain.notation import iso_time
from rushes.read.acceptance.repairs import repairs_of_batch
from rushes.read.scope import Scope
from rushes.read.views import ended_submit, item_id, trouble_view, verdict_view
from rushes.store import batches
from rushes.store.tables import schema
from rushes.store.tasks import retries

RESUBMITTED = "resubmitted"
"""The status of an attempt that ended without ending its try."""


def item_attempts(
    connection: Connection,
    scope: Scope,
    public_id: str,
    item_index: int,
) -> dict[str, Any]:
    """Every attempt of an item, oldest first, as the API answers it. Raises `NotFound`."""
    batch_id = scope.batch_id(connection, public_id)
    found = attempts_of_items(connection, batch_id, [item_index], to_operator=scope.is_operator)
    if not found:
        raise NotFound(f"the batch has no item {item_index}")
    return {"batch_id": public_id, "item_id": item_id(public_id, item_index), "attempts": found}


def attempts_of_items(
    connection: Connection, batch_id: int, indexes: Sequence[int], *, to_operator: bool = False
) -> list[dict[str, Any]]:
    """Every attempt of these items, in the items' order, oldest first; each with its item's `index`."""
    t, a = schema.video_tasks, schema.task_attempts
    rows = connection.execute(
        select(t)
        .where(t.c.batch_id == batch_id, t.c.item_index.in_(sorted(set(indexes))))
        .order_by(t.c.item_index, t.c.retry_number)
    )
    tries = batches.without_deleted(connection, rows.mappings())
    given_up: dict[int, list[Mapping[Any, Any]]] = {}
    for attempt in connection.execute(
        select(a).where(a.c.task_id.in_([row["id"] for row in tries])).order_by(a.c.task_id, a.c.attempt)
    ).mappings():
        given_up.setdefault(attempt["task_id"], []).append(attempt)
    found: list[dict[str, Any]] = []
    for row in tries:
        found += [_given_up(row, each, to_operator) for each in given_up.get(row["id"], ())]
        found.append(_last_of_try(row, to_operator))
    return found


def _last_of_try(row: Mapping[Any, Any], to_operator: bool) -> dict[str, Any]:
    return {
        "index": row["item_index"],
        "try": row["retry_number"] + 1,
        "attempt": row["attempt"],
        "status": row["status"],
        "model": row["model"],
        "provider": row["provider"],
        "api_model": row["api_model"],
        "remote_task_id": row["remote_task_id"],
        "credits": row["credits"],
        "error": row["error"],
        "failure_type": row["failure_type"],
        **trouble_view(row, to_operator=to_operator),
        "video_url": row["video_url"],
        **verdict_view(row),
        "created_at": iso_time(row["created_at_ms"]),
        "dispatched_at": iso_time(row["dispatched_at_ms"]),
        "completed_at": iso_time(row["completed_at_ms"]),
    }


def _given_up(row: Mapping[Any, Any], attempt: Mapping[Any, Any], to_operator: bool) -> dict[str, Any]:
    last_submit = None
    if attempt["trouble_reason"] is not None:
        last_submit = ended_submit(attempt["trouble_reason"], attempt["ended_at_ms"], to_operator)
    return _last_of_try(row, to_operator) | {
        "attempt": attempt["attempt"],
        "status": RESUBMITTED,
        "model": attempt["model"],
        "provider": attempt["provider"],
        "api_model": attempt["api_model"],
        "remote_task_id": attempt["remote_task_id"],
        "credits": 0,  # the try's credits stay held for the attempt that follows
        "error": attempt["error"],
        "failure_type": attempt["failure_type"],
        "last_submit": last_submit,
        "last_poll": None,
        "video_url": None,
        **dict.fromkeys(verdict_view(row)),
        "dispatched_at": iso_time(attempt["dispatched_at_ms"]),
        "completed_at": iso_time(attempt["ended_at_ms"]),
    }


def batch_rerolls(connection: Connection, scope: Scope, public_id: str) -> dict[str, Any]:
    """A batch's policy and what its tries have come to, as the API answers it. Raises `NotFound`.

    `policy` is None for a batch that asked for no re-rolls; its tries are counted all the same, those of
    retries by hand included.
    """
    batch_id = scope.batch_id(connection, public_id)
    row = batches.batch_row(connection, batch_id)
    rerolls = retries.of_batch(connection, batch_id)
    count, used = (
        retries.counted(connection, batch_id)
        if rerolls is None
        else (rerolls.rerolls_count, rerolls.credits_used)
    )
    passed = row["succeeded_count"]
    ended = passed + row["failed_count"] + count
    # a re-roll that has not ended is counted among those made, and its item is open: it took the place of
    # a try that had failed, so `ended` is right as it is
    return {
        "batch_id": public_id,
        "policy": None if rerolls is None else rerolls.policy.as_dict(),
        "rerolls_count": count,
        "credits_used": used,
        "stopped_at": None if rerolls is None else iso_time(rerolls.stopped_at_ms),
        "tries_ended": ended,
        "tries_passed": passed,
        "pass_rate": round(passed / ended, 6) if ended else None,
        "repairs": repairs_of_batch(connection, scope, public_id),
    }
