"""The list of batches: one search over everything, filters that stand in the address, any order."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.batch.tabs import time_left, title_of
from rushes.dashboard.pages.saved_filters import save_form, saved_links
from rushes.dashboard.pages.selected_batches import selection_of_batches
from rushes.dashboard.pieces import (
    BATCH_STATUSES,
    about,
    batch_bar,
    batch_link,
    batch_path,
    copied,
    empty,
    filter_links,
    has_own_name,
    moment,
    number,
    pager,
    short_id,
    status_chip,
    status_word,
    table,
    url,
)
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.read.board.batch_list import SORTS, BatchList, FoundItem, ListFilter, batch_list

BATCHES_PER_PAGE: Final = 50
PAGES_MAX: Final = 1000
TEXT_CHARACTERS_MAX: Final = 200
_FILTERS: Final = ("search", "account", "model", "from", "to")


async def show(visit: Visit) -> Page:
    """The batches that the address asks for."""
    wanted, page = _wanted(visit), visit.number("page", 1, high=PAGES_MAX)
    found = await visit.parts.read(
        batch_list,
        wanted,
        limit=BATCHES_PER_PAGE,
        offset=(page - 1) * BATCHES_PER_PAGE,
        forecaster=visit.parts.forecaster,
        now_ms=visit.now_ms,
    )
    return Page(
        title=tr("Batches"),
        section="batches",
        parts={
            "head": _head(visit),
            "filters": _filters(visit, wanted),
            "saved": _saved(visit),
            "list": _list(visit, wanted, found, page),
            "items": _items(visit, found.items, wanted.search),
        },
    )


def _wanted(visit: Visit) -> ListFilter:
    status, sort = visit.text("status"), visit.text("sort")
    from_day, to_day = _day(visit.text("from")), _day(visit.text("to"))
    return ListFilter(
        status=status if status in BATCH_STATUSES else None,
        account=visit.text("account", characters_max=TEXT_CHARACTERS_MAX),
        model=visit.text("model"),
        search=visit.text("search", characters_max=TEXT_CHARACTERS_MAX),
        created_from_ms=None if from_day is None else int(from_day.timestamp() * 1000),
        created_to_ms=None if to_day is None else int((to_day + timedelta(days=1)).timestamp() * 1000),
        sort=sort if sort in SORTS else "created",
        ascending=visit.query.get("order") == "asc",
    )


def _day(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _address(visit: Visit, **changed: str | int | None) -> str:
    """This list with other parameters, from its first page on."""
    kept = {name: visit.query.get(name) for name in (*_FILTERS, "status", "sort", "order")}
    return url(f"{visit.root}/batches", **{**kept, **changed})


def _head(visit: Visit) -> Markup:
    new = tag("a", tr("New batch"), href=f"{visit.root}/batches/new", class_="button primary")
    actions = tag("div", new, class_="actions") if visit.may(Role.OPERATOR) else None
    return tag("div", tag("h1", tr("Batches")), actions, class_="head")


def _filters(visit: Visit, wanted: ListFilter) -> Markup:
    links = [(tr("All"), _address(visit, status=None), wanted.status is None)]
    links += [
        (status_word(status), _address(visit, status=status), wanted.status == status)
        for status in BATCH_STATUSES
    ]
    return joined(
        tag("div", filter_links(links, label=tr("Status")), _tokens(visit), _more(visit), class_="filters")
    )


def _saved(visit: Visit) -> Markup:
    """Filters that were saved, and the way to save this one."""
    kept = {name: visit.query.get(name) for name in (*_FILTERS, "status", "sort", "order")}
    query = url("", **kept).removeprefix("?")
    links, form = saved_links(visit, query), save_form(visit, query)
    return tag("div", links, form, class_="filters") if links or form else Markup()


def _tokens(visit: Visit) -> Markup:
    """What the list is narrowed to, each with the way to take it away."""
    words = {
        "search": tr("search"),
        "account": tr("account"),
        "model": tr("model"),
        "from": tr("from"),
        "to": tr("to"),
    }
    found: list[Markup] = []
    for name in _FILTERS:
        value = visit.text(name, characters_max=TEXT_CHARACTERS_MAX)
        if value is None:
            continue
        away = tag("span", "×", aria_hidden="true")
        label = tr("Take away {word}: {value}", word=words[name], value=value)
        shown = f"{words[name]}: {value} "
        found.append(
            tag("a", shown, away, href=_address(visit, **{name: None}), class_="token", aria_label=label)
        )
    return joined(*found)


def _more(visit: Visit) -> Markup:
    """The fields of the filters; what is filled in becomes part of the address."""

    def field(name: str, label: str, kind: str = "text") -> Markup:
        identity = f"filter-{name}"
        return tag(
            "div",
            tag("label", label, for_=identity),
            tag(
                "input",
                id=identity,
                name=name,
                type=kind,
                value=visit.query.get(name) or None,
                maxlength=TEXT_CHARACTERS_MAX,
                autocomplete="off",
            ),
        )

    hidden = [
        tag("input", type="hidden", name=name, value=visit.query[name])
        for name in ("status", "sort", "order")
        if visit.query.get(name)
    ]
    form = tag(
        "form",
        hidden,
        field("search", tr("Id, name, account, prompt, custom id, remote id")),
        field("account", tr("Account")),
        field("model", tr("Model")),
        field("from", tr("Made from"), "date"),
        field("to", tr("Made to"), "date"),
        tag("button", tr("Filter"), type="submit", class_="button primary"),
        method="get",
        action=f"{visit.root}/batches",
        class_="menu-form",
    )
    return tag(
        "details",
        tag("summary", tr("Filter"), class_="button small"),
        tag("div", form, class_="menu"),
        class_="drop at-left",
    )


def _list(visit: Visit, wanted: ListFilter, found: BatchList, page: int) -> Markup:
    if not found.batches:
        return tag("div", _nothing(visit, wanted), class_="card")
    steps = pager(
        tr("Page {page}", page=number(page)),
        previous=_address(visit, page=page - 1) if page > 1 else None,
        following=_address(visit, page=page + 1) if found.has_more else None,
    )
    shown = tag(
        "form",
        batch_table(visit, found.batches, wanted),
        selection_of_batches(visit),
        method="get",
        action=f"{visit.root}/batches/retry",
        data_selecting="batches",
        data_field="batches",
    )
    return tag("div", shown, steps if page > 1 or found.has_more else None, class_="card flush")


def _nothing(visit: Visit, wanted: ListFilter) -> Markup:
    if wanted.is_narrow:
        return empty(tr("No batch is like this."), tr("Take a filter away to see more."))
    new = tag("a", tr("Make the first"), href=f"{visit.root}/batches/new", class_="button primary")
    return tag(
        "div",
        empty(tr("No batch yet."), tr("POST /v1/batches or `rushes run` makes one, too.")),
        tag("p", new) if visit.may(Role.OPERATOR) else None,
        class_="empty",
    )


def batch_table(visit: Visit, found: Sequence[Mapping[str, Any]], wanted: ListFilter | None = None) -> Markup:
    """Batches with their progress; with the list's filter their heads sort it."""
    sorts = {
        tr("Batch"): "name",
        tr("Account"): "account",
        tr("Status"): "status",
        tr("Progress"): None,
        tr("Videos"): "videos",
        tr("Failed"): "failed",
        tr("Reserved"): "reserved",
        tr("Settled"): "settled",
        tr("Time left"): None,
        tr("Created"): "created",
    }
    heads = tuple(sorts)
    links = {}
    if wanted is not None:
        links = {
            head: _sort_link(visit, head, sort, wanted) for head, sort in sorts.items() if sort is not None
        }
    return table(
        heads,
        [_row(visit, batch, is_chosen=wanted is not None) for batch in found],
        caption=tr("Batches"),
        right=heads[4:],
        keys=[batch["batch_id"] for batch in found],
        links=links,
        class_="batch-rows",
    )


