"""Finished batches are folded into signed summaries: the books stay proven, and nothing else may go."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from rushes.domain.errors import StatementRefused
from rushes.money import retry
from rushes.money.audit.audit import AuditReport, audit
from rushes.money.audit.heads import read_heads
from rushes.money.folding import Folded, fold_some
from rushes.money.settle import Group
from rushes.money.statements.check import differences_from_ledger, verify_statement
from rushes.money.statements.signing_key import public_key_hex
from rushes.money.statements.statement import BatchUnsound, make_statement
from rushes.read.ledger import LedgerFilter, ledger_page
from rushes.read.scope import OPERATOR
from rushes.store.database import Database
from rushes.store.retention import folds
from rushes.store.tables.schema import FOLD_TABLES, metadata
from tests.books import REFUSED, Books, video
from tests.money.audited import audited_books
from tests.tampering import read_tampered

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
TRUSTED = [public_key_hex(KEY)]
LATER_MS = 1_000_000


@pytest.fixture
def books(database: Database) -> Books:
    """`audited_books`, of which bat_1 and bat_3 are finished, and after them bat_z, which waits."""
    made = audited_books(database)
    made.accept(1, [1], name="bat_z")
    return made


def fold_all(books: Books, *, before_ms: int = LATER_MS, key: Ed25519PrivateKey = KEY) -> list[Folded]:
    """Everything that may go, of all accounts; the steps in which it went."""
    steps = []
    for account in books.rows("SELECT id FROM accounts ORDER BY id"):
        after = 0
        while True:
            step = books.database.run(
                fold_some, account["id"], key, before_ms=before_ms, after_batch_id=after, now_ms=LATER_MS
            )
            if not (step.batches or step.entries or step.last_batch_id):
                break
            after = step.last_batch_id or after
            steps.append(step)
    return steps


def report_of(books: Books) -> AuditReport:
    def run(connection: Connection) -> AuditReport:
        return audit(connection, trusted_keys=TRUSTED)

    return books.database.run_reading(run)


def tampered(books: Books, *statements: str) -> set[str]:
    """The codes of what an audit finds after these statements."""

    def run(connection: Connection) -> AuditReport:
        return audit(connection, trusted_keys=TRUSTED)

    return {violation.code.value for violation in read_tampered(books.database, statements, run).violations}


def count(books: Books, table: str) -> int:
    return int(books.row(f"SELECT COUNT(*) AS n FROM {table}")["n"])


# --- what goes and what stays ------------------------------------------------------------------------------


def test_a_finished_batch_goes_and_the_audit_is_clean(books: Books) -> None:
    balances = books.rows("SELECT id, available, held, ledger_seq, ledger_hash FROM accounts ORDER BY id")
    steps = fold_all(books)
    assert sum(step.batches for step in steps) == 2
    assert sum(step.tasks for step in steps) == 6
    assert [row["public_id"] for row in books.rows("SELECT public_id FROM batches")] == [
        "bat_2",
        "bat_z",
    ]
    # all but the reservations of these two
    assert [row["seq"] for row in books.rows("SELECT seq FROM ledger_entries ORDER BY seq")] == [9, 10]
    after = books.rows("SELECT id, available, held, ledger_seq, ledger_hash FROM accounts ORDER BY id")
    assert after == balances
    report = report_of(books)
    assert report.violations == ()
    assert (report.batches, report.tasks, report.folded_batches, report.folded_tasks) == (2, 4, 2, 6)


def test_no_row_of_a_folded_batch_is_left_in_any_table(books: Books) -> None:
    fold_all(books)
    left = {
        table.name: books.rows(f"SELECT batch_id FROM {table.name} WHERE batch_id IN (1, 3)")
        for table in metadata.sorted_tables
        if "batch_id" in table.columns and table.name not in (*FOLD_TABLES, "dispatch_turns")
    }
    assert len(left) >= 9
    assert {name for name, rows in left.items() if rows} == set()
    of_tasks = [table.name for table in metadata.sorted_tables if "task_id" in table.columns]
    known = "SELECT id FROM video_tasks"
    assert not any(books.rows(f"SELECT 1 FROM {n} WHERE task_id NOT IN ({known})") for n in of_tasks)


def test_a_page_of_the_ledger_says_how_many_entries_are_left(books: Books) -> None:
    def totals() -> list[int]:
        names = [row["name"] for row in books.rows("SELECT name FROM accounts ORDER BY id")]
        wanted = [LedgerFilter(), *map(LedgerFilter, names)]
        return [
            books.database.run_reading(ledger_page, OPERATOR, each, limit=1, offset=0)[1] for each in wanted
        ]

    def counted() -> list[int]:
        rows = books.rows(
            "SELECT (SELECT COUNT(*) FROM ledger_entries e WHERE e.account_id = a.id) AS n FROM accounts a"
            " ORDER BY id"
        )
        return [sum(int(row["n"]) for row in rows), *(int(row["n"]) for row in rows)]

    before = counted()
    assert totals() == before
    fold_all(books)
    assert totals() == counted() != before


def test_folding_again_changes_nothing_and_work_goes_on(books: Books) -> None:
    fold_all(books)
    before = books.everything()
    assert fold_all(books) == []
    assert books.everything() == before
    # what was in the middle ends, and a new batch is accepted, settled and folded
    books.now_ms = LATER_MS
    _end_all(books)
    books.accept(1, [3], name="bat_4")
    books.accept(2, [3], name="bat_5")
    (fourth, fifth) = books.claim()
    books.finish([(fourth, video(fourth)), (fifth, REFUSED)])
    assert report_of(books).violations == ()
    assert sum(step.batches for step in fold_all(books, before_ms=2 * LATER_MS)) == 3
    assert [row["public_id"] for row in books.rows("SELECT public_id FROM batches")] == ["bat_5"]
    report = report_of(books)
    assert (report.violations, report.folded_batches) == ((), 5)
    books.grant(1, 5)
    books.accept(1, [2], name="bat_6")
    assert report_of(books).violations == ()


def _end_all(books: Books) -> None:
    """Every task that waits or runs is refused."""
    books.claim()
    running = books.rows("SELECT id, attempt FROM video_tasks WHERE status = 'processing' ORDER BY id")
    books.apply(Group(accepted=[(row["id"], row["attempt"], f"named-{row['id']}") for row in running]))
    books.apply(Group(verdicts=[(row["id"], row["attempt"], REFUSED) for row in running]))
    assert not books.rows("SELECT 1 FROM video_tasks WHERE status IN ('pending', 'processing')")


def test_a_number_is_never_given_twice(books: Books) -> None:
    """SQLite's next number is the one after the highest: the newest batch and the newest task stay."""
    _end_all(books)
    books.database.run(retry.retry_all, 1, [1], now_ms=books.now_ms)  # the newest task is of an old batch
    _end_all(books)
    newest = books.row("SELECT MAX(id) AS id FROM video_tasks")["id"]
    fold_all(books)
    assert [row["id"] for row in books.rows("SELECT id FROM batches ORDER BY id")] == [1, 4]
    assert books.accept(1, [1], name="bat_8") == 5
    assert books.row("SELECT id FROM video_tasks WHERE batch_id = 5")["id"] == newest + 1
    assert report_of(books).violations == ()


