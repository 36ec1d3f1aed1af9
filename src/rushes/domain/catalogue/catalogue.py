"""The models that rushes can buy: names, prices, allowed options, render times and deadlines.

A model's price may depend on its options, see `rushes.domain.catalogue.price`. A task's deadlines are
counted from its dispatch: past the soft one it is overdue (polled slowly, still held), past the hard one
it gets a last poll and fails `TIMEOUT`. Operators change prices, deadlines and sunset dates with
`Catalogue.with_overrides`; a model has a sunset date when its service has set one. The models themselves
are in `families/`. An alias names several models, see `rushes.domain.catalogue.aliases`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from rushes.domain.catalogue.aliases import Alias, AliasDefinition, read_definition, resolve
from rushes.domain.catalogue.fields import OptionFields
from rushes.domain.catalogue.instances import api_name
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import NOWHERE, OptionValue, Origin, nearest, quoted, some_of
from rushes.domain.catalogue.overrides import changed_model, is_new, is_removed, new_model
from rushes.domain.catalogue.price import Charge
from rushes.domain.catalogue.price_reading import MODEL_CREDITS_MAX
from rushes.domain.errors import InputError, ModelRetired, NotFound, UnknownModel

DEFAULT_MODEL: Final = "sora-2"

NEUTRAL_REASON: Final = "the service does not offer it at the moment"
"""Why a model is unavailable, as tenants read it: the operator's reasons may name settings."""


class Catalogue:
    """An immutable set of models by name. A model is also found by its API name, and by `provider/name`.

    When two models share an API name, the earlier one answers to it; a model's own name always wins.
    Raises `InputError` for aliases that cannot work.
    """

    __slots__ = ("_aliases", "_default_model", "_definitions", "_fields", "_models", "_names")

    def __init__(
        self,
        models: Iterable[Model],
        aliases: Mapping[str, AliasDefinition] | None = None,
        default_model: str = DEFAULT_MODEL,
    ) -> None:
        by_name: dict[str, Model] = {}
        for model in models:
            if model.name in by_name:
                raise ValueError(f"the model {model.name} is in the catalogue twice")
            by_name[model.name] = model
        names: dict[str, Model] = {}
        for model in by_name.values():
            names.setdefault(api_name(model), model)
            names.setdefault(f"{model.provider}/{model.name}", model)
        self._default_model = default_model
        self._models: Mapping[str, Model] = MappingProxyType(by_name)
        self._names: Mapping[str, Model] = MappingProxyType({**names, **by_name})
        self._definitions: Mapping[str, AliasDefinition] = MappingProxyType(dict(aliases or {}))
        self._aliases: Mapping[str, Alias] = MappingProxyType(
            resolve(self._definitions, self._names.get, tuple(self._names), MODEL_CREDITS_MAX)
        )
        self._fields = OptionFields(self._models.values(), self._first_choice)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    @property
    def default_model(self) -> str:
        """The model or alias of items that name none."""
        return self._default_model

    @property
    def fields(self) -> OptionFields:
        """The options that some model takes, as fields of an item."""
        return self._fields

    def _first_choice(self, name: str) -> Model | None:
        alias = self._aliases.get(name)
        return self._names.get(name) if alias is None else alias.models[0]

    def with_default_model(self, name: str) -> "Catalogue":
        """The same catalogue with another default; raises `UnknownModel` for a name that it does not have."""
        if self.find_alias(name) is None:
            self.get(name)
        return Catalogue(self, self._definitions, name)

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

    def require_provider(self, name: str) -> None:
        """Raise `NotFound` unless some model is of this provider."""
        known = sorted({model.provider for model in self})
        if name not in known:
            raise NotFound(f'there is no provider "{name[:80]}"; there are {", ".join(known)}')

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
        hint = f"; did you mean {quoted(suggestion)}?" if suggestion else f"; known: {some_of(self.names)}"
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
        live = some_of([other.name for other in self if other.takes_new_tasks(now)])
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

    def charge(self, name: str, alias_name: str | None, options: Mapping[str, Any]) -> Charge | None:
        """What a task costs today that is retried with this model, under this alias if it has one.

        None when the model is there no more or takes these options no more: then its price stays.
        """
        model = self.find(name)
        alias = None if alias_name is None else self._aliases.get(alias_name)
        try:
            if model is None:
                return None
            normalised = model.normalise_options(options)
            return model.charge(normalised, None if alias is None else alias.price_of(normalised, model))
        except InputError:
            return None

    def with_overrides(self, overrides: Mapping[str, Mapping[str, Any]]) -> "Catalogue":
        """A catalogue with an operator's own models, aliases and values, by name and field.

        The fields are those of `rushes.domain.catalogue.overrides`. Raises `InputError` with `field` =
        `model.field` for anything else.
        """
        changed = dict(self._models)
        definitions = dict(self._definitions)
        for name, values in overrides.items():
            if not isinstance(values, Mapping):
                raise Origin(path=name).error(f"must be an object, not {quoted(values)}")
            if "alias_of" in values or name in definitions:
                definitions[name] = read_definition(name, values, definitions.get(name))
            elif is_new(name, values, changed):
                changed[name] = new_model(name, values, changed, self._by_any_name(changed))
            else:
                model = changed.get(name) or self.get(name, origin=Origin(path=quoted(name)))
                if is_removed(values, Origin(path=model.name)):
                    del changed[model.name]
                else:
                    changed[model.name] = changed_model(changed[model.name], values)
        return Catalogue(changed.values(), definitions, self._default_model)

    def _by_any_name(self, changed: Mapping[str, Model]) -> Callable[[str, Origin], Model]:
        return lambda name, origin: changed.get(name) or self.get(name, origin=origin)

    def for_tenants(self) -> "Catalogue":
        """The same catalogue, where a reason why a model is unavailable names nothing of the operator's."""
        return self.with_unavailable(
            {model.provider: NEUTRAL_REASON for model in self if model.unavailable is not None}
        )

    def with_unavailable(self, reasons: Mapping[str, str]) -> "Catalogue":
        """A catalogue in which the models of these providers take no new tasks, each for its reason."""
        return Catalogue(
            [
                replace(model, unavailable=reasons[model.provider]) if model.provider in reasons else model
                for model in self
            ],
            self._definitions,
            self._default_model,
        )


def default_model(catalogue: Catalogue, missing: Mapping[str, str]) -> str:
    """`sora-2` when Grsai has a key, else the first model whose provider has one; with no key `sora-2`.

    `missing` are the providers without a key.
    """
    first_choice = catalogue.find(DEFAULT_MODEL)
    if first_choice is not None and first_choice.provider not in missing:
        return first_choice.name
    with_key = (model.name for model in catalogue if model.provider not in missing and not model.disabled)
    fallback = catalogue.names[0] if first_choice is None else first_choice.name
    return next(with_key, fallback)
