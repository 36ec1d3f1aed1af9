"""Filters of the list of batches that somebody saved under a name: kept in a cookie of their browser."""

from collections.abc import Mapping
from typing import Final

from rushes.dashboard.browsers import cookie_entries, cookie_text
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.visit import Visit
from rushes.dashboard.words import tr

COOKIE: Final = "rushes_filters"
COOKIE_SECONDS: Final = 31_536_000
FILTERS_MAX: Final = 12
NAME_CHARACTERS_MAX: Final = 40
QUERY_CHARACTERS_MAX: Final = 300
_CHARACTERS_MAX: Final = 3500


def read_filters(cookie: str | None) -> dict[str, str]:
    """The saved filters, by name: queries of the list. None for what is no such cookie."""
    return {
        name[:NAME_CHARACTERS_MAX]: query[:QUERY_CHARACTERS_MAX]
        for name, query in cookie_entries(cookie, entries_max=FILTERS_MAX)
        if isinstance(query, str)
    }


def changed(kept: Mapping[str, str], form: Mapping[str, str]) -> str:
    """The cookie after a form that saves a filter, or takes one away; the newest stay."""
    name = form.get("name", "").strip()[:NAME_CHARACTERS_MAX]
    filters = {known: query for known, query in kept.items() if known != name}
    query = form.get("query", "")[:QUERY_CHARACTERS_MAX]
    if name and name.isprintable() and query and not form.get("remove"):
        filters[name] = query
    while True:
        written = cookie_text(dict(list(filters.items())[-FILTERS_MAX:]))
        if len(written) <= _CHARACTERS_MAX:
            return written
        filters.pop(next(iter(filters)))


def saved_links(visit: Visit, query: str) -> Markup:
    """The saved filters, each with the way to take it away."""
    shown: list[Markup] = []
    for name, wanted in visit.filters.items():
        link = tag(
            "a",
            name,
            href=f"{visit.root}/batches?{wanted}",
            class_="pill",
            aria_current="true" if wanted == query else None,
        )
        away = tag(
            "form",
            tag("input", type="hidden", name="name", value=name),
            tag("input", type="hidden", name="remove", value="1"),
            tag(
                "button",
                "×",
                type="submit",
                class_="button small quiet",
                aria_label=tr("Forget the filter {name}", name=name),
            ),
            method="post",
            action=f"{visit.root}/filters",
        )
        shown.append(tag("span", link, away, class_="saved"))
    return joined(*shown)


def save_form(visit: Visit, query: str) -> Markup | None:
    """Saves what the list is narrowed to, under a name."""
    if not query or query in visit.filters.values() or len(query) > QUERY_CHARACTERS_MAX:
        return None
    return tag(
        "form",
        tag("input", type="hidden", name="query", value=query),
        tag(
            "input",
            name="name",
            required=True,
            maxlength=NAME_CHARACTERS_MAX,
            placeholder=tr("Name of this filter"),
            aria_label=tr("Name of this filter"),
            autocomplete="off",
        ),
        tag("button", tr("Save filter"), type="submit", class_="button"),
        method="post",
        action=f"{visit.root}/filters",
        class_="save-filter",
    )
