"""Bugs of credits: lots, reservations, refunds, acceptance."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from rushes.domain import credits  # noqa: A004 - the module, as everywhere
from rushes.domain.credits import Lot, Part, Reservation, ResolutionKind
from rushes.money import accept
from rushes.money import retry as retries
from rushes.store import ledger
from simulation.bugs.bug import Bug
from simulation.tempo import Patches


def _lot_order_wrong(patches: Patches) -> None:
    def permanent_first(lots: Iterable[Lot], now_ms: int) -> list[Lot]:
        live = [lot for lot in lots if lot.remaining > 0 and lot.is_live(now_ms)]
        return sorted(live, key=lambda lot: (lot.expires_at_ms is not None, lot.lot_id))

    patches.set(credits, "consumption_order", permanent_first)


def _expired_lot_spent(patches: Patches) -> None:
    patches.set(credits, "consumption_order", lambda lots, _now_ms: sorted(lots, key=_by_expiry))
    patches.set(ledger, "_IS_LIVE", " AND :now > 0")
    patches.set(ledger, "expire_lots", lambda _connection, _now_ms, **_more: 0)


def _by_expiry(lot: Lot) -> tuple[bool, int, int]:
    return (lot.expires_at_ms is None, lot.expires_at_ms or 0, lot.lot_id)


def _refund_from_the_front(patches: Patches) -> None:
    def refund(self: Reservation, amount: int) -> list[Part]:
        self._open.reverse()
        try:
            return self._resolve(amount, ResolutionKind.REFUND)
        finally:
            self._open.reverse()

    patches.set(Reservation, "refund", refund)


def _bonus_made_permanent(patches: Patches) -> None:
    refund = Reservation.refund

    def to_the_newest_lot(self: Reservation, amount: int) -> list[Part]:
        parts = refund(self, amount)
        return [Part(max(line.lot_id for line in self.lines), sum(part.amount for part in parts))]

    patches.set(Reservation, "refund", to_the_newest_lot)


def _retry_without_reservation(patches: Patches) -> None:
    patches.set(retries, "reserve", lambda *_arguments, **_more: None)


def _request_id_ignored(patches: Patches) -> None:
    accept_batch, numbers = accept.accept_batch, itertools.count()

    def accept_always(connection: Connection, request: accept.BatchRequest, **more: Any) -> Any:
        number = next(numbers)
        more["public_id"] = f"{more['public_id']}_{number}"
        return accept_batch(connection, replace(request, request_id=str(number)), **more)

    patches.set(accept, "accept_batch", accept_always)


BUGS = (
    Bug("lot order wrong", "permanent credits are spent before a bonus that expires", _lot_order_wrong),
    Bug("expired lot spent", "expired bonus credits are still reserved", _expired_lot_spent),
    Bug("refund from the front", "a refund unwinds the reservation from its start", _refund_from_the_front),
    Bug("refund to another lot", "a refund goes to the newest lot of the batch", _bonus_made_permanent),
    Bug("retry without reservation", "a failed item is retried for free", _retry_without_reservation),
    Bug("request id ignored", "a request that is sent twice makes two batches", _request_id_ignored),
)
