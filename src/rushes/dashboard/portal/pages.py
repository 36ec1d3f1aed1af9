"""The portal's pages as HTML: each is made from what one read of the database found."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.dashboard.frame import html_of, logo
from rushes.dashboard.look import Look
from rushes.dashboard.markup import Child, Markup, joined, link_target, tag
from rushes.dashboard.pieces import batch_path, card, empty, number, stat, status_chip, table, url
from rushes.domain.notation import counted

PAGES: Final[Mapping[str, str]] = {
    "Overview": "/",
    "Batches": "/batches",
    "Ledger": "/ledger",
    "Usage": "/usage",
    "Keys": "/keys",
    "Webhooks": "/webhooks",
}
"""What the bar leads to."""

NOTHING: Final = "–"


def framed(root: str, title: str, content: Markup, *, look: Look, account: str, path: str) -> str:
    """A whole page for somebody who is signed in."""
    links = [
        tag(
            "a",
            tag("span", name),
            href=f"{root}{target}",
            aria_current="page" if target.rstrip("/") == path.rstrip("/") else None,
        )
        for name, target in PAGES.items()
    ]
    leave = tag(
        "form",
        tag("span", account, class_="muted"),
        tag("button", "Sign out", type="submit", class_="button small"),
        method="post",
        action=f"{root}/sign-out",
        class_="bar-end",
    )
    body = tag(
        "body",
        tag("a", "Skip to content", href="#main", class_="skip"),
        tag(
            "header",
            tag("a", logo(), href=f"{root}/", aria_label="rushes: overview"),
            tag("nav", links, aria_label="Pages"),
            leave,
            class_="bar",
        ),
        tag("main", tag("div", tag("h1", title), class_="head"), content, id="main", tabindex=-1),
    )
    return html_of(root, title, body, spoken="en", theme=look.theme)


def sign_in_form(root: str, *, look: Look, problem: str | None = None) -> str:
    """The page before signing in."""
    form = tag(
        "form",
        tag("div", logo()),
        tag("h1", "Sign in"),
        tag("p", "Enter an API key of your account.", class_="muted"),
        tag("label", "API key", for_="key"),
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
        tag("button", "Sign in", type="submit", class_="button primary wide"),
        method="post",
        action=f"{root}/sign-in",
        class_="card sign-in",
    )
    body = tag("body", tag("main", form, class_="sign-in-page"))
    return html_of(root, "Sign in", body, spoken="en", theme=look.theme)


def overview(root: str, balance: Mapping[str, Any], batches: Sequence[Mapping[str, Any]]) -> Markup:
    """The credits, and the newest batches."""
    figures = [
        stat("Available credits", number(balance["available"])),
        stat("Reserved", number(balance["reserved"]), "for open batches"),
        stat("Total", number(balance["total"])),
    ]
    lots = [[lot["kind"], number(lot["remaining"]), _time(lot["expires_at"])] for lot in balance["lots"]]
    return joined(
        tag("div", figures, class_="grid"),
        card("Newest batches", _batches(root, batches)),
        card("Credits by expiry", table(("Kind", "Left", "Expires"), lots, caption="Lots", right=("Left",)))
        if lots
        else None,
    )


def batch_list(root: str, batches: Sequence[Mapping[str, Any]], *, following: str | None) -> Markup:
    """A page of batches, newest first."""
    more = tag("a", "Older", href=url(f"{root}/batches", after=following), class_="button", rel="next")
    return card("Batches", _batches(root, batches), more if following else None)


def batch_page(batch: Mapping[str, Any], items: Sequence[Mapping[str, Any]], *, more: str | None) -> Markup:
    """One batch with its videos."""
    figures = [
        stat("Status", status_chip(batch["status"])),
        stat("Videos", f"{number(batch['succeeded_count'])} of {number(batch['total_count'])}"),
        stat("Credits", number(batch["credits_settled"]), f"{number(batch['credits_refunded'])} refunded"),
        stat("Left", batch["eta_reason"] or NOTHING),
    ]
    heads = ("Video", "Prompt", "Model", "Status", "File")
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
    following = tag("a", "More", href=more, class_="button", rel="next") if more else None
    shown = table(heads, rows, caption="Videos") if rows else empty("No more videos.")
    return joined(tag("div", figures, class_="grid"), card("Videos", shown, following))


def ledger(root: str, entries: Sequence[Mapping[str, Any]], *, more: str | None) -> Markup:
    """Entries, newest first."""
    heads = ("When", "Type", "Change", "Available", "Batch", "Description")
    rows: list[list[Child]] = [
        [
            _time(entry["created_at"]),
            entry["type"],
            f"{entry['delta']:+,}",
            number(entry["balance_after"]),
            _batch_link(root, entry["batch_id"]) if entry["batch_id"] else NOTHING,
            entry["description"],
        ]
        for entry in entries
    ]
    following = tag("a", "Older", href=more, class_="button", rel="next") if more else None
    shown = (
        table(heads, rows, caption="Ledger", right=("Change", "Available")) if rows else empty("No entry.")
    )
    return card("Ledger", shown, following)


def usage(found: Mapping[str, Any]) -> Markup:
    """The last 30 days, by day and model."""
    heads = ("Day", "Model", "Tries", "Succeeded", "Failed", "Credits")
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
    shown = table(heads, rows, caption="Usage", right=heads[2:]) if rows else empty("Nothing was made.")
    total = counted(found["total"]["credits_settled"], "credit", digits=",") + " in 30 days"
    return card("By day and model", shown, end=tag("span", total, class_="muted"))


def no_keys(scope: str) -> Markup:
    """What a key sees here that may not list the account's keys."""
    return card(
        "Keys", empty(f"This key may {scope}.", "Sign in with a key of the scope admin to see all keys.")
    )


