"""Stops and passes end within their bounds, and lose no submit that has time to end."""

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rushes.domain.errors import DatabaseUnreachable
from rushes.run.worker import _look_at_end
from rushes.simulator import running_simulator
from rushes.store.workers import LeaseLost
from tests.harness import FAST, assert_money_adds_up, items, knobs, run_for, rushes_on

BUDGET_SECONDS = 4.0
LATE_SECONDS = 3.0
"""What the client's side of a transaction's bound, and a busy machine, add."""

SLOW_SUBMITS = knobs(latency_min_seconds=1.5, latency_max_seconds=1.6)


def test_a_pass_that_is_stopped_gives_its_submits_their_time(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(SLOW_SUBMITS) as simulator:
            more = {"RUSHES_UNCONFIRMED_GRACE_SECONDS": "0"}
            async with rushes_on(database_url, simulator.base_url, more) as rushes:
                batch = await rushes.create_batch(items(6))
                stop = asyncio.Event()
                passing = asyncio.create_task(rushes.worker_process().tick(stop=stop))
                while simulator.report().submits == 0:
                    await asyncio.sleep(0.02)
                stop.set()
                await passing
                batch = await run_for(rushes, batch["batch_id"])
            report = simulator.report()
        assert batch["succeeded_count"] == 6, "no submit of the stopped pass was lost"
        assert report.submits == 6
        assert_money_adds_up(batch)

    asyncio.run(scenario())


def test_a_stop_gives_back_what_waits_for_the_limit_and_has_not_left(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(FAST) as simulator:
            more = {"RUSHES_SUBMITS_PER_SECOND": "1", "RUSHES_UNCONFIRMED_GRACE_SECONDS": "0"}
            async with rushes_on(database_url, simulator.base_url, more) as rushes:
                batch = await rushes.create_batch(items(8))
                stop, started = asyncio.Event(), time.monotonic()
                asyncio.get_running_loop().call_later(1.5, stop.set)
                batch = await rushes.run(batch["batch_id"], stop=stop)
                stopped_after = time.monotonic() - started
                waiting = await rushes.items(batch["batch_id"], status="pending")
                report = simulator.report()
        assert stopped_after < 1.5 + LATE_SECONDS
        assert len(waiting) == 8 - report.submits
        assert batch["failed_count"] == 0

    asyncio.run(scenario())


def test_what_a_lane_raises_while_nobody_waits_for_it_is_logged() -> None:
    async def scenario() -> list[str]:
        async def lane(error: Exception) -> None:
            raise error

        tasks = [
            asyncio.create_task(lane(error)) for error in (DatabaseUnreachable("away"), LeaseLost("over"))
        ]
        await asyncio.wait(tasks)
        with capture_logs() as lines:
            for task in tasks:
                _look_at_end(task)
        return [line["error"] for line in lines]

    assert asyncio.run(scenario()) == ["a claim failed while the worker stopped: away"]


def test_what_cannot_be_stored_after_a_lost_lease_is_waited_for_no_longer_than_a_stop_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_arguments: object, **_options: object) -> None:
        raise DatabaseUnreachable("away")

    async def scenario() -> tuple[float, list[str]]:
        with running_simulator(FAST) as simulator:
            environment = {"RUSHES_STOP_SECONDS": "1"}
            url = f"sqlite:///{tmp_path / 'rushes.db'}"
            async with rushes_on(url, simulator.base_url, environment) as rushes:
                worker = rushes.worker()
                worker.committer.accepted(1, 1, "remote")
                monkeypatch.setattr(rushes.database, "transact", away)
                started = time.monotonic()
                with capture_logs() as lines:
                    await worker.salvage()
                return time.monotonic() - started, [line["error"] for line in lines]

    seconds, errors = asyncio.run(scenario())
    assert seconds < 1 + LATE_SECONDS
    assert errors[-1] == "not all was stored after the lease was lost"
