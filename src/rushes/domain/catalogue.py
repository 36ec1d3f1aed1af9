"""The models that rushes can buy: names, prices, allowed options, render times and deadlines.

A model's price is flat: one number of credits per video, whatever its options. A task's deadlines are
counted from its dispatch: past the soft one it is overdue (polled slowly, still held), past the hard one
it gets a last poll and fails `TIMEOUT`. Operators change prices, deadlines and sunset dates with
`Catalogue.with_overrides`; a model has a sunset date when its service has set one. The models themselves
are in `models/`. An alias names several models, see `rushes.domain.aliases`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any

from rushes.domain.aliases import Alias, AliasDefinition, read_definition, resolve
from rushes.domain.errors import InputError, ModelRetired, UnknownModel
from rushes.domain.options import (
    NOWHERE,
    AtMostWhen,
    OptionSpec,
    OptionValue,
    Origin,
    nearest,
    quoted,
)

MODEL_CREDITS_MAX = 1_000_000
"""The highest price of one video: a full batch of them stays far below the largest balance."""

MODEL_NAME_CHARACTERS_MAX = 100

NAMES_SHOWN_MAX = 8
"""How many models an error lists."""

DEADLINE_SECONDS_MAX = 30 * 86_400.0
"""The longest hard deadline: credits must not be held for ever."""

OVERRIDABLE_FIELDS = (
    "credits",
    "render_time_p50_seconds",
    "soft_deadline_seconds",
    "hard_deadline_seconds",
    "sunset_at",
    "disabled",
)
"""What `Catalogue.with_overrides` changes; all else of a model is a fact of its provider."""

_SECONDS_OF_YEAR_10000 = 253_402_300_800.0
# Epoch seconds are below this until the year 5138; milliseconds passed it in 1973.
_EPOCH_SECONDS_MAX = 1e11


@dataclass(frozen=True, slots=True)
class Model:
    """One sellable model. Credits are integers per video; times are seconds; `sunset_at` epoch seconds.

    `options` says which options the model takes, in rushes' own names, and `cross_checks` what holds
    between them. From `sunset_at` on, while `disabled` and while it is `unavailable` (which says why), the
    model takes no new tasks, and those that wait for it are not sent; what was sent before goes on. Raises
    `ValueError` for a price or deadline that cannot work.
    """

    name: str
    provider: str
    api_model: str
    credits: int
    render_time_p50_seconds: float
    soft_deadline_seconds: float
    hard_deadline_seconds: float
    options: Mapping[str, OptionSpec] = field(default_factory=dict)
    sunset_at: float | None = None
    cross_checks: tuple[AtMostWhen, ...] = ()
    disabled: bool = False
    unavailable: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.credits <= MODEL_CREDITS_MAX:
            raise ValueError(f"credits must be from 0 to {MODEL_CREDITS_MAX}")
        if not 0 < self.render_time_p50_seconds <= self.hard_deadline_seconds:
            raise ValueError("render_time_p50_seconds must be above 0 and at most hard_deadline_seconds")
        if not 0 < self.soft_deadline_seconds <= self.hard_deadline_seconds <= DEADLINE_SECONDS_MAX:
            raise ValueError(
                "soft_deadline_seconds must be above 0 and at most hard_deadline_seconds,"
                f" which is at most {DEADLINE_SECONDS_MAX:.0f}"
            )
        if self.sunset_at is not None and not 0 <= self.sunset_at < _SECONDS_OF_YEAR_10000:
            raise ValueError("sunset_at must be epoch seconds before the year 10000")

    def is_retired(self, now: float) -> bool:
        """Whether the model is past its sunset date at `now` (epoch seconds)."""
        if now >= _EPOCH_SECONDS_MAX:
            raise ValueError("now must be epoch seconds; these look like milliseconds")
        return self.sunset_at is not None and now >= self.sunset_at

    def takes_new_tasks(self, now: float) -> bool:
        """Whether new tasks for the model are accepted, and sent, at `now` (epoch seconds)."""
        return self.why_not(now) is None

    def why_not(self, now: float) -> str | None:
        """Why it takes no new tasks, as the rest of a sentence; None when it does."""
        if self.is_retired(now) and self.sunset_at is not None:
            return f"was retired on {datetime.fromtimestamp(self.sunset_at, UTC).date().isoformat()}"
        if self.disabled:
            return "is disabled by the operator"
        return None if self.unavailable is None else f"is unavailable: {self.unavailable}"

    def normalise_options(
        self, options: Mapping[str, Any], *, origin: Origin = NOWHERE
    ) -> dict[str, OptionValue]:
        """The given options checked and in the catalogue's order; options that are None count as absent.

        Raises `InputError` naming the first option that the model does not take or whose value it refuses.
        """
        for name in options:
            if options[name] is not None and name not in self.options:
                raise origin.error(self._option_not_taken(name), name)
        normalised: dict[str, OptionValue] = {}
        for name, spec in self.options.items():
            value = options.get(name)
            if value is None:
                continue
            try:
                normalised[name] = spec.normalise(value)
            except ValueError as refused:
                raise origin.error(str(refused), name) from None
        for cross_check in self.cross_checks:
            problem = cross_check.problem(normalised)
            if problem is not None:
                raise origin.error(problem, cross_check.option)
        return normalised

    def _option_not_taken(self, name: str) -> str:
        suggestion = nearest(name, tuple(self.options))
        if suggestion is not None:
            return f"{self.name} has no such option; did you mean {quoted(suggestion)}?"
        return f"{self.name} has no such option; it takes {', '.join(self.options) or 'none'}"


class Catalogue:
    """An immutable set of models by name. A model is also found by its API name.

    When two models share an API name, the earlier one answers to it; a model's own name always wins.
    Raises `InputError` for aliases that cannot work.
    """

    __slots__ = ("_aliases", "_definitions", "_models", "_names")

    def __init__(self, models: Iterable[Model], aliases: Mapping[str, AliasDefinition] | None = None) -> None:
        by_name: dict[str, Model] = {}
        for model in models:
            if model.name in by_name:
                raise ValueError(f"the model {model.name} is in the catalogue twice")
            by_name[model.name] = model
        names: dict[str, Model] = {}
        for model in by_name.values():
            names.setdefault(model.api_model, model)
        self._models: Mapping[str, Model] = MappingProxyType(by_name)
        self._names: Mapping[str, Model] = MappingProxyType({**names, **by_name})
        self._definitions: Mapping[str, AliasDefinition] = MappingProxyType(dict(aliases or {}))
        self._aliases: Mapping[str, Alias] = MappingProxyType(
            resolve(self._definitions, self._names.get, tuple(self._names), MODEL_CREDITS_MAX)
        )

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    @property
    def aliases(self) -> tuple[Alias, ...]:
        """The aliases, in the catalogue's order."""
        return tuple(self._aliases.values())

    @property
    def definitions(self) -> Mapping[str, AliasDefinition]:
        """The aliases as they were written."""
        return self._definitions

    @property
    def names(self) -> tuple[str, ...]:
        """The models' own names, in the catalogue's order."""
        return tuple(self._models)

    def find(self, name: str) -> Model | None:
        """The model of that very name, or None: for tasks, whose model may be gone by now.

        API names do not count: what one model is called at its provider may be another one's name here.
        """
        model = self._names.get(name)
        return model if model is not None and model.name == name else None

    def find_alias(self, name: str) -> Alias | None:
        """The alias of that name, or None."""
        return self._aliases.get(name)

    def get(self, name: str, *, origin: Origin = NOWHERE) -> Model:
        """The model of that name or API name; raises `UnknownModel` with the nearest name.

        An alias is no model.
        """
        model = self._names.get(name)
        if model is not None:
            return model
        alias = self._aliases.get(name)
        if alias is not None:
            members = ", ".join(member.name for member in alias.models)
            raise origin.error(f"{quoted(name)} is an alias; name a model: {members}", "model", UnknownModel)
        suggestion = nearest(name, (*self._names, *self._aliases))
        hint = f"; did you mean {quoted(suggestion)}?" if suggestion else f"; known: {_some(self.names)}"
        error = origin.error(f"unknown model {quoted(name)}{hint}", "model", UnknownModel)
        if suggestion:
            error.facts["suggestion"] = suggestion
        raise error

    def get_live(self, name: str, now: float, *, origin: Origin = NOWHERE) -> Model:
        """Like `get`, for a new task at `now` (epoch seconds).

        Raises also `ModelRetired` past the model's sunset date and `InputError` while it is disabled or
        unavailable.
        """
        model = self.get(name, origin=origin)
        if model.takes_new_tasks(now):
            return model
        live = _some([other.name for other in self if other.takes_new_tasks(now)])
        hint = f"; use one of: {live}" if live else ""
        message = f"{quoted(model.name)} {model.why_not(now)}{hint}"
        raise origin.error(message, "model", ModelRetired if model.is_retired(now) else InputError)

    def candidates(
        self, name: str, now: float, *, origin: Origin = NOWHERE
    ) -> tuple[Alias | None, tuple[Model, ...]]:
        """The models that a new task at `now` (epoch seconds) may be given, the first choice first.

        Of a model's name that model; of an alias those of its models that take new tasks. Raises as
        `get_live` does.
        """
        alias = self._aliases.get(name)
        if alias is None:
            return None, (self.get_live(name, now, origin=origin),)
        live = alias.next_models(now)
        if live:
            return alias, live
        why = ", ".join(f"{model.name} {model.why_not(now)}" for model in alias.models)
        is_past = all(model.is_retired(now) for model in alias.models)
        message = f"no model of {quoted(name)} takes new tasks: {why}"
        raise origin.error(message, "model", ModelRetired if is_past else InputError)

    def check(
        self, model: str, options: Mapping[str, Any], now: float, *, origin: Origin = NOWHERE
    ) -> dict[str, OptionValue]:
        """The options for a new task of that model at `now` (epoch seconds), checked and normalised.

        Raises `UnknownModel`, `ModelRetired` or `InputError`, with `field` = `model` or the option's name.
        """
        return self.get_live(model, now, origin=origin).normalise_options(options, origin=origin)

    def with_overrides(self, overrides: Mapping[str, Mapping[str, Any]]) -> "Catalogue":
        """A catalogue with an operator's own values, by model name and field.

        Fields: `credits` (int), `render_time_p50_seconds`, `soft_deadline_seconds`, `hard_deadline_seconds`
        (numbers), `sunset_at` (epoch seconds, an ISO date or time, UTC if it names no zone, or null for
        none) and `disabled` (bool). With `like`, the name of a model, it is a new one: another `api_model`
        of the same provider, by default the name itself. An entry with `alias_of` (names, in the order of
        preference) and perhaps `credits` is an alias. Raises `InputError` with `field` = `model.field` for
        anything else.
        """
        changed = dict(self._models)
        definitions = dict(self._definitions)
        for name, values in overrides.items():
            if not isinstance(values, Mapping):
                raise Origin(path=name).error(f"must be an object, not {quoted(values)}")
            if "alias_of" in values or name in definitions:
                definitions[name] = read_definition(name, values, definitions.get(name))
                continue
            fields = dict(values)
            if "like" in fields:
                changed[name] = self._another(name, fields.pop("like"), fields.pop("api_model", name))
            model = changed.get(name) or self.get(name, origin=Origin(path=quoted(name)))
            origin = Origin(path=model.name)
            read = {key: _override(key, value, origin) for key, value in fields.items()}
            try:
                changed[model.name] = replace(changed[model.name], **read)
            except ValueError as refused:
                raise origin.error(str(refused)) from None
        return Catalogue(changed.values(), definitions)

    def _another(self, name: str, like: object, api_model: object) -> Model:
        """A new model like one of the catalogue's; raises `InputError`."""
        origin = Origin(path=quoted(name))
        if name in self._models:
            raise origin.error("there is a model of this name already", "like")
        for field_name, value in (("like", like), ("api_model", api_model), ("name", name)):
            if not isinstance(value, str) or not 0 < len(value) <= MODEL_NAME_CHARACTERS_MAX:
                raise origin.error(f"must be a name, not {quoted(value)}", field_name)
            if not value.isprintable():
                raise origin.error("must be printable", field_name)
        return replace(self.get(str(like), origin=origin), name=name, api_model=str(api_model))

    def with_unavailable(self, reasons: Mapping[str, str]) -> "Catalogue":
        """A catalogue in which the models of these providers take no new tasks, each for its reason."""
        return Catalogue(
            [
                replace(model, unavailable=reasons[model.provider]) if model.provider in reasons else model
                for model in self
            ],
            self._definitions,
        )


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_SHOWN_MAX
    return ", ".join(names[:NAMES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _override(name: str, value: Any, origin: Origin) -> Any:
    """One override's value, of the right type; ranges are the model's own matter."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    match name:
        case "credits" if isinstance(value, int) and is_number:
            return value
        case "credits":
            raise origin.error(f"must be a whole number, not {quoted(value)}", name)
        case "render_time_p50_seconds" | "soft_deadline_seconds" | "hard_deadline_seconds":
            if is_number:
                return float(value)
            raise origin.error(f"must be a number of seconds, not {quoted(value)}", name)
        case "sunset_at":
            if value is None or is_number:
                return value
            return _epoch_seconds_of(value, origin)
        case "disabled":
            if isinstance(value, bool):
                return value
            raise origin.error(f"must be true or false, not {quoted(value)}", name)
        case _:
            suggestion = nearest(name, OVERRIDABLE_FIELDS)
            hint = (
                f"did you mean {quoted(suggestion)}?"
                if suggestion
                else "use " + ", ".join(OVERRIDABLE_FIELDS)
            )
            raise origin.error(f"cannot be overridden; {hint}", name)


def _epoch_seconds_of(value: object, origin: Origin) -> float:
    """Epoch seconds of an ISO 8601 date (its first instant) or time."""
    try:
        if not isinstance(value, str):
            raise ValueError(value)
        if len(value) == len("2026-09-24"):
            moment = datetime.combine(date.fromisoformat(value), datetime.min.time())
        else:
            moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        message = f"must be a date such as 2026-09-24, epoch seconds or null, not {quoted(value)}"
        raise origin.error(message, "sunset_at") from None
