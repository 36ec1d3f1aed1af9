"""Tasks that a worker gives away because it has more than its share."""

import asyncio
from typing import Any

from rushes.run.lane.lane import Lane
from rushes.run.lane.remote_task import ModelTimes, RemoteTask
from rushes.run.shares import Shares
from rushes.store import workers
from rushes.store.database import Database
from rushes.store.workers import Standing
from tests.books import PROVIDER, WORKER, Books
from tests.run.lanes import context_of, simulated_provider

TASKS = 60


def _poll(lane: Lane, task_id: int, attempt: int, remote_task_id: str) -> None:
    now = asyncio.get_running_loop().time()
    lane.poller.add(
        RemoteTask(
            task_id=task_id,
            attempt=attempt,
            times=ModelTimes("sora-2", 100, 200),
            remote_task_id=remote_task_id,
            progress=0,
            sent_at=now,
        )
    )


class AdoptingDatabase:
    """A database whose answer to a release is late: the worker has adopted the tasks again meanwhile."""

    def __init__(self, database: Database, lane: Lane, now_ms: int) -> None:
        self._database, self._lane, self._now_ms = database, lane, now_ms
        self.adopted = 0

    async def transact(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await self._database.transact(function, *args, **kwargs)
        if function is workers.release_share_if_owned:
            for task in await self._database.transact(
                workers.adopt, WORKER, providers=[PROVIDER], now_ms=self._now_ms, limit=TASKS
            ):
                assert task.remote_task_id is not None
                _poll(self._lane, task.task_id, task.attempt, task.remote_task_id)
                self.adopted += 1
        return result


def _stage(database: Database) -> tuple[Books, Lane, list[Standing]]:
    books = Books(database)
    account = books.account()
    books.grant(account, 10_000)
    books.accept(account, [5] * TASKS)
    claimed = books.claim()
    books.name(claimed)
    books.worker("worker-2")
    lane = Lane(simulated_provider(), context_of(database))
    for task in claimed:
        _poll(lane, task.task_id, task.attempt, f"remote-{task.task_id}-{task.attempt}")
    return books, lane, [Standing(WORKER, {PROVIDER: TASKS}), Standing("worker-2", {PROVIDER: 0})]


def test_what_is_above_a_share_is_given_away_and_polled_no_longer(database: Database) -> None:
    async def play() -> None:
        books, lane, standings = _stage(database)
        shares = Shares(database, worker_id=WORKER, now_ms=lambda: books.now_ms, lanes={PROVIDER: lane})
        await shares.keep(standings, asyncio.get_running_loop().time())
        assert len(lane.attempts.polled) == TASKS / 2

    asyncio.run(play())


def test_a_task_adopted_again_before_its_release_was_answered_is_still_polled(database: Database) -> None:
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
        assert len(lane.attempts.polled) == TASKS, "all are its own: nobody else would poll them"

    asyncio.run(play())
