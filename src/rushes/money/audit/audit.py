"""The audit: every promise about credits, tasks and batches, checked against the stored rows.

One transaction that reads one moment's state and writes nothing. Ledgers are replayed from nothing, and
tables are walked side by side, so memory holds one account's lots or one batch at a time, besides what
is reported.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from rushes.domain.notation import iso_time
from rushes.domain.task import ID_OF_ANOTHER_ATTEMPT, SUBMIT_OUTCOME_UNKNOWN
from rushes.money.audit.batches import check_batches
from rushes.money.audit.folds import check_folds
from rushes.money.audit.heads import LedgerHead, check_heads, ledger_heads
from rushes.money.audit.ledger_replay import replay_ledgers
from rushes.money.audit.violations import Findings, Violation
from rushes.money.audit.violations import ViolationCode as Code
from rushes.store import audit_queries
from rushes.store.connections.integrity import distrust_indexes
from rushes.store.connections.snapshot import begin_snapshot
from rushes.store.tables import guards


@dataclass(frozen=True, slots=True)
class UnconfirmedSubmit:
    """An attempt that the provider may have accepted without our hearing of it.

    `state` is `held` while it may still be found, then `refunded` or `resubmitted`, as the operator's
    policy decided; `since_ms` is when it became that (epoch milliseconds). `contested_id` is the remote id
    that the provider gave it, where the id belongs to another attempt.
    """

    batch_id: str
    item_index: int
    attempt: int
    since_ms: int
    state: str
    contested_id: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The JSON form; `since` is ISO 8601 in UTC. A contested id comes with its `reason`."""
        contested = {"reason": ID_OF_ANOTHER_ATTEMPT, "contested_id": self.contested_id}
        return {
            "batch_id": self.batch_id,
            "item_index": self.item_index,
            "attempt": self.attempt,
            "since": iso_time(self.since_ms),
            "state": self.state,
            **(contested if self.contested_id is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was looked at and what was found. `accounts`, `batches` and `tasks` are counts.

    Unconfirmed submits are no violations: they are kept by the books, and listed because each may be a
    video that was paid for and never delivered. `ledger_heads` are for a later audit to compare with.
    """

    accounts: int
    batches: int
    tasks: int
    unconfirmed_submits: tuple[UnconfirmedSubmit, ...]
    violations: tuple[Violation, ...]
    ledger_heads: tuple[LedgerHead, ...] = ()
    folded_batches: int = 0
    folded_tasks: int = 0

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return not self.violations

    def as_dict(self) -> dict[str, object]:
        """The JSON form: `ok, accounts, batches, tasks, unconfirmed_submits, violations, ledger_heads`."""
        return {
            "ok": self.ok,
            "accounts": self.accounts,
            "batches": self.batches,
            "tasks": self.tasks,
            "folded_batches": self.folded_batches,
            "folded_tasks": self.folded_tasks,
            "unconfirmed_submits": [submit.as_dict() for submit in self.unconfirmed_submits],
            "violations": [violation.as_dict() for violation in self.violations],
            "ledger_heads": [head.as_dict() for head in self.ledger_heads],
        }


def audit(
    connection: Connection,
    earlier: Sequence[LedgerHead] = (),
    *,
    trusted_keys: Collection[str] | None = None,
) -> AuditReport:
    """Check everything; call it as the first and only function of a reading transaction.

    The heads of an `earlier` report must still be in the ledgers. Folds must be signed with one of the
    `trusted_keys` (hex); None takes the key that each carries.
    A database that lacks columns, or holds values of the wrong type, is reported as such and not replayed:
    nothing could be said about sums of them.
    """
    begin_snapshot(connection)
    distrust_indexes(connection)
    found = Findings()
    for fault in guards.missing_columns(connection):
        found.add(Code.GUARD_MISSING, fault)
    if found.violations:
        return AuditReport(0, 0, 0, (), tuple(found.violations))
    for fault in guards.missing_guards(connection):
        found.add(Code.GUARD_MISSING, fault)
    for fault in guards.damage(connection):
        found.add(Code.DATABASE_DAMAGED, fault)
    is_damaged = any(violation.code is Code.DATABASE_DAMAGED for violation in found.violations)
    try:
        return _rows_checked(connection, earlier, trusted_keys, found)
    except DBAPIError:
        if not is_damaged:
            raise
        return AuditReport(0, 0, 0, (), tuple(found.violations))  # what is damaged cannot be read to its end


def _rows_checked(
    connection: Connection,
    earlier: Sequence[LedgerHead],
    trusted_keys: Collection[str] | None,
    found: Findings,
) -> AuditReport:
    if _add_row_faults(guards.unreadable_values(connection), Code.VALUE_UNREADABLE, found):
        return AuditReport(0, 0, 0, (), tuple(found.violations))
    _add_row_faults(guards.repeated_keys(connection), Code.ROW_NOT_UNIQUE, found)
    _add_row_faults(guards.broken_references(connection), Code.REFERENCE_BROKEN, found)
    folds = check_folds(connection, found, trusted_keys)
    account_count = replay_ledgers(connection, found, folds)
    batch_count, task_count = check_batches(connection, found)
    _check_remote_ids(connection, found)
    check_heads(connection, earlier, found)
    unconfirmed = unconfirmed_submits(connection)
    heads = ledger_heads(connection)
    return AuditReport(
        account_count,
        batch_count,
        task_count,
        unconfirmed,
        tuple(found.violations),
        heads,
        folds.batches,
        folds.items,
    )


def unconfirmed_submits(
    connection: Connection, *, provider: str | None = None
) -> tuple[UnconfirmedSubmit, ...]:
    """Every attempt, of this provider if one is given, whose submission was never confirmed."""
    rows = audit_queries.unconfirmed_submits(connection, error=SUBMIT_OUTCOME_UNKNOWN, provider=provider)
    return tuple(UnconfirmedSubmit(*tuple(row)) for row in rows)


def _add_row_faults(faults: Iterator[guards.RowFault], code: Code, found: Findings) -> bool:
    any_fault = False
    for fault in faults:
        any_fault = True
        key = ", ".join(f"{name} = {_shown(value)}" for name, value in fault.key.items())
        found.add(code, f"{fault.table} ({key}): {fault.message}")
    return any_fault


def _shown(value: Any) -> str:
    """A key's value for a one-line message, whatever somebody has stored there."""
    return repr(value)[:100]


def _check_remote_ids(connection: Connection, found: Findings) -> None:
    for row in audit_queries.repeated_remote_ids(connection):
        found.add(
            Code.REMOTE_TASK_TWICE,
            f"attempt {row.attempt} carries {row.provider}'s task {row.remote_task_id!r}, as does another",
            batch_id=row.batch_id,
            item_index=row.item_index,
        )
