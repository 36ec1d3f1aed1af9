"""Prices and costs as they are written: read, checked against the model's options, and shown.

    price = { per_second = 5, by.resolution = { 1080p = 1.5, "4k" = 3 }, per_input_image = 2, minimum = 10 }
    price = { per_video = 10 }
    price = { table = [ { duration = 5, resolution = "720p", credits = 20 } ] }
    cost  = { per_second = "0.05", currency = "USD", as_of = 2026-11-01, source = "https://…" }

Every mistake is one line with its place.
"""

import contextlib
import itertools
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from rushes.domain.catalogue.currencies import CURRENCIES
from rushes.domain.catalogue.options import (
    NOWHERE,
    DecimalNumber,
    OneOf,
    OptionSpec,
    Origin,
    WholeNumber,
    default_of,
    nearest,
    quoted,
    values_of,
)
from rushes.domain.catalogue.price import DURATION, Cost, Price, TableRow, Tariff, exact, value_text

MODEL_CREDITS_MAX: Final = 1_000_000
"""The highest price of one video: a full batch of them stays far below the largest balance."""

COST_MAX: Final = 1_000_000
"""The highest cost of one video, in any currency."""

FACTOR_MAX: Final = 1000
TABLE_ROWS_MAX: Final = 10_000
FREE_IMAGES_MAX: Final = 1000
SOURCE_CHARACTERS_MAX: Final = 500

_FORMS: Final = ("per_second", "per_video", "table")
_TARIFF_FIELDS: Final = (*_FORMS, "by", "per_input_image", "free_input_images", "minimum")
_COST_FIELDS: Final = (*_TARIFF_FIELDS, "currency", "as_of", "source", "unit", "unit_price", "unit_price_by")


def read_price(value: object, origin: Origin = NOWHERE) -> Price:
    """The price in an operator's or a family's data. Raises `InputError` with the field at fault."""
    return Price(_read_tariff(value, origin, _credits, "credits", _TARIFF_FIELDS))


def read_cost(value: object, origin: Origin = NOWHERE) -> Cost:
    """The provider's cost: decimal amounts, a currency, and when and where they were read."""
    tariff = _read_tariff(value, origin, _amount, "amount", _COST_FIELDS)
    assert isinstance(value, Mapping), "a tariff was read from it"
    unit = value.get("unit")
    if unit is not None and not (isinstance(unit, str) and unit.isprintable() and 0 < len(unit) <= 40):
        raise origin.error(f"must be a name such as credits, not {quoted(unit)}", "unit")
    if (unit is None) != ("unit_price" not in value):
        raise origin.error("unit and unit_price go together", "unit" if unit is None else "unit_price")
    return Cost(
        tariff,
        check_currency(value.get("currency"), origin),
        _as_of(value.get("as_of"), origin),
        _source(value.get("source"), origin),
        unit,
        Fraction(0) if unit is None else _amount(value["unit_price"], origin, "unit_price"),
        _unit_prices(value.get("unit_price_by", {}), origin, has_unit=unit is not None),
    )


def _unit_prices(value: object, origin: Origin, *, has_unit: bool) -> dict[str, dict[str, Fraction]]:
    if value and not has_unit:
        raise origin.error("needs unit and unit_price", "unit_price_by")
    if not isinstance(value, Mapping):
        raise origin.error(f"must be an object, not {quoted(value)}", "unit_price_by")
    found: dict[str, dict[str, Fraction]] = {}
    for option, prices in value.items():
        place = f"unit_price_by.{option}"
        if not isinstance(prices, Mapping) or not prices:
            raise origin.error(f"must be an object of values and prices, not {quoted(prices)}", place)
        found[str(option)] = {
            value_text(text): _amount(price, origin, f"{place}.{text}") for text, price in prices.items()
        }
    return found


def check_currency(value: object, origin: Origin, field_name: str = "currency") -> str:
    """An ISO 4217 code; raises `InputError`."""
    if not isinstance(value, str) or value not in CURRENCIES:
        hint = ""
        if isinstance(value, str) and value.upper() in CURRENCIES:
            hint = f"; did you mean {quoted(value.upper())}?"
        raise origin.error(
            f"must be a currency of ISO 4217 such as USD, not {quoted(value)}{hint}", field_name
        )
    return value


