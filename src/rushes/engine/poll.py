"""Polling: the schedule of tasks in flight, in memory. A poll writes nothing to the database.

Each provider has one heap of due times and a fixed set of poller coroutines, so a poll costs one heap
push, one queue hop and the request itself; no task is created per poll and no thread is crossed.
"""

import asyncio
import heapq
import random
from collections.abc import Callable
from typing import Protocol, assert_never

from rushes import telemetry
from rushes.domain.schedule import PollSchedule, backoff_seconds
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
from rushes.engine.limits import limiter
from rushes.providers.base import Provider
from rushes.providers.health import ProviderHealth

LAST_POLL_GRACE_SECONDS = 3600.0
"""How long past its hard deadline a task waits for the last poll to be answered at all."""

log = telemetry.logger()


class RemoteTask:
    """A task in flight, as small as it can be: a hundred thousand of them live in memory."""

    __slots__ = (
        "attempt",
        "due",
        "errors",
        "hard_deadline",
        "model",
        "polls",
        "progress",
        "remote_task_id",
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
    ) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.model = model
        self.remote_task_id = remote_task_id
        self.progress: int = progress
        self.stored_progress: int = progress
        self.sent_at = sent_at
        self.soft_deadline = soft_deadline
        self.hard_deadline = hard_deadline
        self.due = 0.0
        self.polls = 0
        self.errors = 0
        self.settling = False


class PollCounts:
    """What a worker's polls have come to, for reports."""

    __slots__ = ("failed", "processing", "scanned", "succeeded", "transient_errors")

    def __init__(self) -> None:
        self.scanned = self.processing = self.succeeded = self.failed = self.transient_errors = 0


class VerdictSink(Protocol):
    """Where a poller's findings go: the worker's `Committer`."""

    def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
        """The task has ended."""


class Poller:
    """Polls the tasks in flight of one provider, each when it is due.

    All times are of the event loop's clock, in seconds. `on_late(seconds)` hears how long after its due
    time a poll was started.
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
        self._limiter = limiter(polls_per_second)
        self._heap: list[tuple[float, int, RemoteTask]] = []
        self._ready: asyncio.Queue[RemoteTask] = asyncio.Queue()
        self._earlier = asyncio.Event()
        self._counter = 0

    # --- tasks in flight ------------------------------------------------------------------------------

    def add(self, task: RemoteTask, *, first_delay_seconds: float | None = None) -> None:
        """Follow a task. Its first poll comes by the schedule, or after `first_delay_seconds`."""
        now = self._now()
        self.tasks[task.task_id] = task
        delay = self._delay_seconds(task, now) if first_delay_seconds is None else first_delay_seconds
        self._push(task, min(now + delay, max(now, task.hard_deadline)))

    def forget(self, task_id: int) -> None:
        """Stop following a task: it is settled, or another worker's."""
        task = self.tasks.pop(task_id, None)
        if task is not None:
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
        """`(task_id, attempt, progress)` of tasks whose progress is not stored yet."""
        rows = []
        for task in self.tasks.values():
            if task.progress != task.stored_progress and not task.settling:
                task.stored_progress = task.progress
                rows.append((task.task_id, task.attempt, task.progress))
        return rows

    # --- the loop -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Poll what is due until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.provider.limits.connections_max):
                group.create_task(self._poll_forever())
            await self._feed_forever()

    async def _feed_forever(self) -> None:
        """Move tasks from the heap to the pollers as they fall due and the provider's limits permit."""
        heap, ready, health = self._heap, self._ready, self._health
        while True:
            now = self._now()
            while heap and heap[0][0] <= now:
                due, _, task = heapq.heappop(heap)
                if due != task.due or task.settling:
                    continue  # an older entry of a task that was moved, or one that is settled
                held_until = health.polls_held_until(now)
                if held_until > now:
                    self._push(task, held_until)
                    continue
                if self._limiter is not None:
                    await self._limiter.acquire()
                    now = self._now()
                ready.put_nowait(task)
                if ready.qsize() % 64 == 0:
                    await asyncio.sleep(0)
            self._earlier.clear()
            delay = heap[0][0] - self._now() if heap else None
            if delay is not None and delay <= 0:
                continue
            try:
                async with asyncio.timeout(delay):
                    await self._earlier.wait()
            except TimeoutError:
                pass

    async def _poll_forever(self) -> None:
        ready = self._ready
        while True:
            task = await ready.get()
            if not task.settling:
                await self.poll_once(task)

    async def poll_once(self, task: RemoteTask) -> None:
        """Ask the provider once about a task and act on the answer."""
        if self._on_late is not None:
            self._on_late(self._now() - task.due)
        task.polls += 1
        try:
            result: PollResult = await self.provider.poll_remote_task(task.remote_task_id)
        except Exception as error:  # a provider must not raise; one that does is contained and named
            log.error(telemetry.PROVIDER_RAISED, provider=self.provider.name, error=type(error).__name__)
            result = NoAnswer(f"the provider raised {type(error).__name__}")
        self.apply(task, result)

    def apply(self, task: RemoteTask, result: PollResult) -> None:
        """Act on one poll's answer: a verdict goes to be settled, anything else is asked again later."""
        now = self._now()
        counts = self.counts
        counts.scanned += 1
        self._health.on_poll(result, now)
        if task.settling:
            return
        match result:
            case Processing(progress=progress):
                counts.processing += 1
                task.errors = 0
                if progress is not None:
                    task.progress = progress
                if now >= task.hard_deadline:
                    self._conclude(task, Failed(TIMEOUT, FailureType.TIMEOUT))
                else:
                    self._push(task, min(now + self._delay_seconds(task, now), task.hard_deadline))
            case NoAnswer(retry_after_seconds=retry_after):
                counts.transient_errors += 1
                task.errors += 1
                if now >= task.hard_deadline + LAST_POLL_GRACE_SECONDS:
                    self._conclude(task, Failed(TIMEOUT, FailureType.TIMEOUT))
                else:
                    backoff = backoff_seconds(
                        task.errors, jitter=self._jitter.random(), max_seconds=self._backoff_seconds_max
                    )
                    delay = max(backoff, retry_after or 0.0, self._delay_seconds(task, now))
                    self._push(task, now + delay)
            case Succeeded():
                counts.succeeded += 1
                self._conclude(task, result)
            case Failed():
                counts.failed += 1
                self._conclude(task, result)
            case other:
                assert_never(other)

    # --- small parts ----------------------------------------------------------------------------------

    def _conclude(self, task: RemoteTask, verdict: Verdict) -> None:
        task.settling = True
        self._sink.verdict(task.task_id, task.attempt, verdict)

    def _delay_seconds(self, task: RemoteTask, now: float) -> float:
        return self._schedule.next_delay_seconds(
            model=task.model,
            age_seconds=now - task.sent_at,
            polls=task.polls,
            progress=task.progress,
            overdue=now >= task.soft_deadline,
        )

    def _push(self, task: RemoteTask, due: float) -> None:
        task.due = due
        self._counter += 1
        heapq.heappush(self._heap, (due, self._counter, task))
        if self._heap[0][2] is task:
            self._earlier.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
