"""Tasks that are sent, rendered and polled in simulated time; what the poll-times benchmark is made of.

A poll is answered at once and always truly. Schedules learn only from the polls that were made so far, in
the order in which they were made.
"""

import heapq
import math
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple, Protocol

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.polling.learned_schedule import LearnedSchedule
from rushes.domain.polling.queue import QueueMark, next_queue_mark
from rushes.domain.polling.reports import Mark, next_mark
from rushes.domain.polling.schedule import PollBudget, PollSchedule
from rushes.domain.task import Processing

MODEL = "sora-2"

Reporter = Callable[[float, float, int], int | None]
"""The progress of a task, from its age, its render time and its number."""

QueueReporter = Callable[[int, float], Processing]
"""What is said of a task, by its number, at a time: whether it waits, and at which position."""


class RenderTime(NamedTuple):
    """A log-normal render time."""

    median_seconds: float
    sigma: float

    def chance_ended(self, age_seconds: float) -> float:
        """The chance that a task has ended by that age."""
        if age_seconds <= 0:
            return 0.0
        return NormalDist().cdf(math.log(age_seconds / self.median_seconds) / self.sigma)


class Distribution(Protocol):
    """Times to the end of which the chances are known."""

    def chance_ended(self, age_seconds: float) -> float:
        """The chance that a task has ended by that age."""
        ...


class Noticed(NamedTuple):
    """One task's end, in the order in which the ends were noticed."""

    number: int
    lag_seconds: float
    polls: int


class Score(NamedTuple):
    """Means over tasks: seconds between done and noticed, and polls made."""

    lag_seconds: float
    polls: float


def score(noticed: Sequence[Noticed]) -> Score:
    """The mean lag and polls."""
    return Score(
        sum(task.lag_seconds for task in noticed) / len(noticed),
        sum(task.polls for task in noticed) / len(noticed),
    )


def learned_schedule(
    typical_seconds: float, *, lag_seconds_per_poll: float, interval_max_seconds: float = 30.0
) -> LearnedSchedule:
    """A fresh schedule that knows nothing but the catalogue's typical time. Floor 1 s."""
    overrides = {MODEL: {"render_time_p50_seconds": typical_seconds}}
    return LearnedSchedule(
        1.0,
        interval_max_seconds,
        catalogue=DEFAULT_CATALOGUE.with_overrides(overrides),
        lag_seconds_per_poll=lag_seconds_per_poll,
    )


def render_times(times: Sequence[tuple[int, RenderTime]], *, seed: int) -> list[float]:
    """Render times of `(count, distribution)` after each other."""
    draw = random.Random(seed)
    return [
        draw.lognormvariate(math.log(time.median_seconds), time.sigma)
        for count, time in times
        for _ in range(count)
    ]


def poisson_arrivals(count: int, *, per_second: float, seed: int) -> list[float]:
    """Times at which tasks are sent, at random."""
    draw = random.Random(seed)
    now, arrivals = 0.0, []
    for _ in range(count):
        now += draw.expovariate(per_second)
        arrivals.append(now)
    return arrivals


@dataclass(slots=True)
class _Task:
    number: int
    sent_at: float
    render_seconds: float
    seen_at: float
    polls: int = 0
    progress: int | None = None
    mark: Mark | None = None
    queue: QueueMark | None = None
    rate: float = 0.0


