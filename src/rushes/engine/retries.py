"""Re-rolls that a batch asked for: a failed item waits again in the very transaction that failed it.

So the batch is not closed in between, and nobody sees it end and come back. Each try is a task of its own
with its own reservation; the failed one stays failed for ever, settled in the ledger like any other. The
cap and the stop-loss are decided from counters under the lock of the batch's row: workers that settle at
the same time wait for each other, so no two of them can spend the same credits of the cap.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Row

from rushes.domain.retries import RetryPolicy
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, TaskStatus
from rushes.engine.accept import Retry, retry_items
from rushes.store import retries
from rushes.store.database import Rows, statement
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
            "SELECT t.id, t.batch_id, t.retry_number, t.credits, t.failure_type, t.error"
            f" FROM video_tasks t JOIN batches b ON b.id = t.batch_id, {_IDS.sql(connection)}"
            " WHERE t.id = v.id AND b.cancelled_at_ms IS NULL ORDER BY t.batch_id, t.item_index"
        ),
        _IDS.parameters(connection, [(task.task_id,) for task in failed if task.batch_id in going_on]),
    ).all()
    count = 0
    for batch_id, its_rows in groupby(rows, key=attrgetter("batch_id")):
        rerolls = going_on[batch_id]
        asked = [_next_try(row, rerolls.policy) for row in its_rows if _asks(row, rerolls.policy)]
        # what there are too few credits for stays failed
        tried, _refusal = retry_items(connection, batch_id, asked, now_ms=now_ms, cap=rerolls)
        count += len(tried)
    return count


def _asks(failed: Row[Any], policy: RetryPolicy) -> bool:
    """Whether the policy wants this failure tried again, cap and credits permitting."""
    return (
        failed.retry_number < policy.max
        and failed.failure_type in policy.reasons
        and failed.error != SUBMIT_OUTCOME_UNKNOWN
    )


def _next_try(failed: Row[Any], policy: RetryPolicy) -> Retry:
    is_last = failed.retry_number + 1 == policy.max
    return Retry(failed.id, failed.credits, policy.last_model if is_last else None)
