"""Several batches at once, for what is done with all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from rushes.money.retry import Reprice
from rushes.read.batches import batch_row
from rushes.read.board.failures import FailureFilter, RetryPrice, failed_indexes, retry_price
from rushes.read.scope import OPERATOR


@dataclass(frozen=True, slots=True)
class BatchPrice:
    """What retrying all that failed in a batch would reserve."""

    batch_id: str
    price: RetryPrice


def batch_rows(connection: Connection, public_ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """The batches' rows. Raises `NotFound`."""
    return [batch_row(connection, OPERATOR, public_id) for public_id in public_ids]


def retry_prices(
    connection: Connection, public_ids: Sequence[str], reprice: Reprice, now_ms: int
) -> list[BatchPrice]:
    """The prices of those batches in which something can be retried. Raises `NotFound`."""
    found = []
    for public_id in public_ids:
        indexes = failed_indexes(connection, public_id, FailureFilter())
        price = retry_price(connection, public_id, indexes, model=None, reprice=reprice, now_ms=now_ms)
        if price.count:
            found.append(BatchPrice(public_id, price))
    return found
