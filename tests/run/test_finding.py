"""A submit whose answer was lost is settled by asking, where the service can be asked by our key."""

import asyncio
import os
from collections.abc import Callable

import pytest

from rushes.domain.task import Accepted, FindResult, NeverTaken, NoAnswer, submit_key
from rushes.run.asking.finding import Finding
from rushes.run.context import WorkerConfig
from rushes.run.lane.lane import Lane
from rushes.simulator import SimulatorThread, running_simulator
from rushes.store.database import Database
from rushes.store.tasks import OwnedTask, asked
from tests.books import PROVIDER, WORKER, Books
from tests.harness import assert_money_adds_up, items, knobs, run_for, rushes_on
from tests.run.lanes import context_of
from tests.run.test_nudges import Knows


class Remembers(Knows):
    """A provider that answers by key."""

    def __init__(self, answer: Callable[[str], FindResult]) -> None:
        self._answer = answer
        self.asked: list[str] = []

    async def find(self, submit_key: str) -> FindResult:
        self.asked.append(submit_key)
        return self._answer(submit_key)


def one_unconfirmed(database: Database) -> tuple[Books, OwnedTask, str]:
    """A claimed task whose submit had no answer, and the key that it was sent with."""
    books = Books(database)
    books.grant(books.account(), 10)
    books.accept(1, [5])
    (claimed,) = books.claim()
    unconfirmed = OwnedTask(claimed.task_id, 1, PROVIDER, "sora-2", None, 0, 1_000, unconfirmed_at_ms=1_000)
    return books, unconfirmed, claimed.submit_key


def test_a_key_names_batch_item_try_and_attempt_and_is_the_same_when_it_is_asked_for_later(
    database: Database,
) -> None:
    books, task, key = one_unconfirmed(database)
    assert key == submit_key("bat_1", 0, 0, 1) == "bat_1-0-0-1"
    found = books.database.run_reading(asked.submit_keys_if_owned, [(task.task_id, 1)], worker_id=WORKER)
    assert found == {task.task_id: key}
    assert not books.database.run_reading(
        asked.submit_keys_if_owned, [(task.task_id, 2)], worker_id=WORKER
    ), "of another attempt"
    longest = submit_key("bat_" + "f" * 24, 99_999, 5, 99_999)
    assert len(longest) <= 64


def test_what_the_service_has_is_followed(database: Database) -> None:
    _, task, key = one_unconfirmed(database)

    async def scenario() -> None:
        provider = Remembers(lambda _key: Accepted("r-9"))
        context = context_of(database)
        lane = Lane(provider, context)
        lane.attempts.hold_unconfirmed(task)
        finding = Finding(context, {PROVIDER: lane})
        await finding.check()
        await finding.check()
        assert provider.asked == [key]
        assert context.committer._group.accepted == [(task.task_id, 1, "r-9")]

    asyncio.run(scenario())


@pytest.mark.parametrize(("now_ms", "is_returned"), [(30_000, False), (61_001, True)])
def test_never_taken_counts_after_the_grace_alone(database: Database, now_ms: int, is_returned: bool) -> None:
    _, task, _ = one_unconfirmed(database)

    async def scenario() -> None:
        provider = Remembers(lambda _key: NeverTaken())
        context = context_of(
            database, config=WorkerConfig(not_found_grace_seconds=60.0), now_ms=lambda: now_ms
        )
        lane = Lane(provider, context)
        lane.attempts.hold_unconfirmed(task)
        finding = Finding(context, {PROVIDER: lane})
        await finding.check()
        assert context.committer._group.returned == [], "once may be a slip"
        finding._questions.by_task[task.task_id].due = 0.0
        await finding.check()
        assert len(provider.asked) == 2
        assert (context.committer._group.returned == [(task.task_id, 1)]) is is_returned
        assert (task.task_id in lane.attempts.unconfirmed) is not is_returned

    asyncio.run(scenario())


def raises(_key: str) -> FindResult:
    raise RuntimeError("a provider must not")


@pytest.mark.parametrize("answer", [lambda _key: NoAnswer("HTTP 500", 500), raises])
def test_without_an_answer_nothing_changes_and_it_is_asked_again_later(
    database: Database, answer: Callable[[str], FindResult]
) -> None:
    _, task, _ = one_unconfirmed(database)

    async def scenario() -> None:
        provider = Remembers(answer)
        context = context_of(database, now_ms=lambda: 10**9)
        lane = Lane(provider, context)
        lane.attempts.hold_unconfirmed(task)
        finding = Finding(context, {PROVIDER: lane})
        await finding.check()
        await finding.check()
        assert len(provider.asked) == 1, "it backs off"
        finding._questions.by_task[task.task_id].due = 0.0
        await finding.check()
        assert len(provider.asked) == 2
        assert len(context.committer._group) == 0
        assert task.task_id in lane.attempts.unconfirmed

    asyncio.run(scenario())


COUNT = int(os.environ.get("RUSHES_TEST_ITEMS", "30"))
"""Items of the run below; 500 for a measurement."""


def test_no_lost_answer_leaves_a_submit_of_unknown_outcome_and_none_is_bought_twice(
    database_url: str,
) -> None:
    weather = knobs(
        submit_accepted_then_reset=0.15,
        submit_accepted_then_error=0.1,
        submit_reset_after=0.05,
        find_server_error=0.1,
        find_reset_after=0.1,
        find_lag_seconds=0.1,
    )

    async def scenario(simulator: SimulatorThread) -> None:
        environment = {
            "KLING_API_KEY": "k",
            "KLING_HOST": simulator.base_url,
            "RUSHES_UNCONFIRMED_GRACE_SECONDS": "600",
        }
        async with rushes_on(database_url, simulator.base_url, environment) as rushes:
            batch_id = (await rushes.create_batch(items(COUNT, ("kling-3.0", "kling-2.6"))))["batch_id"]
            batch = await run_for(rushes, batch_id, seconds_max=60.0 + COUNT)
            assert (batch["status"], batch["succeeded_count"]) == ("succeeded", COUNT)
            assert_money_adds_up(batch)
            assert (await rushes.audit()).ok
            ids = {item["remote_task_id"] for item in await rushes.items(batch_id)}
        report = simulator.report()
        assert report.submits_unclear >= COUNT // 6
        assert report.accepted == report.deliveries == len(ids) == COUNT
        assert report.submits_refused == {}

    with running_simulator(weather) as simulator:
        asyncio.run(scenario(simulator))
