"""Outgoing webhooks: what was delivered, what was not and why; and a button that sends one again."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from rushes.dashboard.frame import page_frame
from rushes.dashboard.live import Live, said
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.pieces import (
    batch_path,
    card,
    chip,
    empty,
    filter_links,
    moment_of,
    page_head,
    pager,
    table,
    url,
)
from rushes.engine import operator_acts, operator_reads

DELIVERIES_PER_PAGE: Final = 25

_STATUS: Final = {
    "pending": ("Waiting", "info"),
    "delivered": ("Delivered", "ok"),
    "failed": ("Given up", "bad"),
    "disabled": ("Receiver gone", "warn"),
}


def add_page(parts: DashboardParts) -> None:
    """Register the page."""

    @ui.page("/deliveries", response_timeout=20)
    async def deliveries(request: Request, status: str = "", before: str = "") -> None:
        wanted = status if status in _STATUS else None
        from_row = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
        with page_frame(parts, request, "Deliveries", section="Deliveries") as root:

            async def render() -> Markup:
                found, has_more = await parts.read(
                    operator_reads.delivery_page, status=wanted, limit=DELIVERIES_PER_PAGE, before=from_row
                )
                return page_content(
                    root, found, status=wanted, before=from_row, has_more=has_more, now_ms=parts.now_ms()
                )

            async def replay(arguments: dict[str, Any]) -> None:
                await parts.database.transact(
                    operator_acts.replay_delivery, int(arguments["id"]), now_ms=parts.now_ms()
                )
                said("It will be sent again now")
                await live.refresh()

            live = Live(render, {"replay": replay})
            await live.refresh()


def page_content(
    root: str,
    found: Sequence[Mapping[str, Any]],
    *,
    status: str | None,
    before: int | None,
    has_more: bool,
    now_ms: int,
) -> Markup:
    """The page, from what was read."""
    path = f"{root}/deliveries"
    links = [("All", path, status is None)]
    links += [(word, url(path, status=key), status == key) for key, (word, _) in _STATUS.items()]
    first = url(path, status=status) if before is not None else None
    following = url(path, status=status, before=found[-1]["id"]) if has_more else None
    hint = "Batches that name a webhook_url send one for each event."
    return joined(
        page_head("Deliveries"),
        tag("div", filter_links(links, label="Status"), class_="filters"),
        card(
            "Webhooks, newest first",
            _rows(root, found, now_ms=now_ms) if found else empty("No webhook here.", hint),
            pager(f"{len(found)} deliveries", previous=first, following=following)
            if first or following
            else None,
        ),
    )


def _rows(root: str, found: Sequence[Mapping[str, Any]], *, now_ms: int) -> Markup:
    heads = ("Event", "Batch", "Account", "To", "Status", "Answer", "Tries", "When", "Again")
    rows = [
        [
            tag("span", delivery["type"], class_="mono"),
            tag("a", delivery["public_id"], href=batch_path(root, delivery["public_id"]), class_="mono"),
            delivery["account"],
            tag("span", delivery["url"], class_="mono"),
            chip(*_STATUS[delivery["status"]]),
            _answer(delivery),
            str(delivery["attempts"]),
            moment_of(delivery["created_at_ms"], now_ms=now_ms),
            tag(
                "button",
                "Send again",
                type="button",
                class_="button small",
                aria_label=f"Send {delivery['type']} of {delivery['public_id']} again",
                data_act="replay",
                data_id=delivery["id"],
            ),
        ]
        for delivery in found
    ]
    return table(
        heads,
        rows,
        caption="Webhook deliveries",
        right=("Tries", "Again"),
        keys=[f"delivery-{delivery['id']}" for delivery in found],
    )


def _answer(delivery: Mapping[str, Any]) -> Markup:
    if delivery["error"] is not None:
        status = "" if delivery["http_status"] is None else f"{delivery['http_status']}: "
        return tag("span", f"{status}{delivery['error']}", class_="reason")
    return tag("span", str(delivery["http_status"] or "–"))
