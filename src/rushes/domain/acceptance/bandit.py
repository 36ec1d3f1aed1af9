"""Which model to take next, by what accepted clips have cost: Thompson sampling (Thompson, 1933).

For each model a share of accepted clips is drawn from what its clips so far make likely, Beta(1 + accepted,
1 + not accepted), and the model with the least price per drawn share is taken. So a model is tried for as
long as it may yet be the cheapest, and hardly ever once its clips say that it is not.
"""

from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Draw:
    """What one draw made of a model: the credits that an accepted clip of it costs."""

    model: str
    cost: float
    record: Record


def ranked(
    prices: Mapping[str, int], records: Mapping[str, Record], beta: Callable[[float, float], float]
) -> list[Draw]:
    """The models with the credits of one clip, the least drawn cost first. `beta(a, b)` draws from that law.

    The same prices, records and draws give the same order.
    """
    drawn: list[Draw] = []
    for name in sorted(prices):
        record = records.get(name, Record())
        share = beta(1 + record.accepted, 1 + record.clips - record.accepted)
        drawn.append(Draw(name, prices[name] / max(share, 1e-9), record))
    return sorted(drawn, key=lambda draw: (draw.cost, draw.model))


def why(taken: Draw, order: Sequence[Draw]) -> str:
    """One line for the model that is taken of these, which are in their order."""
    record = taken.record
    known = f"{record.accepted} of {record.clips} clips accepted" if record.clips else "no clips yet"
    reason = f"{taken.model}: {known}, {taken.cost:.1f} credits per accepted clip drawn"
    passed = [draw.model for draw in order[: order.index(taken)]]
    if passed:
        return f"{reason}; {', '.join(passed)} could not be paid"
    return reason if len(order) == 1 else f"{reason}; next {order[1].model}, {order[1].cost:.1f}"


def choose(
    prices: Mapping[str, int], records: Mapping[str, Record], beta: Callable[[float, float], float]
) -> Choice:
    """The next model among these, as `ranked` has it. Raises `ValueError` without a model."""
    order = ranked(prices, records, beta)
    if not order:
        raise ValueError("there is no model to choose from")
    return Choice(order[0].model, why(order[0], order))
