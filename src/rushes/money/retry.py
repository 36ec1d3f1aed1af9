"""Trying failed items again: because a user asks, or because the batch asked for re-rolls.

Each try is a task of its own with its own reservation; the failed one stays failed, settled in the
ledger like any other, and the batch opens again. A re-roll happens in the very transaction that failed the
item, so the batch is not closed in between, and nobody sees it end and come back. The cap and the stop-loss
are decided from counters under the lock of the batch's row: workers that settle at the same time wait for
each other, so no two of them can spend the same credits of the cap.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import Connection, Row

from rushes.domain.acceptance import repairs
from rushes.domain.catalogue.media import uploads_in
from rushes.domain.catalogue.options import quoted
from rushes.domain.catalogue.price import Charge
from rushes.domain.errors import DayCapReached, InsufficientCredits, ItemNotRetryable, NotFound
from rushes.domain.input.auto import AUTO
from rushes.domain.retries import LastModel, RetryPolicy
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, BatchStatus, TaskStatus
from rushes.money.day_caps import Budget
from rushes.money.reserving import lock_and_grant, reserve
from rushes.store import batches, deliveries, ledger, tasks
from rushes.store.acceptance.choices import decode_chosen
from rushes.store.inputs import last_frames, uploads
from rushes.store.tasks import FinishedTask, items, retries
from rushes.store.tasks.charges import charge_row
from rushes.store.tasks.retries import Rerolls

Reprice: TypeAlias = Callable[[str, str | None, Mapping[str, Any]], Charge | None]
"""`Catalogue.charge`: what a model, under an alias or not, charges today for these options."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A failed task whose item is retried: with the same model or alias, or with `model`.

    `charge` is what that costs today; None where nobody can tell: then the price stays as it was.
    With `has_other_options` the next try has these options in place of the item's; `repair` names the rule
    that changed them or the model, or that was left out to see what it gains. One that best of n buys uses up
    none of the item's re-rolls (`is_bought`).
    """

    task_id: int
    credits: int
    model: LastModel | None = None
    charge: Charge | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    of_model: str = ""
    has_other_options: bool = False
    is_bought: bool = False
    repair: str | None = None

    @property
    def price(self) -> int:
        """What the next try costs."""
        if self.charge is not None:
            return self.charge.credits
        return self.credits if self.model is None else self.model.credits

    def row(self) -> tuple[object, ...]:
        """As `insert_next_tries` takes it."""
        model: tuple[str | None, ...] = (None, None, None)
        if self.model is not None:
            model = (self.model.name, self.model.provider, self.model.api_model)
        # another model whose charge nobody knows is sent with what the item's author wrote
        is_priced = int(self.charge is not None or self.model is not None)
        written = msgspec.json.encode(self.options).decode() if self.has_other_options else None
        rerolls = 0 if self.is_bought else 1
        return (
            self.task_id,
            self.price,
            *model,
            is_priced,
            written,
            rerolls,
            self.repair,
            *charge_row(self.charge, self.options),
        )


# --- a user asks ---------------------------------------------------------------------------------------


def retry_item(
    connection: Connection, batch_id: int, item_index: int, *, now_ms: int, reprice: Reprice | None = None
) -> int:
    """Make a failed item a new pending task with a new reservation; returns the new task's id.

    The failed task never changes again; the batch reopens. Raises `NotFound`, `ItemNotRetryable` or
    `InsufficientCredits` or `DayCapReached`.
    """
    return retry_all(connection, batch_id, [item_index], now_ms=now_ms, reprice=reprice)[0]


def retry_all(
    connection: Connection,
    batch_id: int,
    item_indexes: Sequence[int],
    *,
    now_ms: int,
    reprice: Reprice | None = None,
) -> list[int]:
    """The same for several items, all or none; the new tasks' ids in the same order."""
    wanted: list[Retry] = []
    gone = uploads.gone_of_batch(connection, batch_id, now_ms=now_ms)
    for found in retries_of(connection, batch_id, item_indexes, reprice, gone=gone):
        if not isinstance(found, Retry):
            raise found
        wanted.append(found)
    new_ids, refusal = retry_items(connection, batch_id, wanted, now_ms=now_ms)
    if refusal is not None:
        raise refusal
    return new_ids


def retries_of(
    connection: Connection,
    batch_id: int,
    item_indexes: Sequence[int],
    reprice: Reprice | None = None,
    model: LastModel | None = None,
    *,
    gone: Iterable[str] = (),
) -> list[Retry | NotFound | ItemNotRetryable]:
    """For each of these items of a batch, once, now locked: its retry, or why there can be none.

    With a `model`, the retry is made with that one; items whose options it does not take have none, and
    neither have those that need one of the uploads that are `gone`.
    """
    found = {row.item_index: row for row in items.lock_items(connection, batch_id, item_indexes)}
    failed_before = last_frames.failed_before(connection, [row.id for row in found.values()])
    lost = frozenset(gone)
    reprice_once = None if reprice is None else _once_for_each(reprice)
    return [
        _retry_of(index, found.get(index), reprice_once, model, lost)
        if failed_before.get(index) is None or failed_before[index].item_index in found
        else ItemNotRetryable(
            f"item {index} starts from {quoted(failed_before[index].custom_id)}, which failed;"
            " retry that one too"
        )
        for index in dict.fromkeys(item_indexes)
    ]


