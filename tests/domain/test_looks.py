"""Looks: near is what differs in few bits, and what shows nothing is near to nothing."""

import random

from rushes.domain.acceptance.looks import (
    LOOK_HEIGHT,
    LOOK_WIDTH,
    NEAR_SHARE_MAX,
    STILL_BITS,
    look_text,
    near_bits,
    still_bits,
)


def _look(seed: int) -> str:
    draw = random.Random(seed)
    return look_text([draw.getrandbits(STILL_BITS) for _ in range(5)])


def test_a_bit_says_whether_a_grey_is_clearly_brighter_than_its_right_neighbour() -> None:
    falling = [200 - 10 * (n % LOOK_WIDTH) for n in range(LOOK_WIDTH * LOOK_HEIGHT)]
    assert still_bits(falling) == 2**STILL_BITS - 1
    assert still_bits([n + n % 2 for n in [100] * (LOOK_WIDTH * LOOK_HEIGHT)]) == 0
    assert still_bits(falling[::-1]) == 0
    noise = [100 + (n * 7) % 3 for n in range(LOOK_WIDTH * LOOK_HEIGHT)]
    assert still_bits(noise) == 0, "an encoder's noise is no picture"


def test_near_looks_differ_in_at_most_that_share_of_bits() -> None:
    look = _look(1)
    most = int(NEAR_SHARE_MAX * 5 * STILL_BITS)
    flipped = f"{int(look, 16) ^ (2**most - 1):080x}"
    assert near_bits(look, flipped) == most
    assert near_bits(look, f"{int(look, 16) ^ (2 ** (most + 1) - 1):080x}") is None
    assert near_bits(look, look) == 0
    assert near_bits(look, _look(2)) is None
    assert near_bits(look, look[:64]) is None, "another number of stills"


def test_even_pictures_are_near_to_nothing() -> None:
    black = look_text([0] * 5)
    assert near_bits(black, black) is None
    assert near_bits("f" * 80, "f" * 80) is None
    assert near_bits("", "") is None
