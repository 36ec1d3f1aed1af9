"""The portal's pages as HTML: each is made from what one read of the database found."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.dashboard.frame import html_of, logo, look_menu
from rushes.dashboard.look import Look
from rushes.dashboard.markup import Child, Markup, joined, link_target, tag
from rushes.dashboard.pages.balance import further_lots
from rushes.dashboard.pages.deliveries import delivery_word
from rushes.dashboard.pages.entries import entry_word
from rushes.dashboard.pieces import (
    batch_path,
    card,
    empty,
    failure_word,
    number,
    own_words,
    stat,
    status_chip,
    table,
    url,
)
from rushes.dashboard.words import speaking, tr, tr_count
from rushes.store.acceptance.given_back import entry_kind

PAGES: Final = ("/", "/batches", "/ledger", "/usage", "/keys", "/webhooks")
"""What the bar leads to."""

NOTHING: Final = "–"


def page_word(path: str) -> str:
    """What the bar calls a page."""
    match path:
        case "/":
            return tr("Overview")
        case "/batches":
            return tr("Batches")
        case "/ledger":
            return tr("Ledger")
        case "/usage":
            return tr("Usage")
        case "/keys":
            return tr("Keys")
        case _:
            return tr("Webhooks")


def framed(root: str, title: str, content: Markup, *, look: Look, account: str, path: str) -> str:
    """A whole page for somebody who is signed in."""
    links = [
        tag(
            "a",
            tag("span", page_word(target)),
            href=f"{root}{target}",
            aria_current="page" if target.rstrip("/") == path.rstrip("/") else None,
        )
        for target in PAGES
    ]
    leave = tag(
        "form",
        tag("button", tr("Sign out"), type="submit", class_="button small"),
        method="post",
        action=f"{root}/sign-out",
    )
    menu = look_menu(account, f"{root}/look", theme=look.theme, back=path or "/", leave=leave)
    body = tag(
        "body",
        tag("a", tr("Skip to content"), href="#main", class_="skip"),
        tag(
            "header",
            tag("a", logo(), href=f"{root}/", aria_label=tr("rushes: overview")),
            tag("nav", links, aria_label=tr("Pages")),
            tag("div", menu, class_="bar-end"),
            class_="bar",
        ),
        tag("main", tag("div", tag("h1", title), class_="head"), content, id="main", tabindex=-1),
    )
    return html_of(root, title, body, spoken=look.language, theme=look.theme)


def sign_in_form(root: str, *, look: Look, is_wrong: bool = False) -> str:
    """The page before signing in."""
    with speaking(look.language):
        return _sign_in_form(root, look, tr("The key is wrong or was revoked.") if is_wrong else None)


def _sign_in_form(root: str, look: Look, problem: str | None) -> str:
    form = tag(
        "form",
        tag("div", logo()),
        tag("h1", tr("Sign in")),
        tag("p", tr("Enter an API key of your account."), class_="muted"),
        tag("label", tr("API key"), for_="key"),
        tag(
            "input",
            id="key",
            name="key",
            type="password",
            autocomplete="current-password",
            required=True,
            autofocus=True,
            aria_invalid="true" if problem else None,
            aria_describedby="problem" if problem else None,
        ),
        tag("p", problem, id="problem", class_="problem", role="alert") if problem else None,
        tag("button", tr("Sign in"), type="submit", class_="button primary wide"),
        method="post",
        action=f"{root}/sign-in",
        class_="card sign-in",
    )
    body = tag("body", tag("main", form, class_="sign-in-page"))
    return html_of(root, tr("Sign in"), body, spoken=look.language, theme=look.theme)


def overview(root: str, balance: Mapping[str, Any], batches: Sequence[Mapping[str, Any]]) -> Markup:
    """The credits, and the newest batches."""
    figures = [
        stat(tr("Credits available"), number(balance["available"])),
        stat(tr("Credits held"), number(balance["reserved"]), tr("for open tasks")),
        stat(tr("Total"), number(balance["total"])),
    ]
    heads = (tr("Kind"), tr("Left"), tr("Expires"))
    lots = [
        [
            tr("Bonus") if lot["kind"] == "bonus" else tr("Permanent"),
            number(lot["remaining"]),
            _time(lot["expires_at"]),
        ]
        for lot in balance["lots"]
    ]
    return joined(
        tag("div", figures, class_="grid"),
        card(tr("Newest batches"), _batches(root, batches)),
        card(
            tr("Credit lots"),
            table(heads, lots, caption=tr("Credit lots"), right=heads[1:2]),
            further_lots(balance),
        )
        if lots
        else None,
    )


def batch_list(root: str, batches: Sequence[Mapping[str, Any]], *, following: str | None) -> Markup:
    """A page of batches, newest first."""
    more = tag("a", tr("Older"), href=url(f"{root}/batches", after=following), class_="button", rel="next")
    return card(tr("Batches"), _batches(root, batches), more if following else None)


def batch_page(
    batch: Mapping[str, Any], items: Sequence[Mapping[str, Any]], *, waits: str, more: str | None
) -> Markup:
    """One batch with its videos; `waits` says what it waits for."""
    figures = [
        stat(tr("Status"), status_chip(batch["status"])),
        stat(tr("Videos"), _done_of(batch)),
        stat(
            tr("Credits"),
            number(batch["credits_settled"]),
            tr("refunded {n}", n=number(batch["credits_refunded"])),
        ),
        stat(tr("Time left"), waits or NOTHING),
    ]
    heads = (tr("Video"), tr("Prompt"), tr("Model"), tr("Status"), tr("File"))
    rows: list[list[Child]] = [
        [
            item["custom_id"] or str(item["index"]),
            item["prompt"],
            item["model"],
            status_chip(item["status"]),
            _file(item),
        ]
        for item in items
    ]
    following = tag("a", tr("More"), href=more, class_="button", rel="next") if more else None
    shown = table(heads, rows, caption=tr("Videos")) if rows else empty(tr("No more videos."))
    return joined(tag("div", figures, class_="grid"), card(tr("Videos"), shown, following))


def ledger(root: str, entries: Sequence[Mapping[str, Any]], *, more: str | None) -> Markup:
    """Entries, newest first."""
    heads = (tr("When"), tr("Type"), tr("Change"), tr("Available"), tr("Batch"), tr("Description"))
    rows: list[list[Child]] = [
        [
            _time(entry["created_at"]),
            entry_word(entry_kind(entry)),
            f"{entry['delta']:+,}",
            number(entry["balance_after"]),
            _batch_link(root, entry["batch_id"]) if entry["batch_id"] else NOTHING,
            entry["description"],
        ]
        for entry in entries
    ]
    following = tag("a", tr("Older"), href=more, class_="button", rel="next") if more else None
    shown = table(heads, rows, caption=tr("Ledger"), right=heads[2:4]) if rows else empty(tr("No entry."))
    return card(tr("Ledger"), shown, following)


def usage(found: Mapping[str, Any]) -> Markup:
    """The last 30 days, by day and model."""
    heads = (tr("Day"), tr("Model"), tr("Tries"), tr("Succeeded"), tr("Failed"), tr("Credits"))
    rows: list[list[Child]] = [
        [
            row["day"],
            row["model"],
            number(row["tries"]),
            number(row["succeeded"]),
            number(row["failed"]),
            number(row["credits_settled"]),
        ]
        for row in reversed(found["rows"])
    ]
    shown = (
        table(heads, rows, caption=tr("Usage"), right=heads[2:]) if rows else empty(tr("Nothing was made."))
    )
    total = tr_count(found["total"]["credits_settled"], "1 credit in 30 days", "{n} credits in 30 days")
    return card(tr("By day and model"), shown, end=tag("span", total, class_="muted"))


def no_keys(scope: str) -> Markup:
    """What a key sees here that may not list the account's keys."""
    return card(
        tr("Keys"),
        empty(
            tr("This key has the scope {scope}.", scope=scope),
            tr("Sign in with a key of the scope admin to see all keys."),
        ),
    )


