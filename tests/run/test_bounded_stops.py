"""Stops and passes end within their bounds, and lose no submit that has time to end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from proofs.silent_proxy import SilentProxy
from sqlalchemy import make_url
from structlog.testing import capture_logs

from rushes.domain.errors import DatabaseUnreachable
from rushes.files.gate.deciding import record_stored
from rushes.library import Rushes
from rushes.money.settle import apply_group
from rushes.run.lane.fairness import claim_fairly
from rushes.run.worker import _look_at_end
from rushes.simulator import running_simulator
from rushes.store import archive, workers
from rushes.store.inputs import uploads
from rushes.store.tasks import turns
from rushes.store.workers import LeaseLost
from tests.harness import FAST, assert_money_adds_up, items, knobs, run_for, rushes_on

BUDGET_SECONDS = 4.0
LATE_SECONDS = 3.0
"""What the client's side of a transaction's bound, and a busy machine, add."""

SLOW_SUBMITS = knobs(latency_min_seconds=1.5, latency_max_seconds=1.6)


@pytest.fixture
def proxy(new_database_url: Callable[[str], str]) -> Iterator[tuple[SilentProxy, str]]:
    url = make_url(new_database_url("postgresql"))
    with SilentProxy(Path(str(url.query["host"])) / ".s.PGSQL.5432") as running:
        there = f"postgresql://postgres@127.0.0.1:{running.port}/{url.database}"
        yield running, f"{there}?sslmode=disable&gssencmode=disable"


async def timed_tick(rushes: Rushes) -> tuple[float, bool]:
    """How long a pass took, and whether it was whole."""
    started = time.monotonic()
    try:
        ok = (await rushes.worker_process().tick(budget_seconds=BUDGET_SECONDS)).ok
    except DatabaseUnreachable:
        ok = False
    return time.monotonic() - started, ok


@pytest.mark.parametrize("silent_after_seconds", [0.0, 0.3, 1.0])
def test_a_pass_ends_within_its_budget_although_the_database_falls_silent(
    proxy: tuple[SilentProxy, str], silent_after_seconds: float
) -> None:
    async def scenario() -> None:
        silent, url = proxy
        with running_simulator(knobs(render_seconds=30.0)) as simulator:
            more = {"RUSHES_DATABASE_TIMEOUT_SECONDS": "1", "RUSHES_ARCHIVE_URL": "none"}
            async with rushes_on(url, simulator.base_url, more) as rushes:
                await rushes.create_batch(items(20))
                if silent_after_seconds:
                    asyncio.get_running_loop().call_later(silent_after_seconds, silent.hush)
                else:
                    silent.hush()
                seconds, ok = await timed_tick(rushes)
                silent.speak()
        assert seconds < BUDGET_SECONDS + LATE_SECONDS
        assert not ok or silent_after_seconds, "a pass without a database says so"

    asyncio.run(scenario())


def fall_silent_before(
    asked: Callable[..., object], rushes: Rushes, proxy: SilentProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once `asked` is about to run in a transaction or a read, the database answers nothing any more."""

    def listening(run: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def listened(function: object, /, *arguments: object, **options: object) -> object:
            if function is asked:
                proxy.hush()
            return await run(function, *arguments, **options)

        return listened

    monkeypatch.setattr(rushes.database, "transact", listening(rushes.database.transact))
    monkeypatch.setattr(rushes.database, "read", listening(rushes.database.read))


async def seconds_of_a_pass(
    rushes: Rushes, proxy: SilentProxy, monkeypatch: pytest.MonkeyPatch, asked: Callable[..., object]
) -> float:
    """Of a pass with a budget of two seconds, in which the database falls silent; it must say so."""
    fall_silent_before(asked, rushes, proxy, monkeypatch)
    started = time.monotonic()
    report = await rushes.worker_process().tick(budget_seconds=2.0)
    seconds = time.monotonic() - started
    proxy.speak()
    assert proxy.silenced_links > 0
    assert not report.ok
    return seconds


@pytest.mark.parametrize("asked", [turns.count_waiting, claim_fairly, apply_group, workers.release])
def test_a_pass_waits_for_no_answer_beyond_its_last_commit(
    proxy: tuple[SilentProxy, str], monkeypatch: pytest.MonkeyPatch, asked: Callable[..., object]
) -> None:
    async def scenario() -> float:
        silent, url = proxy
        slow = knobs(render_seconds=30.0, latency_min_seconds=0.8, latency_max_seconds=0.9)
        with running_simulator(slow) as simulator:
            more = {"RUSHES_DATABASE_TIMEOUT_SECONDS": "4", "RUSHES_ARCHIVE_URL": "none"}
            async with rushes_on(url, simulator.base_url, more) as rushes:
                await rushes.create_batch(items(20))
                return await seconds_of_a_pass(rushes, silent, monkeypatch, asked)

    assert asyncio.run(scenario()) < 2.0 + LATE_SECONDS


@pytest.mark.parametrize(
    "asked", [uploads.mark_removed_if_expired, archive.any_due, archive.claim_if_due, record_stored]
)
def test_a_pass_waits_for_no_answer_about_files_beyond_its_budget(
    proxy: tuple[SilentProxy, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    asked: Callable[..., object],
) -> None:
    async def scenario() -> float:
        silent, url = proxy
        with running_simulator(knobs(render_seconds=0.3)) as simulator:
            more = {
                "RUSHES_DATABASE_TIMEOUT_SECONDS": "6",
                "RUSHES_ARCHIVE_URL": f"file://{tmp_path}/archive",
            }
            async with rushes_on(url, simulator.base_url, more) as rushes:
                await rushes.create_batch(items(20))
                await rushes.worker_process().tick(budget_seconds=1.0)
                await asyncio.sleep(0.5)
                return await seconds_of_a_pass(rushes, silent, monkeypatch, asked)

    assert asyncio.run(scenario()) < 2.0 + LATE_SECONDS


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
