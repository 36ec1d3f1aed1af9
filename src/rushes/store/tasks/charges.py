"""How a task's charge stands in its row: what is sent, and what the provider is expected to ask for it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from rushes.domain.catalogue.price import Charge

CHARGE_FIELDS: Final = {
    "sent_options": str,
    "expected_cost_micros": int,
    "cost_currency": str,
    "cost_unit": str,
    "cost_unit_nanos": int,
}
"""The columns beside `credits`, with their types."""

CHARGE_COLUMNS: Final = ", ".join(CHARGE_FIELDS)

NO_CHARGE: Final = (None,) * len(CHARGE_FIELDS)

_encode = msgspec.json.Encoder().encode


def charge_row(charge: Charge | None, options: Mapping[str, Any]) -> tuple[object, ...]:
    """The columns' values for a task with these options; without a charge nothing is known of its cost."""
    if charge is None:
        return NO_CHARGE
    sent, cost = charge.sent_options, charge.cost
    stored = None if sent == options else _encode(sent).decode()
    if cost is None:
        return (stored, None, None, None, None)
    return (stored, cost.money.micros, cost.money.currency, cost.unit, cost.unit_nanos)