def test_what_is_younger_unfinished_or_awaited_stays(books: Books) -> None:
    books.sql(
        "INSERT INTO webhook_endpoints (id, account_id, url, created_at_ms) VALUES (1, 2, 'https://x', 1)"
    )
    books.sql("INSERT INTO webhook_feeds (batch_id, endpoint_id, is_open) VALUES (3, 1, 1)")
    finalized = books.row("SELECT finalized_at_ms FROM batches WHERE id = 1")["finalized_at_ms"]
    assert fold_all(books, before_ms=finalized) != [], "grants of before may go by themselves"
    assert count(books, "batches") == 4
    fold_all(books)
    assert [row["id"] for row in books.rows("SELECT id FROM batches ORDER BY id")] == [2, 3, 4]
    assert report_of(books).violations == ()
    books.sql("UPDATE webhook_feeds SET is_open = 0")
    fold_all(books)
    assert [row["id"] for row in books.rows("SELECT id FROM batches ORDER BY id")] == [2, 4]
    assert report_of(books).violations == ()


@pytest.mark.parametrize("state", ["due", "stored"])
def test_a_batch_whose_videos_are_kept_stays(books: Books, state: str) -> None:
    books.sql(
        "INSERT INTO archived_files (task_id, account_id, state, next_attempt_at_ms, link_dies_at_ms,"
        f" video_key, sha256, stored_at_ms, created_at_ms) SELECT id, account_id, '{state}', 1, 1, 'k', 's',"
        " 1, 1 FROM video_tasks WHERE batch_id = 1 AND item_index = 0"
    )
    fold_all(books)
    assert [row["id"] for row in books.rows("SELECT id FROM batches ORDER BY id")] == [1, 2, 4]
    books.sql("UPDATE archived_files SET state = 'removed', video_key = NULL")
    fold_all(books)
    assert [row["id"] for row in books.rows("SELECT id FROM batches ORDER BY id")] == [2, 4]
    assert report_of(books).violations == ()


