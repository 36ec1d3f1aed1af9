"""The alert inbox: each group with its age, the credits at stake and what to do about it; and its items."""

from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from rushes.dashboard.acting import act_link
from rushes.dashboard.browsers import cookie_entries, cookie_text
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.batch.waits import hold_words
from rushes.dashboard.pieces import batch_link, chip, empty, moment_of, number, table, url
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.errors import NotFound
from rushes.read.board.attention import ITEM_KINDS, Alert, Kind, WantedItem, items_of_alert

DISMISSED_MAX: Final = 30
"""Dismissed alerts that a browser remembers."""

DISMISSED_CHARACTERS_MAX: Final = 3000


def key_of(alert: Alert) -> str:
    """What a dismissed alert is remembered by."""
    return f"{alert.kind}:{alert.subject}"[:80]


def read_dismissed(cookie: str | None) -> dict[str, int]:
    """The dismissed alerts of a browser, each with how many it was about; none for what is no such cookie."""
    entries = cookie_entries(cookie, entries_max=DISMISSED_MAX)
    return {key: count for key, count in entries if isinstance(count, int)}


def with_dismissed(dismissed: Mapping[str, int], key: str, count: int) -> str:
    """The cookie with one more."""
    kept = dict(list({**dismissed, key[:80]: count}.items())[-DISMISSED_MAX:])
    written = cookie_text(kept)
    return written if len(written) <= DISMISSED_CHARACTERS_MAX else cookie_text({key[:80]: count})


def inbox(visit: Visit, found: Sequence[Alert], state: str) -> Markup:
    """One line of state, and the alerts that were not dismissed or have grown since."""
    shown = [alert for alert in found if alert.count > visit.dismissed.get(key_of(alert), -1)]
    hidden = len(found) - len(shown)
    head = tag(
        "div",
        chip(tr_count(len(shown), "1 needs you", "{n} need you"), "warn")
        if shown
        else chip(tr("All is well"), "ok"),
        tag("span", state, class_="muted"),
        tag("span", tr_count(hidden, "1 dismissed", "{n} dismissed"), class_="muted") if hidden else None,
        class_="alert state",
    )
    return tag("div", head, [_line(visit, alert) for alert in shown], class_="inbox card")


def _line(visit: Visit, alert: Alert) -> Markup:
    facts = []
    if alert.credits:
        facts.append(tr_count(alert.credits, "1 credit at stake", "{n} credits at stake"))
    if alert.words:
        facts.append(alert.words)
    if alert.hold:
        facts.append(hold_words(alert.hold))
    more = [tag("span", fact) for fact in facts]
    if alert.since_ms is not None:
        more.append(tag("span", tr("oldest"), " ", moment_of(alert.since_ms, now_ms=visit.now_ms)))
    if alert.until_ms is not None:
        more.append(tag("span", tr("first link dies"), " ", moment_of(alert.until_ms, now_ms=visit.now_ms)))
    dismiss = tag(
        "form",
        tag("input", type="hidden", name="key", value=key_of(alert)),
        tag("input", type="hidden", name="count", value=alert.count),
        tag(
            "button",
            tr("Dismiss"),
            type="submit",
            class_="button small quiet",
            aria_label=tr("Dismiss: {what}", what=alert_words(alert)),
        ),
        method="post",
        action=f"{visit.root}/dismiss",
    )
    return tag(
        "div",
        tag("span", class_=f"dot {'bad' if alert.is_bad else 'warn'}", aria_hidden="true"),
        tag("b", alert_words(alert)),
        tag("span", more, class_="muted"),
        tag("span", _action(visit, alert), dismiss, class_="alert-actions"),
        class_="alert",
        role="alert" if alert.is_bad else None,
        data_key=key_of(alert),
    )


def alert_words(alert: Alert) -> str:
    """What an alert is about."""
    n = alert.count
    match alert.kind:
        case "no_worker":
            return tr("No worker is alive: nothing is submitted or polled until one starts")
        case "provider_down":
            return tr("{provider} takes nothing", provider=alert.subject)
        case "unconfirmed":
            return tr_count(n, "1 submit unconfirmed", "{n} submits unconfirmed")
        case "overdue":
            return tr_count(n, "1 task overdue", "{n} tasks overdue")
        case "possibly_bought":
            return tr_count(n, "1 video possibly bought and lost", "{n} videos possibly bought and lost")
        case "trouble":
            return tr_count(
                n,
                "{where} answers not understood, 1 task",
                "{where} answers not understood, {n} tasks",
                where=alert.subject,
            )
        case "archive":
            return tr_count(n, "1 file to fetch", "{n} files to fetch")
        case "deliveries_failed":
            return tr_count(n, "1 webhook given up", "{n} webhooks given up")
        case "deliveries_disabled":
            return tr_count(n, "1 webhook without a receiver", "{n} webhooks without a receiver")
        case "held":
            return tr("{n} of {model} held", n=number(n), model=alert.subject)
        case other:
            assert_never(other)


