"""Credits: balances, ledger entries, and the proof that a batch's add up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from rushes.domain.credits import EntryType
from rushes.domain.notation import iso_time
from rushes.read.scope import OPERATOR, Scope, Span
from rushes.read.views import item_id
from rushes.store import batches, ledger
from rushes.store.tables import schema

ACCOUNTS_MAX: Final = 500
"""Accounts that the list of accounts shows."""

LOTS_SHOWN_MAX: Final = 50
"""Lots that a balance names; the others are counted."""


def balance(connection: Connection, account: str, *, now_ms: int) -> dict[str, Any]:
    """`available, reserved, total, lots` of an account; credits past their expiry count as gone.

    The lots are those that are spent next, at most `LOTS_SHOWN_MAX`, the oldest first; there are
    `further_lots` beside them, with `further_credits` in them.
    """
    account_id = ledger.account_id(connection, account)
    held = connection.scalar(select(schema.accounts.c.held).where(schema.accounts.c.id == account_id)) or 0
    available = ledger.available_credits(connection, account_id, now_ms)
    shown = ledger.next_lots(connection, account_id, limit=LOTS_SHOWN_MAX, now_ms=now_ms)
    further = 0
    if len(shown) == LOTS_SHOWN_MAX:
        further = max(0, ledger.count_lots(connection, account_id, now_ms) - len(shown))
    return {
        "account": account,
        "available": available,
        "reserved": held,
        "total": available + held,
        "lots": [
            {"kind": lot.kind.value, "remaining": lot.remaining, "expires_at": iso_time(lot.expires_at_ms)}
            for lot in sorted(shown, key=lambda lot: lot.lot_id)
        ],
        "further_lots": further,
        # where a batch was accepted in between, what was available before it
        "further_credits": max(0, available - sum(lot.remaining for lot in shown)) if further else 0,
    }


@dataclass(frozen=True, slots=True)
class LedgerFilter:
    """Which entries are asked for; times are epoch milliseconds, from (included) to (excluded)."""

    account: str | None = None
    batch_id: str | None = None
    type: EntryType | None = None
    from_ms: int | None = None
    to_ms: int | None = None


def ledger_page(
    connection: Connection, scope: Scope, wanted: LedgerFilter, *, limit: int, offset: int
) -> tuple[list[dict[str, Any]], int]:
    """Entries, newest first, and how many there are in all. Raises `NotFound`."""
    conditions = _conditions(connection, scope, wanted)
    if wanted == LedgerFilter(wanted.account):
        total = _count_all(connection, scope, wanted.account)
    else:
        count = select(func.count()).select_from(schema.ledger_entries).where(*conditions)
        total = int(connection.scalar(count) or 0)
    return _entries(connection, conditions, Span(limit, offset)), total


def ledger_entries(
    connection: Connection, scope: Scope, wanted: LedgerFilter, *, limit: int = 100, offset: int = 0
) -> list[dict[str, Any]]:
    """The same without counting them."""
    return _entries(connection, _conditions(connection, scope, wanted), Span(limit, offset))


def entries_of_item(
    connection: Connection, batch_id: int, task_ids: Sequence[int], *, limit: int
) -> list[dict[str, Any]]:
    """The entries of the tasks of one of a batch's items, newest first."""
    c = schema.ledger_entries.c
    # by the batch alone they are found: of its account there may be millions
    return _entries(connection, [c.batch_id == batch_id, c.task_id.in_(task_ids)], Span(limit))


def _count_all(connection: Connection, scope: Scope, account: str | None) -> int:
    """How many entries there are of an account, or of all, by their numbers: counting millions takes long.

    They are numbered without a gap, from the first that is not folded away.
    """
    accounts, folds = schema.accounts, schema.folds
    folded = select(func.max(folds.c.ledger_through_seq)).where(folds.c.account_id == accounts.c.id)
    kept = accounts.c.ledger_seq - func.coalesce(folded.scalar_subquery(), 0)
    conditions = [scope.includes(accounts.c.id)]
    if account is not None:
        conditions.append(accounts.c.name == account)
    return int(connection.scalar(select(func.coalesce(func.sum(kept), 0)).where(*conditions)) or 0)


