"""A claim, an adoption or a release whose answer was lost may be committed after its worker looks for it.

That is how PostgreSQL treats a commit that was on its way when the connection was cut. The look must wait
for it, or the tasks would be the worker's without its knowing, until it dies, or also another's.
"""

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection

from rushes.run.lane.fairness import claim_fairly
from rushes.store import tasks, workers
from rushes.store.database import Database
from tests.books import LEASE_ENDS_MS, PROVIDER, WORKER, Books

COMMIT_DELAY_SECONDS = 0.3


@pytest.fixture
def books(new_database_url: Callable[[str], str]) -> Iterator[Books]:
    """A batch of three tasks on PostgreSQL. (SQLite knows one transaction at a time.)"""
    database = Database(new_database_url("postgresql"))
    made = Books(database)
    account = made.account()
    made.grant(account, 100)
    made.accept(account, [10, 10, 10])
    yield made
    database.close()


def committed_late(books: Books, function: Callable[[Connection], object]) -> threading.Thread:
    """Runs `function` in a transaction that is committed after a while; returns once it waits for that."""
    waits = threading.Event()

    def run(connection: Connection) -> None:
        function(connection)
        waits.set()
        threading.Event().wait(COMMIT_DELAY_SECONDS)

    thread = threading.Thread(target=books.database.run, args=(run,))
    thread.start()
    assert waits.wait(10)
    return thread


def test_a_claim_that_is_committed_late_is_found_when_its_worker_looks(books: Books) -> None:
    books.worker()
    claiming = committed_late(
        books,
        lambda connection: claim_fairly(
            connection, provider=PROVIDER, worker_id=WORKER, limit=3, now_ms=books.now_ms
        ),
    )
    found = books.database.run_reading(tasks.owned_without_remote_id, provider=PROVIDER, worker_id=WORKER)
    claiming.join()
    assert len(found) == 3


def test_an_adoption_that_is_committed_late_is_found_when_its_worker_looks(books: Books) -> None:
    books.name(books.claim())
    books.worker("worker-2")
    after_death = LEASE_ENDS_MS + 1
    books.sql(
        "UPDATE workers SET lease_expires_at_ms = :later WHERE id = 'worker-2'", later=after_death + 1000
    )
    adopting = committed_late(
        books,
        lambda connection: workers.adopt(
            connection, "worker-2", providers=[PROVIDER], now_ms=after_death, limit=10
        ),
    )
    found = books.database.run_reading(workers.owned_in_flight, "worker-2", providers=[PROVIDER])
    adopting.join()
    assert len(found) == 3


def test_what_a_release_gives_away_late_is_not_its_workers_when_it_looks(books: Books) -> None:
    claimed = books.claim()
    books.name(claimed)
    releasing = committed_late(
        books,
        lambda connection: workers.release_share_if_owned(
            connection,
            [(task.task_id, task.attempt) for task in claimed],
            provider=PROVIDER,
            worker_id=WORKER,
            now_ms=books.now_ms,
        ),
    )
    found = books.database.run_reading(workers.owned_in_flight, WORKER, providers=[PROVIDER])
    releasing.join()
    assert found == []
