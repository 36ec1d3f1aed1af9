"""What a provider's reports say about the time that is left, if they say anything.

Services report progress in all ways: true to the time that is left, true to the work done, by a curve
that knows nothing of the task, stuck at 99, or 0 until the end; and so they do places in a queue. So nothing
is assumed. Reports of a kind share a slot: a tenth of the scale of progress, or a place in the queue
(`queue.py`). For each slot we learn how the time to the end compares to what the report would lead to expect
(age · 100 / progress, say), and how much better than the age alone this would have foretold the ends of the
tasks so far. It is used where it did.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rushes.domain.polling.render_times import SECONDS_MIN, Estimate

TENTHS = 10
"""The first slots are those of progress: one for each tenth of the scale."""

QUEUE_SLOTS = 12
SLOTS = TENTHS + QUEUE_SLOTS

HALF_LIFE_MARKS = 50.0
"""A slot's sums weigh half after that many more tasks were marked in it."""

_DECAY = 0.5 ** (1.0 / HALF_LIFE_MARKS)
_EMPTY_SLOT = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
_CHANCE_MIN = 1e-4
_BITS_64 = 0xFFFFFFFFFFFFFFFF

ASSUMED_SIGMA = 0.2
ASSUMED_REPORTS = 1.0
"""The spread of log time about its prediction that is assumed at first, and how firmly."""

SIGMA_MIN = 0.01

MARKS_MIN = 8.0
GAIN_MIN = 0.25
"""A slot is used once `MARKS_MIN` marks foretold the end better by that much a report, in nats.

A gain of g nats narrows the time that is left by about exp(g), and lag times polls by as much.
"""

REPORTS_MAX = 20
"""No mark counts for more reports."""

GAIN_MAX = 3.0
"""No single task counts for more, so that one lucky or unlucky guess decides nothing."""


@dataclass(slots=True)
class Mark:
    """One report of a task, kept to learn from when the task has ended; `next_mark` changes it.

    `value` (a progress of 1..99, or a place in the queue) was reported at `age_seconds`; it was picked from
    the task's `reports` so far. The report of the number `next_kept` takes its place.
    """

    age_seconds: float
    value: int
    reports: int
    next_kept: int = 0


def next_mark(mark: Mark | None, *, task_number: int, age_seconds: float, value: int) -> Mark:
    """The task's mark after one more report: every report is as likely to be kept as any other.

    Which one is kept must not depend on when the task ends, or the marks would mislead; the choice is
    reservoir sampling (J. S. Vitter, "Random Sampling with a Reservoir", ACM TOMS 11(1), 1985) of one
    report, with the task's number, any integer, for randomness. Reports that are not kept are only counted:
    after report n the chance that none up to report m is kept is n / m, so one draw tells the next one.
    """
    if mark is None:
        return Mark(age_seconds, value, 1, _next_kept(task_number, 1))
    mark.reports += 1
    if mark.reports == mark.next_kept:
        mark.age_seconds, mark.value = age_seconds, value
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


class Report(NamedTuple):
    """What was reported at an age: the time to the end, from the age `from_seconds` on, would be
    `expected_seconds` if all reports of the slot were true to the same scale."""

    slot: int
    age_seconds: float
    expected_seconds: float
    from_seconds: float


