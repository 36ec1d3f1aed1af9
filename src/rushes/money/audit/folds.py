"""Folds: what a signed summary says, and whether it still says it.

A fold sums up some finished batches of an account, whose rows are gone, and the account's ledger up to an
entry: its hash, the balances there, and what each lot held. Folds of an account are numbered and linked by
hashes, so that none can be left out; their batches stand in `folded_batches`, a line each, whose hash is
signed. The signature is Ed25519 over `SIGNED_PREFIX` and the stored text of the document.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, Row

from rushes.domain.credits import GENESIS_HASH
from rushes.money.audit.violations import Findings
from rushes.money.audit.violations import ViolationCode as Code
from rushes.store.audit_queries import Grouped
from rushes.store.retention import folds as stored

FORMAT = "rushes-fold/1"
SIGNED_PREFIX = b"rushes-fold/1\n"

LINE_FIELDS = (
    "batch_id",
    "account_id",
    "public_id",
    "total_count",
    "entries_count",
    "credits_reserved",
    "credits_settled",
    "credits_refunded",
    "finalized_at_ms",
    "statement_hash",
)
"""What is signed of each folded batch, in this order."""


class LedgerCheckpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account's ledger after entry `through_seq`; `lots` are `[id, credits left]` of those it granted."""

    through_seq: int = 0
    hash: str = GENESIS_HASH
    available: int = 0
    held: int = 0
    lots: tuple[tuple[int, int], ...] = ()


class Fold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signed content. `number` counts the account's folds from 1; `previous` is the last one's hash."""

    format: str
    account_id: int
    account: str
    number: int
    previous: str
    folded_at_ms: int
    batches: int
    items: int
    credits_reserved: int
    credits_settled: int
    credits_refunded: int
    batches_hash: str
    ledger: LedgerCheckpoint


def read(document: str) -> Fold:
    """The fold of a stored document; raises `ValueError`."""
    return msgspec.json.decode(document, type=Fold, strict=True)


def encoded(fold: Fold) -> str:
    """The document's text, which is signed and stored."""
    return msgspec.json.encode(fold).decode()


def document_hash(document: str) -> str:
    """What the next fold of the account names this one by."""
    return hashlib.sha256(document.encode()).hexdigest()


def sign(document: str, key: Ed25519PrivateKey) -> str:
    """The signature, in hex."""
    return key.sign(SIGNED_PREFIX + document.encode()).hex()


class LinesHash:
    """The hash of a fold's batches, taken line by line, by batch."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, line: Any) -> None:
        """A mapping or a row with the `LINE_FIELDS`."""
        self._digest.update(msgspec.json.encode([line[name] for name in LINE_FIELDS]) + b"\n")

    def hex(self) -> str:
        """The hash of the lines so far."""
        return self._digest.hexdigest()


# --- the audit ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class FoldsSeen:
    """What the folds come to: where each account's ledger goes on, how many batches and items are folded."""

    checkpoints: dict[int, LedgerCheckpoint] = field(default_factory=dict)
    batches: int = 0
    items: int = 0
    keys: set[str] = field(default_factory=set)

    def checkpoint(self, account_id: int) -> LedgerCheckpoint:
        """Where the account's stored ledger starts: at nothing, or after its last fold."""
        return self.checkpoints.get(account_id) or LedgerCheckpoint()


def check_folds(connection: Connection, found: Findings, trusted: Collection[str] | None) -> FoldsSeen:
    """Check every fold: its signature, its number and link, its batches, and that nothing of it came back.

    `trusted` are the public keys (hex) that may have signed; None takes any.
    """
    seen = FoldsSeen()
    lines = Grouped(stored.lines_by_fold(connection))
    last: dict[int, tuple[int, str]] = {}
    for row in stored.all_folds(connection):
        for line in lines.before(row.id):
            _line_without_fold(line, found)
        fold = _read(row, found)
        digest, batches, items = LinesHash(), 0, 0
        sums = [0, 0, 0]
        for line in lines.of(row.id):
            digest.add(line._mapping)
            batches, items = batches + 1, items + line.total_count
            sums[0] += line.credits_reserved
            sums[1] += line.credits_settled
            sums[2] += line.credits_refunded
        seen.batches, seen.items = seen.batches + batches, seen.items + items
        if fold is None:
            continue
        _check_signature(row, fold, trusted, found)
        seen.keys.add(row.public_key)
        totals = fold.credits_reserved, fold.credits_settled, fold.credits_refunded
        is_stated = (fold.batches, fold.items, *totals) == (batches, items, *sums)
        if fold.batches_hash != digest.hex() or not is_stated:
            _fault(found, fold, "the batches that it sums up are not those that were signed")
        number, previous = last.get(row.account_id, (0, ""))
        if (fold.number, fold.previous) != (number + 1, previous):
            _fault(found, fold, "the fold before it is missing, or is another one")
        earlier = seen.checkpoint(row.account_id)
        if fold.ledger.through_seq < earlier.through_seq:
            _fault(found, fold, "it ends before the fold that it follows")
        last[row.account_id] = (fold.number, document_hash(row.document))
        seen.checkpoints[row.account_id] = fold.ledger
    for line in lines.before(None):
        _line_without_fold(line, found)
    return seen


def _read(row: Row[Any], found: Findings) -> Fold | None:
    try:
        fold = read(row.document)
    except ValueError as error:
        found.add(Code.FOLD_WRONG, f"fold {row.id} cannot be read: {error}", account=f"#{row.account_id}")
        return None
    columns = (row.account_id, row.ledger_through_seq, row.ledger_hash)
    if fold.format != FORMAT or columns != (fold.account_id, fold.ledger.through_seq, fold.ledger.hash):
        _fault(found, fold, "its columns are not what was signed")
    return fold


def _check_signature(row: Row[Any], fold: Fold, trusted: Collection[str] | None, found: Findings) -> None:
    if trusted is not None and row.public_key not in trusted:
        _fault(
            found,
            fold,
            f"it is signed with the key {row.public_key}, which is not this installation's; if it was, name"
            " it with --key",
        )
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(row.public_key))
        key.verify(bytes.fromhex(row.signature), SIGNED_PREFIX + row.document.encode())
    except (InvalidSignature, ValueError):
        _fault(found, fold, "its signature does not fit: it was changed after it was signed")


def _fault(found: Findings, fold: Fold, message: str) -> None:
    found.add(Code.FOLD_WRONG, f"fold {fold.number}: {message}", account=fold.account)


def _line_without_fold(line: Row[Any], found: Findings) -> None:
    found.add(Code.FOLD_WRONG, "the folded batch belongs to no fold", batch_id=line.public_id)
