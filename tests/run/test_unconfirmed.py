"""Attempts of unknown outcome: polled when they become known, forgotten when they are another's."""

import asyncio

import pytest

from rushes.money.settle import Group
from rushes.run.context import UnconfirmedPolicy, WorkerConfig
from rushes.run.lane.lane import Lane
from rushes.run.unconfirmed import Unconfirmed
from rushes.store.database import Database
from rushes.store.tasks import OwnedTask
from tests.books import claimed_by_worker
from tests.run.lanes import context_of, simulated_provider


def test_the_known_is_polled_the_one_of_another_is_forgotten_and_the_rest_is_held(
    database: Database,
) -> None:
    books, claimed = claimed_by_worker(database, 3)
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


@pytest.mark.parametrize("policy", list(UnconfirmedPolicy))
def test_what_is_past_its_grace_is_given_up_once(database: Database, policy: UnconfirmedPolicy) -> None:
    books, (old, young) = claimed_by_worker(database, 2)
    books.apply(Group(unconfirmed=[(task.task_id, task.attempt) for task in (old, young)]))

    async def scenario() -> None:
        config = WorkerConfig(unconfirmed_grace_seconds=10.0, unconfirmed_policy=policy)
        context = context_of(database, config=config, now_ms=lambda: 20_000)
        lane = Lane(simulated_provider(), context)
        for task, since_ms in ((old, 10_000), (young, 10_001)):
            lane.attempts.hold_unconfirmed(
                OwnedTask(task.task_id, 1, "grsai", "sora-2", None, 0, 0, since_ms)
            )
        for _ in range(2):
            await Unconfirmed(context, {"grsai": lane}).follow_up()
        assert list(lane.attempts.unconfirmed) == [young.task_id]
        group = context.committer._group
        ended = group.resubmitted if policy is UnconfirmedPolicy.RESUBMIT else group.given_up
        assert ended == [(old.task_id, 1)]
        assert len(group) == 1

    asyncio.run(scenario())
