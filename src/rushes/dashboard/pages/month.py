"""What an account got, spent and had in a month: to look at, and to print."""

from datetime import UTC, datetime
from typing import Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.entries import change, entry_word
from rushes.dashboard.pieces import amount, card, empty, number, stat, table, url
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.errors import NotFound
from rushes.read.board.accounts import MonthStatement, month_statement

MONTHS_SHOWN: Final = 24


def month_links(visit: Visit, account: str, since_ms: int) -> Markup:
    """The way to the statement of each month since then, newest first."""
    now, since = _day(visit.now_ms), _day(since_ms)
    year, month, links = now.year, now.month, list[Markup]()
    while (year, month) >= (since.year, since.month) and len(links) < MONTHS_SHOWN:
        name = f"{year:04d}-{month:02d}"
        links.append(
            tag("a", name, href=url(f"{visit.root}/accounts", account=account, month=name), class_="pill")
        )
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    return tag("div", links, class_="pills")


def _day(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def month_span(month: str) -> tuple[int, int]:
    """The first millisecond of a month such as `2026-10`, and of the next. Raises `NotFound`."""
    try:
        start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
        following = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    except ValueError:
        raise NotFound(f'"{month[:20]}" is no month such as 2026-10') from None
    return int(start.timestamp() * 1000), int(following.timestamp() * 1000)


async def month_page(visit: Visit, account: str, month: str) -> Page:
    """The statement of one month. Raises `NotFound`."""
    from_ms, to_ms = month_span(month)
    found = await visit.parts.read(month_statement, account, from_ms=from_ms, to_ms=to_ms)
    back = tag("a", account, href=url(f"{visit.root}/accounts", account=account), class_="muted")
    head = tag(
        "div",
        tag("div", tag("h1", tr("Statement of {month}", month=month)), back, class_="head-facts"),
        tag(
            "div",
            tag("button", tr("Print"), type="button", class_="button with-script", data_print=True),
            class_="actions",
        ),
        class_="head",
    )
    figures = tag(
        "div",
        stat(tr("Opening balance"), number(found.opening)),
        stat(tr("Paid for videos"), amount(found.paid), _videos(found)),
        stat(tr("Closing balance"), number(found.closing)),
        class_="grid",
    )
    return Page(
        title=f"{account} {month}",
        section="accounts",
        parts={
            "head": head,
            "figures": figures,
            "models": card(tr("Videos by model"), _models(found)),
            "moves": card(tr("Ledger by type"), _moves(found)),
        },
        is_live=to_ms > visit.now_ms,
    )


def _videos(found: MonthStatement) -> str:
    return tr_count(sum(count for _, count, _ in found.models), "1 video", "{n} videos")


def _models(found: MonthStatement) -> Markup:
    if not found.models and not found.given_back:
        return empty(tr("No video was paid for in this month."))
    heads = (tr("Model"), tr("Videos"), tr("Credits"))
    rows = [[model, number(count), number(paid)] for model, count, paid in found.models]
    if found.given_back:
        rows.append([tr("Given back"), "", amount(-found.given_back)])
    rows.append([tr("Total"), number(sum(row[1] for row in found.models)), amount(found.paid)])
    return table(heads, rows, caption=tr("Videos by model"), right=heads[1:], class_="dense with-sum")


def _moves(found: MonthStatement) -> Markup:
    heads = (tr("Type"), tr("Entries"), tr("Change"))
    rows: list[list[Markup | str]] = [
        [entry_word(kind), number(count), change(delta)] for kind, count, delta in found.moves
    ]
    rows.append([tr("Total"), "", change(found.closing - found.opening)])
    note = tag(
        "p",
        tr("Reserved credits leave the balance at once; what fails comes back as a refund."),
        class_="hint",
    )
    return joined(
        table(heads, rows, caption=tr("Ledger by type"), right=heads[1:], class_="dense with-sum"), note
    )
