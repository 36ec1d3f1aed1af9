"""A second, independent bookkeeping: credits as they must be, compared with the tables after each commit.

Every ledger entry is replayed here when it is written. Which lots an entry may name follows from the
promises alone (what would be lost first is taken first, a refund unwinds the reservation from its end),
written down again rather than imported, so that a mistake in `rushes.domain.credits` is seen.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from simulation.truth.broken import broken
from simulation.truth.journal import BatchRow, EntryRow


@dataclass(slots=True)
class Lot:
    """A credit lot."""

    lot_id: int
    account_id: int
    kind: str
    amount: int
    expires_at_ms: int | None
    remaining: int = 0
    stored: int = 0


@dataclass(slots=True)
class Account:
    """An account; `stored` is the last row seen: available, held, ledger_seq."""

    available: int = 0
    held: int = 0
    seq: int = 0
    stored: tuple[int, int, int] = (0, 0, 0)
    lots: dict[int, Lot] = field(default_factory=dict)


@dataclass(slots=True)
class Line:
    """A line of a reservation; `stored` is the last row seen."""

    lot_id: int
    reserved: int
    settled: int = 0
    refunded: int = 0
    stored: tuple[int, int, int, int] | None = None

    @property
    def held(self) -> int:
        """Credits neither kept nor given back."""
        return self.reserved - self.settled - self.refunded


@dataclass(slots=True)
class Batch:
    """A batch. `counts` and `open_credits` follow from its tasks, the credits from its entries."""

    account_id: int
    row: BatchRow
    counts: dict[str, int] = field(
        default_factory=lambda: {"pending": 0, "processing": 0, "succeeded": 0, "failed": 0}
    )
    open_credits: int = 0
    reserved: int = 0
    settled: int = 0
    refunded: int = 0
    lines: list[Line] = field(default_factory=list)
    event_seq: int = 0


class Books:
    """Accounts, lots, reservations and batches, as they must be."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.lots: dict[int, Lot] = {}
        self.batches: dict[int, Batch] = {}
        self.entries = 0
        self._touched_accounts: set[int] = set()
        self._touched_batches: set[int] = set()

    # --- rows as they come from the journal ---------------------------------------------------------

    def account_row(self, row: tuple[Any, ...]) -> None:
        """A row of `accounts`."""
        self.accounts.setdefault(row[0], Account()).stored = (row[1], row[2], row[3])
        self._touched_accounts.add(row[0])

    def lot_row(self, row: tuple[Any, ...]) -> None:
        """A row of `credit_lots`: only what remains of it may ever change."""
        lot = self.lots.get(row[0])
        if lot is None:
            lot = Lot(row[0], row[1], row[2], row[3], row[5])
            self.lots[lot.lot_id] = self.accounts[lot.account_id].lots[lot.lot_id] = lot
        elif (lot.account_id, lot.kind, lot.amount, lot.expires_at_ms) != (row[1], row[2], row[3], row[5]):
            broken("LOT_CHANGED", f"lot {row[0]} became {row[1:]}")
        lot.stored = row[4]
        self._touched_accounts.add(lot.account_id)

    def batch_row(self, row: tuple[Any, ...]) -> None:
        """A row of `batches`."""
        stored = BatchRow(*row)
        batch = self.batches.get(stored.id)
        if batch is None:
            self.batches[stored.id] = Batch(stored.account_id, stored)
        else:
            batch.row = stored
        self._touched_batches.add(stored.id)

    def line_row(self, row: tuple[Any, ...]) -> None:
        """A row of `batch_reservations`."""
        batch_id, line, *rest = row
        lines = self.batches[batch_id].lines
        if not 0 <= line < len(lines):
            broken("RESERVATION_WITHOUT_ENTRY", f"batch {batch_id} has a line {line} that no entry made")
        lines[line].stored = (rest[0], rest[1], rest[2], rest[3])
        self._touched_batches.add(batch_id)

    def task_counted(self, batch_id: int, before: str | None, after: str, credits: int) -> None:
        """A task of the batch has another status than before (None: it is new)."""
        batch = self.batches[batch_id]
        was_open = before in ("pending", "processing")
        is_open = after in ("pending", "processing")
        if before is not None:
            batch.counts[before] -= 1
        batch.counts[after] += 1
        batch.open_credits += credits * (is_open - was_open)
        self._touched_batches.add(batch_id)

    def task_replaced(self, batch_id: int) -> None:
        """A failed task of the batch is tried again: its new row counts instead of it."""
        self.batches[batch_id].counts["failed"] -= 1
        self._touched_batches.add(batch_id)

    def event_row(self, row: tuple[Any, ...]) -> None:
        """A row of `batch_events`: numbered without a gap."""
        batch = self.batches[row[0]]
        batch.event_seq += 1
        if row[1] != batch.event_seq:
            broken("EVENT_OUT_OF_ORDER", f"batch {row[0]} got event {row[1]} after {batch.event_seq - 1}")
        self._touched_batches.add(row[0])

    # --- ledger entries -----------------------------------------------------------------------------

    def entry(self, row: tuple[Any, ...]) -> EntryRow:
        """Replay a ledger entry."""
        entry = EntryRow(*row)
        self.entries += 1
        account = self.accounts[entry.account_id]
        account.seq += 1
        if entry.seq != account.seq:
            broken("LEDGER_GAP", f"account {entry.account_id} got entry {entry.seq}, not {account.seq}")
        parts = [(int(lot_id), int(amount)) for lot_id, amount in json.loads(entry.parts)]
        if any(amount <= 0 or self.lots[lot_id].account_id != entry.account_id for lot_id, amount in parts):
            broken("PARTS_WRONG", f"entry {entry.seq} of account {entry.account_id}: {entry.parts}")
        amount = sum(amount for _, amount in parts)
        delta = self._replay(entry, account, parts, amount)
        account.available += delta
        if entry.delta != delta or entry.balance_after != account.available:
            broken(
                "BALANCE_WRONG",
                f"entry {entry.seq} ({entry.type}) of account {entry.account_id} says {entry.delta} →"
                f" {entry.balance_after}, it is {delta} → {account.available}",
            )
        self._touched_accounts.add(entry.account_id)
        if entry.batch_id is not None:
            self._touched_batches.add(entry.batch_id)
        return entry

    def _replay(self, entry: EntryRow, account: Account, parts: list[tuple[int, int]], amount: int) -> int:
        match entry.type:
            case "purchase" | "bonus":
                [(lot_id, _)] = parts
                lot = self.lots[lot_id]
                if lot.remaining or amount != lot.amount or (entry.type == "bonus") != (lot.kind == "bonus"):
                    broken("GRANT_WRONG", f"entry {entry.seq} fills lot {lot_id} as {entry.type}")
                lot.remaining = amount
                return amount
            case "expire":
                for lot_id, part in parts:
                    lot = self.lots[lot_id]
                    late = lot.expires_at_ms is not None and lot.expires_at_ms <= entry.created_at_ms
                    if not late or part != lot.remaining:
                        broken("EXPIRY_WRONG", f"lot {lot_id} lost {part} of {lot.remaining}")
                    lot.remaining = 0
                return -amount
            case "reserve":
                return self._reserve(entry, account, parts, amount)
            case "settle" | "refund":
                return self._resolve(entry, account, parts, amount)
            case _:
                broken("ENTRY_TYPE_WRONG", f"entry {entry.seq} is a {entry.type}")

    def _reserve(self, entry: EntryRow, account: Account, parts: list[tuple[int, int]], amount: int) -> int:
        now_ms = entry.created_at_ms
        live = [
            lot
            for lot in account.lots.values()
            if lot.remaining and (lot.expires_at_ms is None or lot.expires_at_ms > now_ms)
        ]
        never = 2**63
        live.sort(key=lambda lot: (lot.expires_at_ms or never, lot.lot_id))
        expected, missing = [], amount
        for lot in live:
            taken = min(missing, lot.remaining)
            if taken:
                expected.append((lot.lot_id, taken))
            missing -= taken
        if missing or parts != expected:
            broken("RESERVE_ORDER_WRONG", f"entry {entry.seq} took {parts}, to be lost first are {expected}")
        assert entry.batch_id is not None
        batch = self.batches[entry.batch_id]
        for lot_id, part in parts:
            self.lots[lot_id].remaining -= part
            batch.lines.append(Line(lot_id, part))
        batch.reserved += amount
        account.held += amount
        return -amount

    def _resolve(self, entry: EntryRow, account: Account, parts: list[tuple[int, int]], amount: int) -> int:
        assert entry.batch_id is not None
        batch = self.batches[entry.batch_id]
        is_refund = entry.type == "refund"
        expected, missing = [], amount
        for line in reversed(batch.lines) if is_refund else batch.lines:
            part = min(missing, line.held)
            if not part:
                continue
            missing -= part
            expected.append((line.lot_id, part))
            if is_refund:
                line.refunded += part
                self.lots[line.lot_id].remaining += part
            else:
                line.settled += part
        if missing or parts != expected:
            broken(
                "UNWIND_ORDER_WRONG", f"the {entry.type} of task {entry.task_id} is {parts}, not {expected}"
            )
        account.held -= amount
        if is_refund:
            batch.refunded += amount
            return amount
        batch.settled += amount
        return 0

    # --- after a commit -----------------------------------------------------------------------------

    def check_touched(self) -> None:
        """Compare everything that this commit touched."""
        for account_id in sorted(self._touched_accounts):
            self.check_account(account_id)
        for batch_id in sorted(self._touched_batches):
            self.check_batch(batch_id)
        self._touched_accounts.clear()
        self._touched_batches.clear()

    def check_account(self, account_id: int) -> None:
        """The sum of the ledger is the balance, and the lots hold it."""
        account = self.accounts[account_id]
        if account.stored != (account.available, account.held, account.seq):
            expected = (account.available, account.held, account.seq)
            broken("ACCOUNT_WRONG", f"account {account_id} has {account.stored}, its ledger {expected}")
        for lot in account.lots.values():
            if lot.stored != lot.remaining:
                broken("LOT_WRONG", f"lot {lot.lot_id} has {lot.stored}, its entries {lot.remaining}")
        if sum(lot.remaining for lot in account.lots.values()) != account.available:
            broken("ACCOUNT_WRONG", f"account {account_id}: its lots do not sum to {account.available}")

    def check_batch(self, batch_id: int) -> None:
        """Promise 1, the counters, and that a batch is closed exactly when it is complete."""
        batch = self.batches[batch_id]
        row, counts = batch.row, batch.counts
        credits = (batch.reserved, batch.settled, batch.refunded)
        if (row.reserved, row.settled, row.refunded) != credits:
            broken("BATCH_CREDITS_WRONG", f"batch {batch_id}: {row}, its entries say {credits}")
        if batch.reserved != batch.settled + batch.refunded + batch.open_credits:
            broken("PROMISE_1", f"batch {batch_id}: {credits}, tasks still open hold {batch.open_credits}")
        for number, line in enumerate(batch.lines):
            if line.stored != (line.lot_id, line.reserved, line.settled, line.refunded):
                broken("RESERVATION_WRONG", f"batch {batch_id}, line {number}: {line.stored}, not {line}")
        counted = (counts["pending"], counts["processing"], counts["succeeded"], counts["failed"])
        if (row.pending, row.processing, row.succeeded, row.failed) != counted or row.total != sum(counted):
            broken("COUNTERS_WRONG", f"batch {batch_id}: {row}, its tasks are {counted}")
        if row.event_seq != batch.event_seq:
            broken("EVENT_MISSING", f"batch {batch_id}: event_seq {row.event_seq}, not {batch.event_seq}")
        is_complete = counts["pending"] + counts["processing"] == 0
        if is_complete != (row.finalized_at_ms is not None):
            broken("FINALIZED_WRONG", f"batch {batch_id} with tasks {counted}: {row.finalized_at_ms}")
        if is_complete and row.status != self._final_status(row):
            broken("BATCH_STATUS_WRONG", f"batch {batch_id} with tasks {counted} is {row.status}")

    @staticmethod
    def _final_status(row: BatchRow) -> str:
        if row.cancelled_at_ms is not None:
            return "cancelled"
        if not row.failed:
            return "succeeded"
        return "partial" if row.succeeded else "failed"

    def check_all(self) -> None:
        """Compare everything."""
        for account_id in self.accounts:
            self.check_account(account_id)
        for batch_id in self.batches:
            self.check_batch(batch_id)
