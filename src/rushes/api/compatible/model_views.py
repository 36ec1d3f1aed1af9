"""Models as tenants see them: in OpenAI's shape, with what rushes knows of them beside it."""

from datetime import UTC, datetime
from typing import Any, Final

from rushes.api.edge.ids import without_date
from rushes.domain.catalogue.aliases import Alias
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.instances import family_of, is_second_home
from rushes.domain.catalogue.media import MediaInput
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OptionSpec, default_of, values_of
from rushes.domain.catalogue.price_reading import tariff_document, tariff_text
from rushes.domain.errors import NotFound

OWNER_OF_ALIASES: Final = "rushes"
VALUES_SHOWN_MAX: Final = 100


def all_models(catalogue: Catalogue, now: float) -> list[dict[str, Any]]:
    """Every model and alias that a batch may name, at `now` (epoch seconds).

    What another instance of a family has under a plain name is listed where it can be bought.
    """
    listed = (model for model in catalogue if not is_second_home(model) or model.takes_new_tasks(now))
    return [
        *(_model(model, now) for model in listed),
        *(_alias(alias, now) for alias in catalogue.aliases),
    ]


def one_model(catalogue: Catalogue, name: str, now: float) -> dict[str, Any]:
    """The model or alias of that name, or of a dated one. Raises `NotFound`."""
    name = without_date(name, catalogue)
    alias = catalogue.find_alias(name)
    if alias is not None:
        return _alias(alias, now)
    if name not in catalogue:
        raise NotFound("there is no such model")
    return _model(catalogue.get(name), now)


def _model(model: Model, now: float) -> dict[str, Any]:
    return _view(
        model.name,
        model.provider,
        sunset_at=model.sunset_at,
        facts={
            "provider": family_of(model.provider),
            "price": tariff_text(model.price.tariff),
            "price_rule": tariff_document(model.price.tariff, "credits"),
            "options": _options(model, of_media=False),
            "inputs": _options(model, of_media=True),
            "typical_seconds": model.render_time_p50_seconds,
            "available": model.takes_new_tasks(now),
            "why_not": model.why_not(now),
            "alias_of": None,
        },
    )


def _alias(alias: Alias, now: float) -> dict[str, Any]:
    first = alias.models[0]
    live = alias.next_models(now)
    shown = live[0] if live else first
    found = _model(shown, now)
    facts = found["rushes"] | {
        "available": bool(live),
        "why_not": None if live else "none of its models takes new tasks",
        "alias_of": [model.name for model in alias.models],
    }
    return _view(alias.name, OWNER_OF_ALIASES, sunset_at=None, facts=facts)


def _view(name: str, owner: str, *, sunset_at: float | None, facts: dict[str, Any]) -> dict[str, Any]:
    ends = None if sunset_at is None else datetime.fromtimestamp(sunset_at, UTC).isoformat()
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": owner,
        "shutdown_date": None if ends is None else ends[:10],
        "rushes": {**facts, "sunset_at": None if ends is None else ends.replace("+00:00", "Z")},
    }


def _options(model: Model, *, of_media: bool) -> list[dict[str, Any]]:
    return [
        _option(name, spec)
        for name, spec in model.options.items()
        if isinstance(spec, MediaInput) == of_media
    ]


def _option(name: str, spec: OptionSpec) -> dict[str, Any]:
    values = values_of(spec)
    is_short = values is not None and len(values) <= VALUES_SHOWN_MAX
    return {
        "name": name,
        "takes": spec.describe(),
        "values": list(values) if values is not None and is_short else None,
        "default": default_of(spec),
    }
