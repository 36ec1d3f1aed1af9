"""Several workers on one PostgreSQL: even shares after a join or a death, and limits that hold for all."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from benchmarks._server import ALWAYS_RUNNING, RunningServer, running_server
from sqlalchemy import Connection, text

from benchmarks import _installation as installation
from rushes.providers.base import ProviderLimits
from rushes.run.lane.limits import RateLimit
from rushes.run.shares import excess_of, share_of
from rushes.run.worker import Worker
from rushes.simulator import running_simulator
from rushes.store import workers
from rushes.store.database import Database
from rushes.store.tasks import OwnedTask
from tests.harness import items, knobs, rushes_on

LEASE_SECONDS = 1.5
TASKS = 240


# --- the arithmetic -----------------------------------------------------------------------------------


@pytest.mark.parametrize("per_second", [0.5, 1, 2, 3, 7.5, 40, 1000])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_all_shares_together_never_exceed_the_limit(per_second: float, count: int) -> None:
    limits = ProviderLimits(submits_per_second=per_second, polls_per_second=per_second)
    shares = [share_of(limits, rank=rank, workers=count) for rank in range(count)]
    for rates in (
        [share.polls_per_second for share in shares],
        [share.submits_per_second for share in shares],
    ):
        assert sum(rate or 0 for rate in rates) == pytest.approx(per_second)
        bursts = sum(_most_in_one_second(rate) for rate in rates if rate is not None)
        assert bursts <= max(1, per_second), "even when all of them burst in the same second"


def _most_in_one_second(per_second: float) -> int:
    limit, now, times = RateLimit(per_second), 100.0, []
    while now < 104.0:
        if limit.permitted_at(now) <= now:
            limit.take(now)
            times.append(now)
        else:
            now += 0.001
    return max((sum(1 for t in times if first <= t < first + 1) for first in times), default=0)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_of_tasks_cover_all_tasks_with_and_without_limits(count: int) -> None:
    for limits in (ProviderLimits(), ProviderLimits(polls_per_second=2)):
        shares = [share_of(limits, rank=rank, workers=count) for rank in range(count)]
        assert sum(share.tasks_of(1000) for share in shares) >= 1000
        assert all(share.polls_per_second != 0 for share in shares if share.has_part)


@pytest.mark.parametrize(("count", "tasks"), [(2, 240), (11, 1210), (12, 1200), (40, 20_000)])
@pytest.mark.parametrize("newcomers", [1, 3])
def test_a_newcomer_gets_its_share_and_nothing_goes_back_and_forth(
    count: int, tasks: int, newcomers: int
) -> None:
    """From the eleventh worker on, none of the others holds much more than its share."""
    limits, old = ProviderLimits(), max(1, count - newcomers)
    held = [tasks // old] * old + [0] * (count - old)
    held[0] += tasks - sum(held)
    moves = []
    for _ in range(10):
        shares = [share_of(limits, rank=rank, workers=count).tasks_of(tasks) for rank in range(count)]
        given = [
            excess_of(mine, share=share, whole=share, takers=held)
            for mine, share in zip(held, shares, strict=True)
        ]
        held = [mine - gone for mine, gone in zip(held, given, strict=True)]
        for rank, share in enumerate(shares):
            held[rank] += min(tasks - sum(held), max(0, share - held[rank]))
        moves.append(sum(given))
    assert sum(held) == tasks
    assert min(held) >= 0.9 * tasks / count
    assert moves[0] <= tasks, moves
    assert not any(moves[1:]), "one round is enough"


@pytest.mark.parametrize(
    ("mine", "takers", "excess"),
    [
        (109, [109] * 11 + [0], 9),
        (109, [109] * 11 + [50], 0),  # a half is enough
        (108, [108] * 11 + [0], 0),  # a few are no reason
        (119, [119] + [98] * 11, 19),
        (118, [118] + [98] * 11, 0),
    ],
)
def test_how_many_tasks_a_worker_of_twelve_gives_away(mine: int, takers: list[int], excess: int) -> None:
    assert excess_of(mine, share=100, whole=100, takers=takers) == excess


def test_a_changed_rate_counts_what_was_let_through_before() -> None:
    limit = RateLimit(100.0)
    let_through = 0
    while limit.permitted_at(1.0) <= 1.0:
        limit.take(1.0)
        let_through += 1
    limit.change(10.0)
    assert 4 <= let_through <= 5, "a twentieth, but for rounding"
    assert limit.permitted_at(1.03) > 1.03


# --- joins and deaths ---------------------------------------------------------------------------------


@pytest.fixture
def postgresql(new_database_url: Callable[[str], str]) -> Database:
    return Database(new_database_url("postgresql"))


class Fleet:
    """Workers in one process that can be started, and killed without a word to the database."""

    def __init__(self, database: Database, server: RunningServer, limits: ProviderLimits) -> None:
        self._database, self._server, self._limits = database, server, limits
        self._numbers = itertools.count()
        self.running: dict[Worker, asyncio.Task[None]] = {}

    def start(self) -> Worker:
        worker = installation.new_worker(
            self._database,
            installation.grsai_at(self._server, self._limits),
            schedule=installation.IntervalSchedule(0.4),
            lease_seconds=LEASE_SECONDS,
            worker_id=f"worker-{next(self._numbers)}",
        )
        self.running[worker] = asyncio.create_task(worker.run(asyncio.Event()))
        return worker

    async def kill(self, worker: Worker) -> None:
        task = self.running.pop(worker)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def kill_all(self) -> None:
        for worker in list(self.running):
            await self.kill(worker)

    async def until_even(self, *, tasks: int, seconds_max: float) -> float:
        """Seconds until every task is followed and nobody holds more than 1.3 times its share."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            held = [worker.in_flight for worker in self.running]
            if sum(held) == tasks and max(held) <= 1.3 * tasks / len(held):
                return loop.time() - started
            assert loop.time() - started < seconds_max, f"held: {held}"
            await asyncio.sleep(0.02)


