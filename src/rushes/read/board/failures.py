"""Failed items of a batch by reason and model, and what it would cost to retry them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN
from rushes.money.retry import Reprice
from rushes.read.batches import batch_row
from rushes.read.scope import OPERATOR
from rushes.store import ledger
from rushes.store.batches import without_deleted
from rushes.store.database import Rows, statement

ITEMS_PRICED_MAX: Final = 10_000
"""Failed items whose retry is priced at once: more than a batch has."""

_INDEXES = Rows(item_index=int)

_FAILED: Final = (
    "FROM video_tasks WHERE batch_id = :batch_id AND is_current = 1 AND status = 'failed'"
    " AND (:failure_type = '' OR COALESCE(failure_type, 'unknown') = :failure_type)"
    " AND (:model = '' OR model = :model)"
    " AND (:is_unconfirmed < 0 OR (CASE WHEN error = :unconfirmed THEN 1 ELSE 0 END) = :is_unconfirmed)"
)


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """Which failed items are meant; None for all. `is_unconfirmed` are submits of unknown outcome."""

    failure_type: str | None = None
    model: str | None = None
    is_unconfirmed: bool | None = None

    def parameters(self, batch_id: int) -> dict[str, Any]:
        """For the statements of this module."""
        return {
            "batch_id": batch_id,
            "failure_type": self.failure_type or "",
            "model": self.model or "",
            "is_unconfirmed": -1 if self.is_unconfirmed is None else int(self.is_unconfirmed),
            "unconfirmed": SUBMIT_OUTCOME_UNKNOWN,
        }


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed items with the same reason and model. `index`, `prompt` and `error` are those of the first.

    `credits` is what they cost and got back, `retry_credits` what it would cost to retry them today.
    """

    wanted: FailureFilter
    count: int
    credits: int
    retry_credits: int
    index: int
    prompt: str
    error: str | None


def failure_groups(connection: Connection, public_id: str, reprice: Reprice) -> list[FailureGroup]:
    """The groups of a batch, the largest first. Raises `NotFound`."""
    batch_id = OPERATOR.batch_id(connection, public_id)
    rows = connection.execute(
        statement(
            "SELECT COALESCE(failure_type, 'unknown') AS failure_type, model,"
            " CASE WHEN error = :unconfirmed THEN 1 ELSE 0 END AS is_unconfirmed, alias, options,"
            " COUNT(*) AS items, CAST(SUM(credits) AS bigint) AS credits, MIN(item_index) AS first_index"
            f" {_FAILED} GROUP BY 1, 2, 3, 4, 5"
        ),
        FailureFilter().parameters(batch_id),
    ).all()
    found: dict[FailureFilter, _Sum] = {}
    for row in rows:
        wanted = FailureFilter(row.failure_type, row.model, bool(row.is_unconfirmed))
        charge = reprice(row.model, row.alias, msgspec.json.decode(row.options))
        price = int(row.credits) if charge is None else charge.credits * int(row.items)
        found.setdefault(wanted, _Sum()).add(int(row.items), int(row.credits), price, row.first_index)
    samples = _rows(connection, batch_id, [one.first_index for one in found.values()])
    return [
        FailureGroup(
            wanted,
            one.count,
            one.credits,
            one.price,
            one.first_index,
            samples[one.first_index]["prompt"],
            samples[one.first_index]["error"],
        )
        for wanted, one in sorted(found.items(), key=lambda pair: (-pair[1].count, pair[1].first_index))
    ]


@dataclass(slots=True)
class _Sum:
    count: int = 0
    credits: int = 0
    price: int = 0
    first_index: int = -1

    def add(self, count: int, credits: int, price: int, first_index: int) -> None:
        self.count += count
        self.credits += credits
        self.price += price
        self.first_index = first_index if self.first_index < 0 else min(self.first_index, first_index)


def failed_indexes(connection: Connection, public_id: str, wanted: FailureFilter) -> list[int]:
    """The failed items that the filter means, in their order. Raises `NotFound`."""
    batch_id = OPERATOR.batch_id(connection, public_id)
    return list(
        connection.scalars(
            statement(f"SELECT item_index {_FAILED} ORDER BY item_index LIMIT :limit"),
            {**wanted.parameters(batch_id), "limit": ITEMS_PRICED_MAX},
        )
    )


@dataclass(frozen=True, slots=True)
class RetryPrice:
    """What retrying these items would reserve. `indexes` are those that can be retried, `refused` why others
    cannot, and how many each time; `old_credits` is what they cost the last time, with `models`."""

    indexes: tuple[int, ...]
    credits: int
    old_credits: int
    available: int
    refused: tuple[tuple[str, int], ...]
    account: str
    models: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        """How many can be retried."""
        return len(self.indexes)


def retry_price(
    connection: Connection,
    public_id: str,
    indexes: Sequence[int],
    *,
    model: str | None,
    reprice: Reprice,
    now_ms: int,
) -> RetryPrice:
    """The price of retrying these items of a batch, with the same models or with this one.

    Raises `NotFound`.
    """
    batch = batch_row(connection, OPERATOR, public_id)
    refused: dict[str, int] = {}
    kept, total, old = [], 0, 0
    rows = _rows(connection, batch["id"], indexes)
    for index in dict.fromkeys(indexes):
        row = rows.get(index)
        price, why = _price_of(row, model, reprice)
        if batch["cancelled_at_ms"] is not None:
            why = "cancelled"
        if why is not None or row is None or price is None:
            refused[why or "missing"] = refused.get(why or "missing", 0) + 1
            continue
        kept.append(index)
        total += price
        old += row["credits"]
    available = ledger.available_credits(connection, batch["account_id"], now_ms)
    models = frozenset(rows[index]["model"] for index in kept)
    return RetryPrice(tuple(kept), total, old, available, tuple(refused.items()), batch["account"], models)


def _price_of(row: Any, model: str | None, reprice: Reprice) -> tuple[int | None, str | None]:
    """The price, or why the item cannot be retried: `missing`, `open`, `erased`, `options`."""
    if row is None:
        return None, "missing"
    if row["status"] != "failed":
        return None, "open"
    if row["erased_at_ms"] is not None:
        return None, "erased"
    options = msgspec.json.decode(row["options"])
    name, alias = (row["model"], row["alias"]) if model is None else (model, None)
    charge = reprice(name, alias, options)
    if charge is None:
        return (None, "options") if model is not None else (row["credits"], None)
    return charge.credits, None


def _rows(connection: Connection, batch_id: int, indexes: Sequence[int]) -> dict[int, dict[str, Any]]:
    found = connection.execute(
        statement(
            "SELECT * FROM video_tasks WHERE batch_id = :batch_id AND is_current = 1"
            f" AND {_INDEXES.among(connection, 'item_index')}"
        ),
        {
            **_INDEXES.parameters(connection, [(index,) for index in dict.fromkeys(indexes)]),
            "batch_id": batch_id,
        },
    )
    return {row["item_index"]: row for row in without_deleted(connection, found.mappings())}
