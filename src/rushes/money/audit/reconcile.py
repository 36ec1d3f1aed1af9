"""Comparing a provider's bill or export with our books: who was paid for what was never delivered?"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection

from rushes.domain.catalogue.price import decimal_of_micros
from rushes.domain.errors import InputError
from rushes.domain.task import TaskStatus
from rushes.money.audit.audit import UnconfirmedSubmit, unconfirmed_submits
from rushes.store import audit_queries
from rushes.store.connections.snapshot import begin_snapshot

BILL_LINES_MAX = 1_000_000
BILL_BYTES_MAX = 256 * 1024 * 1024
REMOTE_ID_CHARACTERS_MAX = 500

AMOUNT_COLUMNS = ("amount", "credits")
"""What the provider charged, in the provider's own money: the first of these columns that there is."""

ROUNDED_TO_AT_MOST: Final = Decimal("0.01")
"""The coarsest rounding of a bill: an amount written as 1 or 0.5 is exact to a hundredth all the same."""

ROUNDED_TO_AT_LEAST: Final = Decimal("0.000001")
"""Expected costs are kept in millionths."""


class BillStatus(StrEnum):
    """How the bill says that a remote task ended."""

    DELIVERED = "delivered"
    FAILED = "failed"
    OPEN = "open"


STATUS_WORDS: Mapping[str, BillStatus] = MappingProxyType(
    {
        **dict.fromkeys(
            ("succeeded", "success", "successful", "completed", "complete", "delivered", "done", "finished"),
            BillStatus.DELIVERED,
        ),
        **dict.fromkeys(
            ("failed", "failure", "error", "violation", "cancelled", "canceled", "refunded", "rejected"),
            BillStatus.FAILED,
        ),
        **dict.fromkeys(("running", "processing", "pending", "queued", "submitted"), BillStatus.OPEN),
    }
)
"""The words that a bill's `status` column may use, in any case."""


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line of a bill. `amount` is in the provider's money, below 0 for money back; None if untold.

    With `in_credits` it is in the provider's credits, which are no currency.
    """

    remote_task_id: str
    status: BillStatus | None = None
    amount: Decimal | None = None
    line: int | None = None
    in_credits: bool = False

    @property
    def charges(self) -> int:
        """1 if the provider charges for it, -1 for money back; the amount decides, or else the status."""
        if self.amount is not None:
            return (self.amount > 0) - (self.amount < 0)
        return int(self.status in (None, BillStatus.DELIVERED))


# --- reading a bill -------------------------------------------------------------------------------------


def parse_bill(text: str, source: str) -> list[BillLine]:
    """The lines of a CSV bill, separated by commas, semicolons or tabs, with a header line.

    `remote_task_id` is required, `status` and `amount` (or `credits`) are optional, other columns are
    ignored. `source` names the file in errors. Raises `InputError` with the line; blank lines are
    skipped.
    """
    if len(text) > BILL_BYTES_MAX:
        raise InputError(f"a bill has at most {BILL_BYTES_MAX} characters", source=source)
    text = text.removeprefix("\ufeff")
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[BillLine] = []
    columns: dict[str, int] | None = None
    width, in_credits = 0, False
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if columns is None:
                columns, width = _columns(row, source, reader.line_num), len(row)
                in_credits = "amount" in columns and row[columns["amount"]].strip().lower() != "amount"
                continue
            if len(row) != width:
                raise InputError(
                    f"{len(row)} columns, the header has {width}", source=source, line=reader.line_num
                )
            if len(lines) == BILL_LINES_MAX:
                raise InputError(f"a bill has at most {BILL_LINES_MAX} lines", source=source)
            cells = {name: row[index].strip() for name, index in columns.items()}
            lines.append(_bill_line(cells, source, reader.line_num, in_credits=in_credits))
    except csv.Error as error:
        raise InputError(f"not CSV: {error}", source=source, line=reader.line_num) from error
    if columns is None:
        raise InputError("the bill is empty", source=source)
    return lines


def _columns(row: list[str], source: str, line: int) -> dict[str, int]:
    names = [name.strip().lower() for name in row]
    if "remote_task_id" not in names:
        found = ", ".join(name for name in names if name)[:200]
        raise InputError(f"no column remote_task_id, only {found}", source=source, line=line)
    amount = next((name for name in AMOUNT_COLUMNS if name in names), None)
    wanted = {"remote_task_id": "remote_task_id", "status": "status", "amount": amount}
    for name in wanted.values():
        if name is not None and names.count(name) > 1:
            raise InputError("the column occurs twice", source=source, line=line, field=name)
    return {key: names.index(name) for key, name in wanted.items() if name is not None and name in names}


def _bill_line(cells: Mapping[str, str], source: str, line: int, *, in_credits: bool) -> BillLine:
    remote_task_id = cells["remote_task_id"]
    if not remote_task_id or len(remote_task_id) > REMOTE_ID_CHARACTERS_MAX:
        raise InputError(
            f"an id has 1 to {REMOTE_ID_CHARACTERS_MAX} characters",
            source=source,
            line=line,
            field="remote_task_id",
        )
    status: BillStatus | None = None
    word = cells.get("status", "").lower()
    if word:
        status = STATUS_WORDS.get(word)
        if status is None:
            known = ", ".join(sorted(STATUS_WORDS))
            raise InputError(
                f'unknown status "{word[:50]}"; known are {known}', source=source, line=line, field="status"
            )
    amount: Decimal | None = None
    if figure := cells.get("amount", ""):
        try:
            amount = Decimal(figure)
        except InvalidOperation:
            amount = None
        if amount is None or not amount.is_finite():
            raise InputError(f'"{figure[:50]}" is not an amount', source=source, line=line, field="amount")
    return BillLine(remote_task_id, status, amount, line, in_credits)


# --- comparing ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A remote task on which bill and books disagree.

    `our_status` is our task's status, `ended` for an attempt that was given up and submitted again, None
    for an id that we do not know. `bill_lines` are the bill's lines of it, none when it is not billed.
    `amount` is what the bill charges, `provider_cost` what the provider reported when the task ended,
    `expected_cost`, in `cost_currency`, what a video was to cost when its credits were reserved.
    """

    remote_task_id: str
    our_status: str | None
    batch_id: str | None = None
    item_index: int | None = None
    attempt: int | None = None
    credits: int | None = None
    amount: Decimal | None = None
    provider_cost: Decimal | None = None
    expected_cost: Decimal | None = None
    cost_currency: str | None = None
    bill_lines: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The JSON form; amounts and costs are text, so that no digit is lost."""
        return {
            "remote_task_id": self.remote_task_id,
            "our_status": self.our_status,
            "batch_id": self.batch_id,
            "item_index": self.item_index,
            "attempt": self.attempt,
            "credits": self.credits,
            "amount": None if self.amount is None else str(self.amount),
            "provider_cost": None if self.provider_cost is None else str(self.provider_cost),
            "expected_cost": None if self.expected_cost is None else f"{self.expected_cost:f}",
            "cost_currency": self.cost_currency,
            "bill_lines": list(self.bill_lines),
        }


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """A bill compared with our books.

    `billed_not_delivered`: the provider charges for a task that we failed and refunded, or gave up.
    `billed_in_flight`: the same for a task that is still open with us. `billed_unknown`: ids that we never
    saw; each may be one of the `unconfirmed_candidates`, our submissions that were never confirmed.
    `delivered_not_billed`: videos of ours that are not on the bill, or not charged. `billed_twice`: ids
    that the bill charges more than once. `billed_otherwise`: ids for which the bill charges another amount
    than the provider reported when the task ended. `matched` counts the ids that were delivered and billed.

    Where the provider reported no cost, a video's amount is held against the expected one:
    `billed_above_expected` are those that are higher by more than rounding, `compared_with_expected` is how
    many were compared so. `not_compared` counts the amounts of our tasks with which nothing was compared: no
    cost is written down for the model, the bill is in the provider's credits, or the task brought no video.
    """

    provider: str
    bill_lines: int
    matched: int
    compared_with_expected: int
    not_compared: int
    billed_not_delivered: tuple[Discrepancy, ...]
    billed_in_flight: tuple[Discrepancy, ...]
    billed_unknown: tuple[Discrepancy, ...]
    delivered_not_billed: tuple[Discrepancy, ...]
    billed_twice: tuple[Discrepancy, ...]
    billed_otherwise: tuple[Discrepancy, ...]
    billed_above_expected: tuple[Discrepancy, ...]
    unconfirmed_candidates: tuple[UnconfirmedSubmit, ...]

    @property
    def ok(self) -> bool:
        """Whether bill and books agree; a task in flight is no disagreement yet."""
        return not (
            self.billed_not_delivered
            or self.billed_unknown
            or self.delivered_not_billed
            or self.billed_twice
            or self.billed_otherwise
            or self.billed_above_expected
        )

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "ok": self.ok,
            "provider": self.provider,
            "bill_lines": self.bill_lines,
            "matched": self.matched,
            "compared_with_expected": self.compared_with_expected,
            "not_compared": self.not_compared,
            **{
                name: [item.as_dict() for item in getattr(self, name)]
                for name in (
                    "billed_not_delivered",
                    "billed_in_flight",
                    "billed_unknown",
                    "delivered_not_billed",
                    "billed_twice",
                    "billed_otherwise",
                    "billed_above_expected",
                    "unconfirmed_candidates",
                )
            },
        }


class _Billed:
    """What the bill says of one remote id, over all of its lines."""

    __slots__ = ("amount", "charges", "in_credits", "lines", "rounding", "seen")

    def __init__(self) -> None:
        self.lines: list[int] = []
        self.charges = 0
        self.amount: Decimal | None = None
        self.in_credits = False
        self.rounding = Decimal(0)
        self.seen = False

    def add(self, line: BillLine) -> None:
        self.charges += line.charges
        if line.line is not None:
            self.lines.append(line.line)
        if line.amount is not None:
            self.amount = (self.amount or Decimal(0)) + line.amount
            self.in_credits |= line.in_credits
            self.rounding += _rounding(line.amount)

    def discrepancy(self, remote_task_id: str, row: Any = None) -> Discrepancy:
        if row is None:
            return Discrepancy(remote_task_id, None, amount=self.amount, bill_lines=tuple(self.lines))
        return Discrepancy(
            remote_task_id,
            row.status,
            batch_id=row.batch_id,
            item_index=row.item_index,
            attempt=row.attempt,
            credits=row.credits,
            amount=self.amount,
            provider_cost=_told(row),
            expected_cost=_expected(row),
            cost_currency=row.cost_currency,
            bill_lines=tuple(self.lines),
        )


def _told(row: Any) -> Decimal | None:
    """What the provider reported as a task's cost: 60.0 is 60."""
    return None if row.provider_cost is None else Decimal(f"{row.provider_cost:.15g}")


