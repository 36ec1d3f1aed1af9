"""A PostgreSQL that says nothing, neither yes nor no nor goodbye, holds up no transaction past its bound."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from proofs.silent_proxy import SilentProxy
from sqlalchemy import Connection, make_url, text

from rushes.domain.errors import DatabaseBusy, DatabaseUnreachable, StoreError
from rushes.store.connections.bounds import ANSWER_SECONDS
from rushes.store.database import Database

SECONDS_MAX = 1.0
BOUND_SECONDS = SECONDS_MAX + ANSWER_SECONDS
LATE_SECONDS = 1.5
"""What a busy machine adds."""


@dataclass(slots=True)
class Behind:
    """A database behind a proxy that can be hushed."""

    proxy: SilentProxy
    database: Database


@pytest.fixture
def behind(new_database_url: Callable[[str], str]) -> Iterator[Behind]:
    url = make_url(new_database_url("postgresql"))
    folder = str(url.query["host"])
    with SilentProxy(Path(folder) / ".s.PGSQL.5432") as proxy:
        database = Database(
            f"postgresql://postgres@127.0.0.1:{proxy.port}/{url.database}?sslmode=disable&gssencmode=disable",
            seconds_max=SECONDS_MAX,
        )
        yield Behind(proxy, database)
        database.close()


def ask(connection: Connection) -> int:
    answer: int = connection.scalar(text("SELECT 1"))
    return answer


def timed(call: Callable[[], object]) -> tuple[float, StoreError]:
    started = time.monotonic()
    with pytest.raises((DatabaseUnreachable, DatabaseBusy)) as raised:
        call()
    assert raised.value.retryable
    return time.monotonic() - started, raised.value


def test_a_transaction_that_gets_no_answer_ends_within_its_bound(behind: Behind) -> None:
    def ask_of_a_silent_one(connection: Connection) -> None:
        ask(connection)
        behind.proxy.hush()
        ask(connection)

    seconds, error = timed(lambda: behind.database.run(ask_of_a_silent_one))
    assert BOUND_SECONDS - 0.2 < seconds < BOUND_SECONDS + LATE_SECONDS
    assert "did not answer in time" in error.message
    behind.proxy.speak()
    assert behind.database.run(ask) == 1


def test_a_commit_that_gets_no_answer_ends_within_its_bound(behind: Behind) -> None:
    def write_and_hush(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE silent (id int)"))
        behind.proxy.hush()

    seconds, _ = timed(lambda: behind.database.run(write_and_hush))
    assert seconds < BOUND_SECONDS + LATE_SECONDS


def test_a_pooled_connection_and_a_new_one_that_are_silent_end_within_the_bound(behind: Behind) -> None:
    assert behind.database.run(ask) == 1
    behind.proxy.hush()
    for _ in range(2):  # the pooled one, then a new one
        seconds, _ = timed(lambda: behind.database.run_reading(ask))
        assert seconds < BOUND_SECONDS + LATE_SECONDS


def test_transactions_that_wait_for_a_thread_end_within_the_same_bound(behind: Behind) -> None:
    async def ask_twelve_times() -> list[object]:
        await behind.database.transact(ask)
        behind.proxy.hush()
        return await asyncio.gather(
            *(behind.database.transact(ask) for _ in range(12)), return_exceptions=True
        )

    started = time.monotonic()
    answers = asyncio.run(ask_twelve_times())
    assert time.monotonic() - started < BOUND_SECONDS + ANSWER_SECONDS + LATE_SECONDS
    assert len(answers) == 12
    assert all(isinstance(answer, StoreError) and answer.retryable for answer in answers)


def test_the_server_ends_a_statement_that_takes_too_long(behind: Behind) -> None:
    def sleep(connection: Connection) -> None:
        connection.execute(text("SELECT pg_sleep(30)"))

    seconds, error = timed(lambda: behind.database.run(sleep))
    assert seconds < BOUND_SECONDS
    assert isinstance(error, DatabaseBusy)
    assert "took longer" in error.message


def test_a_longer_bound_allows_longer_statements_and_no_others(behind: Behind) -> None:
    def sleep(connection: Connection) -> int:
        connection.execute(text("SELECT pg_sleep(1.3)"))
        return 1

    assert behind.database.within(10).run(sleep) == 1
    timed(lambda: behind.database.run(sleep))


def test_closing_ends_although_nothing_answers(behind: Behind) -> None:
    assert behind.database.run(ask) == 1
    behind.proxy.hush()
    started = time.monotonic()
    behind.database.close()
    assert time.monotonic() - started < LATE_SECONDS
