"""Which providers there are, which variables hold their keys and hosts, and what models come with them.

Providers are entry points of the group `rushes.providers`, models of other packages' providers those of
the group `rushes.models`. Nothing of another package can do more harm than to be left out, with a reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final, NamedTuple

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.model import Model
from rushes.providers.contained import within

PROVIDERS_GROUP: Final = "rushes.providers"
MODELS_GROUP: Final = "rushes.models"
PLUGIN_PREFIX: Final = "RUSHES_PROVIDER_"


class ProviderVariables(NamedTuple):
    """The environment variables that a provider's key and host come from."""

    key: str
    host: str


BUILT_IN: Final[Mapping[str, ProviderVariables]] = MappingProxyType(
    {
        "ark-cn": ProviderVariables("ARK_API_KEY", "ARK_HOST"),
        "ark-intl": ProviderVariables("BYTEPLUS_API_KEY", "BYTEPLUS_HOST"),
        "dashscope-cn": ProviderVariables("DASHSCOPE_API_KEY", "DASHSCOPE_HOST"),
        "dashscope-intl": ProviderVariables("DASHSCOPE_INTL_API_KEY", "DASHSCOPE_INTL_HOST"),
        "fal": ProviderVariables("FAL_KEY", "FAL_HOST"),
        "google": ProviderVariables("GEMINI_API_KEY", "GEMINI_HOST"),
        "grsai": ProviderVariables("GRSAI_API_KEY", "GRSAI_HOST"),
        "grsai-unified": ProviderVariables("GRSAI_API_KEY", "GRSAI_HOST"),
        "minimax": ProviderVariables("MINIMAX_API_KEY", "MINIMAX_HOST"),
        "kling": ProviderVariables("KLING_API_KEY", "KLING_HOST"),
        "openai-video": ProviderVariables("OPENAI_VIDEO_API_KEY", "OPENAI_VIDEO_BASE_URL"),
        "replicate": ProviderVariables("REPLICATE_API_TOKEN", "REPLICATE_HOST"),
        "vertex": ProviderVariables("VERTEX_CREDENTIALS", "VERTEX_HOST"),
        "runway": ProviderVariables("RUNWAYML_API_SECRET", "RUNWAYML_HOST"),
        "xai": ProviderVariables("XAI_API_KEY", "XAI_HOST"),
    }
)


def variables_of(provider: str) -> ProviderVariables:
    """The variables of a provider; of another package's `acme-video`, `RUSHES_PROVIDER_ACME_VIDEO_KEY`, …"""
    if provider in BUILT_IN:
        return BUILT_IN[provider]
    stem = PLUGIN_PREFIX + plugin_name(provider)
    return ProviderVariables(f"{stem}_KEY", f"{stem}_HOST")


def plugin_name(provider: str) -> str:
    """A provider's name as it stands in a variable: upper case, and `_` for all but letters and digits."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in provider).upper()


def installed_providers() -> dict[str, EntryPoint]:
    """The entry points of all installed providers, by name and sorted; a built-in one cannot be replaced."""
    found: dict[str, EntryPoint] = {}
    for entry_point in sorted(entry_points(group=PROVIDERS_GROUP), key=lambda each: each.name):
        if entry_point.name not in BUILT_IN or is_built_in(entry_point):
            found.setdefault(entry_point.name, entry_point)
    return found


def is_built_in(entry_point: EntryPoint) -> bool:
    """Whether it leads into rushes itself."""
    return entry_point.value.startswith("rushes.")


@dataclass(frozen=True, slots=True)
class PluginModels:
    """Models of other packages, and why some of them were left out, by entry point."""

    models: tuple[Model, ...] = ()
    troubles: Mapping[str, str] = field(default_factory=dict)


def plugin_models(base: Catalogue) -> PluginModels:
    """What the entry points `rushes.models` lead to: `Model`s whose names `base` does not have."""
    models: dict[str, Model] = {}
    troubles: dict[str, str] = {}
    for entry_point in sorted(entry_points(group=MODELS_GROUP), key=lambda each: each.name):
        try:
            given = within(lambda entry_point=entry_point: list(entry_point.load()))  # type: ignore[misc]
        except (Exception, SystemExit) as error:  # whatever another package raises
            troubles[entry_point.name] = f"its models cannot be loaded: {type(error).__name__}: {error}"
            continue
        for model in given:
            if not isinstance(model, Model):
                troubles[entry_point.name] = f"its models are not all of type Model: {type(model).__name__}"
            elif model.name in base.names or model.name in models:
                troubles[entry_point.name] = f"the model {model.name} is there already"
            else:
                models[model.name] = model
    return PluginModels(tuple(models.values()), troubles)
