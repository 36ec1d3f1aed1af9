"""The committer under a database that goes away, and under cancellation: nothing learnt is dropped."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest
from sqlalchemy import Connection

from rushes.domain.errors import DatabaseUnreachable
from rushes.engine.settle import Committer, SettleOutcome
from rushes.store import migrate
from rushes.store.database import Database
from tests.books import WORKER, Books, video

P = ParamSpec("P")
T = TypeVar("T")


class AwayDatabase(Database):
    """A database that cannot be reached while `away`."""

    away = False

    async def transact(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As the real one, unless it is away."""
        if self.away:
            raise DatabaseUnreachable("away")
        return await super().transact(function, *args, **kwargs)


@pytest.fixture
def books(tmp_path: Path) -> Any:
    """An account with a batch of one task, and a database that can go away."""
    database = AwayDatabase(f"sqlite:///{tmp_path / 'books.db'}")
    migrate.upgrade(database)
    made = Books(database)
    account = made.account()
    made.grant(account, 100)
    made.accept(account, [10])
    yield made
    database.close()


def test_a_group_that_was_cancelled_in_hand_is_committed_before_what_came_later(books: Books) -> None:
    """A worker that loses its lease while the database is away must not lose the remote ids it had."""
    database = books.database
    assert isinstance(database, AwayDatabase)
    (task,) = books.claim()
    outcomes: list[SettleOutcome] = []

    async def scenario() -> None:
        committer = Committer(
            database,
            worker_id=WORKER,
            now_ms=lambda: 2_000,
            on_settled=lambda _task_id, _attempt, outcome: outcomes.append(outcome),
        )
        database.away = True
        committer.accepted(task.task_id, task.attempt, "remote-1")
        first = asyncio.create_task(committer.run())
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        committer.verdict(task.task_id, task.attempt, video(task))
        database.away = False
        second = asyncio.create_task(committer.run())
        async with asyncio.timeout(5):
            await committer.flushed()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    asyncio.run(scenario())
    row = books.row("SELECT status, remote_task_id FROM video_tasks")
    assert row == {"status": "succeeded", "remote_task_id": "remote-1"}
    assert outcomes == [SettleOutcome.SETTLED]


def test_a_committer_cancelled_before_it_took_a_group_goes_on_with_it(books: Books) -> None:
    database = books.database
    (task,) = books.claim()

    async def scenario() -> None:
        committer = Committer(
            database,
            worker_id=WORKER,
            now_ms=lambda: 2_000,
            on_settled=lambda _task_id, _attempt, _outcome: None,
        )
        for _ in range(2):  # the second acceptance of the same id changes nothing
            committer.accepted(task.task_id, task.attempt, "remote-1")
            running = asyncio.create_task(committer.run())
            await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        running = asyncio.create_task(committer.run())
        async with asyncio.timeout(5):
            await committer.flushed()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    assert books.row("SELECT remote_task_id FROM video_tasks") == {"remote_task_id": "remote-1"}