def simulate(
    schedule: PollSchedule,
    *,
    sent_at: Sequence[float],
    render_seconds: Sequence[float],
    reporter: Reporter | None = None,
    budget: PollBudget | None = None,
    queue: QueueReporter | None = None,
) -> list[Noticed]:
    """Run all tasks to their ends; returns them in the order in which their ends were noticed.

    What they wait in the provider's queue is part of `render_seconds`.
    With a `budget` the schedule is told how overloaded it is; no poll waits for a limit all the same.
    """
    noticed: list[Noticed] = []
    events: list[tuple[float, int, _Task]] = []

    def wait(task: _Task, now: float) -> None:
        delay = schedule.next_delay_seconds(
            model=MODEL,
            age_seconds=now - task.sent_at,
            polls=task.polls,
            progress=task.progress,
            overdue=False,
            overload=1.0 if budget is None else budget.overload,
            queue=task.queue,
        )
        if budget is not None:
            task.rate = budget.exchange(task.rate, delay)
        heapq.heappush(events, (now + delay, task.number, task))

    for number, (sent, seconds) in enumerate(zip(sent_at, render_seconds, strict=True)):
        heapq.heappush(events, (sent, number, _Task(number, sent, seconds, sent)))
    started = [False] * len(sent_at)
    while events:
        now, _, task = heapq.heappop(events)
        if not started[task.number]:
            started[task.number] = True
            wait(task, now)
            continue
        task.polls += 1
        seen, age = task.seen_at - task.sent_at, now - task.sent_at
        if age >= task.render_seconds:
            schedule.saw_end(
                model=MODEL, after_seconds=seen, by_seconds=age, mark=task.mark, queue=task.queue
            )
            if budget is not None:
                budget.exchange(task.rate, 0.0)
            noticed.append(Noticed(task.number, age - task.render_seconds, task.polls))
            continue
        schedule.saw_running(model=MODEL, after_seconds=seen, by_seconds=age)
        task.seen_at = now
        if reporter is not None:
            progress = task.progress = reporter(age, task.render_seconds, task.number)
            if progress is not None and 0 < progress < 100:
                task.mark = next_mark(task.mark, task_number=task.number, age_seconds=age, value=progress)
        if queue is not None:
            said = queue(task.number, now)
            task.queue = next_queue_mark(
                task.queue,
                task_number=task.number,
                age_seconds=age,
                is_queued=said.is_queued,
                position=said.queue_position,
            )
        wait(task, now)
    return noticed


def planned_score(schedule: PollSchedule, time: RenderTime, *, points: int = 4000) -> Score:
    """The mean lag and polls that a schedule would have if it learned nothing more.

    Computed, not drawn: over `points` equally likely render times.
    """
    normal = NormalDist()
    times = [
        time.median_seconds * math.exp(time.sigma * normal.inv_cdf((i + 0.5) / points)) for i in range(points)
    ]
    age, polls, lag, polls_total = 0.0, 0, 0.0, 0
    for render_seconds in times:
        while age < render_seconds:
            age += schedule.next_delay_seconds(
                model=MODEL, age_seconds=age, polls=polls, progress=None, overdue=False
            )
            polls += 1
        lag += age - render_seconds
        polls_total += polls
    return Score(lag / points, polls_total / points)


def optimum(
    time: Distribution, *, lag_seconds_per_poll: float, step_seconds: float, horizon_seconds: float
) -> Score:
    """The exact optimum of mean lag + `lag_seconds_per_poll` · mean polls, polls on a grid of times.

    Dynamic programming backwards over the age of a task that still runs; no schedule that sees nothing
    but the age can do better, up to the grid.
    """
    count = int(horizon_seconds / step_seconds) + 1
    ended = [time.chance_ended(i * step_seconds) for i in range(count)]
    area = [0.0]
    for before, after in pairwise(ended):
        area.append(area[-1] + step_seconds * (before + after) / 2)
    cost, lag, polls = [0.0] * count, [0.0] * count, [0.0] * count
    for i in range(count - 2, -1, -1):
        offset, share = -area[i], ended[i] * step_seconds
        best, best_cost = i + 1, math.inf
        for j in range(i + 1, count):
            value = area[j] + offset - share * (j - i) + cost[j]
            if value < best_cost:
                best, best_cost = j, value
        running = 1.0 - ended[i]
        cost[i] = best_cost + lag_seconds_per_poll * running
        lag[i] = area[best] + offset - share * (best - i) + lag[best]
        polls[i] = running + polls[best]
    return Score(lag[0], polls[0])


def lag_at(scores: Iterable[Score], polls: float) -> float:
    """The lag between those of a curve's points where it has that many polls, straight in their logarithms.

    Beyond its ends it goes on as the nearest two points lead.
    """
    points = sorted((math.log(point.polls), math.log(point.lag_seconds)) for point in scores)
    x = math.log(polls)
    i = min(max(bisect_left(points, (x,)), 1), len(points) - 1)
    (x1, y1), (x2, y2) = points[i - 1], points[i]
    return math.exp(y1 + (x - x1) / (x2 - x1) * (y2 - y1))
