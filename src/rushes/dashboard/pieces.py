"""The parts that pages are made of: numbers and times for people, chips, bars, cards, tables, pagers."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Final
from urllib.parse import quote, urlencode

from rushes.dashboard.markup import Child, Markup, joined, tag
from rushes.dashboard.words import tr
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, TIMEOUT

_CODES: Final = frozenset({"error", SUBMIT_OUTCOME_UNKNOWN, TIMEOUT, "CANCELLED"})
"""Errors that are codes: their failure's word says the same."""

BATCH_STATUSES: Final = ("pending", "processing", "succeeded", "partial", "failed", "cancelled")


def status_word(status: str) -> str:
    """The status of a batch or an item, for people."""
    match status:
        case "pending":
            return tr("Waiting")
        case "processing":
            return tr("Rendering")
        case "succeeded":
            return tr("Succeeded")
        case "partial":
            return tr("Partly succeeded")
        case "failed":
            return tr("Failed")
        case "cancelled":
            return tr("Cancelled")
        case _:
            return status


def failure_word(failure_type: str | None, error: str | None = None) -> str:
    """Why an item failed, for people. `error` tells what the type alone does not."""
    if error == SUBMIT_OUTCOME_UNKNOWN:
        return tr("Possibly bought: no answer to the submit")
    match failure_type:
        case "input_moderation":
            return tr("Prompt refused by moderation")
        case "output_moderation":
            return tr("Video refused by moderation")
        case "model_error":
            return tr("Model error")
        case "param_error":
            return tr("Wrong option")
        case "timeout":
            return tr("Took too long")
        case "network":
            return tr("Network")
        case "not_found":
            return tr("Lost by the provider")
        case "cancelled":
            return tr("Cancelled")
        case None | "unknown":
            return tr("Other")
        case other:
            return other


def own_words(error: str | None, failure_type: str | None) -> str | None:
    """What a provider said of a failure; None where it is but a code, which `failure_word` says in words."""
    if error is None or error in _CODES or error == failure_type:
        return None
    return error


def option_word(name: str) -> str:
    """A model's option by its name, for people."""
    match name:
        case "aspect_ratio" | "aspectRatio":
            return tr("Aspect ratio")
        case "audio":
            return tr("Audio")
        case "duration":
            return tr("Duration")
        case "first_frame":
            return tr("First frame")
        case "last_frame":
            return tr("Last frame")
        case "references":
            return tr("References")
        case "resolution":
            return tr("Resolution")
        case "seed":
            return tr("Seed")
        case "size":
            return tr("Size")
        case "sound":
            return tr("Sound")
        case "source_video":
            return tr("Source video")
        case _:
            return name.replace("_", " ").capitalize()


# --- words ----------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """With commas between thousands."""
    return f"{value:,.0f}"


def amount(credits: int) -> str:
    """Credits that may be fewer than none."""
    return number(credits) if credits >= 0 else f"−{number(-credits)}"