def _once_for_each(reprice: Reprice) -> Reprice:
    """The same, which prices equal options of a model once: most items of a batch have them."""
    known: dict[tuple[str, str | None, str], Charge | None] = {}

    def charge(name: str, alias: str | None, options: Mapping[str, Any]) -> Charge | None:
        key = (name, alias, repr(options))  # tells 1 from true, which a dictionary's key would not
        if key not in known:
            known[key] = reprice(name, alias, options)
        return known[key]

    return charge


def _retry_of(
    index: int,
    row: Row[Any] | None,
    reprice: Reprice | None,
    model: LastModel | None,
    gone: frozenset[str],
) -> Retry | NotFound | ItemNotRetryable:
    if row is None:
        return NotFound(f"the batch has no item {index}")
    if row.status != TaskStatus.FAILED.value:
        return ItemNotRetryable(f"item {index} is {row.status}; only a failed item can be retried")
    if row.erased_at_ms is not None:
        return ItemNotRetryable(f"item {index} was erased; its prompt is gone")
    retry = charged_retry(row, model, reprice)
    missing = gone.intersection(uploads_in(retry.options))
    if missing:
        return ItemNotRetryable(f"item {index} needs the upload {min(missing)}, which is not kept any more")
    if model is not None and retry.charge is None:
        return ItemNotRetryable(f"item {index} has options that {model.name} does not take")
    return retry


# --- the batch asked for re-rolls ------------------------------------------------------------------------


def retry_failed(
    connection: Connection,
    finished: Sequence[FinishedTask],
    now_ms: int,
    *,
    reprice: Reprice | None = None,
) -> int:
    """Try again what has just failed, where its batch's policy says so; returns how many items wait again.

    Never retried: a submit of unknown outcome (it may have been bought), an item of a cancelled batch, and
    one for which the account's credits do not suffice. To be called after the failures are resolved and
    before their batches are closed.
    """
    failed = [task for task in finished if task.status is TaskStatus.FAILED]
    if not failed:
        return 0
    wanted = retries.asked_for(connection, {task.batch_id for task in failed})
    going_on = {
        batch_id: rerolls
        for batch_id, rerolls in wanted.items()
        if retries.goes_on(connection, rerolls, now_ms)
    }
    if not going_on:
        return 0
    asked_of = [task.task_id for task in failed if task.batch_id in going_on]
    rows = items.not_cancelled(connection, asked_of, now_ms=now_ms)
    count = 0
    for batch_id, its_rows in groupby(rows, key=attrgetter("batch_id")):
        rerolls = going_on[batch_id]
        asked = [_next_try(row, rerolls.policy, reprice) for row in its_rows if _asks(row, rerolls.policy)]
        # what there are too few credits for stays failed
        tried, _refusal = retry_items(connection, batch_id, asked, now_ms=now_ms, cap=rerolls)
        count += len(tried)
    return count


def _asks(failed: Row[Any], policy: RetryPolicy) -> bool:
    """Whether the policy wants this failure retried, cap and credits permitting."""
    return (
        failed.rerolls < policy.max
        and failed.failure_type in policy.reasons
        and failed.error != SUBMIT_OUTCOME_UNKNOWN
    )


def _next_try(failed: Row[Any], policy: RetryPolicy, reprice: Reprice | None) -> Retry:
    is_last = failed.rerolls + 1 == policy.max
    retry = charged_retry(failed, policy.last_model if is_last else None, reprice)
    reasons = repairs.reasons_of_failure(failed.failure_type, failed.error)
    return with_repair(retry, failed, policy.repairs, reasons, reprice)