def _sort_link(visit: Visit, head: str, sort: str, wanted: ListFilter) -> Markup:
    is_it = wanted.sort == sort
    # names are read from A on, numbers and times from the largest
    ascending = not wanted.ascending if is_it else sort in ("name", "account", "status")
    arrow = tag("span", "↑" if wanted.ascending else "↓", aria_hidden="true") if is_it else None
    return tag(
        "a",
        head,
        arrow,
        href=_address(visit, sort=sort, order="asc" if ascending else None),
        class_="sort",
        aria_label=tr("Sort by {what}", what=head),
        aria_current="true" if is_it else None,
    )


def _row(visit: Visit, batch: Mapping[str, Any], *, is_chosen: bool) -> list[Markup | str]:
    """A batch; where batches can be chosen, with its checkbox."""
    name = tag(
        "a",
        title_of(batch),
        href=batch_path(visit.root, batch["batch_id"]),
        class_="clip name",
        title=title_of(batch),
    )
    identity = copied(batch["batch_id"], shown=short_id(batch["batch_id"])) if has_own_name(batch) else None
    return [
        tag("span", _pick(visit, batch) if is_chosen else None, name, identity, class_="named"),
        tag("a", batch["account"], href=url(f"{visit.root}/accounts", account=batch["account"])),
        status_chip(batch["status"]),
        batch_bar(batch),
        f"{number(batch['succeeded_count'])} / {number(batch['total_count'])}",
        tag(
            "span", number(batch["failed_count"]), class_="amount-minus" if batch["failed_count"] else "muted"
        ),
        number(batch["credits_reserved"]),
        number(batch["credits_settled"]),
        "–" if batch["completed_at"] else _left(batch),
        moment(batch["created_at"], now_ms=visit.now_ms),
    ]


def _left(batch: Mapping[str, Any]) -> Markup:
    """How long it takes still; the reason for who points at it."""
    seconds = batch["eta_seconds"]
    return tag("span", tr("not known") if seconds is None else about(seconds), title=time_left(batch))


def _pick(visit: Visit, batch: Mapping[str, Any]) -> Markup | None:
    if not visit.may(Role.OPERATOR):
        return None
    label = tr("Select {name}", name=title_of(batch))
    return tag("input", type="checkbox", name="batches", value=batch["batch_id"], aria_label=label)


def _items(visit: Visit, found: Sequence[FoundItem], search: str | None) -> Markup:
    """The items that the search found, with what it found in them."""
    if search is None:
        return Markup()
    if not found:
        return tag("p", tr("No item has this in its prompt, custom id or remote id."), class_="muted note")
    words = {"prompt": tr("prompt"), "custom_id": tr("custom id"), "remote_task_id": tr("remote id")}
    rows = [
        [
            tag("a", f"#{item.index}", href=f"{visit.root}/items/{item.item_id}"),
            tag("span", item.prompt, class_="clip long", title=item.prompt),
            status_chip(item.status),
            words[item.found_by],
            batch_link(visit.root, item.batch_id, item.batch_name),
        ]
        for item in found
    ]
    heads = (tr("Item"), tr("Prompt"), tr("Status"), tr("Found by"), tr("Batch"))
    head = tag(
        "div",
        tag("h2", tr("Items")),
        tag("span", tr_count(len(found), "1 found", "{n} found"), class_="muted"),
        class_="card-head",
    )
    return tag("section", head, table(heads, rows, caption=tr("Items that were found")), class_="card flush")
