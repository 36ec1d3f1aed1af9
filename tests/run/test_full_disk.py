"""A disk that is full for longer than a lease: the worker waits for space, and goes on."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import pytest
from sqlalchemy import Connection

from rushes.domain.errors import DatabaseFull
from rushes.simulator import running_simulator
from rushes.store import workers
from rushes.store.database import Database
from tests.harness import FAST, assert_money_adds_up, items, run_for, rushes_on

P = ParamSpec("P")
T = TypeVar("T")

LEASE_SECONDS = 0.6


class SmallDatabase(Database):
    """A database that takes no writes while `full`; reading it works."""

    full = False

    async def transact(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As the real one, but rolled back at its end while it is full."""

        def run(connection: Connection) -> T:
            result = function(connection, *args, **kwargs)
            if self.full:
                raise DatabaseFull("no space is left")
            return result

        return await super().transact(run)


def test_a_worker_whose_lease_ran_out_on_a_full_disk_goes_on_when_there_is_space(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'small.db'}"

    async def scenario() -> None:
        with running_simulator(FAST) as simulator:
            environment = {"RUSHES_LEASE_SECONDS": str(LEASE_SECONDS)}
            async with rushes_on(url, simulator.base_url, environment) as rushes:
                batch = await rushes.create_batch(items(20))
                small = SmallDatabase(url)
                rushes.database.close()
                rushes.database = small
                running = asyncio.create_task(run_for(rushes, batch["batch_id"]))
                # one that meets the full disk when it starts says so and ends: that is another story
                while not await small.read(lambda connection: bool(workers.standings(connection, 0))):
                    await asyncio.sleep(0.01)
                small.full = True
                await asyncio.sleep(3 * LEASE_SECONDS)
                small.full = False
                batch = await running
        assert_money_adds_up(batch)
        assert batch["status"] == "succeeded"

    asyncio.run(scenario())


def test_a_worker_that_meets_a_full_disk_when_it_starts_says_so_and_ends(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'small.db'}"

    async def scenario() -> None:
        with running_simulator(FAST) as simulator:
            async with rushes_on(url, simulator.base_url) as rushes:
                batch = await rushes.create_batch(items(1))
                rushes.database.close()
                small = rushes.database = SmallDatabase(url)
                small.full = True
                with pytest.raises(DatabaseFull):
                    await run_for(rushes, batch["batch_id"])
                small.full = False
                assert not await small.read(lambda connection: bool(workers.standings(connection, 0)))
                assert (await rushes.batch(batch["batch_id"]))["pending_count"] == 1

    asyncio.run(scenario())
