"""The wall: a batch's videos as tiles in their true shape, and what can be done with the selected ones."""

from collections.abc import Mapping
from typing import Any, Final

from rushes.dashboard.markup import Markup, joined, link_target, tag
from rushes.dashboard.pages.batch.tabs import head, looking, path_of, tab_bar, title_of
from rushes.dashboard.pages.batch.waits import hold_words
from rushes.dashboard.pieces import (
    empty,
    failure_word,
    filter_links,
    item_bar,
    number,
    own_words,
    pager,
    status_word,
    url,
)
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.notation import model_words
from rushes.domain.task import TaskStatus
from rushes.read.board.batch_tabs import ItemsTab, items_tab
from rushes.read.items import ItemFilter
from rushes.read.scope import Span

TILES_PER_PAGE: Final = 60
PAGES_MAX: Final = 100_000
ASPECT_MIN, ASPECT_MAX = 0.4, 2.5
_WIDE: Final = 16 / 9

_SIZES: Final = ("S", "M", "L")


async def show(visit: Visit) -> Page:
    """The wall of a batch."""
    wanted = filter_of(visit)
    page = visit.number("page", 1, high=PAGES_MAX)
    span = Span(TILES_PER_PAGE, (page - 1) * TILES_PER_PAGE)
    tab = await visit.parts.read(items_tab, looking(visit), wanted, span)
    return Page(
        title=title_of(tab.batch),
        section="batches",
        parts={
            "head": head(visit, tab.batch),
            "tabs": tab_bar(visit, tab.batch, "wall", sizes()),
            "filters": filters(visit, tab, wanted, "wall"),
            "wall": wall(visit, tab, wanted),
            "more": more(visit, tab, wanted, page),
        },
    )


def filter_of(visit: Visit) -> ItemFilter:
    """Which items the address asks for."""
    status = visit.text("status")
    return ItemFilter(
        status=status if status in set(TaskStatus) else None, failure_type=visit.text("failure_type")
    )


def sizes() -> Markup:
    """How large tiles are: the script's."""
    return tag(
        "div",
        tag("span", tr("Size"), class_="unseen"),
        [tag("button", size, type="button", class_="button small quiet", data_size=size) for size in _SIZES],
        tag(
            "span",
            *(tag("kbd", key) for key in ("j", "k")),
            f" {tr('move')} ",
            tag("kbd", tr("space")),
            f" {tr('play')} ",
            tag("kbd", "x"),
            f" {tr('select')} ",
            tag("kbd", "p"),
            f" {tr('open')} ",
            tag("kbd", "r"),
            f" {tr('retry')}",
            class_="keys",
        ),
        class_="tab-end with-script",
    )


def filters(visit: Visit, tab: ItemsTab, wanted: ItemFilter, name: str) -> Markup:
    """By status, and by the reason of failures."""
    batch, path = tab.batch, visit.root + path_of(tab.batch["batch_id"], name)
    links = [(tr("All"), path, wanted == ItemFilter())]
    links += [
        (
            f"{status_word(status)} {number(batch[f'{status}_count'])}",
            url(path, status=status),
            wanted.status == status and wanted.failure_type is None,
        )
        for status in ("pending", "processing", "succeeded", "failed")
        if batch[f"{status}_count"] or wanted.status == status
    ]
    reasons = [
        (
            f"{failure_word(reason)} {number(count)}",
            url(path, failure_type=reason),
            wanted.failure_type == reason,
        )
        for reason, count in tab.failures.items()
    ]
    by_reason = filter_links(reasons, label=tr("Why items failed")) if len(reasons) > 1 else None
    return tag("div", filter_links(links, label=tr("Status of the items")), by_reason, class_="filters")


def wall(visit: Visit, tab: ItemsTab, wanted: ItemFilter) -> Markup:
    """A page of tiles in the form that acts on the selected ones."""
    if not tab.items:
        hint = tr("Choose another filter above.") if wanted != ItemFilter() else ""
        return empty(tr("No item is like this."), hint)
    path = visit.root + path_of(tab.batch["batch_id"])
    shapes = {aspect_of(item) for item in tab.items}
    tiles = [tile(visit, item) for item in tab.items]
    shown = (
        tag("div", tiles, class_="wall even", style=f"--aspect:{shapes.pop():.3f}")
        if len(shapes) == 1
        else tag("div", tiles, class_="wall")
    )
    return tag(
        "form",
        shown,
        selection(visit, tab.batch),
        method="get",
        action=f"{path}/retry",
        data_selecting=tab.batch["batch_id"],
    )


