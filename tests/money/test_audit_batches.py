"""Every way to falsify a batch, a task or its resolution is found, and the audit names the row."""

import pytest
from sqlalchemy import Connection

from rushes.domain.credits import EntryType
from rushes.money.accept import cancel_item
from rushes.money.audit.batches import MISSING_ITEMS_NAMED_MAX
from rushes.money.audit.violations import ViolationCode as Code
from rushes.store import batches, ledger
from rushes.store.database import Database
from tests.books import Books, assert_sound
from tests.money.audited import Named, audited, audited_books, differences, named, tamper

OF = " WHERE account_id = 1 AND seq = "


@pytest.fixture
def books(database: Database) -> Books:
    """Two accounts and three batches; see `audited_books`."""
    return audited_books(database)


# --- batches --------------------------------------------------------------------------------------------


def test_an_edited_batch_is_named(books: Books) -> None:
    edit = "UPDATE batches SET {} WHERE id = {}"

    def of(code: str, batch: str, item: int | None = None) -> set[Named]:
        return {(code, "default", batch, item, None)}

    cases: dict[str, set[Named]] = {
        "UPDATE batch_reservations SET settled = settled - 1, refunded = refunded + 1"
        " WHERE batch_id = 1 AND line = 0": of("RESERVATION_WRONG", "bat_1"),
        "UPDATE batch_reservations SET lot_id = 3 WHERE batch_id = 1 AND line = 0": of(
            "RESERVATION_WRONG", "bat_1"
        ),
        "DELETE FROM batch_reservations WHERE batch_id = 1 AND line = 1": of("RESERVATION_WRONG", "bat_1"),
        edit.format("credits_reserved = credits_reserved + 1", 2): of("BATCH_CREDITS_WRONG", "bat_2"),
        edit.format("credits_settled = 40, credits_refunded = 10", 1): of("BATCH_CREDITS_WRONG", "bat_1"),
        edit.format("succeeded_count = 4, failed_count = 1", 1): of("BATCH_COUNTS_WRONG", "bat_1"),
        edit.format("processing_count = 1, pending_count = 2", 2): of("BATCH_COUNTS_WRONG", "bat_2"),
        edit.format("status = 'succeeded'", 1): of("BATCH_STATUS_WRONG", "bat_1"),
        edit.format("status = 'cancelled'", 1): of("BATCH_STATUS_WRONG", "bat_1"),
        edit.format("status = 'pending'", 2): of("BATCH_STATUS_WRONG", "bat_2"),
        edit.format("cancelled_at_ms = 5", 2): of("BATCH_STATUS_WRONG", "bat_2"),
        edit.format("finalized_at_ms = NULL, completed_at_ms = NULL, status = 'processing'", 1): of(
            "BATCH_NOT_FINALIZED", "bat_1"
        ),
        edit.format("completed_at_ms = NULL", 1): of("BATCH_STATUS_WRONG", "bat_1"),
        edit.format("event_seq = event_seq + 1", 1): {("BATCH_EVENTS_WRONG", None, "bat_1", None, None)},
        "DELETE FROM batch_events WHERE batch_id = 1 AND seq = 3": {
            ("BATCH_EVENTS_WRONG", None, "bat_1", None, None)
        },
    }
    assert differences(books, cases) == {}


def test_a_batch_given_to_another_account_is_named(books: Books) -> None:
    report = tamper(books, "UPDATE batches SET account_id = 2 WHERE id = 2")
    assert ("ENTRY_SUBJECT_WRONG", "#1", "bat_2", None, 9) in named(report)
    assert ("ACCOUNT_BALANCE_WRONG", "other", None, None, None) in named(report)


@pytest.mark.parametrize("total", [4, 10**12])
def test_items_that_a_batch_counts_but_does_not_have_are_named(books: Books, total: int) -> None:
    if books.database.dialect == "sqlite":
        unchecked = []
    else:
        unchecked = ["ALTER TABLE batches DROP CONSTRAINT ck_batches_counts"]
    report = tamper(books, *unchecked, f"UPDATE batches SET total_count = {total} WHERE id = 2")
    assert ("BATCH_COUNTS_WRONG", "default", "bat_2", None, None) in named(report)
    missing = [v.item_index for v in report.violations if v.code is Code.ITEM_MISSING]
    assert missing == list(range(3, min(total, 3 + MISSING_ITEMS_NAMED_MAX)))


