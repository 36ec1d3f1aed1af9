"""Every way to falsify a ledger or a lot is found, and the audit names the row."""

import pytest

from rushes.domain.credits import EntryType, LedgerEntry, Part, entry_hash
from rushes.money.audit.violations import ViolationCode as Code
from rushes.store import ledger
from rushes.store.database import Database
from tests.books import Books
from tests.money.audited import Named, audited_books, differences, named, tamper


@pytest.fixture
def books(database: Database) -> Books:
    """Two accounts and three batches; see `audited_books`."""
    return audited_books(database)


# --- the ledger's rows ----------------------------------------------------------------------------------

OF = " WHERE account_id = 1 AND seq = "


def test_an_edited_ledger_entry_is_named_and_only_it_fails_its_hash(books: Books) -> None:
    cases: dict[str, set[Named]] = {
        "description = 'a gift'": set(),
        "created_at_ms = created_at_ms + 1": set(),
        "balance_after = balance_after + 1": {("BALANCE_AFTER_WRONG", "default", None, None, 6)},
        "delta = 1": {("ENTRY_AMOUNT_WRONG", "default", None, None, 6)},
        "parts = '[[1,4]]'": {("TASK_ENTRY_WRONG", "default", "bat_1", 2, 6)},
        "type = 'refund'": {("TASK_ENTRY_WRONG", "default", "bat_1", 2, 6)},
        "task_id = 1": {("TASK_ENTRY_TWICE", "default", "bat_1", 0, 6)},
        "task_id = 777": {("TASK_UNKNOWN", "default", "bat_1", None, 6)},
        "task_id = NULL": {("ENTRY_SUBJECT_WRONG", "default", None, None, 6)},
        "batch_id = 3": {("ENTRY_SUBJECT_WRONG", "#1", "bat_3", None, 6)},
        "batch_id = NULL": {("ENTRY_SUBJECT_WRONG", "default", None, None, 6)},
        "batch_id = 99": {("BATCH_UNKNOWN", "#1", None, None, 6)},
    }
    for change, also in cases.items():
        report = tamper(books, f"UPDATE ledger_entries SET {change}{OF}6")
        assert also <= named(report), change
        altered = [(v.account, v.seq) for v in report.violations if v.code is Code.LEDGER_ENTRY_ALTERED]
        assert altered == [("default", 6)], change


def test_an_edit_that_moves_no_credits_is_named_and_nothing_else_is(books: Books) -> None:
    altered: set[Named] = {("LEDGER_ENTRY_ALTERED", "default", None, None, 6)}
    assert (
        differences(
            books,
            {
                f"UPDATE ledger_entries SET description = 'a gift'{OF}6": altered,
                f"UPDATE ledger_entries SET created_at_ms = 3{OF}6": altered,
                f"UPDATE ledger_entries SET description = 'a gift'{OF}1": {
                    ("LEDGER_ENTRY_ALTERED", "default", None, None, 1)
                },
                "UPDATE ledger_entries SET description = 'a gift' WHERE account_id = 2 AND seq = 3": {
                    ("LEDGER_ENTRY_ALTERED", "other", None, None, 3)
                },
            },
        )
        == {}
    )


def test_an_edited_hash_is_named_with_the_link_that_it_breaks(books: Books) -> None:
    report = tamper(books, f"UPDATE ledger_entries SET hash = 'f' || substr(hash, 2) || 'x'{OF}6")
    assert named(report) == {("LEDGER_ENTRY_ALTERED", "default", None, None, seq) for seq in (6, 7)}


def test_an_unreadable_ledger_entry_is_named(books: Books) -> None:
    for parts in ("nonsense", "[[1]]", "[[1,2.5]]", "{}", "[[1, 10]]", "null", ""):
        report = tamper(books, f"UPDATE ledger_entries SET parts = '{parts}'{OF}6")
        assert ("LEDGER_ENTRY_UNREADABLE", "default", None, None, 6) in named(report), parts


