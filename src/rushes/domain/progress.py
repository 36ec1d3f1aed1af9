"""What the provider's reported progress says about the time that is left, if it says anything.

Services report progress in all ways: true to the time that is left, true to the work done, by a curve
that knows nothing of the task, stuck at 99, or 0 until the end. So nothing is assumed. For each tenth of
the scale we learn how the render time compares to age · 100 / progress, and how much better than the age
alone this would have foretold the ends of the tasks so far. It is used where it did.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rushes.domain.render_times import SECONDS_MIN, Estimate

TENTHS = 10
HALF_LIFE_MARKS = 50.0
_DECAY = 0.5 ** (1.0 / HALF_LIFE_MARKS)
_EMPTY_TENTH = (0.0, 0.0, 0.0, 0.0, 1.0)
_CHANCE_MIN = 1e-4

ASSUMED_SIGMA = 0.2
ASSUMED_MARKS = 0.5
"""The spread of log render time about its prediction that is assumed at first, and how firmly."""

SIGMA_MIN = 0.01

MARKS_MIN = 8.0
GAIN_MIN = 0.25
"""Progress is used once it foretold the last `MARKS_MIN` ends better by that much, in nats a task.

A gain of g nats narrows the time that is left by about exp(g), and lag times polls by as much.
"""

GAIN_MAX = 3.0
"""No single task counts for more, so that one lucky or unlucky guess decides nothing."""

MARK_POLLS = 3
"""A task's progress is marked at one of its first so many polls."""


class ProgressMark(NamedTuple):
    """A task's progress (1..99) as reported at one age; one per task is kept, to learn from its end."""

    age_seconds: float
    progress: int


class Prediction(NamedTuple):
    """A log-normal render time."""

    median_seconds: float
    sigma: float

    def sigmas_passed(self, age_seconds: float) -> float:
        """How far that age lies beyond the median."""
        return math.log(age_seconds / self.median_seconds) / self.sigma

    def chance_running(self, age_seconds: float) -> float:
        """The chance that the task runs longer than that."""
        return 0.5 * math.erfc(self.sigmas_passed(age_seconds) / math.sqrt(2.0))


def is_marked(task_number: int, *, polls: int, progress: int | None) -> bool:
    """Whether this poll's progress shall be the task's mark, unless it has one already.

    The choice must not depend on how long the task still runs, or the marks would mislead: it is made by
    the task's number, any integer, and the number of polls so far, this one included.
    """
    return progress is not None and 0 < progress < 100 and polls > task_number % MARK_POLLS


class ProgressTimes:
    """Marks of ended tasks, by tenth of progress; immutable, and joined like `RenderTimes`.

    `tenths[i]` is (marks, sum, squares, gain, kept): decayed sums of r = log(render time · progress / (100
    · age)), of r² and of the nats gained, and how much of an older history is left after this one.
    """

    __slots__ = ("tenths",)

    def __init__(self, tenths: Sequence[Sequence[float]] = (_EMPTY_TENTH,) * TENTHS) -> None:
        self.tenths = tuple(tuple(tenth) for tenth in tenths)

    @classmethod
    def checked(cls, tenths: Sequence[Sequence[float]]) -> "ProgressTimes":
        """A history from outside, four numbers for each tenth; raises `ValueError` for what cannot be one."""
        if len(tenths) != TENTHS or any(len(tenth) != len(_EMPTY_TENTH) - 1 for tenth in tenths):
            raise ValueError(f"needs {TENTHS} times {len(_EMPTY_TENTH) - 1} numbers")
        for tenth in tenths:
            marks, _, squares, _ = tenth
            if not all(math.isfinite(value) for value in tenth) or marks < 0 or squares < 0:
                raise ValueError("all must be finite, marks and squares 0 or more")
        return cls([(*tenth, 1.0) for tenth in tenths])

    def followed_by(self, later: "ProgressTimes") -> "ProgressTimes":
        """The history of both, `later` being the newer one."""
        return ProgressTimes(
            [
                (*(a * new[4] + b for a, b in zip(old[:4], new[:4], strict=True)), old[4] * new[4])
                for old, new in zip(self.tenths, later.tenths, strict=True)
            ]
        )

    def predict(self, *, age_seconds: float, progress: int) -> Prediction | None:
        """The render time of a task with that progress at that age, or None if the age alone tells more."""
        marks, _, _, gain, _ = self.tenths[progress // TENTHS]
        if marks < MARKS_MIN or gain < GAIN_MIN * marks:
            return None
        return self._forecast(ProgressMark(age_seconds, progress))

    def _forecast(self, mark: ProgressMark) -> Prediction:
        marks, total, squares, _, _ = self.tenths[mark.progress // TENTHS]
        weight = marks + ASSUMED_MARKS
        mean = total / weight
        variance = max(0.0, squares - total * mean) / weight + ASSUMED_SIGMA**2 * ASSUMED_MARKS / weight
        median_seconds = mark.age_seconds * 100 / mark.progress * math.exp(mean)
        return Prediction(median_seconds, max(math.sqrt(variance), SIGMA_MIN))

    def learn(
        self, estimate: Estimate, mark: ProgressMark, *, after_seconds: float, by_seconds: float
    ) -> "ProgressTimes":
        """The news, to be joined to a history, that a task marked so has ended between two ages.

        They are judged by what this history and `estimate` would have said at the time of the mark.
        """
        age_seconds = max(mark.age_seconds, SECONDS_MIN)
        after_seconds = max(after_seconds, age_seconds)
        by_seconds = max(by_seconds, after_seconds)
        ratio = math.log(math.sqrt(after_seconds * by_seconds) / age_seconds * mark.progress / 100)
        by_age = _chance(estimate.chance_running, age_seconds, after_seconds, by_seconds)
        forecast = self._forecast(ProgressMark(age_seconds, mark.progress))
        by_progress = _chance(forecast.chance_running, age_seconds, after_seconds, by_seconds)
        gain = min(max(math.log(by_progress / by_age), -GAIN_MAX), GAIN_MAX)
        news = [_EMPTY_TENTH] * TENTHS
        news[mark.progress // TENTHS] = (1.0, ratio, ratio * ratio, gain, _DECAY)
        return ProgressTimes(news)


def _chance(chance_running: Callable[[float], float], now: float, after: float, by: float) -> float:
    """The chance that a task which runs at `now` ends between two later ages; never quite 0."""
    running = chance_running(now)
    ends = chance_running(after) - chance_running(by)
    return max(ends, _CHANCE_MIN * running, _CHANCE_MIN**2) / max(running, _CHANCE_MIN**2)
