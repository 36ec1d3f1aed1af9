"""Folding: finished batches become a signed summary, and their rows go.

What is folded is audited first, in the same transaction: each batch's books, and the account's ledger from
where the last fold ended. Anything wrong ends it, and nothing is removed.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from rushes.money.audit import folds as summaries
from rushes.money.audit.folds import LINE_FIELDS, Fold, LedgerCheckpoint, LinesHash
from rushes.money.audit.ledger_replay import AccountReplay
from rushes.money.audit.violations import Findings
from rushes.money.statements.signing_key import public_key_hex
from rushes.money.statements.statement import BatchUnsound, Statement, content_hash, statement_of
from rushes.store import audit_queries
from rushes.store.retention import folds

BATCHES_AT_ONCE_MAX = 200
TASKS_AT_ONCE_MAX = 2_000
"""What one transaction folds at most (a larger batch goes alone): settling waits for no more than that."""

ENTRIES_AT_ONCE_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Folded:
    """What one transaction folded; `last_batch_id` is where the next one goes on."""

    batches: int = 0
    tasks: int = 0
    entries: int = 0
    last_batch_id: int = 0


def fold_some(
    connection: Connection,
    account_id: int,
    key: Ed25519PrivateKey,
    *,
    before_ms: int,
    after_batch_id: int = 0,
    now_ms: int,
) -> Folded:
    """Fold the account's next batches that were finalized before then, and of its ledger what they free.

    The ledger goes from its start up to the first entry of a batch that is still there, or of a time
    after `before_ms`. Returns what was folded: nothing when there is nothing left. Raises `BatchUnsound`.
    """
    chosen = folds.foldable_batches(
        connection,
        account_id,
        before_ms=before_ms,
        after_id=after_batch_id,
        batches_max=BATCHES_AT_ONCE_MAX,
        tasks_max=TASKS_AT_ONCE_MAX,
    )
    batch_ids = folds.lock(connection, account_id, chosen, before_ms=before_ms)
    statements = [statement_of(connection, batch_id, now_ms=0) for batch_id in batch_ids]
    lines = [_line(statement) for statement in statements]
    last = folds.last_of(connection, account_id)
    previous = None if last is None else summaries.read(last.document)
    start = LedgerCheckpoint() if previous is None else previous.ledger
    end = _replayed(connection, account_id, start, folding=set(batch_ids), before_ms=before_ms)
    entries = end.through_seq - start.through_seq
    if not lines and not entries:
        return Folded(last_batch_id=chosen[-1] if chosen else 0)
    name = audit_queries.account(connection, account_id).name
    digest = LinesHash()
    for line in lines:
        digest.add(line)
    fold = Fold(
        format=summaries.FORMAT,
        account_id=account_id,
        account=name,
        number=1 if previous is None else previous.number + 1,
        previous="" if last is None else summaries.document_hash(last.document),
        folded_at_ms=now_ms,
        batches=len(lines),
        items=sum(statement.batch.total_count for statement in statements),
        credits_reserved=sum(statement.totals.reserved for statement in statements),
        credits_settled=sum(statement.totals.settled for statement in statements),
        credits_refunded=sum(statement.totals.refunded for statement in statements),
        batches_hash=digest.hex(),
        ledger=end,
    )
    folds.add(connection, _signed(fold, key), lines)
    if batch_ids:
        folds.remove_batches(connection, batch_ids)
    if entries:
        folds.remove_entries(connection, account_id, after_seq=start.through_seq, through_seq=end.through_seq)
    tasks = sum(len(statement.items) for statement in statements)
    return Folded(len(lines), tasks, entries, chosen[-1] if chosen else 0)


def _signed(fold: Fold, key: Ed25519PrivateKey) -> dict[str, object]:
    """The fold as a row, with its signature."""
    document = summaries.encoded(fold)
    return {
        "account_id": fold.account_id,
        "ledger_through_seq": fold.ledger.through_seq,
        "ledger_hash": fold.ledger.hash,
        "document": document,
        "public_key": public_key_hex(key),
        "signature": summaries.sign(document, key),
        "created_at_ms": fold.folded_at_ms,
    }


def _line(statement: Statement) -> dict[str, object]:
    line = {
        "batch_id": statement.batch.id,
        "account_id": statement.account.id,
        "public_id": statement.batch.batch_id,
        "total_count": statement.batch.total_count,
        "entries_count": len(statement.entries),
        "credits_reserved": statement.totals.reserved,
        "credits_settled": statement.totals.settled,
        "credits_refunded": statement.totals.refunded,
        "finalized_at_ms": statement.batch.finalized_at_ms,
        "statement_hash": content_hash(statement),
    }
    assert tuple(line) == LINE_FIELDS
    return line


def _replayed(
    connection: Connection,
    account_id: int,
    start: LedgerCheckpoint,
    *,
    folding: set[int],
    before_ms: int,
) -> LedgerCheckpoint:
    """The ledger replayed as far as it may go; raises `BatchUnsound` when it does not add up."""
    found = Findings()
    replay = AccountReplay(
        audit_queries.account(connection, account_id),
        audit_queries.lots_of(connection, account_id),
        found,
        start,
    )
    for row in folds.ledger_after(connection, account_id, start.through_seq, limit=ENTRIES_AT_ONCE_MAX):
        if row.created_at_ms >= before_ms or not (row.folds_away or row.batch_id in folding):
            break
        replay.feed(row)
    if found.violations:
        first = found.violations[0]
        raise BatchUnsound(
            f"the ledger of account {first.account} does not add up at entry {first.seq}; run `rushes audit`"
        )
    return replay.checkpoint()
