"""Transactions that meet: the later one is answered truly, and none waits for another in a ring."""

import threading
import time

from sqlalchemy import Connection, event

from rushes.domain.errors import ItemNotRetryable, RushesError
from rushes.engine import accept
from rushes.store.database import Database
from tests.books import REFUSED, Books, assert_sound


def test_of_two_retries_at_once_the_later_one_is_told_that_the_item_waits_again(database: Database) -> None:
    books = Books(database)
    account = books.account()
    books.grant(account, 100)
    batch_id = books.accept(account, [10])
    (claimed,) = books.claim()
    books.finish([(claimed, REFUSED)])
    retried = threading.Event()
    refusals: list[RushesError] = []

    def retry_and_linger(connection: Connection) -> None:
        accept.retry_item(connection, batch_id, 0, now_ms=books.now_ms)
        retried.set()
        time.sleep(0.5)  # the other one waits for this one's lock by then

    def retry_too() -> None:
        retried.wait(10)
        try:
            database.run(accept.retry_item, batch_id, 0, now_ms=books.now_ms)
        except RushesError as refusal:
            refusals.append(refusal)

    other = threading.Thread(target=retry_too)
    other.start()
    database.run(retry_and_linger)
    other.join(20)
    (refusal,) = refusals
    assert isinstance(refusal, ItemNotRetryable), refusal
    assert "item 0 is pending" in refusal.message
    assert_sound(books)


def test_what_waits_in_several_batches_is_ended_before_the_first_account_is_locked(
    database: Database,
) -> None:
    books = Books(database)
    account = books.account()
    books.grant(account, 100)
    for name in ("bat_1", "bat_2"):
        books.accept(account, [10], name=name)
    asked: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _cursor, sql, *_: asked.append(sql))
    assert database.run(accept.fail_waiting, wait_ms_max=0, now_ms=books.now_ms + 1) == 2
    ended = [place for place, sql in enumerate(asked) if "UPDATE video_tasks" in sql]
    locked = [place for place, sql in enumerate(asked) if "FROM accounts" in sql]
    assert len(ended) == 2
    assert max(ended) < min(locked)
    assert_sound(books)
