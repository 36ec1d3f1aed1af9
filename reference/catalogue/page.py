"""`docs/models.md`: every model that comes with rushes, with the dates of its facts."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from reference.markdown import code, table
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.instances import FAMILIES, family_of, is_second_home
from rushes.domain.catalogue.media import MediaInput
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, WholeNumber
from rushes.domain.catalogue.price_reading import tariff_text

TARGET: Final = Path(__file__).parents[2] / "docs" / "models.md"

HEAD: Final = """# Models

Every model that comes with rushes, made from its catalogue: `python -m reference.catalogue` writes this page.
What the services charge was read between {first} and {last}; each line says when. Credits are a starting
point: set your own prices in `rushes.toml` ([models and prices](models-and-prices.md)). How each service is
reached, and its limits: [providers](providers.md).

To choose: `rushes models --image --seconds 10 --resolution 1080p --sound --max-credits 500` compares the
models that fit, with what was measured in your own history.

"""
ALIAS_HEAD: Final = """## Aliases

An item that names an alias goes to the first of its models that has a key and can do what the item asks.

"""


def page() -> str:
    """The whole page."""
    dates = [model.cost.as_of.isoformat() for model in DEFAULT_CATALOGUE if model.cost is not None]
    parts = [HEAD.format(first=min(dates), last=max(dates))]
    for family, models in _families():
        parts += [f"## {family}\n\n", _instances(family), _table(models), _sources(models)]
    aliases = [
        (code(alias.name), " → ".join(code(model.name) for model in alias.models))
        for alias in DEFAULT_CATALOGUE.aliases
    ]
    parts += [ALIAS_HEAD, table(("alias", "its models"), aliases)]
    return "".join(parts).rstrip("\n") + "\n"


def _families() -> Iterator[tuple[str, list[Model]]]:
    found: dict[str, list[Model]] = {}
    for model in DEFAULT_CATALOGUE:
        if not is_second_home(model):
            found.setdefault(family_of(model.provider), []).append(model)
    yield from found.items()


def _instances(family: str) -> str:
    names = FAMILIES.get(family)
    if names is None:
        return ""
    first, *others = names
    written = ", ".join(code(f"{other}/NAME") for other in others)
    return f"At {code(first)}; the same models at the other instance are {written}.\n\n"


def _table(models: Iterable[Model]) -> str:
    head = ("model", "its name there", "seconds", "resolutions", "files that go in", "sound", "credits")
    return table(head, [(*_facts(model), tariff_text(model.price.tariff)) for model in models])


def _facts(model: Model) -> tuple[str, ...]:
    return (
        code(model.name) + (" (retired)" if model.sunset_at is not None else ""),
        code(model.api_model),
        _seconds(model),
        _resolutions(model),
        ", ".join(_inputs(model)) or "-",
        "-" if "sound" not in model.options else model.options["sound"].describe().split(":")[0],
    )


def _seconds(model: Model) -> str:
    match model.options.get("duration"):
        case WholeNumber(minimum=minimum, maximum=maximum):
            return f"{minimum} to {maximum}"
        case OneOf(values=values):
            return ", ".join(map(str, values))
        case _:
            return "-"


def _resolutions(model: Model) -> str:
    spec = model.options.get("resolution")
    return ", ".join(map(str, spec.values)) if isinstance(spec, OneOf) else "-"


def _inputs(model: Model) -> Iterator[str]:
    for name, spec in model.options.items():
        if isinstance(spec, MediaInput):
            yield f"{name} ({spec.count_max})" if spec.is_list else name


def _sources(models: Iterable[Model]) -> str:
    lines = []
    for model in models:
        if model.cost is None:
            lines.append(f"- {code(model.name)}: what the service charges is not known.")
            continue
        charges = f"{tariff_text(model.cost.tariff)}, in {model.cost.currency}"
        lines.append(
            f"- {code(model.name)}: {charges} ({model.cost.as_of.isoformat()}, {model.cost.source})."
        )
    return "What it charges:\n\n" + "\n".join(lines) + "\n\n"