def with_repair(
    retry: Retry,
    row: Row[Any],
    rules: Sequence[repairs.Rule],
    reasons: Sequence[str],
    reprice: Reprice | None,
) -> Retry:
    """The retry of this task, changed by the first rule for one of the reasons; see `domain.acceptance`.

    One that another model was named for stays as it is, and so does one of `CONTROL_EVERY`, which is marked.
    """
    rule = repairs.rule_for(rules, reasons)
    is_open = retry.of_model == AUTO
    if rule is None or reprice is None or (retry.model is not None and not is_open):
        return retry
    alias: str | None = None if is_open else row.alias

    def charge_of(name: str, options: Mapping[str, Any]) -> Charge | None:
        return reprice(name, alias if name == row.model else None, options)

    found = repairs.repaired(rule, row.model, retry.options, charge_of)
    if found is None or (is_open and found.model is not None):
        return retry
    if repairs.is_control(row.batch_id, row.item_index, row.retry_number + 1):
        return replace(retry, repair=repairs.mark(rule, is_control=True))
    marked = replace(retry, repair=repairs.mark(rule, is_control=False))
    if found.model is not None:
        name = found.model.name
        charge = reprice(name, None, retry.options)
        return replace(marked, model=found.model, of_model=name, charge=charge)
    options = found.options or {}
    charge = None if is_open else charge_of(row.model, options)
    return replace(marked, options=options, has_other_options=True, charge=charge)


def charged_retry(failed: Row[Any], last: LastModel | None, reprice: Reprice | None) -> Retry:
    """Another try of the item of this task, at its price of today; by another model if one is given.

    Where the item's model was chosen, it is chosen anew: what was reserved before the choice is again.
    """
    options = msgspec.json.decode(failed.options)
    if last is None and failed.alias == AUTO:
        chosen = decode_chosen(failed.choice)
        open_model = LastModel(AUTO, AUTO, AUTO, failed.credits if chosen is None else chosen.least)
        return Retry(failed.id, failed.credits, open_model, None, options, AUTO)
    charge = None
    if reprice is not None:
        name, alias = (failed.model, failed.alias) if last is None else (last.name, None)
        charge = reprice(name, alias, options)
    of_model = failed.model if last is None else last.name
    return Retry(failed.id, failed.credits, last, charge, options, of_model)


# --- either way -------------------------------------------------------------------------------------------


def retry_items(
    connection: Connection,
    batch_id: int,
    wanted: Sequence[Retry],
    *,
    now_ms: int,
    cap: Rerolls | None = None,
    were: TaskStatus = TaskStatus.FAILED,
) -> tuple[list[int], InsufficientCredits | DayCapReached | None]:
    """Try tasks of a batch again that this transaction has locked, in this order, all at once.

    They `were` failed, or successes whose clips were rejected.

    Passed over is what `cap`, which counts on, has no room for, what there are too few credits for, and what
    the day's caps refuse. Returns the new ids and the first refusal of these two; raises `ItemNotRetryable`.
    """
    if not wanted:
        return [], None
    account_id = batches.account_of(connection, batch_id)
    ledger.expire_lots(connection, now_ms, account=account_id)
    lock_and_grant(connection, account_id, (retry.price for retry in wanted), now_ms=now_ms)
    book = ledger.Book(connection, [account_id])  # accounts are locked before batches, everywhere
    batch = batches.lock_counters(connection, [batch_id])[batch_id]
    if batch.cancelled_at_ms is not None:
        raise ItemNotRetryable("the batch was cancelled")
    budget = Budget(
        connection,
        account_id=account_id,
        request_scope=batches.request_scope(connection, batch_id),
        models={retry.of_model for retry in wanted},
        now_ms=now_ms,
    )
    refusal: InsufficientCredits | DayCapReached | None = None
    left = ledger.available_credits(connection, account_id, now_ms)
    again: list[Retry] = []
    for retry in wanted:
        if cap is not None and not cap.may_spend(retry.price):
            continue
        try:
            if retry.price > left:
                raise InsufficientCredits(required=retry.price, available=left)
            budget.spend(retry.of_model, retry.price, None if retry.charge is None else retry.charge.cost)
        except (InsufficientCredits, DayCapReached) as error:
            refusal = refusal or error
            continue
        left -= retry.price
        if cap is not None:
            cap.credits_used += retry.price
        again.append(retry)
    if not again:
        return [], refusal
    price = sum(retry.price for retry in again)
    reserve(connection, book, account_id=account_id, batch_id=batch_id, amount=price, now_ms=now_ms)
    _open_again(connection, batch, len(again), price, were)
    new_ids = tasks.insert_next_tries(connection, [retry.row() for retry in again], now_ms=now_ms)
    last_frames.expect_for(connection, new_ids, now_ms=now_ms)
    return new_ids, refusal


def _open_again(
    connection: Connection, batch: batches.BatchCounters, count: int, price: int, were: TaskStatus
) -> None:
    """Count these retries and their price in their batch, which is open again from here on."""
    batches.open_again(connection, batch.batch_id)
    if were is TaskStatus.FAILED:
        batch.failed -= count
    else:
        batch.succeeded -= count
    batch.pending += count
    batch.status = BatchStatus.PROCESSING.value
    batch.credits_reserved += price
    batches.write_counters(connection, [batch])
    if batch.finalized_at_ms is not None:
        deliveries.reopen_feed(connection, batch.batch_id)
    retries.count(connection, {batch.batch_id: (count, price)})
