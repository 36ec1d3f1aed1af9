"""What can be done with several batches at once: cancel what waits, retry what failed at its price."""

from dataclasses import replace
from typing import Final

from rushes.dashboard.acting import Act, Done, Form, Question, carry_out
from rushes.dashboard.markup import Markup, tag
from rushes.dashboard.pages.batch.actions import retry_priced
from rushes.dashboard.pieces import number
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.errors import BatchNotCancellable, NotFound
from rushes.money import acts
from rushes.read.board.selected import batch_rows, retry_prices
from rushes.read.views import OPEN_BATCH_STATUSES

BATCHES_MAX: Final = 100
"""Batches that one act takes."""


def ids_of(form: Form) -> list[str]:
    """The batches that were chosen, each once."""
    found = dict.fromkeys(part.strip() for part in form.get("batches").split(","))
    return [batch_id for batch_id in found if batch_id][:BATCHES_MAX]


def selection_of_batches(visit: Visit) -> Markup | None:
    """What can be done with the batches that are chosen in the list."""
    if not visit.may(Role.OPERATOR):
        return None
    path = f"{visit.root}/batches"
    return tag(
        "div",
        tag("b", tr("Selected batches"), data_selected=True),
        tag("button", tr("Retry failed…"), type="submit", class_="button", data_dialog=True),
        tag(
            "button",
            tr("Cancel…"),
            type="submit",
            formaction=f"{path}/cancel",
            class_="button danger",
            data_dialog=True,
        ),
        tag("button", tr("Clear"), type="button", class_="button quiet with-script", data_clear=True),
        class_="selection",
    )


async def ask_cancel(visit: Visit, form: Form) -> Question:
    """How many can be cancelled, and what that gives back and leaves running."""
    rows = await visit.parts.read(batch_rows, ids_of(form))
    its = [row for row in rows if row["status"] in OPEN_BATCH_STATUSES]
    waiting, running = (sum(row[f"{name}_count"] for row in its) for name in ("pending", "processing"))
    finished = len(rows) - len(its)
    stakes: list[tuple[str, Markup | str]] = [
        (tr("Refunded at once"), tr_count(waiting, "1 item that waits", "{n} items that wait")),
        (
            tr("Runs to its end and is charged"),
            tr_count(running, "1 item at the provider", "{n} items at the provider"),
        ),
    ]
    if finished:
        stakes.append((tr("Left out"), tr_count(finished, "1 has finished", "{n} have finished")))
    return Question(
        title=tr_count(len(its), "Cancel 1 batch?", "Cancel {n} batches?"),
        action=tr_count(len(its), "Cancel 1 batch", "Cancel {n} batches"),
        stakes=stakes if its else (),
        note=tr("This cannot be undone. Items that wait can be ordered again in a new batch."),
        is_harmful=True,
        agreed=f"{len(its)}:{waiting}",
        refusal=None if its else tr("None of these batches is open."),
    )


async def cancel(visit: Visit, form: Form) -> Done:
    """Cancel each that is open."""
    count = refunded = 0
    for row in await visit.parts.read(batch_rows, ids_of(form)):
        if row["status"] not in OPEN_BATCH_STATUSES:
            continue
        try:
            refunded += await carry_out(
                visit,
                "batch.cancel",
                row["public_id"],
                lambda given_back: {"credits_refunded": given_back},
                acts.cancel,
                row["public_id"],
                now_ms=visit.now_ms,
            )
            count += 1
        except BatchNotCancellable:  # it has finished meanwhile
            continue
        visit = replace(visit, form_token="")
    said = tr_count(count, "1 batch cancelled", "{n} batches cancelled")
    back = tr_count(refunded, "1 credit refunded", "{n} credits refunded")
    return Done(f"{said}: {back}", "/batches")


async def ask_retry(visit: Visit, form: Form) -> Question:
    """What retrying all that failed in them reserves, by account."""
    found = await visit.parts.read(retry_prices, ids_of(form), visit.parts.catalogue.charge, visit.now_ms)
    items, price = (sum(getattr(one.price, name) for one in found) for name in ("count", "credits"))
    stakes: list[tuple[str, Markup | str]] = [
        (tr("Batches"), number(len(found))),
        (tr("Items"), number(items)),
        (tr("Credits to reserve"), number(price)),
    ]
    for account, available in {one.price.account: one.price.available for one in found}.items():
        after = available - sum(one.price.credits for one in found if one.price.account == account)
        few = tr("{n}: too few, only a part will be retried", n=number(after))
        words = few if after < 0 else number(after)
        kind = "amount-minus" if after < 0 else None
        stakes.append((tr("Balance of {account} after", account=account), tag("span", words, class_=kind)))
    return Question(
        title=tr_count(items, "Retry 1 item?", "Retry {n} items?"),
        action=tr_count(price, "Retry for 1 credit", "Retry for {n} credits"),
        stakes=stakes if found else (),
        note=tr("Each is a new task. What fails again is refunded."),
        agreed=f"{items}:{price}",
        refusal=None if found else tr("Nothing in these batches can be retried."),
    )


async def retry(visit: Visit, form: Form) -> Done:
    """Make all that failed in them wait again, batch by batch."""
    count, refusal = 0, None
    for one in await visit.parts.read(retry_prices, ids_of(form), visit.parts.catalogue.charge, visit.now_ms):
        try:
            made, why = await retry_priced(visit, one.batch_id, one.price, None)
        except NotFound:  # it was removed meanwhile
            continue
        visit, count, refusal = replace(visit, form_token=""), count + made, why or refusal
    said = tr_count(count, "1 item waits to be retried", "{n} items wait to be retried")
    if refusal is not None:
        said = tr("{said}. Not all: {why}", said=said, why=refusal)
    return Done(said, "/batches", is_warning=refusal is not None)


ACTS: Final = (
    Act("/batches/cancel", "batches", Role.OPERATOR, ask_cancel, cancel),
    Act("/batches/retry", "batches", Role.OPERATOR, ask_retry, retry, with_token=True),
)