@pytest.mark.parametrize("state", ["due", "stored"])
def test_a_batch_whose_further_files_are_kept_stays_and_no_other_goes_for_them(
    books: Books, state: str
) -> None:
    for batch_id in (1, 2, 4):  # finished, and unfinished ones, which folding must not even look at
        books.sql(
            "INSERT INTO further_files (task_id, position, kind, url, state, next_attempt_at_ms, object_key,"
            f" sha256, stored_at_ms, created_at_ms) SELECT id, 1, 'video', 'https://x', '{state}', 1, 'k',"
            " 's', 1, 1"
            f" FROM video_tasks WHERE batch_id = {batch_id} AND item_index = 0"
        )
    totals = [
        books.database.run_reading(folds.foldable_totals, account["id"], before_ms=LATER_MS)
        for account in books.rows("SELECT id FROM accounts ORDER BY id")
    ]
    assert [kept for _, _, kept in totals] == [1, 0]
    assert sum(batches for batches, _, _ in totals) == 1
    fold_all(books)
    assert [row["id"] for row in books.rows("SELECT id FROM batches ORDER BY id")] == [1, 2, 4]
    books.sql("UPDATE further_files SET state = 'removed'")
    fold_all(books)
    assert [row["id"] for row in books.rows("SELECT id FROM batches ORDER BY id")] == [2, 4]
    assert report_of(books).violations == ()


def test_a_batch_that_was_tried_again_is_folded_with_all_its_tries(books: Books) -> None:
    books.database.run(retry.retry_all, 1, [1, 3], now_ms=books.now_ms)
    _end_all(books)
    books.accept(1, [1], name="bat_9")
    fold_all(books)
    assert books.row("SELECT entries_count, credits_reserved FROM folded_batches WHERE batch_id = 1") == {
        "entries_count": 9,
        "credits_reserved": 70,
    }
    assert report_of(books).violations == ()


# --- the database lets nothing else go -----------------------------------------------------------------


def test_rows_go_only_when_a_fold_stands_for_them(books: Books) -> None:
    fold_all(books, before_ms=1)  # nothing is that old
    for table in ("ledger_entries", "task_resolutions", "batch_events"):
        with pytest.raises(StatementRefused, match=f"{table} is append-only"):
            books.sql(f"DELETE FROM {table} WHERE batch_id = 1")
    fold_all(books)
    with pytest.raises(StatementRefused, match="ledger_entries is append-only"):
        books.sql("DELETE FROM ledger_entries")
    with pytest.raises(StatementRefused, match="batch_events is append-only"):
        books.sql("DELETE FROM batch_events WHERE batch_id = 2")


@pytest.mark.parametrize("table", FOLD_TABLES)
def test_folds_are_neither_edited_nor_deleted(books: Books, table: str) -> None:
    fold_all(books)
    before = books.everything()
    for statement in (f"UPDATE {table} SET account_id = account_id", f"DELETE FROM {table}"):
        with pytest.raises(StatementRefused, match=f"{table} is append-only"):
            books.sql(statement)
    assert books.everything() == before


def test_books_that_are_wrong_are_not_folded_away(books: Books) -> None:
    def fold(connection: Connection) -> Folded:
        return fold_some(connection, 1, KEY, before_ms=LATER_MS, now_ms=LATER_MS)

    for statement in (
        "UPDATE ledger_entries SET description = 'x' WHERE account_id = 1 AND seq = 2",
        "UPDATE task_resolutions SET credits = 9 WHERE task_id = 1",
        "UPDATE credit_lots SET amount = 31 WHERE id = 1",
    ):
        with pytest.raises(BatchUnsound, match="run `rushes audit`"):
            read_tampered(books.database, (statement,), fold)


# --- tampering with what was folded --------------------------------------------------------------------


def test_every_change_of_a_fold_is_found(books: Books) -> None:
    fold_all(books)
    cases = (
        "UPDATE folds SET document = replace(document, '\"batches\":1', '\"batches\":2') WHERE id = 1",
        "UPDATE folds SET document = 'x' WHERE account_id = 1",
        "UPDATE folds SET ledger_through_seq = 9 WHERE account_id = 1",
        f"UPDATE folds SET signature = '{'0' * 128}' WHERE account_id = 2",
        f"UPDATE folds SET public_key = '{'0' * 64}' WHERE account_id = 2",
        "UPDATE folded_batches SET credits_settled = 31, credits_refunded = 19 WHERE batch_id = 1",
        "UPDATE folded_batches SET statement_hash = 'x' WHERE batch_id = 3",
        "UPDATE folded_batches SET public_id = 'bat_9' WHERE batch_id = 3",
        "DELETE FROM folded_batches WHERE batch_id = 3",
        "DELETE FROM folds WHERE account_id = 2",
    )
    unseen = [statement for statement in cases if "FOLD_WRONG" not in tampered(books, statement)]
    assert unseen == []


