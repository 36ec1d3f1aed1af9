"""`rushes quote`: what a file of prompts would cost, without a key, credits or the network."""

import math
import time
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from rushes.cli.given_acceptance import NOTHING_ASKED, GivenAcceptance
from rushes.cli.given_items import (
    NO_BOUNDS_GIVEN,
    NOTHING_GIVEN,
    GivenAuto,
    GivenItems,
    folder_of,
    price_drafts,
)
from rushes.cli.options import Account, Json, PromptFile
from rushes.cli.show import say
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.domain.acceptance.best_of import BestOf
    from rushes.domain.input.priced import PricedDraft
    from rushes.settings import Settings


DUPLICATES_SHOWN_MAX = 5


def quote(
    file: PromptFile | None = None,
    /,
    *,
    given: GivenItems = NOTHING_GIVEN,
    bounds: GivenAuto = NO_BOUNDS_GIVEN,
    accepting: GivenAcceptance = NOTHING_ASKED,
    reuse: Annotated[
        bool, Parameter(negative=(), help="The price with --reuse: equal items take one file.")
    ] = False,
    account: Account = "default",
    json: Json = False,
) -> None:
    """Show what a file of prompts would cost: credits, and what the providers are expected to charge.

    It is the price that `rushes run` reserves. Nothing is written or sent, and it does not matter how many
    credits the account has. Where there is a database, items that were bought before are named.
    """
    from rushes.settings import Settings

    settings = Settings.load()
    catalogue = settings.catalogue()
    bounds, drafts = bounds.in_lanes(given.drafts(file, catalogue), catalogue)
    priced = price_drafts(drafts, settings, folder_of(file), auto=bounds.rule(catalogue))
    best_of = accepting.best_of_for(priced, settings)
    show_quote(priced, settings, as_json=json, account=account, reuse=reuse, best_of=best_of)


def check_reachable(settings: "Settings", drafts: "Sequence[PricedDraft]", account: str) -> None:
    """Raise `InputError`, naming the earliest time, for a --by that has passed or cannot be met."""
    from rushes.cli.session import opened, run_async
    from rushes.database_wiring import missing_sqlite_file

    async def look() -> None:
        async with opened(settings=settings) as rushes:
            await rushes.check_reachable(drafts, account=account)

    check_reachable_without_database(settings, drafts)
    if missing_sqlite_file(settings) is None and any(draft.bounds is not None for draft in drafts):
        run_async(look())


def check_reachable_without_database(settings: "Settings", drafts: "Sequence[PricedDraft]") -> None:
    """The same where there is no database yet, by the catalogue's times."""
    from rushes.database_wiring import missing_sqlite_file
    from rushes.money.choosing.reach import refuse_unreachable

    if missing_sqlite_file(settings) is not None:
        refuse_unreachable(drafts, now_ms=int(time.time() * 1000))


def bought_before(
    settings: "Settings", drafts: "Sequence[PricedDraft]", account: str
) -> tuple[list[dict[str, Any]], set[int]]:
    """What the account has bought before of these, and what reusing would not buy; without a database only
    what is repeated here.
    """
    from rushes.cli.session import opened, run_async
    from rushes.database_wiring import missing_sqlite_file
    from rushes.domain.errors import StoreError
    from rushes.domain.input.duplicates import duplicates

    async def look() -> tuple[list[dict[str, Any]], set[int]]:
        async with opened(settings=settings) as rushes:
            return await rushes.bought_before(drafts, account=account)

    if missing_sqlite_file(settings) is None:
        try:
            return run_async(look())
        except StoreError as error:
            say(f"not compared with what was bought before: {error.message}")
    return [], {index for index, _ in duplicates(drafts)}


def expected_of(
    settings: "Settings", drafts: "Sequence[PricedDraft]", best_of: "BestOf | None", account: str
) -> dict[str, Any] | None:
    """What best of n is expected to cost, as in the API's quotes; without a database nothing is known."""
    from rushes.cli.session import opened, run_async
    from rushes.database_wiring import missing_sqlite_file
    from rushes.read.acceptance.expected import expected_by

    async def look() -> dict[str, Any] | None:
        async with opened(settings=settings) as rushes:
            return await rushes.expected(drafts, best_of, account=account)

    if best_of is None:
        return None
    if missing_sqlite_file(settings) is not None:
        return expected_by({}, drafts, best_of)
    return run_async(look())


def expected_lines(found: Mapping[str, Any]) -> list[str]:
    """What best of n is expected to cost, how many items get an accepted clip, and by what history."""
    lines = []
    if found["expected_credits"] is not None:
        count = counted(sum(one["items"] for one in found["models"]), "item")
        lines.append(
            f"best of {found['n_max']}: {count} expected to cost {found['expected_credits']:,.1f} credits;"
            f" {found['expected_accepted']:,.1f} of them get an accepted clip"
        )
    for one in found["models"]:
        known = f"{one['accepted']} of {counted(one['clips'], 'clip')} accepted"
        if one["chance"] is None:
            lines.append(f"best of {found['n_max']}, {one['model']}: unknown yet, {known}")
            continue
        low, high = (round(100 * end) for end in one["chance_interval"])
        lines.append(
            f"{one['model']}: {one['credits_per_item']:.1f} credits an item, accepted in"
            f" {100 * one['chance']:.0f} of 100 ({low} to {high}; {known})"
        )
    return lines


