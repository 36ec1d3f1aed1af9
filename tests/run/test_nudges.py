"""A callback that names a submit of unknown outcome just when it is decided about."""

import asyncio
from itertools import pairwise

import pytest

from rushes.domain.task import Failed, FailureType, NoAnswer, PollResult, Processing, SubmitOutcome
from rushes.providers.base import ProviderLimits, ResultFiles, SubmitRequest
from rushes.run.context import WorkerConfig
from rushes.run.lane.lane import Lane
from rushes.run.nudges import CONFIRM_BACKOFF_SECONDS_MAX, Nudges
from rushes.store import nudges as nudge_rows
from rushes.store.database import Database
from rushes.store.tasks import OwnedTask
from tests.books import WORKER, claimed_by_worker, video
from tests.run.lanes import context_of, ended


class Knows:
    """A provider that has every task."""

    name = "grsai"
    limits = ProviderLimits()
    result_files = ResultFiles()

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        raise NotImplementedError

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        return Processing(1)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        return None


def test_a_submit_that_is_decided_just_when_its_callback_is_looked_at_stops_nobody(
    database: Database,
) -> None:
    def unconfirmed(task_id: int) -> OwnedTask:
        return OwnedTask(task_id, 1, "grsai", "sora-2", None, 0, 0, 0)

    async def scenario() -> None:
        context = context_of(database)
        lane = Lane(Knows(), context)
        for task_id in (1, 2):
            lane.attempts.hold_unconfirmed(unconfirmed(task_id))
        nudges = Nudges(database, worker_id="w", lanes={"grsai": lane}, committer=context.committer)
        for task_id in (1, 2):
            assert nudges.offer(task_id, attempt=1, remote_task_id=f"r-{task_id}")
        # as its follow-up does whose own read returns in this moment
        asyncio.get_running_loop().call_soon(lane.attempts.unconfirmed.pop, 1)
        await nudges._confirm_candidates()
        assert context.committer._group.accepted == [(2, 1, "r-2")]

    asyncio.run(scenario())


def test_an_id_that_was_named_for_an_earlier_attempt_is_not_taken_for_the_next(database: Database) -> None:
    """The first was given up and sent again, and its successor is of unknown outcome too."""

    def unconfirmed(attempt: int) -> OwnedTask:
        return OwnedTask(1, attempt, "grsai", "sora-2", None, 0, 0, 0)

    async def scenario() -> None:
        context = context_of(database)
        lane = Lane(Knows(), context)
        lane.attempts.hold_unconfirmed(unconfirmed(1))
        nudges = Nudges(database, worker_id="w", lanes={"grsai": lane}, committer=context.committer)
        assert nudges.offer(1, attempt=1, remote_task_id="r-1")
        lane.attempts.hold_unconfirmed(unconfirmed(2))
        await nudges._confirm_candidates()
        assert context.committer._group.accepted == []
        assert nudges.offer(1, attempt=2, remote_task_id="r-2")
        await nudges._confirm_candidates()
        assert context.committer._group.accepted == [(1, 2, "r-2")]

    asyncio.run(scenario())


def test_what_was_nudged_lately_is_all_that_is_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        context = context_of(database)
        lane = Lane(Knows(), context)
        monkeypatch.setattr("rushes.run.nudges.REMEMBERED_MAX", 3)
        monkeypatch.setattr(lane.poller, "nudge", lambda task_id: True)
        nudges = Nudges(database, worker_id="w", lanes={"grsai": lane}, committer=context.committer)
        times = iter((0.0, 1.0, 2.0, 2.1, 2.2))
        monkeypatch.setattr(nudges, "_now", lambda: next(times))
        assert all(nudges._nudge(task_id) for task_id in (1, 2, 3, 4, 5))
        # when the fourth came, only the third was less than half a second old
        assert nudges._last_nudged == {3: 2.0, 4: 2.1, 5: 2.2}

    asyncio.run(scenario())


def test_an_id_that_cannot_be_confirmed_is_asked_about_again_after_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    now = [100.0]

    class Silent(Knows):
        async def poll_remote_task(self, remote_task_id: str) -> PollResult:
            asked.append(now[0])
            return NoAnswer("HTTP 503", http_status=503)

    async def scenario() -> None:
        context = context_of(database)
        lane = Lane(Silent(), context)
        lane.attempts.hold_unconfirmed(OwnedTask(1, 1, "grsai", "sora-2", None, 0, 0, 0))
        nudges = Nudges(database, worker_id="w", lanes={"grsai": lane}, committer=context.committer)
        monkeypatch.setattr(nudges, "_now", lambda: now[0])
        assert nudges.offer(1, attempt=1, remote_task_id="r-1")
        while now[0] < 400.0:
            await nudges._confirm_candidates()
            now[0] += 0.5
        waits = [after - before for before, after in pairwise(asked)]
        assert 0.5 < waits[0] < 10
        assert waits == sorted(waits)
        assert CONFIRM_BACKOFF_SECONDS_MAX / 2 <= waits[-1] <= CONFIRM_BACKOFF_SECONDS_MAX

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "after_seconds", "is_asked_again"),
    [
        (Failed("no such task", FailureType.NOT_FOUND), 9.9, True),
        (Failed("no such task", FailureType.NOT_FOUND), 10.0, False),
        (Processing(1), 0.0, False),
    ],
)
def test_an_id_is_asked_about_until_it_is_known_what_it_is(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    answer: PollResult,
    after_seconds: float,
    is_asked_again: bool,
) -> None:
    """It may be named just before the service knows it everywhere: so long is the grace."""
    now = [100.0]

    class Says(Knows):
        async def poll_remote_task(self, remote_task_id: str) -> PollResult:
            now[0] = 100.0 + after_seconds
            return answer

    async def scenario() -> None:
        context = context_of(database)
        lane = Lane(Says(), context)
        lane.attempts.hold_unconfirmed(OwnedTask(1, 1, "grsai", "sora-2", None, 0, 0, 0))
        nudges = Nudges(
            database,
            worker_id="w",
            lanes={"grsai": lane},
            committer=context.committer,
            not_found_grace_seconds=10.0,
        )
        monkeypatch.setattr(nudges, "_now", lambda: now[0])
        assert nudges.offer(1, attempt=1, remote_task_id="r-1")
        await nudges._confirm_candidates()
        assert (1 in nudges._candidates) is is_asked_again

    asyncio.run(scenario())