def _conditions(connection: Connection, scope: Scope, wanted: LedgerFilter) -> list[ColumnElement[bool]]:
    c = schema.ledger_entries.c
    conditions = [scope.includes(c.account_id)]
    if wanted.account is not None:
        conditions.append(c.account_id == ledger.account_id(connection, wanted.account))
    if wanted.batch_id is not None:
        conditions.append(c.batch_id == scope.batch_id(connection, wanted.batch_id))
    if wanted.type is not None:
        conditions.append(c.type == wanted.type.value)
    if wanted.from_ms is not None:
        conditions.append(c.created_at_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        conditions.append(c.created_at_ms < wanted.to_ms)
    return conditions


def _entries(
    connection: Connection, conditions: list[ColumnElement[bool]], span: Span
) -> list[dict[str, Any]]:
    entries, tasks, rows = schema.ledger_entries, schema.video_tasks, schema.batches
    query = (
        select(entries, rows.c.public_id, tasks.c.item_index)
        .select_from(
            entries.outerjoin(rows, rows.c.id == entries.c.batch_id).outerjoin(
                tasks, tasks.c.id == entries.c.task_id
            )
        )
        .where(*conditions)
        .order_by(entries.c.seq.desc())
        .limit(span.limit)
        .offset(span.offset)
    )
    return [
        {
            "id": row.seq,
            "type": row.type,
            "delta": row.delta,
            "balance_after": row.balance_after,
            "batch_id": row.public_id,
            "item_id": None if row.item_index is None else item_id(row.public_id, row.item_index),
            "description": row.description,
            "created_at": iso_time(row.created_at_ms),
        }
        for row in connection.execute(query)
    ]


def credit_proof(connection: Connection, scope: Scope, public_id: str) -> dict[str, Any]:
    """A batch's credits, computed from three tables that must agree. Raises `NotFound`.

    `batch`, `ledger` and `lots` each have `reserved, settled, refunded`: what the batch's row says, what
    its ledger entries and its tasks' resolutions add up to, and what was taken from each lot (`lines`).
    `agrees` is whether they are the same, `held` what is neither settled nor refunded yet.
    """
    batch_id = scope.batch_id(connection, public_id)
    row = batches.batch_row(connection, batch_id)
    entry, resolution = schema.ledger_entries.c, schema.task_resolutions.c
    by_type = {
        name: (int(count), int(delta))
        for name, count, delta in connection.execute(
            select(entry.type, func.count(), func.coalesce(func.sum(entry.delta), 0))
            .where(entry.batch_id == batch_id)
            .group_by(entry.type)
        )
    }
    by_kind = {
        kind: (int(count), int(amount))
        for kind, count, amount in connection.execute(
            select(resolution.kind, func.count(), func.coalesce(func.sum(resolution.credits), 0))
            .where(resolution.batch_id == batch_id)
            .group_by(resolution.kind)
        )
    }
    r, lot = schema.batch_reservations, schema.credit_lots
    lines = [
        dict(line)
        for line in connection.execute(
            select(r.c.line, r.c.lot_id, lot.c.kind, r.c.reserved, r.c.settled, r.c.refunded)
            .join_from(r, lot, lot.c.id == r.c.lot_id)
            .where(r.c.batch_id == batch_id)
            .order_by(r.c.line)
        ).mappings()
    ]
    names = ("reserved", "settled", "refunded")
    of_batch = {name: int(row[f"credits_{name}"]) for name in names}
    of_ledger = {
        "reserved": -by_type.get("reserve", (0, 0))[1],
        # an entry that settles moves nothing that is available: its amount is its task's resolution
        "settled": by_kind.get("settle", (0, 0))[1],
        "refunded": by_type.get("refund", (0, 0))[1],
    }
    of_lots = {name: sum(line[name] for line in lines) for name in names}
    return {
        "batch": of_batch,
        "ledger": of_ledger,
        "lots": of_lots,
        "lines": lines,
        "held": of_batch["reserved"] - of_batch["settled"] - of_batch["refunded"],
        "is_final": row["finalized_at_ms"] is not None,
        "agrees": of_batch == of_ledger == of_lots
        and of_batch["refunded"] == by_kind.get("refund", (0, 0))[1],
        "entry_count": sum(count for count, _ in by_type.values()),
        "resolution_count": sum(count for count, _ in by_kind.values()),
    }


def account_list(connection: Connection) -> list[dict[str, Any]]:
    """Accounts by name: `account, available, held, entry_count`; at most `ACCOUNTS_MAX`."""
    c = schema.accounts.c
    rows = connection.execute(
        select(c.name, c.available, c.held, c.ledger_seq).order_by(c.name).limit(ACCOUNTS_MAX)
    )
    return [
        {"account": row.name, "available": row.available, "held": row.held, "entry_count": row.ledger_seq}
        for row in rows
    ]


def account_in_full(connection: Connection, account: str, *, entries: Span, now_ms: int) -> dict[str, Any]:
    """All that an account's page shows: `balance, entries, entry_count`. Raises `NotFound`."""
    c = schema.accounts.c
    count = connection.scalar(select(c.ledger_seq).where(c.name == account))
    return {
        "balance": balance(connection, account, now_ms=now_ms),
        "entries": ledger_entries(
            connection, OPERATOR, LedgerFilter(account), limit=entries.limit, offset=entries.offset
        ),
        "entry_count": int(count or 0),
    }


def account_row_id(connection: Connection, account: str) -> int:
    """The row of an account, for a transaction that spends its credits. Raises `NotFound`."""
    return ledger.account_id(connection, account)


def account_exists(connection: Connection, account: str) -> bool:
    """Whether there is an account of this name."""
    return (
        connection.scalar(select(schema.accounts.c.id).where(schema.accounts.c.name == account)) is not None
    )
