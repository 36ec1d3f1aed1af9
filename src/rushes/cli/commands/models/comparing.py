"""`rushes models compare`: which of two models costs less for an accepted clip."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Parameter

from rushes.cli.named import KnownModel
from rushes.cli.options import Account, AspectRatio, Duration, Json, OptionValues, PromptFile, Whole
from rushes.domain.notation import counted

ENDED = {
    "credits": "not decided within the credits; with more of them the same command goes on from here",
    "pairs": "not decided: accepted clips of both cost the same, as far as is known",
    "failed": "not decided: a model made no clip; `rushes batch show` says why",
    "stopped": "stopped; the same command goes on from here",
}


def compare(
    first: KnownModel,
    second: KnownModel,
    /,
    *,
    prompts: PromptFile,
    credits_max: Annotated[Whole, Parameter(help="What all clips may cost together.")],
    aspect_ratio: AspectRatio = None,
    duration: Duration = None,
    option: OptionValues = None,
    account: Account = "default",
    json: Json = False,
) -> int:
    """Buy clips of two models in pairs until one costs less per accepted clip for certain.

    The prompts are taken in turn, over again while it is not decided. Fewer than 5 of 100 comparisons of
    models that cost the same name one. The same command again goes on, and buys nothing twice.
    """
    from rushes.cli.commands.running.before import require_keys
    from rushes.cli.given_items import GivenItems, folder_of, price_drafts
    from rushes.cli.progress import progress_display
    from rushes.cli.session import opened, run_async, stop_on_signals
    from rushes.cli.show import print_json
    from rushes.settings import Settings

    settings = Settings.load()
    given = GivenItems(model=first, aspect_ratio=aspect_ratio, duration=duration, option=option)
    drafts = given.drafts(prompts, settings.catalogue())
    both = [replace(draft, model=name) for name in (first, second) for draft in drafts]
    require_keys(settings, price_drafts(both, settings, folder_of(prompts), account=account))

    async def buy() -> int:
        async with opened(creates=True, settings=settings) as rushes:
            await rushes.check_archive()
            with stop_on_signals() as stop, progress_display() as progress:
                found = await rushes.compare_models(
                    first,
                    second,
                    drafts,
                    credits_max=credits_max,
                    account=account,
                    folder=folder_of(prompts),
                    stop=stop.event,
                    on_progress=progress.update,
                )
        if json:
            print_json({"ok": True, **found})
        else:
            _print(found)
        return stop.exit_code if found["ended"] == "stopped" else 0

    return run_async(buy())


def _print(found: Mapping[str, Any]) -> None:
    from rushes.cli.show import print_line, print_table

    rows = [
        (
            arm["model"],
            arm["clips"],
            arm["accepted"],
            arm["credits"],
            _cost(arm["cost_per_accepted"]),
            " to ".join(_cost(bound) for bound in arm["cost_interval"]),
        )
        for arm in found["models"]
    ]
    columns = ("model", "clips", "accepted", "credits", "per accepted", "95 %")
    print_table(columns, rows, right="clips accepted credits per accepted")
    if found["cheaper"] is None:
        print_line(ENDED[found["ended"]])
    else:
        looks = counted(found["looks"], "look")
        print_line(f"{found['cheaper']} costs less per accepted clip ({looks}, at most 5 in 100 are wrong)")


def _cost(credits: float | None) -> str:
    return "-" if credits is None else f"{credits:.1f}"
