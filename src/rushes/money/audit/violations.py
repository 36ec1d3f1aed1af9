"""What an audit can find: one exact name per broken promise, and the row that breaks it."""

from dataclasses import dataclass
from enum import StrEnum

VIOLATIONS_MAX = 10_000
"""Violations that one report lists; the last one then says that there are more."""


class ViolationCode(StrEnum):
    """The broken promises, by the part of the books they stand in."""

    # --- an account's ledger: `account` and `seq` name the entry
    LEDGER_ENTRY_MISSING = "LEDGER_ENTRY_MISSING"
    LEDGER_ENTRY_INSERTED = "LEDGER_ENTRY_INSERTED"
    LEDGER_ENTRY_ALTERED = "LEDGER_ENTRY_ALTERED"
    LEDGER_ENTRY_REWRITTEN = "LEDGER_ENTRY_REWRITTEN"
    LEDGER_ENTRY_UNREADABLE = "LEDGER_ENTRY_UNREADABLE"
    LEDGER_HEAD_WRONG = "LEDGER_HEAD_WRONG"
    ENTRY_AMOUNT_WRONG = "ENTRY_AMOUNT_WRONG"
    ENTRY_SUBJECT_WRONG = "ENTRY_SUBJECT_WRONG"
    BALANCE_AFTER_WRONG = "BALANCE_AFTER_WRONG"
    RESERVE_ORDER_WRONG = "RESERVE_ORDER_WRONG"
    GRANT_WRONG = "GRANT_WRONG"
    EXPIRY_WRONG = "EXPIRY_WRONG"
    LOT_UNKNOWN = "LOT_UNKNOWN"
    LOT_OVERDRAWN = "LOT_OVERDRAWN"
    LOT_OVERFILLED = "LOT_OVERFILLED"
    # --- an account's balances
    LOT_BALANCE_WRONG = "LOT_BALANCE_WRONG"
    ACCOUNT_BALANCE_WRONG = "ACCOUNT_BALANCE_WRONG"
    ACCOUNT_UNKNOWN = "ACCOUNT_UNKNOWN"
    # --- a batch
    RESERVATION_ORDER_WRONG = "RESERVATION_ORDER_WRONG"
    RESERVATION_OVERDRAWN = "RESERVATION_OVERDRAWN"
    RESERVATION_WRONG = "RESERVATION_WRONG"
    BATCH_CREDITS_WRONG = "BATCH_CREDITS_WRONG"
    BATCH_COUNTS_WRONG = "BATCH_COUNTS_WRONG"
    BATCH_STATUS_WRONG = "BATCH_STATUS_WRONG"
    BATCH_NOT_FINALIZED = "BATCH_NOT_FINALIZED"
    BATCH_FINALIZED_EARLY = "BATCH_FINALIZED_EARLY"
    BATCH_EVENTS_WRONG = "BATCH_EVENTS_WRONG"
    BATCH_UNKNOWN = "BATCH_UNKNOWN"
    # --- a task: `batch_id` and `item_index` name it
    TASK_NOT_RESOLVED = "TASK_NOT_RESOLVED"
    TASK_RESOLVED_EARLY = "TASK_RESOLVED_EARLY"
    TASK_RESOLVED_TWICE = "TASK_RESOLVED_TWICE"
    TASK_RESOLUTION_WRONG = "TASK_RESOLUTION_WRONG"
    TASK_ENTRY_MISSING = "TASK_ENTRY_MISSING"
    TASK_ENTRY_WRONG = "TASK_ENTRY_WRONG"
    TASK_ENTRY_TWICE = "TASK_ENTRY_TWICE"
    TASK_ENTRY_UNRESOLVED = "TASK_ENTRY_UNRESOLVED"
    TASK_STATE_WRONG = "TASK_STATE_WRONG"
    TASK_UNKNOWN = "TASK_UNKNOWN"
    ITEM_MISSING = "ITEM_MISSING"
    ITEM_ROWS_WRONG = "ITEM_ROWS_WRONG"
    REMOTE_TASK_TWICE = "REMOTE_TASK_TWICE"
    # --- what was folded away
    FOLD_WRONG = "FOLD_WRONG"
    """A signed summary of folded batches was altered, is missing, or does not fit what is left."""
    # --- the database itself
    GUARD_MISSING = "GUARD_MISSING"
    """A trigger, index, constraint or column that guards the books is not there."""
    ROW_NOT_UNIQUE = "ROW_NOT_UNIQUE"
    """Two rows have a key that only one may have."""
    REFERENCE_BROKEN = "REFERENCE_BROKEN"
    """A row names another that is not there."""
    VALUE_UNREADABLE = "VALUE_UNREADABLE"
    """A value is of a type that its column does not have; nothing further can be checked."""
    DATABASE_DAMAGED = "DATABASE_DAMAGED"
    """SQLite's own check finds the file damaged."""
    # --- the report
    TOO_MANY_VIOLATIONS = "TOO_MANY_VIOLATIONS"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise.

    `account` is the account's name, `batch_id` the batch's public id, `item_index` the item's place in
    it and `seq` the number of the entry in the account's ledger: whatever of these names the row.
    """

    code: ViolationCode
    message: str
    account: str | None = None
    batch_id: str | None = None
    item_index: int | None = None
    seq: int | None = None

    def as_dict(self) -> dict[str, object]:
        """The JSON form: `code`, `message` and those of the names that there are."""
        names = {
            "account": self.account,
            "batch_id": self.batch_id,
            "item_index": self.item_index,
            "seq": self.seq,
        }
        known = {key: value for key, value in names.items() if value is not None}
        return {"code": self.code.value, "message": self.message, **known}


class Findings:
    """The violations found so far, at most `VIOLATIONS_MAX` of them kept."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def add(
        self,
        code: ViolationCode,
        message: str,
        *,
        account: str | None = None,
        batch_id: str | None = None,
        item_index: int | None = None,
        seq: int | None = None,
    ) -> None:
        """Note a violation."""
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(code, message, account, batch_id, item_index, seq))
        elif len(self.violations) == VIOLATIONS_MAX:
            self.violations.append(
                Violation(
                    ViolationCode.TOO_MANY_VIOLATIONS,
                    f"there are more than {VIOLATIONS_MAX} violations; the rest is not listed",
                )
            )
