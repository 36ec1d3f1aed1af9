"""The parts that pages are made of: numbers and times for people, chips, bars, cards, tables, pagers."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Final
from urllib.parse import quote, urlencode

from rushes.dashboard.markup import Child, Markup, joined, tag

STATUS_WORDS: Final = {
    "pending": "Waiting",
    "processing": "Rendering",
    "succeeded": "Succeeded",
    "partial": "Partly succeeded",
    "failed": "Failed",
    "cancelled": "Cancelled",
}

FAILURE_WORDS: Final = {
    "input_moderation": "Prompt refused by moderation",
    "output_moderation": "Video refused by moderation",
    "model_error": "Model error",
    "param_error": "Wrong option",
    "timeout": "Took too long",
    "network": "Network",
    "not_found": "Lost by the provider",
    "cancelled": "Cancelled",
    "unknown": "Other",
}


# --- words ----------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """With commas between thousands."""
    return f"{value:,.0f}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """`1 lot`, `2 lots`."""
    return f"{number(count)} {singular if count == 1 else plural or singular + 's'}"


def duration(seconds: float | None) -> str:
    """A time span in at most two units."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def moment(iso: str | None, *, now_ms: int) -> Markup:
    """How long ago (or until when), and the exact time for who points at it."""
    if iso is None:
        return Markup("–")
    at_ms = int(datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp() * 1000)
    return moment_of(at_ms, now_ms=now_ms)


def moment_of(at_ms: int, *, now_ms: int) -> Markup:
    """The same, for epoch milliseconds."""
    seconds = (now_ms - at_ms) / 1000
    coarse = abs(seconds) if abs(seconds) < 60 else abs(seconds) // 60 * 60
    length = duration(max(1, int(coarse))).replace(".0 s", " s").replace(" 00 s", "").replace(" 00 min", "")
    exact = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    text = f"{length} ago" if seconds >= 0 else f"in {length}"
    return tag("time", text, title=exact, datetime=exact.replace(" UTC", "Z").replace(" ", "T"))


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
    return chip(STATUS_WORDS.get(status, status), f"status-{status}")


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
        aria_label=f"{done} of {batch['total_count']} finished",
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
        aria_label=f"{progress} % rendered",
    )


def stat(label: str, value: Child, note: Child = None, *, kind: str = "") -> Markup:
    """A figure with its name."""
    return tag(
        "div",
        tag("div", label, class_="stat-label"),
        tag("div", value, class_="stat-value"),
        tag("div", note, class_="stat-note") if note else None,
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
    return tag("div", tag("p", text), tag("p", hint, class_="muted") if hint else None, class_="empty")


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    caption: str,
    right: Sequence[str] = (),
    keys: Sequence[str] = (),
) -> Markup:
    """Rows under heads; on a phone each row is a block of `head: value`.

    `keys` name the rows, so that a row stays itself, with its focus, when others come before it.
    """
    classes = ["right" if head in right else None for head in heads]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption, class_="unseen"),
            tag(
                "thead",
                tag("tr", [tag("th", h, scope="col", class_=c) for h, c in zip(heads, classes, strict=True)]),
            ),
            tag(
                "tbody",
                [
                    tag(
                        "tr",
                        [
                            tag("td", value, data_label=head, class_=c)
                            for value, head, c in zip(row, heads, classes, strict=True)
                        ],
                        data_key=key,
                    )
                    for row, key in zip_longest(rows, keys)
                ],
            ),
        ),
        class_="table",
    )


# --- links ----------------------------------------------------------------------------------------------


def url(path: str, **query: str | int | None) -> str:
    """A path with those parameters that are set."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def batch_path(root: str, batch_id: str) -> str:
    """The page of a batch."""
    return f"{root}/batches/{quote(batch_id, safe='')}"


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


def pager(text: str, *, previous: str | None, following: str | None, of: str = "the list") -> Markup:
    """To the pages before and after."""

    def step(word: str, href: str | None, rel: str) -> Markup:
        if href is None:
            return tag("span", word, class_="button", aria_disabled="true")
        return tag("a", word, href=href, rel=rel, class_="button")

    return tag(
        "nav",
        step("Previous", previous, "prev"),
        tag("span", text, class_="muted"),
        step("Next", following, "next"),
        class_="pager",
        aria_label=f"Pages of {of}",
    )


def request_of(batch: Mapping[str, Any]) -> Markup | None:
    """The name that its maker gave the batch, if any."""
    if batch["request_id"] == batch["batch_id"]:
        return None
    return tag("div", batch["request_id"], class_="request")


def page_head(title: Child, *end: Child, above: Child = None, below: Child = None) -> Markup:
    """A page's heading, with what can be done beside it."""
    return tag(
        "div",
        tag("div", above, tag("h1", title), below, class_="page-title"),
        tag("div", joined(*end), class_="actions") if any(end) else None,
        class_="page-head",
    )
