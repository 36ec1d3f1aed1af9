"""Polling: the schedule of tasks in flight, in memory. A poll writes nothing to the database.

Each provider has one heap of due times and a fixed set of poller coroutines that take from it. A poll
costs a heap push, a heap pop and the request itself: a poller that has finished takes the next task that
is due without giving up its turn, and only idle pollers are woken, by one timer for all of them. No task
is made per poll and no thread is crossed.
"""

import asyncio
import heapq
import random
from collections.abc import Callable
from math import inf
from typing import Protocol, assert_never

from rushes import telemetry
from rushes.domain.progress import ProgressMark, next_mark
from rushes.domain.schedule import PollBudget, PollSchedule, backoff_seconds
from rushes.domain.task import (
    TIMEOUT,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Processing,
    Succeeded,
    Verdict,
)
from rushes.engine.limits import RateLimit
from rushes.providers.base import Provider
from rushes.providers.health import ProviderHealth

LAST_POLL_GRACE_SECONDS = 3600.0
"""How long past its hard deadline a task waits for the last poll to be answered at all."""

GONE_SECONDS = 86_400.0
"""A provider that has been down for so long is gone: its tasks past their deadlines end together.

It is asked about one task a minute, so that their own last polls could take weeks. An outage that ends before
costs no video: each task is polled once more.
"""

PROGRESS_ROWS_MAX = 1000
"""Tasks whose progress one call of `take_progress` gives."""

CLOCK_ROUNDING_SECONDS = 0.0005
"""Added to a timer: uvloop rounds timers to milliseconds, and one that rings early would ring twice."""

HOLD_SECONDS_MAX = 1.0
"""How long pollers sleep at most while nothing may be polled, before they ask again."""

log = telemetry.logger()


class RemoteTask:
    """A task in flight, as small as it can be: a hundred thousand of them live in memory."""

    __slots__ = (
        "attempt",
        "due",
        "entry",
        "errors",
        "hard_deadline",
        "host",
        "mark",
        "model",
        "polls",
        "progress",
        "rate",
        "remote_task_id",
        "seen_running_at",
        "sent_at",
        "settling",
        "soft_deadline",
        "stored_progress",
        "task_id",
    )

    def __init__(
        self,
        *,
        task_id: int,
        attempt: int,
        model: str,
        remote_task_id: str,
        progress: int,
        sent_at: float,
        soft_deadline: float,
        hard_deadline: float,
        is_adopted: bool = False,
        host: str | None = None,
    ) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.model = model
        self.remote_task_id = remote_task_id
        self.host = host  # None: where the provider is now
        self.progress: int = progress
        self.stored_progress: int = progress
        self.sent_at = sent_at
        self.soft_deadline = soft_deadline
        self.hard_deadline = hard_deadline
        # when it was last known to render; an adopted task must first be seen doing so here
        self.seen_running_at: float | None = None if is_adopted else sent_at
        self.mark: ProgressMark | None = None
        self.rate = 0.0
        self.due = 0.0
        self.entry = 0  # the number of its heap entry that counts
        self.polls = 0
        self.errors = 0
        self.settling = False


