"""What a video costs by its options: exact arithmetic with fractions, rounded once, at the end.

A `Tariff` is one of three forms, `per_second`, `per_video` or a `table`, and what comes on top of it. Two
things have that form: a `Price`, in whole credits, and a `Cost`, in the money of a provider. Both are read
from data by `rushes.domain.catalogue.price_reading`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final, TypeAlias

MICROS: Final = 1_000_000
"""Money is kept in whole millionths of its currency."""

NANOS: Final = 1_000_000_000

DURATION: Final = "duration"
"""The option that says how many seconds a video has."""

Options: TypeAlias = Mapping[str, object]
Factors: TypeAlias = Mapping[str, Mapping[str, Fraction]]


def exact(value: int | Decimal | float | str) -> Fraction:
    """The number as it is written: 0.1 is a tenth. Raises `ValueError` for what is no finite number."""
    if isinstance(value, float):
        value = repr(value)
    try:
        return Fraction(Decimal(value))
    except (ArithmeticError, ValueError, OverflowError):
        raise ValueError(f"{value!r} is no finite number") from None


def value_text(value: object) -> str:
    """An option's value as a price names it: `true`, `1080p`, `5`."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class TableRow:
    """The amount for videos whose options have exactly these values, as texts."""

    options: Mapping[str, str]
    amount: Fraction


@dataclass(frozen=True, slots=True)
class Tariff:
    """Exactly one of `per_second`, `per_video` and `table` is set.

    `by` multiplies it: a factor for some values of an option, 1 for all others. Then each input picture
    beyond the free ones costs `per_input_image`, and the whole is at least `minimum`.
    """

    per_second: Fraction | None = None
    per_video: Fraction | None = None
    table: tuple[TableRow, ...] = ()
    by: Factors = field(default_factory=dict)
    per_input_image: Fraction = Fraction(0)
    free_input_images: int = 0
    minimum: Fraction = Fraction(0)

    @property
    def priced_options(self) -> tuple[str, ...]:
        """The options that change the amount, in the order in which they are named."""
        seconds = () if self.per_second is None else (DURATION,)
        columns = tuple(self.table[0].options) if self.table else ()
        return tuple(dict.fromkeys((*seconds, *columns, *self.by)))

    def amount(self, options: Options, input_images: int = 0) -> Fraction:
        """What a video with these options costs, not rounded.

        `options` has a value for each priced option; `KeyError` otherwise, and for a gap in the table.
        """
        amount = self._base(options)
        for name, factors in self.by.items():
            amount *= factors.get(value_text(options[name]), 1)
        amount += self.per_input_image * max(0, input_images - self.free_input_images)
        return max(self.minimum, amount)

    def _base(self, options: Options) -> Fraction:
        if self.per_second is not None:
            seconds = options[DURATION]
            assert isinstance(seconds, int | float | Decimal), "a duration is a number"
            return self.per_second * exact(seconds)
        if self.per_video is not None:
            return self.per_video
        for row in self.table:
            if all(value_text(options[name]) == value for name, value in row.options.items()):
                return row.amount
        raise KeyError(f"the table has no row for {dict(options)}")


@dataclass(frozen=True, slots=True)
class Price:
    """Credits of one video."""

    tariff: Tariff

    @classmethod
    def flat(cls, credits: int) -> "Price":
        """The same for every video."""
        return cls(Tariff(per_video=Fraction(credits)))

    def credits(self, options: Options, input_images: int = 0) -> int:
        """What a video with these options costs, rounded up to a whole credit."""
        return math.ceil(self.tariff.amount(options, input_images))


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of a currency, in whole millionths."""

    micros: int
    currency: str

    @property
    def amount(self) -> Decimal:
        """The amount as a decimal number without zeros at its end."""
        return decimal_of_micros(self.micros)

    def document(self) -> dict[str, str]:
        """`{"amount": "0.6", "currency": "USD"}`: the amount is text, so that no digit is lost."""
        return {"amount": f"{self.amount:f}", "currency": self.currency}


def decimal_of_micros(micros: int) -> Decimal:
    """Whole millionths as a decimal number without zeros at its end."""
    found = Decimal(micros).scaleb(-6)
    return found.quantize(Decimal(1)) if found == found.to_integral_value() else found.normalize()


def micros_of(amount: Fraction) -> int:
    """The nearest whole millionth, a half to the even one."""
    return round(amount * MICROS)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the provider charges for one video, as known on `as_of`, from `source`.

    `unit` names what the provider reports when it reports no money, such as Runway's `credits`, and
    `unit_price` is what one of them costs; `unit_price_by` what one costs for some values of an option.
    """

    tariff: Tariff
    currency: str
    as_of: date
    source: str
    unit: str | None = None
    unit_price: Fraction = Fraction(0)
    unit_price_by: Factors = field(default_factory=dict)

    def expected(self, options: Options, input_images: int = 0) -> "ExpectedCost":
        """What a task is kept with: the money, and what is needed to convert what the provider reports."""
        nanos = None if self.unit is None else round(self._price_of_unit(options) * NANOS)
        return ExpectedCost(self.money(options, input_images), self.unit, nanos)

    def _price_of_unit(self, options: Options) -> Fraction:
        for name, prices in self.unit_price_by.items():
            found = prices.get(value_text(options.get(name)))
            if found is not None:
                return found
        return self.unit_price

    def money(self, options: Options, input_images: int = 0) -> Money:
        """The expected cost of a video with these options, rounded to a millionth."""
        return Money(micros_of(self.tariff.amount(options, input_images)), self.currency)


@dataclass(frozen=True, slots=True)
class ExpectedCost:
    """The provider's cost of one task as it was known when its credits were reserved.

    One `unit` of what the provider reports costs `unit_nanos` billionths of the money's currency.
    """

    money: Money
    unit: str | None = None
    unit_nanos: int | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What a task costs and what is sent for it: fixed when its credits are reserved.

    `sent_options` are the options that its author wrote and the defaults of the others.
    """

    credits: int
    sent_options: Options
    cost: ExpectedCost | None = None


def total(amounts: Sequence[Money]) -> dict[str, int]:
    """Millionths by currency: amounts of different currencies are never added."""
    found: dict[str, int] = {}
    for money in amounts:
        found[money.currency] = found.get(money.currency, 0) + money.micros
    return found
