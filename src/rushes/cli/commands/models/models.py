"""`rushes models`: what can be bought."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from rushes.cli.commands.models.choosing import choose
from rushes.cli.commands.models.comparing import compare
from rushes.cli.commands.models.figures import accepted, margin, repairs, stats
from rushes.cli.named import KnownModel
from rushes.cli.options import Json, Whole
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.domain.catalogue.catalogue import Catalogue
    from rushes.domain.catalogue.model import Model
    from rushes.settings import Settings

app = App(name="models", help="List the models, and how often they pass.")
app.command(choose)
app.command(compare)
app.command(stats)
app.command(accepted)
app.command(repairs)
app.command(margin)


CHECKED_DAYS_MAX = 90
"""Facts about what a provider charges that are older than that should be looked up again."""


@app.default
def models(
    *,
    check: Annotated[
        bool,
        Parameter(negative=(), help="Say what is wrong or old: unknown or dated costs, prices below cost."),
    ] = False,
    image: Annotated[
        bool, Parameter(negative=(), help="Only models that make a video from a picture.")
    ] = False,
    seconds: Annotated[
        Whole | None,
        Parameter(validator=Number(gte=1, lte=3600), help="Only models that make videos of this length."),
    ] = None,
    resolution: Annotated[
        str | None, Parameter(help="Only models with this resolution, such as 1080p.")
    ] = None,
    sound: Annotated[bool, Parameter(negative=(), help="Only models that make a soundtrack.")] = False,
    max_credits: Annotated[
        Whole | None,
        Parameter(validator=Number(gte=0), help="Only models whose video costs at most this."),
    ] = None,
    json: Json = False,
) -> None:
    """List the models (provider, price in credits, typical render time, sunset date, options) and aliases.

    With filters, compare those that fit: price, pass rate and render times measured here, cost, margin.
    """
    from rushes.cli.commands.models.offers import offered, print_choices
    from rushes.cli.show import print_json
    from rushes.domain.catalogue.choosing import Wish
    from rushes.settings import Settings

    now = time.time()
    settings = Settings.load()
    catalogue = settings.catalogue()
    if check:
        _print_findings(settings, now, as_json=json)
        return
    wish = Wish(image, seconds, resolution, sound, max_credits)
    documents = offered(settings, wish, now, with_history=json or not wish.is_empty)
    if not json and not wish.is_empty:
        print_choices(documents)
        return
    if json:
        aliases = [
            {
                "name": alias.name,
                "alias_of": [model.name for model in alias.models],
                "credits": alias.typical_credits,
            }
            for alias in catalogue.aliases
        ]
        print_json({"models": documents, "aliases": aliases, "default_model": catalogue.default_model})
        return
    _print_list(documents, catalogue)


def _print_list(documents: list[dict[str, Any]], catalogue: "Catalogue") -> None:
    from rushes.cli.show import duration, print_line, print_table

    rows = [
        (
            model["name"],
            model["instance"] or model["provider"],
            model["price"],
            duration(model["render_time_p50_seconds"]),
            _availability(model),
            ", ".join(model["options"]),
        )
        for model in documents
    ]
    columns = ("name", "provider", "price in credits", "typical", "until", "options")
    print_table(columns, rows, right="typical")
    if catalogue.aliases:
        print_line("")
        chains = [
            (alias.name, alias.typical_credits, " → ".join(model.name for model in alias.models))
            for alias in catalogue.aliases
        ]
        print_table(("alias", "credits", "the first usable of"), chains, right="credits")
    print_line("")
    print_line(f"items that name no model get {catalogue.default_model}; more: rushes models show NAME")


@app.command
def show(name: KnownModel, /, *, json: Json = False) -> None:
    """Show one model: its options with their defaults, its price with examples, and what it costs."""
    from rushes.cli.commands.models.offers import model_document
    from rushes.cli.show import money_text, print_json, print_line, print_table
    from rushes.domain.catalogue.price import value_text
    from rushes.settings import Settings

    settings = Settings.load()
    catalogue = settings.catalogue()
    alias = catalogue.find_alias(name)
    model = catalogue.get(name) if alias is None else alias.models[0]
    found = model_document(model, time.time(), settings) | {"examples": _examples(model, settings)}
    if json:
        print_json(found)
        return
    if alias is not None:
        chain = ", ".join(member.name for member in alias.models)
        print_line(f"{name} stands for the first usable of {chain}; this is the first:")
    print_line(f"{model.name}, at {model.provider} as {model.api_model}")
    for other in found["also_at"]:
        why = "" if other["unavailable"] is None else f" ({other['unavailable']})"
        print_line(f"also as {other['name']}{why}")
    if model.note:
        print_line(f"note: {model.note}")
    print_line(f"price in credits: {found['price']}")
    cost = found["provider_cost"]
    if cost is None:
        print_line("provider charges: not known")
    else:
        source = f"(as of {cost['as_of']}, {cost['source']})"
        print_line(f"provider charges, in {cost['currency']}: {cost['text']} {source}")
    options = [
        (option, values, "-" if option not in found["defaults"] else value_text(found["defaults"][option]))
        for option, values in found["options"].items()
    ]
    print_line("")
    print_table(("option", "values", "default"), options)
    print_line("")
    examples = [
        (
            _written(one["options"]) or "no options",
            one["credits"],
            money_text(one["provider_cost"]),
            money_text(one["margin"]),
        )
        for one in found["examples"]
    ]
    print_table(("example", "credits", "provider charges", "margin"), examples, right="credits")


def _written(options: dict[str, Any]) -> str:
    from rushes.domain.catalogue.price import value_text

    return ", ".join(f"{name} {value_text(value)}" for name, value in options.items())


def _examples(model: "Model", settings: "Settings") -> list[dict[str, Any]]:
    """Priced examples: the defaults, and the cheapest and dearest values of each priced option."""
    from rushes.domain.catalogue.options import values_of

    chosen: list[dict[str, Any]] = [{}]
    for name in model.price.tariff.priced_options:
        values = list(values_of(model.options[name]) or ())
        chosen += [{name: value} for value in (values[:1] + values[-1:])]
    priced = model.price.tariff.priced_options
    found: list[dict[str, Any]] = []
    for options in chosen:
        credits_ = model.price_of(options)
        cost = model.cost_of(options)
        margin = settings.valuation.margin(
            credits_,
            {} if cost is None else {cost.money.currency: cost.money.micros},
            is_known=cost is not None,
        )
        found.append(
            {
                "options": {name: model.completed(options)[name] for name in priced},
                "credits": credits_,
                "provider_cost": None if cost is None else cost.money.document(),
                "margin": None if margin is None else margin.document(),
            }
        )
    unique = {str(one["options"]): one for one in found}
    return list(unique.values())


def _print_findings(settings: "Settings", now: float, *, as_json: bool) -> None:
    """What an operator should look at: unknown or old costs, and prices that do not cover them."""
    from rushes.cli.show import print_json, print_line, print_table

    found: list[dict[str, Any]] = []
    ages = []
    for model in settings.catalogue():
        if model.is_retired(now):
            continue
        if model.cost is None:
            found.append({"model": model.name, "finding": "what its provider charges is not known"})
            continue
        days = int((now - datetime.combine(model.cost.as_of, datetime.min.time(), UTC).timestamp()) // 86_400)
        ages.append(days)
        if days > CHECKED_DAYS_MAX:
            found.append({"model": model.name, "finding": f"its cost was read {counted(days, 'day')} ago"})
        for example in _examples(model, settings):
            margin = example["margin"]
            if margin is not None and margin["amount"].startswith("-"):
                options = _written(example["options"])
                sold = f"sold at a loss of {margin['amount'][1:]} {margin['currency']}"
                found.append({"model": model.name, "finding": f"{sold} with {options or 'no options'}"})
    if as_json:
        print_json({"findings": found, "oldest_cost_days": max(ages, default=None)})
        return
    path = settings.config_file
    print_line(f"configuration: {path if path is not None else 'no rushes.toml'}; no mistake in it")
    if ages:
        print_line(f"what providers charge was read {min(ages)} to {counted(max(ages), 'day')} ago")
    if settings.valuation.value is None:
        print_line("RUSHES_CREDIT_VALUE is not set: prices are not compared with costs")
    if found:
        print_table(("model", "finding"), [(one["model"], one["finding"]) for one in found])
    else:
        print_line("nothing to look at")


def _availability(model: dict[str, Any]) -> str:
    """Until when it can be bought, or why it cannot."""
    day = "-" if model["sunset_at"] is None else str(model["sunset_at"][:10])
    if model["takes_new_tasks"]:
        return day
    if model["retired"]:
        return f"retired {day}"
    return "disabled" if model["disabled"] else str(model["unavailable"])
