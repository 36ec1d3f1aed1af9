"""The list of batches, with filters and a page at a time."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from rushes.dashboard.frame import page_frame
from rushes.dashboard.live import Live
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.pieces import (
    STATUS_WORDS,
    batch_bar,
    batch_path,
    card,
    duration,
    empty,
    filter_links,
    moment,
    number,
    page_head,
    pager,
    request_of,
    status_chip,
    table,
    url,
)
from rushes.domain.errors import NotFound
from rushes.engine import operator_reads
from rushes.engine.operator_reads import BatchFilter

BATCHES_PER_PAGE: Final = 25
TEXT_CHARACTERS_MAX: Final = 200


def add_page(parts: DashboardParts) -> None:
    """Register the page."""

    @ui.page("/batches", response_timeout=20)
    async def batches(
        request: Request, status: str = "", account: str = "", search: str = "", before: str = ""
    ) -> None:
        wanted = BatchFilter(
            status=status if status in STATUS_WORDS else None,
            account=account[:TEXT_CHARACTERS_MAX].strip() or None,
            search=search[:TEXT_CHARACTERS_MAX].strip() or None,
        )
        with page_frame(parts, request, "Batches", section="Batches") as root:

            async def render() -> Markup:
                now_ms = parts.now_ms()
                try:
                    found, has_more = await parts.read(
                        operator_reads.batch_page,
                        wanted,
                        limit=BATCHES_PER_PAGE,
                        before=before or None,
                        now_ms=now_ms,
                    )
                except NotFound:  # the filter's account, or the batch where the page begins
                    found, has_more = [], False
                return page_content(root, wanted, found, before=before, has_more=has_more, now_ms=now_ms)

            await Live(render).refresh()


def page_content(
    root: str,
    wanted: BatchFilter,
    found: Sequence[Mapping[str, Any]],
    *,
    before: str,
    has_more: bool,
    now_ms: int,
) -> Markup:
    """The page, from what was read."""
    path = f"{root}/batches"
    kept: dict[str, str | None] = {"account": wanted.account, "search": wanted.search}
    links = [("All", url(path, **kept), wanted.status is None)]
    links += [
        (word, url(path, status=status, **kept), wanted.status == status)
        for status, word in STATUS_WORDS.items()
    ]
    search = tag(
        "form",
        tag("input", type="hidden", name="status", value=wanted.status) if wanted.status else None,
        tag(
            "input",
            name="account",
            value=wanted.account or "",
            placeholder="Account",
            aria_label="Account",
            maxlength=TEXT_CHARACTERS_MAX,
        ),
        tag(
            "input",
            name="search",
            value=wanted.search or "",
            placeholder="Batch or request id",
            aria_label="Beginning of a batch or request id",
            maxlength=TEXT_CHARACTERS_MAX,
        ),
        tag("button", "Filter", type="submit", class_="button"),
        method="get",
        action=path,
        role="search",
    )
    following = url(path, status=wanted.status, **kept, before=found[-1]["batch_id"]) if has_more else None
    first = url(path, status=wanted.status, **kept) if before else None
    return joined(
        page_head("Batches"),
        tag("div", filter_links(links, label="Status"), search, class_="filters"),
        card(
            "Newest first",
            batch_table(root, found, now_ms=now_ms)
            if found
            else empty("No batch is like this.", "Take another filter, or wait for one to be made."),
            pager(f"{len(found)} batches", previous=first, following=following)
            if first or following
            else None,
        ),
    )


def batch_table(root: str, found: Sequence[Mapping[str, Any]], *, now_ms: int) -> Markup:
    """Batches with their progress."""
    heads = (
        *("Batch", "Account", "Status", "Progress"),
        *("Videos", "Failed", "Reserved", "Settled", "Left", "Created"),
    )
    rows = [
        [
            tag(
                "div",
                tag("a", batch["batch_id"], href=batch_path(root, batch["batch_id"]), class_="mono"),
                request_of(batch),
            ),
            tag("a", batch["account"], href=url(f"{root}/accounts", account=batch["account"])),
            status_chip(batch["status"]),
            batch_bar(batch),
            f"{number(batch['succeeded_count'])} of {number(batch['total_count'])}",
            number(batch["failed_count"]),
            number(batch["credits_reserved"]),
            number(batch["credits_settled"]),
            "–" if batch["completed_at"] else duration(batch["eta_seconds"]),
            moment(batch["created_at"], now_ms=now_ms),
        ]
        for batch in found
    ]
    return table(heads, rows, caption="Batches", right=heads[4:], keys=[batch["batch_id"] for batch in found])
