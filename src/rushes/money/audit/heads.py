"""The heads of the ledgers, kept outside of the database: what no later report can talk away.

Whoever owns a database can rewrite a ledger's last entries, or remove an account, so that everything in it
agrees again. An earlier report that lies elsewhere names each account's last entry and its hash, which
stands for all entries before it: those must still be there.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from rushes.domain.errors import InputError
from rushes.domain.notation import iso_time
from rushes.money.audit.violations import Findings
from rushes.money.audit.violations import ViolationCode as Code
from rushes.store import audit_queries
from rushes.store.retention import folds

FORMAT = "rushes-ledger-heads/1"

EARLIER_REPORT_BYTES_MAX = 256 * 1024 * 1024


class LedgerHead(msgspec.Struct, frozen=True):
    """An account's last ledger entry: its number, 0 for an empty ledger, and its hash."""

    account_id: int
    account: str
    seq: int
    hash: str

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        return msgspec.structs.asdict(self)


class _Report(msgspec.Struct):
    ledger_heads: list[LedgerHead]


def ledger_heads(connection: Connection) -> tuple[LedgerHead, ...]:
    """Every account's head as its row has it, by id."""
    return tuple(
        LedgerHead(row.id, row.name, row.ledger_seq, row.ledger_hash)
        for row in audit_queries.accounts(connection)
    )


def encoded_heads(heads: Sequence[LedgerHead], *, now_ms: int) -> bytes:
    """The heads as a file that `read_heads` reads, to be anchored and kept."""
    document = {
        "format": FORMAT,
        "at": iso_time(now_ms),
        "ledger_heads": [head.as_dict() for head in heads],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def is_heads(data: bytes) -> bool:
    """Whether it is such a file, or a report of `rushes audit --json`, and no statement."""
    try:
        read_heads(data, "")
    except InputError:
        return False
    return True


def read_heads(report: bytes, source: str) -> list[LedgerHead]:
    """The heads in an earlier report of `rushes audit --json`; raises `InputError` naming the `source`."""
    if len(report) > EARLIER_REPORT_BYTES_MAX:
        raise InputError(f"{source} is larger than {EARLIER_REPORT_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(report, type=_Report).ledger_heads
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{source} is no report of `rushes audit --json`: {error}") from None


def check_heads(connection: Connection, earlier: Sequence[LedgerHead], found: Findings) -> None:
    """Report what an earlier report had and the ledgers no longer have."""
    present = {head.account_id for head in ledger_heads(connection)} if earlier else set()
    for head in earlier:
        if head.account_id not in present:
            found.add(
                Code.ACCOUNT_UNKNOWN,
                f"the account had a ledger of {head.seq} entries, and no longer exists",
                account=head.account,
            )
            continue
        stored = audit_queries.entry_hash_of(connection, head.account_id, head.seq) if head.seq else head.hash
        if stored is None and head.seq <= folds.folded_through(connection, head.account_id):
            stored = folds.hash_at(connection, head.account_id, head.seq)
            if stored is None:
                continue  # between the ends of two folds, which are signed: there is nothing to compare
        if stored is None:
            found.add(
                Code.LEDGER_ENTRY_MISSING,
                "the ledger had this entry in the earlier report",
                account=head.account,
                seq=head.seq,
            )
        elif stored != head.hash:
            found.add(
                Code.LEDGER_ENTRY_REWRITTEN,
                "this entry, or one before it, is not the one of the earlier report",
                account=head.account,
                seq=head.seq,
            )
