"""Credits: lots, the reserve / settle / refund arithmetic, and the ledger's hash chain.

All amounts are whole credits. A reservation takes from the lots that would be lost first (bonus lots,
soonest expiry first, then permanent ones). A settle keeps credits from the front of the reservation, a
refund gives back from its end, so whatever the order of verdicts, failures return what was taken last:
a refund can never turn an expiring bonus into permanent credits.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rushes.domain.errors import InsufficientCredits, MoreThanHeld

CREDITS_MAX = 10**15
"""The largest balance or grant: far under 2**63, so sums of balances fit a 64-bit column."""

GENESIS_HASH = "0" * 64
"""What the first entry of an account's ledger carries as the hash before it."""


class LotKind(StrEnum):
    """`permanent` never expires; `bonus` carries an expiry."""

    PERMANENT = "permanent"
    BONUS = "bonus"


class EntryType(StrEnum):
    """What a ledger entry records."""

    RESERVE = "reserve"
    SETTLE = "settle"
    REFUND = "refund"
    PURCHASE = "purchase"
    BONUS = "bonus"
    EXPIRE = "expire"
    ADJUST = "adjust"


class ResolutionKind(StrEnum):
    """How a task's reserved credits ended: kept for a success, given back for a failure."""

    SETTLE = "settle"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Lot:
    """Credits of one kind and expiry. `remaining` are the available ones; reserved ones have left it."""

    lot_id: int
    kind: LotKind
    remaining: int
    expires_at_ms: int | None

    def is_live(self, now_ms: int) -> bool:
        """Whether the lot may still be spent at `now_ms` (epoch milliseconds)."""
        return self.expires_at_ms is None or now_ms < self.expires_at_ms


@dataclass(frozen=True, slots=True)
class Part:
    """An amount of credits of one lot."""

    lot_id: int
    amount: int


def consumption_order(lots: Iterable[Lot], now_ms: int) -> list[Lot]:
    """The live lots, those first that would be lost first: by expiry, permanent last, older first."""
    live = [lot for lot in lots if lot.remaining > 0 and lot.is_live(now_ms)]
    return sorted(live, key=lambda lot: turn(lot.lot_id, lot.expires_at_ms))


def turn(lot_id: int, expires_at_ms: int | None) -> tuple[bool, int, int]:
    """By what lots are sorted into the order in which they are spent."""
    return expires_at_ms is None, expires_at_ms or 0, lot_id


def reserve(lots: Iterable[Lot], amount: int, now_ms: int) -> list[Part]:
    """Take `amount` credits from the lots, in consumption order.

    Raises `InsufficientCredits` with nothing taken when the live lots do not hold that many.
    """
    ordered = consumption_order(lots, now_ms)
    available = sum(lot.remaining for lot in ordered)
    if amount > available:
        raise InsufficientCredits(required=amount, available=available)
    parts: list[Part] = []
    missing = amount
    for lot in ordered:
        if missing == 0:
            break
        taken = min(lot.remaining, missing)
        parts.append(Part(lot.lot_id, taken))
        missing -= taken
    return parts


class ReservationLine:
    """The part of a batch's reservation that came from one lot; `is_changed` since it was read."""

    __slots__ = ("is_changed", "line", "lot_id", "refunded", "reserved", "settled")

    def __init__(self, line: int, lot_id: int, reserved: int, settled: int = 0, refunded: int = 0) -> None:
        self.line, self.lot_id = line, lot_id
        self.reserved, self.settled, self.refunded = reserved, settled, refunded
        self.is_changed = False

    @property
    def held(self) -> int:
        """Credits of this line that are neither kept nor given back yet."""
        return self.reserved - self.settled - self.refunded


class Reservation:
    """A batch's reserved credits, line by line in the order in which they were taken.

    `held` are those still held for tasks without a verdict. What is used up lies at the two ends: settling
    takes from the front, refunding from the end.
    """

    __slots__ = ("_open", "held", "lines")

    def __init__(self, lines: Iterable[ReservationLine] = ()) -> None:
        self.lines: list[ReservationLine] = []
        self.held = 0
        self._open: deque[ReservationLine] = deque()
        self.add(lines)

    def add(self, lines: Iterable[ReservationLine]) -> None:
        """Append lines that were taken later."""
        for line in lines:
            self.lines.append(line)
            if line.held:
                self.held += line.held
                self._open.append(line)

    def settle(self, amount: int) -> list[Part]:
        """Keep `amount` credits, from the front. The parts say which lots they were taken from.

        Raises `MoreThanHeld`, as `refund` does.
        """
        return self._resolve(amount, ResolutionKind.SETTLE)

    def refund(self, amount: int) -> list[Part]:
        """Give `amount` credits back, from the end: the reservation is unwound in reverse order."""
        return self._resolve(amount, ResolutionKind.REFUND)

    def _resolve(self, amount: int, kind: ResolutionKind) -> list[Part]:
        if amount > self.held:
            raise MoreThanHeld(f"{kind} of {amount} credits, {amount - self.held} more than are held")
        self.held -= amount
        parts: list[Part] = []
        is_settled = kind is ResolutionKind.SETTLE
        while amount:
            line = self._open[0 if is_settled else -1]
            held = line.held
            part = min(held, amount)
            if is_settled:
                line.settled += part
            else:
                line.refunded += part
            line.is_changed = True
            parts.append(Part(line.lot_id, part))
            amount -= part
            if part == held:
                self._open.popleft() if is_settled else self._open.pop()
        return parts


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One append-only line of an account's ledger.

    `delta` and `balance_after` speak of available credits, so a settle has delta 0; `parts` name the lots
    and always carry positive amounts, whose direction follows from `type` (and the sign of `delta`).
    """

    account_id: int
    seq: int
    type: EntryType
    delta: int
    balance_after: int
    batch_id: int | None
    task_id: int | None
    parts: tuple[Part, ...]
    description: str
    created_at_ms: int


def encode_parts(parts: Iterable[Part]) -> str:
    """The stored form of an entry's parts: `[[lot_id,amount],…]`."""
    return "[" + ",".join(f"[{part.lot_id},{part.amount}]" for part in parts) + "]"


def decode_parts(text: str) -> tuple[Part, ...]:
    """The inverse of `encode_parts`."""
    return tuple(Part(lot_id, amount) for lot_id, amount in json.loads(text))


_encode = json.JSONEncoder(separators=(",", ":")).encode


def entry_hash(previous_hash: str, entry: LedgerEntry) -> str:
    """SHA-256 (hex) over the hash before it and every field of the entry, as one JSON array.

    Changing, removing, adding or reordering an entry changes every later hash of the account.
    """
    return chained_hash(
        previous_hash,
        entry.account_id,
        entry.seq,
        entry.type,
        entry.delta,
        entry.balance_after,
        entry.batch_id,
        entry.task_id,
        encode_parts(entry.parts),
        entry.description,
        entry.created_at_ms,
    )


def chained_hash(previous_hash: str, *fields: str | int | None) -> str:
    """`entry_hash` of an entry's fields in their order, with its parts encoded."""
    return hashlib.sha256(_encode([previous_hash, *fields]).encode()).hexdigest()
