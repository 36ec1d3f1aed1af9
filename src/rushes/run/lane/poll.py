"""Polling: the schedule of tasks in flight, in memory. A poll writes nothing to the database.

Each provider has one heap of due times and a fixed set of pollers that take from it, each the next due one
as it has finished, without giving up its turn. Only idle ones are woken, by one timer for all of them.
"""

import asyncio
import heapq
from collections.abc import Callable
from math import inf
from typing import assert_never

from rushes import telemetry
from rushes.domain.polling.schedule import PollBudget, backoff_seconds
from rushes.domain.task import (
    CANCELLED,
    TIMEOUT,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Processing,
    Succeeded,
    Verdict,
)
from rushes.domain.trouble import NOT_FOUND_HELD, Trouble, TroubleRow, kind_of
from rushes.providers.base import Provider
from rushes.providers.health import ProviderHealth
from rushes.run.context import WorkerContext
from rushes.run.lane.asking_once import ask, is_gone
from rushes.run.lane.attempts import Attempts
from rushes.run.lane.learning import learn_end, learn_running
from rushes.run.lane.limits import RateLimit
from rushes.run.lane.line_polls import Lines
from rushes.run.lane.remote_task import NEVER, PollCounts, RemoteTask
from rushes.run.lane.unanswered import Unanswered

LAST_POLL_GRACE_SECONDS = 3600.0
"""How long past its hard deadline a task waits for the last poll to be answered at all."""

GONE_SECONDS = 86_400.0
"""A provider that has been down for so long is gone: its tasks past their deadlines end together.

It is asked about one task a minute, so that their own last polls could take weeks. An outage that ends before
costs no video: each task is polled once more.
"""

NOT_FOUND_INTERVAL_SECONDS_MIN = 1.0
"""How soon a task is asked about again that its provider does not know yet."""

PROGRESS_ROWS_MAX = 1000
"""Tasks whose progress one call of `take_progress` gives."""

CLOCK_ROUNDING_SECONDS = 0.0005
"""Added to a timer: uvloop rounds timers to milliseconds, and one that rings early would ring twice."""

HOLD_SECONDS_MAX = 1.0
"""How long pollers sleep at most while nothing may be polled, before they ask again."""

log = telemetry.logger()