def test_a_batch_finalized_while_tasks_are_open_is_named(books: Books) -> None:
    report = tamper(
        books,
        "UPDATE batches SET pending_count = 0, processing_count = 0, failed_count = 3, credits_refunded = 21,"
        " status = 'failed', finalized_at_ms = 9, completed_at_ms = 9 WHERE id = 2",
    )
    assert ("BATCH_FINALIZED_EARLY", "default", "bat_2", None, None) in named(report)


def test_a_batch_that_has_not_started_is_sound_with_an_item_cancelled(database: Database) -> None:
    books = Books(database)
    account_id = books.account()
    books.grant(account_id, 20)
    batch_id = books.accept(account_id, [5, 5])
    database.run(cancel_item, batch_id, 1, now_ms=books.now_ms)
    assert_sound(books)


def test_a_deleted_batch_is_named_by_what_is_left_of_it(books: Books) -> None:
    report = tamper(books, "DELETE FROM batches WHERE id = 2")
    assert {("BATCH_UNKNOWN", None, "#2", item, None) for item in (0, 1, 2)} <= named(report)
    assert ("BATCH_UNKNOWN", "#1", None, None, 9) in named(report)
    assert report.tasks == 9


# --- tasks ----------------------------------------------------------------------------------------------

ITEM_1 = "WHERE batch_id = 1 AND item_index = 1"
TASK_OF_ITEM_1 = f"WHERE task_id = (SELECT id FROM video_tasks {ITEM_1})"


def test_an_edited_task_or_resolution_is_named(books: Books) -> None:
    def item_1(*codes: str) -> set[Named]:
        return {(code, "default", "bat_1", 1, None) for code in codes}

    cases: dict[str, set[Named]] = {
        f"DELETE FROM task_resolutions {TASK_OF_ITEM_1}": item_1("TASK_NOT_RESOLVED"),
        f"UPDATE task_resolutions SET kind = 'settle' {TASK_OF_ITEM_1}": item_1("TASK_RESOLUTION_WRONG"),
        f"UPDATE task_resolutions SET credits = 9 {TASK_OF_ITEM_1}": item_1("TASK_RESOLUTION_WRONG"),
        f"UPDATE task_resolutions SET attempt = 2 {TASK_OF_ITEM_1}": item_1("TASK_RESOLUTION_WRONG"),
        f"UPDATE task_resolutions SET batch_id = 3 {TASK_OF_ITEM_1}": {
            ("TASK_NOT_RESOLVED", "default", "bat_1", 1, None),
            ("TASK_UNKNOWN", "other", "bat_3", None, None),
        },
        f"UPDATE task_resolutions SET batch_id = 99 {TASK_OF_ITEM_1}": {
            ("TASK_NOT_RESOLVED", "default", "bat_1", 1, None),
            ("BATCH_UNKNOWN", None, "#99", None, None),
        },
        "INSERT INTO task_resolutions (task_id, batch_id, attempt, kind, credits, created_at_ms)"
        " SELECT id, batch_id, attempt, 'settle', credits, 1 FROM video_tasks"
        " WHERE batch_id = 2 AND item_index = 0": {("TASK_RESOLVED_EARLY", "default", "bat_2", 0, None)},
        f"UPDATE video_tasks SET attempt = 7 {ITEM_1}": item_1("TASK_RESOLUTION_WRONG"),
        f"UPDATE video_tasks SET is_current = 0 {ITEM_1}": {
            ("ITEM_ROWS_WRONG", "default", "bat_1", 1, None),
            ("BATCH_COUNTS_WRONG", "default", "bat_1", None, None),
        },
        "UPDATE video_tasks SET is_current = 0 WHERE batch_id = 1 AND item_index = 0": {
            ("ITEM_ROWS_WRONG", "default", "bat_1", 0, None),
            ("TASK_STATE_WRONG", "default", "bat_1", 0, None),
            ("BATCH_COUNTS_WRONG", "default", "bat_1", None, None),
        },
        f"UPDATE video_tasks SET completed_at_ms = NULL {ITEM_1}": item_1("TASK_STATE_WRONG"),
        f"UPDATE video_tasks SET video_url = 'https://files.example/x' {ITEM_1}": item_1("TASK_STATE_WRONG"),
        f"UPDATE video_tasks SET retry_number = 4 {ITEM_1}": item_1("ITEM_ROWS_WRONG"),
        f"UPDATE video_tasks SET account_id = 2 {ITEM_1}": item_1("TASK_STATE_WRONG"),
        "UPDATE video_tasks SET attempt = 0 WHERE batch_id = 2 AND item_index = 0": {
            ("TASK_STATE_WRONG", "default", "bat_2", 0, None)
        },
        "UPDATE video_tasks SET worker_id = 'nobody' WHERE batch_id = 2 AND item_index = 0": {
            ("TASK_STATE_WRONG", "default", "bat_2", 0, None)
        },
        "DELETE FROM workers": {
            ("TASK_STATE_WRONG", "default", "bat_2", 0, None),
            ("TASK_STATE_WRONG", "default", "bat_2", 1, None),
        },
        "UPDATE video_tasks SET remote_task_id = (SELECT remote_task_id FROM video_tasks"
        f" {ITEM_1}) WHERE batch_id = 2 AND item_index = 0": {
            ("REMOTE_TASK_TWICE", None, "bat_1", 1, None),
            ("REMOTE_TASK_TWICE", None, "bat_2", 0, None),
        },
    }
    assert differences(books, cases) == {}


