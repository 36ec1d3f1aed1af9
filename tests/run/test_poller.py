"""The poller alone: when it polls, and that it stops."""

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from simulation.world.loop import VirtualLoop

from rushes.domain.polling.schedule import LadderSchedule, PollSchedule
from rushes.domain.task import (
    TIMEOUT,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Processing,
    SubmitOutcome,
    Succeeded,
    Verdict,
)
from rushes.providers.base import ProviderLimits, ResultFiles, SubmitRequest
from rushes.providers.health import ProviderHealth
from rushes.run.commit import Committer
from rushes.run.context import WorkerConfig
from rushes.run.lane.asking_once import NOT_FOUND_IN_A_ROW
from rushes.run.lane.attempts import Attempts
from rushes.run.lane.poll import PROGRESS_ROWS_MAX, Poller
from rushes.run.lane.remote_task import ModelTimes, RemoteTask
from rushes.run.lease import OwnLease
from rushes.run.meters import Meters
from tests.books import WORKER
from tests.run.lanes import context_of


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


class Verdicts(Committer):
    """Takes verdicts, of which there are none."""

    def __init__(self) -> None:
        database: Any = None
        super().__init__(database, worker_id=WORKER, now_ms=lambda: 0)

    def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
        raise AssertionError("nothing ends here")


def poller_of(
    provider: SlowAnswers,
    *,
    interval_seconds: float,
    meters: Meters | None = None,
    schedule: PollSchedule | None = None,
    committer: Committer | None = None,
    lease: OwnLease | None = None,
) -> Poller:
    context = context_of(
        schedule=schedule or LadderSchedule(interval_seconds, interval_seconds),
        config=WorkerConfig(poll_backoff_seconds_max=1.0),
        committer=committer or Verdicts(),
        meters=meters,
        lease=lease,
    )
    return Poller(provider, context, Attempts(), health=ProviderHealth())