# --- a tariff -------------------------------------------------------------------------------------------


_Number = Callable[[object, Origin, str], Fraction]


def _read_tariff(
    value: object, origin: Origin, number: _Number, amount_name: str, fields: tuple[str, ...]
) -> Tariff:
    if not isinstance(value, Mapping):
        raise origin.error(f"must be an object such as {{ per_video = 10 }}, not {quoted(value)}")
    for name in value:
        if name not in fields:
            suggestion = nearest(str(name), fields)
            hint = f"did you mean {quoted(suggestion)}?" if suggestion else f"use {', '.join(fields)}"
            raise origin.error(f"has no field {quoted(str(name))}; {hint}")
    forms = [name for name in _FORMS if name in value]
    if len(forms) != 1:
        raise origin.error(f"must have exactly one of {', '.join(_FORMS)}, not {len(forms)}")
    return Tariff(
        per_second=number(value["per_second"], origin, "per_second") if "per_second" in value else None,
        per_video=number(value["per_video"], origin, "per_video") if "per_video" in value else None,
        table=_table(value["table"], origin, number, amount_name) if "table" in value else (),
        by=_factors(value.get("by", {}), origin),
        per_input_image=number(value.get("per_input_image", 0), origin, "per_input_image"),
        free_input_images=_whole(value.get("free_input_images", 0), origin, "free_input_images"),
        minimum=number(value.get("minimum", 0), origin, "minimum"),
    )


