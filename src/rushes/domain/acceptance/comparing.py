"""Two models compared by what an accepted clip of each costs, and when there are clips enough to tell.

Clips are bought in pairs, one of each model for the same prompt, and looked at after 8 pairs and whenever
there are twice as many. Look number k may be wrong in 5 % / 2^k of cases, so a comparison is wrong in less
than 5 %, however often it is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

from rushes.domain.acceptance.intervals import share_interval

PAIRS_FIRST: Final = 8
"""Pairs before the first look, and clips of each model without which no look names one."""

WRONG_SHARE: Final = 0.05
"""How often a comparison of two models that cost the same may name a winner."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the two models: its clips so far, how many of them were accepted, and what all of them cost."""

    model: str
    clips: int
    accepted: int
    credits: int

    def per_credit(self, z: float) -> tuple[float, float, float]:
        """Accepted clips per credit: as counted, and the bounds of its interval."""
        low, high = share_interval(self.accepted, self.clips, z)
        clips_per_credit = self.clips / self.credits
        return self.accepted / self.credits, low * clips_per_credit, high * clips_per_credit

    def as_dict(self) -> dict[str, Any]:
        """The object of the report; the interval is that of 95 %, and None is a cost without bound."""
        low, high = share_interval(self.accepted, self.clips)
        price = self.credits / max(1, self.clips)
        return {
            "model": self.model,
            "clips": self.clips,
            "accepted": self.accepted,
            "credits": self.credits,
            "cost_per_accepted": round(self.credits / self.accepted, 4) if self.accepted else None,
            "cost_interval": [round(price / high, 4), round(price / low, 4) if low else None],
        }


def z_of_look(number: int) -> float:
    """How wide the intervals of this look are, of the looks from 1: two-sided."""
    return NormalDist().inv_cdf(1 - WRONG_SHARE / 2**number / 2)


def cheaper(first: Arm, second: Arm, look: int) -> Arm | None:
    """The model whose accepted clips cost less for certain at this look; None as long as nobody can tell.

    Compared is how many accepted clips a credit buys, which is 0 where none was accepted. The interval of the
    difference is put together from those of both (Newcombe 1998; Zou and Donner 2008).
    """
    if min(first.clips, second.clips) < PAIRS_FIRST or not first.credits or not second.credits:
        return None
    z = z_of_look(look)
    one, one_low, one_high = first.per_credit(z)
    other, other_low, other_high = second.per_credit(z)
    difference = one - other
    if difference - ((one - one_low) ** 2 + (other_high - other) ** 2) ** 0.5 > 0:
        return first
    if difference + ((one_high - one) ** 2 + (other - other_low) ** 2) ** 0.5 < 0:
        return second
    return None


PAIRS_MAX: Final = 2_048
"""Pairs after which two models are taken to cost the same."""


def pairs_next(bought: int, prices: Sequence[int], credits_left: int) -> int:
    """How many pairs to buy before the next look: as many as there are, 8 first, within credits and limit.

    `prices` are those of a pair for each prompt in its turn, the next one first.
    """
    wanted, count, spent = min(max(PAIRS_FIRST, bought), PAIRS_MAX - bought), 0, 0
    while count < wanted and spent + prices[count % len(prices)] <= credits_left:
        spent += prices[count % len(prices)]
        count += 1
    return count
