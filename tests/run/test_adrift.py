"""Attempts whose ends the database has refused: their own worker holds them, and none counts as unsent."""

import asyncio

from structlog.testing import capture_logs

from rushes.money.settle import Group
from rushes.run.adopt import Adoption
from rushes.run.lane.lane import Lane
from rushes.store.database import Database
from tests.books import PROVIDER, WORKER, Books, claimed_by_worker
from tests.run.lanes import context_of, simulated_provider

NOW_MS = 500_000


def claimed_attempts(database: Database, count: int) -> list[tuple[int, int]]:
    """`(task_id, attempt)` of this worker's, of which the database knows nothing but the claim."""
    _, claimed = claimed_by_worker(database, count)
    return [(task.task_id, task.attempt) for task in claimed]


def test_what_is_adrift_is_held_from_now_on_and_what_is_being_sent_is_not(database: Database) -> None:
    adrift, under_way = claimed_attempts(database, 2)

    async def play() -> None:
        context = context_of(database, now_ms=lambda: NOW_MS)
        lane = Lane(simulated_provider(), context)
        lane.attempts.adrift.add(adrift)
        lane.attempts.is_in_doubt = True
        await Adoption(context, {PROVIDER: lane}).adopt(tasks_max=100)
        held = lane.attempts.unconfirmed
        assert [(task.task_id, task.attempt, task.unconfirmed_at_ms) for task in held.values()] == [
            (*adrift, NOW_MS)
        ]
        assert under_way[0] not in lane.attempts
        assert lane.attempts.adrift == set(), "it is in the table now"
        assert not lane.attempts.is_in_doubt

    asyncio.run(play())


def test_what_is_looked_up_again_keeps_the_day_since_when_its_outcome_is_unknown(database: Database) -> None:
    """Its grace does not start anew; of what has a remote id nothing is unknown."""
    held, named = claimed_attempts(database, 2)
    books = Books(database)
    books.apply(Group(unconfirmed=[held], accepted=[(*named, "r-1")]))

    async def play() -> None:
        context = context_of(database, now_ms=lambda: NOW_MS)
        lane = Lane(simulated_provider(), context)
        lane.attempts.is_in_doubt = True
        await Adoption(context, {PROVIDER: lane}).adopt(tasks_max=100)
        unconfirmed = lane.attempts.unconfirmed
        assert {key: task.unconfirmed_at_ms for key, task in unconfirmed.items()} == {held[0]: books.now_ms}
        assert list(lane.attempts.polled) == [named[0]]

    asyncio.run(play())


def test_what_is_adrift_is_not_given_back_with_a_lost_claim(database: Database) -> None:
    """It may have been sent: given back it would be bought twice."""
    lost, adrift, refused_meanwhile = claimed_attempts(database, 3)

    async def play() -> list[tuple[int, int]]:
        context = context_of(database)
        lane = Lane(simulated_provider(), context)
        lane.attempts.adrift.add(adrift)

        async def flushed() -> None:
            lane.attempts.adrift.add(refused_meanwhile)

        context.committer.flushed = flushed  # type: ignore[method-assign]
        lane.claims._is_in_doubt = True
        await lane.claims.return_lost()
        return context.committer._group.returned

    assert asyncio.run(play()) == [lost]


def test_only_what_was_adopted_is_said(database: Database) -> None:
    books = Books(database)
    for worker_id in (WORKER, "dead"):
        books.worker(worker_id)
    books.sql("UPDATE workers SET lease_expires_at_ms = 0 WHERE id = 'dead'")

    async def said() -> list[str]:
        context = context_of(database, now_ms=lambda: NOW_MS)
        adoption = Adoption(context, {PROVIDER: Lane(simulated_provider(), context)})
        with capture_logs() as lines:
            await adoption.adopt(tasks_max=100)
        return [line["event"] for line in lines]

    assert asyncio.run(said()) == []