def _credits(value: object, origin: Origin, name: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MODEL_CREDITS_MAX:
        raise origin.error(f"must be whole credits from 0 to {MODEL_CREDITS_MAX}, not {_shown(value)}", name)
    return Fraction(value)


def _amount(value: object, origin: Origin, name: str) -> Fraction:
    found = _number(value)
    if found is None or not 0 <= found <= COST_MAX:
        raise origin.error(f"must be a number from 0 to {COST_MAX}, not {_shown(value)}", name)
    return found


def _whole(value: object, origin: Origin, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= FREE_IMAGES_MAX:
        raise origin.error(f"must be a whole number from 0 to {FREE_IMAGES_MAX}, not {_shown(value)}", name)
    return value


def _number(value: object) -> Fraction | None:
    """The number exactly as it is written, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        if len(str(value)) > 40 or abs(Decimal(str(value)).adjusted()) > 20:
            return None
        return exact(value)
    except (ArithmeticError, ValueError):
        return None


def _shown(value: object) -> str:
    return str(value)[:40] if isinstance(value, Decimal) else quoted(value)


def _factors(value: object, origin: Origin) -> dict[str, dict[str, Fraction]]:
    if not isinstance(value, Mapping):
        raise origin.error(f"must be an object, not {quoted(value)}", "by")
    found: dict[str, dict[str, Fraction]] = {}
    for option, factors in value.items():
        if not isinstance(factors, Mapping) or not factors:
            raise origin.error(
                f"must be an object of values and their factors, not {quoted(factors)}", f"by.{option}"
            )
        for text, factor in factors.items():
            number = _number(factor)
            if number is None or not 0 < number <= FACTOR_MAX:
                raise origin.error(
                    f"must be a factor above 0 and at most {FACTOR_MAX}, not {_shown(factor)}",
                    f"by.{option}.{text}",
                )
            found.setdefault(str(option), {})[value_text(text)] = number
    return found


def _table(value: object, origin: Origin, number: _Number, amount_name: str) -> tuple[TableRow, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise origin.error(f"must be a list of at least one row, not {quoted(value)}", "table")
    if len(value) > TABLE_ROWS_MAX:
        raise origin.error(f"{len(value)} rows, more than {TABLE_ROWS_MAX}", "table")
    rows: list[TableRow] = []
    for index, row in enumerate(value):
        place = f"table[{index}]"
        if not isinstance(row, Mapping) or amount_name not in row:
            raise origin.error(f"must be an object with {amount_name} and the options it is for", place)
        options = {str(name): value_text(text) for name, text in row.items() if name != amount_name}
        if rows and options.keys() != rows[0].options.keys():
            raise origin.error(
                f"must name the same options as the first row: {', '.join(rows[0].options)}", place
            )
        if any(options == earlier.options for earlier in rows):
            raise origin.error("the same options as an earlier row", place)
        rows.append(TableRow(options, number(row[amount_name], origin, f"{place}.{amount_name}")))
    return tuple(rows)


def _as_of(value: object, origin: Origin) -> date:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = date.fromisoformat(value)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise origin.error(f"must be a date such as 2026-11-01, not {quoted(str(value))}", "as_of")
    return value


def _source(value: object, origin: Origin) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= SOURCE_CHARACTERS_MAX or not value.isprintable():
        raise origin.error(
            f"must say where the cost was read, in 1 to {SOURCE_CHARACTERS_MAX} printable characters",
            "source",
        )
    return value


# --- against the options -------------------------------------------------------------------------------


def problem_of(tariff: Tariff, specs: Mapping[str, OptionSpec], amount_max: int) -> str | None:
    """What is wrong with a tariff for a model with these options, with its place first; or None."""
    columns = tuple(tariff.table[0].options) if tariff.table else ()
    both = next((name for name in columns if name in tariff.by), None)
    if both is not None:
        return f"by.{both}: the table has a column for it already"
    if tariff.per_second is not None and DURATION in tariff.by:
        return "by.duration: per_second counts it already"
    for name in tariff.priced_options:
        place = "per_second" if tariff.per_second is not None and name == DURATION else f"by.{name}"
        if name in columns:
            place = f"table: {name}"
        if name not in specs:
            suggestion = nearest(name, tuple(specs))
            hint = f"; did you mean {quoted(suggestion)}?" if suggestion else ""
            return f"{place}: the model has no option {quoted(name)}{hint}"
        if default_of(specs[name]) is None:
            return f"{place}: the option {name} needs a default to be priced"
    for name, factors in tariff.by.items():
        for text in factors:
            problem = _not_a_value(text, specs[name])
            if problem is not None:
                return f"by.{name}.{text}: {problem}"
    if tariff.per_second is not None and _longest(specs[DURATION]) is None:
        return "per_second: the option duration must be a number of seconds"
    problem = _gap(tariff, specs) if tariff.table else None
    if problem is not None:
        return problem
    highest = _highest(tariff, specs)
    if highest > amount_max:
        return f"the dearest video would be {float(highest):,.0f}, more than {amount_max:,}"
    return None


def problem_of_unit_prices(cost: Cost, specs: Mapping[str, OptionSpec]) -> str | None:
    """What is wrong with a cost's prices of units for a model with these options, or None."""
    for name, prices in cost.unit_price_by.items():
        if name not in specs:
            return f"unit_price_by.{name}: the model has no option {quoted(name)}"
        for text in prices:
            problem = _not_a_value(text, specs[name])
            if problem is not None:
                return f"unit_price_by.{name}.{text}: {problem}"
    return None


def _not_a_value(text: str, spec: OptionSpec) -> str | None:
    values = values_of(spec)
    if values is None or text in (texts := tuple(map(value_text, values))):
        return None
    suggestion = nearest(text, texts)
    hint = f"; did you mean {quoted(suggestion)}?" if suggestion else ""
    return f"is no value of the option: it is {spec.describe()}{hint}"


def _longest(spec: OptionSpec) -> Fraction | None:
    match spec:
        case WholeNumber() | DecimalNumber():
            return Fraction(spec.maximum)
        case OneOf() if all(isinstance(value, int) for value in spec.values):
            return Fraction(max(int(value) for value in spec.values))
        case _:
            return None


def _gap(tariff: Tariff, specs: Mapping[str, OptionSpec]) -> str | None:
    """The first combination of the options' values that no row is for, or a row that nothing can match."""
    names = tuple(tariff.table[0].options)
    values: list[list[str]] = []
    for name in names:
        listed = values_of(specs[name])
        if listed is None:
            return f"table: {name} has too many values for a table"
        values.append([value_text(value) for value in listed])
    rows = {tuple(row.options[name] for name in names): index for index, row in enumerate(tariff.table)}
    for key, index in rows.items():
        for name, text, known in zip(names, key, values, strict=True):
            if text not in known:
                described = specs[name].describe()
                return f"table[{index}].{name}: {quoted(text)} is no value of the option: it is {described}"
    for key in itertools.product(*values):
        if key not in rows:
            asked = ", ".join(f"{name} {text}" for name, text in zip(names, key, strict=True))
            return f"table: no row for {asked}"
    return None


def _highest(tariff: Tariff, specs: Mapping[str, OptionSpec]) -> Fraction:
    if tariff.per_second is not None:
        base = tariff.per_second * (_longest(specs[DURATION]) or 0)
    elif tariff.per_video is not None:
        base = tariff.per_video
    else:
        base = max(row.amount for row in tariff.table)
    for factors in tariff.by.values():
        base *= max(Fraction(1), *factors.values())
    return max(tariff.minimum, base)


# --- shown ------------------------------------------------------------------------------------------------


def tariff_document(tariff: Tariff, amount_name: str) -> dict[str, Any]:
    """The tariff as it could be written; whole numbers are numbers, others text, so that no digit is lost."""
    document: dict[str, Any] = {}
    if tariff.per_second is not None:
        document["per_second"] = _written(tariff.per_second)
    elif tariff.per_video is not None:
        document["per_video"] = _written(tariff.per_video)
    else:
        document["table"] = [{**row.options, amount_name: _written(row.amount)} for row in tariff.table]
    if tariff.by:
        document["by"] = {
            name: {text: _written(factor) for text, factor in factors.items()}
            for name, factors in tariff.by.items()
        }
    for name in ("per_input_image", "free_input_images", "minimum"):
        if getattr(tariff, name):
            document[name] = _written(Fraction(getattr(tariff, name)))
    return document


def cost_document(cost: Cost) -> dict[str, Any]:
    """The cost as it could be written."""
    document = tariff_document(cost.tariff, "amount")
    document |= {"currency": cost.currency, "as_of": cost.as_of.isoformat(), "source": cost.source}
    if cost.unit is not None:
        document |= {"unit": cost.unit, "unit_price": _written(cost.unit_price)}
    if cost.unit_price_by:
        document["unit_price_by"] = {
            name: {text: _written(price) for text, price in prices.items()}
            for name, prices in cost.unit_price_by.items()
        }
    return document


def tariff_text(tariff: Tariff) -> str:
    """`5 a second; resolution 1080p × 1.5; at least 10`."""
    if tariff.per_second is not None:
        parts = [f"{_written(tariff.per_second)} a second"]
    elif tariff.per_video is not None:
        parts = [f"{_written(tariff.per_video)} a video"]
    else:
        amounts = [row.amount for row in tariff.table]
        span = f"{_written(min(amounts))} to {_written(max(amounts))}"
        parts = [f"{span} a video by {', '.join(tariff.table[0].options)}"]
    for name, factors in tariff.by.items():
        parts.append(f"{name} " + ", ".join(f"{text} × {_written(one)}" for text, one in factors.items()))
    if tariff.per_input_image:
        free = f" beyond {tariff.free_input_images}" if tariff.free_input_images else ""
        parts.append(f"{_written(tariff.per_input_image)} an input image{free}")
    if tariff.minimum:
        parts.append(f"at least {_written(tariff.minimum)}")
    return "; ".join(parts)


def _written(number: Fraction) -> int | str:
    if number.denominator == 1:
        return number.numerator
    return f"{Decimal(number.numerator) / Decimal(number.denominator):f}"


def stored_price(price: Price) -> dict[str, Any]:
    """A price for the database; `read_price` reads it again, table rows' texts included."""
    return tariff_document(price.tariff, "credits")
