"""Replaying accounts' ledgers from nothing: numbers, hash chain, amounts, lots and balances.

The replay is written apart from the code that keeps the books (`store.ledger.Book`), so that a mistake
there is not repeated here; it shares only the pure arithmetic of `domain.credits`.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, assert_never

from sqlalchemy import Connection, Row

from rushes.domain import credits as arithmetic
from rushes.domain.credits import (
    EntryType,
    LedgerEntry,
    Lot,
    LotKind,
    Part,
    entry_hash,
)
from rushes.domain.errors import InsufficientCredits
from rushes.money.audit.facts import entry_from_row
from rushes.money.audit.folds import FoldsSeen, LedgerCheckpoint
from rushes.money.audit.violations import Findings
from rushes.money.audit.violations import ViolationCode as Code
from rushes.store import audit_queries
from rushes.store.audit_queries import Grouped


@dataclass(slots=True)
class ReplayedLot:
    """A stored lot, and what its account's ledger makes of it."""

    lot_id: int
    kind: str
    amount: int
    stored: int
    expires_at_ms: int | None
    remaining: int = 0
    granted: bool = False

    def turn(self) -> tuple[bool, int, int]:
        """By what lots are sorted into the order in which they are spent."""
        return arithmetic.turn(self.lot_id, self.expires_at_ms)


def replay_ledgers(connection: Connection, found: Findings, folds: FoldsSeen) -> int:
    """Replay every account's ledger, from its last fold on; returns how many accounts there are."""
    entries = Grouped(audit_queries.entries_by_account(connection))
    lots = Grouped(audit_queries.lots_by_account(connection))
    count = 0
    for account in audit_queries.accounts(connection):
        count += 1
        _report_ownerless(entries.before(account.id), lots.before(account.id), found)
        replay = AccountReplay(account, lots.of(account.id), found, folds.checkpoint(account.id))
        for row in entries.of(account.id):
            replay.feed(row)
        replay.finish()
    _report_ownerless(entries.before(None), lots.before(None), found)
    return count


def _report_ownerless(entries: Iterable[Row[Any]], lots: Iterable[Row[Any]], found: Findings) -> None:
    for row in entries:
        found.add(
            Code.ACCOUNT_UNKNOWN,
            "the entry's account does not exist",
            account=f"#{row.account_id}",
            seq=row.seq,
        )
    for row in lots:
        found.add(Code.ACCOUNT_UNKNOWN, f"lot {row.id} has no account", account=f"#{row.account_id}")


def effect(entry_type: EntryType, amount: int) -> tuple[int, int]:
    """What an entry of this type and amount does to the available and to the held credits."""
    match entry_type:
        case EntryType.RESERVE:
            return -amount, amount
        case EntryType.SETTLE:
            return 0, -amount
        case EntryType.REFUND:
            return amount, -amount
        case EntryType.PURCHASE | EntryType.BONUS:
            return amount, 0
        case EntryType.EXPIRE | EntryType.ADJUST:
            return -amount, 0
        case other:
            assert_never(other)