class PollCounts:
    """What a worker's polls have come to, for reports."""

    __slots__ = ("failed", "processing", "scanned", "succeeded", "transient_errors")

    def __init__(self) -> None:
        self.scanned = self.processing = self.succeeded = self.failed = self.transient_errors = 0

    def as_dict(self) -> dict[str, int]:
        """JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


class VerdictSink(Protocol):
    """Where a poller's findings go: the worker's `Committer`."""

    def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
        """The task has ended."""


async def ask(provider: Provider | None, remote_task_id: str, *, name: str, host: str | None) -> PollResult:
    """One poll. A provider must not raise; one that does is contained and named. None cannot be asked."""
    if provider is None:
        return NoAnswer(f"it was sent to {host}, which cannot be asked now")
    try:
        return await provider.poll_remote_task(remote_task_id)
    except Exception as error:
        log.error(telemetry.PROVIDER_RAISED, provider=name, error=type(error).__name__)
        return NoAnswer(f"the provider raised {type(error).__name__}")


class Poller:
    """Polls the tasks in flight of one provider, each when it is due.

    All times are of the event loop's clock, in seconds. `on_late(seconds)` hears how long after its due
    time a poll was started. While `may_poll(now)` is False nothing is asked: the worker's lease may have run
    out, and its tasks and its share of the provider's limits may be another's. `provider_at(host)` is the
    provider at a host where it was when a task was sent; None when it cannot be asked there.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        health: ProviderHealth,
        schedule: PollSchedule,
        sink: VerdictSink,
        jitter: random.Random,
        polls_per_second: float | None,
        backoff_seconds_max: float,
        on_late: Callable[[float], None] | None = None,
        may_poll: Callable[[float], bool] = lambda _now: True,
        provider_at: Callable[[str], Provider | None] = lambda _host: None,
    ) -> None:
        self.provider = provider
        self.tasks: dict[int, RemoteTask] = {}
        self.counts = PollCounts()
        self._health = health
        self._schedule = schedule
        self._sink = sink
        self._jitter = jitter
        self._backoff_seconds_max = backoff_seconds_max
        self._on_late = on_late
        self.limit = RateLimit(polls_per_second)
        self.budget = PollBudget(self.limit.sustained_per_second)
        self._may_poll = may_poll
        self._provider_at = provider_at
        self._moved: dict[int, RemoteTask] = {}
        self._heap: list[tuple[float, int, RemoteTask]] = []
        self._idle: list[asyncio.Future[None]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self._stopped = False
        self._counter = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def use_rate(self, polls_per_second: float | None) -> None:
        """A new limit from now on: None for no limit, 0 to poll nothing."""
        self.limit.change(polls_per_second)
        self.budget.change(self.limit.sustained_per_second)

    # --- tasks in flight ------------------------------------------------------------------------------

    def add(self, task: RemoteTask, *, first_delay_seconds: float | None = None) -> None:
        """Follow a task. Its first poll comes by the schedule, or after `first_delay_seconds`."""
        now = self._now()
        self.forget(task.task_id)
        self.tasks[task.task_id] = task
        delay = self._delay_seconds(task, now, None) if first_delay_seconds is None else first_delay_seconds
        self._push(task, min(now + delay, max(now, task.hard_deadline)))

    def forget(self, task_id: int) -> None:
        """Stop following a task: it is settled, or another worker's."""
        task = self.tasks.pop(task_id, None)
        if task is not None:
            self._moved.pop(task_id, None)
            task.rate = self.budget.exchange(task.rate, 0.0)
            task.settling = True  # its heap entry is skipped when it comes up

    def look_again(self, task_id: int, *, delay_seconds: float) -> None:
        """Poll a task again whose verdict could not be stored."""
        task = self.tasks.get(task_id)
        if task is not None:
            task.settling = False
            self._push(task, self._now() + delay_seconds)

    def nudge(self, task_id: int) -> bool:
        """Poll the task now, whatever its schedule says; False when it is not followed here."""
        task = self.tasks.get(task_id)
        if task is None or task.settling:
            return False
        self._push(task, self._now())
        return True

    def take_progress(self) -> list[tuple[int, int, int]]:
        """`(task_id, attempt, progress)` of tasks whose progress is not stored yet, longest waiting first.

        At most `PROGRESS_ROWS_MAX`, so that progress bars never take the database's time from settling.
        """
        rows: list[tuple[int, int, int]] = []
        looked_at: list[int] = []
        for task_id, task in self._moved.items():
            if len(rows) == PROGRESS_ROWS_MAX:
                break
            looked_at.append(task_id)
            if not task.settling and task.progress != task.stored_progress:
                task.stored_progress = task.progress
                rows.append((task_id, task.attempt, task.progress))
        # not popped one by one from the front: each would search past all that were popped before it
        for task_id in looked_at:
            del self._moved[task_id]
        return rows

    # --- the loop -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Poll what is due until cancelled."""
        self._stopped = False
        async with asyncio.TaskGroup() as group:
            for _ in range(self.provider.limits.connections_max):
                group.create_task(self._poll_forever())
            try:
                await asyncio.get_running_loop().create_future()  # until cancelled
            finally:
                # A request that is answered in the very moment in which it is cancelled is an answered
                # one, and its poller does not hear of the cancellation.
                self._stopped = True
                self._set_alarm(inf)

    async def _poll_forever(self) -> None:
        """Poll one task after the other; without one that is due, wait to be woken."""
        loop = asyncio.get_running_loop()
        heap, idle = self._heap, self._idle
        while not self._stopped:
            now = loop.time()
            task = self._take(now)
            if task is None:
                woken = loop.create_future()
                idle.append(woken)
                await woken
                continue
            if idle:
                # hand on the turn: one wakes the next for as long as there is work
                if heap and heap[0][0] <= now:
                    self._wake_one()
                elif heap:
                    self._set_alarm(min(self._alarm_at, heap[0][0]))
            await self.poll_once(task, now)

    def _take(self, now: float) -> RemoteTask | None:
        """The next task that is due and may be polled; without one, sets the alarm for when to look again."""
        heap = self._heap
        while heap:
            due, number, task = heap[0]
            if number != task.entry or task.settling:
                heapq.heappop(heap)  # an older entry of a task that was moved, or one that is settled
                continue
            if due > now:
                self._set_alarm(due)
                return None
            permitted_at = self._permitted_at(now)
            if permitted_at > now:
                self._set_alarm(min(permitted_at, now + HOLD_SECONDS_MAX))
                return None
            heapq.heappop(heap)
            self.limit.take(now)
            if self._on_late is not None:
                self._on_late(now - due)
            return task
        return None

    def _permitted_at(self, now: float) -> float:
        """When the next poll may go: `now`, or later."""
        if not self._may_poll(now):
            return now + HOLD_SECONDS_MAX
        at = self.limit.permitted_at(now)
        # asked last: while the provider is tried, being let through makes this poll the one that tries
        return at if at > now else self._health.polls_held_until(now)

    def _set_alarm(self, at: float) -> None:
        """Wake an idle poller at `at`, and not before; inf for not at all."""
        if at == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = None
        if at < inf:
            self._alarm = asyncio.get_running_loop().call_at(at + CLOCK_ROUNDING_SECONDS, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, inf
        self._wake_one()

    def _wake_one(self) -> None:
        while self._idle:
            woken = self._idle.pop()
            if not woken.done():  # done: its poller was cancelled
                woken.set_result(None)
                return

    async def poll_once(self, task: RemoteTask, asked_at: float | None = None) -> None:
        """Ask the provider once about a task, at `asked_at` (now, if None), and act on the answer."""
        task.polls += 1
        if asked_at is None:
            asked_at = self._now()
        provider = self.provider if task.host is None else self._provider_at(task.host)
        result = await ask(provider, task.remote_task_id, name=self.provider.name, host=task.host)
        self.apply(task, result, asked_at=asked_at)

    def apply(self, task: RemoteTask, result: PollResult, *, asked_at: float | None = None) -> None:
        """Act on one poll's answer: a verdict goes to be settled, anything else is asked again later.

        `asked_at` is when the poll left, now if None: the last poll is one that was asked past the deadline.
        """
        now = self._now()
        asked_at = now if asked_at is None else asked_at
        counts = self.counts
        counts.scanned += 1
        if task.host is None:  # another host's answers say nothing of this one
            self._health.on_poll(result, now)
        if task.settling:
            return
        match result:
            case Processing(progress=progress):
                counts.processing += 1
                task.errors = 0
                if progress is not None and progress != task.progress:
                    task.progress = progress
                    self._moved.setdefault(task.task_id, task)
                self._learn_running(task, now, progress)
                if asked_at >= task.hard_deadline:
                    self._conclude(task, Failed(TIMEOUT, FailureType.TIMEOUT))
                else:
                    due = now + self._delay_seconds(task, now, progress)
                    self._push(task, min(due, max(now, task.hard_deadline)))
            case NoAnswer(retry_after_seconds=retry_after):
                counts.transient_errors += 1
                task.errors += 1
                if now >= task.hard_deadline + LAST_POLL_GRACE_SECONDS:
                    self._conclude(task, Failed(TIMEOUT, FailureType.TIMEOUT))
                else:
                    backoff = backoff_seconds(
                        task.errors, jitter=self._jitter.random(), max_seconds=self._backoff_seconds_max
                    )
                    due = min(now + self._delay_seconds(task, now, None), task.hard_deadline)
                    self._push(task, max(due, now + backoff, now + (retry_after or 0.0)))
                if self._health.polls_unanswered_seconds(now) >= GONE_SECONDS:
                    self._conclude_unanswered(now)
            case Succeeded():
                counts.succeeded += 1
                self._learn_end(task, now)
                self._conclude(task, result)
            case Failed():
                counts.failed += 1
                self._learn_end(task, now)
                self._conclude(task, result)
            case other:
                assert_never(other)

    # --- small parts ----------------------------------------------------------------------------------

    def _conclude(self, task: RemoteTask, verdict: Verdict) -> None:
        task.settling = True
        self._sink.verdict(task.task_id, task.attempt, verdict)

    def _conclude_unanswered(self, now: float) -> None:
        for task in list(self.tasks.values()):
            is_over = now >= task.hard_deadline + LAST_POLL_GRACE_SECONDS
            if is_over and task.host is None and not task.settling:
                self._conclude(task, Failed(TIMEOUT, FailureType.TIMEOUT))

    def _delay_seconds(self, task: RemoteTask, now: float, progress: int | None) -> float:
        delay = self._schedule.next_delay_seconds(
            model=task.model,
            age_seconds=now - task.sent_at,
            polls=task.polls,
            progress=progress,
            overdue=now >= task.soft_deadline,
            overload=self.budget.overload,
        )
        delay = max(delay, self.provider.limits.poll_interval_min_seconds or 0.0)
        task.rate = self.budget.exchange(task.rate, delay)
        return delay

    def _learn_running(self, task: RemoteTask, now: float, progress: int | None) -> None:
        seen, task.seen_running_at = task.seen_running_at, now
        age = now - task.sent_at
        if seen is not None:
            self._schedule.saw_running(model=task.model, after_seconds=seen - task.sent_at, by_seconds=age)
        task.mark = next_mark(task.mark, task_number=task.task_id, age_seconds=age, progress=progress)

    def _learn_end(self, task: RemoteTask, now: float) -> None:
        if task.seen_running_at is not None:
            self._schedule.saw_end(
                model=task.model,
                after_seconds=task.seen_running_at - task.sent_at,
                by_seconds=now - task.sent_at,
                mark=task.mark,
            )

    def _push(self, task: RemoteTask, due: float) -> None:
        task.due = due
        # not told apart by their times: a schedule may well give the same time twice
        task.entry = self._counter = self._counter + 1
        heapq.heappush(self._heap, (due, self._counter, task))
        if due < self._alarm_at and self._idle:
            self._set_alarm(due)

    def _now(self) -> float:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        return loop.time()