def test_a_deleted_ledger_entry_is_named(books: Books) -> None:
    for seq in (1, 3, 6, 9):
        report = tamper(books, f"DELETE FROM ledger_entries{OF}{seq}")
        missing = [v for v in report.violations if v.code is Code.LEDGER_ENTRY_MISSING]
        assert [(v.account, v.seq) for v in missing] == [("default", seq)]
        assert not [v for v in report.violations if v.code is Code.LEDGER_ENTRY_ALTERED]


def test_the_last_entries_deleted_with_the_head_moved_back_are_still_found(books: Books) -> None:
    report = tamper(
        books,
        "DELETE FROM ledger_entries WHERE account_id = 1 AND seq > 7",
        "UPDATE accounts SET ledger_seq = 7, ledger_hash ="
        " (SELECT hash FROM ledger_entries WHERE account_id = 1 AND seq = 7) WHERE id = 1",
    )
    assert {
        ("TASK_ENTRY_MISSING", "default", "bat_1", 4, None),
        ("BATCH_CREDITS_WRONG", "default", "bat_2", None, None),
        ("ACCOUNT_BALANCE_WRONG", "default", None, None, None),
    } <= named(report)


def test_an_account_without_its_whole_ledger_is_named(books: Books) -> None:
    report = tamper(books, "DELETE FROM ledger_entries WHERE account_id = 1")
    (missing,) = [v for v in report.violations if v.code is Code.LEDGER_ENTRY_MISSING]
    assert (missing.account, missing.seq) == ("default", 1)
    assert "1 to 9" in missing.message


def test_the_ledger_of_a_deleted_account_is_named(books: Books) -> None:
    report = tamper(books, "DELETE FROM accounts WHERE id = 2")
    assert {("ACCOUNT_UNKNOWN", "#2", None, None, seq) for seq in (1, 2, 3)} <= named(report)
    assert any(v.code is Code.REFERENCE_BROKEN for v in report.violations)


def test_an_inserted_ledger_entry_is_named(books: Books) -> None:
    insert = (
        "INSERT INTO ledger_entries (account_id, seq, type, delta, balance_after, parts, description,"
        " created_at_ms, hash) VALUES (1, {}, 'purchase', 500, 2000, '[[2,500]]', '', 1, '{}')"
    )
    cases: dict[str, set[Named]] = {
        insert.format(seq, "0" * 64): {("LEDGER_ENTRY_INSERTED", "default", None, None, seq)}
        for seq in (10, 0, -3, 50)
    }
    assert differences(books, cases) == {}


def test_two_swapped_ledger_entries_are_named(books: Books) -> None:
    move = "UPDATE ledger_entries SET seq = {new} WHERE account_id = 1 AND seq = {old}"
    report = tamper(
        books,
        move.format(old=5, new=-1),
        move.format(old=6, new=5),
        move.format(old=-1, new=6),
    )
    altered = {v.seq for v in report.violations if v.code is Code.LEDGER_ENTRY_ALTERED}
    assert altered == {5, 6, 7}


def test_an_entry_rewritten_together_with_its_hash_is_found_at_the_next_link(books: Books) -> None:
    before = books.row(f"SELECT hash FROM ledger_entries{OF}5")["hash"]
    old = books.row(f"SELECT * FROM ledger_entries{OF}6")
    forged = LedgerEntry(
        1, 6, EntryType.SETTLE, 0, old["balance_after"], 1, old["task_id"], (Part(1, 10),), "gift", 1
    )
    report = tamper(
        books,
        "UPDATE ledger_entries SET description = 'gift', created_at_ms = 1, parts = '[[1,10]]',"
        f" hash = '{entry_hash(before, forged)}'{OF}6",
    )
    assert named(report) == {("LEDGER_ENTRY_ALTERED", "default", None, None, 7)}


