"""The video wall: a page of a batch's items as tiles, with what can be done about failures."""

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from rushes.dashboard.markup import Markup, joined, link_target, tag
from rushes.dashboard.pieces import (
    FAILURE_WORDS,
    STATUS_WORDS,
    card,
    empty,
    filter_links,
    item_bar,
    number,
    pager,
    status_chip,
    url,
)
from rushes.engine.operator_reads import ItemFilter

ITEMS_PER_PAGE: Final = 24

_PLAY = Markup(
    '<span class="play"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 4v16l14-8z"/></svg></span>'
)


def wall_card(
    path: str,
    batch: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    failures: Mapping[str, int],
    *,
    wanted: ItemFilter,
    page: int,
    selected: Set[int],
) -> Markup:
    """A page of the items that the filter lets through."""
    total = _total(batch, failures, wanted)
    pages = max(1, -(-total // ITEMS_PER_PAGE))

    def to(number_: int) -> str | None:
        if not 1 <= number_ <= pages or number_ == page:
            return None
        return url(path, status=wanted.status, failure_type=wanted.failure_type, page=number_)

    return card(
        "Videos",
        tag("div", _filters(path, batch, failures, wanted), class_="filters"),
        _selection(batch, items, failures, wanted=wanted, selected=selected),
        tag(
            "div", [tile(item, batch, is_selected=item["index"] in selected) for item in items], class_="wall"
        )
        if items
        else empty("No item is like this."),
        pager(
            f"Page {number(page)} of {number(pages)}",
            previous=to(min(page - 1, pages)),
            following=to(page + 1),
        )
        if pages > 1 or page > 1
        else None,
        end=tag("span", f"{number(total)} items", class_="muted"),
    )


def _total(batch: Mapping[str, Any], failures: Mapping[str, int], wanted: ItemFilter) -> int:
    if wanted.failure_type is not None:
        return failures.get(wanted.failure_type, 0)
    return int(batch["total_count"] if wanted.status is None else batch[f"{wanted.status}_count"])


def _filters(path: str, batch: Mapping[str, Any], failures: Mapping[str, int], wanted: ItemFilter) -> Markup:
    links = [("All", path, wanted == ItemFilter())]
    links += [
        (
            f"{STATUS_WORDS[status]} {number(batch[f'{status}_count'])}",
            url(path, status=status),
            wanted.status == status and wanted.failure_type is None,
        )
        for status in ("pending", "processing", "succeeded", "failed")
        if batch[f"{status}_count"] or wanted.status == status
    ]
    shown = filter_links(links, label="Status of the items")
    if not failures or (len(failures) == 1 and wanted.failure_type is None):
        return shown
    types = [
        (f"{failure_word(name)} {number(count)}", url(path, failure_type=name), wanted.failure_type == name)
        for name, count in failures.items()
    ]
    return joined(shown, filter_links(types, label="Why items failed"))


def failure_word(failure_type: str | None) -> str:
    """Why it failed, in words."""
    return FAILURE_WORDS.get(failure_type or "unknown", failure_type or "Other")


def _selection(
    batch: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    failures: Mapping[str, int],
    *,
    wanted: ItemFilter,
    selected: Set[int],
) -> Markup | None:
    """The buttons that try failures again."""
    failed = sum(failures.values()) if wanted.failure_type is None else failures.get(wanted.failure_type, 0)
    if not failed or batch["is_cancelled"] or wanted.status not in (None, "failed"):
        return None
    what = "" if wanted.failure_type is None else f": {failure_word(wanted.failure_type).lower()}"
    here = sum(item["status"] == "failed" for item in items)
    return tag(
        "div",
        tag(
            "button",
            "Select failures on this page",
            type="button",
            class_="button small",
            data_act="select-page",
        )
        if here
        else None,
        tag(
            "button",
            f"Retry selected ({len(selected)})",
            type="button",
            class_="button small",
            data_act="retry-selected",
        )
        if selected
        else None,
        tag(
            "button",
            f"Retry all {number(failed)} failed{what}",
            type="button",
            class_="button small",
            data_act="retry-all",
        ),
        class_="selection",
    )


def tile(item: Mapping[str, Any], batch: Mapping[str, Any], *, is_selected: bool) -> Markup:
    """One item."""
    index, is_failed = item["index"], item["status"] == "failed"
    can_retry = is_failed and not batch["is_cancelled"]
    box = tag(
        "input",
        type="checkbox",
        checked=is_selected,
        aria_label=f"Select item {index}",
        data_act="select",
        data_index=index,
    )
    retry = tag(
        "button",
        "Retry",
        type="button",
        class_="button small",
        aria_label=f"Retry item {index}",
        data_act="retry",
        data_index=index,
    )
    model = item["model"] if item["alias"] is None else f"{item['alias']} → {item['model']}"
    name = f"#{index}" if item["custom_id"] is None else f"#{index} · {item['custom_id']}"
    return tag(
        "article",
        _screen(item),
        tag(
            "div",
            tag(
                "div",
                status_chip(item["status"]),
                tag("span", name, class_="name", title=name),
                box if can_retry else None,
                class_="tile-head",
            ),
            item_bar(item["progress"]) if item["status"] == "processing" else None,
            tag("p", item["prompt"], class_="prompt", title=item["prompt"]),
            tag("p", item["error"], class_="reason", title=item["error"]) if is_failed else None,
            tag("p", f"Held: {item['held_reason']}", class_="reason", title=item["held_reason"])
            if item["held_reason"]
            else None,
            tag(
                "div",
                tag("span", f"{model} · {number(item['credits'])} credits"),
                retry if can_retry else None,
                class_="tile-foot",
            ),
            class_="tile-body",
        ),
        class_="tile",
        data_key=f"item-{index}-{item['status']}",
        data_index=index,
    )


def _screen(item: Mapping[str, Any]) -> Markup:
    source, picture = link_target(item["video_url"]), link_target(item["thumbnail_url"])
    if item["status"] == "succeeded" and source is not None:
        still = (
            tag("img", src=picture, alt="", loading="lazy")
            if picture is not None
            # no picture of it is kept: the browser fetches the beginning of the video, and shows that
            else tag(
                "video", src=f"{source}#t=0.1", preload="metadata", muted=True, playsinline=True, tabindex=-1
            )
        )
        return tag(
            "button",
            still,
            _PLAY,
            type="button",
            class_="screen",
            aria_label=f"Play item {item['index']}",
            data_act="play",
            data_index=item["index"],
        )
    if item["status"] == "failed":
        return tag("div", tag("span", failure_word(item["failure_type"]), class_="failure"), class_="screen")
    words = f"{item['progress']} %" if item["status"] == "processing" else "Waiting for its turn"
    return tag("div", tag("span", words), class_="screen")
