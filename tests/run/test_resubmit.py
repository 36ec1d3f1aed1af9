"""A task whose next attempt is under way before the end of the last one has been answered for."""

import asyncio
import random
from typing import Any

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.polling.schedule import LadderSchedule
from rushes.domain.task import Accepted
from rushes.money.settle import apply_group
from rushes.providers.base import ProviderConfig
from rushes.providers.families.grsai import GrsaiProvider
from rushes.run.context import WorkerConfig
from rushes.run.worker import Worker
from rushes.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport
from rushes.store.database import Database
from tests.books import PROVIDER, Books


class HastyDatabase:
    """A database whose answer to the resubmission is late: the task was claimed and accepted meanwhile."""

    def __init__(self, database: Database, books: Books) -> None:
        self._database, self._books = database, books
        self.worker: Worker | None = None
        self.attempts: list[int] = []

    async def transact(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await self._database.transact(function, *args, **kwargs)
        if function is apply_group and args[0].resubmitted:
            assert self.worker is not None
            [task] = self._books.claim(worker_id=self.worker.worker_id)
            self.attempts.append(task.attempt)
            lane = self.worker.lanes[PROVIDER]
            lane.attempts.claim(task)
            lane._act(task, Accepted(f"remote-{task.task_id}-{task.attempt}"))
        return result


def test_the_end_of_an_attempt_says_nothing_of_the_next_one(database: Database) -> None:
    async def play() -> None:
        books = Books(database)
        account = books.account()
        books.grant(account, 100)
        books.accept(account, [5])
        hasty = HastyDatabase(database, books)
        core = SimulatorCore(SimulatorKnobs(), base_url="http://files.invalid")
        provider = GrsaiProvider(
            ProviderConfig(
                host="http://service.invalid",
                api_key="key",
                transport=SimulatorTransport(core, clock=asyncio.get_running_loop().time),
            )
        )
        worker = Worker(
            hasty,  # type: ignore[arg-type]
            {PROVIDER: provider},
            catalogue=DEFAULT_CATALOGUE,
            schedule=LadderSchedule(1.0, 30.0),
            config=WorkerConfig(
                lease_seconds=30.0,
                unconfirmed_grace_seconds=1.0,
                callback_url=lambda _provider, _task_id, _attempt: None,
                host="here",
                pid=1,
            ),
            now_ms=lambda: books.now_ms,
            new_id=lambda: "hasty",
            jitter=random.Random(1),
        )
        hasty.worker = worker
        [first] = books.claim(worker_id=worker.worker_id)
        worker.committer.resubmitted(first.task_id, first.attempt)
        committing = asyncio.create_task(worker.commit())
        async with asyncio.timeout(10):
            await worker.committer.flushed()
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)
        assert hasty.attempts == [2]
        polled = worker.lanes[PROVIDER].attempts.polled
        assert [task.attempt for task in polled.values()] == [2], "nobody else would poll it"

    asyncio.run(play())
