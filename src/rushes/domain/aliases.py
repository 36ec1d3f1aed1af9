"""Aliases: one name for several models, in the order of preference, at one price.

A task that asks for an alias is given the first model that takes new tasks and the task's options. Until it
is sent, it may be given to another one of them. Its price is the alias's whatever model makes it, so that
no credit moves when the model changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rushes.domain.errors import InputError
from rushes.domain.options import Origin, nearest, quoted

if TYPE_CHECKING:
    from rushes.domain.catalogue import Model

ALIAS_MODELS_MAX: Final = 16
ALIAS_NAME_CHARACTERS_MAX: Final = 128

ALIAS_FIELDS: Final = ("alias_of", "credits")
"""What `Catalogue.with_overrides` takes for an alias."""


@dataclass(frozen=True, slots=True)
class AliasDefinition:
    """As an operator writes it: names of models and of other aliases. `credits` None: the dearest model's."""

    alias_of: tuple[str, ...]
    credits: int | None = None


@dataclass(frozen=True, slots=True)
class Alias:
    """`models` are in the order of preference, `credits` is the price of one video."""

    name: str
    models: tuple["Model", ...]
    credits: int

    def next_models(self, now: float) -> tuple["Model", ...]:
        """Those that take new tasks at `now` (epoch seconds), in order."""
        return tuple(model for model in self.models if model.takes_new_tasks(now))


def read_definition(name: str, values: Mapping[str, Any], known: AliasDefinition | None) -> AliasDefinition:
    """One alias of an operator's overrides; fields that are absent stay as `known` has them."""
    origin = Origin(path=quoted(name))
    if not (0 < len(name) <= ALIAS_NAME_CHARACTERS_MAX and name.isprintable() and name == name.strip()):
        raise origin.error(f"an alias's name is 1 to {ALIAS_NAME_CHARACTERS_MAX} printable characters")
    for key in values:
        if key not in ALIAS_FIELDS:
            suggestion = nearest(key, ALIAS_FIELDS)
            hint = f"did you mean {quoted(suggestion)}?" if suggestion else "use alias_of, credits"
            raise origin.error(f"an alias has no such field; {hint}", key)
    names, price = values.get("alias_of", known and known.alias_of), values.get("credits")
    if not isinstance(names, list | tuple) or not names:
        raise origin.error(f"must be a list of at least one model, not {quoted(names)}", "alias_of")
    if len(names) > ALIAS_MODELS_MAX:
        raise origin.error(f"{len(names)} models, more than {ALIAS_MODELS_MAX}", "alias_of")
    for index, member in enumerate(names):
        if not isinstance(member, str):
            raise origin.error(f"must be the name of a model, not {quoted(member)}", f"alias_of[{index}]")
    if price is None:
        return AliasDefinition(tuple(names), None if known is None or "credits" in values else known.credits)
    if not isinstance(price, int) or isinstance(price, bool):
        raise origin.error(f"must be a whole number, not {quoted(price)}", "credits")
    return AliasDefinition(tuple(names), price)


def resolve(
    definitions: Mapping[str, AliasDefinition],
    find: Callable[[str], "Model | None"],
    names: tuple[str, ...],
    credits_max: int,
) -> dict[str, Alias]:
    """The aliases with their models; one may name another, whose models then stand in its place.

    `find` knows models, whose `names` no alias may have. Raises `InputError` for a loop, for a name that
    nothing has, and for a price out of range.
    """
    found: dict[str, Alias] = {}

    def models_of(name: str, path: tuple[str, ...]) -> dict[str, "Model"]:
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
        price = max(model.credits for model in models) if definition.credits is None else definition.credits
        if not 0 <= price <= credits_max:
            raise origin.error(f"credits must be from 0 to {credits_max}")
        found[name] = Alias(name, models, price)
    return found


def _unknown(alias: str, member: str, known: tuple[str, ...]) -> InputError:
    suggestion = nearest(member, known)
    hint = f"; did you mean {quoted(suggestion)}?" if suggestion else f"; known: {', '.join(known)}"
    return Origin(path=quoted(alias)).error(f"unknown model {quoted(member)}{hint}", "alias_of")
