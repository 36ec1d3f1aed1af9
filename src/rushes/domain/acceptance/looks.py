"""What a clip looks like, as a number, so that clips that look alike are named: a hash of its stills.

Each still is averaged down to 9 × 8 greys; a bit says whether a grey is brighter than its right neighbour
(`dHash`, N. Krawetz 2013). Alike are clips whose stills, one by one, differ in few bits.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

LOOK_WIDTH: Final = 9
LOOK_HEIGHT: Final = 8
STILL_BITS: Final = (LOOK_WIDTH - 1) * LOOK_HEIGHT

BRIGHTER_LEVELS: Final = 2
"""How much brighter a grey must be to count: noise of an encoder on an even surface is none."""

NEAR_SHARE_MAX: Final = 0.12
"""Clips are near-equal when at most this share of their bits differs; docs/guides/duplicates.md: measured."""


EVEN_SHARE: Final = 0.05
"""Pictures of fewer set bits than this share, or fewer unset ones, are even: black, one colour, one gradient.
They say nothing, and are near to nothing."""


def still_bits(greys: Sequence[int]) -> int:
    """The bits of one still of `LOOK_WIDTH` × `LOOK_HEIGHT` greys, line by line."""
    bits = 0
    for row in range(LOOK_HEIGHT):
        line = greys[row * LOOK_WIDTH : (row + 1) * LOOK_WIDTH]
        for left, right in pairwise(line):
            bits = bits << 1 | (left > right + BRIGHTER_LEVELS)
    return bits


def look_text(stills: Sequence[int]) -> str:
    """The stills' bits in a row, in hexadecimal digits."""
    return "".join(f"{bits:0{STILL_BITS // 4}x}" for bits in stills)


def near_bits(one: str, other: str) -> int | None:
    """In how many bits two looks differ; None when they are not near, or one is even, or longer."""
    if len(one) != len(other) or is_even(one) or is_even(other):
        return None
    differing = (int(one, 16) ^ int(other, 16)).bit_count()
    return differing if differing <= NEAR_SHARE_MAX * len(one) * 4 else None


def is_even(look: str) -> bool:
    """Whether there is nothing to see in the look's stills."""
    bits = len(look) * 4
    set_bits = int(look or "0", 16).bit_count()
    return min(set_bits, bits - set_bits) < EVEN_SHARE * bits or not bits
