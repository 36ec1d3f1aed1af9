"""What people ask for by hand, each as one transaction.

With an `account_id` only that account's batches are found; operators leave it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.credits import LotKind
from rushes.domain.errors import ItemNotRetryable, RushesError
from rushes.domain.retries import LastModel
from rushes.domain.task import TaskStatus
from rushes.money import accept
from rushes.money import retry as retries
from rushes.money.day_caps import require_counted
from rushes.money.rebuy import buy_next
from rushes.money.retry import Reprice, Retry
from rushes.store import batches, deliveries, ledger
from rushes.store.acceptance import verdicts
from rushes.store.inputs import uploads
from rushes.store.tasks import items

RETRIES_AT_ONCE_MAX: Final = 200
"""Items that one transaction makes wait again: others want to write too."""

DESCRIPTION_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Retried:
    """What one transaction of retries did. `next_index` is None at the end; `refusal` is why it stopped."""

    count: int
    next_index: int | None
    refusal: str | None = None


def cancel(
    connection: Connection, batch_public_id: str, *, account_id: int | None = None, now_ms: int
) -> int:
    """Cancel what is at no provider yet; returns the credits given back. Raises `BatchNotCancellable`."""
    batch_id = batches.batch_row_id(connection, batch_public_id, account_id=account_id)
    return accept.cancel_batch(connection, batch_id, now_ms=now_ms)


def cancel_item(
    connection: Connection,
    batch_public_id: str,
    index: int,
    *,
    account_id: int | None = None,
    now_ms: int,
) -> int:
    """Cancel one item; returns the credits given back. Raises `ItemNotCancellable`."""
    batch_id = batches.batch_row_id(connection, batch_public_id, account_id=account_id)
    return accept.cancel_item(connection, batch_id, index, now_ms=now_ms)


@dataclass(frozen=True, slots=True)
class Rated:
    """How many clips were rated, and how many of the others a person had judged before."""

    count: int
    standing: int


def rate_items(
    connection: Connection,
    batch_public_id: str,
    indexes: Sequence[int],
    verdict: Verdict,
    *,
    person: str,
    now_ms: int,
    reprice: Reprice | None = None,
) -> Rated:
    """A person's verdict on these items' videos that no person has judged before. Raises `NotFound`.

    Where the batch asked for it, the items of rejected clips buy another one.
    """
    batch_id = batches.batch_row_id(connection, batch_public_id)
    rows = items.lock_items(connection, batch_id, indexes)
    rated = verdicts.decide_by_person_if_unjudged(
        connection, batch_id, indexes, verdict, person=person, now_ms=now_ms
    )
    made = sum(row.status == TaskStatus.SUCCEEDED.value for row in rows)
    buy_next(connection, rated, now_ms, reprice=reprice)
    return Rated(len(rated), made - len(rated))


@dataclass(frozen=True, slots=True)
class RetriedItem:
    """What an item's next try reserved, and what its account may spend after that."""

    required_credits: int
    available_credits: int


def retry_item(
    connection: Connection,
    batch_public_id: str,
    index: int,
    *,
    account_id: int,
    key_id: int,
    now_ms: int,
    reprice: Reprice | None = None,
) -> RetriedItem:
    """Make a failed item of the account wait again, at today's price with `reprice`, for the key that asks.

    Raises `NotFound`, `ItemNotRetryable`, `InsufficientCredits`, `DayCapReached`.
    """
    batch_id = batches.batch_row_id(connection, batch_public_id, account_id=account_id)
    require_counted(connection, batch_id, key_id, now_ms=now_ms)
    task_id = retries.retry_item(connection, batch_id, index, now_ms=now_ms, reprice=reprice)
    return RetriedItem(
        items.credits_of(connection, task_id), ledger.available_credits(connection, account_id, now_ms)
    )


def retry_items(
    connection: Connection,
    batch_public_id: str,
    indexes: Sequence[int],
    *,
    now_ms: int,
    reprice: Reprice | None = None,
    model: LastModel | None = None,
) -> Retried:
    """Make these failed items wait again, as far as the credits suffice; others are passed over.

    With a `model` they are retried with that one.
    """
    batch_id = batches.batch_row_id(connection, batch_public_id)
    wanted: list[Retry] = []
    refusal: RushesError | None = None
    gone = uploads.gone_of_batch(connection, batch_id, now_ms=now_ms)
    for found in retries.retries_of(connection, batch_id, indexes, reprice, model, gone=gone):
        if isinstance(found, Retry):
            wanted.append(found)
        else:
            refusal = found
    try:
        new_ids, short = retries.retry_items(connection, batch_id, wanted, now_ms=now_ms)
    except ItemNotRetryable as error:  # none of them: the batch was cancelled
        return Retried(0, None, error.message)
    refusal = short or refusal
    return Retried(len(new_ids), None, None if refusal is None else refusal.message)


def retry_failed(
    connection: Connection,
    batch_public_id: str,
    *,
    failure_type: str | None,
    from_index: int,
    now_ms: int,
    reprice: Reprice | None = None,
) -> Retried:
    """The next failed items (of that type) from this index on wait again, at most `RETRIES_AT_ONCE_MAX`."""
    indexes = items.failed_indexes(
        connection,
        batches.batch_row_id(connection, batch_public_id),
        failure_type=failure_type,
        from_index=from_index,
        limit=RETRIES_AT_ONCE_MAX,
    )
    done = retry_items(connection, batch_public_id, indexes, now_ms=now_ms, reprice=reprice)
    has_more = done.count == len(indexes) == RETRIES_AT_ONCE_MAX
    return Retried(done.count, indexes[-1] + 1 if has_more else None, done.refusal)


def grant(
    connection: Connection,
    account: str,
    amount: int,
    *,
    expires_at_ms: int | None,
    description: str,
    now_ms: int,
) -> int:
    """Give an account credits, making it when it is new; with an expiry they are a bonus. Returns the lot."""
    return ledger.grant(
        connection,
        ledger.ensure_account(connection, account, now_ms),
        amount,
        now_ms=now_ms,
        kind=LotKind.PERMANENT if expires_at_ms is None else LotKind.BONUS,
        expires_at_ms=expires_at_ms,
        description=description[:DESCRIPTION_CHARACTERS_MAX],
    )


def replay_delivery(connection: Connection, delivery_id: int, *, now_ms: int) -> None:
    """Send a webhook again. Raises `NotFound`."""
    deliveries.replay_row(connection, delivery_id, now_ms=now_ms)


def replay_deliveries(connection: Connection, delivery_ids: Sequence[int], *, now_ms: int) -> int:
    """Send these webhooks again, all or none; returns how many. Raises `NotFound`."""
    for delivery_id in delivery_ids:
        deliveries.replay_row(connection, delivery_id, now_ms=now_ms)
    return len(delivery_ids)