def test_a_refused_task_edited_into_a_delivered_one_is_named(books: Books) -> None:
    report = tamper(
        books,
        "UPDATE video_tasks SET status = 'succeeded', video_url = 'https://files.example/x.mp4',"
        f" error = NULL, failure_type = NULL {ITEM_1}",
    )
    assert ("TASK_RESOLUTION_WRONG", "default", "bat_1", 1, None) in named(report)
    assert ("TASK_ENTRY_WRONG", "default", "bat_1", 1, 5) in named(report)


def test_a_final_task_made_pending_again_is_named(books: Books) -> None:
    report = tamper(books, f"UPDATE video_tasks SET status = 'pending', completed_at_ms = NULL {ITEM_1}")
    assert ("TASK_RESOLVED_EARLY", "default", "bat_1", 1, None) in named(report)
    assert ("TASK_ENTRY_UNRESOLVED", "default", "bat_1", 1, 5) in named(report)
    assert ("BATCH_FINALIZED_EARLY", "default", "bat_1", None, None) in named(report)


def test_a_deleted_task_is_named(books: Books) -> None:
    report = tamper(books, f"DELETE FROM video_tasks {ITEM_1}")
    assert ("ITEM_MISSING", "default", "bat_1", 1, None) in named(report)
    assert ("TASK_UNKNOWN", "default", "bat_1", None, 5) in named(report)


def test_a_second_refund_of_a_task_is_named_although_the_chain_is_sound(books: Books) -> None:
    def refund_again(connection: Connection) -> None:
        book = ledger.Book(connection, [1])
        parts = batches.reservations(connection, [2])[2].refund(7)  # credits that bat_2 holds
        book.append(1, EntryType.REFUND, parts, now_ms=5_000, batch_id=1, task_id=2)
        book.write()

    books.database.run(refund_again)
    report = audited(books)
    assert not [v for v in report.violations if v.code is Code.LEDGER_ENTRY_ALTERED]
    assert ("TASK_ENTRY_TWICE", "default", "bat_1", 1, 10) in named(report)
    assert ("RESERVATION_OVERDRAWN", "default", "bat_1", None, 10) in named(report)


def test_a_refund_that_does_not_unwind_the_reservation_is_named(books: Books) -> None:
    # the refund of item 1 came from the permanent credits at the reservation's end
    for parts in ("[[1,10]]", "[[2,4],[2,6]]"):
        report = tamper(books, f"UPDATE ledger_entries SET parts = '{parts}'{OF}5")
        assert ("RESERVATION_ORDER_WRONG", "default", "bat_1", None, 5) in named(report), parts
