"""Lengths of videos as clients of other services ask for them: the next that a model has, never shorter."""

from collections.abc import Mapping, Sequence
from typing import Any

from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, WholeNumber
from rushes.domain.catalogue.price import DURATION


def lengths_of(model: Model) -> Sequence[int] | None:
    """The seconds that a video of this model may have, in order; None where they cannot be listed."""
    match model.options.get(DURATION):
        case OneOf(values=values):
            lengths = sorted(value for value in values if isinstance(value, int))
            return lengths if len(lengths) == len(values) else None
        case WholeNumber() as whole:
            return range(whole.minimum, whole.maximum + 1, whole.step)
        case _:
            return None


def fitting_length(lengths: Sequence[int], asked: int) -> int | None:
    """The shortest of these lengths that is no shorter than was asked for; None above the longest."""
    return next((length for length in lengths if length >= asked), None)


def with_fitting_length(model: Model, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same options with a length that the model has: the next longer one, none where there is only one.

    What is no number of seconds and what is above the longest stay, for the model to refuse.
    """
    asked = options.get(DURATION)
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        return options
    spec = model.options.get(DURATION)
    if spec is None:
        return {name: value for name, value in options.items() if name != DURATION}
    if isinstance(spec, OneOf) and asked in spec.values:
        return options
    lengths = lengths_of(model)
    if lengths is None or asked in lengths:
        return options
    length = lengths[0] if len(lengths) == 1 else fitting_length(lengths, asked)
    return options if length is None else {**options, DURATION: length}
