"""Retries that a batch asked for: a failed item waits again in the very transaction that failed it.

So the batch is not closed in between, and nobody sees it end and come back. Each try is a task of its own
with its own reservation; the failed one stays failed for ever, settled in the ledger like any other.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from rushes.domain.errors import InsufficientCredits
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, FailureType, TaskStatus
from rushes.engine.accept import retry_item
from rushes.store import retries
from rushes.store.database import Rows, statement
from rushes.store.tasks import FinishedTask

NOT_RETRIED: Final = frozenset({FailureType.INPUT_MODERATION, FailureType.PARAM_ERROR, FailureType.CANCELLED})
"""Failures that the same prompt would meet again, or that somebody wanted."""

_IDS = Rows(id=int)


def retry_failed(connection: Connection, finished: Sequence[FinishedTask], now_ms: int) -> int:
    """Try again what has just failed, where its batch asked for it; returns how many items wait again.

    Not retried: what `NOT_RETRIED` names, a submit of unknown outcome (it may have been bought), an item
    of a cancelled batch, and one for which the credits do not suffice. To be called after the failures
    are resolved and before their batches are closed.
    """
    failed = [task for task in finished if task.status is TaskStatus.FAILED]
    if not failed:
        return 0
    wanted = retries.asked_for(connection, {task.batch_id for task in failed})
    if not wanted:
        return 0
    rows = connection.execute(
        statement(
            "SELECT t.batch_id, t.item_index, t.retry_number, t.failure_type, t.error FROM video_tasks t"
            f" JOIN batches b ON b.id = t.batch_id, {_IDS.sql(connection)}"
            " WHERE t.id = v.id AND b.cancelled_at_ms IS NULL ORDER BY t.batch_id, t.item_index"
        ),
        _IDS.parameters(connection, [(task.task_id,) for task in failed if task.batch_id in wanted]),
    ).all()
    retried = 0
    for row in rows:
        if row.retry_number >= wanted[row.batch_id]:
            continue
        if row.failure_type in NOT_RETRIED or row.error == SUBMIT_OUTCOME_UNKNOWN:
            continue
        try:
            with connection.begin_nested():
                retry_item(connection, row.batch_id, row.item_index, now_ms=now_ms)
        except InsufficientCredits:
            continue  # the failure stands
        retried += 1
    return retried
