"""A cancelled batch: what waits at the provider is dropped there; the provider bills what it had started."""

import asyncio
import os

import pytest

from rushes.domain.task import (
    CANCELLED,
    CancelRefused,
    CancelResult,
    CancelTaken,
    Failed,
    FailureType,
    NoAnswer,
)
from rushes.library import Rushes
from rushes.run.asking.cancelling import Cancelling
from rushes.run.commit import SettleOutcome
from rushes.run.lane.asking_once import NOT_FOUND_IN_A_ROW
from rushes.run.lane.lane import Lane
from rushes.run.lane.remote_task import ModelTimes, RemoteTask
from rushes.simulator import SimulatorThread, running_simulator
from rushes.store.database import Database
from tests.books import PROVIDER, WORKER, Books
from tests.harness import assert_money_adds_up, items, knobs, rushes_on
from tests.run.lanes import context_of
from tests.run.test_nudges import Knows

COUNT = int(os.environ.get("RUSHES_TEST_ITEMS", "32"))
"""Items of the batch that is cancelled while a quarter of them render; 200 for a measurement."""

MODELS = ("fal-veo3.1", "runway-gen4.5", "gemini-omni", "replicate-hailuo2.3")


def keys_for(host: str) -> dict[str, str]:
    """Every provider that can cancel, at the simulator."""
    names = {
        "FAL_KEY": "FAL_HOST",
        "RUNWAYML_API_SECRET": "RUNWAYML_HOST",
        "GEMINI_API_KEY": "GEMINI_HOST",
        "REPLICATE_API_TOKEN": "REPLICATE_HOST",
    }
    return {**dict.fromkeys(names, "k"), **dict.fromkeys(names.values(), host)}


async def until(rushes: Rushes, batch_id: str, simulator: SimulatorThread, started: int) -> None:
    """All are at the provider, and that many have started there."""
    async with asyncio.timeout(60):
        while True:
            found = await rushes.items(batch_id)
            report = simulator.report()
            if all(item["remote_task_id"] for item in found) and report.tasks_started >= started:
                return
            await asyncio.sleep(0.05)


