"""Verifying a signed statement: offline, and against a ledger that should still hold what was stated."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection

from rushes.domain.credits import GENESIS_HASH, EntryType, LedgerEntry, Part, entry_hash
from rushes.domain.errors import InputError
from rushes.money.audit.batches import check_batch
from rushes.money.audit.facts import BatchFacts, ResolutionFacts, StoredLine, TaskFacts
from rushes.money.audit.violations import Findings, Violation, ViolationCode
from rushes.money.statements.statement import (
    FORMAT,
    StatedEntry,
    StatedItem,
    Statement,
    content_hash,
    signed_bytes,
)
from rushes.store import audit_queries
from rushes.store.connections.snapshot import begin_snapshot
from rushes.store.retention import folds

STATEMENT_BYTES_MAX = 256 * 1024 * 1024
"""The largest statement that is read."""


@dataclass(frozen=True, slots=True)
class StatementCheck:
    """What verifying a statement showed. `ok` only without `problems`.

    Without `pinned` only self-consistency was checked: anybody can make a consistent statement and sign
    it with a key of their own. `reserved` to `held` are credits, for a statement that could be read.
    """

    problems: tuple[str, ...]
    pinned: bool
    public_key: str | None = None
    account: str | None = None
    batch_id: str | None = None
    issued_at_ms: int | None = None
    finalized: bool | None = None
    reserved: int | None = None
    settled: int | None = None
    refunded: int | None = None
    held: int | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems

    @property
    def note(self) -> str:
        """What the check could and could not show, in one sentence."""
        if not self.ok:
            return "the statement must not be trusted"
        if self.pinned:
            return "the statement is sound and signed with the expected key"
        return (
            "only self-consistency was checked: the statement is sound and signed with the key it carries,"
            " but not compared with the key that you expect"
        )

    def note_beside_ledger(self, *, agrees: bool) -> str:
        """The note of a statement that was compared with a ledger as well."""
        if not self.ok:
            return self.note
        signed = (
            "is signed with the expected key"
            if self.pinned
            else "is signed with the key it carries, which was not compared with the key that you expect"
        )
        verdict = "and agrees" if agrees else "but does not agree"
        return f"the statement is sound, {signed}, {verdict} with this installation's ledger"

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        facts = {name: getattr(self, name) for name in self.__slots__ if name != "problems"}
        return {"ok": self.ok, **facts, "note": self.note, "problems": list(self.problems)}


def verify_statement(data: bytes, public_key: str | None = None) -> StatementCheck:
    """Check a statement's signature, hashes and sums; `public_key` (hex) is the key it must be signed with.

    Whatever the data, the answer is a `StatementCheck`. Raises `InputError` only when `public_key` itself
    is no key.
    """
    if public_key is not None and not _is_hex(public_key, 32):
        raise InputError("a public key is 64 hexadecimal digits", field="public_key")
    expected = None if public_key is None else public_key.lower()
    pinned = expected is not None
    try:
        envelope = _read(data)
        statement = msgspec.convert(envelope["statement"], type=Statement, strict=True)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return StatementCheck((f"this is no statement: {_one_line(error)}",), pinned)
    found = [*_signature_problems(envelope, expected), *_content_problems(statement)]
    return StatementCheck(
        problems=tuple(found),
        pinned=pinned,
        public_key=str(envelope["public_key"]),
        account=statement.account.name,
        batch_id=statement.batch.batch_id,
        issued_at_ms=statement.issued_at_ms,
        finalized=statement.batch.finalized_at_ms is not None,
        reserved=statement.totals.reserved,
        settled=statement.totals.settled,
        refunded=statement.totals.refunded,
        held=statement.totals.held,
    )


def differences_from_ledger(connection: Connection, data: bytes) -> list[Violation]:
    """Entries of a verified statement that the ledger no longer holds, or not as stated.

    A whole ledger can be rewritten with new hashes so that it agrees with itself; it cannot be made to
    agree with a statement that was signed before and kept elsewhere.
    """
    statement = msgspec.convert(_read(data)["statement"], type=Statement, strict=True)
    begin_snapshot(connection)
    found = Findings()
    folded = folds.line_of(connection, statement.batch.batch_id)
    through = folds.folded_through(connection, statement.account.id)
    if folded is not None and folded.statement_hash != content_hash(statement):
        found.add(
            ViolationCode.FOLD_WRONG,
            "the batch was folded away with other content than was stated, or after it had changed",
            account=statement.account.name,
            batch_id=statement.batch.batch_id,
        )
    for entry in statement.entries:
        if folded is not None and entry.seq <= through:
            continue  # its row is gone; the hash of the whole statement has been compared
        if audit_queries.entry_hash_of(connection, statement.account.id, entry.seq) != entry.hash:
            found.add(
                ViolationCode.LEDGER_ENTRY_REWRITTEN,
                "the ledger's entry is not the one that was stated",
                account=statement.account.name,
                batch_id=statement.batch.batch_id,
                seq=entry.seq,
            )
    return found.violations


def _read(data: bytes) -> dict[str, Any]:
    """The envelope as JSON; refuses what two readers could read differently. Raises `ValueError`."""
    if len(data) > STATEMENT_BYTES_MAX:
        raise ValueError(f"it is larger than {STATEMENT_BYTES_MAX} bytes")
    envelope = json.loads(data, object_pairs_hook=_unrepeated, parse_float=_refuse, parse_constant=_refuse)
    if not isinstance(envelope, dict) or set(envelope) != {"public_key", "signature", "statement"}:
        raise ValueError("it has other fields than public_key, signature and statement")
    return envelope


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a field occurs twice")
    return names


def _refuse(number: str) -> NoReturn:
    raise ValueError(f"{number} is not an integer")


def _signature_problems(envelope: dict[str, Any], expected: str | None) -> Iterator[str]:
    public_key, signature = envelope["public_key"], envelope["signature"]
    if not _is_hex(public_key, 32) or not _is_hex(signature, 64):
        yield "the signature or its key is malformed"
        return
    if expected is not None and public_key.lower() != expected:
        yield f"it is signed with the key {public_key}, not with the expected one"
    try:
        signed = signed_bytes(envelope["statement"])
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), signed)
    except (InvalidSignature, ValueError):
        yield "the signature does not fit the content: it was changed after it was signed"


def _content_problems(statement: Statement) -> Iterator[str]:
    if statement.format != FORMAT:
        yield f"its format is {statement.format!r}, not {FORMAT!r}"
    batch, totals = statement.batch, statement.totals
    if totals.reserved != totals.settled + totals.refunded + totals.held or totals.held < 0:
        yield "reserved is not settled + refunded + held"
    if batch.finalized_at_ms is not None and totals.held != 0:
        yield "credits are held although the batch is finalized"
    entries: list[LedgerEntry] = []
    previous: StatedEntry | None = None
    for stated in statement.entries:
        if previous is not None and stated.seq <= previous.seq:
            yield f"entry {stated.seq} is out of order"
        if previous is not None and stated.seq == previous.seq + 1 and stated.previous_hash != previous.hash:
            yield f"entry {stated.seq} is not linked to entry {previous.seq}"
        if stated.seq == 1 and stated.previous_hash != GENESIS_HASH:
            yield "entry 1 is linked to an entry before it"
        previous = stated
        try:
            entry = _ledger_entry(statement, stated)
        except ValueError:
            yield f"entry {stated.seq} is of no known type"
            continue
        if entry_hash(stated.previous_hash, entry) != stated.hash:
            yield f"the hash of entry {stated.seq} does not follow from its content"
        entries.append(entry)
    found = Findings()
    check_batch(
        _batch_facts(statement),
        lines=[
            StoredLine(r.line, r.lot_id, r.reserved, r.settled, r.refunded) for r in statement.reservation
        ],
        tasks=[_task_facts(statement, item) for item in statement.items],
        resolutions=[
            ResolutionFacts(
                item.task_id, item.resolution.attempt, item.resolution.kind, item.resolution.credits
            )
            for item in statement.items
            if item.resolution is not None
        ],
        entries=entries,
        found=found,
    )
    for violation in found.violations:
        place = [
            f"{name} {value}"
            for name, value in (("item", violation.item_index), ("entry", violation.seq))
            if value is not None
        ]
        yield f"{', '.join(place) or 'batch'}: {violation.message}"


def _ledger_entry(statement: Statement, stated: StatedEntry) -> LedgerEntry:
    return LedgerEntry(
        account_id=statement.account.id,
        seq=stated.seq,
        type=EntryType(stated.type),
        delta=stated.delta,
        balance_after=stated.balance_after,
        batch_id=statement.batch.id,
        task_id=stated.task_id,
        parts=tuple(Part(part.lot_id, part.amount) for part in stated.parts),
        description=stated.description,
        created_at_ms=stated.created_at_ms,
    )


def _batch_facts(statement: Statement) -> BatchFacts:
    batch, totals = statement.batch, statement.totals
    return BatchFacts(
        batch_id=batch.id,
        public_id=batch.batch_id,
        account_id=statement.account.id,
        account=statement.account.name,
        status=batch.status,
        total=batch.total_count,
        pending=batch.pending_count,
        processing=batch.processing_count,
        succeeded=batch.succeeded_count,
        failed=batch.failed_count,
        credits_reserved=totals.reserved,
        credits_settled=totals.settled,
        credits_refunded=totals.refunded,
        cancelled=batch.cancelled_at_ms is not None,
        completed=batch.completed_at_ms is not None,
        finalized=batch.finalized_at_ms is not None,
    )


def _task_facts(statement: Statement, item: StatedItem) -> TaskFacts:
    """A statement names neither workers nor videos: of these it says nothing that could be wrong."""
    return TaskFacts(
        task_id=item.task_id,
        account_id=statement.account.id,
        item_index=item.index,
        retry_number=item.retry_number,
        is_current=item.is_current,
        credits=item.credits,
        status=item.status,
        attempt=item.attempt,
        owned=True,
        completed=item.completed_at_ms is not None,
        has_video=item.status == "succeeded",
        has_error=item.error is not None and item.failure_type is not None,
    )


def _is_hex(value: object, byte_count: int) -> bool:
    return (
        isinstance(value, str)
        and len(value) == 2 * byte_count
        and set(value) <= set("0123456789abcdefABCDEF")
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