class Poller:
    """Polls the tasks in flight of one provider, each when it is due, and hands verdicts to be committed.

    All times are of the event loop's clock, in seconds. Without a lease nothing is asked: the worker's tasks
    and its share of the provider's limits may be another's. `provider_at(host)` is the provider at a host
    where it was when a task was sent; None when it cannot be asked there.
    """

    def __init__(
        self,
        provider: Provider,
        context: WorkerContext,
        attempts: Attempts,
        *,
        health: ProviderHealth,
        provider_at: Callable[[str], Provider | None] = lambda _host: None,
    ) -> None:
        self.provider = provider
        self.tasks = attempts.polled
        self.counts = PollCounts()
        self._lines = Lines(provider, counts=self.counts, next_task=self.next_task, apply=self.apply)
        self.unanswered = Unanswered(provider.name)
        self._troubled = self.unanswered.tasks
        self._health = health
        self._schedule = context.schedule
        self._committer = context.committer
        self._jitter = context.jitter
        self._lease = context.lease
        self._meters = context.meters
        self._backoff_seconds_max = context.config.poll_backoff_seconds_max
        self.limit = RateLimit(provider.limits.polls_per_second)
        self.budget = PollBudget(self.limit.sustained_per_second)
        self._provider_at = provider_at
        self._moved: dict[int, RemoteTask] = {}
        self._elsewhere: set[int] = set()
        self._interval_min_seconds = provider.limits.poll_interval_min_seconds or 0.0
        self._heap: list[tuple[float, int, RemoteTask]] = []
        self._idle: list[asyncio.Future[None]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self._stopped = False
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
        if task.host is not None:
            self._elsewhere.add(task.task_id)
        delay = self._delay_seconds(task, now, None) if first_delay_seconds is None else first_delay_seconds
        self._push(task, min(now + delay, max(now, task.hard_deadline)))

    def forget(self, task_id: int) -> None:
        """Stop following a task: it is settled, or another worker's."""
        task = self.tasks.pop(task_id, None)
        if task is not None:
            self._moved.pop(task_id, None)
            self._elsewhere.discard(task_id)
            self.unanswered.forget(task_id)
            task.rate = self.budget.exchange(task.rate, 0.0)
            task.settling = True  # its heap entry is skipped when it comes up

    def poll_again(self, task_id: int, *, delay_seconds: float) -> None:
        """Poll a task again whose verdict could not be stored."""
        task = self.tasks[task_id]
        task.settling = False
        self._push(task, self._now() + delay_seconds)

    @staticmethod
    def may_pause(task: RemoteTask) -> bool:
        """Whether it waits for its next poll."""
        return not task.settling and task.due != NEVER

    @staticmethod
    def pause(task: RemoteTask) -> None:
        """Do not poll the task until it is resumed or forgotten."""
        task.settling = True

    def resume(self, task: RemoteTask) -> None:
        """Poll a paused task when it is due."""
        task.settling = False
        self._push(task, max(task.due, self._now()))

    def nudge(self, task_id: int) -> bool:
        """Poll the task now, whatever its schedule says; False when it is paused, or not followed here."""
        task = self.tasks.get(task_id)
        if task is not None:
            self._poll_now(task)
        return task is not None and not task.settling

    def take_progress(self) -> list[tuple[int, int, int]]:
        """`(task_id, attempt, progress)` of tasks whose progress is not stored yet, longest waiting first.

        At most `PROGRESS_ROWS_MAX`, so that progress bars never take the database's time from settling.
        """
        rows: list[tuple[int, int, int]] = []
        looked_at: list[int] = []
        for task_id, task in self._moved.items():
            if len(rows) == PROGRESS_ROWS_MAX:
                break
            if not task.settling:  # else it waits: the task may be resumed
                looked_at.append(task_id)
                if task.progress != task.stored_progress:
                    task.stored_progress = task.progress
                    rows.append((task_id, task.attempt, task.progress))
        # not popped one by one from the front: each would search past all that were popped before it
        for task_id in looked_at:
            del self._moved[task_id]
        return rows

    def take_troubles(self, now_ms: int) -> list[TroubleRow]:
        """What is to be stored of tasks whose last answer was not understood, or is understood again.

        Bounded, see `Unanswered.take`. `now_ms` is the wall clock.
        """
        return self.unanswered.take(now=self._now(), now_ms=now_ms)

    def remember_trouble(self, task_id: int, trouble: Trouble, now_ms: int) -> None:
        """An adopted task's trouble, as its row has it: the count goes on from there."""
        task = self.tasks[task_id]
        self.unanswered.remember(task_id, task.attempt, trouble, now=self._now(), now_ms=now_ms)

    # --- the loop -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Poll what is due until cancelled."""
        self._stopped = False
        async with asyncio.TaskGroup() as group:
            for _ in range(self._lines.pollers_max(self.provider.limits.connections_max)):
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
        idle = self._idle
        while not self._stopped:
            now = loop.time()
            task = self.next_task(now)
            if task is None:
                woken = loop.create_future()
                idle.append(woken)
                await woken
                continue
            line = self._lines.take(task, now)
            if line is None:
                await self.poll_once(task, now)
            elif unasked := await self._lines.poll(line, task, now):
                await self.poll_once(unasked)

    def next_task(self, now: float) -> RemoteTask | None:
        """The task to be asked about now, taken from the schedule; None while there is none."""
        if self._stopped:
            return None
        task, heap = self._take(now), self._heap
        if task is not None and self._idle:
            # hand on the turn: one wakes the next for as long as there is work
            if heap and heap[0][0] <= now:
                self._wake_one()
            elif heap:
                self._set_alarm(min(self._alarm_at, heap[0][0]))
        return task

    def _take(self, now: float) -> RemoteTask | None:
        """The next task that is due and may be polled; without one, sets the alarm for when to look again."""
        heap = self._heap
        while heap:
            due, number, task = heap[0]
            if due != task.due or task.settling:
                heapq.heappop(heap)  # an older entry of a task that was moved, or one that is settled
                continue
            if due > now:
                self._set_alarm(due)
                return None
            # without a lease the worker's tasks and its share of the limits may be another's
            held = self._lease.is_held_at(now)
            permitted_at = self.limit.permitted_at(now) if held else now + HOLD_SECONDS_MAX
            if permitted_at <= now and task.host is None:
                # asked last: while the provider is tried, what is let through is the poll that tries it
                permitted_at = self._health.polls_held_until(now)
                if permitted_at > now and self._elsewhere:
                    # it makes way: what is at another host need not wait
                    task.due = permitted_at
                    heapq.heapreplace(heap, (permitted_at, number, task))
                    continue
            if permitted_at > now:
                self._set_alarm(min(permitted_at, now + HOLD_SECONDS_MAX))
                return None
            heapq.heappop(heap)
            task.due = NEVER
            self.limit.take(now)
            self._meters.polled(late_seconds=now - due)
            return task
        return None

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
        result = await ask(
            self.provider_of(task), task.remote_task_id, name=self.provider.name, host=task.host
        )
        self.apply(task, result, asked_at=asked_at)

    def provider_of(self, task: RemoteTask) -> Provider | None:
        """The provider at the host that the task was sent to; None when it cannot be asked there."""
        return self.provider if task.host is None else self._provider_at(task.host)

    def dropped(self, task: RemoteTask) -> None:
        """The provider says that it drops the task: a poll, now, tells how it ended."""
        task.is_drop_asked = task.is_dropped = True
        self._poll_now(task)

    def apply(self, task: RemoteTask, result: PollResult, asked_at: float | None = None) -> None:
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
            # given away and taken back meanwhile: the answer is to the same question
            asked, task = task, self.tasks.get(task.task_id, task)
            if task.settling or (task.attempt, task.remote_task_id) != (asked.attempt, asked.remote_task_id):
                return
        match result:
            case Processing():
                self._still_running(task, result, now, asked_at)
            case NoAnswer():
                self._ask_later(task, result, now)
            case Succeeded():
                counts.succeeded += 1
                learn_end(self._schedule, task, now)
                self._conclude(task, result)
            case Failed(failure_type=FailureType.NOT_FOUND) if not (
                task.is_dropped or is_gone(task, result, asked_at)
            ):
                self._hold_not_found(task, result.error_message, now)
            case Failed(failure_type=FailureType.NOT_FOUND) if task.is_drop_asked:
                counts.failed += 1
                self._conclude(task, Failed(CANCELLED, FailureType.CANCELLED))
            case Failed():
                counts.failed += 1
                learn_end(self._schedule, task, now)
                self._conclude(task, result)
            case other:
                assert_never(other)

    def _still_running(self, task: RemoteTask, said: Processing, now: float, asked_at: float) -> None:
        """It renders or waits: learn from it, and ask again by the schedule, never past its hard deadline."""
        self.counts.processing += 1
        task.errors = 0
        task.not_found_from = NEVER
        task.misses = 0
        if self._troubled:
            self.unanswered.understood(task.task_id)
        progress = said.progress
        if progress is not None and progress != task.progress:
            task.progress = progress
            self._moved.setdefault(task.task_id, task)
        learn_running(self._schedule, task, now, said)
        hard_deadline = task.sent_at + task.times.hard_deadline_seconds
        if asked_at >= hard_deadline:
            self._conclude(task, Failed(TIMEOUT, FailureType.TIMEOUT))
        else:
            due = now + self._delay_seconds(task, now, progress)
            self._push(task, due if due <= hard_deadline else max(now, hard_deadline))

    def _ask_later(self, task: RemoteTask, answer: NoAnswer, now: float) -> None:
        """The poll brought no answer: back off, until the last poll's grace is over."""
        self.counts.transient_errors += 1
        self.counts.about_another_task += answer.is_about_another_task
        kind = kind_of(answer.error, answer.http_status)
        self.unanswered.note(task.task_id, task.attempt, kind=kind, reason=answer.error, now=now)
        task.errors += 1
        if now >= task.hard_deadline + LAST_POLL_GRACE_SECONDS:
            self._conclude(task, Failed(TIMEOUT, FailureType.TIMEOUT))
        else:
            backoff = backoff_seconds(
                task.errors, jitter=self._jitter.random(), max_seconds=self._backoff_seconds_max
            )
            due = min(now + self._delay_seconds(task, now, None), task.hard_deadline)
            self._push(task, max(due, now + backoff, now + (answer.retry_after_seconds or 0.0)))
        if self._health.polls_unanswered_seconds(now) >= GONE_SECONDS:
            self._conclude_unanswered(now)

    def _hold_not_found(self, task: RemoteTask, error: str, now: float) -> None:
        """The provider says that it does not know a task: ask again until that counts.

        A service that copies between machines may say so of a task that it took a moment ago, and render and
        bill it all the same; and words that name no task may be meant for another one.
        """
        task.misses += 1
        self.counts.transient_errors += 1
        self.unanswered.note(task.task_id, task.attempt, kind=NOT_FOUND_HELD, reason=error, now=now)
        counts_from = min(task.not_found_from, task.hard_deadline)
        if now < task.hard_deadline:
            delay = max(self._delay_seconds(task, now, None), NOT_FOUND_INTERVAL_SECONDS_MIN)
            self._push(task, min(now + delay, max(now, counts_from)))
        else:
            self._push(task, now + NOT_FOUND_INTERVAL_SECONDS_MIN)

    # --- small parts ----------------------------------------------------------------------------------

    def _conclude(self, task: RemoteTask, verdict: Verdict) -> None:
        task.settling = True
        self._committer.verdict(task.task_id, task.attempt, verdict)

    def _conclude_unanswered(self, now: float) -> None:
        for task in list(self.tasks.values()):
            is_over = now >= task.hard_deadline + LAST_POLL_GRACE_SECONDS
            if is_over and task.host is None and not task.settling:
                self._conclude(task, Failed(TIMEOUT, FailureType.TIMEOUT))

    def _poll_now(self, task: RemoteTask) -> None:
        if task.settling:
            task.due = min(task.due, self._now())  # polled when it is resumed, if it is paused
        else:
            self._push(task, self._now())

    def _delay_seconds(self, task: RemoteTask, now: float, progress: int | None) -> float:
        age, times = now - task.sent_at, task.times
        delay = self._schedule.next_delay_seconds(
            model=times.model,
            age_seconds=age,
            polls=task.polls,
            progress=progress,
            overdue=age >= times.soft_deadline_seconds,
            overload=self.budget.overload,
            queue=task.queue,
        )
        if delay < self._interval_min_seconds:
            delay = self._interval_min_seconds
        task.rate = self.budget.exchange(task.rate, delay)
        return delay

    def _push(self, task: RemoteTask, due: float) -> None:
        task.due = due
        heapq.heappush(self._heap, (due, task.task_id, task))
        if due < self._alarm_at and self._idle:
            self._set_alarm(due)

    def _now(self) -> float:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        return loop.time()
