"""Models of instances: another account or host has what its provider has, as `instance/model`.

Some services have two sides with keys and hosts of their own, one in China and one elsewhere. They are
instances of one family; a model's plain name is its name at the first of them that has a key.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.price import Cost

FAMILIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"ark": ("ark-cn", "ark-intl"), "dashscope": ("dashscope-cn", "dashscope-intl")}
)
"""The built-in instances of each family that has several, the first one being the one that is meant."""

_FAMILY_OF: Final = {instance: family for family, instances in FAMILIES.items() for instance in instances}


def family_of(provider: str) -> str:
    """The family that a built-in provider is an instance of: its own name, where it is the only one."""
    return _FAMILY_OF.get(provider, provider)


def is_second_home(model: Model) -> bool:
    """Whether it is what another built-in instance of its family has under the plain name."""
    return model.provider in _FAMILY_OF and model.name.startswith(f"{model.provider}/")


def at_homes_with_keys(models: Iterable[Model], missing: Collection[str]) -> list[Model]:
    """The models, with the plain names at the first instance of each family that has a key.

    `missing` are the providers without one. Where none of a family has a key, nothing changes.
    """
    homes = {
        instances[0]: home
        for instances in FAMILIES.values()
        for home in instances
        if instances[0] in missing and home == next((one for one in instances if one not in missing), None)
    }

    def at_home(model: Model) -> Model:
        prefix = f"{model.provider}/"
        if model.provider in homes and not is_second_home(model):
            return replace(model, name=prefix + model.name)
        if model.provider in homes.values() and is_second_home(model):
            return replace(model, name=model.name.removeprefix(prefix))
        return model

    return [at_home(model) for model in models]


def instance_models(
    models: Iterable[Model], instance: str, *, like: str, currency: str | None = None
) -> list[Model]:
    """The models of the provider `like`, as the instance has them: same options, prices and dates.

    An account that is billed in another `currency` has another price list: what it charges is not known
    until the operator writes it down.
    """
    return [
        replace(
            model,
            name=f"{instance}/{model.name.removeprefix(f'{like}/')}",
            provider=instance,
            unavailable=None,
            cost=_cost(model.cost, currency),
        )
        for model in models
        if model.provider == like
    ]


def _cost(cost: Cost | None, currency: str | None) -> Cost | None:
    return cost if cost is None or currency in (None, cost.currency) else None


def api_name(model: Model) -> str:
    """The provider's name of the model, by which it is found too; an instance's starts with the instance."""
    prefix = f"{model.provider}/"
    return prefix + model.api_model if model.name.startswith(prefix) else model.api_model


def of_instances(
    overrides: Mapping[str, Any], instances: Collection[str], known: Collection[str]
) -> set[str]:
    """Names of those overrides that can only be read once the instances have their models.

    These are aliases, models of an instance, what is `like` one, and whatever else is said of the `known`.
    """
    found = set(known)

    def is_of_instance(name: object) -> bool:
        return isinstance(name, str) and (name in found or name.partition("/")[0] in instances)

    for name, values in overrides.items():
        fields = values if isinstance(values, Mapping) else {}
        if "alias_of" in fields or is_of_instance(name) or is_of_instance(fields.get("like")):
            found.add(name)
    return found & overrides.keys()
