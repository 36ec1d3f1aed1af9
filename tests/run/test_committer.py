"""The committer under a database that goes away, and under cancellation: nothing learnt is dropped."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest
import structlog
from simulation.world.loop import VirtualLoop
from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.errors import DatabaseUnreachable
from rushes.domain.task import Failed, FailureType
from rushes.money.settle import Group
from rushes.run.commit import (
    CALM_OUTCOMES_MAX,
    COMMIT_INTERVAL_SECONDS,
    GROUP_TASKS_MAX,
    Committed,
    Committer,
    SettleOutcome,
)
from rushes.store import workers
from rushes.store.database import Database
from rushes.store.migrations import migrate
from tests.books import WORKER, Books, video
from tests.run.lanes import commit_into, ended

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
    answers: list[Committed] = []

    async def scenario() -> None:
        committer = Committer(
            database,
            worker_id=WORKER,
            now_ms=lambda: 2_000,
        )
        database.away = True
        committer.accepted(task.task_id, task.attempt, "remote-1")
        first = asyncio.create_task(commit_into(answers, committer))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        committer.verdict(task.task_id, task.attempt, video(task))
        database.away = False
        second = asyncio.create_task(commit_into(answers, committer))
        async with asyncio.timeout(5):
            await committer.flushed()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    asyncio.run(scenario())
    row = books.row("SELECT status, remote_task_id FROM video_tasks")
    assert row == {"status": "succeeded", "remote_task_id": "remote-1"}
    ends = [end for answer in answers for end in answer.ends]
    assert ends == [(task.task_id, task.attempt, SettleOutcome.SETTLED)]


def test_under_load_outcomes_gather_and_a_few_are_committed_at_once() -> None:
    nowhere: Any = None

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(10.0)
        committer = Committer(nowhere, worker_id=WORKER, now_ms=lambda: 0)
        taken: list[tuple[float, int]] = []

        async def take() -> None:
            while True:
                await committer._take_in_hand()
                while committer._in_hand:
                    taken.append((loop.time() - started, len(committer._in_hand.popleft())))

        started = loop.time()
        taking = asyncio.create_task(take())
        for number in range(CALM_OUTCOMES_MAX):
            committer.accepted(number, 1, f"r-{number}")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert taken == [(0.0, 1)] * CALM_OUTCOMES_MAX
        for number in range(1000):
            committer.accepted(number, 2, f"s-{number}")
            await asyncio.sleep(0.001)
        await asyncio.sleep(1.0)
        taking.cancel()
        assert sum(count for _, count in taken) == CALM_OUTCOMES_MAX + 1000
        groups = len(taken) - CALM_OUTCOMES_MAX
        assert groups <= 1.0 / COMMIT_INTERVAL_SECONDS + 2 + CALM_OUTCOMES_MAX, taken

    loop = VirtualLoop()
    try:
        loop.run_until_complete(scenario())
    finally:
        loop.close()


def test_a_group_has_a_bounded_number_of_each_kind_and_no_end_before_its_acceptance() -> None:
    nowhere: Any = None
    committer = Committer(nowhere, worker_id=WORKER, now_ms=lambda: 0)
    for number in range(GROUP_TASKS_MAX + 3):
        committer.accepted(number, 1, f"r-{number}")
    for number in range(GROUP_TASKS_MAX + 5):
        committer.verdict(number, 1, Failed("no", FailureType.MODEL_ERROR))
    accepted, verdicts = [], []
    for group, counts in (
        (committer._take(), (GROUP_TASKS_MAX, 0)),
        (committer._take(), (3, GROUP_TASKS_MAX)),
        (committer._take(), (0, 5)),
        (committer._take(), (0, 0)),
    ):
        assert (len(group.accepted), len(group.verdicts)) == counts
        accepted += [task_id for task_id, *_ in group.accepted]
        verdicts += [task_id for task_id, *_ in group.verdicts]
    assert accepted == list(range(GROUP_TASKS_MAX + 3))
    assert verdicts == list(range(GROUP_TASKS_MAX + 5))


def test_a_committer_cancelled_before_it_took_a_group_goes_on_with_it(books: Books) -> None:
    database = books.database
    (task,) = books.claim()

    async def scenario() -> None:
        committer = Committer(
            database,
            worker_id=WORKER,
            now_ms=lambda: 2_000,
        )
        for _ in range(2):  # the second acceptance of the same id changes nothing
            committer.accepted(task.task_id, task.attempt, "remote-1")
            running = asyncio.create_task(commit_into([], committer))
            await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        running = asyncio.create_task(commit_into([], committer))
        async with asyncio.timeout(5):
            await committer.flushed()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    assert books.row("SELECT remote_task_id FROM video_tasks") == {"remote_task_id": "remote-1"}


def committed(books: Books, *acceptances: tuple[int, int, str]) -> list[tuple[int, int]]:
    """Commit acceptances as a worker does; returns the attempts that could not carry their ids."""
    answers: list[Committed] = []

    async def scenario() -> None:
        committer = Committer(
            books.database,
            worker_id=WORKER,
            now_ms=lambda: 2_000,
        )
        for acceptance in acceptances:
            committer.accepted(*acceptance)
        running = asyncio.create_task(commit_into(answers, committer))
        async with asyncio.timeout(5):
            await committer.flushed()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    return [attempt for answer in answers for attempt in answer.unnamed]


def test_a_remote_id_that_the_database_refuses_is_logged_and_its_attempt_is_held(books: Books) -> None:
    books.accept(1, [10], name="bat_2")
    first, second = books.claim()
    books.sql(
        "CREATE TRIGGER picky BEFORE UPDATE OF remote_task_id ON video_tasks WHEN NEW.remote_task_id = 'odd'"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with structlog.testing.capture_logs() as lines:
        unnamed = committed(books, (first.task_id, 1, "odd"), (second.task_id, 1, "even"))
    assert unnamed == [(first.task_id, 1)]
    told = [line for line in lines if line["event"] == telemetry.SETTLE_REFUSED]
    assert [(t["log_level"], t["task_id"], t["attempt"], t["remote_task_id"]) for t in told] == [
        ("error", first.task_id, 1, "odd")
    ]
    assert books.rows("SELECT remote_task_id, unconfirmed_at_ms FROM video_tasks ORDER BY id") == [
        {"remote_task_id": None, "unconfirmed_at_ms": 2_000},
        {"remote_task_id": "even", "unconfirmed_at_ms": None},
    ]


def test_an_id_with_characters_that_databases_refuse_is_stored_without_them(database: Database) -> None:
    """PostgreSQL takes no NUL; SQLite would store what stands before it, silently."""
    made = Books(database)
    made.grant(made.account(), 100)
    made.accept(1, [10])
    (task,) = made.claim()
    with structlog.testing.capture_logs() as lines:
        assert committed(made, (task.task_id, 1, "a\0b")) == []
    assert made.row("SELECT remote_task_id FROM video_tasks") == {"remote_task_id": "a\ufffdb"}
    (told,) = [line for line in lines if line["event"] == telemetry.REMOTE_ID_CLEANED]
    assert told["remote_task_id"] == "a\0b"


def test_what_is_heard_under_anothers_id_while_it_is_committed_counts_for_nothing(books: Books) -> None:
    books.accept(1, [10], name="bat_2")
    first, second = books.claim()

    async def scenario() -> None:
        committer = Committer(
            books.database,
            worker_id=WORKER,
            now_ms=lambda: 2_000,
        )
        committer.accepted(first.task_id, 1, "one")
        committer.accepted(second.task_id, 1, "one")
        in_hand = committer._take()
        committer.verdict(second.task_id, 1, video(first))
        committer.verdict(first.task_id, 1, video(first))
        answer = await committer._commit(in_hand)
        assert answer.unnamed == [(second.task_id, 1)]
        assert [row[0] for row in committer._group.verdicts] == [first.task_id]

    asyncio.run(scenario())


@pytest.mark.parametrize("what", ["returned", "refused"])
def test_an_attempt_whose_end_the_database_refuses_is_held_and_looked_up_again(
    books: Books, what: str
) -> None:
    """It is in no lane any more: nobody else would ever follow it while its worker lives."""
    (task,) = books.claim()
    books.sql(
        "CREATE TRIGGER picky BEFORE UPDATE OF status ON video_tasks WHEN NEW.status <> 'processing'"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    answers: list[Committed] = []

    async def scenario() -> None:
        committer = Committer(books.database, worker_id=WORKER, now_ms=lambda: 2_000)
        if what == "returned":
            committer.returned(task.task_id, task.attempt)
        else:
            committer.refused(task.task_id, task.attempt, Failed("no", FailureType.PARAM_ERROR))
        running = asyncio.create_task(commit_into(answers, committer))
        async with asyncio.timeout(5):
            await committer.flushed()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    assert [answer.ends for answer in answers] == [[(task.task_id, task.attempt, SettleOutcome.REFUSED)]]
    assert books.row("SELECT status, unconfirmed_at_ms FROM video_tasks") == {
        "status": "processing",
        "unconfirmed_at_ms": 2_000,
    }
    owned = books.database.run_reading(workers.owned_in_flight, WORKER, providers=[task.provider])
    assert [each.task_id for each in owned] == [task.task_id]


def test_a_batch_whose_reservation_is_wrong_stops_nobody_elses_tasks(books: Books) -> None:
    """Somebody has edited rows by hand: the worker names the task and settles all others."""
    books.accept(1, [10, 10], name="bat_2")
    wrong, *sound = books.claim()
    books.sql("UPDATE batch_reservations SET reserved = 4 WHERE batch_id = :id", id=wrong.batch_id)
    answers: list[Committed] = []

    async def scenario() -> None:
        committer = Committer(books.database, worker_id=WORKER, now_ms=lambda: 2_000)
        for task in (wrong, *sound):
            committer.verdict(task.task_id, task.attempt, Failed("no", FailureType.NETWORK))
        running = asyncio.create_task(commit_into(answers, committer))
        async with asyncio.timeout(5):
            await committer.flushed()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with structlog.testing.capture_logs() as lines:
        asyncio.run(scenario())
    ends = {end[0]: end[2] for answer in answers for end in answer.ends}
    assert ends == {
        wrong.task_id: SettleOutcome.REFUSED,
        **{task.task_id: SettleOutcome.SETTLED for task in sound},
    }
    (named,) = [line for line in lines if line["event"] == telemetry.SETTLE_REFUSED]
    assert named["error"] == "MoreThanHeld"
    assert books.rows("SELECT status FROM video_tasks ORDER BY id") == [
        {"status": "processing"},
        {"status": "failed"},
        {"status": "failed"},
    ]


def test_that_an_attempt_never_left_counts_more_than_that_it_was_given_up(database: Database) -> None:
    """Both in one group, when an adoption whose answer was lost is understood after the grace is over."""
    made = Books(database)
    made.grant(made.account(), 100)
    made.accept(1, [10])
    (task,) = made.claim()
    applied = made.apply(Group(returned=[(task.task_id, 1)], given_up=[(task.task_id, 1)]))
    assert applied.settled == frozenset()
    assert made.row("SELECT status, attempt FROM video_tasks") == {"status": "pending", "attempt": 1}


def test_one_row_that_is_refused_costs_its_group_few_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Books(Database(f"sqlite:///{tmp_path / 'many.db'}"))
    migrate.upgrade(made.database)
    made.grant(made.account(), 1000)
    made.accept(1, [1] * 500)
    claimed = made.claim()
    made.sql(
        "CREATE TRIGGER picky BEFORE UPDATE OF remote_task_id ON video_tasks"
        " WHEN NEW.remote_task_id = 'remote-77' BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    transactions = 0
    transact = Database.transact

    async def counted(self: Database, *arguments: Any, **more: Any) -> Any:
        nonlocal transactions
        transactions += 1
        return await transact(self, *arguments, **more)

    monkeypatch.setattr(Database, "transact", counted)
    acceptances = [(task.task_id, 1, f"remote-{number}") for number, task in enumerate(claimed)]
    assert committed(made, *acceptances) == [(claimed[77].task_id, 1)]
    monkeypatch.undo()
    made.database.close()
    assert transactions <= 22, "halved nine times, and held"
    assert made.row("SELECT count(*) AS named FROM video_tasks WHERE remote_task_id IS NOT NULL") == {
        "named": 499
    }


@pytest.mark.parametrize("is_sent_again", [False, True])
def test_what_is_known_by_its_remote_id_is_not_given_up_and_said_to_be_known(
    is_sent_again: bool, books: Books
) -> None:
    (task,) = books.claim()
    books.name([task])
    answers: list[Committed] = []

    async def scenario() -> None:
        committer = Committer(books.database, worker_id=WORKER, now_ms=lambda: 2_000)
        give_up = committer.resubmitted if is_sent_again else committer.given_up
        give_up(task.task_id, task.attempt)
        running = asyncio.create_task(commit_into(answers, committer))
        async with asyncio.timeout(5):
            await committer.flushed()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    ends = [end for answer in answers for end in answer.ends]
    assert ends == [(task.task_id, task.attempt, SettleOutcome.KNOWN)]
    assert books.row("SELECT status FROM video_tasks") == {"status": "processing"}


def test_an_id_that_comes_when_its_attempt_has_ended_is_in_the_log(books: Books) -> None:
    """No row carries it: whoever looks for what was bought finds it there."""
    (task,) = books.claim()
    with structlog.testing.capture_logs() as lines:
        assert committed(books, (task.task_id, task.attempt, "remote-1")) == []
    assert [line["event"] for line in lines] == []
    books.finish([(task, video(task))])
    with structlog.testing.capture_logs() as lines:
        assert committed(books, (task.task_id, task.attempt, "remote-2")) == []
    (told,) = [line for line in lines if line["event"] == telemetry.SUBMIT_NAMED_LATE]
    assert (told["task_id"], told["attempt"], told["remote_task_id"]) == (task.task_id, 1, "remote-2")


def test_what_was_committed_is_counted(books: Books) -> None:
    (task,) = books.claim()

    async def scenario() -> Committer:
        committer = Committer(books.database, worker_id=WORKER, now_ms=lambda: 2_000)
        committer.accepted(task.task_id, task.attempt, "remote-1")
        committer.verdict(task.task_id, task.attempt, video(task))
        running = asyncio.create_task(commit_into([], committer))
        async with asyncio.timeout(5):
            await committer.flushed()
        await ended(running)
        return committer

    committer = asyncio.run(scenario())
    assert (committer.groups_total, committer.settled_total, committer.closed_batches_total) == (1, 1, 1)