def show_quote(
    drafts: "Sequence[PricedDraft]",
    settings: "Settings",
    *,
    as_json: bool,
    account: str = "default",
    reuse: bool = False,
    best_of: "BestOf | None" = None,
) -> None:
    """The quote on stdout, unless the time to finish by is refused.

    With `reuse` the sum is without what would be reused.
    """
    from rushes.cli.show import duration, money_text, print_json, print_line, print_table
    from rushes.read.quotes import operator_quote
    from rushes.wiring import provider_paces

    check_reachable(settings, drafts, account)
    found = operator_quote(drafts, provider_paces(settings))
    bought, free = bought_before(settings, drafts, account)
    saved = sum(drafts[index].credits for index in free)
    found |= {"bought_before": bought, "reuse_saves_credits": saved}
    found["credits_with_reuse"] = found["credits"] - saved
    to_buy = [draft for index, draft in enumerate(drafts) if not (reuse and index in free)]
    found["accept"] = expected_of(settings, to_buy, best_of, account)
    if as_json:
        print_json(found)
        return
    rows = [
        (name, one["items"], one["credits"], money_text(one["provider_cost"], "unknown"))
        for name, one in found["models"].items()
    ]
    print_table(("model", "items", "credits", "provider cost"), rows, right="items credits")
    costs = ", ".join(f"{amount} {currency}" for currency, amount in found["provider_cost"].items())
    asked = credits_text(drafts, free=free if reuse else frozenset())
    price = f"{counted(found['total'], 'item')}, {asked}"
    print_line(f"{price}; the providers charge {costs or 'an unknown amount'}")
    for line in () if best_of is None else expected_lines(found["accept"]):
        print_line(line)
    if found["duplicates"]:
        print_line(duplicates_line(found["duplicates"]))
    if bought:
        print_line(bought_line(bought))
    if saved:
        print_line(reuse_line(saved, reuse=reuse))
    finish = found["finish_seconds"]
    print_line(f"done after {duration(finish['p50'])} (half of the time) to {duration(finish['p95'])}")


def credits_text(drafts: "Sequence[PricedDraft]", *, free: "Set[int]" = frozenset()) -> str:
    """`400 credits`; `400 to 2,400 credits` where models are chosen later: the least is reserved first. The
    `free` ones are not bought.
    """
    bought = [draft for index, draft in enumerate(drafts) if index not in free]
    least, most = sum(draft.credits for draft in bought), sum(draft.credits_max for draft in bought)
    return counted(least, "credit") if least == most else f"{least:,} to {counted(most, 'credit')}"


def duplicates_line(found: "Sequence[Mapping[str, int]]") -> str:
    """`2 items ask for the same as an earlier one: 3 as 1, 7 as 1`, the first few of them."""
    pairs = [f"{each['index']} as {each['same_as']}" for each in found[:DUPLICATES_SHOWN_MAX]]
    more = ", …" if len(found) > DUPLICATES_SHOWN_MAX else ""
    same = counted(len(found), "item asks", "items ask")
    return f"{same} for the same as an earlier one: {', '.join(pairs)}{more}"


def bought_line(found: "Sequence[Mapping[str, Any]]") -> str:
    """`2 items were bought in the last 30 days: 0 as bat_…-4, 1 as bat_…-5`, the first few of them."""
    pairs = [f"{each['index']} as {each['item_id']}" for each in found[:DUPLICATES_SHOWN_MAX]]
    more = ", …" if len(found) > DUPLICATES_SHOWN_MAX else ""
    were = counted(len(found), "item was", "items were")
    return f"{were} bought in the last 30 days: {', '.join(pairs)}{more}"


def reuse_line(saved: int, *, reuse: bool) -> str:
    """What reusing saves, or how to ask for that."""
    if reuse:
        return f"{counted(saved, 'credit')} saved: equal items take one file"
    return f"--reuse takes the files that are there, and saves {counted(saved, 'credit')}"


def quote_line(
    drafts: "Sequence[PricedDraft]", settings: "Settings", *, free: "Set[int]" = frozenset()
) -> str:
    """`40 videos, 400 credits, about 3.20 USD at runway, 6 to 9 minutes`; the `free` ones are not bought."""
    from rushes.domain.catalogue.price import decimal_of_micros, total
    from rushes.read.quotes import operator_quote
    from rushes.wiring import provider_paces

    parts = [counted(len(drafts), "video")]
    drafts = [draft for index, draft in enumerate(drafts) if index not in free]
    parts.append(credits_text(drafts))
    if any(draft.choices for draft in drafts):
        parts.append("each at the model that is chosen for it")
    for provider in sorted({draft.model.provider for draft in drafts if not draft.choices}):
        known = [draft.money for draft in drafts if draft.model.provider == provider and draft.money]
        sums = [f"{decimal_of_micros(micros):.2f} {currency}" for currency, micros in total(known).items()]
        parts.append(f"about {' and '.join(sums)} at {provider}" if sums else f"at {provider}")
    finish = operator_quote(drafts, provider_paces(settings))["finish_seconds"]
    return ", ".join([*parts, span_text(finish["p50"], finish["p95"])])


def span_text(low_seconds: float, high_seconds: float) -> str:
    """`40 to 70 seconds`, `6 to 9 minutes`, `2 to 3 hours`."""
    unit, name = next(
        (unit, name)
        for unit, name, most in ((1, "second", 90), (60, "minute", 90 * 60), (3600, "hour", math.inf))
        if high_seconds <= most
    )
    low, high = max(1, round(low_seconds / unit)), max(1, math.ceil(high_seconds / unit))
    return counted(high, name) if low >= high else f"{low} to {counted(high, name)}"
