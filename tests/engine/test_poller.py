"""The poller alone: when it polls, and that it stops."""

import asyncio
import random
from itertools import pairwise

from simulation.loop import VirtualLoop

from rushes.domain.schedule import LadderSchedule, PollSchedule
from rushes.domain.task import (
    TIMEOUT,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Processing,
    SubmitOutcome,
    Verdict,
)
from rushes.engine.poll import PROGRESS_ROWS_MAX, Poller, RemoteTask, VerdictSink
from rushes.providers.base import ProviderLimits, ResultFiles, SubmitRequest
from rushes.providers.health import ProviderHealth


class SlowAnswers:
    """A provider that answers `running` after `seconds`; a cancelled question is answered all the same.

    That is what an HTTP client in another thread does when the answer comes in the moment of the cancel.
    """

    name = "slow"
    result_files = ResultFiles()

    def __init__(
        self, seconds: float, connections_max: int = 3, interval_min_seconds: float | None = None
    ) -> None:
        self.seconds = seconds
        self.limits = ProviderLimits(
            connections_max=connections_max, poll_interval_min_seconds=interval_min_seconds
        )
        self.asked: list[tuple[float, str]] = []

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        raise NotImplementedError

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        self.asked.append((asyncio.get_running_loop().time(), remote_task_id))
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return Processing(50)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        return None


class Verdicts:
    def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
        raise AssertionError("nothing ends here")


def poller_of(
    provider: SlowAnswers,
    *,
    interval_seconds: float,
    late: list[float] | None = None,
    schedule: PollSchedule | None = None,
    sink: VerdictSink | None = None,
) -> Poller:
    return Poller(
        provider,
        health=ProviderHealth(),
        schedule=schedule or LadderSchedule(interval_seconds, interval_seconds),
        sink=sink or Verdicts(),
        jitter=random.Random(1),
        polls_per_second=None,
        backoff_seconds_max=1.0,
        on_late=None if late is None else late.append,
    )


def task(number: int) -> RemoteTask:
    now = asyncio.get_running_loop().time()
    return RemoteTask(
        task_id=number,
        attempt=1,
        model="sora-2",
        remote_task_id=f"r-{number}",
        progress=0,
        sent_at=now,
        soft_deadline=now + 1000,
        hard_deadline=now + 2000,
    )


def test_a_cancelled_poller_stops_even_when_its_answers_arrive_in_that_moment() -> None:
    async def scenario() -> None:
        provider = SlowAnswers(0.05)
        poller = poller_of(provider, interval_seconds=0.001)
        for number in range(20):
            poller.add(task(number))
        running = asyncio.create_task(poller.run())
        await asyncio.sleep(0.2)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=1.0)
        assert done, "it went on polling"
        asked = len(provider.asked)
        await asyncio.sleep(0.1)
        assert len(provider.asked) == asked > 0

    asyncio.run(scenario())


def test_a_provider_that_has_news_more_seldom_is_asked_more_seldom() -> None:
    async def scenario() -> None:
        provider = SlowAnswers(0.0, interval_min_seconds=0.2)
        poller = poller_of(provider, interval_seconds=0.01)
        running = asyncio.create_task(poller.run())
        for number in range(3):
            poller.add(task(number), first_delay_seconds=0.0)
        await asyncio.sleep(0.7)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for number in range(3):
            times = [at for at, remote_id in provider.asked if remote_id == f"r-{number}"]
            assert len(times) > 1
            assert min(after - before for before, after in pairwise(times)) >= 0.2

    asyncio.run(scenario())


def test_every_task_is_polled_when_it_is_due_and_never_before() -> None:
    async def scenario() -> None:
        late: list[float] = []
        provider = SlowAnswers(0.0, connections_max=8)
        poller = poller_of(provider, interval_seconds=0.1, late=late)
        running = asyncio.create_task(poller.run())
        for number in range(50):
            poller.add(task(number))
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert {remote_id for _, remote_id in provider.asked} == {f"r-{number}" for number in range(50)}
        assert len(provider.asked) >= 50 * 3
        assert min(late) >= 0.0

    asyncio.run(scenario())


def test_nothing_is_polled_without_a_lease_and_all_of_it_afterwards() -> None:
    async def scenario() -> None:
        provider = SlowAnswers(0.0)
        has_lease = False
        poller = Poller(
            provider,
            health=ProviderHealth(),
            schedule=LadderSchedule(0.05, 0.05),
            sink=Verdicts(),
            jitter=random.Random(1),
            polls_per_second=None,
            backoff_seconds_max=1.0,
            may_poll=lambda _now: has_lease,
        )
        running = asyncio.create_task(poller.run())
        poller.add(task(1))
        await asyncio.sleep(0.3)
        assert provider.asked == []
        has_lease = True
        await asyncio.sleep(1.2)
        assert provider.asked
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_progress_is_stored_in_bounded_portions_and_none_is_forgotten() -> None:
    async def scenario() -> None:
        poller = poller_of(SlowAnswers(0.0), interval_seconds=100.0)
        count = PROGRESS_ROWS_MAX + 10
        followed = [task(number) for number in range(count)]
        for each in followed:
            poller.add(each)
            poller.apply(each, Processing(40))
        poller.apply(followed[0], Processing(60))
        first = poller.take_progress()
        assert len(first) == PROGRESS_ROWS_MAX
        assert first[0] == (0, 1, 60)
        assert len(poller.take_progress()) == 10
        assert poller.take_progress() == []

    asyncio.run(scenario())


