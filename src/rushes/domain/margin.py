"""What the operator earns: credits at their value, less what the providers charge. For operators only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final

from rushes.domain.catalogue.options import Origin
from rushes.domain.catalogue.price import MICROS, Money, exact, micros_of
from rushes.domain.catalogue.price_reading import COST_MAX, check_currency
from rushes.domain.errors import InputError

CREDIT_VALUE_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class CreditValue:
    """What one credit is sold for."""

    amount: Fraction
    currency: str

    def describe(self) -> str:
        """`0.01 USD`."""
        return f"{Decimal(self.amount.numerator) / Decimal(self.amount.denominator):f} {self.currency}"


def read_credit_value(value: object) -> object:
    """`0.01 USD` as a `CreditValue`; raises `ValueError` in one line."""
    if not isinstance(value, str):
        return value
    number, _, currency = value.strip().partition(" ")
    try:
        amount = exact(number) if len(number) <= 20 else None
        currency = check_currency(currency.strip(), Origin())
    except (ValueError, InputError):
        amount = None
    if amount is None or not 0 < amount <= CREDIT_VALUE_MAX:
        raise ValueError(f"must be an amount and a currency such as 0.01 USD, not {value!r}"[:120])
    return CreditValue(amount, currency)


def read_money(text: str) -> Money:
    """`50 USD`, from 0 to a million; raises `ValueError` in one line."""
    number, _, currency = text.strip().partition(" ")
    try:
        amount = exact(number) if len(number) <= 20 else None
        currency = check_currency(currency.strip(), Origin())
    except (ValueError, InputError):
        amount = None
    if amount is None or not 0 <= amount <= COST_MAX:
        raise ValueError(f"must be an amount and a currency such as 50 USD, not {text!r}"[:120])
    return Money(micros_of(amount), currency)


@dataclass(frozen=True, slots=True)
class Valuation:
    """How credits and costs become one currency: None where the operator has set no credit value."""

    value: CreditValue | None = None
    rates: Mapping[str, Fraction] = field(default_factory=dict)

    def revenue(self, credits: int) -> Money | None:
        """What these credits were sold for."""
        if self.value is None:
            return None
        return Money(round(credits * self.value.amount * MICROS), self.value.currency)

    def margin(self, credits: int, cost_micros: Mapping[str, int], *, is_known: bool) -> Money | None:
        """What is left of the credits after costs in these currencies.

        None without a credit value, when a cost is not known, and for a currency that has no rate.
        """
        if self.value is None or not is_known:
            return None
        left = credits * self.value.amount * MICROS
        for currency, micros in cost_micros.items():
            rate = Fraction(1) if currency == self.value.currency else self.rates.get(currency)
            if rate is None:
                return None
            left -= micros * rate
        return Money(round(left), self.value.currency)


NO_VALUATION: Final = Valuation()
"""Costs without margins."""
