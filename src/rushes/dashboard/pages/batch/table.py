"""A batch's items as rows: the dense view."""

from collections.abc import Mapping
from typing import Any, Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.batch.tabs import head, looking, path_of, tab_bar, title_of
from rushes.dashboard.pages.batch.waits import hold_words
from rushes.dashboard.pages.batch.wall import PAGES_MAX, filter_of, filters, item_path, selection
from rushes.dashboard.pieces import (
    clock,
    duration,
    empty,
    failure_word,
    ms_of,
    number,
    page_steps,
    status_chip,
    table,
    url,
)
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr
from rushes.read.board.batch_tabs import items_tab
from rushes.read.scope import Span

ROWS_PER_PAGE: Final = 100


async def show(visit: Visit) -> Page:
    """The table of a batch's items."""
    wanted, page = filter_of(visit), visit.number("page", 1, high=PAGES_MAX)
    span = Span(ROWS_PER_PAGE, (page - 1) * ROWS_PER_PAGE)
    tab = await visit.parts.read(items_tab, looking(visit), wanted, span)
    path = visit.root + path_of(tab.batch["batch_id"], "table")

    def to(wanted_page: int) -> str:
        return url(path, status=wanted.status, failure_type=wanted.failure_type, page=wanted_page)

    heads = (
        tr("Item"),
        tr("Status"),
        tr("Prompt"),
        tr("Model"),
        tr("Reason"),
        tr("Remote id"),
        tr("Took"),
        tr("Finished (UTC)"),
        tr("Credits"),
    )
    shown = tag(
        "form",
        table(
            heads,
            [_row(visit, item) for item in tab.items],
            caption=tr("Items of the batch"),
            right=(heads[6], heads[8]),
            keys=[f"item-{item['index']}" for item in tab.items],
            class_="dense item-rows",
        ),
        selection(visit, tab.batch),
        page_steps(page, tab.total, ROWS_PER_PAGE, to),
        method="get",
        action=visit.root + path_of(tab.batch["batch_id"], "retry"),
        data_selecting=tab.batch["batch_id"],
    )
    return Page(
        title=title_of(tab.batch),
        section="batches",
        parts={
            "head": head(visit, tab.batch),
            "tabs": tab_bar(visit, tab.batch, "table"),
            "filters": filters(visit, tab, wanted, "table"),
            "table": tag("div", shown, class_="card flush")
            if tab.items
            else empty(tr("No item is like this.")),
        },
    )


def _row(visit: Visit, item: Mapping[str, Any]) -> list[Markup | str | int | None]:
    name = f"#{item['index']}" if item["custom_id"] is None else f"#{item['index']} {item['custom_id']}"
    pick = tag(
        "input",
        type="checkbox",
        name="items",
        value=item["index"],
        aria_label=tr("Select item {index}", index=item["index"]),
    )
    took = None
    if item["completed_at"] and item["created_at"]:
        took = duration((ms_of(item["completed_at"]) - ms_of(item["created_at"])) / 1000)
    reason: Markup | str | None = None
    if item["status"] == "failed":
        reason = tag(
            "span",
            failure_word(item["failure_type"], item["error"]),
            title=item["error"],
            class_="amount-minus",
        )
    elif item["hold"]:
        reason = tr("Held: {reason}", reason=hold_words(item["hold"]))
    return [
        joined(pick, " ", tag("a", name, href=visit.root + item_path(item))),
        status_chip(item["status"]),
        tag("span", item["prompt"], title=item["prompt"], class_="clip prompt-cell"),
        item["model"],
        tag("span", reason, class_="clip short") if reason else None,
        tag("span", item["remote_task_id"], class_="mono clip id", title=item["remote_task_id"])
        if item["remote_task_id"]
        else None,
        took,
        clock(item["completed_at"]),
        tag("span", tr("refunded {n}", n=number(item["credits"])), class_="muted")
        if item["status"] == "failed"
        else number(item["credits"]),
    ]
