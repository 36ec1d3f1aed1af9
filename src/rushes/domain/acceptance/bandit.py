"""Which model to take next, by what accepted clips have cost: Thompson sampling (Thompson, 1933).

For each model a share of accepted clips is drawn from what its clips so far make likely, Beta(1 + accepted,
1 + not accepted), and the model with the least price per drawn share is taken. So a model is tried for as
long as it may yet be the cheapest, and hardly ever once its clips say that it is not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """A model's clips that have a verdict, and how many of them were accepted."""

    accepted: int = 0
    clips: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """The model that is taken, and why, in one line."""

    model: str
    reason: str


def choose(
    prices: Mapping[str, int], records: Mapping[str, Record], beta: Callable[[float, float], float]
) -> Choice:
    """The next model among these, each with the credits of one clip. `beta(a, b)` draws from that law.

    The same prices, records and draws give the same choice. Raises `ValueError` without a model.
    """
    drawn: dict[str, float] = {}
    for name in sorted(prices):
        record = records.get(name, Record())
        share = beta(1 + record.accepted, 1 + record.clips - record.accepted)
        drawn[name] = prices[name] / max(share, 1e-9)
    if not drawn:
        raise ValueError("there is no model to choose from")
    first, *others = sorted(drawn, key=lambda name: (drawn[name], name))
    record = records.get(first, Record())
    known = f"{record.accepted} of {record.clips} clips accepted" if record.clips else "no clips yet"
    reason = f"{first}: {known}, {drawn[first]:.1f} credits per accepted clip drawn"
    if others:
        reason += f"; next {others[0]}, {drawn[others[0]]:.1f}"
    return Choice(first, reason)
