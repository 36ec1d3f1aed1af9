"""On PostgreSQL leases go by its clock: machines that are an hour apart take nothing from each other."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from rushes.store import workers
from rushes.store.database import Database
from rushes.store.workers import LeaseLost

HOUR_MS = 3_600_000
LEASE_MS = 30_000
NOW_MS = 1_700_000_000_000
"""What a machine says; PostgreSQL's clock is years ahead of it."""


@pytest.fixture
def database(new_database_url: Callable[[str], str]) -> Iterator[Database]:
    opened = Database(new_database_url("postgresql"), leases_by_its_clock=True)
    yield opened
    opened.close()


def register(database: Database, name: str, *, now_ms: int, lease_ms: int = LEASE_MS) -> bool:
    return database.run(
        workers.register, name, host="", pid=0, now_ms=now_ms, lease_expires_at_ms=now_ms + lease_ms
    )


@pytest.mark.parametrize("apart_ms", [HOUR_MS, -HOUR_MS])
def test_machines_an_hour_apart_see_each_other_alive(database: Database, apart_ms: int) -> None:
    register(database, "one", now_ms=NOW_MS)
    assert register(database, "other", now_ms=NOW_MS + apart_ms), "the first one lives"
    for now_ms in (NOW_MS, NOW_MS + apart_ms):
        assert [each.worker_id for each in database.run(workers.standings, now_ms)] == ["one", "other"]
        assert [row["id"] for row in database.run(workers.live_workers, now_ms)] == ["one", "other"]
        assert not database.run(workers.any_dead, "other", now_ms=now_ms)
        assert database.run(workers.adopt, "other", providers=["grsai"], now_ms=now_ms, limit=9) == []
        database.run(workers.require_lease, "one", now_ms)


@pytest.mark.parametrize("apart_ms", [HOUR_MS, -HOUR_MS])
def test_a_renewal_lasts_as_long_as_the_lease_whatever_the_machine_says(
    database: Database, apart_ms: int
) -> None:
    register(database, "one", now_ms=NOW_MS, lease_ms=1)
    now_ms = NOW_MS + apart_ms
    standings = database.run(
        workers.renew_lease_if_alive,
        "one",
        lease_expires_at_ms=now_ms + LEASE_MS,
        report="{}",
        holds={},
        now_ms=now_ms,
    )
    assert standings is not None
    with database.engine.connect() as connection:
        left_ms = connection.scalar(
            text("SELECT lease_expires_at_ms - extract(epoch FROM clock_timestamp()) * 1000 FROM workers")
        )
    assert LEASE_MS - 10_000 < left_ms <= LEASE_MS


@pytest.mark.parametrize("apart_ms", [HOUR_MS, 0, -HOUR_MS])
def test_a_lease_ends_by_the_databases_clock(database: Database, apart_ms: int) -> None:
    register(database, "dead", now_ms=NOW_MS + apart_ms, lease_ms=20)
    register(database, "other", now_ms=NOW_MS)
    asyncio.run(asyncio.sleep(0.1))
    assert database.run(workers.any_dead, "other", now_ms=NOW_MS)
    with pytest.raises(LeaseLost):
        database.run(workers.require_lease, "dead", NOW_MS + apart_ms)
    database.run(workers.adopt, "other", providers=["grsai"], now_ms=NOW_MS, limit=9)
    assert [row["id"] for row in database.run(workers.live_workers, NOW_MS)] == ["other"]
