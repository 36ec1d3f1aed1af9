"""How often a lane asks the database for pending tasks, and how soon it hears of new ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.task import Accepted, FailureType, NotSent, Rejected, SubmitOutcome, Unknown
from rushes.providers.base import ProviderConfig, ProviderLimits, SubmitRequest
from rushes.providers.families.grsai import GrsaiProvider
from rushes.providers.http.transport import departure_under_way
from rushes.run.commit import COMMIT_INTERVAL_SECONDS
from rushes.run.context import WorkerConfig
from rushes.run.lane import claim
from rushes.run.lane.fairness import claim_fairly
from rushes.run.lane.lane import Lane
from rushes.run.lane.send import STOPPED, send
from rushes.run.lease import OwnLease
from rushes.run.meters import Meters
from rushes.run.sent_record import NoRecord
from rushes.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport
from rushes.store.database import Database
from rushes.store.tasks import turns
from tests.books import Books
from tests.run.lanes import commit_into, context_of, held_lease

TASKS = 20


async def finish_submits(lane: Lane, *, seconds: float) -> None:
    """Wait so long for the claim and the submissions under way."""
    until = asyncio.get_running_loop().time() + seconds
    await lane.finish_submits(until=until, claims_until=until)


class CountingDatabase:
    """The database, with counts of claims and of the looks before them.

    `while_looking` is called once, inside the first look; `while_claiming` is awaited, inside a claim.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.claims = self.looks = 0
        self.while_looking: Any = None
        self.while_claiming: Any = None

    async def transact(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await self._database.transact(function, *args, **kwargs)
        if function is claim_fairly:
            self.claims += 1
            act, self.while_claiming = self.while_claiming, None
            if act is not None:
                await act()
        return result

    async def read(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await self._database.read(function, *args, **kwargs)
        if function is turns.count_waiting:
            self.looks += 1
            act, self.while_looking = self.while_looking, None
            if act is not None:
                act()
        return result


class Stage:
    """A lane that does not poll, and its committer, over the real provider and the simulator's core."""

    def __init__(
        self,
        database: Database,
        *,
        connections: int,
        submits_per_second: float | None = None,
        in_flight_tasks_max: int | None = None,
        answer_seconds: float = 0.0,
        config: WorkerConfig | None = None,
        lease: OwnLease | None = None,
        **parts: Any,
    ) -> None:
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
                limits=ProviderLimits(
                    connections_max=connections,
                    submits_per_second=submits_per_second,
                    in_flight_tasks_max=in_flight_tasks_max,
                ),
            )
        )
        self.on_the_wire = 0
        self.sent_at: list[float] = []
        context = context_of(self.database, config=config, lease=lease, now_ms=self._now_ms)
        context = replace(context, **parts)
        self.committer = context.committer
        self.lane = Lane(self._watched(provider, answer_seconds), context)

    @property
    def accepted(self) -> int:
        """Tasks at the provider: nothing polls them here, so that none of them ends."""
        return len(self.lane.attempts.polled)

    def _watched(self, provider: GrsaiProvider, answer_seconds: float) -> GrsaiProvider:
        submit = provider.submit

        async def watched(request: SubmitRequest) -> SubmitOutcome:
            self.sent_at.append(asyncio.get_running_loop().time())
            self.on_the_wire += 1
            await asyncio.sleep(answer_seconds)
            outcome = await submit(request)
            self.on_the_wire -= 1
            return outcome

        provider.submit = watched  # type: ignore[method-assign]
        return provider

    def claimed(self) -> int:
        """Attempts whose intent is committed."""
        return int(self.books.row("SELECT sum(attempt) AS attempts FROM video_tasks")["attempts"])

    def _now_ms(self) -> int:
        return self.books.now_ms

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Lane and committer run."""
        running = (self.lane.claim_and_send(), commit_into([], self.committer))
        parts = [asyncio.create_task(part) for part in running]
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
        await finish_submits(self.lane, seconds=5)


def test_room_that_nobody_waits_for_costs_no_claim(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(claim, "IDLE_SECONDS", 60.0)

    async def play() -> int:
        stage = Stage(database, connections=64)
        stage.books.accept(stage.account, [5] * TASKS)
        async with stage.at_work():
            await stage.until_accepted(TASKS)
            for _ in range(TASKS):  # each of them settles, one after the other
                stage.lane.claims.wake_if_more()
                await asyncio.sleep(0.02)
        return stage.database.looks

    assert asyncio.run(play()) < TASKS / 2


@pytest.mark.parametrize(
    ("all_workers", "of_a_model", "wakes"),
    [(None, False, False), (5, False, True), (None, True, True), (5, True, True)],
)
def test_after_an_empty_claim_an_end_makes_room_where_others_may_have_taken_it(
    database: Database, all_workers: int | None, of_a_model: bool, wakes: bool
) -> None:
    """A claim under a limit may have left tasks behind: their turn comes when one in flight ends."""
    limits = {"limits": {"in_flight_tasks_max": 3}}
    catalogue = DEFAULT_CATALOGUE.with_overrides({"sora-2": limits} if of_a_model else {})

    async def play() -> bool:
        stage = Stage(database, connections=4, in_flight_tasks_max=all_workers, catalogue=catalogue)
        claims = stage.lane.claims
        claims.wake_if_more()
        assert claims._wake.is_set(), "nothing has been looked for yet"
        claims.start_looking()
        assert await claims.claim() == []
        assert claims.found_nothing
        claims.wake_if_more()
        return claims._wake.is_set()

    assert asyncio.run(play()) is wakes


def test_a_worker_that_may_not_send_does_not_spin(database: Database, monkeypatch: Any) -> None:
    async def play() -> int:
        lease, asked = held_lease(), 0

        def may_not_send() -> bool:
            nonlocal asked
            asked += 1
            return False

        monkeypatch.setattr(lease, "permits_sending", may_not_send)
        stage = Stage(database, connections=4, lease=lease)
        async with stage.at_work():
            await asyncio.sleep(0.3)
        assert stage.database.looks == 0, "it would send nothing of what it found"
        return asked

    assert asyncio.run(play()) <= 2, "it looks again after IDLE_SECONDS, without a rate limit too"


def test_room_that_tasks_wait_for_is_used_at_once(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(claim, "IDLE_SECONDS", 60.0)

    async def play() -> int:
        stage = Stage(database, connections=4)
        stage.books.accept(stage.account, [5] * TASKS)
        async with stage.at_work():
            await stage.until_accepted(TASKS)
        return stage.accepted

    assert asyncio.run(play()) == TASKS


def test_a_batch_that_comes_during_a_claim_is_found_at_once(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(claim, "IDLE_SECONDS", 60.0)

    async def play() -> int:
        stage = Stage(database, connections=64)

        def accept_and_tell() -> None:
            stage.books.accept(stage.account, [5] * TASKS)
            stage.lane.claims.wake()

        stage.database.while_looking = accept_and_tell  # the claim in hand has looked already
        async with stage.at_work():
            await stage.until_accepted(TASKS)
        return stage.accepted

    assert asyncio.run(play()) == TASKS


def test_a_request_that_cannot_be_made_leaves_its_task_pending_and_pauses_the_provider(
    database: Database,
) -> None:
    async def play() -> None:
        def broken(_provider: str, _task_id: int, _attempt: int) -> str:
            raise RuntimeError("no address")

        stage = Stage(database, connections=4, config=WorkerConfig(callback_url=broken))
        stage.books.accept(stage.account, [5] * 2)
        async with stage.at_work():
            while stage.lane.health.submits_permitted(asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(0.01)
            await finish_submits(stage.lane, seconds=5)
            await stage.committer.flushed()
        assert stage.lane.submitted_total == 0
        rows = stage.books.rows("SELECT status, unconfirmed_at_ms FROM video_tasks")
        assert rows == [{"status": "pending", "unconfirmed_at_ms": None}] * 2
        assert stage.lane.attempts.submitting_count == 0

    asyncio.run(play())


def test_a_claim_that_is_not_answered_before_a_stop_gives_its_tasks_back(database: Database) -> None:
    """None of them was sent, and when the worker is gone nobody would know that."""

    async def play() -> None:
        stage = Stage(database, connections=4)
        stage.books.accept(stage.account, [5] * 3)
        answered = asyncio.Event()
        stage.database.while_claiming = answered.wait
        async with stage.at_work():
            while not stage.database.claims:
                await asyncio.sleep(0.01)
            claims = stage.lane.claims
            claims.stop()
            await finish_submits(stage.lane, seconds=0.05)
            assert claims.is_under_way, "the worker's record of what it sent must be kept"
            await claims.return_lost()
            await stage.committer.flushed()
            rows = stage.books.rows("SELECT status, worker_id FROM video_tasks")
            assert rows == [{"status": "pending", "worker_id": None}] * 3
            read, stage.database.read = stage.database.read, None  # type: ignore[method-assign, assignment]
            await claims.return_lost()  # there is no doubt any more: nothing is looked up
            stage.database.read = read  # type: ignore[method-assign]
            answered.set()
            while claims.is_under_way:
                await asyncio.sleep(0.01)
        assert stage.lane.submitted_total == 0

    asyncio.run(play())


def test_an_attempt_that_was_accepted_is_stored_also_when_polling_it_cannot_be_planned(
    database: Database, monkeypatch: Any
) -> None:
    async def play() -> None:
        stage = Stage(database, connections=4)
        stage.books.accept(stage.account, [5])

        def broken(_task: Any) -> None:
            raise RuntimeError("a defect")

        monkeypatch.setattr(stage.lane.poller, "add", broken)
        async with stage.at_work():
            while not stage.lane.attempts.is_in_doubt:
                await asyncio.sleep(0.01)
            await stage.committer.flushed()
        row = stage.books.row("SELECT remote_task_id, unconfirmed_at_ms FROM video_tasks")
        assert row["remote_task_id"] is not None
        assert row["unconfirmed_at_ms"] is None
        assert stage.lane.attempts.submitting_count == 0

    asyncio.run(play())


def test_an_error_of_our_own_after_the_request_left_holds_the_attempt(
    database: Database, monkeypatch: Any
) -> None:
    async def play() -> None:
        stage = Stage(database, connections=4)
        stage.books.accept(stage.account, [5])

        def broken(*_arguments: Any) -> Any:
            raise RuntimeError("a defect")

        monkeypatch.setattr(stage.lane.health, "on_submit", broken)
        async with stage.at_work():
            while stage.lane.submitted_total == 0 or stage.lane.attempts.submitting_count:
                await asyncio.sleep(0.01)
            await stage.committer.flushed()
        row = stage.books.row("SELECT status, remote_task_id, unconfirmed_at_ms FROM video_tasks")
        assert (row["status"], row["remote_task_id"]) == ("processing", None)
        assert row["unconfirmed_at_ms"] is not None

    asyncio.run(play())


def test_what_is_claimed_leaves_at_once_under_a_rate_limit(database: Database) -> None:
    """A crash at any moment leaves in doubt at most the one attempt that is just being sent."""

    async def play() -> tuple[list[int], int]:
        stage = Stage(database, connections=64, submits_per_second=10.0, answer_seconds=0.25)
        stage.books.accept(stage.account, [5] * TASKS)
        unsent, most_on_the_wire = [], 0
        async with stage.at_work():
            while stage.accepted < 12:
                claimed = stage.claimed()
                unsent.append(claimed - len(stage.sent_at))
                most_on_the_wire = max(most_on_the_wire, stage.on_the_wire)
                await asyncio.sleep(0.015)
            stage.lane.claims.stop()
            await finish_submits(stage.lane, seconds=5)
        return unsent, most_on_the_wire

    unsent, most_on_the_wire = asyncio.run(play())
    assert most_on_the_wire >= 2
    assert max(unsent) <= 1, unsent


def test_the_rate_holds_and_is_used_though_each_claim_takes_time(database: Database) -> None:
    async def play() -> tuple[list[float], int]:
        stage = Stage(database, connections=64, submits_per_second=40.0)
        stage.books.accept(stage.account, [5] * 60)
        async with stage.at_work():
            await stage.until_accepted(60)
        return stage.sent_at, stage.database.looks

    sent_at, claims = asyncio.run(play())
    most = max(sum(at <= other < at + 1.0 for other in sent_at) for at in sent_at)
    assert most <= 40
    assert sent_at[-1] - sent_at[0] < 10, "with half a second between claims it would be 30"
    assert claims <= 65, "not one look more than there is to claim"


def test_nothing_is_claimed_before_there_is_a_connection_for_it(database: Database) -> None:
    async def play() -> tuple[list[int], list[int]]:
        stage = Stage(database, connections=64)
        stage.books.accept(stage.account, [5] * TASKS)
        asked: list[int] = []
        claimed: list[int] = []

        async def prepare_submits(count: int) -> int:
            asked.append(count)
            claimed.append(stage.claimed())
            return 0 if len(asked) == 1 else 3

        stage.lane.provider.prepare_submits = prepare_submits  # type: ignore[attr-defined]
        async with stage.at_work():
            await stage.until_accepted(TASKS)
        return asked, claimed

    asked, claimed = asyncio.run(play())
    assert asked[0] == TASKS, "as many as wait, and no more"
    assert claimed[:4] == [0, 0, 3, 6]


def test_a_claim_that_nobody_waits_for_any_more_is_given_back(database: Database) -> None:
    async def play() -> None:
        stage = Stage(database, connections=4)
        stage.books.accept(stage.account, [5] * 2)
        claimed, go_on = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            claimed.set()
            await go_on.wait()

        stage.database.while_claiming = hold
        sending = asyncio.create_task(stage.lane.claim_and_send())
        await claimed.wait()
        sending.cancel()  # as when the lease was lost
        await asyncio.gather(sending, return_exceptions=True)
        committing = asyncio.create_task(commit_into([], stage.committer))
        go_on.set()
        await finish_submits(stage.lane, seconds=5)
        await stage.committer.flushed()
        committing.cancel()
        rows = stage.books.rows("SELECT status, attempt, unconfirmed_at_ms FROM video_tasks")
        assert rows == [{"status": "pending", "attempt": 1, "unconfirmed_at_ms": None}] * 2
        assert stage.sent_at == []

    asyncio.run(play())


def test_an_acceptance_is_stored_at_once_while_few_come(database: Database) -> None:
    async def play() -> list[float]:
        stage = Stage(database, connections=64)
        stage.books.accept(stage.account, [5] * 8)
        tasks = stage.books.claim(5)
        loop = asyncio.get_running_loop()
        seconds = []
        async with stage.at_work():
            await stage.until_accepted(3)
            await asyncio.sleep(0.3)
            for task in tasks:
                started = loop.time()
                stage.committer.accepted(task.task_id, task.attempt, f"remote-{task.task_id}")
                await stage.committer.flushed()
                seconds.append(loop.time() - started)
        return seconds

    seconds = asyncio.run(play())
    assert sorted(seconds)[len(seconds) // 2] < COMMIT_INTERVAL_SECONDS / 2, seconds


class Uploads:
    """Files of submits: `until` they are ready, or why they never are."""

    def __init__(self, *, until: asyncio.Event | None = None, refused: Any = None) -> None:
        self._until, self._refused = until, refused
        self.opening = 0

    @asynccontextmanager
    async def opened(self, *_arguments: Any) -> AsyncIterator[Any]:
        self.opening += 1
        if self._until is not None:
            await self._until.wait()
        yield {} if self._refused is None else self._refused


def test_a_submit_that_waits_for_its_file_at_a_stop_is_given_back(database: Database) -> None:
    async def play() -> None:
        uploads = Uploads(until=asyncio.Event())
        stage = Stage(database, connections=4, inputs=uploads)
        stage.books.accept(stage.account, [5] * 2)
        async with stage.at_work():
            while uploads.opening < 2:
                await asyncio.sleep(0.01)
            stage.lane.claims.stop()
            await finish_submits(stage.lane, seconds=0.05)
            await stage.committer.flushed()
        assert stage.lane.submitted_total == 0
        rows = stage.books.rows("SELECT status, unconfirmed_at_ms FROM video_tasks")
        assert rows == [{"status": "pending", "unconfirmed_at_ms": None}] * 2

    asyncio.run(play())


def test_a_submit_whose_file_is_refused_never_leaves_and_ends_its_task(database: Database) -> None:
    async def play() -> None:
        refused = Rejected("its file is too large", FailureType.PARAM_ERROR)
        stage = Stage(database, connections=4, inputs=Uploads(refused=refused))
        stage.books.accept(stage.account, [5])
        async with stage.at_work():
            while not stage.claimed():
                await asyncio.sleep(0.01)
            await finish_submits(stage.lane, seconds=5)
            await stage.committer.flushed()
        assert stage.lane.submitted_total == 0
        row = stage.books.row("SELECT status, error FROM video_tasks")
        assert row == {"status": "failed", "error": "its file is too large"}

    asyncio.run(play())


def test_nothing_leaves_that_the_record_denies_and_it_goes_back(database: Database) -> None:
    async def play() -> None:
        class Over(NoRecord):
            def leaves(self, task_id: int, attempt: int) -> bool:
                stage.lane.claims.stop()
                return False

        stage = Stage(database, connections=4, record=Over())
        stage.books.accept(stage.account, [5])
        async with stage.at_work():
            while not stage.claimed():
                await asyncio.sleep(0.01)
            await finish_submits(stage.lane, seconds=5)
            await stage.committer.flushed()
        assert stage.sent_at == []
        row = stage.books.row("SELECT status, unconfirmed_at_ms FROM video_tasks")
        assert row == {"status": "pending", "unconfirmed_at_ms": None}

    asyncio.run(play())


@pytest.mark.parametrize("leaves", [False, True])
def test_a_submit_that_is_cancelled_was_not_sent_if_its_request_was_still_waiting(leaves: bool) -> None:
    class Slow:
        name = "slow"

        async def submit(self, request: SubmitRequest) -> SubmitOutcome:
            departure = departure_under_way()
            assert departure is not None
            assert not leaves or departure.leave()
            await asyncio.sleep(60)
            raise AssertionError("it was cancelled")

    provider: Any = Slow()
    request: Any = None

    async def play() -> SubmitOutcome:
        sending = asyncio.create_task(send(provider, request, lease=held_lease(), meters=Meters()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        sending.cancel()
        sent = await sending
        assert not sent.says_of_provider
        return sent.outcome

    outcome = asyncio.run(play())
    assert isinstance(outcome, Unknown) if leaves else outcome == STOPPED


@pytest.mark.parametrize(
    ("outcome", "says"),
    [(Accepted("r-1"), True), (Rejected("no", FailureType.PARAM_ERROR), True), (NotSent("late"), False)],
)
def test_only_a_submit_that_was_not_sent_was_cut_short_by_the_end_of_the_lease(
    outcome: SubmitOutcome, says: bool
) -> None:
    """All else says something of the provider, whatever its code told of the request's way."""
    permits = [True]

    class Own:
        name = "own"

        async def submit(self, request: SubmitRequest) -> SubmitOutcome:
            departure_under_way()
            permits[0] = False
            return outcome

    class Lease:
        def permits_sending(self) -> bool:
            return permits[0]

    provider: Any = Own()
    lease: Any = Lease()
    request: Any = None
    sent = asyncio.run(send(provider, request, lease=lease, meters=Meters()))
    assert (sent.outcome, sent.says_of_provider) == (outcome, says)


def test_a_provider_that_raises_may_have_sent_the_task(database: Database, monkeypatch: Any) -> None:
    async def play() -> None:
        async def broken(_request: SubmitRequest) -> SubmitOutcome:
            raise RuntimeError("a defect")

        stage = Stage(database, connections=4)
        monkeypatch.setattr(stage.lane.provider, "submit", broken)
        stage.books.accept(stage.account, [5])
        async with stage.at_work():
            while not stage.lane.attempts.unconfirmed:
                await asyncio.sleep(0.01)
            await stage.committer.flushed()
        row = stage.books.row("SELECT status, unconfirmed_at_ms IS NULL AS is_known FROM video_tasks")
        assert (row["status"], bool(row["is_known"])) == ("processing", False)

    asyncio.run(play())
