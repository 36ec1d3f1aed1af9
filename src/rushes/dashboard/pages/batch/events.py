"""A batch's events as they were committed: what webhooks and streams are sent."""

from collections.abc import Mapping
from typing import Any, Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.batch.tabs import head, looking, path_of, tab_bar, title_of
from rushes.dashboard.pieces import chip, clock, empty, failure_word, number, pager, table, url
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr
from rushes.read.board.batch_tabs import events_tab

EVENTS_PER_PAGE: Final = 100

_KINDS: Final = {"succeeded": "ok", "failed": "bad", "completed": "ok", "created": "info"}


async def show(visit: Visit) -> Page:
    """The events of a batch, oldest first."""
    after = visit.number("after", 0, low=0)
    tab = await visit.parts.read(events_tab, looking(visit), after=after, limit=EVENTS_PER_PAGE + 1)
    events, has_more = tab.events[:EVENTS_PER_PAGE], len(tab.events) > EVENTS_PER_PAGE
    path = visit.root + path_of(tab.batch["batch_id"], "events")
    heads = (tr("Number"), tr("Event"), tr("About"), tr("When (UTC)"))
    rows: list[list[Markup | str]] = [
        [
            number(seq),
            chip(event["type"], _KINDS.get(event["type"].rpartition(".")[2], "")),
            _about(visit, event),
            clock(event["timestamp"]),
        ]
        for seq, event in events
    ]
    shown = joined(
        table(
            heads,
            rows,
            caption=tr("Events of the batch, oldest first"),
            right=heads[3:],
            keys=[f"event-{seq}" for seq, _ in events],
            class_="dense",
        )
        if rows
        else empty(tr("No event here.")),
        pager(
            tr("from number {n}", n=number(after + 1)),
            previous=url(path, after=max(0, after - EVENTS_PER_PAGE)) if after else None,
            following=url(path, after=events[-1][0]) if has_more else None,
        )
        if after or has_more
        else None,
    )
    return Page(
        title=title_of(tab.batch),
        section="batches",
        parts={
            "head": head(visit, tab.batch),
            "tabs": tab_bar(visit, tab.batch, "events"),
            "events": tag("div", shown, class_="card flush"),
        },
    )


def _about(visit: Visit, event: Mapping[str, Any]) -> Markup:
    data = event["data"]
    if "item_id" not in data:
        return tag("span", tr("the batch"))
    link = tag("a", f"#{data['index']}", href=f"{visit.root}/items/{data['item_id']}")
    why = None
    if data["error"]:
        word = failure_word(data.get("failure_type"), data["error"])
        why = tag("div", word, class_="muted clip", title=data["error"])
    return tag("span", link, why, class_="about-item")