class AtOneAge:
    """A schedule that wants one poll, at a certain age, however often it is asked."""

    def __init__(self, age_seconds: float) -> None:
        self.age_seconds = age_seconds

    def next_delay_seconds(self, *, age_seconds: float, **_facts: object) -> float:
        return 60.0 if age_seconds >= self.age_seconds else self.age_seconds - age_seconds

    def saw_running(self, **_facts: object) -> None:
        """Learns nothing."""

    def saw_end(self, **_facts: object) -> None:
        """Learns nothing."""


def test_a_task_planned_twice_for_the_same_moment_is_polled_once() -> None:
    async def scenario() -> None:
        provider = SlowAnswers(0.05, connections_max=8)
        planned_at = asyncio.get_running_loop().time() + 0.5
        poller = poller_of(provider, interval_seconds=1.0, schedule=AtOneAge(planned_at))
        followed = task(1)
        followed.sent_at = 0.0  # an age is a time of the loop then
        running = asyncio.create_task(poller.run())
        poller.add(followed)
        for _ in range(2):  # each nudge is answered, and the next poll planned for the same moment again
            await asyncio.sleep(0.1)
            poller.nudge(1)
        await asyncio.sleep(0.6)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [at >= planned_at for at, _ in provider.asked] == [False, False, True]

    asyncio.run(scenario())


def test_a_poll_without_an_answer_does_not_put_off_the_last_poll() -> None:
    async def scenario() -> None:
        poller = poller_of(SlowAnswers(0.0), interval_seconds=500.0)
        followed = task(1)
        now = asyncio.get_running_loop().time()
        followed.hard_deadline = now + 30
        poller.add(followed)
        poller.apply(followed, NoAnswer("connection reset by peer"))
        assert now + 29 < followed.due <= now + 30
        poller.apply(followed, NoAnswer("busy", http_status=429, retry_after_seconds=90.0))
        assert followed.due >= now + 90, "the provider asked for this pause"

    asyncio.run(scenario())


def test_a_provider_that_raises_is_asked_again_and_holds_up_nobody_else() -> None:
    class Raising(SlowAnswers):
        async def poll_remote_task(self, remote_task_id: str) -> PollResult:
            answer = await super().poll_remote_task(remote_task_id)
            if remote_task_id == "r-1":
                raise RuntimeError("a bug of the provider's")
            return answer

    async def scenario() -> None:
        provider = Raising(0.0)
        poller = poller_of(provider, interval_seconds=0.05)
        running = asyncio.create_task(poller.run())
        for number in (1, 2):
            poller.add(task(number), first_delay_seconds=0.0)
        await asyncio.sleep(1.5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        asked = [remote_task_id for _, remote_task_id in provider.asked]
        assert asked.count("r-1") >= 2
        assert asked.count("r-2") > 10
        assert poller.counts.transient_errors == asked.count("r-1")

    asyncio.run(scenario())


def test_what_a_provider_left_open_that_is_gone_for_a_day_ends_together() -> None:
    """It is asked about one task a minute: each task's own last poll could come after weeks."""
    tasks, day = 3000, 86_400.0

    class Gone(SlowAnswers):
        async def poll_remote_task(self, remote_task_id: str) -> PollResult:
            await super().poll_remote_task(remote_task_id)
            return NoAnswer("ConnectError: no such host")

    class Ends:
        def __init__(self) -> None:
            self.at: dict[int, float] = {}

        def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
            assert verdict == Failed(TIMEOUT, FailureType.TIMEOUT)
            assert task_id not in self.at
            self.at[task_id] = loop.time()

    async def scenario() -> None:
        provider, ends = Gone(0.05), Ends()
        poller = poller_of(provider, interval_seconds=30.0, sink=ends)
        for number in range(tasks):
            followed = task(number)
            followed.hard_deadline += day if number % 10 == 0 else 0.0
            poller.add(followed)
        running = asyncio.create_task(poller.run())
        await asyncio.sleep(day - 60.0)
        assert len(ends.at) < tasks / 2, "one by one, while it may come back"
        await asyncio.sleep(200.0)
        assert {number for number in range(tasks) if number % 10} == ends.at.keys()
        await asyncio.sleep(day + 3600.0)
        assert len(ends.at) == tasks, "those too whose deadline came later"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    loop = VirtualLoop()
    try:
        loop.run_until_complete(scenario())
    finally:
        loop.close()
