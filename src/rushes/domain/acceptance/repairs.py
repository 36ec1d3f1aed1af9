"""What the next try of an item changes, so that it is not the failed or rejected one again.

A rule says after which reason what is changed: the sound off, another seed, shorter, a lower resolution, the
next model. Of the tries that a rule would change, one in `CONTROL_EVERY`
is left as it was: only by these is known what a rule gains.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from zlib import crc32

from rushes.domain.acceptance.gate import RESOLUTION_LINES, SOUND_OPTIONS
from rushes.domain.acceptance.intervals import share_interval
from rushes.domain.acceptance.verdicts import GATE_REASONS
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import Origin, nearest, quoted
from rushes.domain.catalogue.price import DURATION, Charge
from rushes.domain.errors import InputError
from rushes.domain.task import FailureType

SEEDS: Final = 2**31
"""Seeds are whole numbers below this."""

CONTROL_EVERY: Final = 5
"""Of this many tries that a rule would change, one stays as it was."""

RULES_MAX: Final = 20
NEXT_MODELS_MAX: Final = 8

AUDIO_MODERATION: Final = "audio_moderation"
"""A failure whose words speak of sound."""

JUDGE: Final = "judge"
"""A judge's rejection, whatever its words."""

_OF_SOUND: Final = re.compile(r"\b(audio|sound|soundtrack|music|voice|speech)", re.IGNORECASE)
_NO_REPAIR: Final = frozenset({FailureType.PARAM_ERROR, FailureType.CANCELLED})


class Action(StrEnum):
    """What a rule changes."""

    SOUND_OFF = "sound_off"
    SEED = "seed"
    SHORTER = "shorter"
    LOWER_RESOLUTION = "lower_resolution"
    NEXT_MODEL = "next_model"


REASONS: Final = (
    AUDIO_MODERATION,
    *sorted(reason.value for reason in FailureType if reason not in _NO_REPAIR),
    *sorted(reason.value for reason in GATE_REASONS),
    JUDGE,
)
"""After what a rule may be applied: failures, and what clips are rejected for."""


@dataclass(frozen=True, slots=True)
class LastModel:
    """A model that makes another try, and its price as it was when the batch was accepted."""

    name: str
    provider: str
    api_model: str
    credits: int

    @classmethod
    def of(cls, model: Model) -> "LastModel":
        """As the catalogue has it now, at the price of a video with no options but the defaults."""
        return cls(model.name, model.provider, model.api_model, model.typical_credits)


@dataclass(frozen=True, slots=True)
class Rule:
    """After this reason, this change; `models` are the next ones of `next_model`, in their order."""

    after: str
    do: Action
    models: tuple[LastModel, ...] = ()

    @property
    def name(self) -> str:
        """`frozen:shorter`."""
        return f"{self.after}:{self.do.value}"

    def as_dict(self) -> dict[str, Any]:
        """The object of the API."""
        found: dict[str, Any] = {"after": self.after, "do": self.do.value}
        return found | ({"models": [model.name for model in self.models]} if self.models else {})


UNASKED: Final = (
    Rule(AUDIO_MODERATION, Action.SOUND_OFF),
    Rule("frozen", Action.SHORTER),
    Rule("model_error", Action.LOWER_RESOLUTION),
)
"""The rules of a batch that says `true`."""


# --- reading --------------------------------------------------------------------------------------------


def read_repairs(value: object, catalogue: Catalogue, now: float, *, field: str) -> tuple[Rule, ...]:
    """The rules in a field: true, or a list of objects. Raises `InputError` with the path at fault."""
    if value is None or value is False:
        return ()
    if value is True:
        return UNASKED
    if not isinstance(value, list) or not 0 < len(value) <= RULES_MAX:
        raise InputError(
            f"must be true or a list of 1 to {RULES_MAX} rules, not {quoted(value)}", field=field
        )
    rules = [_rule(each, catalogue, now, f"{field}[{index}]") for index, each in enumerate(value)]
    names = [rule.after for rule in rules]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InputError(f"there is a rule for {quoted(name)} already", field=f"{field}[{index}].after")
    return tuple(rules)