def task(number: int, *, hard_seconds: float = 2000) -> RemoteTask:
    now = asyncio.get_running_loop().time()
    return RemoteTask(
        task_id=number,
        attempt=1,
        times=ModelTimes("sora-2", min(1000, hard_seconds * 2 / 3), hard_seconds),
        remote_task_id=f"r-{number}",
        progress=0,
        sent_at=now,
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

        class Listening(Meters):
            def polled(self, *, late_seconds: float) -> None:
                late.append(late_seconds)

        provider = SlowAnswers(0.0, connections_max=8)
        poller = poller_of(provider, interval_seconds=0.1, meters=Listening())
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


def test_a_task_that_is_due_twice_at_one_time_is_polled_once() -> None:
    """Also one that was given away and taken back in that moment: its first entry counts no more."""

    async def scenario() -> None:
        provider = SlowAnswers(0.0)
        poller = poller_of(provider, interval_seconds=100.0)
        for number in (1, 2):
            poller.add(task(number), first_delay_seconds=0.0)
            poller.nudge(number)
            poller.add(task(number), first_delay_seconds=0.0)
            poller.nudge(number)
        running = asyncio.create_task(poller.run())
        await asyncio.sleep(50.0)
        running.cancel()
        await asyncio.wait([running])
        assert sorted(remote_id for _, remote_id in provider.asked) == ["r-1", "r-2"]

    on_virtual_time(scenario())


def test_nothing_is_polled_without_a_lease_and_all_of_it_afterwards() -> None:
    async def scenario() -> None:
        provider = SlowAnswers(0.0)
        lease = OwnLease((lambda: 0.0,), inf)
        poller = poller_of(provider, interval_seconds=0.05, lease=lease)
        running = asyncio.create_task(poller.run())
        poller.add(task(1))
        await asyncio.sleep(0.3)
        assert provider.asked == []
        lease.renewed(lease.now())
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


class Told(Committer):
    """Keeps the verdicts."""

    def __init__(self) -> None:
        database: Any = None
        super().__init__(database, worker_id=WORKER, now_ms=lambda: 0)
        self.verdicts: list[tuple[int, int, Verdict]] = []

    def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
        self.verdicts.append((task_id, attempt, verdict))


def test_an_answer_counts_for_a_task_that_was_given_away_and_taken_back_meanwhile() -> None:
    async def scenario() -> None:
        told, end = Told(), Succeeded("https://files.example/1.mp4")
        poller = poller_of(SlowAnswers(0.0), interval_seconds=100.0, committer=told)
        asked, taken_back = task(1), task(1)
        poller.add(asked)
        poller.forget(1)
        poller.apply(asked, end)
        assert told.verdicts == [], "it is another worker's now"
        poller.add(taken_back)
        poller.apply(asked, end)
        assert (told.verdicts, taken_back.settling) == ([(1, 1, end)], True)
        poller.apply(asked, end)
        assert len(told.verdicts) == 1

        sent_anew = task(1)
        sent_anew.attempt, sent_anew.remote_task_id = 2, "r-1-again"
        poller.add(sent_anew)
        poller.apply(asked, end)
        assert len(told.verdicts) == 1, "the answer is about another attempt"

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
        followed = task(1, hard_seconds=1e9)
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
        followed, now = task(1, hard_seconds=30), asyncio.get_running_loop().time()
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

    class Ends(Verdicts):
        def __init__(self) -> None:
            super().__init__()
            self.at: dict[int, float] = {}

        def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
            assert verdict == Failed(TIMEOUT, FailureType.TIMEOUT)
            assert task_id not in self.at
            self.at[task_id] = loop.time()

    async def scenario() -> None:
        provider, ends = Gone(0.05), Ends()
        poller = poller_of(provider, interval_seconds=30.0, committer=ends)
        for number in range(tasks):
            poller.add(task(number, hard_seconds=2000 + (day if number % 10 == 0 else 0)))
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


class Ends(Verdicts):
    """Remembers the verdicts and when they came."""

    def __init__(self) -> None:
        super().__init__()
        self.verdicts: list[tuple[float, Verdict]] = []

    def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
        self.verdicts.append((asyncio.get_running_loop().time(), verdict))


NOT_THERE = Failed("no such task", FailureType.NOT_FOUND)


class Forgetful(SlowAnswers):
    """Knows the task from poll number `knows_from` to `knows_until` and from `knows_again` on."""

    def __init__(
        self,
        knows_from: int,
        knows_until: int = 10**9,
        knows_again: int = 10**9,
        says: Failed = NOT_THERE,
    ) -> None:
        super().__init__(0.0)
        self.knows_from, self.knows_until, self.knows_again = knows_from, knows_until, knows_again
        self.says = says

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        await super().poll_remote_task(remote_task_id)
        number = len(self.asked)
        is_known = self.knows_from <= number < self.knows_until or number >= self.knows_again
        return Processing(0) if is_known else self.says


async def polled(provider: SlowAnswers, followed: RemoteTask, *, seconds: float) -> Ends:
    ends = Ends()
    poller = poller_of(provider, interval_seconds=5.0, committer=ends)
    poller.add(followed)
    running = asyncio.create_task(poller.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.wait([running])
    return ends


def grace(seconds: float, *, hard_seconds: float = 2000) -> RemoteTask:
    """A task that may not be known for so long from now on."""
    followed = task(1, hard_seconds=hard_seconds)
    followed.not_found_from = asyncio.get_running_loop().time() + seconds
    return followed


def on_virtual_time(scenario: Coroutine[None, None, None]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(scenario)
    finally:
        loop.close()


def test_a_task_that_is_not_known_yet_is_asked_again_and_goes_on() -> None:
    async def scenario() -> None:
        provider = Forgetful(knows_from=4)
        ends = await polled(provider, grace(60.0), seconds=100.0)
        assert ends.verdicts == []
        assert 15 <= len(provider.asked) <= 25

    on_virtual_time(scenario())


def test_a_task_that_is_never_known_fails_when_the_grace_ends_and_not_before() -> None:
    async def scenario() -> None:
        started = asyncio.get_running_loop().time()
        ends = await polled(Forgetful(knows_from=10**9), grace(60.0), seconds=100.0)
        ((at, verdict),) = ends.verdicts
        assert verdict == NOT_THERE
        assert 60.0 <= at - started <= 61.0

    on_virtual_time(scenario())


def test_a_task_that_was_known_and_is_not_any_more_fails_at_once() -> None:
    async def scenario() -> None:
        provider = Forgetful(knows_from=2, knows_until=4)
        ends = await polled(provider, grace(1000.0), seconds=100.0)
        ((at, verdict),) = ends.verdicts
        assert verdict == NOT_THERE
        assert len(provider.asked) == 3 + NOT_FOUND_IN_A_ROW, "words that do not name the task"
        assert at - provider.asked[3][0] < 0.1, "it is asked again at once"

    on_virtual_time(scenario())


def gone(words: str, *, names_task: bool = False) -> Failed:
    return Failed(words, FailureType.NOT_FOUND, names_task=names_task)


@pytest.mark.parametrize(
    ("remote_task_id", "says"),
    [
        ("video_12345", gone("video_12345 is not there")),
        ("video_12345", gone("no task 'video_12345'.")),
        ("1", gone("record not found", names_task=True)),
    ],
    ids=["in its words", "quoted", "in a field"],
)
def test_an_answer_that_names_the_task_that_is_gone_counts_at_once(remote_task_id: str, says: Failed) -> None:
    async def scenario() -> None:
        provider = Forgetful(knows_from=2, knows_until=4, says=says)
        followed = grace(1000.0)
        followed.remote_task_id = remote_task_id
        ends = await polled(provider, followed, seconds=100.0)
        assert [verdict for _, verdict in ends.verdicts] == [provider.says]
        assert len(provider.asked) == 4

    on_virtual_time(scenario())


@pytest.mark.parametrize(
    ("remote_task_id", "words"),
    [
        ("404", "HTTP 404: no such task"),
        ("video_12345", "no task video_123456"),
        ("video_12345", "no task my-video_12345-2"),
    ],
    ids=["a status", "the start of another id", "within another id"],
)
def test_words_in_which_the_id_stands_by_chance_do_not_name_the_task(remote_task_id: str, words: str) -> None:
    async def scenario() -> None:
        provider = Forgetful(knows_from=2, knows_until=4, says=gone(words))
        followed = grace(1000.0)
        followed.remote_task_id = remote_task_id
        ends = await polled(provider, followed, seconds=100.0)
        assert len(ends.verdicts) == 1
        assert len(provider.asked) == 3 + NOT_FOUND_IN_A_ROW

    on_virtual_time(scenario())


def test_one_answer_that_was_meant_for_another_task_ends_nothing() -> None:
    async def scenario() -> None:
        provider = Forgetful(knows_from=2, knows_until=4, knows_again=3 + NOT_FOUND_IN_A_ROW)
        ends = await polled(provider, grace(1000.0), seconds=100.0)
        assert ends.verdicts == []
        assert len(provider.asked) > 10

    on_virtual_time(scenario())


def test_the_grace_holds_no_task_past_its_hard_deadline() -> None:
    async def scenario() -> None:
        started = asyncio.get_running_loop().time()
        ends = await polled(Forgetful(knows_from=10**9), grace(1000.0, hard_seconds=30.0), seconds=100.0)
        ((at, verdict),) = ends.verdicts
        assert (verdict, 30.0 <= at - started <= 31.0) == (NOT_THERE, True)

    on_virtual_time(scenario())


def test_a_poll_that_left_before_the_hard_deadline_is_not_the_last_however_late_its_answer() -> None:
    async def scenario() -> None:
        ends = Ends()
        poller = poller_of(SlowAnswers(2.0), interval_seconds=5.0, committer=ends)
        followed = task(1, hard_seconds=1.0)
        poller.add(followed)
        await poller.poll_once(followed)
        assert ends.verdicts == []
        await poller.poll_once(followed)
        assert [verdict for _, verdict in ends.verdicts] == [Failed(TIMEOUT, FailureType.TIMEOUT)]
        assert followed.polls == 2

    on_virtual_time(scenario())


def test_the_first_poll_of_a_task_comes_when_it_was_asked_for_and_by_the_schedule_else() -> None:
    async def scenario() -> None:
        provider = SlowAnswers(0.0)
        poller = poller_of(provider, interval_seconds=5.0)
        started = asyncio.get_running_loop().time()
        poller.add(task(1))
        poller.add(task(2), first_delay_seconds=0.0)
        poller.add(task(3), first_delay_seconds=2.0)
        running = asyncio.create_task(poller.run())
        await asyncio.sleep(6.0)
        running.cancel()
        await asyncio.wait([running])
        firsts = {name: round(at - started, 2) for at, name in reversed(provider.asked)}
        assert firsts == {"r-1": 5.0, "r-2": 0.0, "r-3": 2.0}

    on_virtual_time(scenario())


def test_only_progress_that_is_not_stored_yet_is_handed_over_and_none_of_what_has_ended() -> None:
    async def scenario() -> None:
        poller = poller_of(SlowAnswers(0.0), interval_seconds=5.0, committer=Ends())
        one, two = task(1), task(2)
        for followed in (one, two):
            poller.add(followed)
            poller.apply(followed, Processing(50))
        assert poller.take_progress() == [(1, 1, 50), (2, 1, 50)]
        assert poller.take_progress() == []
        poller.apply(one, Processing(60))
        poller.apply(one, Processing(50))
        poller.apply(two, Processing(60))
        poller.apply(two, Succeeded("https://files.example/2.mp4"))
        assert poller.take_progress() == []

    on_virtual_time(scenario())


def test_every_poll_is_counted_by_what_it_came_to() -> None:
    async def scenario() -> None:
        poller = poller_of(SlowAnswers(0.0), interval_seconds=5.0, committer=Ends())
        cancelled = task(2)
        answers: list[tuple[RemoteTask, PollResult]] = [
            (task(1), Processing(50)),
            (task(1), Processing(50)),
            (task(1), Succeeded("https://files.example/1.mp4")),
            (cancelled, NOT_THERE),
            (task(3), Failed("no", FailureType.MODEL_ERROR)),
            (grace(60.0), NOT_THERE),
            (task(5), NoAnswer("HTTP 503", http_status=503)),
            (task(5), NoAnswer("the answer is about another task", is_about_another_task=True)),
        ]
        cancelled.is_drop_asked = cancelled.is_dropped = True
        for followed, answer in answers:
            poller.apply(followed, answer)
        assert poller.counts.as_dict() == {
            "scanned": 8,
            "processing": 2,
            "succeeded": 1,
            "failed": 2,
            "transient_errors": 3,
            "about_another_task": 1,
            "lines_paused": 0,
        }

    on_virtual_time(scenario())


def test_an_alarm_that_rings_while_nobody_is_idle_wakes_nobody() -> None:
    async def scenario() -> None:
        poller = poller_of(SlowAnswers(0.0), interval_seconds=5.0)
        poller._ring()
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        poller._idle.append(cancelled)
        poller._ring()
        assert not poller._idle

    on_virtual_time(scenario())


def test_each_answer_that_a_task_renders_is_learned_from() -> None:
    async def scenario() -> None:
        learned: list[tuple[float, float]] = []

        class Learning(LadderSchedule):
            def saw_running(self, *, model: str, after_seconds: float, by_seconds: float) -> None:
                learned.append((after_seconds, by_seconds))

        poller = poller_of(SlowAnswers(0.0), interval_seconds=5.0, schedule=Learning(5.0, 5.0))
        followed = task(1)
        poller.add(followed)
        started = asyncio.get_running_loop().time()
        for _ in range(3):
            poller.apply(followed, Processing(50))
            await asyncio.sleep(4.0)
        assert learned == [(0.0, 0.0), (0.0, 4.0), (4.0, 8.0)]
        assert followed.mark is not None
        assert followed.mark.reports == 3
        assert followed.seen_running_at == started + 8.0

    on_virtual_time(scenario())


class ForgetfulAtTheEnd(SlowAnswers):
    """Knows the task until `late`, 30 seconds from now, and not in the first `times` answers after it."""

    def __init__(self, says: Failed, times: int) -> None:
        super().__init__(0.0)
        self.says, self.left = says, times
        self.late = asyncio.get_running_loop().time() + 30.0

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        await super().poll_remote_task(remote_task_id)
        if self.left and asyncio.get_running_loop().time() >= self.late:
            self.left -= 1
            return self.says
        return Processing(0)


@pytest.mark.parametrize(
    ("words", "times", "ends", "after_seconds"),
    [
        ("task video_67890 does not exist", 1, Failed(TIMEOUT, FailureType.TIMEOUT), 1.0),
        (
            "no such task",
            NOT_FOUND_IN_A_ROW - 1,
            Failed(TIMEOUT, FailureType.TIMEOUT),
            NOT_FOUND_IN_A_ROW - 1,
        ),
        ("no such task", NOT_FOUND_IN_A_ROW, NOT_THERE, NOT_FOUND_IN_A_ROW - 1),
    ],
    ids=["about another task", "not often enough", "often enough"],
)
def test_at_the_last_poll_too_an_answer_that_names_no_task_must_be_said_often(
    words: str, times: int, ends: Verdict, after_seconds: float
) -> None:
    async def scenario() -> None:
        provider = ForgetfulAtTheEnd(gone(words), times)
        ended = await polled(provider, grace(0.0, hard_seconds=30.0), seconds=100.0)
        ((at, verdict),) = ended.verdicts
        assert verdict == ends
        assert after_seconds <= at - provider.late <= after_seconds + 1.0

    on_virtual_time(scenario())
