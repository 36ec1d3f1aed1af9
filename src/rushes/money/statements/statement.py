"""A signed statement of one batch, which anybody can verify without the database.

The file is one JSON object: `statement` (the content), `public_key` and `signature` (hex, Ed25519,
RFC 8032). What is signed is `SIGNED_PREFIX` followed by `statement` as JSON with sorted keys, no spaces
and no escapes that JSON does not demand, in UTF-8; so it may be indented at will. All its numbers are
integers. It carries the batch's ledger entries with all that their hashes are made of, so that they can
be recomputed, and it tells the account's balances at those entries: give it to whom it concerns.
"""

import hashlib
import json
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from rushes.domain.credits import GENESIS_HASH, LedgerEntry, entry_hash
from rushes.domain.errors import RushesError
from rushes.money.audit.batches import check_batch
from rushes.money.audit.facts import (
    ResolutionFacts,
    batch_from_row,
    entry_from_row,
    lines_from_rows,
    resolutions_from_rows,
    tasks_from_rows,
)
from rushes.money.audit.violations import Findings
from rushes.money.statements.signing_key import public_key_hex
from rushes.store import audit_queries
from rushes.store.batches import batch_row_id
from rushes.store.connections.snapshot import begin_snapshot

FORMAT = "rushes-batch-statement/1"
SIGNED_PREFIX = b"rushes-batch-statement/1\n"


class BatchUnsound(RushesError):
    """The batch's books do not add up, so no statement of them is signed; `rushes audit` names the rows."""

    code = "BATCH_UNSOUND"


class StatedPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credits of one lot."""

    lot_id: int
    amount: int


class StatedAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose batch it is; the id is part of what its hashes are made of."""

    id: int
    name: str


class StatedBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The batch as stored; `id` is its row, `batch_id` its public name."""

    id: int
    batch_id: str
    status: str
    total_count: int
    pending_count: int
    processing_count: int
    succeeded_count: int
    failed_count: int
    created_at_ms: int
    cancelled_at_ms: int | None
    completed_at_ms: int | None
    finalized_at_ms: int | None


class StatedTotals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The batch's credits: reserved = settled + refunded + held."""

    reserved: int
    settled: int
    refunded: int
    held: int


class StatedLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the batch reserved from one lot, in the order in which it was taken."""

    line: int
    lot_id: int
    reserved: int
    settled: int
    refunded: int


class StatedResolution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outcome of a task's credits: `settle` (kept) or `refund` (given back)."""

    kind: str
    attempt: int
    credits: int


class StatedItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One try of an item; of an item that was retried, every try is there."""

    index: int
    retry_number: int
    is_current: bool
    task_id: int
    custom_id: str | None
    model: str
    status: str
    attempt: int
    credits: int
    error: str | None
    failure_type: str | None
    completed_at_ms: int | None
    resolution: StatedResolution | None


class StatedEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ledger entry of the batch, and the hash of the entry before it in the account."""

    seq: int
    type: str
    delta: int
    balance_after: int
    task_id: int | None
    parts: list[StatedPart]
    description: str
    created_at_ms: int
    previous_hash: str
    hash: str


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signed content."""

    format: str
    issued_at_ms: int
    account: StatedAccount
    batch: StatedBatch
    totals: StatedTotals
    reservation: list[StatedLine]
    items: list[StatedItem]
    entries: list[StatedEntry]


# --- making one -----------------------------------------------------------------------------------------


def make_statement(
    connection: Connection, batch_public_id: str, key: Ed25519PrivateKey, *, now_ms: int
) -> bytes:
    """The signed statement of a batch as it is now, finalized or not.

    Raises `NotFound`, or `BatchUnsound` when the batch's rows contradict each other. Call it as the first
    function of a reading transaction.
    """
    begin_snapshot(connection)
    statement = statement_of(connection, batch_row_id(connection, batch_public_id), now_ms=now_ms)
    content = msgspec.to_builtins(statement)
    envelope = {
        "public_key": public_key_hex(key),
        "signature": key.sign(signed_bytes(content)).hex(),
        "statement": content,
    }
    return (json.dumps(envelope, ensure_ascii=False, indent=1) + "\n").encode()


def content_hash(statement: Statement) -> str:
    """SHA-256 (hex) of all that a statement says, but not of when it was issued."""
    content = msgspec.to_builtins(msgspec.structs.replace(statement, issued_at_ms=0))
    return hashlib.sha256(signed_bytes(content)).hexdigest()


def statement_of(connection: Connection, batch_id: int, *, now_ms: int) -> Statement:
    """What there is to be stated of the batch of that row; raises `BatchUnsound`."""
    (row,) = audit_queries.batches(connection, batch_id)
    task_rows = list(audit_queries.tasks(connection, batch_id))
    lines = lines_from_rows(audit_queries.reservation_lines(connection, batch_id))
    resolutions = resolutions_from_rows(audit_queries.resolutions(connection, batch_id))
    entry_rows = list(audit_queries.entries_by_batch(connection, batch_id))
    entries = [entry for entry in map(entry_from_row, entry_rows) if entry is not None]
    batch = batch_from_row(row)
    found = Findings()
    check_batch(
        batch,
        lines=lines,
        tasks=tasks_from_rows(task_rows),
        resolutions=resolutions,
        entries=entries,
        found=found,
    )
    before = {row.seq: row.hash for row in audit_queries.entries_before(connection, batch_id)}
    sound = len(entries) == len(entry_rows) and all(
        entry_hash(before.get(entry.seq, GENESIS_HASH), entry) == entry_row.hash
        for entry, entry_row in zip(entries, entry_rows, strict=False)
    )
    if not sound or found.violations:
        raise BatchUnsound(f"the books of batch {batch.public_id} do not add up; run `rushes audit`")
    resolution_of = {resolution.task_id: resolution for resolution in resolutions}
    names = {field for field in StatedBatch.__struct_fields__ if field != "batch_id"}
    return Statement(
        format=FORMAT,
        issued_at_ms=now_ms,
        account=StatedAccount(batch.account_id, batch.account),
        batch=StatedBatch(batch_id=batch.public_id, **{name: getattr(row, name) for name in names}),
        totals=StatedTotals(
            reserved=batch.credits_reserved,
            settled=batch.credits_settled,
            refunded=batch.credits_refunded,
            held=batch.credits_reserved - batch.credits_settled - batch.credits_refunded,
        ),
        reservation=[StatedLine(r.line, r.lot_id, r.reserved, r.settled, r.refunded) for r in lines],
        items=[_item(task, resolution_of.get(task.id)) for task in task_rows],
        entries=[
            _entry(entry, entry_row.hash, before.get(entry.seq, GENESIS_HASH))
            for entry, entry_row in zip(entries, entry_rows, strict=True)
        ],
    )


def _item(row: Any, resolution: ResolutionFacts | None) -> StatedItem:
    return StatedItem(
        index=row.item_index,
        retry_number=row.retry_number,
        is_current=row.is_current == 1,
        task_id=row.id,
        custom_id=row.custom_id,
        model=row.model,
        status=row.status,
        attempt=row.attempt,
        credits=row.credits,
        error=row.error,
        failure_type=row.failure_type,
        completed_at_ms=row.completed_at_ms,
        resolution=None
        if resolution is None
        else StatedResolution(resolution.kind, resolution.attempt, resolution.credits),
    )


def _entry(entry: LedgerEntry, its_hash: str, previous_hash: str) -> StatedEntry:
    return StatedEntry(
        seq=entry.seq,
        type=entry.type.value,
        delta=entry.delta,
        balance_after=entry.balance_after,
        task_id=entry.task_id,
        parts=[StatedPart(part.lot_id, part.amount) for part in entry.parts],
        description=entry.description,
        created_at_ms=entry.created_at_ms,
        previous_hash=previous_hash,
        hash=its_hash,
    )


def signed_bytes(content: Any) -> bytes:
    """The bytes that are signed. Raises `ValueError` for text that UTF-8 has no form for."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return SIGNED_PREFIX + text.encode()
