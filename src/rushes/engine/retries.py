"""Re-rolls that a batch asked for: a failed item waits again in the very transaction that failed it.

So the batch is not closed in between, and nobody sees it end and come back. Each try is a task of its own
with its own reservation; the failed one stays failed for ever, settled in the ledger like any other. The
cap and the stop-loss are decided from counters under the lock of the batch's row: workers that settle at
the same time wait for each other, so no two of them can spend the same credits of the cap.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from rushes.domain.errors import InsufficientCredits
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, TaskStatus
from rushes.engine.accept import retry_item
from rushes.store import retries
from rushes.store.database import Rows, statement
from rushes.store.retries import Rerolls
from rushes.store.tasks import FinishedTask

_IDS = Rows(id=int)


def retry_failed(connection: Connection, finished: Sequence[FinishedTask], now_ms: int) -> int:
    """Try again what has just failed, where its batch's policy says so; returns how many items wait again.

    Never retried: a submit of unknown outcome (it may have been bought), an item of a cancelled batch, and
    one for which the account's credits do not suffice. To be called after the failures are resolved and
    before their batches are closed.
    """
    failed = [task for task in finished if task.status is TaskStatus.FAILED]
    if not failed:
        return 0
    wanted = retries.asked_for(connection, {task.batch_id for task in failed})
    for batch_id, rerolls in wanted.items():
        if rerolls.is_lossy and rerolls.stopped_at_ms is None:
            retries.stop(connection, batch_id, now_ms)
            rerolls.stopped_at_ms = now_ms
    going_on = {batch_id: rerolls for batch_id, rerolls in wanted.items() if rerolls.stopped_at_ms is None}
    if not going_on:
        return 0
    rows = connection.execute(
        statement(
            "SELECT t.batch_id, t.item_index, t.retry_number, t.credits, t.failure_type, t.error"
            f" FROM video_tasks t JOIN batches b ON b.id = t.batch_id, {_IDS.sql(connection)}"
            " WHERE t.id = v.id AND b.cancelled_at_ms IS NULL ORDER BY t.batch_id, t.item_index"
        ),
        _IDS.parameters(connection, [(task.task_id,) for task in failed if task.batch_id in going_on]),
    ).all()
    return sum(_reroll(connection, row, going_on[row.batch_id], now_ms) for row in rows)


def _reroll(connection: Connection, failed: Row[Any], rerolls: Rerolls, now_ms: int) -> bool:
    """Make this failed item wait again, if its batch's policy, cap and account allow it."""
    policy = rerolls.policy
    if failed.retry_number >= policy.max or failed.failure_type not in policy.reasons:
        return False
    if failed.error == SUBMIT_OUTCOME_UNKNOWN:
        return False
    model = policy.last_model if failed.retry_number + 1 == policy.max else None
    price: int = failed.credits if model is None else model.credits
    if not rerolls.may_spend(price):
        return False
    try:
        with connection.begin_nested():
            retry_item(connection, failed.batch_id, failed.item_index, now_ms=now_ms, model=model)
    except InsufficientCredits:
        return False  # the failure stands
    rerolls.credits_used += price
    return True
