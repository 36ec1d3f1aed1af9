"""Lanes that end when nobody waits for them any more."""

import asyncio
import gc
import random

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import DatabaseUnreachable
from rushes.domain.polling.schedule import LadderSchedule
from rushes.run.context import WorkerConfig
from rushes.run.tick import _worked_off
from rushes.run.worker import Worker
from rushes.store.database import Database
from rushes.store.workers import LeaseLost


def test_a_lane_that_ends_after_its_stop_leaves_no_error_that_nobody_has_seen(database: Database) -> None:
    """As when the last claim of a pass finds that its lease is lost."""
    unseen: list[dict[str, object]] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unseen.append(context))
        worker = Worker(
            database,
            {},
            catalogue=DEFAULT_CATALOGUE,
            schedule=LadderSchedule(1.0, 30.0),
            config=WorkerConfig(
                stop_seconds=0.4,
                lease_seconds=30.0,
                unconfirmed_grace_seconds=1.0,
                callback_url=lambda _provider, _task_id, _attempt: None,
                host="here",
                pid=1,
            ),
            now_ms=lambda: 1_000,
            new_id=lambda: "late",
            jitter=random.Random(1),
        )
        over = asyncio.Event()

        async def claim() -> None:
            await over.wait()
            raise LeaseLost("worker late has lost its lease")

        claiming = asyncio.create_task(claim())
        await worker.finish([claiming])
        over.set()
        await asyncio.wait([claiming])
        del claiming
        gc.collect()

    asyncio.run(scenario())
    assert unseen == []


def test_a_pass_ends_when_one_of_its_parts_has_lost_the_lease_and_goes_on_without_the_database() -> None:
    async def scenario() -> None:
        async def part(error: Exception | None) -> None:
            if error is not None:
                raise error

        async def worked_off(*errors: Exception | None) -> bool:
            stopping = asyncio.create_task(asyncio.Event().wait())
            tasks = [asyncio.create_task(part(error)) for error in errors]
            try:
                return await _worked_off(tasks, stopping, asyncio.get_running_loop().time() + 5)
            finally:
                stopping.cancel()

        assert await worked_off(None, None)
        assert not await worked_off(None, DatabaseUnreachable("away"))
        with pytest.raises(LeaseLost, match="over"):
            await worked_off(DatabaseUnreachable("away"), LeaseLost("over"))

    asyncio.run(scenario())
