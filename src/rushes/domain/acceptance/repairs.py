"""What the next clip of an item changes, so that it is not the rejected one again."""

from collections.abc import Mapping
from typing import Any, Final

SEEDS: Final = 2**31
"""Seeds are whole numbers below this."""


def with_another_seed(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The options with the next seed, where the item names one: with the same seed a model repeats itself.

    None for an item that names none: its next clip is another one anyway.
    """
    seed = options.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        return None
    return {**options, "seed": (seed + 1) % SEEDS}