def test_an_edited_account_is_named(books: Books) -> None:
    edit = "UPDATE accounts SET {} WHERE name = 'default'"
    balance: Named = ("ACCOUNT_BALANCE_WRONG", "default", None, None, None)
    cases: dict[str, set[Named]] = {
        edit.format("ledger_hash = 'x' || substr(ledger_hash, 2)"): {
            ("LEDGER_HEAD_WRONG", "default", None, None, 9)
        },
        edit.format("ledger_seq = 10"): {("LEDGER_ENTRY_MISSING", "default", None, None, 10)},
        edit.format("ledger_seq = 8"): {
            ("LEDGER_ENTRY_INSERTED", "default", None, None, 9),
            ("LEDGER_HEAD_WRONG", "default", None, None, 8),
            ("LOT_BALANCE_WRONG", "default", None, None, None),
            balance,
        },
        edit.format("available = available + 5"): {balance},
        edit.format("held = held - 1"): {balance},
        edit.format("available = available + 5, held = held - 5"): {balance},
    }
    assert differences(books, cases) == {}


# --- lots -----------------------------------------------------------------------------------------------


def test_edited_lots_are_named(books: Books) -> None:
    report = tamper(books, "UPDATE credit_lots SET remaining = remaining - 1 WHERE id = 2")
    assert named(report) == {
        ("LOT_BALANCE_WRONG", "default", None, None, None),
        ("ACCOUNT_BALANCE_WRONG", "default", None, None, None),
    }
    assert any("lot 2 has" in v.message for v in report.violations)


def test_credits_moved_from_one_lot_to_another_are_named(books: Books) -> None:
    books.grant(books.account(), 10)
    report = tamper(
        books,
        "UPDATE credit_lots SET remaining = remaining - 1 WHERE id = 4",
        "UPDATE credit_lots SET remaining = remaining + 1 WHERE id = 2",
    )
    assert [v.message for v in report.violations] == [
        "lot 2 has 980 credits left, its ledger says 979",
        "lot 4 has 9 credits left, its ledger says 10",
    ]


def test_an_entry_that_takes_or_gives_more_than_its_lot_has_is_named(books: Books) -> None:
    report = tamper(books, f"UPDATE ledger_entries SET parts = '[[1,50]]'{OF}3")
    assert ("LOT_OVERDRAWN", "default", None, None, 3) in named(report)
    report = tamper(books, f"UPDATE ledger_entries SET parts = '[[1,31]]', delta = 31{OF}5")
    assert ("LOT_OVERFILLED", "default", None, None, 5) in named(report)


def test_a_lot_moved_to_another_account_is_named(books: Books) -> None:
    report = tamper(books, "UPDATE credit_lots SET account_id = 2 WHERE id = 1")
    assert ("LOT_UNKNOWN", "default", None, None, 1) in named(report)
    assert ("LOT_BALANCE_WRONG", "other", None, None, None) in named(report)


def test_a_lot_that_no_ledger_granted_is_named(books: Books) -> None:
    report = tamper(
        books,
        "INSERT INTO credit_lots (id, account_id, kind, amount, remaining, created_at_ms)"
        " VALUES (77, 1, 'permanent', 5, 0, 1)",
    )
    assert [(v.code, v.message) for v in report.violations] == [
        (Code.LOT_BALANCE_WRONG, "lot 77 was never granted")
    ]


def test_bonus_credits_made_permanent_are_named(books: Books) -> None:
    report = tamper(books, "UPDATE credit_lots SET kind = 'permanent', expires_at_ms = NULL WHERE id = 1")
    assert named(report) == {("GRANT_WRONG", "default", None, None, 1)}


def test_a_bonus_whose_expiry_was_postponed_is_named_by_the_order_of_reserving(books: Books) -> None:
    books.grant(books.account(), 5, expires_at_ms=40_000)
    books.grant(books.account(), 5, expires_at_ms=45_000)
    books.accept(books.account(), [8], name="bat_4")  # empties the lot that expires at 40 s first
    report = tamper(books, "UPDATE credit_lots SET expires_at_ms = 90000 WHERE expires_at_ms = 40000")
    assert named(report) == {("RESERVE_ORDER_WRONG", "default", None, None, 12)}


def test_credits_expired_before_their_time_are_named(books: Books) -> None:
    books.grant(books.account(), 5, expires_at_ms=2_500)
    books.database.run(ledger.expire_lots, 2_500)
    report = tamper(books, "UPDATE credit_lots SET expires_at_ms = 99000 WHERE expires_at_ms = 2500")
    assert named(report) == {("EXPIRY_WRONG", "default", None, None, 11)}