def test_tasks_are_spread_within_a_lease_of_a_join_and_of_a_death(postgresql: Database) -> None:
    async def scenario(server: RunningServer) -> None:
        fleet = Fleet(postgresql, server, ProviderLimits())
        installation.seed_in_flight(postgresql, TASKS, batch_tasks=TASKS)
        first = fleet.start()
        await fleet.until_even(tasks=TASKS, seconds_max=5)
        fleet.start()
        await fleet.until_even(tasks=TASKS, seconds_max=LEASE_SECONDS)
        fleet.start()
        await fleet.until_even(tasks=TASKS, seconds_max=LEASE_SECONDS)
        await fleet.kill(first)
        # its lease has to run out first
        await fleet.until_even(tasks=TASKS, seconds_max=2 * LEASE_SECONDS)
        await fleet.kill_all()

    with running_server(running_answers=ALWAYS_RUNNING) as server:
        asyncio.run(scenario(server))
    postgresql.close()


def test_poll_limits_hold_over_a_join_and_a_death(postgresql: Database) -> None:
    async def scenario(server: RunningServer) -> None:
        fleet = Fleet(postgresql, server, ProviderLimits(polls_per_second=60))
        installation.seed_in_flight(postgresql, TASKS, batch_tasks=TASKS)
        first = fleet.start()
        await asyncio.sleep(LEASE_SECONDS)
        fleet.start()
        await asyncio.sleep(2 * LEASE_SECONDS)
        assert all(worker.in_flight > TASKS / 4 for worker in fleet.running)
        await fleet.kill(first)
        await asyncio.sleep(2 * LEASE_SECONDS)
        await fleet.kill_all()

    with running_server(running_answers=ALWAYS_RUNNING, polls_per_second=60) as server:
        asyncio.run(scenario(server))
        stats = server.stats()
    postgresql.close()
    assert stats["limit_violations"] == 0
    assert stats["requests"] > 6 * LEASE_SECONDS * 20, "and the limit is used"


def test_a_worker_that_is_back_after_its_lease_ran_out_waits_like_one_that_joins(
    postgresql: Database,
) -> None:
    async def scenario(server: RunningServer) -> None:
        fleet = Fleet(postgresql, server, ProviderLimits(polls_per_second=60))
        fleet.start()
        late = fleet.start()
        limit = late.lanes["grsai"].poller.limit
        await asyncio.sleep(2 * LEASE_SECONDS)
        assert limit.sustained_per_second, "it has a share"
        # as when it was stopped for longer than its lease: meanwhile the other has counted without it
        late.lease.renewed(tuple(-1e9 for _ in late.lease.now()))
        await asyncio.sleep(LEASE_SECONDS / 2)
        assert limit.sustained_per_second == 0
        await asyncio.sleep(1.5 * LEASE_SECONDS)
        assert limit.sustained_per_second
        await fleet.kill_all()

    with running_server(running_answers=ALWAYS_RUNNING, polls_per_second=60) as server:
        asyncio.run(scenario(server))
    postgresql.close()