def key_list(keys: Sequence[Mapping[str, Any]], *, own: int) -> Markup:
    """Keys without what would let anyone use them."""
    heads = (
        tr("Key"),
        tr("Name"),
        tr("Scope"),
        tr("Requests a minute"),
        tr("Credits a day"),
        tr("Last used"),
        tr("State"),
    )
    rows: list[list[Child]] = [
        [
            tag("span", f"{key['shown']}…", class_="mono"),
            key["name"] or NOTHING,
            key["scope"],
            _limit(key["rate_limit_per_min"]),
            _limit(key["credits_per_day_max"]),
            _time(key["last_used_at"]),
            tr("Revoked") if key["revoked_at_ms"] else tr("this one") if key["id"] == own else tr("good"),
        ]
        for key in keys
    ]
    return card(tr("Keys"), table(heads, rows, caption=tr("Keys"), right=heads[3:5]))


def webhooks(endpoints: Sequence[Mapping[str, Any]], deliveries: Sequence[Mapping[str, Any]]) -> Markup:
    """Endpoints, and what was delivered lately."""
    rows: list[list[Child]] = [
        [
            tag("span", each["url"], class_="mono"),
            (each["events"] or tr("all")).replace(",", ", "),
            tr("on")
            if each["disabled_at_ms"] is None
            else tr("off: {reason}", reason=each["disabled_reason"] or NOTHING),
        ]
        for each in endpoints
    ]
    sent: list[list[Child]] = [
        [
            row["type"],
            tag("span", row["url"], class_="mono"),
            delivery_word(row["status"]),
            str(row["http_status"] or NOTHING),
        ]
        for row in deliveries
    ]
    return joined(
        card(
            tr("Webhook endpoints"),
            table(("URL", tr("Events"), tr("State")), rows, caption=tr("Webhook endpoints"))
            if rows
            else empty(tr("No endpoint.")),
        ),
        card(
            tr("Newest deliveries"),
            table((tr("Event"), tr("To"), tr("Status"), tr("Answer")), sent, caption=tr("Deliveries"))
            if sent
            else empty(tr("Nothing was sent.")),
        ),
    )


