"""How often a dispatcher asks the database for pending tasks, and how soon it hears of new ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from rushes.engine import dispatch
from rushes.engine.dispatch import Dispatcher
from rushes.engine.settle import Committer
from rushes.providers.base import ProviderConfig, ProviderLimits
from rushes.providers.grsai import GrsaiProvider
from rushes.providers.health import ProviderHealth
from rushes.providers.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport
from rushes.store.database import Database
from tests.books import WORKER, Books

TASKS = 20


class CountingDatabase:
    """The database, with a count of the claims; `while_claiming` is called once, inside the first of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.claims = 0
        self.while_claiming: Any = None

    async def transact(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await self._database.transact(function, *args, **kwargs)
        if function is dispatch.claim_fairly:
            self.claims += 1
            act, self.while_claiming = self.while_claiming, None
            if act is not None:
                act()
        return result


class Stage:
    """A dispatcher and its committer over the real provider and the simulator's core, in process."""

    def __init__(self, database: Database, *, connections: int) -> None:
        self.books = Books(database)
        self.books.worker()
        self.account = self.books.account()
        self.books.grant(self.account, 10_000)
        self.database = CountingDatabase(database)
        self.core = SimulatorCore(SimulatorKnobs(), base_url="http://files.invalid")
        loop = asyncio.get_running_loop()
        provider = GrsaiProvider(
            ProviderConfig(
                host="http://service.invalid",
                api_key="key",
                transport=SimulatorTransport(self.core, clock=loop.time),
                timeout_seconds=5.0,
                limits=ProviderLimits(connections_max=connections),
            )
        )
        self.committer = Committer(
            database,
            worker_id=WORKER,
            now_ms=self._now_ms,
            on_settled=lambda _task_id, _attempt, _outcome: None,
        )
        self.accepted = 0
        self.dispatcher = Dispatcher(
            provider,
            database=self.database,  # type: ignore[arg-type]
            health=ProviderHealth(),
            sink=self.committer,
            worker_id=WORKER,
            now_ms=self._now_ms,
            may_send=lambda: True,
            in_flight=lambda: self.accepted,
            in_flight_max=1000,
            submits_per_second=None,
            callback_url=lambda _task: None,
            on_accepted=self._on_accepted,
            on_unconfirmed=lambda _task: None,
        )

    def _now_ms(self) -> int:
        return self.books.now_ms

    def _on_accepted(self, _task: Any, _remote_task_id: str) -> None:
        self.accepted += 1

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Dispatcher and committer run."""
        parts = [asyncio.create_task(part.run()) for part in (self.dispatcher, self.committer)]
        try:
            async with asyncio.timeout(10):
                yield
        finally:
            for part in parts:
                part.cancel()
                with suppress(asyncio.CancelledError):
                    await part

    async def until_accepted(self, count: int) -> None:
        """Wait until so many tasks are at the provider."""
        while self.accepted < count:
            await asyncio.sleep(0.01)
        await self.dispatcher.finish(timeout_seconds=5)


def test_room_that_nobody_waits_for_costs_no_claim(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(dispatch, "IDLE_SECONDS", 60.0)

    async def play() -> int:
        stage = Stage(database, connections=64)
        stage.books.accept(stage.account, [5] * TASKS)
        async with stage.at_work():
            await stage.until_accepted(TASKS)
            for _ in range(TASKS):  # each of them settles, one after the other
                stage.dispatcher.freed()
                await asyncio.sleep(0.02)
        return stage.database.claims

    assert asyncio.run(play()) < TASKS / 2


def test_room_that_tasks_wait_for_is_used_at_once(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(dispatch, "IDLE_SECONDS", 60.0)

    async def play() -> int:
        stage = Stage(database, connections=4)
        stage.books.accept(stage.account, [5] * TASKS)
        async with stage.at_work():
            await stage.until_accepted(TASKS)
        return stage.accepted

    assert asyncio.run(play()) == TASKS


def test_a_batch_that_comes_during_a_claim_is_found_at_once(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(dispatch, "IDLE_SECONDS", 60.0)

    async def play() -> int:
        stage = Stage(database, connections=64)

        def accept_and_tell() -> None:
            stage.books.accept(stage.account, [5] * TASKS)
            stage.dispatcher.wake()

        stage.database.while_claiming = accept_and_tell  # the claim in hand has looked already
        async with stage.at_work():
            await stage.until_accepted(TASKS)
        return stage.accepted

    assert asyncio.run(play()) == TASKS
