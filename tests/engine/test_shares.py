"""Tasks that a worker gives away because it has more than its share."""

import asyncio
import random
from typing import Any

from rushes.domain.schedule import LadderSchedule
from rushes.engine.poll import Poller, RemoteTask
from rushes.engine.shares import Share, Shares
from rushes.providers.base import ProviderConfig, ProviderLimits
from rushes.providers.grsai import GrsaiProvider
from rushes.providers.health import ProviderHealth
from rushes.providers.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport
from rushes.store import workers
from rushes.store.database import Database
from rushes.store.workers import Standing
from tests.books import PROVIDER, WORKER, Books

TASKS = 60


class _Lane:
    """A worker's part for one provider: its poller, followed tasks and all."""

    def __init__(self, database: Database, sink: Any) -> None:
        core = SimulatorCore(SimulatorKnobs(), base_url="http://files.invalid")
        provider = GrsaiProvider(
            ProviderConfig(
                host="http://service.invalid",
                api_key="key",
                transport=SimulatorTransport(core, clock=asyncio.get_running_loop().time),
            )
        )
        self.limits = ProviderLimits()
        self.poller = Poller(
            provider,
            health=ProviderHealth(),
            schedule=LadderSchedule(1.0, 30.0),
            sink=sink,
            jitter=random.Random(1),
            polls_per_second=None,
            backoff_seconds_max=30.0,
        )

    @property
    def tasks(self) -> dict[int, RemoteTask]:
        return self.poller.tasks

    def use(self, share: Share) -> None:
        """Rates are not looked at here."""

    def forget(self, task_id: int) -> None:
        self.poller.forget(task_id)

    def follow(self, task_id: int, attempt: int, remote_task_id: str) -> None:
        now = asyncio.get_running_loop().time()
        self.poller.add(
            RemoteTask(
                task_id=task_id,
                attempt=attempt,
                model="sora-2",
                remote_task_id=remote_task_id,
                progress=0,
                sent_at=now,
                soft_deadline=now + 100,
                hard_deadline=now + 200,
            )
        )


class AdoptingDatabase:
    """A database whose answer to a release is late: the worker has adopted the tasks again meanwhile."""

    def __init__(self, database: Database, lane: _Lane, now_ms: int) -> None:
        self._database, self._lane, self._now_ms = database, lane, now_ms
        self.adopted = 0

    async def transact(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await self._database.transact(function, *args, **kwargs)
        if function is workers.release_share_if_owned:
            for task in await self._database.transact(
                workers.adopt, WORKER, providers=[PROVIDER], now_ms=self._now_ms, limit=TASKS
            ):
                assert task.remote_task_id is not None
                self._lane.follow(task.task_id, task.attempt, task.remote_task_id)
                self.adopted += 1
        return result


def _stage(database: Database) -> tuple[Books, _Lane, list[Standing]]:
    books = Books(database)
    account = books.account()
    books.grant(account, 10_000)
    books.accept(account, [5] * TASKS)
    claimed = books.claim()
    books.name(claimed)
    books.worker("worker-2")
    lane = _Lane(database, sink=None)
    for task in claimed:
        lane.follow(task.task_id, task.attempt, f"remote-{task.task_id}-{task.attempt}")
    return books, lane, [Standing(WORKER, {PROVIDER: TASKS}), Standing("worker-2", {PROVIDER: 0})]


def test_what_is_above_a_share_is_given_away_and_followed_no_longer(database: Database) -> None:
    async def play() -> None:
        books, lane, standings = _stage(database)
        shares = Shares(database, worker_id=WORKER, now_ms=lambda: books.now_ms, lanes={PROVIDER: lane})
        await shares.keep(standings, asyncio.get_running_loop().time())
        assert len(lane.tasks) == TASKS / 2

    asyncio.run(play())


def test_a_task_adopted_again_before_its_release_was_answered_is_still_followed(database: Database) -> None:
    async def play() -> None:
        books, lane, standings = _stage(database)
        adopting = AdoptingDatabase(database, lane, books.now_ms)
        shares = Shares(
            adopting,  # type: ignore[arg-type]
            worker_id=WORKER,
            now_ms=lambda: books.now_ms,
            lanes={PROVIDER: lane},
        )
        await shares.keep(standings, asyncio.get_running_loop().time())
        assert adopting.adopted == TASKS / 2
        assert len(lane.tasks) == TASKS, "all are its own in the database: nobody else would poll them"

    asyncio.run(play())
