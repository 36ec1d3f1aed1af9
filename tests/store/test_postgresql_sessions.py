"""A process that stands still in the middle of a transaction on PostgreSQL holds up nobody for long."""

import threading
import time
from collections.abc import Callable

from sqlalchemy import Connection, text

from rushes.domain.errors import DatabaseUnreachable
from rushes.store import ledger
from rushes.store.database import Database

IDLE_SECONDS = 0.5


def test_a_process_that_was_stopped_within_a_transaction_loses_its_locks(
    new_database_url: Callable[[str], str],
) -> None:
    url = new_database_url("postgresql")
    stopped, other = Database(url, postgresql_idle_seconds=IDLE_SECONDS), Database(url)
    other.run(ledger.ensure_account, "default", 1_000)
    holds, goes_on = threading.Event(), threading.Event()

    def lock_and_stand_still(connection: Connection) -> None:
        connection.execute(text("UPDATE accounts SET name = 'changed'"))
        holds.set()
        assert goes_on.wait(30)
        connection.execute(text("UPDATE accounts SET name = 'changed again'"))

    def rename(connection: Connection) -> None:
        connection.execute(text("UPDATE accounts SET name = 'mine'"))

    errors: list[BaseException] = []

    def stand_still() -> None:
        try:
            stopped.run(lock_and_stand_still)
        except DatabaseUnreachable as error:
            errors.append(error)

    thread = threading.Thread(target=stand_still)
    thread.start()
    try:
        assert holds.wait(10)
        started = time.monotonic()
        other.run(rename)
        waited_seconds = time.monotonic() - started
    finally:
        goes_on.set()
        thread.join()
        stopped.close()
    with other.engine.connect() as connection:
        assert connection.scalar(text("SELECT name FROM accounts")) == "mine"
    other.close()
    assert waited_seconds < 20 * IDLE_SECONDS
    assert errors, "the stopped transaction must fail, and say that trying again may help"
