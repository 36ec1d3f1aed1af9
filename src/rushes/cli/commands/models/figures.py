"""`rushes models stats`, `repairs`, `accepted` and `margin`: what was measured and earned here."""

import time
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from rushes.cli.commands.batches.gains import percent, print_gains
from rushes.cli.options import Json, Whole
from rushes.domain.notation import counted


def stats(
    *,
    days: Annotated[Whole, Parameter(validator=Number(gte=1, lte=365), help="Days to look back.")] = 7,
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
                percent(model["pass_rate"]),
                model["credits_settled"],
                ", ".join(f"{count} {kind}" for kind, count in model["failures"].items()),
            )
            for model in found["models"]
        ]
        columns = ("model", "tries", "passed", "rate", "credits", "failures")
        print_table(columns, rows, right="tries passed rate credits")
        if found["margins"]:
            print_line("")
            print_margins("model", found["margins"])
        if found["prompts"]:
            print_line("")
            rows_of_prompts = [
                (shortened(one["prompt"]), one["tries"], one["passed"], percent(one["pass_rate"]))
                for one in found["prompts"]
            ]
            print_table(("prompt", "tries", "passed", "rate"), rows_of_prompts, right="tries passed rate")
        if found["is_cut_short"]:
            print_line(f"only the newest {counted(found['tries'], 'try', 'tries')} were counted")

    run_async(show_stats())


def repairs(
    *,
    days: Annotated[Whole, Parameter(validator=Number(gte=1, lte=3650), help="Days to look back.")] = 90,
    json: Json = False,
) -> None:
    """Show what repairs have gained, beside tries that were left without them, and which do not pay."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line

    async def show_gains() -> None:
        since_ms = int((time.time() - days * 86_400) * 1000)
        async with opened() as rushes:
            found = await rushes.repair_gains(since_ms=since_ms)
        if json:
            print_json({"ok": True, "data": found})
        elif found:
            print_gains(found)
        else:
            print_line("no try was repaired; `--repair` of `rushes run` asks for that")

    run_async(show_gains())


def accepted(
    *,
    days: Annotated[Whole, Parameter(validator=Number(gte=1, lte=3650), help="Days to look back.")] = 90,
    json: Json = False,
) -> None:
    """Show what an accepted clip has cost, by model, of clips that a gate or a judge has seen."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_table

    async def show_costs() -> None:
        since_ms = int((time.time() - days * 86_400) * 1000)
        async with opened() as rushes:
            found = await rushes.accepted_costs(since_ms=since_ms)
        if json:
            print_json({"ok": True, "data": found})
            return
        rows = [
            (
                model["model"],
                model["clips"],
                model["accepted"],
                percent(model["accepted_share"]),
                " to ".join(percent(bound) for bound in model["accepted_share_interval"]),
                model["credits_settled"],
                "-" if model["cost_per_accepted"] is None else f"{model['cost_per_accepted']:g}",
            )
            for model in found
        ]
        columns = ("model", "clips", "accepted", "share", "95 % interval", "credits", "per accepted")
        print_table(columns, rows, right="clips accepted share credits")

    run_async(show_costs())


def margin(
    by: Annotated[Literal["model", "account", "day"], Parameter(help="One line for each of these.")] = "day",
    /,
    *,
    days: Annotated[Whole, Parameter(validator=Number(gte=1, lte=365), help="Days to look back.")] = 7,
    account: Annotated[str | None, Parameter(help="Of this account; by default of all.")] = None,
    json: Json = False,
) -> None:
    """Show what was earned: credits at RUSHES_CREDIT_VALUE, less what the providers charged."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json

    async def show_margins() -> None:
        async with opened() as rushes:
            found = await rushes.margins(by, days=days, account=account)
        if json:
            print_json({"ok": True, "by": by, "margins": found})
        else:
            print_margins(by, found)

    run_async(show_margins())


def print_margins(by: str, found: list[dict[str, Any]]) -> None:
    """Margins as a table on stdout."""
    from rushes.cli.show import money_text, print_table

    rows = [
        (
            one[by],
            one["credits_settled"],
            money_text(one["revenue"]),
            ", ".join(f"{amount} {currency}" for currency, amount in one["provider_cost"].items()) or "-",
            one["cost_unknown_count"] or "-",
            money_text(one["margin"]),
        )
        for one in found
    ]
    print_table(
        (by, "credits", "revenue", "providers charged", "unknown", "margin"), rows, right="credits unknown"
    )