def test_a_missing_fold_of_several_is_found(books: Books) -> None:
    fold_all(books)
    books.accept(2, [3], name="bat_9")
    _end_all(books)
    books.accept(2, [3], name="bat_10")
    fold_all(books, before_ms=2 * LATER_MS)
    assert count(books, "folds") >= 3
    assert report_of(books).violations == ()
    for order in ("MIN", "MAX"):
        of = f"(SELECT {order}(id) FROM folds WHERE account_id = 2)"
        gone = (f"DELETE FROM folded_batches WHERE fold_id = {of}", f"DELETE FROM folds WHERE id = {of}")
        assert tampered(books, *gone) & {"FOLD_WRONG", "LEDGER_ENTRY_MISSING"}


def test_the_ledger_after_a_fold_is_still_chained_to_it(books: Books) -> None:
    fold_all(books)
    assert "LEDGER_ENTRY_ALTERED" in tampered(books, "UPDATE ledger_entries SET description = 'x'")
    assert "LEDGER_ENTRY_MISSING" in tampered(books, "DELETE FROM ledger_entries")
    assert "ACCOUNT_BALANCE_WRONG" in tampered(books, "UPDATE accounts SET available = available + 1")
    assert "LOT_BALANCE_WRONG" in tampered(books, "UPDATE credit_lots SET remaining = 0 WHERE id = 2")


def test_a_fold_of_another_key_is_not_believed(books: Books) -> None:
    fold_all(books, key=OTHER_KEY)
    found = report_of(books).violations
    assert {violation.code.value for violation in found} == {"FOLD_WRONG"}
    assert public_key_hex(OTHER_KEY) in found[0].message
    assert books.database.run_reading(audit).ok, "without a key to compare with, each fold's own is taken"


def test_rows_of_a_folded_batch_that_come_back_are_found(books: Books) -> None:
    columns = "id, public_id, account_id, request_scope, request_id, request_hash, status, total_count"
    back = (
        f"INSERT INTO batches ({columns}, failed_count, created_at_ms, completed_at_ms, finalized_at_ms)"
        " SELECT 1, 'bat_1', 1, 's', 'r', 'h', 'failed', 0, 0, 1, 1, 1"
    )
    fold_all(books)
    assert "FOLD_WRONG" in tampered(books, back)


# --- statements and reports of before ------------------------------------------------------------------


def test_statements_issued_before_still_verify(books: Books) -> None:
    def issue(connection: Connection) -> bytes:
        return make_statement(connection, "bat_1", KEY, now_ms=5_000)

    issued = books.database.run_reading(issue)
    fold_all(books)
    assert verify_statement(issued, TRUSTED[0]).ok
    assert books.database.run_reading(differences_from_ledger, issued) == []
    forged = json.loads(issued)
    forged["statement"]["items"][0]["custom_id"] = "another"
    (difference,) = books.database.run_reading(differences_from_ledger, json.dumps(forged).encode())
    assert difference.code.value == "FOLD_WRONG"


def test_a_statement_of_a_batch_that_follows_a_fold_is_sound(books: Books) -> None:
    fold_all(books)

    def issue(connection: Connection) -> bytes:
        return make_statement(connection, "bat_2", KEY, now_ms=5_000)

    issued = books.database.run_reading(issue)
    assert verify_statement(issued, TRUSTED[0]).ok
    assert books.database.run_reading(differences_from_ledger, issued) == []


def test_an_earlier_report_is_compared_where_a_fold_ends(books: Books) -> None:
    report = json.dumps(report_of(books).as_dict()).encode()
    heads = read_heads(report, "report.json")
    fold_all(books)

    def against(connection: Connection) -> AuditReport:
        return audit(connection, heads)

    assert books.database.run_reading(against).violations == ()
    other = next(head for head in heads if head.account == "other")
    assert other.seq == 3, "its whole ledger is folded, up to this head"
    rewritten = (f"UPDATE folds SET ledger_hash = '{'f' * 64}' WHERE account_id = 2",)
    found = read_tampered(books.database, rewritten, against).violations
    assert "LEDGER_ENTRY_REWRITTEN" in {violation.code.value for violation in found}