def progress_report(age_seconds: float, progress: int) -> Report:
    """Of a progress of 1..99: the render time would be age · 100 / progress."""
    age_seconds = max(age_seconds, SECONDS_MIN)
    return Report(progress // TENTHS, age_seconds, age_seconds * 100 / progress, 0.0)


class Prediction(NamedTuple):
    """A log-normal time to the end."""

    median_seconds: float
    sigma: float

    def sigmas_passed(self, seconds: float) -> float:
        """How far that time lies beyond the median."""
        return math.log(seconds / self.median_seconds) / self.sigma

    def chance_running(self, seconds: float) -> float:
        """The chance that the task runs longer than that."""
        return 0.5 * math.erfc(self.sigmas_passed(seconds) / math.sqrt(2.0))


class ReportTimes:
    """Marks of ended tasks, slot by slot; immutable, and joined like `RenderTimes`.

    `slots[i]` is (marks, reports, sum, squares, gain, kept): decayed counts, and decayed sums of r =
    log(time to the end / expected), of r² and of the nats gained, in which each mark counts for
    all the reports that it was picked from; and how much of an older history is left after this one.
    """

    __slots__ = ("slots",)

    def __init__(self, slots: Sequence[Sequence[float]] = (_EMPTY_SLOT,) * SLOTS) -> None:
        self.slots = tuple(tuple(slot) for slot in slots)

    @classmethod
    def checked(cls, slots: Sequence[Sequence[float]]) -> "ReportTimes":
        """A history from outside, five numbers for each slot; raises `ValueError` for what cannot be one.

        One of progress alone ends after its tenths.
        """
        if len(slots) not in (TENTHS, SLOTS) or any(len(slot) != len(_EMPTY_SLOT) - 1 for slot in slots):
            raise ValueError(f"needs {TENTHS} or {SLOTS} times {len(_EMPTY_SLOT) - 1} numbers")
        for slot in slots:
            marks, reports, _, squares, _ = slot
            if not all(math.isfinite(value) for value in slot) or min(marks, reports, squares) < 0:
                raise ValueError("all must be finite, and counts and squares 0 or more")
        return cls([*((*slot, 1.0) for slot in slots), *[_EMPTY_SLOT] * (SLOTS - len(slots))])

    def stored(self) -> list[tuple[float, ...]]:
        """What `checked` takes: the slots of the queue only where one was reported."""
        slots = [slot[:-1] for slot in self.slots]
        return slots if any(marks for marks, *_ in slots[TENTHS:]) else slots[:TENTHS]

    def followed_by(self, later: "ReportTimes") -> "ReportTimes":
        """The history of both, `later` being the newer one."""
        return ReportTimes(
            [
                old  # most news are of one slot
                if new is _EMPTY_SLOT
                else (*(a * new[-1] + b for a, b in zip(old[:-1], new[:-1], strict=True)), old[-1] * new[-1])
                for old, new in zip(self.slots, later.slots, strict=True)
            ]
        )

    def predict(self, slot: int, expected_seconds: float) -> Prediction | None:
        """The time to the end after such a report, or None if the age alone tells more."""
        marks, reports, _, _, gain, _ = self.slots[slot]
        if marks < MARKS_MIN or gain < GAIN_MIN * reports:
            return None
        return self._forecast(slot, expected_seconds)

    def _forecast(self, slot: int, expected_seconds: float) -> Prediction:
        _, reports, total, squares, _, _ = self.slots[slot]
        weight = reports + ASSUMED_REPORTS
        mean = total / weight
        variance = (max(0.0, squares - total * mean) + ASSUMED_SIGMA**2 * ASSUMED_REPORTS) / weight
        return Prediction(expected_seconds * math.exp(mean), max(math.sqrt(variance), SIGMA_MIN))

    def learn(
        self, estimate: Estimate, report: Report, *, reports: int, after_seconds: float, by_seconds: float
    ) -> "ReportTimes":
        """The news, to be joined to a history, that a task with this report ended between two ages.

        It was picked from that many `reports`. They are judged by what this history and `estimate` would
        have said at the time of the report.
        """
        age_seconds = max(report.age_seconds, SECONDS_MIN)
        after_seconds = max(after_seconds, age_seconds)
        by_seconds = max(by_seconds, after_seconds)
        ages = (age_seconds, after_seconds, by_seconds)
        now, after, by = (max(age - report.from_seconds, SECONDS_MIN) for age in ages)
        ratio = math.log(math.sqrt(after * by) / report.expected_seconds)
        # the width of the interval is the polls', not the report's: Sheppard's correction
        square = max(0.0, ratio * ratio - math.log(by / after) ** 2 / 12)
        by_age = _chance(estimate.chance_running, *ages)
        forecast = self._forecast(report.slot, report.expected_seconds)
        by_report = _chance(forecast.chance_running, now, after, by)
        gain = min(max(math.log(by_report / by_age), -GAIN_MAX), GAIN_MAX)
        weight = float(min(reports, REPORTS_MAX))
        news = [_EMPTY_SLOT] * SLOTS
        news[report.slot] = (1.0, weight, weight * ratio, weight * square, weight * gain, _DECAY)
        return ReportTimes(news)


def _chance(chance_running: Callable[[float], float], now: float, after: float, by: float) -> float:
    """The chance that a task which runs at `now` ends between two later times; never quite 0."""
    running = chance_running(now)
    ends = chance_running(after) - chance_running(by)
    return max(ends, _CHANCE_MIN * running, _CHANCE_MIN**2) / max(running, _CHANCE_MIN**2)
