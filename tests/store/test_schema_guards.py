"""What must never happen is refused by the database itself, on SQLite and on PostgreSQL."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from rushes.domain.errors import StatementRefused
from rushes.store.database import Database
from rushes.store.tables.schema import APPEND_ONLY_TABLES
from tests.books import REFUSED, Books, video


@pytest.fixture
def books(database: Database) -> Books:
    """bat_1 is finalized: item 0 delivered, item 1 refused. bat_2: item 0 in flight, item 1 pending."""
    return _made(database)


def _made(database: Database) -> Books:
    made = Books(database)
    account = made.account()
    made.grant(account, 100)
    made.accept(account, [10, 10], name="bat_1")
    first, second = made.claim()
    made.finish([(first, video(first)), (second, REFUSED)])
    made.accept(account, [5, 5], name="bat_2")
    made.claim(1)
    return made


def assert_refused(books: Books, cases: dict[str, str]) -> None:
    """Each statement is refused for the given reason (either database's words) and leaves no trace."""
    before = books.everything()
    wrong = {}
    for statement, reason in cases.items():
        try:
            books.sql(statement)
        except StatementRefused as error:
            if not any(words in error.message for words in reason.split(" | ")):
                wrong[statement] = error.message
        else:
            wrong[statement] = "was not refused"
    assert wrong == {}
    assert books.everything() == before


# --- history --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", APPEND_ONLY_TABLES)
def test_history_is_neither_edited_nor_deleted(books: Books, table: str) -> None:
    cases = {
        f"UPDATE {table} SET created_at_ms = created_at_ms + 1": f"{table} is append-only",
        f"UPDATE {table} SET batch_id = batch_id": f"{table} is append-only",
        f"DELETE FROM {table}": f"{table} is append-only",
        f"DELETE FROM {table} WHERE batch_id = 1": f"{table} is append-only",
    }
    if books.database.dialect == "postgresql":
        cases[f"TRUNCATE {table}"] = f"{table} is append-only"
        cases[f"TRUNCATE {table} CASCADE"] = f"{table} is append-only"
    assert_refused(books, cases)


def test_an_upsert_does_not_edit_history_either(books: Books) -> None:
    columns = "account_id, seq, type, delta, balance_after, parts, description, created_at_ms, hash"
    assert_refused(
        books,
        {
            f"INSERT INTO ledger_entries ({columns}) SELECT {columns} FROM ledger_entries WHERE seq = 1"
            " ON CONFLICT (account_id, seq) DO UPDATE SET description = 'other'": "append-only",
        },
    )


def test_replacing_a_row_does_not_edit_history_either(new_database_url: Callable[[str], str]) -> None:
    """SQLite's own kind of an upsert, which PostgreSQL does not have."""
    database = Database(new_database_url("sqlite"))
    books = _made(database)
    refused = {}
    for table in APPEND_ONLY_TABLES:
        refused[f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"] = "append-only"
        refused[f"REPLACE INTO {table} SELECT * FROM {table}"] = "append-only"
    assert_refused(books, refused)
    database.close()


def test_a_final_status_never_changes(books: Books) -> None:
    cases = {
        f"UPDATE video_tasks SET status = '{status}', video_url = 'u', error = 'e',"
        f" failure_type = 'unknown', worker_id = 'w' WHERE batch_id = 1 AND item_index = {item}": (
            "a final status never changes"
        )
        for item, own in ((0, "succeeded"), (1, "failed"))
        for status in ("pending", "processing", "succeeded", "failed")
        if status != own
    }
    assert len(cases) == 6
    assert_refused(books, cases)


def test_what_is_known_of_a_final_task_may_still_be_written(books: Books) -> None:
    books.sql("UPDATE video_tasks SET status = status, is_current = 0 WHERE batch_id = 1 AND item_index = 1")
    assert books.row("SELECT is_current FROM video_tasks WHERE batch_id = 1 AND item_index = 1") == {
        "is_current": 0
    }


# --- once -----------------------------------------------------------------------------------------------


def test_a_second_resolution_of_a_task_is_refused_whatever_it_says(books: Books) -> None:
    twice = "pk_task_resolutions | UNIQUE constraint failed: task_resolutions.task_id"
    insert = (
        "INSERT INTO task_resolutions (task_id, batch_id, attempt, kind, credits, created_at_ms)"
        " SELECT id, batch_id, {attempt}, '{kind}', {credits}, 1 FROM video_tasks"
        " WHERE batch_id = 1 AND item_index = 0"
    )
    assert_refused(
        books,
        {
            insert.format(attempt=1, kind="settle", credits=10): twice,
            insert.format(attempt=1, kind="refund", credits=10): twice,
            insert.format(attempt=2, kind="refund", credits=0): twice,
        },
    )


def test_what_is_unique_cannot_come_twice(books: Books) -> None:
    entry = "account_id, seq, type, delta, balance_after, parts, description, created_at_ms, hash"
    task = (
        "batch_id, account_id, item_index, prompt, model, options, credits, status, provider, api_model,"
        " created_at_ms"
    )
    batch = (
        "account_id, request_scope, request_id, request_hash, status, total_count, pending_count,"
        " created_at_ms"
    )
    batch_values = "account_id, request_scope, {}, request_hash, 'pending', 0, 0, created_at_ms"
    assert_refused(
        books,
        {
            f"INSERT INTO ledger_entries ({entry}) SELECT {entry} FROM ledger_entries WHERE seq = 1": (
                "pk_ledger_entries | UNIQUE constraint failed: ledger_entries.account_id, ledger_entries.seq"
            ),
            f"INSERT INTO video_tasks ({task}) SELECT {task.replace('status', repr('pending'))}"
            " FROM video_tasks WHERE batch_id = 2 AND item_index = 1": (
                "uq_video_tasks_batch_id_item_index_retry_number"
                " | UNIQUE constraint failed: video_tasks.batch_id"
            ),
            "INSERT INTO accounts (name, ledger_hash, created_at_ms) VALUES ('default', '', 1)": (
                "uq_accounts_name | UNIQUE constraint failed: accounts.name"
            ),
            f"INSERT INTO batches (public_id, {batch}) SELECT 'bat_3', {batch_values.format('request_id')}"
            " FROM batches WHERE id = 1": (
                "uq_batches_request_scope_request_id | UNIQUE constraint failed: batches.request_scope"
            ),
            f"INSERT INTO batches (public_id, {batch}) SELECT public_id, {batch_values.format(repr('r-9'))}"
            " FROM batches WHERE id = 1": (
                "uq_batches_public_id | UNIQUE constraint failed: batches.public_id"
            ),
        },
    )


# --- sums -----------------------------------------------------------------------------------------------


def test_balances_never_fall_below_zero(books: Books) -> None:
    assert_refused(
        books,
        {
            "UPDATE accounts SET available = -1": "ck_accounts_available",
            "UPDATE accounts SET held = -1": "ck_accounts_held",
            "UPDATE credit_lots SET remaining = -1": "ck_credit_lots_remaining",
            "UPDATE credit_lots SET remaining = amount + 1": "ck_credit_lots_remaining",
            "INSERT INTO ledger_entries (account_id, seq, type, delta, balance_after, parts, description,"
            " created_at_ms, hash) VALUES (1, 99, 'adjust', -1, -1, '[]', '', 1, '')": (
                "ck_ledger_entries_balance_after"
            ),
        },
    )


def test_a_batch_is_not_finalized_while_credits_are_held_or_tasks_are_open(books: Books) -> None:
    finalized = "UPDATE batches SET finalized_at_ms = 1{} WHERE id = 2"
    assert_refused(
        books,
        {
            finalized.format(""): "ck_batches_finalized",
            finalized.format(", credits_refunded = 10"): "ck_batches_finalized",
            finalized.format(", pending_count = 0, processing_count = 0, failed_count = 2"): (
                "ck_batches_finalized"
            ),
            "UPDATE batches SET credits_reserved = credits_reserved + 1 WHERE id = 1": "ck_batches_finalized",
            "UPDATE batches SET pending_count = 1, total_count = 3 WHERE id = 1": "ck_batches_finalized",
        },
    )


def test_a_batchs_counters_add_up_to_its_total(books: Books) -> None:
    assert_refused(
        books,
        {
            "UPDATE batches SET pending_count = pending_count + 1 WHERE id = 2": "ck_batches_counts",
            "UPDATE batches SET total_count = total_count - 1 WHERE id = 2": "ck_batches_counts",
            "UPDATE batches SET pending_count = -1, processing_count = 3 WHERE id = 2": "ck_batches_counts",
        },
    )


def test_no_more_is_settled_and_refunded_than_was_reserved(books: Books) -> None:
    assert_refused(
        books,
        {
            "UPDATE batches SET credits_settled = 6, credits_refunded = 5 WHERE id = 2": "ck_batches_credits",
            "UPDATE batches SET credits_settled = -1 WHERE id = 2": "ck_batches_credits",
            "UPDATE batch_reservations SET settled = 6, refunded = 5 WHERE batch_id = 2": (
                "ck_batch_reservations_held"
            ),
            "UPDATE batch_reservations SET refunded = -1 WHERE batch_id = 2": "ck_batch_reservations_held",
        },
    )


# --- values ---------------------------------------------------------------------------------------------


def test_only_the_known_words_are_stored(books: Books) -> None:
    assert_refused(
        books,
        {
            "UPDATE video_tasks SET status = 'running' WHERE batch_id = 2": "ck_video_tasks_status",
            "UPDATE video_tasks SET status = 'Pending' WHERE batch_id = 2": "ck_video_tasks_status",
            "UPDATE video_tasks SET failure_type = 'bad luck' WHERE batch_id = 1 AND item_index = 1": (
                "ck_video_tasks_failure_type"
            ),
            "UPDATE batches SET status = 'done'": "ck_batches_status",
            "INSERT INTO task_resolutions (task_id, batch_id, attempt, kind, credits, created_at_ms)"
            " SELECT id, 2, 1, 'both', 5, 1 FROM video_tasks WHERE batch_id = 2 AND item_index = 0": (
                "ck_task_resolutions_kind"
            ),
            "INSERT INTO ledger_entries (account_id, seq, type, delta, balance_after, parts, description,"
            " created_at_ms, hash) VALUES (1, 99, 'gift', 1, 1, '[]', '', 1, '')": "ck_ledger_entries_type",
            "INSERT INTO credit_lots (account_id, kind, amount, remaining, created_at_ms)"
            " VALUES (1, 'loan', 1, 1, 1)": "ck_credit_lots_kind",
        },
    )


def test_a_task_has_what_its_status_demands(books: Books) -> None:
    of_pending = "WHERE batch_id = 2 AND item_index = 1"
    assert_refused(
        books,
        {
            f"UPDATE video_tasks SET status = 'processing' {of_pending}": "ck_video_tasks_owned",
            f"UPDATE video_tasks SET status = 'succeeded' {of_pending}": "ck_video_tasks_succeeded",
            f"UPDATE video_tasks SET status = 'failed' {of_pending}": "ck_video_tasks_failed",
            f"UPDATE video_tasks SET status = 'failed', error = 'e' {of_pending}": "ck_video_tasks_failed",
            "UPDATE video_tasks SET worker_id = NULL WHERE status = 'processing'": "ck_video_tasks_owned",
            f"UPDATE video_tasks SET credits = -1 {of_pending}": "ck_video_tasks_credits",
            f"UPDATE video_tasks SET progress = 101 {of_pending}": "ck_video_tasks_progress",
        },
    )


def test_bonus_lots_expire_and_permanent_lots_do_not(books: Books) -> None:
    insert = (
        "INSERT INTO credit_lots (account_id, kind, amount, remaining, expires_at_ms, created_at_ms)"
        " VALUES (1, '{}', 1, 0, {}, 1)"
    )
    assert_refused(
        books,
        {
            insert.format("bonus", "NULL"): "ck_credit_lots_expiry",
            insert.format("permanent", "5"): "ck_credit_lots_expiry",
            "UPDATE credit_lots SET expires_at_ms = 5": "ck_credit_lots_expiry",
        },
    )


def test_nothing_refers_to_what_is_not_there(books: Books) -> None:
    foreign = "foreign key | FOREIGN KEY"
    assert_refused(
        books,
        {
            "INSERT INTO task_resolutions (task_id, batch_id, attempt, kind, credits, created_at_ms)"
            " VALUES (999, 1, 1, 'settle', 1, 1)": foreign,
            "INSERT INTO ledger_entries (account_id, seq, type, delta, balance_after, parts, description,"
            " created_at_ms, hash) VALUES (999, 1, 'adjust', 0, 0, '[]', '', 1, '')": foreign,
            "UPDATE video_tasks SET batch_id = 999 WHERE batch_id = 2": foreign,
            "UPDATE batch_reservations SET lot_id = 999": foreign,
            "DELETE FROM accounts": foreign,
            "DELETE FROM batches": foreign,
            "DELETE FROM video_tasks WHERE batch_id = 1": foreign,
            "DELETE FROM credit_lots": foreign,
        },
    )


def test_a_refusal_names_the_rule_and_not_the_rows_values(books: Books) -> None:
    def edit(connection: Connection) -> None:
        connection.execute(text("UPDATE video_tasks SET credits = -1 WHERE batch_id = 2"))

    with pytest.raises(StatementRefused) as refused:
        books.database.run(edit)
    assert "ck_video_tasks_credits" in refused.value.message
    assert "take 0" not in refused.value.message
    assert "UPDATE" not in refused.value.message