def _batches(root: str, batches: Sequence[Mapping[str, Any]]) -> Markup:
    heads = (tr("Batch"), tr("Name"), tr("Status"), tr("Videos"), tr("Credits"), tr("Made"))
    rows: list[list[Child]] = [
        [
            _batch_link(root, batch["batch_id"]),
            batch["name"] or NOTHING,
            status_chip(batch["status"]),
            _done_of(batch),
            number(batch["credits_settled"]),
            _time(batch["created_at"]),
        ]
        for batch in batches
    ]
    if not rows:
        return empty(tr("No batch yet."), tr("POST /v1/batches makes one."))
    return table(heads, rows, caption=tr("Batches"), right=heads[3:5])


def _done_of(batch: Mapping[str, Any]) -> str:
    done, total = number(batch["succeeded_count"]), number(batch["total_count"])
    return tr("{done} of {total}", done=done, total=total)


def _batch_link(root: str, batch_id: str) -> Markup:
    return tag("a", batch_id, href=batch_path(root, batch_id), class_="mono")


def _file(item: Mapping[str, Any]) -> Child:
    href = link_target(item["video_url"])
    if href is not None:
        return tag("a", tr("Open the video"), href=href, rel="noreferrer")
    if item["status"] == "failed":
        return own_words(item["error"], item["failure_type"]) or failure_word(item["failure_type"])
    return ((item["archive"] or {}).get("reason")) or NOTHING


def _limit(value: int | None) -> str:
    return tr("no limit") if value is None else number(value)


def _time(iso: str | None) -> str:
    return NOTHING if iso is None else iso[:16].replace("T", " ") + " UTC"