def _expected(row: Any) -> Decimal | None:
    """What a video was to cost in `cost_currency`; None for what brought none."""
    if row.status != TaskStatus.SUCCEEDED.value or row.expected_cost_micros is None:
        return None
    return decimal_of_micros(row.expected_cost_micros)


def _rounding(amount: Decimal) -> Decimal:
    """By how much an amount, as it is written, may be rounded up: half of its last digit."""
    last_digit = Decimal(1).scaleb(int(amount.as_tuple().exponent))
    return max(min(last_digit, ROUNDED_TO_AT_MOST), ROUNDED_TO_AT_LEAST) / 2


class _Amounts:
    """What the bill charges for tasks of ours, held against what they cost or were to cost."""

    def __init__(self) -> None:
        self.otherwise: list[Discrepancy] = []
        self.above: list[Discrepancy] = []
        self.with_expected = 0
        self.not_compared = 0

    def compare(self, billed: _Billed, row: Any) -> None:
        reported, expected = _told(row), _expected(row)
        if billed.amount is None:
            return
        if reported is not None:
            if billed.amount != reported:
                self.otherwise.append(billed.discrepancy(row.remote_task_id, row))
        elif expected is None or billed.in_credits:
            self.not_compared += 1
        else:
            self.with_expected += 1
            if billed.amount > expected + billed.rounding:
                self.above.append(billed.discrepancy(row.remote_task_id, row))


