"""Attempts of unknown outcome: polled when they become known, forgotten when they are another's."""

import asyncio

from rushes.money.settle import Group
from rushes.run.lane.lane import Lane
from rushes.run.unconfirmed import Unconfirmed
from rushes.store.database import Database
from rushes.store.tasks import OwnedTask
from tests.books import Books
from tests.run.lanes import context_of, simulated_provider


def test_the_known_is_polled_the_one_of_another_is_forgotten_and_the_rest_is_held(
    database: Database,
) -> None:
    books = Books(database)
    account = books.account()
    books.grant(account, 30)
    books.accept(account, [5, 5, 5])
    claimed = books.claim()
    known, anothers, unknown = claimed
    books.apply(Group(unconfirmed=[(task.task_id, task.attempt) for task in claimed]))
    books.name([known])
    books.sql("UPDATE video_tasks SET worker_id = 'other' WHERE id = :id", id=anothers.task_id)

    async def scenario() -> None:
        context = context_of(database)
        lane = Lane(simulated_provider(), context)
        for task in claimed:
            lane.attempts.hold_unconfirmed(
                OwnedTask(task.task_id, 1, "grsai", "sora-2", None, 0, books.now_ms, books.now_ms)
            )
        await Unconfirmed(context, {"grsai": lane}).follow_up()
        assert list(lane.attempts.unconfirmed) == [unknown.task_id]
        assert {number: task.remote_task_id for number, task in lane.attempts.polled.items()} == {
            known.task_id: f"remote-{known.task_id}-1"
        }

    asyncio.run(scenario())
