"""What a session on PostgreSQL costs: exchanges of a read, snapshots, and transactions that stand still."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from rushes.domain.errors import DatabaseUnreachable, StoreError
from rushes.store import ledger
from rushes.store.connections import postgresql
from rushes.store.connections.snapshot import begin_snapshot
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


def test_a_read_is_one_exchange_with_the_server(
    new_database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(new_database_url("postgresql"), inline=True)
    asked: list[str] = []
    sent = psycopg.Cursor.execute

    def noted(cursor: psycopg.Cursor[Any], query: Any, *arguments: Any, **options: Any) -> Any:
        status = cursor.connection.info.transaction_status
        asked.append(f"{query} {status.name}")
        return sent(cursor, query, *arguments, **options)

    database.run_reading(_one)
    monkeypatch.setattr(psycopg.Cursor, "execute", noted)
    try:
        assert database.run_reading(_one) == 1
        at_once, asked[:] = list(asked), []
        monkeypatch.setattr(postgresql, "PING_SECONDS", 0.0)
        assert database.run_reading(_one) == 1
    finally:
        database.close()
    assert at_once == ["SELECT 1 AS one IDLE"], "no BEGIN before it, no look at the connection"
    assert len(asked) == 2, "a connection that has rested is asked whether its server is there"


def test_a_read_outside_of_a_transaction_holds_no_snapshot_and_one_that_asks_for_it_does(
    new_database_url: Callable[[str], str],
) -> None:
    url = new_database_url("postgresql")
    database, other = Database(url, inline=True), Database(url, inline=True)
    other.run(ledger.ensure_account, "default", 1_000)

    def names_before_and_after(connection: Connection, *, snapshot: bool) -> tuple[Any, Any]:
        if snapshot:
            begin_snapshot(connection)
        before = connection.scalar(text("SELECT name FROM accounts"))
        other.run(lambda writing: writing.execute(text("UPDATE accounts SET name = name || '!'")))
        return before, connection.scalar(text("SELECT name FROM accounts"))

    def write(connection: Connection) -> None:
        begin_snapshot(connection)
        connection.execute(text("UPDATE accounts SET name = 'written'"))

    try:
        assert database.run_reading(names_before_and_after, snapshot=False) == ("default", "default!")
        assert database.run_reading(names_before_and_after, snapshot=True) == ("default!", "default!")
        with pytest.raises(StoreError):
            database.run_reading(write)
        assert database.run_reading(_one) == 1
        assert database.run_reading(lambda reading: reading.scalar(text("SELECT name FROM accounts"))) == (
            "default!!"
        )
    finally:
        database.close()
        other.close()


def test_a_server_that_was_restarted_meanwhile_costs_a_rested_connection_nothing(
    new_database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database_url("postgresql")
    database, other = Database(url, inline=True), Database(url, inline=True)
    monkeypatch.setattr(postgresql, "PING_SECONDS", 0.0)
    try:
        assert database.run_reading(_one) == 1
        other.run(
            lambda connection: connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        )
        assert database.run_reading(_one) == 1
        assert database.run(_one) == 1
    finally:
        database.close()
        other.close()


def _one(connection: Connection) -> Any:
    return connection.scalar(text("SELECT 1 AS one"))
