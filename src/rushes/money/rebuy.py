"""A rejected clip's item buys its next one: best of n, one by one, in the transaction of the verdict.

The rejected clip stays a success that was charged; its item is open again with a try of its own reservation.
The next is bought within the item's own bounds (`BestOf`) and within the batch's cap and stop-loss, which are
those of re-rolls: one counter for both. A batch that buys stays open until each of its clips has a verdict.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Connection, Row

from rushes.domain.acceptance.best_of import BestOf
from rushes.domain.acceptance.repairs import reasons_of_rejection, with_another_seed
from rushes.domain.catalogue.media import uploads_in
from rushes.domain.input.auto import AUTO
from rushes.domain.retries import RetryPolicy
from rushes.domain.task import TaskStatus
from rushes.money.retry import Reprice, Retry, charged_retry, retry_items, with_repair
from rushes.money.settle import finalize_batch_credits
from rushes.store import batches, ledger
from rushes.store.acceptance import gates, rejected, verdicts
from rushes.store.inputs import uploads
from rushes.store.tasks import retries

VERDICT_SECONDS_MAX: Final = 86_400
"""How long a clip may wait for its verdict."""


def buy_next(
    connection: Connection, decided: Sequence[int], now_ms: int, *, reprice: Reprice | None = None
) -> int:
    """What follows from the verdicts on these tasks' clips; returns how many items buy another one.

    Never bought: for an item of a cancelled batch, past its deadline, whose video was deleted or erased, or
    which needs an upload that is not kept any more, and
    where the account's credits do not suffice. Batches that nothing keeps open any more are closed.
    """
    count = 0
    of_batches = rejected.batches_of(connection, decided)
    rows = rejected.lock_replaceable(connection, decided, now_ms=now_ms)
    by_batch = {batch_id: list(its) for batch_id, its in groupby(rows, key=attrgetter("batch_id"))}
    for account_id, batch_id in sorted(of_batches):
        ledger.lock(connection, account_id)  # accounts are locked before batches, everywhere
        batches.lock_counters(connection, [batch_id])
        if batch_id in by_batch:
            count += _buy(connection, batch_id, by_batch[batch_id], now_ms, reprice)
        finalize_batch_credits(connection, batch_id, now_ms)
    return count


def give_up_verdicts(connection: Connection, now_ms: int, *, limit: int = 100) -> int:
    """Clips that nobody has judged for `VERDICT_SECONDS_MAX` are undecided, and batches close; how many.

    For installations whose archive was turned off, or whose judge never answers.
    """
    before_ms = now_ms - VERDICT_SECONDS_MAX * 1000
    given_up = verdicts.give_up_if_open(connection, before_ms=before_ms, now_ms=now_ms, limit=limit)
    if given_up:
        buy_next(connection, given_up, now_ms)
    return len(given_up)


def _buy(
    connection: Connection, batch_id: int, rows: Sequence[Row[Any]], now_ms: int, reprice: Reprice | None
) -> int:
    best_of = gates.buying(connection, [batch_id])[batch_id]
    rerolls = retries.of_batch(connection, batch_id)
    assert rerolls is not None, "a batch that buys has counters"
    if not retries.goes_on(connection, rerolls, now_ms):
        return 0
    gone = set(uploads.gone_of_batch(connection, batch_id, now_ms=now_ms))
    wanted = [
        retry
        for row in rows
        if (retry := _next_clip(row, best_of, rerolls.policy, reprice)) is not None
        and gone.isdisjoint(uploads_in(retry.options))
    ]
    bought, _refusal = retry_items(
        connection, batch_id, wanted, now_ms=now_ms, cap=rerolls, were=TaskStatus.SUCCEEDED
    )
    return len(bought)


def _next_clip(row: Row[Any], best_of: BestOf, policy: RetryPolicy, reprice: Reprice | None) -> Retry | None:
    """The item's next clip, repaired, with another seed and at the end by another model, in its bounds."""
    is_last = row.clips + 1 == best_of.clips_max
    retry = replace(charged_retry(row, policy.last_model if is_last else None, reprice), is_bought=True)
    retry = with_repair(retry, row, policy.repairs, reasons_of_rejection(row.reasons), reprice)
    repaired = with_another_seed(retry.options)
    if repaired is not None and retry.of_model == AUTO:
        retry = replace(retry, options=repaired, has_other_options=True)
    elif repaired is not None and reprice is not None:
        charge = reprice(retry.of_model, row.alias if retry.model is None else None, repaired)
        if charge is not None:
            retry = replace(retry, charge=charge, options=repaired, has_other_options=True)
    return retry if best_of.may_buy(bought=row.clips, spent=row.spent, price=retry.price) else None