def _action(visit: Visit, alert: Alert) -> Markup | None:
    match alert.kind:
        case "unconfirmed" | "overdue" | "possibly_bought" | "trouble":
            address, word = f"/review/{alert.kind}", tr("Review")
        case "deliveries_failed":
            address, word = url("/deliveries", status="failed"), tr("Look at them")
        case "deliveries_disabled":
            address, word = url("/deliveries", status="disabled"), tr("Look at them")
        case "no_worker" | "provider_down" | "archive":
            address, word = "/system", tr("System")
        case "held":
            address, word = url("/batches", model=alert.subject), tr("Batches")
        case other:
            assert_never(other)
    shown = tag("a", word, href=f"{visit.root}{address}", class_="button small")
    if alert.kind not in ("trouble", "provider_down"):
        return shown
    provider = alert.subject.partition(":")[0]
    path, word = url("/pause", provider=provider), tr("Pause {name}…", name=provider)
    pause = act_link(visit, path, word, class_="button small")
    return joined(shown, pause)


# --- the items of an alert ------------------------------------------------------------------------------


async def show_items(visit: Visit) -> Page:
    """The items that an alert is about, the oldest first."""
    kind = _kind_of(visit.names["kind"])
    found = await visit.parts.read(items_of_alert, kind, visit.parts.catalogue, visit.now_ms)
    title, hint = _title_of(kind)
    stake = sum(item.credits for item in found)
    head = tag(
        "div",
        tag("h1", title),
        tag("span", tr_count(stake, "1 credit at stake", "{n} credits at stake"), class_="muted"),
        class_="head",
    )
    shown = _items(visit, found) if found else empty(tr("Nothing of this kind now."), tr("It was settled."))
    return Page(
        title=title,
        section="overview",
        parts={
            "head": head,
            "hint": tag("p", hint, class_="muted note"),
            "items": tag("div", shown, class_="card flush"),
        },
    )


def _kind_of(name: str) -> Kind:
    for kind in ITEM_KINDS:
        if kind == name:
            return kind
    raise NotFound(f'there is no list of "{name[:40]}"')


def _title_of(kind: Kind) -> tuple[str, str]:
    match kind:
        case "unconfirmed":
            return tr("Unconfirmed submits"), tr(
                "No answer came to the submit. A callback may yet name the task; after the grace period the"
                " item is refunded or sent again, as the installation is set."
            )
        case "overdue":
            return tr("Overdue tasks"), tr(
                "They render for longer than their model's soft deadline."
                " Past the hard one they are refunded."
            )
        case "possibly_bought":
            return tr("Possibly bought, and refunded"), tr(
                "The submit got no answer, and the credits went back. If the provider's console shows the"
                " task, adopt it."
            )
        case _:
            return tr("Answers not understood"), tr(
                "The provider said something that was no answer. The tasks are asked about again."
            )


def _items(visit: Visit, found: Sequence[WantedItem]) -> Markup:
    heads = (
        tr("Item"),
        tr("Batch"),
        tr("Model"),
        tr("Provider"),
        tr("Reason"),
        tr("Since"),
        tr("Credits"),
        tr("Adopt"),
    )
    rows = [
        [
            tag("a", f"#{item.index}", href=f"{visit.root}/items/{item.item_id}"),
            batch_link(visit.root, item.batch_id, item.batch_name),
            item.model,
            item.provider,
            tag("span", item.reason or "–", class_="clip long", title=item.reason),
            moment_of(item.since_ms, now_ms=visit.now_ms),
            number(item.credits),
            act_link(visit, f"/items/{item.item_id}/adopt", tr("Adopt…"), class_="button small"),
        ]
        for item in found
    ]
    return joined(
        table(
            heads,
            rows,
            caption=tr("Items that need somebody"),
            right=heads[5:],
            keys=[i.item_id for i in found],
            class_="dense",
        )
    )
