"""What may still be spent today: looked at where credits are reserved, in the same transaction.

A day starts at midnight, UTC. What was refunded has not been spent. Caps stand in the database, so that all
processes hold to them at once.

What is bought in a batch counts under the key that made the batch.
"""

from collections.abc import Collection
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from rushes.domain.catalogue.price import ExpectedCost, decimal_of_micros
from rushes.domain.errors import DayCapReached
from rushes.domain.notation import iso_time
from rushes.store import batches
from rushes.store.caps import CREDITS, DayCap, all_caps, caps_for, spent_since
from rushes.store.database import lock_name
from rushes.store.keys import request_scope_of

DAY_MS: Final = 86_400_000

_LOCK: Final = "day caps"


class Budget:
    """The room under the caps that apply to a purchase, counted down as it is spent.

    Made once the account is locked; until the transaction ends, others that come under caps wait.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        account_id: int,
        request_scope: str,
        models: Collection[str],
        now_ms: int,
    ) -> None:
        self._renews_at_ms = now_ms - now_ms % DAY_MS + DAY_MS
        caps = caps_for(connection, account_id=account_id, request_scope=request_scope, models=models)
        if caps:
            lock_name(connection, _LOCK)
        since_ms = self._renews_at_ms - DAY_MS
        self._left: dict[DayCap, int] = {
            cap: cap.amount - spent_since(connection, cap, since_ms) for cap in caps
        }

    @property
    def is_capped(self) -> bool:
        """Whether anything is held back: else there is nothing to count."""
        return bool(self._left)

    def spend(self, model: str, credits: int, cost: ExpectedCost | None, *, held: int = 0) -> None:
        """Take it out of every cap; raises `DayCapReached`, having taken nothing, when one has no room.

        Of the credits, `held` are reserved already, under no model.
        """
        wanted: dict[DayCap, int] = {}
        for cap, left in self._left.items():
            if cap.scope == "model" and cap.subject != model:
                continue
            amount = _amount_of(cap, credits if cap.scope == "model" else credits - held, cost)
            if amount > max(left, 0):
                raise self._reached(cap, left)
            wanted[cap] = amount
        for cap, amount in wanted.items():
            self._left[cap] -= amount

    def _reached(self, cap: DayCap, left: int) -> DayCapReached:
        whose = "everything" if cap.scope == "all" else f"{cap.scope} {cap.subject}"
        facts = _facts(cap, left, self._renews_at_ms)
        return DayCapReached(
            f"the day's cap of {whose} is {facts['cap']} {facts['unit']}:"
            f" {facts['left']} are left, and it renews at {facts['renews_at']}",
            **facts,
        )


def require_counted(connection: Connection, batch_id: int, key_id: int, *, now_ms: int) -> None:
    """Raise `DayCapReached` where a key under a day's cap would buy in a batch that another made."""
    request_scope = request_scope_of(key_id)
    if batches.request_scope(connection, batch_id) == request_scope:
        return
    account_id = batches.account_of(connection, batch_id)
    caps = caps_for(connection, account_id=account_id, request_scope=request_scope, models=())
    cap = next((cap for cap in caps if cap.scope == "key"), None)
    if cap is None:
        return
    since_ms = now_ms - now_ms % DAY_MS
    raise DayCapReached(
        "this key has a day's cap, and buys only in batches that it made itself:"
        " ask with the key that made this batch, or with one without a cap",
        **_facts(cap, cap.amount - spent_since(connection, cap, since_ms), since_ms + DAY_MS),
    )


def cap_views(connection: Connection, *, now_ms: int) -> list[dict[str, str | None]]:
    """Every cap with what has been spent of it today; amounts are text, so that no digit is lost."""
    since_ms = now_ms - now_ms % DAY_MS
    found: list[dict[str, str | None]] = []
    for cap in all_caps(connection):
        spent = spent_since(connection, cap, since_ms)
        found.append(
            {
                "scope": cap.scope,
                "subject": cap.subject or None,
                "unit": cap.unit,
                "cap": f"{_shown(cap, cap.amount):f}",
                "spent": f"{_shown(cap, spent):f}",
                "left": f"{_shown(cap, max(0, cap.amount - spent)):f}",
                "renews_at": iso_time(since_ms + DAY_MS),
            }
        )
    return found


def _facts(cap: DayCap, left: int, renews_at_ms: int) -> dict[str, str | None]:
    """What a refusal says of a cap; amounts are text, so that no digit is lost."""
    return {
        "cap": f"{_shown(cap, cap.amount):f}",
        "left": f"{_shown(cap, max(left, 0)):f}",
        "unit": cap.unit,
        "scope": cap.scope,
        "renews_at": iso_time(renews_at_ms),
    }


def _amount_of(cap: DayCap, credits: int, cost: ExpectedCost | None) -> int:
    if cap.unit == CREDITS:
        return credits
    return cost.money.micros if cost is not None and cost.money.currency == cap.unit else 0


def _shown(cap: DayCap, amount: int) -> Decimal:
    return Decimal(amount) if cap.unit == CREDITS else decimal_of_micros(amount)
