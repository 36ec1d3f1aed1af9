"""Tasks that a worker gives away because it has more than its share."""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, text

from rushes.domain.errors import DatabaseBusy, DatabaseUnreachable
from rushes.domain.task import Processing
from rushes.money.settle import Group
from rushes.run.adopt import Adoption
from rushes.run.lane.lane import Lane
from rushes.run.lane.remote_task import NEVER, ModelTimes, RemoteTask
from rushes.run.nudges import Nudges
from rushes.run.shares import Shares
from rushes.run.unconfirmed import Unconfirmed
from rushes.store import nudges as nudge_rows
from rushes.store import workers
from rushes.store.database import Database
from rushes.store.workers import JOINING, Standing, Survey
from tests.books import PROVIDER, WORKER, Books
from tests.run.lanes import context_of, simulated_provider

TASKS = 60


def _poll(lane: Lane, task_id: int, attempt: int, remote_task_id: str) -> None:
    now = asyncio.get_running_loop().time()
    lane.poller.add(
        RemoteTask(
            task_id=task_id,
            attempt=attempt,
            times=ModelTimes("sora-2", 100, 200),
            remote_task_id=remote_task_id,
            progress=0,
            sent_at=now,
        )
    )


class AdoptingDatabase:
    """A database whose answer to a release is late: the worker has adopted the tasks again meanwhile."""

    def __init__(self, database: Database, lane: Lane, now_ms: int) -> None:
        self._database, self._lane, self._now_ms = database, lane, now_ms
        self.adopted = 0

    async def transact(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await self._database.transact(function, *args, **kwargs)
        if function is workers.release_share_if_owned:
            for task in await self._database.transact(
                workers.adopt, WORKER, providers=[PROVIDER], now_ms=self._now_ms, limit=TASKS
            ):
                assert task.remote_task_id is not None
                _poll(self._lane, task.task_id, task.attempt, task.remote_task_id)
                self.adopted += 1
        return result


class WaitingDatabase:
    """A database whose answer to a release waits, and may be an error."""

    def __init__(self, database: Database, error: Exception | None = None) -> None:
        self._database, self._error = database, error
        self.asked, self.is_asked, self.answers = 0, asyncio.Event(), asyncio.Event()

    async def transact(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        self.is_asked.set()
        await self.answers.wait()
        if self._error is not None:
            raise self._error
        return await self._database.transact(function, *args, **kwargs)


class LosingDatabase:
    """A database whose answer to the first release is lost: it was committed, or was not."""

    def __init__(self, database: Database, *, is_committed: bool) -> None:
        self._database, self._is_committed = database, is_committed
        self.asked = 0

    async def transact(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        if self.asked > 1:
            return await self._database.transact(function, *args, **kwargs)
        if self._is_committed:
            await self._database.transact(function, *args, **kwargs)
        raise DatabaseUnreachable("the connection was cut")


class RenewingDatabase:
    """A database in which the lease is renewed just before and after a release, and what others read then."""

    def __init__(self, database: Database, books: Books) -> None:
        self._database, self._books = database, books
        self.shares: Shares | None = None
        self.read: list[int] = []

    async def transact(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        await self.renew()
        result = await self._database.transact(function, *args, **kwargs)
        await self.renew()
        return result

    async def renew(self) -> None:
        assert self.shares is not None
        standings = await self._database.transact(
            workers.renew_lease_if_alive,
            WORKER,
            lease_expires_at_ms=10**12,
            report="{}",
            holds=self.shares.counts(),
            now_ms=self._books.now_ms,
        )
        assert standings is not None
        self.read.append(standings[0].holds[PROVIDER])


class SlowReading:
    """A database whose answer to what a worker owns is late."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.has_read, self.answers = asyncio.Event(), asyncio.Event()

    async def read(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await self._database.read(function, *args, **kwargs)
        if function is workers.owned_in_flight:
            self.has_read.set()
            await self.answers.wait()
        return result


class BusyOnce:
    """A database that is busy when it is asked for the time `at`."""

    def __init__(self, database: Database, *, at: int) -> None:
        self._database, self._at, self.asked = database, at, 0

    async def transact(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        if self.asked == self._at:
            raise DatabaseBusy("busy")
        return await self._database.transact(function, *args, **kwargs)


def _stage(database: Database, *, named: int = TASKS) -> tuple[Books, Lane, list[Standing]]:
    """Of the tasks that are polled, the database knows the remote ids of the first `named`."""
    books = Books(database)
    account = books.account()
    books.grant(account, 10_000)
    books.accept(account, [5] * TASKS)
    claimed = books.claim()
    books.name(claimed[:named])
    books.worker("worker-2")
    lane = Lane(simulated_provider(), context_of(database))
    for task in claimed:
        _poll(lane, task.task_id, task.attempt, f"remote-{task.task_id}-{task.attempt}")
    return books, lane, [Standing(WORKER, {PROVIDER: TASKS}), Standing("worker-2", {PROVIDER: 0})]


def _books(database: Database) -> Books:
    async def stage() -> Books:
        return _stage(database)[0]

    return asyncio.run(stage())


def _shares(database: Any, books: Books, lane: Lane) -> Shares:
    return Shares(database, worker_id=WORKER, now_ms=lambda: books.now_ms, lanes={PROVIDER: lane})


@contextlib.asynccontextmanager
async def _giving_away(shares: Shares, standings: list[Standing]) -> AsyncIterator[None]:
    """After one renewal of the lease."""
    giving = asyncio.create_task(shares.give_away())
    await asyncio.sleep(0)
    shares.keep(standings, asyncio.get_running_loop().time())
    try:
        async with asyncio.timeout(20):
            yield
    finally:
        giving.cancel()


@dataclass
class Waiting:
    """A worker whose release of what is above its share has been asked for, and not answered yet."""

    lane: Lane
    standings: list[Standing]
    database: WaitingDatabase
    shares: Shares

    def renew(self) -> None:
        self.shares.keep(self.standings, asyncio.get_running_loop().time())

    async def answered(self) -> None:
        self.database.answers.set()
        while any(task.settling for task in self.lane.attempts.polled.values()):
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def _waiting(database: Database, error: Exception | None = None) -> AsyncIterator[Waiting]:
    books, lane, standings = _stage(database)
    slow = WaitingDatabase(database, error)
    shares = _shares(slow, books, lane)
    async with _giving_away(shares, standings):
        await slow.is_asked.wait()
        yield Waiting(lane, standings, slow, shares)


def test_what_is_above_a_share_is_given_away_and_polled_no_longer(database: Database) -> None:
    async def play() -> None:
        books, lane, standings = _stage(database)
        async with _giving_away(_shares(database, books, lane), standings):
            while len(lane.attempts.polled) > TASKS / 2:
                await asyncio.sleep(0.01)
        assert len(lane.attempts.polled) == TASKS / 2

    asyncio.run(play())


def test_a_task_adopted_again_before_its_release_was_answered_is_still_polled(database: Database) -> None:
    async def play() -> None:
        books, lane, standings = _stage(database)
        adopting = AdoptingDatabase(database, lane, books.now_ms)
        async with _giving_away(_shares(adopting, books, lane), standings):
            while adopting.adopted < TASKS / 2:
                await asyncio.sleep(0.01)
        assert len(lane.attempts.polled) == TASKS, "all are its own: nobody else would poll them"
        assert not any(task.settling for task in lane.attempts.polled.values())

    asyncio.run(play())


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_release_whose_answer_was_lost_leaves_each_task_with_one_worker(
    database: Database, is_committed: bool
) -> None:
    """Only the database knows whose they are. Polled here all the same, they would also be another's."""

    async def play() -> None:
        books, lane, standings = _stage(database)
        losing = LosingDatabase(database, is_committed=is_committed)
        shares = _shares(losing, books, lane)
        adoption = Adoption(context_of(database, now_ms=lambda: books.now_ms), {PROVIDER: lane})
        async with _giving_away(shares, standings):
            while not lane.attempts.is_in_doubt:
                await asyncio.sleep(0.01)
            await adoption.adopt(tasks_max=0)
            assert len(lane.attempts.polled) == (TASKS / 2 if is_committed else TASKS)
            assert not any(task.settling for task in lane.attempts.polled.values())
            assert not lane.attempts.adrift
            while len(lane.attempts.polled) > TASKS / 2:  # what was not given away then is given away next
                shares.keep(standings, asyncio.get_running_loop().time())
                await asyncio.sleep(0.01)
        adopted = await database.transact(
            workers.adopt, "worker-2", providers=[PROVIDER], now_ms=books.now_ms, limit=TASKS
        )
        assert len(adopted) == TASKS / 2
        assert {task.task_id for task in adopted}.isdisjoint(lane.attempts.polled)

    asyncio.run(play())


def test_a_recall_does_not_bring_back_what_is_released_meanwhile(database: Database) -> None:
    """Its answer may be older than the release: the tasks would be polled here and where they are adopted."""

    async def play() -> None:
        books, lane, standings = _stage(database)
        reading = SlowReading(database)
        shares = _shares(database, books, lane)
        adoption = Adoption(context_of(reading, now_ms=lambda: books.now_ms), {PROVIDER: lane})
        lane.attempts.is_in_doubt = True
        adopting = asyncio.create_task(adoption.adopt(tasks_max=0, shares=shares))
        await reading.has_read.wait()
        async with _giving_away(shares, standings):
            await asyncio.sleep(0.2)  # as long as a release takes
            reading.answers.set()
            await adopting
            while len(lane.attempts.polled) > TASKS / 2:
                await asyncio.sleep(0.01)
        owned = books.rows("SELECT id FROM video_tasks WHERE worker_id = :me", me=WORKER)
        assert set(lane.attempts.polled) == {row["id"] for row in owned}

    asyncio.run(asyncio.wait_for(play(), 20))


def test_a_task_is_followed_whose_remote_id_is_stored_after_the_answer_to_its_release_was_lost(
    database: Database,
) -> None:
    """The database does not give it away, and does not say yet that it is at its provider either."""

    async def play() -> None:
        books, lane, standings = _stage(database, named=TASKS - 1)
        (late,) = books.rows("SELECT id FROM video_tasks ORDER BY id DESC LIMIT 1")
        context = context_of(database, now_ms=lambda: books.now_ms)
        shares = _shares(LosingDatabase(database, is_committed=True), books, lane)
        async with _giving_away(shares, standings):
            while not lane.attempts.is_in_doubt:
                await asyncio.sleep(0.01)
        await Adoption(context, {PROVIDER: lane}).adopt(tasks_max=0)
        assert list(lane.attempts.unconfirmed) == [late["id"]]
        books.apply(Group(accepted=[(late["id"], 1, "remote-late")]))
        await Unconfirmed(context, {PROVIDER: lane}).follow_up()
        assert lane.attempts.polled[late["id"]].remote_task_id == "remote-late"

    asyncio.run(play())


def test_a_worker_that_stops_during_a_release_leaves_no_task_paused(database: Database) -> None:
    async def play() -> None:
        async with _waiting(database) as scene:
            assert any(task.settling for task in scene.lane.attempts.polled.values())
        while any(task.settling for task in scene.lane.attempts.polled.values()):
            await asyncio.sleep(0.01)
        assert len(scene.lane.attempts.polled) == TASKS / 2, "the rest may be another's"

    asyncio.run(asyncio.wait_for(play(), 20))


def test_a_renewal_does_not_wait_for_what_is_given_away_and_the_next_gives_nothing(
    database: Database,
) -> None:
    """Those who take it say so with a renewal of theirs: else this worker would give away as much again."""

    async def play() -> None:
        async with _waiting(database) as scene:
            for _ in range(3):  # while it is under way
                scene.renew()
            await scene.answered()
            assert len(scene.lane.attempts.polled) == TASKS / 2
            scene.renew()
            await asyncio.sleep(0.1)
            assert scene.database.asked == 1
            scene.renew()
            while scene.database.asked < 2:
                await asyncio.sleep(0.01)

    asyncio.run(play())


def test_after_an_error_in_the_middle_a_worker_waits_for_those_who_take_what_it_gave_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rushes.run.shares.RELEASE_TASKS_MAX", 10)

    async def play() -> None:
        books, lane, standings = _stage(database)
        busy = BusyOnce(database, at=2)
        shares = _shares(busy, books, lane)
        async with _giving_away(shares, standings):
            while busy.asked < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            shares.keep(standings, asyncio.get_running_loop().time())
            await asyncio.sleep(0.1)
            assert busy.asked == 2
            assert len(lane.attempts.polled) == TASKS - 10
            shares.keep(standings, asyncio.get_running_loop().time())
            while len(lane.attempts.polled) > (TASKS - 10) / 2:
                await asyncio.sleep(0.01)

    asyncio.run(play())


def test_what_others_are_taking_is_left_to_them_and_what_nobody_takes_is_not(database: Database) -> None:
    """Who takes it all because others are slow gives it away again at once, and all are busy with that."""

    async def play() -> None:
        books, lane, standings = _stage(database)
        shares = _shares(database, books, lane)

        def taken(free: int) -> int:
            return shares.adoptable(Survey(standings, {PROVIDER: free}))[PROVIDER]

        assert [taken(40 - number) for number in range(20)] == [0] * 20
        assert [taken(100) for _ in range(5)] == [20, 20, 20, 20, 100]
        for _ in range(8):  # another time as many are free, and soon taken
            shares.nothing_is_free()
            assert taken(100) == 20

    asyncio.run(play())


def test_others_read_what_a_worker_holds_with_what_it_gave_away_or_took(database: Database) -> None:
    """They would count those tasks twice, or not at all, and take or give away too many."""
    books = _books(database)
    now_ms, ends = books.now_ms, 10**12
    for name, holds in ((WORKER, {PROVIDER: TASKS, "other": 3}), ("worker-2", {PROVIDER: JOINING})):
        renewed: dict[str, Any] = {
            "lease_expires_at_ms": ends,
            "report": "{}",
            "holds": holds,
            "now_ms": now_ms,
        }
        assert database.run(workers.renew_lease_if_alive, name, **renewed) is not None

    def held() -> list[Any]:
        return [standing.holds for standing in database.run_reading(workers.standings, now_ms)]

    rows = [(row["id"], 1) for row in books.rows("SELECT id FROM video_tasks ORDER BY id LIMIT 25")]
    given = database.run(
        workers.release_share_if_owned, rows, provider=PROVIDER, worker_id=WORKER, now_ms=now_ms
    )
    assert len(given) == 25
    assert held() == [{PROVIDER: TASKS - 25, "other": 3}, {PROVIDER: JOINING}]
    for name, limit in ((WORKER, 5), ("worker-2", 5)):
        adopted = database.run(workers.adopt, name, providers=[PROVIDER], now_ms=now_ms, limit=limit)
        assert len(adopted) == limit
    assert held() == [{PROVIDER: TASKS - 20, "other": 3}, {PROVIDER: JOINING}], "one that joins counts anew"


def test_others_read_what_a_worker_holds_before_and_after_a_release_that_overlaps_a_renewal(
    database: Database,
) -> None:
    """Subtracted by both, the number could become that of a worker which joins, or stay too low."""

    async def play() -> None:
        books, lane, standings = _stage(database)
        renewing = RenewingDatabase(database, books)
        renewing.shares = _shares(renewing, books, lane)
        await renewing.renew()
        async with _giving_away(renewing.shares, standings):
            while len(lane.attempts.polled) > TASKS / 2:
                await asyncio.sleep(0.01)
        assert renewing.read == [TASKS, TASKS, TASKS / 2]
        await renewing.renew()
        assert renewing.read[-1] == TASKS / 2

    asyncio.run(play())


def test_what_is_in_doubt_changes_nothing_that_others_read(database: Database) -> None:
    """Forgotten here, it counts as before until the database has said whose it is."""

    async def play() -> None:
        books, lane, standings = _stage(database)
        renewing = RenewingDatabase(database, books)
        renewing.shares = _shares(renewing, books, lane)
        await renewing.renew()
        shares = _shares(LosingDatabase(database, is_committed=False), books, lane)
        async with _giving_away(shares, standings):
            while not lane.attempts.is_in_doubt:
                await asyncio.sleep(0.01)
        await renewing.renew()
        assert len(lane.attempts.polled) == TASKS / 2
        assert renewing.read == [TASKS, TASKS]

    asyncio.run(play())


def test_a_worker_never_holds_less_than_nothing(database: Database) -> None:
    """It may give away more than it held at its last renewal; -1 would say that it joins."""
    books = _books(database)
    books.sql("UPDATE workers SET holds = :holds WHERE id = :me", holds=f'{{"{PROVIDER}":4}}', me=WORKER)
    rows = [(row["id"], 1) for row in books.rows("SELECT id FROM video_tasks ORDER BY id LIMIT 5")]
    given = database.run(
        workers.release_share_if_owned, rows, provider=PROVIDER, worker_id=WORKER, now_ms=books.now_ms
    )
    assert len(given) == 5
    assert database.run_reading(workers.standings, books.now_ms)[0].holds == {PROVIDER: 0}


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_task_is_not_polled_while_it_changes_hands(database: Database, is_refused: bool) -> None:
    """Its end would be stored by nobody: this worker does not own it any more, and the next has not asked."""

    async def play() -> None:
        books, lane, standings = _stage(database)
        slow = WaitingDatabase(database, DatabaseBusy("busy") if is_refused else None)
        being_polled = next(reversed(lane.attempts.polled.values()))
        being_polled.due = NEVER
        plans = {task.task_id: task.due for task in lane.attempts.polled.values()}
        async with _giving_away(_shares(slow, books, lane), standings):
            await slow.is_asked.wait()
            paused = {task.task_id for task in lane.attempts.polled.values() if task.settling}
            assert len(paused) == TASKS / 2
            assert being_polled.task_id not in paused, "its answer is on the way"
            slow.answers.set()
            while any(task.settling for task in lane.attempts.polled.values()):
                await asyncio.sleep(0.01)
        left = {task.task_id: task.due for task in lane.attempts.polled.values()}
        assert left == {task_id: due for task_id, due in plans.items() if is_refused or task_id not in paused}

    asyncio.run(play())


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_callback_of_a_task_that_changes_hands_waits_for_whoever_has_it_then(
    database: Database, is_refused: bool
) -> None:
    async def play() -> None:
        async with _waiting(database, DatabaseBusy("busy") if is_refused else None) as scene:
            attempts, now_ms = scene.lane.attempts, 2_000
            task = next(task for task in attempts.polled.values() if task.settling)
            of_task: dict[str, Any] = {"attempt": task.attempt, "remote_task_id": task.remote_task_id}
            await database.transact(nudge_rows.put, task.task_id, **of_task, now_ms=now_ms)
            lanes, committer = {PROVIDER: scene.lane}, context_of(database).committer
            nudges = Nudges(database, worker_id=WORKER, lanes=lanes, committer=committer)
            assert not nudges.offer(task.task_id, **of_task)
            await nudges.check()
            await scene.answered()
            await database.transact(
                workers.adopt, "worker-2", providers=[PROVIDER], now_ms=now_ms, limit=TASKS
            )
            owner = WORKER if is_refused else "worker-2"
            (kept,) = await database.read(nudge_rows.of_worker, owner, limit=10)
            assert kept.task_id == task.task_id
            await nudges.check()
            assert await database.read(nudge_rows.count) == (0 if is_refused else 1)

    asyncio.run(play())


def test_a_task_that_was_dropped_or_nudged_while_it_was_paused_is_polled_when_it_is_resumed(
    database: Database,
) -> None:
    async def play() -> None:
        async with _waiting(database, DatabaseBusy("busy")) as scene:
            poller = scene.lane.poller
            dropped, nudged, other = [task for task in poller.tasks.values() if task.settling][:3]
            poller.dropped(dropped)
            assert not poller.nudge(nudged.task_id)
            await scene.answered()
            now = asyncio.get_running_loop().time()
            assert max(dropped.due, nudged.due) <= now < other.due

    asyncio.run(play())


def test_progress_that_is_looked_for_during_a_pause_is_stored_after_it(database: Database) -> None:
    async def play() -> None:
        async with _waiting(database, DatabaseBusy("busy")) as scene:
            poller = scene.lane.poller
            task = next(task for task in poller.tasks.values() if task.settling)
            task.settling = False
            poller.apply(task, Processing(50))  # said just before the pause
            poller.pause(task)
            assert poller.take_progress() == []
            await scene.answered()
            assert poller.take_progress() == [(task.task_id, task.attempt, 50)]
            assert poller.take_progress() == []

    asyncio.run(play())


def test_the_twelfth_worker_is_given_tasks_by_those_with_little_more_than_their_share(
    database: Database,
) -> None:
    async def play() -> None:
        books, lane, _ = _stage(database)
        held = {WORKER: TASKS, **{f"old-{number}": 55 for number in range(10)}, "worker-2": 0}
        standings = [Standing(name, {PROVIDER: count}) for name, count in held.items()]
        async with _giving_away(_shares(database, books, lane), standings):
            while len(lane.attempts.polled) == TASKS:
                await asyncio.sleep(0.01)
        assert len(lane.attempts.polled) == 51, "a twelfth of all"

    asyncio.run(play())


def test_a_worker_gives_away_nothing_that_its_own_commit_has_locked(
    new_database_url: Callable[[str], str],
) -> None:
    """The commit takes tasks in the order of their outcomes: waiting for each other, both would be stuck."""
    database = Database(new_database_url("postgresql"))
    books = _books(database)
    rows = [(row["id"], 1) for row in books.rows("SELECT id FROM video_tasks ORDER BY id")]

    def commit_slowly(connection: Connection) -> list[int]:
        locked = text("UPDATE video_tasks SET progress = 5 WHERE id IN (:one, :other)")
        connection.execute(locked, {"one": rows[3][0], "other": rows[7][0]})
        with concurrent.futures.ThreadPoolExecutor() as beside:
            return beside.submit(
                database.run,
                workers.release_share_if_owned,
                rows,
                provider=PROVIDER,
                worker_id=WORKER,
                now_ms=books.now_ms,
            ).result(timeout=5)

    given = database.run(commit_slowly)
    assert sorted(given) == [task_id for task_id, _ in rows if task_id not in (rows[3][0], rows[7][0])]
    database.close()
