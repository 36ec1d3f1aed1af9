"""`auto`: the model of a clip is chosen when it is bought, by what accepted clips have cost the account.

What a model must take is what the item itself names: its prompt, options and files. The rule bounds the rest.
An item reserves the least price that any of its candidates has, so one of them can always be paid; what the
chosen one costs more is reserved when it is chosen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.fields import AUTO as AUTO
from rushes.domain.catalogue.instances import is_second_home
from rushes.domain.catalogue.media import KnownUploads
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OptionValue, Origin, nearest, quoted
from rushes.domain.catalogue.price import Charge
from rushes.domain.credits import CREDITS_MAX
from rushes.domain.errors import InputError
from rushes.domain.input.deadlines import deadline_ms
from rushes.domain.notation import iso_time

OPEN_CLIPS_MIN: Final = 8
"""Clips of a batch that may be without a verdict before its account has any."""

LEARNED_MS: Final = 90 * 86_400_000
"""How old the clips may be that count: 90 days."""

FAILURES_MAX: Final = 5
"""A model that has failed this often in `FAILED_MS`, and made nothing, is left out if there is another."""

FAILED_MS: Final = 86_400_000

AMONG_MAX: Final = 32
SEED_MAX: Final = 2**31 - 1
_FIELDS: Final = ("among", "credits_max", "finish_by", "seed")


@dataclass(frozen=True, slots=True)
class AutoRule:
    """The bounds of a batch's choices. None leaves open; `seed` None is one of the batch's own."""

    among: tuple[str, ...] | None = None
    credits_max: int | None = None
    finish_by_ms: int | None = None
    seed: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The object of the API, all fields."""
        return {
            "among": None if self.among is None else list(self.among),
            "credits_max": self.credits_max,
            "finish_by": iso_time(self.finish_by_ms),
            "seed": self.seed,
        }


NO_BOUNDS: Final = AutoRule()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that an item may be given, with what a clip of it costs."""

    model: Model
    options: Mapping[str, OptionValue]
    charge: Charge


def read_auto(value: object, catalogue: Catalogue, now_ms: int) -> AutoRule | None:
    """The field `auto` of a request. Raises `InputError` with the path of the field at fault."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InputError(f"must be an object, not {quoted(value)}", field="auto")
    for name in value:
        if name not in _FIELDS:
            hint = nearest(str(name), _FIELDS)
            known = f"did you mean {quoted(hint)}?" if hint else f"known: {', '.join(_FIELDS)}"
            raise InputError(f"unknown field {quoted(name)}; {known}", field="auto")
    return AutoRule(
        _among(value.get("among"), catalogue, now_ms / 1000),
        _whole(value.get("credits_max"), "credits_max", CREDITS_MAX),
        # what has passed is refused with the earliest time: see `money.choosing.reach`
        deadline_ms(
            value.get("finish_by"), now_ms, Origin(path="auto"), name="finish_by", may_have_passed=True
        ),
        _whole(value.get("seed"), "seed", SEED_MAX),
    )


def _whole(value: object, name: str, maximum: int) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= maximum):
        return value
    raise InputError(f"must be a whole number from 0 to {maximum}, not {quoted(value)}", field=f"auto.{name}")


def _among(value: object, catalogue: Catalogue, now: float) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not 0 < len(value) <= AMONG_MAX:
        raise InputError(
            f"must be a list of 1 to {AMONG_MAX} models, not {quoted(value)}", field="auto.among"
        )
    found: dict[str, None] = {}
    for index, name in enumerate(value):
        place = f"auto.among[{index}]"
        if not isinstance(name, str):
            raise InputError(f"must be the name of a model, not {quoted(name)}", field=place)
        found[catalogue.get_live(name, now, origin=Origin(path=place)).name] = None
    return tuple(found)


# --- which models an item may be given -------------------------------------------------------------------


def asks_for_auto(name: str, catalogue: Catalogue) -> bool:
    """Whether an item that names this model wants one chosen; an operator's own `auto` comes first."""
    return name == AUTO and AUTO not in catalogue and catalogue.find_alias(AUTO) is None


def candidates(
    catalogue: Catalogue,
    rule: AutoRule,
    options: Mapping[str, Any],
    now: float,
    uploads: KnownUploads | None = None,
) -> list[Candidate]:
    """The models on sale at `now` (epoch seconds) that take these options, within the rule's bounds.

    In the catalogue's order, slow lanes only where there is a `finish_by`: that is looked at when one is
    chosen, and prompts by `taking`.
    """
    found: list[Candidate] = []
    for model in _models_of(catalogue, rule):
        if not model.takes_new_tasks(now):
            continue
        try:
            normalised = model.normalise_options(options)
            if uploads is not None:
                model.check_uploads(normalised, uploads)
        except InputError:
            continue
        charge = model.charge(normalised)
        if rule.credits_max is None or charge.credits <= rule.credits_max:
            found.append(Candidate(model, normalised, charge))
    return found


def taking(found: Iterable[Candidate], prompt: str) -> list[Candidate]:
    """Those that take this prompt: some have a greatest length."""
    return [one for one in found if one.model.prompt_problem(prompt) is None]


def _models_of(catalogue: Catalogue, rule: AutoRule) -> Iterable[Model]:
    if rule.among is None:
        found = [model for model in catalogue if not is_second_home(model)]
    else:
        found = [model for name in rule.among if (model := catalogue.find(name)) is not None]
        found += [model for model in catalogue if model.lane_of in rule.among and model not in found]
    return [model for model in found if model.lane_of is None or rule.finish_by_ms is not None]


def one_lane_each(found: Iterable[Candidate]) -> list[Candidate]:
    """Of each model's lanes the cheapest: all make the same clips."""
    cheapest_first = sorted(found, key=lambda one: (one.charge.credits, one.model.name))
    lanes: dict[str, Candidate] = {}
    for one in cheapest_first:
        lanes.setdefault(one.model.made_by, one)
    return list(lanes.values())


def cheapest(found: Sequence[Candidate], rule: AutoRule, origin: Origin) -> Candidate:
    """The candidate with the least price. Raises `InputError` for an item that no model takes."""
    if not found:
        raise no_candidate(rule, origin)
    return min(found, key=lambda one: (one.charge.credits, one.model.name))


def no_candidate(rule: AutoRule, origin: Origin) -> InputError:
    """The error for an item that no model takes within the rule's bounds."""
    bounds = [] if rule.among is None else [f"among {', '.join(rule.among)}"]
    bounds += [] if rule.credits_max is None else [f"for at most {rule.credits_max} credits"]
    within = f" {' '.join(bounds)}" if bounds else ""
    return origin.error(
        f"no model on sale takes this item{within}; `rushes models` shows what each takes", "model"
    )


# --- how many are chosen at once -------------------------------------------------------------------------


def room(*, decided: int, open_clips: int) -> int:
    """How many more clips of a batch may be bought now: as many without a verdict as have one, 8 at least.

    So a batch that knows nothing learns from a few clips before it buys many, and one that knows much waits
    for none.
    """
    return max(0, max(OPEN_CLIPS_MIN, decided) - open_clips)


# --- what stands in the task's row -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chosen:
    """Why a task has its model, in one line; `least` is what it had reserved before the choice."""

    reason: str
    least: int
