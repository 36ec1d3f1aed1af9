"""What an operator does, over all accounts: each function is one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from rushes.domain.credits import LotKind
from rushes.domain.errors import ItemNotRetryable, NotFound, RushesError
from rushes.domain.task import TaskStatus
from rushes.engine import accept, retries
from rushes.engine.retries import Retry
from rushes.store import batches, deliveries, ledger, schema

RETRIES_AT_ONCE_MAX: Final = 200
"""Items that one transaction makes wait again: others want to write too."""

DESCRIPTION_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Retried:
    """What one transaction of retries did. `next_index` is None at the end; `refusal` is why it stopped."""

    count: int
    next_index: int | None
    refusal: str | None = None


def cancel(connection: Connection, batch_public_id: str, *, now_ms: int) -> int:
    """Cancel what is at no provider yet; returns the credits given back. Raises `BatchNotCancellable`."""
    return accept.cancel_batch(connection, batches.batch_row_id(connection, batch_public_id), now_ms=now_ms)


def retry_items(
    connection: Connection, batch_public_id: str, indexes: Sequence[int], *, now_ms: int
) -> Retried:
    """Make these failed items wait again, as far as the credits suffice; others are passed over."""
    batch_id = batches.batch_row_id(connection, batch_public_id)
    wanted: list[Retry] = []
    refusal: RushesError | None = None
    for found in retries.retries_of(connection, batch_id, indexes):
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
) -> Retried:
    """The next failed items (of that type) from this index on wait again, at most `RETRIES_AT_ONCE_MAX`."""
    c = schema.video_tasks.c
    query = (
        select(c.item_index)
        .where(
            c.batch_id == batches.batch_row_id(connection, batch_public_id),
            c.is_current == 1,
            c.status == TaskStatus.FAILED.value,
            c.item_index >= from_index,
        )
        .order_by(c.item_index)
        .limit(RETRIES_AT_ONCE_MAX)
    )
    if failure_type is not None:
        query = query.where(c.failure_type == failure_type)
    indexes = list(connection.scalars(query))
    done = retry_items(connection, batch_public_id, indexes, now_ms=now_ms)
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
    d, b = schema.webhook_deliveries, schema.batches
    row = connection.execute(
        select(d.c.account_id, d.c.seq, b.c.public_id)
        .join_from(d, b, b.c.id == d.c.batch_id)
        .where(d.c.id == delivery_id)
    ).first()
    if row is None:
        raise NotFound("there is no such delivery")
    deliveries.replay(connection, row.account_id, row.public_id, row.seq, now_ms=now_ms)
