"""Upkeep takes its locks in everybody's order: beside a cancel it is no deadlock."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event

from rushes.engine import accept
from rushes.engine.steward import Steward, UnconfirmedPolicy
from rushes.store import ledger
from rushes.store.database import Database
from rushes.store.tasks import FinishedTask
from tests.books import PROVIDER, WORKER, Books, assert_sound


class Decisions:
    """Where a steward's decisions about unconfirmed submits go; there are none here."""

    def given_up(self, task_id: int, attempt: int) -> None:
        raise AssertionError((task_id, attempt))

    resubmitted = given_up


def steward(books: Books) -> Steward:
    """A worker's, for which all that waits has waited for too long."""
    return Steward(
        books.database,
        worker_id=WORKER,
        now_ms=lambda: books.now_ms,
        lease_seconds=30.0,
        unconfirmed_grace_seconds=60.0,
        unconfirmed_policy=UnconfirmedPolicy.REFUND,
        wait_seconds_max=1.0,
        sink=Decisions(),
        providers=[PROVIDER],
        on_adopted=lambda task: None,
        holds=lambda task: True,
    )


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
    asyncio.run(steward(books).keep_house())
    other.join(20)
    assert deadlocks == []
    assert books.rows("SELECT DISTINCT status, error FROM video_tasks") == [
        {"status": "failed", "error": "CANCELLED"}
    ]
    assert_sound(books)
    database.close()
