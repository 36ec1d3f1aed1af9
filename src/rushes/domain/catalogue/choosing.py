"""Choosing a model: which ones can do what somebody wants, and at what price."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from rushes.domain.catalogue.media import MediaInput
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf
from rushes.domain.catalogue.price import DURATION, ExpectedCost, exact
from rushes.domain.errors import InputError

RESOLUTION: Final = "resolution"
SOUND: Final = "sound"

_ANY_PICTURE: Final = f"upl_{'0' * 32}"
"""An upload: every model that takes pictures takes one that rushes has."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a model must be able to do; what is not set does not matter."""

    image: bool = False
    seconds: int | None = None
    resolution: str | None = None
    sound: bool = False
    credits_max: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every model will do."""
        return self == Wish()


@dataclass(frozen=True, slots=True)
class Offer:
    """What a model would make of a wish: the options to ask for, those of a picture aside, and the price."""

    model: Model
    options: Mapping[str, Any]
    credits: int
    cost: ExpectedCost | None

    @property
    def credits_per_second(self) -> Fraction | None:
        """The price of a second of this video; None where nothing says how long it is."""
        seconds = self.options.get(DURATION)
        return None if seconds is None else Fraction(self.credits) / exact(seconds)


def offer_of(model: Model, wish: Wish) -> Offer | None:
    """What the model would make of the wish; None when it cannot, or not at that price."""
    asked: dict[str, Any] = {}
    if wish.seconds is not None:
        asked[DURATION] = wish.seconds
    if wish.resolution is not None:
        asked[RESOLUTION] = wish.resolution.lower()
    if wish.sound:
        asked[SOUND] = True
    picture = _picture_input(model) if wish.image else None
    if wish.image and picture is None:
        return None
    try:
        normalised = model.normalise_options(asked if picture is None else {**asked, picture: _ANY_PICTURE})
    except InputError:
        return None
    price = model.price_of(normalised)
    if wish.credits_max is not None and price > wish.credits_max:
        return None
    options = {name: value for name, value in model.completed(normalised).items() if name != picture}
    return Offer(model, options, price, model.cost_of(normalised))


def _picture_input(model: Model) -> str | None:
    """The input by which a model takes a picture, a first frame before references; None without one."""
    pictures = [
        name
        for name, spec in model.options.items()
        if isinstance(spec, MediaInput) and spec.content == "image"
    ]
    return next((name for name in ("first_frame", "references", *pictures) if name in pictures), None)


def resolutions_of(models: Iterable[Model]) -> list[str]:
    """Every resolution that some model has, in the order in which they are met."""
    found: dict[str, None] = {}
    for model in models:
        spec = model.options.get(RESOLUTION)
        if isinstance(spec, OneOf):
            found |= dict.fromkeys(str(value) for value in spec.values)
    return list(found)
