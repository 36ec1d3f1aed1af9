"""Trying failed items again: because a user asks, or because the batch asked for re-rolls.

Each try is a task of its own with its own reservation; the failed one stays failed for ever, settled in the
ledger like any other, and the batch opens again. A re-roll happens in the very transaction that failed the
item, so the batch is not closed in between, and nobody sees it end and come back. The cap and the stop-loss
are decided from counters under the lock of the batch's row: workers that settle at the same time wait for
each other, so no two of them can spend the same credits of the cap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Row

from rushes.domain import credits as arithmetic
from rushes.domain.credits import EntryType, Part
from rushes.domain.errors import InsufficientCredits, ItemNotRetryable, NotFound
from rushes.domain.retries import LastModel, RetryPolicy
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, BatchStatus, TaskStatus
from rushes.store import batches, deliveries, ledger, retries
from rushes.store.database import Rows, for_update, statement
from rushes.store.retries import Rerolls
from rushes.store.tasks import FinishedTask

_INDEXES = Rows(item_index=int)
_IDS = Rows(id=int)


@dataclass(frozen=True, slots=True)
class Retry:
    """A failed task whose item is tried again: with the same model or alias and price, or with `model`."""

    task_id: int
    credits: int
    model: LastModel | None = None

    @property
    def price(self) -> int:
        """What the next try costs."""
        return self.credits if self.model is None else self.model.credits

    def row(self) -> tuple[int, int, str | None, str | None, str | None]:
        """As `insert_next_tries` takes it."""
        if self.model is None:
            return self.task_id, self.credits, None, None, None
        return self.task_id, self.price, self.model.name, self.model.provider, self.model.api_model


# --- a user asks ---------------------------------------------------------------------------------------


def retry_item(connection: Connection, batch_id: int, item_index: int, *, now_ms: int) -> int:
    """Make a failed item a new pending task with a new reservation; returns the new task's id.

    The failed task stays as it is, for ever; the batch opens again. Raises `NotFound`, `ItemNotRetryable` or
    `InsufficientCredits`.
    """
    return retry_all(connection, batch_id, [item_index], now_ms=now_ms)[0]


def retry_all(
    connection: Connection, batch_id: int, item_indexes: Sequence[int], *, now_ms: int
) -> list[int]:
    """The same for several items, all or none; the new tasks' ids in the same order."""
    wanted: list[Retry] = []
    for found in retries_of(connection, batch_id, item_indexes):
        if not isinstance(found, Retry):
            raise found
        wanted.append(found)
    new_ids, refusal = retry_items(connection, batch_id, wanted, now_ms=now_ms)
    if refusal is not None:
        raise refusal
    return new_ids


def retries_of(
    connection: Connection, batch_id: int, item_indexes: Sequence[int]
) -> list[Retry | NotFound | ItemNotRetryable]:
    """For each of these items of a batch, once, now locked: its retry, or why there can be none."""
    query = statement(
        "SELECT item_index, id, status, credits FROM video_tasks WHERE batch_id = :batch_id"
        f" AND is_current = 1 AND item_index IN (SELECT v.item_index FROM {_INDEXES.sql(connection)})"
        f" ORDER BY id{for_update(connection)}"
    )
    asked = sorted(set(item_indexes))
    parameters = {**_INDEXES.parameters(connection, [(index,) for index in asked]), "batch_id": batch_id}
    rows = connection.execute(query, parameters).all()
    if len(rows) < len(asked):
        # PostgreSQL leaves out what another retry has replaced while this one waited for it
        rows = connection.execute(query, parameters).all()
    found = {row.item_index: row for row in rows}
    return [_retry_of(index, found.get(index)) for index in dict.fromkeys(item_indexes)]


def _retry_of(index: int, row: Row[Any] | None) -> Retry | NotFound | ItemNotRetryable:
    if row is None:
        return NotFound(f"the batch has no item {index}")
    if row.status != TaskStatus.FAILED.value:
        return ItemNotRetryable(f"item {index} is {row.status}; only a failed item can be tried again")
    return Retry(row.id, row.credits)


# --- the batch asked for re-rolls ------------------------------------------------------------------------


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


# --- either way -------------------------------------------------------------------------------------------


def retry_items(
    connection: Connection,
    batch_id: int,
    wanted: Sequence[Retry],
    *,
    now_ms: int,
    cap: Rerolls | None = None,
) -> tuple[list[int], InsufficientCredits | None]:
    """Try failed tasks of a batch again that this transaction has locked, in this order, all at once.

    Passed over is what `cap`, which counts on, has no room for, and what there are too few credits for.
    Returns the new tasks' ids, and the first refusal for want of credits. Raises `ItemNotRetryable`.
    """
    if not wanted:
        return [], None
    account_id = batches.account_of(connection, batch_id)
    ledger.expire_lots(connection, now_ms, account=account_id)
    book = ledger.Book(connection, [account_id])  # accounts are locked before batches, everywhere
    batch = batches.lock_counters(connection, [batch_id])[batch_id]
    if batch.cancelled_at_ms is not None:
        raise ItemNotRetryable("the batch was cancelled")
    lots = ledger.lots(connection, account_id)
    refusal: InsufficientCredits | None = None
    reserved: list[Part] = []
    again: list[Retry] = []
    for retry in wanted:
        if cap is not None and not cap.may_spend(retry.price):
            continue
        try:
            parts = arithmetic.reserve(lots, retry.price, now_ms)
        except InsufficientCredits as error:
            refusal = refusal or error
            continue
        if parts:
            lots = arithmetic.without(lots, parts)
            book.append(account_id, EntryType.RESERVE, parts, now_ms=now_ms, batch_id=batch_id)
            reserved += parts
        if cap is not None:
            cap.credits_used += retry.price
        again.append(retry)
    if not again:
        return [], refusal
    book.write()
    batches.add_reservation(connection, batch_id, reserved)
    batches.open_again(connection, batch_id)
    batch.failed -= len(again)
    batch.pending += len(again)
    batch.status = BatchStatus.PROCESSING.value
    price = sum(retry.price for retry in again)
    batch.credits_reserved += price
    batches.write_counters(connection, [batch])
    if batch.finalized_at_ms is not None:
        deliveries.reopen_feed(connection, batch_id)
    retries.count(connection, {batch_id: (len(again), price)})
    return batches.insert_next_tries(connection, [retry.row() for retry in again], now_ms=now_ms), refusal
