"""Aliases: one name for several models, in the order of preference.

A task that asks for an alias is given the first model that takes new tasks and the task's options. Until it
is sent, it may be given to another one of them. Its price is fixed when the batch is accepted, so that no
credit moves when the model changes: the operator's `credits` for every video; or else the highest price
that the alias's models have for the same options, those without a key left out; or, with
`prices = "own"`, that of its first model, and then it is only given to models that are not dearer.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import Origin, nearest, quoted, some_of
from rushes.domain.errors import InputError

ALIAS_MODELS_MAX: Final = 16
ALIAS_NAME_CHARACTERS_MAX: Final = 128

ALIAS_FIELDS: Final = ("alias_of", "credits", "prices")
PRICES: Final = ("highest", "own")
"""What `Catalogue.with_overrides` takes for an alias."""


@dataclass(frozen=True, slots=True)
class AliasDefinition:
    """As an operator writes it: names of models and of other aliases.

    `credits` None: the price follows from the models, the highest or `own_prices`.
    """

    alias_of: tuple[str, ...]
    credits: int | None = None
    own_prices: bool = False


@dataclass(frozen=True, slots=True)
class Alias:
    """`models` are in the order of preference. `credits` is the operator's price of every video, if any."""

    name: str
    models: tuple[Model, ...]
    credits: int | None = None
    own_prices: bool = False

    def next_models(self, now: float) -> tuple[Model, ...]:
        """Those that take new tasks at `now` (epoch seconds), in order."""
        return tuple(model for model in self.models if model.takes_new_tasks(now))

    def price_of(self, options: Mapping[str, Any], model: Model) -> int:
        """The credits of a video with the options that its author gave, when `model` is to make it."""
        if self.credits is not None:
            return self.credits
        normalised = model.normalise_options(options)
        highest = model.price_of(normalised)
        for other in () if self.own_prices else self._usable:
            with contextlib.suppress(InputError):
                highest = max(highest, other.price_of(other.normalise_options(options)))
        return highest

    @property
    def _usable(self) -> tuple[Model, ...]:
        """The models that this installation can buy: those without a key do not make the alias dearer."""
        found = tuple(model for model in self.models if model.unavailable is None and not model.disabled)
        return found or self.models

    @property
    def typical_credits(self) -> int:
        """What a video with no options costs, for lists; of its own prices, the first model's."""
        return self.price_of({}, self._usable[0])

    def may_move_to(self, model: Model, options: Mapping[str, Any], credits: int) -> bool:
        """Whether a task that costs `credits` may be given to this model, which takes its options."""
        return self.credits is not None or not self.own_prices or model.price_of(options) <= credits


def read_definition(name: str, values: Mapping[str, Any], known: AliasDefinition | None) -> AliasDefinition:
    """One alias of an operator's overrides; fields that are absent stay as `known` has them."""
    origin = Origin(path=quoted(name))
    if not (0 < len(name) <= ALIAS_NAME_CHARACTERS_MAX and name.isprintable() and name == name.strip()):
        raise origin.error(f"an alias's name is 1 to {ALIAS_NAME_CHARACTERS_MAX} printable characters")
    for key in values:
        if key not in ALIAS_FIELDS:
            suggestion = nearest(key, ALIAS_FIELDS)
            hint = f"did you mean {quoted(suggestion)}?" if suggestion else f"use {', '.join(ALIAS_FIELDS)}"
            raise origin.error(f"an alias has no such field; {hint}", key)
    names, price = values.get("alias_of", known and known.alias_of), values.get("credits")
    if not isinstance(names, list | tuple) or not names:
        raise origin.error(f"must be a list of at least one model, not {quoted(names)}", "alias_of")
    if len(names) > ALIAS_MODELS_MAX:
        raise origin.error(f"{len(names)} models, more than {ALIAS_MODELS_MAX}", "alias_of")
    for index, member in enumerate(names):
        if not isinstance(member, str):
            raise origin.error(f"must be the name of a model, not {quoted(member)}", f"alias_of[{index}]")
    if price is None and "credits" not in values and known is not None:
        price = known.credits
    if price is not None and (not isinstance(price, int) or isinstance(price, bool)):
        raise origin.error(f"must be a whole number, not {quoted(price)}", "credits")
    rule = values.get("prices", "own" if known is not None and known.own_prices else "highest")
    if rule not in PRICES:
        raise origin.error(f"must be highest or own, not {quoted(rule)}", "prices")
    if rule == "own" and price is not None:
        raise origin.error("means nothing beside credits, which is one price for all", "prices")
    return AliasDefinition(tuple(names), price, rule == "own")


def resolve(
    definitions: Mapping[str, AliasDefinition],
    find: Callable[[str], Model | None],
    names: tuple[str, ...],
    credits_max: int,
) -> dict[str, Alias]:
    """The aliases with their models; one may name another, whose models then stand in its place.

    `find` knows models, whose `names` no alias may have. Raises `InputError` for a loop, for a name that
    nothing has, and for a price out of range.
    """
    found: dict[str, Alias] = {}

    def models_of(name: str, path: tuple[str, ...]) -> dict[str, Model]:
        if name in path:
            loop = " → ".join((*path[path.index(name) :], name))
            raise Origin(path=quoted(path[0])).error(f"the alias leads back to itself: {loop}", "alias_of")
        models: dict[str, Model] = {}
        for member in definitions[name].alias_of:
            model = None if member in definitions else find(member)
            if model is not None:
                models.setdefault(model.name, model)
            elif member in definitions:
                for nested in models_of(member, (*path, name)).values():
                    models.setdefault(nested.name, nested)
            else:
                raise _unknown(name, member, (*names, *definitions))
        return models

    for name, definition in definitions.items():
        origin = Origin(path=quoted(name))
        if find(name) is not None:
            raise origin.error("is the name of a model: an alias needs another one", "alias_of")
        models = tuple(models_of(name, ()).values())
        price = definition.credits
        if price is not None and not 0 <= price <= credits_max:
            raise origin.error(f"credits must be from 0 to {credits_max}")
        found[name] = Alias(name, models, price, definition.own_prices)
    return found


def _unknown(alias: str, member: str, known: tuple[str, ...]) -> InputError:
    suggestion = nearest(member, known)
    hint = f"; did you mean {quoted(suggestion)}?" if suggestion else f"; known: {some_of(known)}"
    return Origin(path=quoted(alias)).error(f"unknown model {quoted(member)}{hint}", "alias_of")