def duration(seconds: float | None) -> str:
    """A time span in at most two units."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return tr("{n} ms", n=f"{seconds * 1000:.0f}")
    if seconds < 10:
        return tr("{n} s", n=f"{seconds:.1f}".removesuffix(".0"))
    whole = int(seconds)
    if whole < 60:
        return tr("{n} s", n=whole)
    if whole < 3600:
        return _two(tr("{n} min", n=whole // 60), whole % 60, tr("{n} s", n=f"{whole % 60:02d}"))
    if whole < 86_400:
        minutes = whole % 3600 // 60
        return _two(tr("{n} h", n=whole // 3600), minutes, tr("{n} min", n=f"{minutes:02d}"))
    hours = whole % 86_400 // 3600
    return _two(tr("{n} d", n=f"{whole // 86_400:,}"), hours, tr("{n} h", n=hours))


def _two(large: str, count: int, small: str) -> str:
    return f"{large} {small}" if count else large


def about(seconds: float | None) -> str:
    """A time span as one says it: in one unit, but hours with their minutes."""
    if seconds is None:
        return "–"
    whole = max(1, round(seconds))
    if whole < 90:
        return duration(whole)
    return duration(-(-whole // 60) * 60)


def moment(iso: str | None, *, now_ms: int) -> Markup:
    """How long ago (or until when), and the exact time for who points at it."""
    return Markup("–") if iso is None else moment_of(ms_of(iso), now_ms=now_ms)


def ms_of(iso: str) -> int:
    """Epoch milliseconds of an ISO time."""
    return int(datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp() * 1000)


def moment_of(at_ms: int, *, now_ms: int) -> Markup:
    """The same, for epoch milliseconds. The script counts on, and adds the local time."""
    seconds = (now_ms - at_ms) / 1000
    length = _coarse(abs(seconds))
    exact = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    text = tr("{age} ago", age=length) if seconds >= 0 else tr("in {age}", age=length)
    return tag("time", text, title=exact, datetime=exact.replace(" UTC", "Z").replace(" ", "T"))


def _coarse(seconds: float) -> str:
    whole = max(1, int(seconds))
    for unit_seconds, text in (
        (86_400, tr("{n} d", n=whole // 86_400)),
        (3600, tr("{n} h", n=whole // 3600)),
    ):
        if whole >= unit_seconds:
            return text
    return tr("{n} min", n=whole // 60) if whole >= 60 else tr("{n} s", n=whole)


def clock(iso: str | None) -> Markup:
    """A point in time to the second, in UTC; the script adds the local time."""
    if iso is None:
        return Markup("–")
    exact = datetime.fromtimestamp(ms_of(iso) / 1000, UTC)
    return tag(
        "span",
        exact.strftime("%m-%d %H:%M:%S"),
        title=exact.strftime("%Y-%m-%d %H:%M:%S UTC"),
        data_clock=exact.strftime("%Y-%m-%dT%H:%M:%SZ"),
        class_="clock",
    )


def percent(part: float, whole: float) -> str:
    """A share; a dash of nothing. It is 100 % only when it is all of it."""
    if whole == 0:
        return "–"
    share = 100 * part / whole
    return f"{min(share, 99.9):.1f} %" if part < whole else "100 %"


# --- small pieces ---------------------------------------------------------------------------------------


def chip(text: str, kind: str) -> Markup:
    """A word with a colour of its own; the word says it all."""
    return tag("span", text, class_=f"chip {kind}")


def status_chip(status: str) -> Markup:
    """The status of a batch or an item."""
    return chip(status_word(status), f"status-{status}")


def copied(text: str, *, shown: str | None = None) -> Markup:
    """A text that a click copies; without the script it is just the text."""
    return tag(
        "button",
        shown or text,
        type="button",
        class_="copy mono",
        data_copy=text,
        aria_label=tr("Copy {text}", text=text),
    )


def batch_bar(batch: Mapping[str, Any]) -> Markup:
    """A batch's progress, in the shares of its items' states."""
    total = max(1, batch["total_count"])
    done = batch["succeeded_count"] + batch["failed_count"]
    parts = [
        tag("i", class_=f"fill-{name}", style=f"width:{100 * batch[f'{name}_count'] / total:.3f}%")
        for name in ("succeeded", "failed", "processing")
        if batch[f"{name}_count"]
    ]
    return tag(
        "div",
        parts,
        class_="bar-of",
        role="progressbar",
        aria_valuemin=0,
        aria_valuemax=batch["total_count"],
        aria_valuenow=done,
        aria_label=tr("{done} of {total} finished", done=done, total=batch["total_count"]),
    )


def item_bar(progress: int) -> Markup:
    """One video's progress."""
    return tag(
        "div",
        tag("i", class_="fill-processing", style=f"width:{progress}%"),
        class_="bar-of thin",
        role="progressbar",
        aria_valuemin=0,
        aria_valuemax=100,
        aria_valuenow=progress,
        aria_label=tr("{n} % rendered", n=progress),
    )


def stat(label: str, value: Child, note: Child = None, *, line: Child = None, kind: str = "") -> Markup:
    """A figure with its name."""
    return tag(
        "div",
        tag("div", label, class_="stat-label"),
        tag("div", value, class_="stat-value"),
        tag("div", note, class_="stat-note") if note else None,
        line,
        class_=f"card stat {kind}".strip(),
    )


def card(title: str, *children: Child, end: Child = None, class_: str = "") -> Markup:
    """A section with a heading."""
    return tag(
        "section",
        tag("div", tag("h2", title), end, class_="card-head"),
        *children,
        class_=f"card {class_}".strip(),
    )


def empty(text: str, hint: str = "") -> Markup:
    """What stands where there is nothing yet."""
    below = tag("p", with_code(hint), class_="muted") if hint else None
    return tag("div", tag("p", with_code(text)), below, class_="empty")