def test_what_waits_at_the_providers_is_dropped_there(database_url: str) -> None:
    weather = knobs(
        running_tasks_max=COUNT // (4 * len(MODELS)),
        render_seconds=6.0 * COUNT / 32,
        cancel_server_error=0.2,
        cancel_accepted_then_reset=0.2,
    )

    async def scenario(simulator: SimulatorThread) -> None:
        async with rushes_on(database_url, simulator.base_url, keys_for(simulator.base_url)) as rushes:
            batch_id = (await rushes.create_batch(items(COUNT, MODELS)))["batch_id"]
            running = asyncio.create_task(rushes.run(batch_id))
            await until(rushes, batch_id, simulator, COUNT // 4)
            await rushes.cancel(batch_id)
            async with asyncio.timeout(60 + COUNT):
                batch = await running
            assert (await rushes.audit()).ok
            found, report = await rushes.items(batch_id), simulator.report()
        assert_money_adds_up(batch)
        assert batch["status"] == "cancelled"
        dropped = [item for item in found if item["status"] == "failed"]
        assert {item["failure_type"] for item in dropped} == {"cancelled"}
        assert {item["model"] for item in dropped} == set(MODELS)
        assert report.cancelled_waiting == len(dropped) >= COUNT // 3
        assert report.tasks_started == len(found) - len(dropped) == batch["succeeded_count"]
        assert report.cancelled_running == 0
        assert report.faults["cancel_accepted_then_reset"] > 0

    with running_simulator(weather) as simulator:
        asyncio.run(scenario(simulator))


class Drops(Knows):
    """A provider that answers cancels from a list."""

    def __init__(self, *answers: CancelResult) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def cancel(self, remote_task_id: str) -> CancelResult:
        self.asked.append(remote_task_id)
        return self.answers.pop(0)


def one_at_the_provider(database: Database) -> tuple[Books, int]:
    books = Books(database)
    books.grant(books.account(), 10)
    batch_id = books.accept(1, [5])
    books.name(books.claim())
    return books, batch_id


def polled(lane: Lane) -> RemoteTask:
    task = RemoteTask(
        task_id=1,
        attempt=1,
        times=ModelTimes("sora-2", 1e9, 1e9),
        remote_task_id="remote-1-1",
        progress=0,
        sent_at=0.0,
    )
    lane.poller.add(task)
    return task


def cancel(books: Books) -> None:
    books.sql("UPDATE batches SET cancelled_at_ms = 5, status = 'cancelled'")


@pytest.mark.parametrize("answer", [CancelTaken(), CancelRefused("it is RUNNING")])
def test_an_answered_cancel_is_asked_once_and_an_unanswered_one_again(
    database: Database, answer: CancelResult
) -> None:
    books, _ = one_at_the_provider(database)

    async def scenario() -> None:
        provider = Drops(NoAnswer("HTTP 500", 500), answer)
        lane = Lane(provider, context_of(database))
        cancelling = Cancelling(context_of(database), {PROVIDER: lane})
        task = polled(lane)
        await cancelling.check()
        assert provider.asked == [], "its batch is not cancelled"
        cancel(books)
        await cancelling.check()
        await cancelling.check()
        assert provider.asked == ["remote-1-1"], "the second time is not due yet"
        assert not cancelling._is_quiet(), "an answer is still to come"
        cancelling._questions.by_task[1].due = 0.0
        for _ in range(3):
            await cancelling.check()
        assert provider.asked == ["remote-1-1"] * 2
        assert cancelling._is_quiet()
        assert task.is_dropped is isinstance(answer, CancelTaken)

    asyncio.run(scenario())


def test_no_task_of_another_worker_is_cancelled_by_this_one(database: Database) -> None:
    books, _ = one_at_the_provider(database)
    books.worker("worker-2")
    books.sql("UPDATE video_tasks SET worker_id = 'worker-2'")
    cancel(books)

    async def scenario() -> None:
        provider = Drops(CancelTaken())
        lane = Lane(provider, context_of(database))
        polled(lane)
        await Cancelling(context_of(database), {PROVIDER: lane}).check()
        assert provider.asked == []

    asyncio.run(scenario())
    assert books.row("SELECT worker_id FROM video_tasks")["worker_id"] != WORKER


def test_no_such_task_is_a_cancel_once_that_was_asked_for_and_counts_at_once_when_it_was_taken() -> None:
    async def scenario() -> None:
        context = context_of()
        lane = Lane(Knows(), context)
        gone = Failed("no such task", FailureType.NOT_FOUND)
        cancelled = (1, 1, Failed(CANCELLED, FailureType.CANCELLED))
        task = polled(lane)
        lane.poller.apply(task, gone)
        assert context.committer._group.verdicts == []
        lane.poller.dropped(task)
        lane.poller.apply(task, gone)
        assert context.committer._group.verdicts == [cancelled]
        lane.poller.dropped(task)  # once more, while its end is being committed: it is not asked for again
        assert lane.poller.next_task(1e9) is None
        task = polled(lane)
        task.is_drop_asked = True
        for _ in range(NOT_FOUND_IN_A_ROW - 1):
            lane.poller.apply(task, gone)
        assert context.committer._group.verdicts == [cancelled], "it may be said too early"
        lane.poller.apply(task, gone)
        assert context.committer._group.verdicts == [cancelled] * 2

    asyncio.run(scenario())


def test_what_became_known_when_it_was_to_be_given_up_is_followed_on() -> None:
    """It was found and is polled, while the commit that gives it up is under way and changes nothing."""

    async def scenario() -> None:
        lane = Lane(Knows(), context_of())
        task = polled(lane)
        assert lane.end(task.task_id, task.attempt, SettleOutcome.KNOWN)
        assert task.task_id in lane.attempts.polled
        assert lane.end(task.task_id, task.attempt, SettleOutcome.STALE)
        assert task.task_id not in lane.attempts.polled

    asyncio.run(scenario())
