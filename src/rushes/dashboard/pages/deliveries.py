"""Outgoing webhooks: what was delivered, what was not and why; and a button that sends one again."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.dashboard.acting import Act, Done, Form, Question, act_link, carry_out
from rushes.dashboard.markup import Markup, tag
from rushes.dashboard.pieces import (
    batch_path,
    card,
    chip,
    empty,
    facts_list,
    filter_links,
    moment_of,
    number,
    pager,
    short_id,
    table,
    url,
)
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.errors import NotFound
from rushes.money import acts
from rushes.read.board.delivery import delivery_in_full
from rushes.read.deliveries import delivery_page
from rushes.read.scope import OPERATOR

DELIVERIES_PER_PAGE: Final = 50
REPLAYS_MAX: Final = 500
"""Webhooks that are sent again at once."""

DELIVERY_KINDS: Final = {"pending": "info", "delivered": "ok", "failed": "bad", "disabled": "warn"}


def delivery_word(status: str) -> str:
    """Where a delivery stands, for people."""
    match status:
        case "pending":
            return tr("Waiting")
        case "delivered":
            return tr("Delivered")
        case "failed":
            return tr("Given up")
        case "disabled":
            return tr("Receiver gone")
        case _:
            return status


async def show(visit: Visit) -> Page:
    """The deliveries that the address asks for, newest first."""
    status = visit.text("status")
    status = status if status in DELIVERY_KINDS else None
    before = visit.number("before", 0) or None
    found, has_more = await visit.parts.read(
        delivery_page, OPERATOR, status=status, limit=DELIVERIES_PER_PAGE, after=before
    )
    path = f"{visit.root}/deliveries"
    links = [(tr("All"), path, status is None)]
    links += [(delivery_word(key), url(path, status=key), status == key) for key in DELIVERY_KINDS]
    first = url(path, status=status) if before is not None else None
    following = url(path, status=status, before=found[-1]["id"]) if has_more else None
    hint = tr("Batches that name a webhook_url send one for each event.")
    steps = pager(tr_count(len(found), "1 delivery", "{n} deliveries"), previous=first, following=following)
    return Page(
        title=tr("Deliveries"),
        section="deliveries",
        parts={
            "head": _head(visit),
            "filters": tag("div", filter_links(links, label=tr("Status")), class_="filters"),
            "list": tag(
                "div",
                _rows(visit, found) if found else empty(tr("No webhook here."), hint),
                steps if first or following else None,
                class_="card flush",
            ),
        },
    )


def _head(visit: Visit) -> Markup:
    again = act_link(visit, "/deliveries/replay-failed", tr("Send all given up again…"))
    return tag("div", tag("h1", tr("Deliveries")), tag("div", again, class_="actions"), class_="head")


def _rows(visit: Visit, found: Sequence[Mapping[str, Any]]) -> Markup:
    heads = (
        tr("Event"),
        tr("Batch"),
        tr("Account"),
        tr("To"),
        tr("Status"),
        tr("Answer"),
        tr("Tries"),
        tr("When"),
        tr("Again"),
    )
    return table(
        heads,
        [_row(visit, delivery) for delivery in found],
        caption=tr("Webhook deliveries"),
        right=(heads[6], heads[7], heads[8]),
        keys=[f"delivery-{delivery['id']}" for delivery in found],
        class_="dense",
    )


def _row(visit: Visit, delivery: Mapping[str, Any]) -> list[Markup | str]:
    again = act_link(
        visit,
        f"/deliveries/{delivery['id']}/replay",
        tr("Send again…"),
        label=tr("Send {event} of {batch} again", event=delivery["type"], batch=delivery["public_id"]),
        class_="button small",
    )
    batch_id = delivery["public_id"]
    return [
        tag("a", delivery["type"], href=f"{visit.root}/deliveries/{delivery['id']}", class_="mono"),
        tag("a", short_id(batch_id), href=batch_path(visit.root, batch_id), class_="mono", title=batch_id),
        delivery["account"],
        tag("span", delivery["url"], class_="mono clip", title=delivery["url"]),
        chip(delivery_word(delivery["status"]), DELIVERY_KINDS[delivery["status"]]),
        answer_of(delivery),
        str(delivery["attempts"]),
        moment_of(delivery["created_at_ms"], now_ms=visit.now_ms),
        again,
    ]


def answer_of(delivery: Mapping[str, Any]) -> Markup:
    """What the receiver answered."""
    if delivery["error"] is not None:
        status = "" if delivery["http_status"] is None else f"{delivery['http_status']}: "
        error = delivery["error"]
        text = f"{status}{tr('no connection') if error == 'no connection' else error}"
        return tag("span", text, class_="amount-minus clip short", title=text)
    return tag("span", str(delivery["http_status"] or "–"))


async def show_one(visit: Visit) -> Page:
    """One delivery: where it stands, and the document that it carries."""
    found = await visit.parts.read(delivery_in_full, _delivery_id(visit))
    row = found.row
    again = act_link(visit, f"/deliveries/{row['id']}/replay", tr("Send again…"), class_="button primary")
    waits = row["status"] == "pending"
    lines: list[tuple[str, Markup | str]] = [
        (tr("To"), tag("span", row["url"], class_="mono")),
        (tr("Account"), row["account"]),
        (
            tr("Batch"),
            tag("a", row["public_id"], href=batch_path(visit.root, row["public_id"]), class_="mono"),
        ),
        (tr("Tries"), str(row["attempts"])),
        (tr("Answer"), answer_of(row)),
        (tr("Made"), moment_of(row["created_at_ms"], now_ms=visit.now_ms)),
        (tr("Next try"), moment_of(row["next_attempt_at_ms"], now_ms=visit.now_ms) if waits else "–"),
        (
            tr("Delivered"),
            moment_of(row["delivered_at_ms"], now_ms=visit.now_ms) if row["delivered_at_ms"] else "–",
        ),
    ]
    document = tr("The event is there no more.")
    if found.document is not None:
        document = json.dumps(found.document, indent=2, ensure_ascii=False)
    return Page(
        title=row["type"],
        section="deliveries",
        parts={
            "head": tag(
                "div",
                tag("h1", row["type"]),
                chip(delivery_word(row["status"]), DELIVERY_KINDS[row["status"]]),
                tag("div", again, class_="actions"),
                class_="head",
            ),
            "facts": card(tr("Delivery"), facts_list(lines)),
            "payload": card(tr("Payload"), tag("pre", document, tabindex=0)),
        },
    )


async def _given_up(visit: Visit, form: Form) -> Sequence[Mapping[str, Any]]:
    found, _ = await visit.parts.read(
        delivery_page,
        OPERATOR,
        status="failed",
        limit=REPLAYS_MAX,
        after=None,
        endpoint=form.get("endpoint") or None,
    )
    return found


async def ask_replay_all(visit: Visit, form: Form) -> Question:
    """How many webhooks go out again."""
    found = await _given_up(visit, form)
    return Question(
        title=tr_count(len(found), "Send 1 webhook again?", "Send {n} webhooks again?"),
        action=tr("Send now"),
        stakes=[
            (tr("Given up"), number(len(found))),
            (tr("Receivers"), number(len({one["url"] for one in found}))),
        ],
        note=tr("Each carries the id that it had: a receiver that has it already can tell."),
        agreed=str(len(found)),
        refusal=None if found else tr("No webhook was given up."),
    )


async def replay_all(visit: Visit, form: Form) -> Done:
    """Send what was given up again."""
    ids = [int(one["id"]) for one in await _given_up(visit, form)]
    count = await carry_out(
        visit,
        "delivery.replay_failed",
        "deliveries",
        {"deliveries": len(ids)},
        acts.replay_deliveries,
        ids,
        now_ms=visit.now_ms,
    )
    return Done(
        tr_count(count, "1 webhook will be sent again now", "{n} webhooks will be sent again now"),
        "/deliveries",
    )


async def ask_replay(visit: Visit, _form: Form) -> Question:
    """Which webhook goes out again."""
    found, _ = await visit.parts.read(
        delivery_page, OPERATOR, status=None, limit=1, after=_delivery_id(visit) + 1
    )
    if not found or found[0]["id"] != _delivery_id(visit):
        raise NotFound(f"there is no delivery {_delivery_id(visit)}")
    delivery = found[0]
    return Question(
        title=tr("Send it again?"),
        action=tr("Send now"),
        stakes=[
            (tr("Event"), delivery["type"]),
            (tr("Batch"), delivery["public_id"]),
            (tr("To"), delivery["url"]),
            (tr("Tries"), str(delivery["attempts"])),
        ],
        note=tr("It carries the same id: a receiver that has it already can tell."),
    )


async def replay(visit: Visit, _form: Form) -> Done:
    """Send one again."""
    delivery_id = _delivery_id(visit)
    await carry_out(
        visit,
        "delivery.replay",
        f"delivery {delivery_id}",
        {},
        acts.replay_delivery,
        delivery_id,
        now_ms=visit.now_ms,
    )
    return Done(tr("It will be sent again now"), "/deliveries")


def _delivery_id(visit: Visit) -> int:
    text = visit.names["delivery_id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotFound(f'there is no delivery "{text[:40]}"')
    return int(text)


ACTS: Final = (
    Act("/deliveries/replay-failed", "deliveries", Role.OPERATOR, ask_replay_all, replay_all),
    Act("/deliveries/{delivery_id}/replay", "deliveries", Role.OPERATOR, ask_replay, replay),
)
