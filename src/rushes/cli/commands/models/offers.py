"""Models side by side, for who has to choose one: what they would make of a wish, and what was measured."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rushes.domain.catalogue.choosing import Offer, Wish
    from rushes.domain.catalogue.model import Model
    from rushes.settings import Settings

HISTORY_DAYS: Final = 30
NO_HISTORY: Final = {
    "tries": 0,
    "pass_rate": None,
    "render_time_p50_seconds": None,
    "render_time_p95_seconds": None,
}


def offered(settings: "Settings", wish: "Wish", now: float, *, with_history: bool) -> list[dict[str, Any]]:
    """The models that do what is wanted, each with its offer and what was measured; the cheapest first.

    Without a wish in the catalogue's order. Raises `InputError` for a resolution that no model has.
    """
    from rushes.cli.session import run_async
    from rushes.domain.catalogue.choosing import offer_of, resolutions_of
    from rushes.domain.catalogue.instances import is_second_home
    from rushes.domain.catalogue.options import quoted
    from rushes.domain.errors import InputError

    models = [model for model in settings.catalogue() if not is_second_home(model)]
    known = resolutions_of(models)
    if wish.resolution is not None and wish.resolution.lower() not in known:
        raise InputError(f"--resolution: no model has {quoted(wish.resolution)}; known: {', '.join(known)}")
    history = run_async(history_of(settings)) if with_history else {}
    found = []
    for model in models:
        offer = offer_of(model, wish)
        if offer is not None:
            found.append(
                model_document(model, now, settings)
                | {
                    "offer": offer_document(offer, settings),
                    "measured": history.get(model.name, NO_HISTORY),
                }
            )
    if not wish.is_empty:
        found.sort(key=lambda one: (not one["takes_new_tasks"], one["offer"]["credits"]))
    return found


def model_document(model: "Model", now: float, settings: "Settings") -> dict[str, Any]:
    """One model for a program: names, price, cost, options, times, and whether it can be bought now."""
    from rushes.domain.catalogue.instances import family_of
    from rushes.domain.catalogue.price_reading import cost_document, tariff_document, tariff_text
    from rushes.domain.notation import iso_time

    instance = settings.provider_instances.get(model.provider)
    family = family_of(model.provider if instance is None else instance.like)
    return {
        "name": model.name,
        "provider": family,
        "instance": None if family == model.provider else model.provider,
        "also_at": _other_homes(model, settings),
        "api_model": model.api_model,
        "credits": model.typical_credits,
        "price": tariff_text(model.price.tariff),
        "price_rule": tariff_document(model.price.tariff, "credits"),
        "provider_cost": None
        if model.cost is None
        else cost_document(model.cost) | {"text": tariff_text(model.cost.tariff)},
        "note": model.note,
        "defaults": model.completed({}),
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


def _other_homes(model: "Model", settings: "Settings") -> list[dict[str, str | None]]:
    """The same model at the other built-in instances of its family, and why it cannot be bought there."""
    from rushes.domain.catalogue.instances import FAMILIES, family_of

    if model.name.startswith(f"{model.provider}/"):
        return []
    catalogue = settings.catalogue()
    others = [name for name in FAMILIES.get(family_of(model.provider), ()) if name != model.provider]
    found = [catalogue.find(f"{name}/{model.name}") for name in others]
    return [
        {"name": one.name, "instance": one.provider, "unavailable": one.unavailable}
        for one in found
        if one is not None
    ]


async def history_of(settings: "Settings") -> dict[str, dict[str, Any]]:
    """What was measured here in the last days, by model; nothing where there is no database to ask.

    A database that cannot be read is named on stderr: the list does not need it.
    """
    from rushes.cli.session import opened
    from rushes.cli.show import say
    from rushes.database_wiring import missing_sqlite_file
    from rushes.domain.errors import RushesError

    if missing_sqlite_file(settings) is not None:
        return {}
    try:
        async with opened(reads_only=True, settings=settings) as rushes:
            return await rushes.model_history(days=HISTORY_DAYS)
    except RushesError as error:
        say(f"without one's own history: {error}")
        return {}


def offer_document(offer: "Offer", settings: "Settings") -> dict[str, Any]:
    """What the model would make of the wish, with what is left of its price."""
    per_second = offer.credits_per_second
    margin = settings.valuation.margin(
        offer.credits,
        {} if offer.cost is None else {offer.cost.money.currency: offer.cost.money.micros},
        is_known=offer.cost is not None,
    )
    return {
        "options": dict(offer.options),
        "credits": offer.credits,
        "credits_per_second": None if per_second is None else round(float(per_second), 3),
        "provider_cost": None if offer.cost is None else offer.cost.money.document(),
        "margin": None if margin is None else margin.document(),
    }


def print_choices(documents: Sequence[Mapping[str, Any]]) -> None:
    """The models with their offers and what was measured, the cheapest first."""
    from rushes.cli.show import duration, money_text, print_line, print_table

    if not documents:
        print_line("no model does that: leave one of the filters out, or raise --max-credits")
        return

    def seconds(value: float | None) -> str:
        return "-" if value is None else duration(value)

    rows = []
    for one in documents:
        offer, measured = one["offer"], one["measured"]
        rate, per_second = measured["pass_rate"], offer["credits_per_second"]
        rows.append(
            (
                one["name"],
                one["instance"] or one["provider"],
                offer["credits"],
                "-" if per_second is None else f"{per_second:g}",
                "-" if rate is None else f"{100 * rate:.1f} % of {measured['tries']}",
                seconds(measured["render_time_p50_seconds"]),
                seconds(measured["render_time_p95_seconds"]),
                money_text(offer["provider_cost"]),
                money_text(offer["margin"]),
                "-" if one["takes_new_tasks"] else one["unavailable"] or "no new tasks",
            )
        )
    columns = (
        "model",
        "provider",
        "credits",
        "a second",
        "passed",
        "median",
        "p95",
        "cost",
        "margin",
        "not now",
    )
    print_table(columns, rows, right="credits passed median p95")