def _rule(value: object, catalogue: Catalogue, now: float, path: str) -> Rule:
    if not isinstance(value, Mapping):
        raise InputError(f"must be an object, not {quoted(value)}", field=path)
    for name in value:
        if name not in ("after", "do", "models"):
            raise InputError(f"unknown field {quoted(name)}; known: after, do, models", field=path)
    after = _word(value.get("after"), REASONS, f"{path}.after")
    do = Action(_word(value.get("do"), tuple(Action), f"{path}.do"))
    models = value.get("models")
    if (do is Action.NEXT_MODEL) != (models is not None):
        wanted = "needs" if do is Action.NEXT_MODEL else "takes no"
        raise InputError(f"{do.value} {wanted} models", field=f"{path}.models")
    if models is None:
        return Rule(after, do)
    if not isinstance(models, list) or not 0 < len(models) <= NEXT_MODELS_MAX:
        raise InputError(f"must be a list of 1 to {NEXT_MODELS_MAX} models", field=f"{path}.models")
    found: list[LastModel] = []
    for index, name in enumerate(models):
        place = f"{path}.models[{index}]"
        if not isinstance(name, str):
            raise InputError(f"must be the name of a model, not {quoted(name)}", field=place)
        found.append(LastModel.of(catalogue.get_live(name, now, origin=Origin(path=place))))
    return Rule(after, do, tuple(found))


def _word(value: object, known: Collection[str], path: str) -> str:
    if isinstance(value, str) and value in known:
        return value
    if value is None:
        raise InputError("missing", field=path)
    hint = nearest(str(value), tuple(known))
    wanted = f"did you mean {quoted(hint)}?" if hint else f"one of {', '.join(known)}"
    raise InputError(f"there is no {quoted(value)}; {wanted}", field=path)


# --- applying -------------------------------------------------------------------------------------------


def reasons_of_failure(failure_type: str, error: str) -> tuple[str, ...]:
    """The reasons that a failure gives, the most telling first."""
    return (AUDIO_MODERATION, failure_type) if _OF_SOUND.search(error) else (failure_type,)


def reasons_of_rejection(reasons: str | None) -> tuple[str, ...]:
    """The reasons of a verdict, a judge's as one."""
    named = [reason for reason in (reasons or "").split(",") if reason]
    return tuple(JUDGE if reason.startswith(f"{JUDGE}:") else reason for reason in named)


def rule_for(rules: Iterable[Rule], reasons: Collection[str]) -> Rule | None:
    """The first rule for one of the reasons."""
    return next((rule for rule in rules if rule.after in reasons), None)


def is_control(batch_id: int, item_index: int, try_number: int) -> bool:
    """Whether this try stays as it was, so that what a rule gains can be measured."""
    return crc32(f"{batch_id} {item_index} {try_number}".encode()) % CONTROL_EVERY == 0


def mark(rule: Rule, *, is_control: bool) -> str:
    """As the row of the try keeps it: `frozen:shorter`, or `frozen:shorter:control`."""
    return f"{rule.name}:control" if is_control else rule.name


@dataclass(frozen=True, slots=True)
class Repaired:
    """What the next try has in place of the item's own: options, or a model."""

    options: dict[str, Any] | None = None
    model: LastModel | None = None


ChargeOf = Callable[[str, Mapping[str, Any]], Charge | None]
"""What a model charges for options; None where it does not take them."""


