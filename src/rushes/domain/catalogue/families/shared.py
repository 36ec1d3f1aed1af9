"""What models of several providers share, and short forms for their prices and costs."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from rushes.domain.catalogue.media import Content, MediaInput, Way
from rushes.domain.catalogue.options import OneOf, Origin, YesNo
from rushes.domain.catalogue.price import Cost, Price
from rushes.domain.catalogue.price_reading import read_cost, read_price
from rushes.domain.catalogue.wire import Wire

ASPECT_RATIO: Final = OneOf(("9:16", "16:9"), synonyms={"portrait": "9:16", "landscape": "16:9"})

ALWAYS_WITH_SOUND: Final = YesNo(is_always=True, wire=Wire(is_sent=False))
"""Of models that make a soundtrack unasked: an item may ask for one, and nothing is sent."""

MEGABYTE: Final = 1024 * 1024
PICTURES: Final = ("image/jpeg", "image/png", "image/webp")
"""The formats of pictures that every service takes."""

URL_ONLY: Final[tuple[Way, ...]] = ("url",)


def one_file(content: Content = "image", *, ways: tuple[Way, ...] = URL_ONLY, **limits: Any) -> MediaInput:
    """A media input of one file."""
    return MediaInput(content=content, ways=ways, **limits)


def files(
    count_max: int, content: Content = "image", *, ways: tuple[Way, ...] = URL_ONLY, **limits: Any
) -> MediaInput:
    """A media input of up to `count_max` files."""
    return MediaInput(content=content, is_list=True, count_max=count_max, ways=ways, **limits)


def price(**fields: Any) -> Price:
    """What this installation charges, in credits; operators set their own."""
    return read_price(fields, Origin(path="price"))


def cost(currency: str, as_of: str, source: str, **fields: Any) -> Cost:
    """What the provider charges, as its public price list said on that day."""
    return read_cost({**fields, "currency": currency, "as_of": as_of, "source": source}, Origin(path="cost"))


def by_resolution(amounts: Mapping[str, str]) -> dict[str, Any]:
    """`per_second` and `by` of a tariff with these amounts a second; the first resolution is the base.

    Factors have eight decimal places: a video's cost is exact to a millionth.
    """
    (_, base), *others = amounts.items()
    factors = {lines: f"{Decimal(amount) / Decimal(base):.8f}" for lines, amount in others}
    return {"per_second": base, "by": {"resolution": factors}} if factors else {"per_second": base}
