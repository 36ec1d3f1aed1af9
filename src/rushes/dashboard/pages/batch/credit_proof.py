"""A batch's credit statement: reserved = settled + refunded (+ held), shown from three tables."""

from collections.abc import Mapping
from typing import Any, Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.batch.tabs import head, looking, path_of, tab_bar, title_of
from rushes.dashboard.pages.entries import entry_table
from rushes.dashboard.pieces import card, chip, empty, facts_list, number, page_steps, table, url
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.read.board.batch_tabs import CreditsTab, credits_tab
from rushes.read.scope import Span

ENTRIES_PER_PAGE: Final = 50
PAGES_MAX: Final = 100_000


async def show(visit: Visit) -> Page:
    """The credits of a batch."""
    page = visit.number("page", 1, high=PAGES_MAX)
    tab = await visit.parts.read(
        credits_tab,
        looking(visit),
        Span(ENTRIES_PER_PAGE, (page - 1) * ENTRIES_PER_PAGE),
        visit.parts.valuation,
    )
    path = visit.root + path_of(tab.batch["batch_id"])
    download = tag(
        "a", tr("Signed statement"), href=f"{path}/statement", class_="button small", download=True
    )
    return Page(
        title=title_of(tab.batch),
        section="batches",
        parts={
            "head": head(visit, tab.batch),
            "tabs": tab_bar(visit, tab.batch, "credits"),
            "proof": tag(
                "div",
                card(tr("Credit statement"), _equation(tab.proof), _comparison(tab.proof), end=download),
                card(tr("Margin"), _margin(tab.margin, tab.proof["batch"]["settled"])),
                class_="grid two",
            ),
            "entries": _entries(visit, tab, page),
        },
    )


def _entries(visit: Visit, tab: CreditsTab, page: int) -> Markup:
    total = tab.proof["entry_count"]
    path = visit.root + path_of(tab.batch["batch_id"], "credits")
    return tag(
        "details",
        tag(
            "summary",
            tag("h2", tr("Ledger entries")),
            tag("span", number(total), class_="muted"),
            class_="more-rows",
        ),
        entry_table(visit, tab.entries, with_batch=False) if tab.entries else empty(tr("No entry.")),
        page_steps(page, total, ENTRIES_PER_PAGE, lambda wanted: url(path, page=wanted)),
        class_="card flush fold",
        open=page > 1 or None,
    )


def _margin(found: Mapping[str, Any], settled: int) -> Markup:
    """What was earned with the batch: its settled credits at their value, less what the providers charged.

    Credits that were given back are settled, and not earned.
    """
    costs = [f"{amount} {currency}" for currency, amount in found["provider_cost"].items()]
    unknown = found["cost_unknown_count"]
    if unknown:
        costs.append(tr_count(unknown, "1 video of unknown cost", "{n} videos of unknown cost"))
    returned = settled - found["credits_settled"]
    lines = [
        (tr("Credits settled"), number(settled)),
        *([(tr("Given back"), number(returned))] if returned else []),
        (tr("Their value"), _amount(found["revenue"], tr("not set: RUSHES_CREDIT_VALUE says it"))),
        (tr("Provider's cost"), " + ".join(costs) or "0"),
        (tr("Margin"), _amount(found["margin"], tr("not known"))),
    ]
    return facts_list(lines)


def _amount(money: Mapping[str, str] | None, otherwise: str) -> Markup:
    if money is None:
        return tag("span", otherwise, class_="muted")
    kind = "amount-minus" if money["amount"].startswith("-") else "amount-plus"
    return tag("b", f"{money['amount']} {money['currency']}", class_=kind)


def _equation(proof: Mapping[str, Any]) -> Markup:
    of_batch = proof["batch"]

    def term(amount: int, name: str) -> Markup:
        return tag("span", number(amount), tag("small", name))

    sign = [tag("span", text, class_="sign") for text in ("=", "+", "+")]
    held = joined(sign[2], term(proof["held"], tr("still held"))) if proof["held"] else None
    verdict = (
        chip(tr("Proved: three tables agree") if proof["is_final"] else tr("Agrees so far"), "ok")
        if proof["agrees"]
        else chip(tr("The books do not agree: run rushes audit"), "bad")
    )
    return tag(
        "div",
        term(of_batch["reserved"], tr("reserved")),
        sign[0],
        term(of_batch["settled"], tr("settled")),
        sign[1],
        term(of_batch["refunded"], tr("refunded")),
        held,
        verdict,
        class_="sum",
    )


def _comparison(proof: Mapping[str, Any]) -> Markup:
    sources = (
        (tr("The batch's own row"), proof["batch"]),
        (
            tr_count(proof["entry_count"], "1 ledger entry", "{n} ledger entries")
            + ", "
            + tr_count(proof["resolution_count"], "1 resolution", "{n} resolutions"),
            proof["ledger"],
        ),
        (tr_count(len(proof["lines"]), "Lines of 1 credit lot", "Lines of {n} credit lots"), proof["lots"]),
    )
    heads = (tr("Source"), tr("Reserved"), tr("Settled"), tr("Refunded"))
    rows = [
        [name, number(sums["reserved"]), number(sums["settled"]), number(sums["refunded"])]
        for name, sums in sources
    ]
    caption = tr("The batch's credits from three tables")
    return table(heads, rows, caption=caption, right=heads[1:], class_="sums")
