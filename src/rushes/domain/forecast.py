"""When open tasks will be done: one pure function for quotes and for batches under way.

A model's render times are taken as log-normal. A batch is done when its last task is: the chance of that by
a time is the product of all its tasks' chances. What is certain (a grace that has to end, a turn in a queue)
is waited for in full.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

RENDER_TIME_SIGMA: Final = 0.4
"""Spread of the log-normal render times before any were seen: what those of Sora and Veo come to, roughly."""

STARTS_MAX: Final = 64
"""Starting times that stand for those of all tasks of a model."""

FORECAST_SECONDS_MAX: Final = 30 * 86_400.0

_STEPS: Final = 60
_LEAST_CHANCE: Final = 1e-300


@dataclass(frozen=True, slots=True)
class RenderTime:
    """What is believed of a model's render time."""

    median_seconds: float
    sigma: float = RENDER_TIME_SIGMA

    def chance_running(self, age_seconds: float) -> float:
        """The chance that a task renders longer than that."""
        if age_seconds <= 0:
            return 1.0
        deviation = (math.log(age_seconds) - math.log(self.median_seconds)) / self.sigma
        return 0.5 * math.erfc(deviation / math.sqrt(2))


@dataclass(frozen=True, slots=True)
class Pace:
    """How a provider takes tasks: `open_ahead` are those that have places or come first."""

    submits_per_second: float | None = None
    in_flight_tasks_max: int | None = None
    open_ahead: int = 0

    def start_seconds(self, place: float, median_seconds: float) -> float:
        """When the task at that place of the queue is sent, in seconds from now.

        Where only a limited number of tasks are at the provider at a time, they go in waves.
        """
        start = place / self.submits_per_second if self.submits_per_second else 0.0
        if self.in_flight_tasks_max:
            wave = int((self.open_ahead + place) // self.in_flight_tasks_max)
            start = max(start, wave * median_seconds)
        return start


@dataclass(frozen=True, slots=True)
class ToBeSent:
    """Tasks of one model that wait; none is sent before `not_before_seconds`."""

    count: int
    render_time: RenderTime
    pace: Pace = Pace()
    not_before_seconds: float = 0.0

    def certain_seconds(self) -> float:
        """What has to pass before the last of them can be sent."""
        return self.not_before_seconds + max(self._starts())

    def log_chance_done(self, by_seconds: float) -> float:
        """The log of the chance that all are done by then."""
        starts = self._starts()
        return (self.count / len(starts)) * sum(
            _log(1.0 - self.render_time.chance_running(by_seconds - self.not_before_seconds - start))
            for start in starts
        )

    def _starts(self) -> list[float]:
        sampled = min(self.count, STARTS_MAX)
        median = self.render_time.median_seconds
        return [self.pace.start_seconds((i + 0.5) * self.count / sampled, median) for i in range(sampled)]


@dataclass(frozen=True, slots=True)
class Rendering:
    """Tasks at a provider, sent about `age_seconds` ago, that have ended for certain in `ends_in_seconds`."""

    count: int
    render_time: RenderTime
    age_seconds: float
    ends_in_seconds: float

    def certain_seconds(self) -> float:
        """Nothing has to pass: each may be done already."""
        return 0.0

    def log_chance_done(self, by_seconds: float) -> float:
        """The log of the chance that all are done by then."""
        if by_seconds >= self.ends_in_seconds:
            return 0.0
        running = self.render_time.chance_running(self.age_seconds)
        if running <= _LEAST_CHANCE:  # long past all that was expected: only the deadline is known
            return -math.inf
        later = self.render_time.chance_running(self.age_seconds + by_seconds)
        return self.count * _log(1.0 - later / running)


@dataclass(frozen=True, slots=True)
class Undecided:
    """Tasks whose fate is decided in that time at the latest, and not to be expected sooner."""

    count: int
    decided_in_seconds: float

    def certain_seconds(self) -> float:
        """Until it is decided."""
        return max(0.0, self.decided_in_seconds)

    def log_chance_done(self, by_seconds: float) -> float:
        """They are done when it is decided."""
        return 0.0 if by_seconds >= self.decided_in_seconds else -math.inf


OpenTasks = ToBeSent | Rendering | Undecided


def seconds_until_done(open_tasks: Sequence[OpenTasks], chance: float = 0.5) -> float:
    """The time from now by which all are done with that chance: 0 or more, `FORECAST_SECONDS_MAX` at most.

    Never less than what has to pass for any of them (`certain_seconds`).
    """
    low = max((tasks.certain_seconds() for tasks in open_tasks), default=0.0)
    low = min(low, FORECAST_SECONDS_MAX)
    high, target = FORECAST_SECONDS_MAX, math.log(chance)
    if sum(tasks.log_chance_done(low) for tasks in open_tasks) >= target:
        return low
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if sum(tasks.log_chance_done(middle) for tasks in open_tasks) < target:
            low = middle
        else:
            high = middle
    return high


def _log(chance: float) -> float:
    return math.log(chance) if chance > _LEAST_CHANCE else -math.inf
