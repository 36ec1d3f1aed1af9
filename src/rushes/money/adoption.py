"""Giving a task the remote task that was bought for it: what an operator found in the provider's console.

For a task that is unconfirmed, or that failed as of unknown outcome, timed out or not found.
`find_adoptable` reads, the caller polls the remote task, and `adopt_remote_task` is one transaction.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, Row

from rushes.domain.errors import ItemNotAdoptable, NotFound
from rushes.domain.task import (
    SUBMIT_OUTCOME_UNKNOWN,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Processing,
    Succeeded,
    TaskStatus,
)
from rushes.money import retry as retries
from rushes.money.settle import BeforeClosing, resolve
from rushes.store import batches, tasks
from rushes.store.tasks import items, remote_ids
from rushes.store.tasks.remote_ids import NamedAttempt

ADOPTER = "operator"
"""Stands for the worker in the row of an attempt that an operator brought."""


@dataclass(frozen=True, slots=True)
class Adoptable:
    """An item's task that may be given a remote task; `host` is where to ask for that."""

    batch_id: int
    item_index: int
    task_id: int
    attempt: int
    status: TaskStatus
    provider: str
    host: str | None


def find_adoptable(
    connection: Connection,
    public_id: str,
    item_index: int,
    remote_task_id: str,
    *,
    account_id: int | None = None,
) -> Adoptable:
    """The item's task; raises `NotFound`, also for another account's, or `ItemNotAdoptable`."""
    batch_id = batches.batch_row_id(connection, public_id, account_id=account_id)
    row = items.current_row(connection, batch_id, item_index)
    if row is None:
        raise NotFound(f"the batch has no item {item_index}")
    refusal = _refusal(row)
    if refusal is not None:
        raise ItemNotAdoptable(f"item {item_index} {refusal}")
    found = Adoptable(
        batch_id, item_index, row.id, row.attempt, TaskStatus(row.status), row.provider, row.host
    )
    holder = remote_ids.holder_of(connection, row.provider, row.host, remote_task_id)
    if holder not in (None, (row.id, row.attempt)):
        raise ItemNotAdoptable("this remote task belongs to another attempt")
    return found


def _refusal(row: Row[tuple[object, ...]]) -> str | None:
    if row.status == TaskStatus.PROCESSING:
        if row.remote_task_id is not None:
            return f"is at the provider, as {row.remote_task_id!r}; it is polled"
        return None if row.unconfirmed_at_ms is not None else "is being submitted; wait for its answer"
    if row.status != TaskStatus.FAILED:
        return f"is {row.status}; only an unconfirmed or failed item can be given a remote task"
    if row.error == SUBMIT_OUTCOME_UNKNOWN or row.failure_type in (
        FailureType.TIMEOUT,
        FailureType.NOT_FOUND,
    ):
        if row.attempt == 0:
            return "was never sent; retry it instead"
        return None
    return f"failed with {row.failure_type}, which no remote task changes; retry it instead"


def check_answer(found: Adoptable, result: PollResult) -> Succeeded | Processing:
    """What the remote task brings the item; raises `NotFound` or `ItemNotAdoptable` with the reason.

    One that is still rendering can be followed by an unconfirmed task, whose credits are held.
    """
    match result:
        case Succeeded():
            return result
        case Processing() if found.status is TaskStatus.PROCESSING:
            return result
        case Processing():
            raise ItemNotAdoptable("the remote task is still rendering; adopt it when it has succeeded")
        case NoAnswer(error=error):
            raise ItemNotAdoptable(f"the provider gave no answer about the remote task: {error}")
        case Failed(failure_type=FailureType.NOT_FOUND):
            raise NotFound(f"{found.provider} knows no such remote task")
        case Failed(error_message=error):
            raise ItemNotAdoptable(f"the remote task failed: {error}")


def adopt_remote_task(
    connection: Connection,
    found: Adoptable,
    remote_task_id: str,
    answer: Succeeded | Processing,
    *,
    now_ms: int,
    before_closing: BeforeClosing | None = None,
) -> None:
    """Give the item the remote task: settle it if that succeeded, or let its worker follow it.

    A failed task stays as it is; its item gets a new task with a new reservation, and if the failed one had
    the remote id, that goes with it. Raises `ItemNotAdoptable`, `ItemNotRetryable` (of a
    cancelled batch, say) or `InsufficientCredits`: nothing has changed.
    """
    if found.status is TaskStatus.PROCESSING:
        accepted = [(found.task_id, found.attempt, remote_task_id)]
        names = tasks.record_accepted_if_attempt(connection, accepted)
        if not names:
            raise ItemNotAdoptable(f"item {found.item_index} has changed meanwhile; look again")
        _take(connection, names[0])
        task_id, attempt = found.task_id, found.attempt
    else:
        assert isinstance(answer, Succeeded), "checked by `check_answer`"
        task_id, attempt = _new_try(connection, found, remote_task_id, now_ms)
    if isinstance(answer, Succeeded):
        ended = tasks.finish_if_named(connection, (task_id, attempt, answer), remote_task_id, now_ms=now_ms)
        resolve(connection, ended, now_ms, before_closing)


def _take(connection: Connection, name: NamedAttempt) -> None:
    if remote_ids.take_if_free(connection, [name]):
        raise ItemNotAdoptable("this remote task belongs to another attempt")


def _new_try(connection: Connection, found: Adoptable, remote_task_id: str, now_ms: int) -> tuple[int, int]:
    """A new task of the failed item, at the provider under this id: `(task_id, attempt)`."""
    (retry,) = retries.retries_of(connection, found.batch_id, [found.item_index])
    if not isinstance(retry, retries.Retry):
        raise retry
    if retry.task_id != found.task_id:
        raise ItemNotAdoptable(f"item {found.item_index} has changed meanwhile; look again")
    name = NamedAttempt(found.task_id, found.attempt, found.provider, found.host, remote_task_id)
    _take(connection, name)
    new_ids, refusal = retries.retry_items(connection, found.batch_id, [retry], now_ms=now_ms)
    if refusal is not None:
        raise refusal
    (task_id,) = new_ids
    tasks.move_remote_task(connection, name, to_task_id=task_id, worker_id=ADOPTER, now_ms=now_ms)
    remote_ids.move(connection, name, to_task_id=task_id, to_attempt=1)
    counters = batches.lock_counters(connection, [found.batch_id])
    for batch in counters.values():
        batch.pending -= 1
        batch.processing += 1
    batches.write_counters(connection, counters.values())
    return task_id, 1
