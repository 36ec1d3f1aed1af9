"""Prices once more, from the same facts and nothing else of rushes: decimals of 60 digits and integers."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Any


def word(value: object) -> str:
    """A value as price lists write it."""
    if value is True:
        return "true"
    return "false" if value is False else str(value)


def credits_for(price: Mapping[str, Any], options: Mapping[str, Any], pictures: int) -> int:
    """Whole credits of one video, by a price as an operator writes it."""
    with localcontext() as context:
        context.prec = 60
        if "table" in price:
            (row,) = (
                row
                for row in price["table"]
                if all(word(options[name]) == word(value) for name, value in row.items() if name != "credits")
            )
            amount = Decimal(row["credits"])
        elif "per_second" in price:
            amount = Decimal(price["per_second"]) * Decimal(str(options["duration"]))
        else:
            amount = Decimal(price["per_video"])
        for name, factors in price.get("by", {}).items():
            amount *= Decimal(str(factors.get(word(options[name]), 1)))
        paid = max(0, pictures - price.get("free_input_images", 0))
        amount += Decimal(price.get("per_input_image", 0)) * paid
        amount = max(amount, Decimal(price.get("minimum", 0)))
        return int(amount.to_integral_value(rounding=ROUND_CEILING))
