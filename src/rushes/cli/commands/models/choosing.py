"""`rushes models choose`: the next model, by what accepted clips have cost."""

from typing import Annotated

from cyclopts import Parameter

from rushes.cli.named import model_names
from rushes.cli.options import Account, AspectRatio, Duration, Json, OptionValues, Whole


def choose(
    *,
    among: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            completer=model_names,
            help="Only among these models; may be repeated. By default all on sale.",
        ),
    ] = None,
    credits_max: Annotated[Whole | None, Parameter(help="Only models whose clip costs at most this.")] = None,
    aspect_ratio: AspectRatio = None,
    duration: Duration = None,
    option: OptionValues = None,
    seed: Annotated[Whole | None, Parameter(help="Makes the draw repeatable.")] = None,
    account: Account = "default",
    json: Json = False,
) -> None:
    """Print the model to take next: the least drawn cost of an accepted clip, from your own clips.

    Thompson sampling: a model is tried while it may yet be the cheapest. The reason goes to stderr.
    """
    from rushes.cli.given_items import GivenItems
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line, say

    given = GivenItems(aspect_ratio=aspect_ratio, duration=duration, option=option)

    async def ask() -> None:
        async with opened() as rushes:
            found = await rushes.choose_model(
                among,
                options=given.defaults(rushes.catalogue).options,
                credits_max=credits_max,
                seed=seed,
                account=account,
            )
        if json:
            print_json({"ok": True, **found})
            return
        say(found["reason"])
        print_line(found["model"])

    run_async(ask())
