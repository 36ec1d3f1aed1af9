"""The audit passes sound books, sees one moment, and misses no guard that the database has lost."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from rushes.domain.errors import DatabaseReadOnly
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, Failed, FailureType
from rushes.money.accept import cancel_batch
from rushes.money.audit.audit import AuditReport, audit
from rushes.money.audit.violations import VIOLATIONS_MAX, Findings
from rushes.money.audit.violations import ViolationCode as Code
from rushes.money.retry import retry_item
from rushes.money.settle import Group
from rushes.store import ledger
from rushes.store.database import Database
from tests.books import REFUSED, Books
from tests.money.audited import audited, audited_books, named, tamper
from tests.tampering import as_owner


@pytest.fixture
def books(database: Database) -> Books:
    """Two accounts and three batches; see `audited_books`."""
    return audited_books(database)


# --- sound books ----------------------------------------------------------------------------------------


def test_sound_books_pass_and_are_counted(books: Books) -> None:
    report = audited(books)
    assert report.violations == ()
    assert report.ok
    assert (report.accounts, report.batches, report.tasks) == (2, 3, 9)


def test_an_empty_database_passes(database: Database) -> None:
    report = audited(Books(database))
    assert report.as_dict() == {
        "ok": True,
        "accounts": 0,
        "batches": 0,
        "tasks": 0,
        "folded_batches": 0,
        "folded_tasks": 0,
        "unconfirmed_submits": [],
        "ledger_heads": [],
        "violations": [],
    }


def test_cancels_retries_expiry_and_free_items_leave_sound_books(books: Books) -> None:
    database, account = books.database, books.account()
    database.run(retry_item, 1, 1, now_ms=books.now_ms)
    database.run(retry_item, 1, 3, now_ms=books.now_ms)
    books.accept(account, [0, 4, 0], name="bat_4")
    claimed = books.claim(4)
    books.finish([(task, REFUSED) for task in claimed])
    books.now_ms = 60_000
    database.run(ledger.expire_lots, books.now_ms)
    database.run(cancel_batch, 2, now_ms=books.now_ms)
    books.accept(account, [3], name="bat_5")
    assert audited(books).violations == ()


def test_unconfirmed_submits_are_listed_and_are_no_violation(books: Books) -> None:
    (held,) = books.rows("SELECT id, attempt FROM video_tasks WHERE unconfirmed_at_ms IS NOT NULL")
    report = audited(books)
    assert report.ok
    assert report.as_dict()["unconfirmed_submits"] == [
        {
            "batch_id": "bat_2",
            "item_index": 1,
            "attempt": 1,
            "since": "1970-01-01T00:00:02.000Z",
            "state": "held",
        }
    ]
    books.now_ms = 3_000
    books.apply(Group(resubmitted=[(held["id"], held["attempt"])]))
    (again,) = [task for task in books.claim() if task.task_id == held["id"]]
    given_up = Failed(SUBMIT_OUTCOME_UNKNOWN, FailureType.UNKNOWN)
    books.now_ms = 4_000
    books.finish([(again, given_up)])
    report = audited(books)
    assert report.ok
    assert [(s.item_index, s.attempt, s.since_ms, s.state) for s in report.unconfirmed_submits] == [
        (1, 1, 3_000, "resubmitted"),
        (1, 2, 4_000, "refunded"),
    ]


def test_an_audit_writes_nothing_and_on_postgresql_could_not(books: Books) -> None:
    before = books.everything()

    def write_after_audit(connection: Connection) -> None:
        audit(connection)
        connection.execute(text("UPDATE accounts SET name = 'another' WHERE id = 1"))

    if books.database.dialect == "postgresql":
        with pytest.raises(DatabaseReadOnly):
            books.database.run_reading(write_after_audit)
    else:
        books.database.run_reading(write_after_audit)  # undone with the transaction
    assert books.everything() == before


def test_an_audit_sees_one_moment_while_others_write(books: Books) -> None:
    """A batch that is accepted in the middle of an audit must not make its sums differ."""
    seen = []

    def audit_around_a_write(connection: Connection) -> AuditReport:
        first = audit(connection)
        books.accept(books.account(), [10], name="bat_4")
        seen.append(audit(connection))
        return first

    report = books.database.run_reading(audit_around_a_write)
    assert (report.ok, report.batches) == (True, 3)
    assert (seen[0].ok, seen[0].batches) == (True, 3)
    assert audited(books).batches == 4


# --- the guards -----------------------------------------------------------------------------------------


def guard_faults(books: Books) -> list[str]:
    return [v.message for v in audited(books).violations if v.code is Code.GUARD_MISSING]


def test_a_dropped_trigger_is_a_violation(books: Books) -> None:
    if books.database.dialect == "sqlite":
        as_owner(books.database, "DROP TRIGGER video_tasks_final")
        assert guard_faults(books) == ["trigger video_tasks_final is missing"]
    else:
        as_owner(books.database, "DROP TRIGGER video_tasks_final ON video_tasks")
        assert guard_faults(books) == ["trigger video_tasks_final is missing or disabled"]


def test_an_emptied_guard_is_a_violation(books: Books) -> None:
    if books.database.dialect == "sqlite":
        as_owner(
            books.database,
            "DROP TRIGGER ledger_entries_no_update",
            "CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries BEGIN SELECT 1; END",
        )
        assert guard_faults(books) == ["trigger ledger_entries_no_update was altered"]
        return
    as_owner(
        books.database,
        "CREATE OR REPLACE FUNCTION rushes_append_only() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RETURN NULL; END $$",
        "ALTER TABLE batches DROP CONSTRAINT ck_batches_finalized",
        "ALTER TABLE batches ADD CONSTRAINT ck_batches_finalized CHECK (true)",
        "ALTER TABLE accounts DROP CONSTRAINT ck_accounts_held",
        "ALTER TABLE accounts ADD CONSTRAINT ck_accounts_held CHECK (held >= 0) NOT VALID",
        "ALTER TABLE batches ALTER COLUMN status DROP NOT NULL",
    )
    assert guard_faults(books) == [
        "column batches.status takes NULL",
        "constraint ck_accounts_held of accounts is missing or not valid",
        "constraint ck_batches_finalized of batches was altered",
        "function rushes_append_only was altered",
    ]


def test_a_missing_table_or_column_is_a_violation_and_no_error(books: Books) -> None:
    report = tamper(
        books,
        "ALTER TABLE workers RENAME TO hands",
        "ALTER TABLE task_attempts RENAME COLUMN ended_at_ms TO ended",
    )
    assert sorted(v.message for v in report.violations) == [
        "column task_attempts.ended_at_ms is missing",
        "table workers is missing",
    ]


def test_disabled_triggers_are_a_violation(new_database_url: Callable[[str], str]) -> None:
    database = Database(new_database_url("postgresql"))
    as_owner(database, "ALTER TABLE task_resolutions DISABLE TRIGGER ALL")
    faults = guard_faults(Books(database))
    assert "trigger task_resolutions_append_only is missing or disabled" in faults
    assert any("RI_ConstraintTrigger" in fault for fault in faults)
    database.close()


def test_a_lost_primary_key_and_a_second_resolution_are_named_without_any_index(books: Books) -> None:
    columns = "task_id, batch_id, attempt, kind, credits, created_at_ms"
    again = (
        f"INSERT INTO task_resolutions ({columns}) SELECT {columns} FROM task_resolutions WHERE task_id = 2"
    )
    if books.database.dialect == "sqlite":
        report = tamper(
            books,
            "CREATE TABLE copied AS SELECT * FROM task_resolutions",
            "DROP TABLE task_resolutions",
            "ALTER TABLE copied RENAME TO task_resolutions",
            again,
        )
    else:
        report = tamper(books, "ALTER TABLE task_resolutions DROP CONSTRAINT pk_task_resolutions", again)
    assert ("TASK_RESOLVED_TWICE", "default", "bat_1", 1, None) in named(report)
    messages = [v.message for v in report.violations]
    assert "constraint pk_task_resolutions of task_resolutions is missing or not valid" in messages
    assert "task_resolutions (task_id = 2): 2 rows carry this key" in messages


def test_an_index_that_has_lost_a_row_is_found(books: Books) -> None:
    if books.database.dialect == "postgresql":
        as_owner(
            books.database,
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'pk_task_resolutions'::regclass",
        )
        assert guard_faults(books) == [
            "constraint pk_task_resolutions of task_resolutions is missing or not valid"
        ]
        return
    redeclare = (
        "UPDATE sqlite_master SET sql = replace(sql, '{}', '{}') WHERE name = 'ix_batches_dispatchable'"
    )
    as_owner(books.database, "PRAGMA writable_schema = ON", redeclare.format("> 0", "> 99"))
    # while the index is declared for other rows, SQLite does not maintain it for this one
    as_owner(books.database, "UPDATE batches SET last_dispatched_at_ms = 77 WHERE id = 2")
    as_owner(books.database, "PRAGMA writable_schema = ON", redeclare.format("> 99", "> 0"))
    damage = [v.message for v in audited(books).violations if v.code is Code.DATABASE_DAMAGED]
    assert damage
    assert "ix_batches_dispatchable" in damage[0]


def test_a_value_of_another_type_is_named_and_no_sum_is_claimed(
    new_database_url: Callable[[str], str],
) -> None:
    database = Database(new_database_url("sqlite"))
    books = Books(database)
    books.grant(books.account(), 5)
    report = tamper(books, "UPDATE accounts SET available = 'plenty'")
    assert [v.message for v in report.violations if v.code is Code.VALUE_UNREADABLE] == [
        "accounts (id = 1): a value of another type than its column's"
    ]
    assert (report.ok, report.accounts) == (False, 0)
    database.close()


def test_a_replaced_row_is_named_although_no_trigger_saw_it(new_database_url: Callable[[str], str]) -> None:
    """SQLite runs no DELETE trigger for the row that INSERT OR REPLACE removes."""
    database = Database(new_database_url("sqlite"))
    books = Books(database)
    books.grant(books.account(), 5)
    columns = "account_id, seq, type, delta, balance_after, batch_id, task_id, parts, created_at_ms, hash"
    as_owner(
        database,
        f"INSERT OR REPLACE INTO ledger_entries ({columns}, description)"
        f" SELECT {columns}, 'other words' FROM ledger_entries",
    )
    assert named(audited(books)) == {("LEDGER_ENTRY_ALTERED", "default", None, None, 1)}
    database.close()


# --- the report -----------------------------------------------------------------------------------------


def test_a_violation_is_printed_with_what_names_its_row_and_nothing_else(books: Books) -> None:
    (violation,) = tamper(
        books, "UPDATE ledger_entries SET description = 'x' WHERE account_id = 1 AND seq = 6"
    ).violations
    printed = violation.as_dict()
    assert printed == {
        "code": "LEDGER_ENTRY_ALTERED",
        "message": violation.message,
        "account": "default",
        "seq": 6,
    }


def test_a_report_lists_a_bounded_number_of_violations_and_says_that_there_are_more() -> None:
    found = Findings()
    for _ in range(VIOLATIONS_MAX + 5):
        found.add(Code.LEDGER_ENTRY_ALTERED, "altered")
    assert len(found.violations) == VIOLATIONS_MAX + 1
    assert found.violations[-1].code is Code.TOO_MANY_VIOLATIONS


def test_the_report_of_unsound_books_is_not_ok(books: Books) -> None:
    printed: dict[str, Any] = tamper(books, "UPDATE accounts SET held = held + 1 WHERE id = 1").as_dict()
    assert printed["ok"] is False
    assert {violation["code"] for violation in printed["violations"]} == {"ACCOUNT_BALANCE_WRONG"}
