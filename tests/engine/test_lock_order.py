"""Transactions that meet: the later one is answered truly, and none waits for another in a ring."""

import threading
import time

from sqlalchemy import Connection

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
