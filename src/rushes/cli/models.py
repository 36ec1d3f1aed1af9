"""`rushes models`: what can be bought."""

import time
from typing import TYPE_CHECKING, Any

from rushes.cli.options import Json

if TYPE_CHECKING:
    from rushes.domain.catalogue import Model


def models(*, json: Json = False) -> None:
    """List the models: provider, price in credits, options, typical render time, sunset date."""
    from rushes.cli.show import duration, print_json, print_table
    from rushes.settings import Settings

    now = time.time()
    documents = [_document(model, now) for model in Settings.load().catalogue()]
    if json:
        print_json({"models": documents})
        return
    rows = [
        (
            model["name"],
            model["provider"],
            model["credits"],
            duration(model["render_time_p50_seconds"]),
            _availability(model),
            ", ".join(model["options"]),
        )
        for model in documents
    ]
    print_table(("name", "provider", "credits", "typical", "until", "options"), rows, right="credits typical")


def _document(model: "Model", now: float) -> dict[str, Any]:
    from rushes.engine.views import iso_time

    return {
        "name": model.name,
        "provider": model.provider,
        "api_model": model.api_model,
        "credits": model.credits,
        "options": {name: spec.describe() for name, spec in model.options.items()},
        "render_time_p50_seconds": model.render_time_p50_seconds,
        "soft_deadline_seconds": model.soft_deadline_seconds,
        "hard_deadline_seconds": model.hard_deadline_seconds,
        "sunset_at": None if model.sunset_at is None else iso_time(int(model.sunset_at * 1000)),
        "disabled": model.disabled,
        "takes_new_tasks": model.takes_new_tasks(now),
    }


def _availability(model: dict[str, Any]) -> str:
    if model["disabled"]:
        return "disabled"
    if model["sunset_at"] is None:
        return "-"
    day: str = model["sunset_at"][:10]
    return day if model["takes_new_tasks"] else f"retired {day}"
