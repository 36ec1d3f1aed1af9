"""Randomness as a function: the same seed, purpose and number give the same draw, in any order.

The generator is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
OOPSLA 2014) used as a hash of its counter, so a draw needs no state and costs under a microsecond.
"""

import math
from enum import IntEnum
from hashlib import blake2b

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_LANE = 0xD1B54A32D192ED03


class Lane(IntEnum):
    """What a draw is for; two lanes of one seed are independent."""

    OUTCOME = 1
    RENDER_RADIUS = 2
    RENDER_ANGLE = 3
    WORDING = 4
    SUBMIT_FAULT = 5
    POLL_FAULT = 6
    FAULT_VARIANT = 7
    LATENCY = 8
    REJECTION = 9
    CALLBACK_LOST = 10
    CALLBACK_LATE = 11
    CALLBACK_DUPLICATE = 12
    CALLBACK_OUT_OF_ORDER = 13
    CALLBACK_FORGED = 14
    CALLBACK_FORGERY = 15
    FILE_FAULT = 16
    DIALECT = 17
    CANCEL_FAULT = 18
    FIND_FAULT = 19
    CLIP = 20


def digest_of(*parts: str | int) -> bytes:
    """16 bytes that name these parts; a lone surrogate in a prompt is hashed as it stands."""
    text = "\0".join(str(part) for part in parts)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def id_of(*parts: str | int) -> str:
    """The id of the task that these parts name: 32 hexadecimal digits in five groups."""
    digest = digest_of(parts[0], "id", *parts[1:]).hex()
    return f"{digest[:2]}-{digest[2:10]}-{digest[10:14]}-{digest[14:18]}-{digest[18:32]}"


def seed_of(*parts: str | int) -> int:
    """A 64-bit seed for these parts."""
    return int.from_bytes(digest_of(*parts)[:8], "big")


def bits(seed: int, lane: Lane, number: int = 0) -> int:
    """64 random bits."""
    z = (seed + number * _GOLDEN + lane * _LANE) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def uniform(seed: int, lane: Lane, number: int = 0) -> float:
    """A draw from [0, 1)."""
    return (bits(seed, lane, number) >> 11) * 2.0**-53


def log_normal(seed: int, *, median: float, sigma: float) -> float:
    """A log-normal draw, by the Box-Muller transform; at most ten medians, so that every wait is bounded."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(seed, Lane.RENDER_RADIUS)))
    normal = radius * math.cos(2.0 * math.pi * uniform(seed, Lane.RENDER_ANGLE))
    return median * min(10.0, math.exp(sigma * normal))
