"""What was earned: credits settled at their value, less what the providers charged. For operators only.

Credits that were given back for a video are not earned.

The cost of a try is what its provider reported, converted; without a report, what a success was expected to
cost when its credits were reserved, and nothing for a failure. A success whose model has no cost written
down, and a report in a unit that nobody has priced, make the margin of their group unknown: null.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection

from rushes.domain.catalogue.price import Money, decimal_of_micros
from rushes.domain.margin import Valuation
from rushes.store.acceptance.given_back import KEPT, OF_TASKS
from rushes.store.database import statement

DAY_MS: Final = 86_400_000

MarginGroup: TypeAlias = Literal["model", "account", "day"]

_COST: Final = (
    "COALESCE(t.actual_cost_micros, CASE WHEN t.status = 'succeeded' THEN t.expected_cost_micros"
    " WHEN t.provider_cost IS NULL THEN 0 END)"
)

_GROUPS: Final[Mapping[MarginGroup, tuple[str, str]]] = {
    "model": ("t.model", ""),
    "account": ("a.name", " JOIN accounts a ON a.id = t.account_id"),
    "day": (f"t.completed_at_ms / {DAY_MS}", ""),
}

NOTHING_EARNED: Final[Mapping[str, Any]] = {
    "credits_settled": 0,
    "revenue": None,
    "provider_cost": {},
    "cost_unknown_count": 0,
    "margin": None,
}

_SUMS: Final = (
    "t.cost_currency AS currency,"
    f" CAST(SUM(CASE WHEN t.status = 'succeeded' THEN {KEPT} ELSE 0 END) AS bigint) AS credits,"
    f" CAST(COALESCE(SUM({_COST}), 0) AS bigint) AS micros,"
    f" CAST(SUM(CASE WHEN {_COST} IS NULL THEN 1 ELSE 0 END) AS bigint) AS unknown"
)


def batch_margin(connection: Connection, batch_id: int, valuation: Valuation) -> dict[str, Any]:
    """The margin of all tries of a batch that have ended."""
    rows = connection.execute(
        statement(
            f"SELECT {_SUMS} FROM video_tasks t{OF_TASKS} WHERE t.batch_id = :batch_id"
            " AND t.status IN ('succeeded', 'failed') GROUP BY t.cost_currency ORDER BY t.cost_currency"
        ),
        {"batch_id": batch_id},
    )
    sums = _Sums()
    for row in rows:
        sums.add(row.currency, row.credits, row.micros, row.unknown)
    return sums.document(valuation)


def margins(
    connection: Connection,
    group: MarginGroup,
    valuation: Valuation,
    *,
    since_ms: int,
    account_id: int | None = None,
) -> list[dict[str, Any]]:
    """The margins of what has ended since then by model, account or day (UTC), of all accounts or of one."""
    key, join = _GROUPS[group]
    of_account = "" if account_id is None else " AND t.account_id = :account_id"
    rows = connection.execute(
        statement(
            f"SELECT {key} AS grouped, {_SUMS} FROM video_tasks t{join}{OF_TASKS}"
            " WHERE t.completed_at_ms >= :since"
            f" AND t.status IN ('succeeded', 'failed'){of_account}"
            f" GROUP BY {key}, t.cost_currency ORDER BY {key}, t.cost_currency"
        ),
        {"since": since_ms, "account_id": account_id},
    )
    found: dict[object, _Sums] = {}
    for row in rows:
        found.setdefault(row.grouped, _Sums()).add(row.currency, row.credits, row.micros, row.unknown)
    return [{group: _name(group, key), **sums.document(valuation)} for key, sums in found.items()]


def earned_today(connection: Connection, valuation: Valuation, *, now_ms: int) -> Mapping[str, Any]:
    """What was earned since midnight, UTC: as `batch_margin` answers it."""
    midnight_ms = now_ms - now_ms % DAY_MS
    today = margins(connection, "day", valuation, since_ms=midnight_ms)
    return today[0] if today else NOTHING_EARNED


def item_margin(row: Mapping[str, Any], valuation: Valuation, *, given_back: int = 0) -> dict[str, Any]:
    """What one try was expected to cost, what it cost, and what is left; a try that goes on has no margin.

    Of its credits, `given_back` came back.
    """
    currency, micros = row["cost_currency"], _cost_of(row)
    settled = row["credits"] - given_back if row["status"] == "succeeded" else 0
    margin = None
    if row["status"] in ("succeeded", "failed"):
        costs = {} if not micros or currency is None else {currency: micros}
        margin = valuation.margin(settled, costs, is_known=micros is not None)
    return {
        "expected_cost": _text(row["expected_cost_micros"]),
        "actual_cost": _text(row["actual_cost_micros"]),
        "cost_currency": currency,
        "provider_cost": row["provider_cost"],
        "provider_cost_unit": row["provider_cost_unit"],
        "margin": None if margin is None else f"{margin.amount:f}",
        "margin_currency": None if margin is None else margin.currency,
    }


def _cost_of(row: Mapping[str, Any]) -> int | None:
    """As `_COST` has it."""
    if row["actual_cost_micros"] is not None:
        return int(row["actual_cost_micros"])
    if row["status"] == "succeeded":
        expected: int | None = row["expected_cost_micros"]
        return expected
    return 0 if row["provider_cost"] is None else None


def _text(micros: int | None) -> str | None:
    return None if micros is None else f"{decimal_of_micros(micros):f}"


def _name(group: MarginGroup, key: object) -> object:
    if group != "day":
        return key
    return datetime.fromtimestamp(int(str(key)) * DAY_MS / 1000, UTC).date().isoformat()


class _Sums:
    def __init__(self) -> None:
        self.credits = 0
        self.unknown = 0
        self.micros: dict[str, int] = {}

    def add(self, currency: str | None, credits: int, micros: int, unknown: int) -> None:
        self.credits += credits
        self.unknown += unknown
        if currency is not None and micros:
            self.micros[currency] = self.micros.get(currency, 0) + micros

    def document(self, valuation: Valuation) -> dict[str, Any]:
        """Amounts are text, so that no digit is lost."""
        revenue = valuation.revenue(self.credits)
        margin = valuation.margin(self.credits, self.micros, is_known=not self.unknown)
        return {
            "credits_settled": self.credits,
            "revenue": _money(revenue),
            "provider_cost": {currency: _text(micros) for currency, micros in self.micros.items()},
            "cost_unknown_count": self.unknown,
            "margin": _money(margin),
        }


def _money(money: Money | None) -> dict[str, str] | None:
    return None if money is None else money.document()
