"""Transactions that meet: the later one is answered truly, and none waits for another in a ring."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Connection, event

from rushes.domain.errors import ItemNotRetryable, RushesError
from rushes.money import accept
from rushes.money import retry as retries
from rushes.money.settle import Group
from rushes.run.upkeep import clean_up
from rushes.store import batches, ledger
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask, FinishedTask
from tests.books import PROVIDER, REFUSED, Books, assert_sound


def test_of_two_retries_at_once_the_later_one_is_told_that_the_item_waits_again(database: Database) -> None:
    books = Books(database)
    account = books.account()
    books.grant(account, 100)
    batch_id = books.accept(account, [10])
    (claimed,) = books.claim()
    books.finish([(claimed, REFUSED)])
    retried = threading.Event()
    refusals: list[RushesError] = []
    waits: list[bool] = []

    def retry_and_linger(connection: Connection) -> None:
        retries.retry_item(connection, batch_id, 0, now_ms=books.now_ms)
        retried.set()
        time.sleep(0.5)
        waits.append(other.is_alive())

    def retry_too() -> None:
        retried.wait(10)
        try:
            database.run(retries.retry_item, batch_id, 0, now_ms=books.now_ms)
        except RushesError as refusal:
            refusals.append(refusal)

    other = threading.Thread(target=retry_too)
    other.start()
    database.run(retry_and_linger)
    other.join(20)
    assert waits == [True], "the later one waits for the first one's lock"
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
    assert ended
    assert max(ended) < min(locked)
    assert_sound(books)


def test_expiring_credits_beside_a_cancel_of_what_waits_is_no_deadlock(
    new_database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only PostgreSQL has locks of rows. The upkeep holds the account, then the cancel the tasks."""
    database = Database(new_database_url("postgresql"))
    books = Books(database)
    account = books.account()
    books.grant(account, 100)
    books.grant(account, 5, expires_at_ms=1_500)
    batch_id = books.accept(account, [1] * 3)
    books.now_ms = 10_000_000
    has_account, has_tasks = threading.Event(), threading.Event()
    expire_lots, cancel_pending = ledger.expire_lots, accept._cancel_pending
    deadlocks: list[str] = []

    def expire(connection: Connection, now_ms: int, **where: Any) -> int:
        expired = expire_lots(connection, now_ms, **where)
        if not has_account.is_set():
            has_account.set()
            has_tasks.wait(10)
        return expired

    def cancel(connection: Connection, batch_id: int, now_ms: int) -> list[FinishedTask]:
        has_account.wait(10)
        cancelled = cancel_pending(connection, batch_id, now_ms)
        has_tasks.set()
        return cancelled

    def note(context: Any) -> None:
        deadlocks.append(str(context.original_exception))

    monkeypatch.setattr(ledger, "expire_lots", expire)
    monkeypatch.setattr(accept, "_cancel_pending", cancel)
    event.listen(database.engine, "handle_error", note)
    other = threading.Thread(target=lambda: database.run(accept.cancel_batch, batch_id, now_ms=books.now_ms))
    other.start()
    # for which all that waits has waited for too long
    asyncio.run(clean_up(database, providers=[PROVIDER], wait_ms_max=1000, now_ms=books.now_ms))
    other.join(20)
    assert deadlocks == []
    assert books.rows("SELECT DISTINCT status, error FROM video_tasks") == [
        {"status": "failed", "error": "CANCELLED"}
    ]
    assert_sound(books)
    database.close()


def test_groups_that_end_tasks_of_each_others_batches_and_return_their_own_are_no_deadlock(
    new_database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only PostgreSQL has locks of rows. Two accounts, so that their locks do not keep the groups apart."""
    database = Database(new_database_url("postgresql"))
    books = Books(database)
    for name, account_name in (("bat_1", "one"), ("bat_2", "two")):
        account = books.account(account_name)
        books.grant(account, 100)
        books.accept(account, [10, 10], name=name)
    by_batch: dict[int, list[ClaimedTask]] = {}
    for task in books.claim():
        by_batch.setdefault(task.batch_id, []).append(task)
    first, second = (by_batch[batch_id] for batch_id in sorted(by_batch))
    groups = (
        Group(verdicts=[(first[0].task_id, 1, REFUSED)], returned=[(second[0].task_id, 1)]),
        Group(verdicts=[(second[1].task_id, 1, REFUSED)], returned=[(first[1].task_id, 1)]),
    )
    deadlocks: list[str] = []
    event.listen(
        database.engine, "handle_error", lambda context: deadlocks.append(str(context.original_exception))
    )
    lock_counters = batches.lock_counters
    both = threading.Barrier(2)

    def lock_and_linger(connection: Connection, batch_ids: Any) -> Any:
        locked = lock_counters(connection, batch_ids)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # each has its first lock, where both can have one
        return locked

    monkeypatch.setattr(batches, "lock_counters", lock_and_linger)
    others = [threading.Thread(target=books.apply, args=(group,)) for group in groups]
    for other in others:
        other.start()
    for other in others:
        other.join(20)
    assert deadlocks == []
    counts = books.rows("SELECT pending_count, processing_count, failed_count FROM batches ORDER BY id")
    assert [tuple(row.values()) for row in counts] == [(1, 0, 1), (1, 0, 1)]
    assert_sound(books)
    database.close()
