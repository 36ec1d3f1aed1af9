"""What the provider's reported progress says about the time that is left, if it says anything.

Services report progress in all ways: true to the time that is left, true to the work done, by a curve
that knows nothing of the task, stuck at 99, or 0 until the end. So nothing is assumed. For each tenth of
the scale we learn how the render time compares to age · 100 / progress, and how much better than the age
alone this would have foretold the ends of the tasks so far. It is used where it did.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rushes.domain.polling.render_times import SECONDS_MIN, Estimate

TENTHS = 10
HALF_LIFE_MARKS = 50.0
"""A tenth's sums weigh half after that many more tasks were marked in it."""

_DECAY = 0.5 ** (1.0 / HALF_LIFE_MARKS)
_EMPTY_TENTH = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
_CHANCE_MIN = 1e-4
_BITS_64 = 0xFFFFFFFFFFFFFFFF

ASSUMED_SIGMA = 0.2
ASSUMED_REPORTS = 1.0
"""The spread of log render time about its prediction that is assumed at first, and how firmly."""

SIGMA_MIN = 0.01

MARKS_MIN = 8.0
GAIN_MIN = 0.25
"""Progress is used once `MARKS_MIN` marks foretold the end better by that much a report, in nats.

A gain of g nats narrows the time that is left by about exp(g), and lag times polls by as much.
"""

REPORTS_MAX = 20
"""No mark counts for more reports."""

GAIN_MAX = 3.0
"""No single task counts for more, so that one lucky or unlucky guess decides nothing."""


@dataclass(slots=True)
class ProgressMark:
    """One report of a task's progress, kept to learn from when the task has ended; `next_mark` changes it.

    `progress` (1..99) was reported at `age_seconds`; it was picked from the task's `reports` so far. The
    report of the number `next_kept` takes its place.
    """

    age_seconds: float
    progress: int
    reports: int
    next_kept: int = 0


def next_mark(
    mark: ProgressMark | None, *, task_number: int, age_seconds: float, progress: int | None
) -> ProgressMark | None:
    """The task's mark after one more poll: every report is as likely to be kept as any other.

    Which one is kept must not depend on when the task ends, or the marks would mislead; the choice is
    reservoir sampling (J. S. Vitter, "Random Sampling with a Reservoir", ACM TOMS 11(1), 1985) of one
    report, with the task's number, any integer, for randomness. Reports that are not kept are only counted:
    after report n the chance that none up to report m is kept is n / m, so one draw tells the next one.
    """
    if progress is None or not 0 < progress < 100:
        return mark
    if mark is None:
        return ProgressMark(age_seconds, progress, 1, _next_kept(task_number, 1))
    mark.reports += 1
    if mark.reports == mark.next_kept:
        mark.age_seconds, mark.progress = age_seconds, progress
        mark.next_kept = _next_kept(task_number, mark.reports)
    return mark


def _next_kept(task_number: int, kept: int) -> int:
    drawn = _mixed(task_number * 1_000_003 + kept) + 1
    return (kept << 64) // drawn + 1


def _mixed(number: int) -> int:
    """64 bits that look drawn at random: the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    bits = (number * 0x9E3779B97F4A7C15) & _BITS_64
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _BITS_64
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _BITS_64
    return bits ^ (bits >> 31)


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


class ProgressTimes:
    """Marks of ended tasks, by tenth of progress; immutable, and joined like `RenderTimes`.

    `tenths[i]` is (marks, reports, sum, squares, gain, kept): decayed counts, and decayed sums of r =
    log(render time · progress / (100 · age)), of r² and of the nats gained, in which each mark counts for
    all the reports that it was picked from; and how much of an older history is left after this one.
    """

    __slots__ = ("tenths",)

    def __init__(self, tenths: Sequence[Sequence[float]] = (_EMPTY_TENTH,) * TENTHS) -> None:
        self.tenths = tuple(tuple(tenth) for tenth in tenths)

    @classmethod
    def checked(cls, tenths: Sequence[Sequence[float]]) -> "ProgressTimes":
        """A history from outside, five numbers for each tenth; raises `ValueError` for what cannot be one."""
        if len(tenths) != TENTHS or any(len(tenth) != len(_EMPTY_TENTH) - 1 for tenth in tenths):
            raise ValueError(f"needs {TENTHS} times {len(_EMPTY_TENTH) - 1} numbers")
        for tenth in tenths:
            marks, reports, _, squares, _ = tenth
            if not all(math.isfinite(value) for value in tenth) or min(marks, reports, squares) < 0:
                raise ValueError("all must be finite, and counts and squares 0 or more")
        return cls([(*tenth, 1.0) for tenth in tenths])

    def followed_by(self, later: "ProgressTimes") -> "ProgressTimes":
        """The history of both, `later` being the newer one."""
        return ProgressTimes(
            [
                (*(a * new[-1] + b for a, b in zip(old[:-1], new[:-1], strict=True)), old[-1] * new[-1])
                for old, new in zip(self.tenths, later.tenths, strict=True)
            ]
        )

    def predict(self, *, age_seconds: float, progress: int) -> Prediction | None:
        """The render time of a task with that progress at that age, or None if the age alone tells more."""
        marks, reports, _, _, gain, _ = self.tenths[progress // TENTHS]
        if marks < MARKS_MIN or gain < GAIN_MIN * reports:
            return None
        return self._forecast(age_seconds, progress)

    def _forecast(self, age_seconds: float, progress: int) -> Prediction:
        _, reports, total, squares, _, _ = self.tenths[progress // TENTHS]
        weight = reports + ASSUMED_REPORTS
        mean = total / weight
        variance = (max(0.0, squares - total * mean) + ASSUMED_SIGMA**2 * ASSUMED_REPORTS) / weight
        median_seconds = age_seconds * 100 / progress * math.exp(mean)
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
        # the width of the interval is the polls', not the progress's: Sheppard's correction
        square = max(0.0, ratio * ratio - math.log(by_seconds / after_seconds) ** 2 / 12)
        by_age = _chance(estimate.chance_running, age_seconds, after_seconds, by_seconds)
        forecast = self._forecast(age_seconds, mark.progress)
        by_progress = _chance(forecast.chance_running, age_seconds, after_seconds, by_seconds)
        gain = min(max(math.log(by_progress / by_age), -GAIN_MAX), GAIN_MAX)
        weight = float(min(mark.reports, REPORTS_MAX))
        news = [_EMPTY_TENTH] * TENTHS
        sums = (weight * ratio, weight * square, weight * gain)
        news[mark.progress // TENTHS] = (1.0, weight, *sums, _DECAY)
        return ProgressTimes(news)


def _chance(chance_running: Callable[[float], float], now: float, after: float, by: float) -> float:
    """The chance that a task which runs at `now` ends between two later ages; never quite 0."""
    running = chance_running(now)
    ends = chance_running(after) - chance_running(by)
    return max(ends, _CHANCE_MIN * running, _CHANCE_MIN**2) / max(running, _CHANCE_MIN**2)