def test_of_what_is_not_polled_here_nothing_is_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        context = context_of(database)
        lane = Lane(Knows(), context)
        nudges = Nudges(database, worker_id="w", lanes={"grsai": lane}, committer=context.committer)
        polled = [True]
        monkeypatch.setattr(lane.poller, "nudge", lambda task_id: polled[0])
        assert nudges._nudge(1)
        assert list(nudges._last_nudged) == [1]
        polled[0] = False
        assert not nudges._nudge(1)
        assert not nudges._last_nudged

    asyncio.run(scenario())


def test_a_second_callback_names_another_id_while_the_first_is_looked_at(database: Database) -> None:
    """What is known of the first says nothing of the second, which is looked at next."""

    asked: list[str] = []
    offered_to: list[Nudges] = []

    class KnowsTheSecond(Knows):
        async def poll_remote_task(self, remote_task_id: str) -> PollResult:
            asked.append(remote_task_id)
            if remote_task_id == "r-2":
                return Processing(1)
            assert offered_to[0].offer(1, attempt=1, remote_task_id="r-2")
            return Failed("no such task", FailureType.NOT_FOUND)

    async def scenario() -> None:
        context = context_of(database, config=WorkerConfig(not_found_grace_seconds=0.0))
        lane = Lane(KnowsTheSecond(), context)
        lane.attempts.hold_unconfirmed(OwnedTask(1, 1, "grsai", "sora-2", None, 0, 0, 0))
        nudges = Nudges(database, worker_id="w", lanes={"grsai": lane}, committer=context.committer)
        offered_to.append(nudges)
        assert nudges.offer(1, attempt=1, remote_task_id="r-1")
        await nudges._confirm_candidates()
        assert context.committer._group.accepted == []
        await nudges._confirm_candidates()
        assert context.committer._group.accepted == [(1, 1, "r-2")]
        assert asked == ["r-1", "r-2"]

    asyncio.run(scenario())


def test_of_an_attempt_that_a_callback_named_it_is_not_known_that_it_ran_until_now(
    database: Database,
) -> None:
    """So its first answer says nothing of how long it has rendered by then."""

    async def scenario() -> None:
        lane = Lane(Knows(), context_of(database))
        lane.poll_found(OwnedTask(1, 1, "grsai", "sora-2", None, 0, 0, 0), "r-1")
        found = lane.attempts.polled[1]
        assert found.seen_running_at is None
        assert found.due <= asyncio.get_running_loop().time(), "it is asked about now"

    asyncio.run(scenario())


def test_a_callback_that_another_process_received_is_kept_until_it_can_be_acted_upon(
    database: Database,
) -> None:
    """It may come before the answer to its submit, which tells what is to be polled, or to its adoption."""
    books, (claimed,) = claimed_by_worker(database, 1)
    database.run(nudge_rows.put, claimed.task_id, attempt=1, remote_task_id=None, now_ms=books.now_ms)

    def kept() -> int:
        return len(books.rows("SELECT * FROM callback_nudges"))

    async def scenario() -> None:
        context = context_of(database)
        lane = Lane(Knows(), context)
        lane.attempts.claim(claimed)
        nudges = Nudges(database, worker_id=WORKER, lanes={"grsai": lane}, committer=context.committer)
        await nudges.check()
        assert kept() == 1
        lane.attempts.claimed.clear()
        await nudges.check()
        assert kept() == 1, "the database says that it is this worker's"
        lane.attempts.hold_unconfirmed(OwnedTask(claimed.task_id, 1, "grsai", "sora-2", None, 0, 0, 0))
        await nudges.check()
        assert kept() == 0, "it names nothing to look for"

    asyncio.run(scenario())


def test_callbacks_of_attempts_that_ended_meanwhile_are_swept_away_now_and_then(database: Database) -> None:
    books, (ended_one, running) = claimed_by_worker(database, 2)
    for claimed in (ended_one, running):
        database.run(nudge_rows.put, claimed.task_id, attempt=1, remote_task_id=None, now_ms=books.now_ms)
    books.name([ended_one])
    books.finish([(ended_one, video(ended_one))])

    def kept() -> list[int]:
        return [row["task_id"] for row in books.rows("SELECT task_id FROM callback_nudges ORDER BY task_id")]

    async def scenario() -> None:
        context = context_of(database)
        lane = Lane(Knows(), context)
        lane.attempts.claim(running)
        nudges = Nudges(database, worker_id=WORKER, lanes={"grsai": lane}, committer=context.committer)
        following = asyncio.create_task(nudges.run())
        async with asyncio.timeout(20):
            while len(kept()) > 1:
                await asyncio.sleep(0.02)
        await ended(following)
        assert kept() == [running.task_id]

    assert kept() == [ended_one.task_id, running.task_id]
    asyncio.run(scenario())
