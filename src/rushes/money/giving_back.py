"""Giving back what a success cost: its settlement stands, and each part of it becomes a new lot.

A lot is of the kind and with the end that the part's lot had, so that nothing that expires turns permanent;
what has expired meanwhile is gone. A task's credits are given back once, by hand or for a bad file.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from rushes.domain.credits import LotKind
from rushes.domain.errors import InputError, ItemNotRefundable
from rushes.domain.task import TaskStatus
from rushes.store import batches, ledger
from rushes.store.acceptance import given_back, rejected
from rushes.store.tasks import items

REASON_CHARACTERS_MAX: Final = 120


@dataclass(frozen=True, slots=True)
class Refunded:
    """What came back, and what was in lots that have expired."""

    credits: int
    expired: int


def give_back(
    connection: Connection, account_id: int, task_id: int, *, description: str, reason: str, now_ms: int
) -> Refunded | None:
    """Grant what the task's settlement kept, lot by lot; None when it was given back before.

    The task is locked, and the account is before any batch is.
    """
    parts = ledger.settled_parts(connection, task_id)
    live = [part for part in parts if part[1] is None or part[1] > now_ms]
    total = sum(amount for _, _, amount in live)
    if not given_back.note(connection, task_id, credits=total, reason=reason, now_ms=now_ms):
        return None
    for kind, expires_at_ms, amount in live:
        ledger.grant(
            connection,
            account_id,
            amount,
            kind=LotKind(kind),
            expires_at_ms=expires_at_ms,
            description=description,
            now_ms=now_ms,
            by_operator=False,
        )
    return Refunded(total, sum(amount for _, _, amount in parts) - total)


def refund_item(
    connection: Connection, batch_public_id: str, index: int, *, reason: str, now_ms: int
) -> Refunded:
    """Give the credits of an item's video back by hand, for a reason that stands in the ledger.

    Raises `NotFound`, `InputError` and `ItemNotRefundable`.
    """
    if not (reason and len(reason) <= REASON_CHARACTERS_MAX and reason.isprintable()):
        raise InputError(f"must be 1 to {REASON_CHARACTERS_MAX} printable characters", field="reason")
    batch_id = batches.batch_row_id(connection, batch_public_id)
    rows = items.lock_items(connection, batch_id, [index])
    if not rows or rows[0].status != TaskStatus.SUCCEEDED.value:
        raise ItemNotRefundable("only a video that was made and charged can be refunded")
    (task,) = rejected.lock_succeeded(connection, [rows[0].id], now_ms=now_ms)
    ledger.lock(connection, task.account_id)
    if given_back.was_before_there_was_a_table(
        connection, task.account_id, item_id=task.item_id, since_ms=task.completed_at_ms
    ):
        raise ItemNotRefundable("its credits were given back before: its file was bad")
    done = give_back(
        connection,
        task.account_id,
        task.id,
        description=f"{given_back.ENTRY_START}{reason} ({task.item_id})",
        reason=reason,
        now_ms=now_ms,
    )
    if done is None:
        raise ItemNotRefundable("its credits were given back before")
    if not done.credits:
        raise ItemNotRefundable(
            "the credits that paid for it have expired meanwhile"
            if done.expired
            else "nothing was charged for it, or its ledger entries are folded: grant credits instead"
        )
    return done