class AccountReplay:
    """One account's ledger, fed entry by entry in order.

    After a broken link the replay goes on from what is stored, so that each bad row is named once and
    the good ones after it are not.
    """

    def __init__(
        self, account: Row[Any], lots: Iterable[Row[Any]], found: Findings, start: LedgerCheckpoint
    ) -> None:
        self._account = account
        self._name: str = account.name
        self._found = found
        self._lots = {
            row.id: ReplayedLot(row.id, row.kind, row.amount, row.remaining, row.expires_at_ms)
            for row in lots
        }
        self._left: list[ReplayedLot] = []  # with credits left, in the order in which they are spent
        self._seq = start.through_seq
        self._hash = start.hash
        self._linked = True
        self._available = start.available
        self._held = start.held
        # the balance before the next entry: as replayed, or as the last row has it
        self._balances = {start.available}
        self._lots_sound = True
        for lot_id, remaining in start.lots:
            if lot_id in self._lots:
                self._fill(self._lots[lot_id], remaining)
                self._lots[lot_id].granted = True
            else:
                self._report(Code.LOT_UNKNOWN, f"the account has no lot {lot_id}", start.through_seq)

    def checkpoint(self) -> LedgerCheckpoint:
        """Where a later replay can go on from."""
        lots = tuple((lot.lot_id, lot.remaining) for lot in self._lots.values() if lot.granted)
        return LedgerCheckpoint(self._seq, self._hash, self._available, self._held, lots)

    def _report(self, code: Code, message: str, seq: int | None) -> None:
        self._found.add(code, message, account=self._name, seq=seq)

    def feed(self, row: Row[Any]) -> None:
        """Check and apply the next entry."""
        if row.seq > self._account.ledger_seq or row.seq <= self._seq:
            self._report(Code.LEDGER_ENTRY_INSERTED, "the account never wrote this entry", row.seq)
            return
        if row.seq > self._seq + 1:
            self._report_missing(self._seq + 1, row.seq - 1)
            self._linked = False
        entry = entry_from_row(row)
        if entry is None:
            self._report(Code.LEDGER_ENTRY_UNREADABLE, "the entry's type or parts make no sense", row.seq)
        else:
            if self._linked and entry_hash(self._hash, entry) != row.hash:
                self._report(
                    Code.LEDGER_ENTRY_ALTERED,
                    "the entry's hash does not follow from its content and the hash before it:"
                    " it was altered, or the one before it was rewritten with a new hash",
                    row.seq,
                )
            self._apply(entry)
        self._seq, self._hash, self._linked = row.seq, row.hash, True

    def _report_missing(self, first: int, last: int) -> None:
        which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
        self._report(Code.LEDGER_ENTRY_MISSING, f"{which} missing from the ledger", first)

    def _apply(self, entry: LedgerEntry) -> None:
        amount = sum(part.amount for part in entry.parts)
        delta, held_delta = effect(entry.type, amount)
        if entry.delta != delta or any(part.amount <= 0 for part in entry.parts):
            self._report(
                Code.ENTRY_AMOUNT_WRONG, f"its parts make a delta of {delta}, not {entry.delta}", entry.seq
            )
        if self._linked and entry.balance_after - delta not in self._balances:
            self._report(
                Code.BALANCE_AFTER_WRONG,
                f"balance_after is {entry.balance_after}, the entries make {self._available + delta}",
                entry.seq,
            )
        self._available += delta
        self._held += held_delta
        self._balances = {self._available, entry.balance_after}
        self._check_subject(entry)
        self._apply_to_lots(entry, amount)

    def _check_subject(self, entry: LedgerEntry) -> None:
        of_batch = entry.type in (EntryType.RESERVE, EntryType.SETTLE, EntryType.REFUND)
        of_task = entry.type in (EntryType.SETTLE, EntryType.REFUND)
        if of_batch != (entry.batch_id is not None) or of_task != (entry.task_id is not None):
            self._report(
                Code.ENTRY_SUBJECT_WRONG,
                f"a {entry.type} entry names {'a' if of_batch else 'no'} batch and"
                f" {'a' if of_task else 'no'} task",
                entry.seq,
            )

    # --- lots -----------------------------------------------------------------------------------------

    def _apply_to_lots(self, entry: LedgerEntry, amount: int) -> None:
        unknown = [part.lot_id for part in entry.parts if part.lot_id not in self._lots]
        if unknown:
            self._lots_sound = False
            self._report(Code.LOT_UNKNOWN, f"the account has no lot {unknown[0]}", entry.seq)
            return
        match entry.type:
            case EntryType.RESERVE:
                self._check_reserve(entry, amount)
                self._move(entry, -1)
            case EntryType.SETTLE:
                pass  # kept credits left their lot when they were reserved
            case EntryType.REFUND:
                self._move(entry, 1)
            case EntryType.PURCHASE | EntryType.BONUS:
                self._check_grant(entry)
                self._move(entry, 1)
            case EntryType.EXPIRE:
                self._check_expiry(entry)
                self._move(entry, -1)
            case EntryType.ADJUST:
                self._move(entry, -1)
            case other:
                assert_never(other)

    def _move(self, entry: LedgerEntry, sign: int) -> None:
        for part in entry.parts:
            lot = self._lots[part.lot_id]
            self._fill(lot, sign * part.amount)
            if lot.remaining < 0:
                self._lots_sound = False
                self._report(Code.LOT_OVERDRAWN, f"lot {lot.lot_id} does not hold that many", entry.seq)
            elif lot.remaining > lot.amount:
                self._lots_sound = False
                self._report(
                    Code.LOT_OVERFILLED, f"lot {lot.lot_id} gets more than was ever in it", entry.seq
                )

    def _fill(self, lot: ReplayedLot, amount: int) -> None:
        """Put credits into a lot, or take some out (a negative amount)."""
        had_some = lot.remaining > 0
        lot.remaining += amount
        if (lot.remaining > 0) == had_some:
            return
        if had_some:
            del self._left[bisect_left(self._left, lot.turn(), key=ReplayedLot.turn)]
        else:
            insort(self._left, lot, key=ReplayedLot.turn)

    def _lots_for(self, amount: int, now_ms: int) -> Iterator[Lot]:
        """The lots that are spent next, until they hold this amount."""
        for each in self._left:
            kind = LotKind.PERMANENT if each.expires_at_ms is None else LotKind.BONUS
            lot = Lot(each.lot_id, kind, each.remaining, each.expires_at_ms)
            yield lot
            amount -= lot.remaining if lot.is_live(now_ms) else 0
            if amount <= 0:
                return

    def _check_reserve(self, entry: LedgerEntry, amount: int) -> None:
        """The lots as they were then must give the same parts, unless an earlier entry is wrong already."""
        if not self._lots_sound:
            return
        lots = self._lots_for(amount, entry.created_at_ms)
        try:
            expected: list[Part] | None = arithmetic.reserve(lots, amount, entry.created_at_ms)
        except InsufficientCredits:
            expected = None
        if expected is None or tuple(expected) != entry.parts:
            self._report(
                Code.RESERVE_ORDER_WRONG,
                "the reservation does not take what would expire first, or takes what had expired",
                entry.seq,
            )

    def _check_grant(self, entry: LedgerEntry) -> None:
        kind = LotKind.BONUS if entry.type is EntryType.BONUS else LotKind.PERMANENT
        lots = [self._lots[part.lot_id] for part in entry.parts]
        first_time = [(lot.kind, lot.amount) for lot in lots if not lot.granted]
        if first_time != [(kind.value, sum(part.amount for part in entry.parts))]:
            self._report(Code.GRANT_WRONG, "a grant fills one new lot of its kind, once and whole", entry.seq)
        for lot in lots:
            lot.granted = True

    def _check_expiry(self, entry: LedgerEntry) -> None:
        for part in entry.parts:
            lot = self._lots[part.lot_id]
            expired = lot.expires_at_ms is not None and lot.expires_at_ms <= entry.created_at_ms
            if self._lots_sound and (not expired or lot.remaining != part.amount):
                self._report(
                    Code.EXPIRY_WRONG, f"lot {lot.lot_id} is not emptied after its expiry", entry.seq
                )

    # --- the end --------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Compare the replay with the account's head, balances and lots."""
        account = self._account
        if self._seq < account.ledger_seq:
            self._report_missing(self._seq + 1, account.ledger_seq)
        elif self._hash != account.ledger_hash:
            self._report(
                Code.LEDGER_HEAD_WRONG, "the account's ledger_hash is not that of its last entry", self._seq
            )
        for lot in self._lots.values():
            if lot.remaining != lot.stored:
                self._report(
                    Code.LOT_BALANCE_WRONG,
                    f"lot {lot.lot_id} has {lot.stored} credits left, its ledger says {lot.remaining}",
                    None,
                )
            if not lot.granted:
                self._report(Code.LOT_BALANCE_WRONG, f"lot {lot.lot_id} was never granted", None)
        in_lots = sum(lot.stored for lot in self._lots.values())
        for name, stored, what, expected in (
            ("available", account.available, "its ledger says", self._available),
            ("available", account.available, "its lots hold", in_lots),
            ("held", account.held, "its ledger says", self._held),
            ("held", account.held, "its batches hold", account.lines_held),
        ):
            if stored != expected:
                self._report(Code.ACCOUNT_BALANCE_WRONG, f"{name} is {stored}, {what} {expected}", None)
