"""What no provider has by its deadline is cancelled and refunded, and nothing is sent after it."""

from dataclasses import replace

from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.domain.task import Failed, FailureType
from rushes.money import accept, once, retry
from rushes.store.database import Database
from tests.books import Books, assert_sound, batch, request


def with_deadline(database: Database, *, at_ms: int = 5_000) -> Books:
    """A batch of three with a deadline, and one without."""
    books = Books(database)
    account_id = books.account()
    books.grant(account_id, 100)
    for name, deadline in (("bat_1", at_ms), ("bat_2", None)):
        wanted = replace(request(account_id, [10, 10, 10], request_id=name), deadline_at_ms=deadline)
        database.run(accept.accept_batch, wanted, public_id=name, now_ms=books.now_ms)
    return books


def sweep(books: Books) -> int:
    return books.database.run(accept.fail_waiting, wait_ms_max=10**9, now_ms=books.now_ms)


def test_what_waits_at_its_deadline_is_refunded_and_what_is_at_a_provider_runs_on(database: Database) -> None:
    books = with_deadline(database)
    sent = books.claim(1)
    books.now_ms = 4_999
    assert sweep(books) == 0
    books.now_ms = 5_000
    assert sweep(books) == 2
    assert sweep(books) == 0
    rows = books.rows(
        "SELECT status, error, failure_type FROM video_tasks WHERE batch_id = 1 ORDER BY item_index"
    )
    ended = {"status": "failed", "error": "DEADLINE", "failure_type": "cancelled"}
    assert rows == [{"status": "processing", "error": None, "failure_type": None}, ended, ended]
    assert batch(books)["credits_refunded"] == 20
    assert batch(books, 2)["pending"] == 3
    books.finish([(task, Failed("no", FailureType.MODEL_ERROR)) for task in sent])
    assert batch(books)["status"] == "failed"
    assert_sound(books)


def test_nothing_is_claimed_after_its_deadline(database: Database) -> None:
    books = with_deadline(database)
    books.now_ms = 5_000
    assert {task.batch_id for task in books.claim()} == {2}


def test_a_retry_by_hand_after_the_deadline_has_none(database: Database) -> None:
    books = with_deadline(database)
    books.now_ms = 5_000
    sweep(books)
    database.run(retry.retry_item, 1, 0, now_ms=6_000)
    books.now_ms = 7_000
    assert sweep(books) == 0
    (claimed,) = books.claim(1)
    assert claimed.batch_id == 1
    assert_sound(books)


def test_an_items_own_deadline_ends_it_alone(database: Database) -> None:
    books = Books(database)
    account_id = books.account()
    books.grant(account_id, 100)
    wanted = request(account_id, [10, 10, 10], request_id="bat_1")
    own = [
        replace(task, deadline_at_ms=at) for task, at in zip(wanted.tasks, (4_000, None, 9_000), strict=True)
    ]
    wanted = replace(wanted, tasks=own, deadline_at_ms=8_000)
    database.run(accept.accept_batch, wanted, public_id="bat_1", now_ms=books.now_ms)
    for at_ms, ended in ((3_999, 0), (4_000, 1), (7_999, 0), (8_000, 2)):
        books.now_ms = at_ms
        assert sweep(books) == ended, at_ms
    assert batch(books)["credits_refunded"] == 30
    assert_sound(books)


def test_runs_of_the_same_items_are_the_same_whatever_their_deadlines(database: Database) -> None:
    plain = drafts_from_objects([{"prompt": "a"}], Defaults())
    (until,) = drafts_from_objects([{"prompt": "a", "deadline": 60}], Defaults())
    # as before items had deadlines: what is in databases is found again
    assert accept.request_hash(plain) == "911a02c919f33a86cbacbba4df6962ef64278c083eadd9a20aa85dc222fbe1bb"
    assert accept.request_hash([until]) != accept.request_hash(plain)
    same = {database.run_reading(once.runs_of, "account:1", drafts).start for drafts in (plain, [until])}
    assert len(same) == 1
