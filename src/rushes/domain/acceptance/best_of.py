"""Best of n, bought one by one: an item buys its next clip only once the last one was rejected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from rushes.domain.acceptance.gate import PPM, GateRules, Thresholds
from rushes.domain.catalogue.options import nearest, quoted
from rushes.domain.credits import CREDITS_MAX
from rushes.domain.errors import InputError
from rushes.domain.input.auto import NO_BOUNDS, AutoRule
from rushes.domain.input.priced import PricedDraft

CLIPS_MAX: Final = 10
"""Clips that one item may buy."""

CLIPS_KNOWN_MIN: Final = 8
"""From this many decided clips of a model on, what share of them is accepted counts as known."""

_FIELDS: Final = ("n_max", "credits_max", "score_min")


@dataclass(frozen=True, slots=True)
class BestOf:
    """At most `clips_max` clips of an item, which together cost at most `credits_max`; None is no cap.

    A failed try is refunded and counts in neither; re-rolls of failures have their own maximum.
    """

    clips_max: int
    credits_max: int | None = None

    def may_buy(self, *, bought: int, spent: int, price: int) -> bool:
        """Whether an item that has bought these clips for `spent` credits buys another one."""
        return bought < self.clips_max and (self.credits_max is None or spent + price <= self.credits_max)

    def clips_paid(self, price: int) -> int:
        """How many clips of that price an item may buy at most."""
        if self.credits_max is None or price <= 0:
            return self.clips_max
        return min(self.clips_max, self.credits_max // price)


def chance_accepted(share: float, clips: int) -> float:
    """The chance that one of these clips is accepted, where that share of all is."""
    return float(1 - (1 - share) ** clips)


def clips_expected(share: float, clips_max: int) -> float:
    """How many clips are bought on average, one by one, until one is accepted; at most `clips_max`."""
    return chance_accepted(share, clips_max) / share if share > 0 else float(clips_max)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What a batch asks of its clips: the gate, if any, and how many clips an item may buy, if several.

    `auto` bounds the models that are chosen for items which leave that open; None where none does.
    """

    gate: Thresholds | None = None
    best_of: BestOf | None = None
    auto: AutoRule | None = None


NOTHING_ASKED: Final = Acceptance()


def read_acceptance(
    gate: object,
    accept: object,
    rules: GateRules,
    drafts: Sequence[PricedDraft],
    auto: AutoRule | None = None,
) -> Acceptance:
    """The fields `gate` and `accept` of a request whose items these are, and its rule `auto`, if any.

    `accept`, and items whose model is chosen, ask for a gate by themselves. Raises `InputError` with the path
    of the field at fault.
    """
    are_open = any(draft.choices for draft in drafts)
    if auto is not None and not are_open:
        raise InputError("goes with items of the model auto only", field="auto")
    if gate is False and (are_open or accept is not None):
        field, whose = ("model", "auto ") if accept is None else ("accept", "")
        raise InputError(f"{whose}needs the gate: leave `gate` away, or give thresholds", field=field)
    found = _read_accept(True if gate is None and are_open else gate, accept, rules, drafts)
    return replace(found, auto=auto or NO_BOUNDS) if are_open else found


def _read_accept(gate: object, accept: object, rules: GateRules, drafts: Sequence[PricedDraft]) -> Acceptance:
    if accept is None:
        return Acceptance(rules.read(gate))
    if not isinstance(accept, Mapping):
        raise InputError(f"must be an object, not {quoted(accept)}", field="accept")
    for name in accept:
        if name not in _FIELDS:
            hint = nearest(str(name), _FIELDS)
            known = f"did you mean {quoted(hint)}?" if hint else f"known: {', '.join(_FIELDS)}"
            raise InputError(f"unknown field {quoted(name)}; {known}", field="accept")
    if accept.get("n_max") is None:
        raise InputError("missing", field="accept.n_max")
    clips_max = _whole(accept["n_max"], "n_max", 1, CLIPS_MAX)
    credits_max = accept.get("credits_max")
    if credits_max is not None:
        credits_max = _whole(credits_max, "credits_max", 0, CREDITS_MAX)
        for index, draft in enumerate(drafts):
            if draft.credits > credits_max:
                raise InputError(
                    f"{credits_max} is less than one clip of item {index} costs: {draft.credits}",
                    field="accept.credits_max",
                )
    thresholds = rules.read(True if gate is None else gate)
    assert thresholds is not None, "a gate was asked for"
    score_min = accept.get("score_min")
    if score_min is not None:
        thresholds = thresholds.with_score_min(_score(score_min))
    return Acceptance(thresholds, BestOf(clips_max, credits_max))


def _whole(value: object, name: str, minimum: int, maximum: int) -> int:
    if type(value) is int and minimum <= value <= maximum:
        return value
    raise InputError(
        f"must be a whole number from {minimum} to {maximum}, not {quoted(value)}", field=f"accept.{name}"
    )


def _score(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return round(value * PPM) / PPM
    raise InputError(f"must be a number from 0 to 1, not {quoted(value)}", field="accept.score_min")


def as_dict(best_of: BestOf, thresholds: Thresholds) -> dict[str, Any]:
    """The object of the API, all fields."""
    return {
        "n_max": best_of.clips_max,
        "credits_max": best_of.credits_max,
        "score_min": thresholds.score_min,
    }