def repaired(rule: Rule, model: str, options: Mapping[str, Any], charge_of: ChargeOf) -> Repaired | None:
    """What the rule makes of a try of this model; None where it can change nothing."""
    charge = charge_of(model, options)
    if charge is None:
        return None
    if rule.do is Action.NEXT_MODEL:
        names = [each.name for each in rule.models]
        later = rule.models[names.index(model) + 1 :] if model in names else rule.models
        usable = [each for each in later if each.name != model and charge_of(each.name, options) is not None]
        return Repaired(model=usable[0]) if usable else None
    for change in _CHANGES[rule.do]({**options, **charge.sent_options}):
        changed = {**options, **change}
        if charge_of(model, changed) is not None:
            return Repaired(options=changed)
    return None


def _without_sound(sent: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    return ({name: False} for name in SOUND_OPTIONS if sent.get(name) is True)


def _shorter(sent: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    seconds = sent.get(DURATION)
    if isinstance(seconds, int) and not isinstance(seconds, bool):
        # not to less than half: that would be another clip
        yield from ({DURATION: shorter} for shorter in range(seconds - 1, (seconds + 1) // 2 - 1, -1))


def _lower(sent: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    lines = RESOLUTION_LINES.get(str(sent.get("resolution")).lower(), 0)
    lower = sorted((each for each in RESOLUTION_LINES.items() if each[1] < lines), key=lambda each: -each[1])
    return ({"resolution": name} for name, _ in lower)


def _another_seed(sent: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    changed = with_another_seed(sent)
    return [] if changed is None else [{"seed": changed["seed"]}]


_CHANGES: Final[Mapping[Action, Callable[[Mapping[str, Any]], Iterable[dict[str, Any]]]]] = {
    Action.SOUND_OFF: _without_sound,
    Action.SHORTER: _shorter,
    Action.LOWER_RESOLUTION: _lower,
    Action.SEED: _another_seed,
}


def with_another_seed(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The options with the next seed, where the item names one: with the same seed a model repeats itself.

    None for an item that names none: its next clip is another one anyway.
    """
    seed = options.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        return None
    return {**options, "seed": (seed + 1) % SEEDS}


# --- what a rule gains ----------------------------------------------------------------------------------

TRIES_TO_TELL: Final = 20
"""How many tries on either side are needed to say that a rule does not pay for what it costs."""


@dataclass(frozen=True, slots=True)
class Side:
    """Tries that ended, with a rule or without it: how many passed, and what all of them cost."""

    tries: int
    passed: int
    credits: int

    @property
    def share(self) -> float:
        """How many of them passed."""
        return self.passed / self.tries if self.tries else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The object of the API."""
        return {
            "tries": self.tries,
            "passed": self.passed,
            "share": round(self.share, 4) if self.tries else None,
            "share_interval": list(share_interval(self.passed, self.tries)),
            "credits": self.credits,
            "cost_per_passed": round(self.credits / self.passed, 4) if self.passed else None,
        }


def gain_interval(treated: Side, control: Side) -> tuple[float, float]:
    """Between which bounds the gain in shares lies in 95 % of cases: Newcombe (1998), from Wilson's."""
    low, high = share_interval(treated.passed, treated.tries)
    low_control, high_control = share_interval(control.passed, control.tries)
    gain = treated.share - control.share
    down = ((treated.share - low) ** 2 + (high_control - control.share) ** 2) ** 0.5
    up = ((high - treated.share) ** 2 + (control.share - low_control) ** 2) ** 0.5
    return round(max(-1.0, gain - down), 4), round(min(1.0, gain + up), 4)


def pays(treated: Side, control: Side) -> str:
    """`yes` where more pass for certain, `no` where fewer do, or no more do and each costs no less.

    `yes` only after `TRIES_TO_TELL` on either side: rules are looked at after every try, and one of many
    looks at few tries finds a gain where there is none.
    """
    low, high = gain_interval(treated, control)
    is_enough = min(treated.tries, control.tries) >= TRIES_TO_TELL
    is_dearer = treated.credits * max(1, control.passed) >= control.credits * max(1, treated.passed)
    if high < 0:
        return "no"
    if low > 0 and is_enough:
        return "yes"
    return "no" if is_enough and is_dearer and treated.share <= control.share else "not known"