def reconcile(
    connection: Connection,
    rows: Iterable[BillLine],
    *,
    provider: str,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> ReconcileReport:
    """Compare a provider's bill with the attempts that we made there.

    `since_ms` and `until_ms` (epoch milliseconds, the end excluded) tell which videos the bill should
    have, by the time of their completion; without them, all. Memory grows with the bill, not with the
    database. Call it as the first function of a reading transaction.
    """
    begin_snapshot(connection)
    bill: dict[str, _Billed] = {}
    line_count = 0
    for line in rows:
        line_count += 1
        bill.setdefault(line.remote_task_id, _Billed()).add(line)
    matched = 0
    not_delivered: list[Discrepancy] = []
    in_flight: list[Discrepancy] = []
    not_billed: list[Discrepancy] = []
    amounts = _Amounts()
    for row in audit_queries.remote_tasks(connection, provider):
        billed = bill.get(row.remote_task_id)
        charged = billed is not None and billed.charges > 0
        if billed is not None:
            billed.seen = True
            amounts.compare(billed, row)
        if row.status == TaskStatus.SUCCEEDED.value:
            if charged:
                matched += 1
            elif billed is not None or _in_period(row.completed_at_ms, since_ms, until_ms):
                not_billed.append((billed or _Billed()).discrepancy(row.remote_task_id, row))
        elif billed is not None and charged:
            open_with_us = row.status == TaskStatus.PROCESSING.value
            (in_flight if open_with_us else not_delivered).append(billed.discrepancy(row.remote_task_id, row))
    charged_ids = [(key, billed) for key, billed in bill.items() if billed.charges > 0]
    unknown = [billed.discrepancy(key) for key, billed in charged_ids if not billed.seen]
    return ReconcileReport(
        provider=provider,
        bill_lines=line_count,
        matched=matched,
        compared_with_expected=amounts.with_expected,
        not_compared=amounts.not_compared,
        billed_not_delivered=tuple(not_delivered),
        billed_in_flight=tuple(in_flight),
        billed_unknown=tuple(unknown),
        delivered_not_billed=tuple(not_billed),
        billed_twice=tuple(billed.discrepancy(key) for key, billed in charged_ids if billed.charges > 1),
        billed_otherwise=tuple(amounts.otherwise),
        billed_above_expected=tuple(amounts.above),
        unconfirmed_candidates=unconfirmed_submits(connection, provider=provider) if unknown else (),
    )


def _in_period(at_ms: int | None, since_ms: int | None, until_ms: int | None) -> bool:
    if at_ms is None:
        return True
    return (since_ms is None or at_ms >= since_ms) and (until_ms is None or at_ms < until_ms)
