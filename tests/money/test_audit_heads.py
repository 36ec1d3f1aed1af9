"""An earlier report that lies elsewhere names what was taken out so that all in the database still agrees."""

from collections.abc import Sequence

import msgspec
import pytest

from rushes.domain.errors import InputError
from rushes.money.audit.audit import audit
from rushes.money.audit.heads import LedgerHead, read_heads
from rushes.store.database import Database
from tests.books import Books
from tests.money.audited import Named, audited, audited_books, named
from tests.tampering import read_tampered

LAST_PURCHASE_UNDONE = (
    "DELETE FROM ledger_entries WHERE account_id = 2 AND seq = 4",
    "DELETE FROM credit_lots WHERE account_id = 2 AND amount = 7",
    "UPDATE accounts SET available = available - 7, ledger_seq = 3, ledger_hash ="
    " (SELECT hash FROM ledger_entries WHERE account_id = 2 AND seq = 3) WHERE id = 2",
)
ACCOUNT_REMOVED = (
    "DELETE FROM ledger_entries WHERE account_id = 3",
    "DELETE FROM credit_lots WHERE account_id = 3",
    "DELETE FROM accounts WHERE id = 3",
)


@pytest.fixture
def books(database: Database) -> Books:
    """Those of the other tests, a last purchase of `other` (entry 4), and an account that only bought."""
    made = audited_books(database)
    made.grant(2, 7)
    made.grant(made.account("third"), 50)
    return made


def found(books: Books, earlier: Sequence[LedgerHead], *statements: str) -> set[Named]:
    return named(read_tampered(books.database, statements, lambda connection: audit(connection, earlier)))


def test_what_was_removed_without_a_trace_is_named_by_an_earlier_report(books: Books) -> None:
    earlier = audited(books).ledger_heads
    assert [(head.account, head.seq) for head in earlier] == [("default", 9), ("other", 4), ("third", 1)]
    for statements, missing in (
        (LAST_PURCHASE_UNDONE, ("LEDGER_ENTRY_MISSING", "other", None, None, 4)),
        (ACCOUNT_REMOVED, ("ACCOUNT_UNKNOWN", "third", None, None, None)),
    ):
        assert found(books, (), *statements) == set(), "everything in the database agrees"
        assert found(books, earlier, *statements) == {missing}


def test_what_came_later_is_no_violation(books: Books) -> None:
    earlier = audited(books).ledger_heads
    books.grant(2, 9)
    books.grant(books.account("fourth"), 1)
    assert found(books, earlier) == set()


def test_a_rewritten_ledger_is_named_at_the_earlier_head(books: Books) -> None:
    earlier = [msgspec.structs.replace(head, hash="0" * 64) for head in audited(books).ledger_heads]
    assert found(books, earlier[1:2]) == {("LEDGER_ENTRY_REWRITTEN", "other", None, None, 4)}


def test_heads_are_read_from_a_report_and_nothing_else(books: Books) -> None:
    report = audited(books)
    assert read_heads(msgspec.json.encode(report.as_dict()), "file") == list(report.ledger_heads)
    for content in (b"", b"[]", b"{}", b'{"ledger_heads": [{"account": 1}]}', b"\xff"):
        with pytest.raises(InputError, match="file is no report"):
            read_heads(content, "file")
