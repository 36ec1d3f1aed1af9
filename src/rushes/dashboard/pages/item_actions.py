"""What can be done with one item: cancel it, refund it, or give it the remote task that was bought for it."""

from typing import Final

from rushes.dashboard.acting import Act, Done, Form, Question, carry_out, field_row, reason_row
from rushes.dashboard.markup import Markup
from rushes.dashboard.pages.item import place_of
from rushes.dashboard.pieces import number
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.errors import InputError
from rushes.money import acts
from rushes.money.giving_back import REASON_CHARACTERS_MAX, Refunded, refund_item
from rushes.read.board.item import ItemInFull, item_in_full


async def _seen(visit: Visit) -> ItemInFull:
    batch_id, index = place_of(visit)
    parts = visit.parts
    return await parts.read(
        item_in_full, batch_id, index, catalogue=parts.catalogue, links=parts.links, now_ms=visit.now_ms
    )


async def ask_cancel(visit: Visit, _form: Form) -> Question:
    """What cancelling one item gives back."""
    seen = await _seen(visit)
    waits = seen.item["status"] == "pending"
    stakes: list[tuple[str, Markup | str]] = [(tr("Refunded at once"), number(seen.item["credits"]))]
    return Question(
        title=tr("Cancel item {index}?", index=seen.item["index"]),
        action=tr("Cancel item"),
        stakes=stakes if waits else (),
        is_harmful=True,
        refusal=None if waits else tr("Only an item that waits can be cancelled."),
    )


async def cancel(visit: Visit, _form: Form) -> Done:
    """Cancel one item that waits."""
    batch_id, index = place_of(visit)
    refunded = await carry_out(
        visit,
        "item.cancel",
        visit.names["item_id"],
        lambda given_back: {"credits_refunded": given_back},
        acts.cancel_item,
        batch_id,
        index,
        now_ms=visit.now_ms,
    )
    said = tr_count(refunded, "Cancelled: 1 credit refunded", "Cancelled: {n} credits refunded")
    return Done(said, f"/items/{visit.names['item_id']}")


async def ask_adopt(visit: Visit, form: Form) -> Question:
    """Which remote task was bought for the item."""
    seen = await _seen(visit)
    return Question(
        title=tr("Adopt a remote task for item {index}", index=seen.item["index"]),
        action=tr("Ask the provider and adopt"),
        stakes=[(tr("Credits if it succeeded"), number(seen.item["credits"]))],
        fields=field_row(
            form,
            "remote_task_id",
            tr("Remote id"),
            required=True,
            autocomplete="off",
            hint=tr("As the provider's console shows it. It is polled once before anything is settled."),
        ),
        note=tr("For an item that is unconfirmed, or failed as of unknown outcome, timed out or not found."),
    )


async def adopt(visit: Visit, form: Form) -> Done:
    """Poll the remote task, and settle the item with it. Raises the refusal with its reason."""
    batch_id, index = place_of(visit)
    remote_task_id = form.get("remote_task_id")
    if not remote_task_id:
        raise InputError(tr("must be the provider's own id of the task"), field="remote_task_id")
    await visit.parts.adopt(batch_id, index, remote_task_id)
    await carry_out(
        visit,
        "item.adopt",
        visit.names["item_id"],
        {"remote_task_id": remote_task_id},
        lambda _connection: None,
    )
    return Done(tr("The item has its remote task"), f"/items/{visit.names['item_id']}")


async def ask_refund(visit: Visit, form: Form) -> Question:
    """What comes back, and why only once."""
    seen = await _seen(visit)
    item, refusal = seen.item, None
    if item["status"] != "succeeded":
        refusal = tr("Only a video that was made and charged can be refunded.")
    elif seen.given_back is not None:
        refusal = tr("Its credits were given back before: {reason}", reason=seen.given_back["reason"])
    elif not item["credits"]:
        refusal = tr("Nothing was charged for it.")
    stakes: list[tuple[str, Markup | str]] = [
        (tr("Account"), seen.batch["account"]),
        (tr("Credits to give back"), number(item["credits"])),
    ]
    reason = reason_row(
        form, "reason", characters_max=REASON_CHARACTERS_MAX, hint=tr("It stands in the account's ledger.")
    )
    return Question(
        title=tr("Refund item {index}?", index=item["index"]),
        action=tr_count(item["credits"], "Give 1 credit back", "Give {n} credits back"),
        stakes=() if refusal else stakes,
        fields=None if refusal else reason,
        note=None
        if refusal
        else tr(
            "The settlement stands; its credits come back as new ones of the same kind, once. What has"
            " expired is gone. The video stays."
        ),
        agreed=str(item["credits"]),
        is_harmful=True,
        refusal=refusal,
    )


async def refund(visit: Visit, form: Form) -> Done:
    """Give the credits of one video back. Raises `InputError` and `ItemNotRefundable`."""
    batch_id, index = place_of(visit)
    reason = form.get("reason")
    if not (reason and len(reason) <= REASON_CHARACTERS_MAX and reason.isprintable()):
        limit = REASON_CHARACTERS_MAX
        raise InputError(tr("must be 1 to {n} printable characters", n=limit), field="reason")

    def facts(done: Refunded) -> dict[str, object]:
        return {"credits": done.credits, "expired": done.expired, "reason": reason}

    done = await carry_out(
        visit,
        "item.refund",
        visit.names["item_id"],
        facts,
        refund_item,
        batch_id,
        index,
        reason=reason,
        now_ms=visit.now_ms,
    )
    said = tr_count(done.credits, "1 credit was given back", "{n} credits were given back")
    if done.expired:
        gone = tr_count(done.expired, "1 has expired", "{n} have expired")
        said = tr("{said}. Not all: {why}", said=said, why=gone)
    return Done(said, f"/items/{visit.names['item_id']}", is_warning=done.expired > 0)


ACTS: Final = (
    Act("/items/{item_id}/refund", "batches", Role.OWNER, ask_refund, refund, with_token=True),
    Act("/items/{item_id}/cancel", "batches", Role.OPERATOR, ask_cancel, cancel),
    Act("/items/{item_id}/adopt", "batches", Role.OPERATOR, ask_adopt, adopt),
)