def more(visit: Visit, tab: ItemsTab, wanted: ItemFilter, page: int) -> Markup:
    """The way to the rest of a long wall; the script fills it in as one scrolls."""
    path = visit.root + path_of(tab.batch["batch_id"])
    pages = max(1, -(-tab.total // TILES_PER_PAGE))
    if pages == 1 and page == 1:
        return Markup()

    def to(wanted_page: int) -> str | None:
        if not 1 <= wanted_page <= pages:
            return None
        return url(path, status=wanted.status, failure_type=wanted.failure_type, page=wanted_page)

    text = tr("Page {page} of {pages}", page=number(page), pages=number(pages))
    return tag(
        "div",
        pager(text, previous=to(min(page - 1, pages)), following=to(page + 1)),
        data_pages=pages if page == 1 else None,
        data_tiles=url(f"{path}/tiles", status=wanted.status, failure_type=wanted.failure_type),
    )


async def show_tiles(visit: Visit) -> Page:
    """A page of tiles alone, for the script that fills a long wall."""
    wanted, page = filter_of(visit), visit.number("page", 1, high=PAGES_MAX)
    span = Span(TILES_PER_PAGE, (page - 1) * TILES_PER_PAGE)
    tab = await visit.parts.read(items_tab, looking(visit), wanted, span)
    tiles = joined(*(tile(visit, item) for item in tab.items))
    return Page(
        title=title_of(tab.batch), section="batches", parts={"tiles": tiles}, is_live=False, is_fragment=True
    )


def selection(visit: Visit, batch: Mapping[str, Any]) -> Markup:
    """What can be done with the selected items."""
    path = visit.root + path_of(batch["batch_id"])
    retry = tag("button", tr("Retry selected…"), type="submit", class_="button", data_dialog=True)
    rates = [
        tag(
            "button",
            word,
            type="submit",
            name="verdict",
            value=verdict.value,
            formaction=f"{path}/rate",
            class_="button",
            data_direct=True,
        )
        for word, verdict in ((tr("Good"), Verdict.ACCEPTED), (tr("Bad"), Verdict.REJECTED))
    ]
    save = tag(
        "button",
        tr("Download ZIP"),
        type="submit",
        formaction=f"{path}/zip",
        class_="button",
        data_plain=True,
    )
    return tag(
        "div",
        tag("b", tr("Selected items"), data_selected=True),
        retry if visit.may(Role.OPERATOR) else None,
        *(rates if visit.may(Role.OPERATOR) else ()),
        save,
        tag("button", tr("Copy links"), type="button", class_="button with-script", data_copy_links=True),
        tag("button", tr("Clear"), type="button", class_="button quiet with-script", data_clear=True),
        class_="selection",
    )


def aspect_of(item: Mapping[str, Any]) -> float:
    """Width by height: of the file, of what was asked for, or 16:9."""
    file = item["archive"] or {}
    if file.get("width") and file.get("height"):
        return min(max(ASPECT_MIN, float(file["width"] / file["height"])), ASPECT_MAX)
    options = item["options"]
    for name in ("aspectRatio", "aspect_ratio", "ratio", "size", "resolution"):
        sides = str(options.get(name, "")).replace("x", ":").split(":")
        if len(sides) == 2 and all(side.isdigit() and int(side) for side in sides):
            return min(max(ASPECT_MIN, int(sides[0]) / int(sides[1])), ASPECT_MAX)
    return _WIDE


def item_path(item: Mapping[str, Any]) -> str:
    """The page of an item, below the root."""
    return f"/items/{item['item_id']}"


def tile(visit: Visit, item: Mapping[str, Any]) -> Markup:
    """One item."""
    index = item["index"]
    name = f"#{index}" if item["custom_id"] is None else f"#{index} {item['custom_id']}"
    pick = tag(
        "input",
        type="checkbox",
        name="items",
        value=index,
        aria_label=tr("Select item {index}", index=index),
        form=None,
    )
    return tag(
        "article",
        tag(
            "div",
            _screen(visit, item),
            tag("span", pick, class_="pick"),
            verdict_mark(item),
            class_="frame",
        ),
        tag("p", item["prompt"], class_="prompt", title=item["prompt"]),
        tag("small", name, " · ", _facts(item)),
        tag(
            "small",
            _reason(item),
            class_="reason" if item["status"] == "failed" else "trouble",
            title=item["error"] or (item["last_submit"] or item["last_poll"] or {}).get("reason"),
        )
        if _reason(item)
        else None,
        class_="tile",
        style=f"--aspect:{aspect_of(item):.3f}",
        data_key=f"item-{index}",
        data_index=index,
        data_status=item["status"],
    )


def verdict_mark(item: Mapping[str, Any]) -> Markup | None:
    """Whether the gate, a judge or a person found the video good."""
    if item["verdict"] not in (Verdict.ACCEPTED, Verdict.REJECTED):
        return None
    is_good = item["verdict"] == Verdict.ACCEPTED
    who = item["verdict_by"] or ""
    why = ", ".join(item["verdict_reasons"] or ())
    if is_good:
        kind, sign, word = "ok", "✓", tr("rated good by {who}", who=who)
    else:
        kind, sign, word = "bad", "✗", tr("rated bad by {who}: {why}", who=who, why=why)
    shown = joined(tag("span", sign, aria_hidden="true"), tag("span", word, class_="unseen"))
    return tag("span", shown, title=word, class_=f"verdict {kind}")


def _facts(item: Mapping[str, Any]) -> str:
    model = model_words(item["model"], item["alias"])
    cost = tr_count(item["credits"], "1 credit", "{n} credits")
    if item["status"] == "failed":
        cost = tr("refunded {n}", n=number(item["credits"]))
    return f"{model} · {cost}"


def _reason(item: Mapping[str, Any]) -> str | None:
    """Why an item failed, or waits."""
    if item["status"] == "failed":
        return own_words(item["error"], item["failure_type"])
    if item["hold"]:
        return tr("Held: {reason}", reason=hold_words(item["hold"]))
    if item["last_submit"]:
        is_sent = item["status"] == "processing"
        return tr("the submit got no answer") if is_sent else tr("the last submit failed")
    return tr("the last poll failed") if item["last_poll"] else None


def _screen(visit: Visit, item: Mapping[str, Any]) -> Markup:
    source, picture = link_target(item["video_url"]), link_target(item["thumbnail_url"])
    href = visit.root + item_path(item)
    label = tr("Open item {index}", index=item["index"])
    if item["status"] == TaskStatus.SUCCEEDED and source is not None:
        still: Markup = (
            tag("img", src=picture, alt="", loading="lazy", decoding="async")
            if picture is not None
            # no picture of it is kept: the browser fetches the start of the video, and shows that
            else tag(
                "video",
                data_src=f"{source}#t=0.1",
                preload="metadata",
                muted=True,
                playsinline=True,
                tabindex=-1,
            )
        )
        return tag(
            "a",
            still,
            _length(item),
            href=href,
            class_="screen",
            aria_label=label,
            data_play=source,
        )
    return tag("a", _words(item), href=href, class_=f"screen is-{item['status']}", aria_label=label)


def _length(item: Mapping[str, Any]) -> Markup | None:
    seconds = (item["archive"] or {}).get("duration_seconds") or item["options"].get("duration")
    if not isinstance(seconds, int | float):
        return None
    return tag("span", f"{int(seconds) // 60}:{int(seconds) % 60:02d}", class_="length")


def _words(item: Mapping[str, Any]) -> Markup:
    match item["status"]:
        case "failed":
            return tag("span", failure_word(item["failure_type"], item["error"]))
        case "processing":
            return joined(tag("span", f"{item['progress']} %"), item_bar(item["progress"]))
        case "pending":
            return tag("span", tr("On hold") if item["hold"] else tr("Waiting for its turn"))
        case _:
            return tag("span", tr("No file"))