def test_the_limit_of_tasks_in_flight_holds_for_all_workers_together(
    new_database_url: Callable[[str], str],
) -> None:
    url = new_database_url("postgresql")
    environment = {"RUSHES_IN_FLIGHT_TASKS_MAX": "12"}

    async def scenario(host: str) -> None:
        async with rushes_on(url, host, environment) as one, rushes_on(url, host, environment) as other:
            batch = await one.create_batch(items(90, ["sora-2"]))
            most, stop = 0, asyncio.Event()
            running = [asyncio.create_task(rushes.worker().run(stop)) for rushes in (one, other, one)]
            while not batch["completed_at"]:
                batch = await one.batch(batch["batch_id"])
                most = max(most, batch["processing_count"])
                await asyncio.sleep(0.01)
            stop.set()
            await asyncio.gather(*running)
            assert batch["succeeded_count"] == 90
            assert most == 12

    with running_simulator(knobs(render_seconds=0.3)) as simulator:
        asyncio.run(asyncio.wait_for(scenario(simulator.base_url), 60))


# --- giving away --------------------------------------------------------------------------------------


def test_what_was_given_away_is_adopted_once_and_the_giver_cannot_end_it(postgresql: Database) -> None:
    now_ms = installation.now_ms()
    installation.seed_in_flight(postgresql, 20, batch_tasks=20)

    def register(connection: Connection, worker_id: str) -> None:
        workers.register(
            connection, worker_id, host="", pid=0, now_ms=now_ms, lease_expires_at_ms=now_ms + 60_000
        )

    for name in ("giver", "taker"):
        postgresql.run(register, name)

    def adopt(connection: Connection, worker_id: str) -> list[int]:
        found = workers.adopt(connection, worker_id, providers=["grsai"], now_ms=now_ms, limit=100)
        return [task.task_id for task in found]

    owned = postgresql.run(adopt, "giver")
    rows = [(task_id, 1) for task_id in owned[:8]] + [(owned[9], 7)]
    given = postgresql.run(
        workers.release_share_if_owned, rows, provider="grsai", worker_id="giver", now_ms=now_ms
    )
    assert sorted(given) == sorted(owned[:8]), "not the attempt that is not the task's"
    assert (
        postgresql.run(
            workers.release_share_if_owned, rows, provider="grsai", worker_id="giver", now_ms=now_ms
        )
        == []
    )
    assert sorted(postgresql.run(adopt, "taker")) == sorted(given)
    assert postgresql.run(adopt, "taker") == []

    def is_left(connection: Connection) -> bool:
        return connection.execute(text("SELECT 1 FROM workers WHERE id = 'released'")).all() != []

    assert not postgresql.run_reading(is_left), "the row is forgotten with its last task"
    assert postgresql.run_reading(workers.standings, now_ms)[0].worker_id == "giver"
    postgresql.close()


# --- stopping -----------------------------------------------------------------------------------------


def test_a_worker_that_stops_while_it_adopts_leaves_nothing_to_nobody(
    postgresql: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its adoption goes on in the database when its lease is given back."""
    installation.seed_in_flight(postgresql, 20, batch_tasks=20)
    take_over, is_inside = workers._take_over, threading.Event()

    def take_over_slowly(*arguments: Any, **more: Any) -> list[OwnedTask]:
        taken = take_over(*arguments, **more)
        is_inside.set()
        time.sleep(0.4)
        return taken

    async def scenario(base_url: str) -> None:
        provider = installation.grsai_at(RunningServer(base_url, None, 0))
        monkeypatch.setattr(workers, "_take_over", take_over_slowly)
        stop = asyncio.Event()
        running = asyncio.create_task(installation.new_worker(postgresql, provider).run(stop))
        while not is_inside.is_set():
            await asyncio.sleep(0.01)
        stop.set()
        await running
        monkeypatch.setattr(workers, "_take_over", take_over)
        successor, stop = installation.new_worker(postgresql, provider), asyncio.Event()
        running = asyncio.create_task(successor.run(stop))
        try:
            while successor.in_flight < 20:
                await asyncio.sleep(0.05)
        finally:
            stop.set()
            await running

    with running_simulator(knobs()) as simulator:
        asyncio.run(asyncio.wait_for(scenario(simulator.base_url), 30))
    postgresql.close()
