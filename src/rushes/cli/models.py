"""`rushes models`: what can be bought."""

import time
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from rushes.cli.options import Json, Whole

if TYPE_CHECKING:
    from rushes.domain.catalogue import Model

app = App(name="models", help="List the models, and how often they pass.")


@app.default
def models(*, json: Json = False) -> None:
    """List the models (provider, price in credits, typical render time, sunset date, options) and aliases."""
    from rushes.cli.show import duration, print_json, print_line, print_table
    from rushes.settings import Settings

    now = time.time()
    catalogue = Settings.load().catalogue()
    documents = [_document(model, now) for model in catalogue]
    if json:
        aliases = [
            {"name": alias.name, "alias_of": [model.name for model in alias.models], "credits": alias.credits}
            for alias in catalogue.aliases
        ]
        print_json({"models": documents, "aliases": aliases})
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
    if catalogue.aliases:
        print_line("")
        chains = [
            (alias.name, alias.credits, " → ".join(model.name for model in alias.models))
            for alias in catalogue.aliases
        ]
        print_table(("alias", "credits", "the first usable of"), chains, right="credits")


@app.command
def stats(
    *,
    days: Annotated[Whole, Parameter(validator=Number(gte=1, lte=365), help="Of the last so many days.")] = 7,
    prompts: Annotated[
        Whole,
        Parameter(validator=Number(gte=0, lte=1000), help="How many prompts at most, most tried first."),
    ] = 20,
    account: Annotated[str | None, Parameter(help="Of this account; by default of all.")] = None,
    json: Json = False,
) -> None:
    """Show how often tries pass, by model and by prompt."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line, print_table, shortened

    async def show_stats() -> None:
        async with opened() as rushes:
            found = await rushes.model_stats(days=days, prompts=prompts, account=account)
        if json:
            print_json({"ok": True, **found})
            return
        rows = [
            (
                model["model"],
                model["tries"],
                model["passed"],
                _percent(model["pass_rate"]),
                model["credits_settled"],
                ", ".join(f"{count} {kind}" for kind, count in model["failures"].items()),
            )
            for model in found["models"]
        ]
        columns = ("model", "tries", "passed", "rate", "credits", "failures")
        print_table(columns, rows, right="tries passed rate credits")
        if found["prompts"]:
            print_line("")
            rows_of_prompts = [
                (shortened(one["prompt"]), one["tries"], one["passed"], _percent(one["pass_rate"]))
                for one in found["prompts"]
            ]
            print_table(("prompt", "tries", "passed", "rate"), rows_of_prompts, right="tries passed rate")
        if found["is_cut_short"]:
            print_line(f"only the newest {found['tries']} tries were counted")

    run_async(show_stats())


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


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
        "unavailable": model.unavailable,
        "retired": model.is_retired(now),
        "takes_new_tasks": model.takes_new_tasks(now),
    }


def _availability(model: dict[str, Any]) -> str:
    """Until when it can be bought, or why it cannot."""
    day = "-" if model["sunset_at"] is None else str(model["sunset_at"][:10])
    if model["takes_new_tasks"]:
        return day
    if model["retired"]:
        return f"retired {day}"
    return "disabled" if model["disabled"] else str(model["unavailable"])