def with_code(text: str) -> Markup:
    """The text; what stands in backquotes is code."""
    return joined(*(tag("code", part) if place % 2 else part for place, part in enumerate(text.split("`"))))


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    caption: str,
    right: Sequence[str] = (),
    keys: Sequence[str] = (),
    links: Mapping[str, Markup] | None = None,
    class_: str = "",
) -> Markup:
    """Rows under heads; on a phone each row is a block of `head: value`.

    `keys` name the rows, so that a row stays itself, with its focus, when others come before it; `links`
    stand for the heads by which the rows can be sorted.
    """
    shown = [(links or {}).get(head, head) for head in heads]
    classes = ["right" if head in right else None for head in heads]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption, class_="unseen"),
            tag(
                "thead",
                tag("tr", [tag("th", h, scope="col", class_=c) for h, c in zip(shown, classes, strict=True)]),
            ),
            tag(
                "tbody",
                [
                    tag(
                        "tr",
                        [
                            tag("td", value, data_label=head, class_=_cell(value, c))
                            for value, head, c in zip(row, heads, classes, strict=True)
                        ],
                        data_key=key,
                    )
                    for row, key in zip_longest(rows, keys)
                ],
            ),
        ),
        class_=f"table {class_}".strip(),
    )


def _cell(value: Child, class_: str | None) -> str | None:
    """The class of a cell; one without a value is left out on a phone."""
    return f"{class_ or ''} none".strip() if value in (None, "", "–") else class_


# --- links ----------------------------------------------------------------------------------------------


def url(path: str, **query: str | int | None) -> str:
    """A path with those parameters that are set."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def batch_path(root: str, batch_id: str) -> str:
    """The page of a batch."""
    return f"{root}/batches/{quote(batch_id, safe='')}"


def batch_link(root: str, batch_id: str, name: str) -> Markup:
    """A link to it by its name, cut where a list has no room."""
    return tag("a", name, href=batch_path(root, batch_id), class_="clip short", title=name)


def filter_links(links: Sequence[tuple[str, str, bool]], *, label: str) -> Markup:
    """Choices of which one is taken: `(text, URL, is it the one)`."""
    return tag(
        "nav",
        [
            tag("a", text, href=href, class_="pill", aria_current="true" if is_on else None)
            for text, href, is_on in links
        ],
        class_="pills",
        aria_label=label,
    )


def pager(text: Child, *, previous: str | None, following: str | None) -> Markup:
    """To the pages before and after."""

    def step(word: str, href: str | None, rel: str) -> Markup:
        if href is None:
            return tag("span", word, class_="button", aria_disabled="true")
        return tag("a", word, href=href, rel=rel, class_="button")

    return tag(
        "nav",
        step(tr("Previous"), previous, "prev"),
        tag("span", text, class_="muted page-numbers"),
        step(tr("Next"), following, "next"),
        class_="pager",
        aria_label=tr("More of the list"),
    )


def page_steps(page: int, total: int, per_page: int, to: Callable[[int], str]) -> Markup | None:
    """The pager of a list with that many rows; none for a list of one page."""
    pages = max(1, -(-total // per_page))
    if pages == 1:
        return None
    return pager(
        joined(
            tag("span", tr("Page {page} of {pages}", page=number(page), pages=number(pages))),
            *(
                tag("a", number(one), href=to(one), aria_label=tr("Page {page}", page=number(one)))
                for one in _pages_near(page, pages)
            ),
        ),
        previous=to(min(page - 1, pages)) if page > 1 else None,
        following=to(page + 1) if page < pages else None,
    )


def _pages_near(page: int, pages: int) -> list[int]:
    """The first page, the last, and some steps between: so that a thousand pages are few clicks apart."""
    steps = {1, pages, *(page + way * step for way in (-1, 1) for step in (1, 10, 100))}
    return sorted(one for one in steps if 1 <= one <= pages and one != page)


def facts_list(lines: Sequence[tuple[str, Child]], class_: str = "facts-list") -> Markup:
    """Lines of a name and a value."""
    return tag("dl", [joined(tag("dt", name), tag("dd", value)) for name, value in lines], class_=class_)


def has_own_name(batch: Mapping[str, Any]) -> bool:
    """Whether its maker gave the batch a name."""
    return bool(batch["name"] or batch["request_id"] != batch["batch_id"])


def short_id(text: str) -> str:
    """An id whose start tells it from the others, for where the whole one does not fit."""
    return text if len(text) <= 14 else f"{text[:12]}…"