def key_list(keys: Sequence[Mapping[str, Any]], *, own: int) -> Markup:
    """Keys without what would let anyone use them."""
    heads = ("Key", "Name", "Scope", "A minute", "A day", "Last used", "State")
    rows: list[list[Child]] = [
        [
            tag("span", f"{key['shown']}…", class_="mono"),
            key["name"] or NOTHING,
            key["scope"],
            _limit(key["rate_limit_per_min"]),
            _limit(key["credits_per_day_max"]),
            key["last_used_at"] or NOTHING,
            "revoked" if key["revoked_at_ms"] else "this one" if key["id"] == own else "good",
        ]
        for key in keys
    ]
    return card("Keys", table(heads, rows, caption="Keys", right=("A minute", "A day")))


def webhooks(endpoints: Sequence[Mapping[str, Any]], deliveries: Sequence[Mapping[str, Any]]) -> Markup:
    """Endpoints, and what was delivered lately."""
    rows: list[list[Child]] = [
        [
            tag("span", each["url"], class_="mono"),
            (each["events"] or "all").replace(",", ", "),
            "on" if each["disabled_at_ms"] is None else f"off: {each['disabled_reason']}",
        ]
        for each in endpoints
    ]
    sent: list[list[Child]] = [
        [
            row["type"],
            tag("span", row["url"], class_="mono"),
            row["status"],
            str(row["http_status"] or NOTHING),
        ]
        for row in deliveries
    ]
    return joined(
        card(
            "Endpoints",
            table(("URL", "Events", "State"), rows, caption="Endpoints") if rows else empty("No endpoint."),
        ),
        card(
            "Newest deliveries",
            table(("Event", "To", "Status", "Answer"), sent, caption="Deliveries")
            if sent
            else empty("Nothing was sent."),
        ),
    )


def _batches(root: str, batches: Sequence[Mapping[str, Any]]) -> Markup:
    heads = ("Batch", "Name", "Status", "Videos", "Credits", "Made")
    rows: list[list[Child]] = [
        [
            _batch_link(root, batch["batch_id"]),
            batch["name"] or NOTHING,
            status_chip(batch["status"]),
            f"{number(batch['succeeded_count'])} of {number(batch['total_count'])}",
            number(batch["credits_settled"]),
            _time(batch["created_at"]),
        ]
        for batch in batches
    ]
    if not rows:
        return empty("No batch yet.", "POST /v1/batches makes one.")
    return table(heads, rows, caption="Batches", right=("Videos", "Credits"))


def _batch_link(root: str, batch_id: str) -> Markup:
    return tag("a", batch_id, href=batch_path(root, batch_id), class_="mono")


def _file(item: Mapping[str, Any]) -> Child:
    href = link_target(item["video_url"])
    if href is not None:
        return tag("a", "Open the video", href=href, rel="noreferrer")
    return item["error"] or ((item["archive"] or {}).get("reason")) or NOTHING


def _limit(value: int | None) -> str:
    return "no limit" if value is None else number(value)


def _time(iso: str | None) -> str:
    return NOTHING if iso is None else iso[:16].replace("T", " ") + " UTC"
