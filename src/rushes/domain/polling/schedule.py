"""When to poll a remote task next. All times are seconds; nothing here reads a clock or draws at random.

`LearnedSchedule` (`learned_schedule.py`) is what rushes polls by; `LadderSchedule` is the fixed ladder that
it is measured against.
"""

import math
from collections.abc import Sequence
from typing import Protocol

from rushes.domain.polling.queue import QueueMark
from rushes.domain.polling.reports import Mark

LADDER_STEPS_SECONDS = (5.0, 5.0, 15.0, 15.0)
LADDER_THEN_SECONDS = 30.0

OVERDUE_INTERVAL_SECONDS = 120.0
"""How often a task past its soft deadline is polled: its video is late by minutes already."""

OVERDUE_CEILING_FACTOR = 4.0
"""How far above the ceiling an overdue task's interval may lie."""

BUDGET_SHARE = 0.95
"""What scheduled polls may take of the provider's limit; nudged and repeated ones need room too."""

OVERLOAD_MAX = 1000.0
"""By how much waits are stretched at most when the budget is short."""

BACKOFF_FIRST_SECONDS = 2.0
BACKOFF_MAX_SECONDS = 60.0
_DOUBLINGS_MAX = 32  # beyond this every wait is at its cap, and floats must not overflow


class PollSchedule(Protocol):
    """Chooses the time of the next poll of one task; called once per poll, so it must be fast.

    It may learn: whoever polls tells it what was seen. All ages are counted from the attempt's dispatch.
    """

    def next_delay_seconds(
        self,
        *,
        model: str,
        age_seconds: float,
        polls: int,
        progress: int | None,
        overdue: bool,
        overload: float = 1.0,
        queue: QueueMark | None = None,
    ) -> float:
        """Seconds from now to the next poll, above 0.

        `polls` is how many polls of the task were answered or tried so far (0 right after the submit),
        `progress` 0..100 as reported by this very poll or None, `overdue` whether the task is past its
        soft deadline. `overload` is 1, or by how much more polls all tasks would ask for than the
        provider's limit allows; then polls are thinned out by that factor.
        `queue` is what was heard of the task's wait in the provider's queue, if anything was.
        """
        ...

    def saw_running(self, *, model: str, after_seconds: float, by_seconds: float) -> None:
        """A task was found rendering at `by_seconds`, and before at `after_seconds` (0 for the first poll).

        For a task taken over from another worker, leave out the first time it is found rendering.
        """
        ...

    def saw_end(
        self,
        *,
        model: str,
        after_seconds: float,
        by_seconds: float,
        mark: Mark | None = None,
        queue: QueueMark | None = None,
    ) -> None:
        """A poll at `by_seconds` brought the provider's verdict; at `after_seconds` the task still ran.

        `mark` is the task's progress mark, see `next_mark`, and `queue` as above. A task that was cancelled
        or ran into its deadline has not ended in this sense, and an adopted one must have been seen running
        first.
        """
        ...


class LadderSchedule:
    """Fixed steps: the first polls after 5, 5, 15 and 15 seconds, then every 30.

    Every step is raised to `interval_min_seconds` and lowered to `interval_max_seconds`. An overdue task
    is polled every `overdue_interval_seconds`.
    Raises `ValueError` for intervals that are not above 0 or a floor above the ceiling.
    """

    __slots__ = ("_delays", "_last", "_overdue", "_then")

    def __init__(
        self,
        interval_min_seconds: float,
        interval_max_seconds: float,
        steps: Sequence[float] = LADDER_STEPS_SECONDS,
        then: float = LADDER_THEN_SECONDS,
    ) -> None:
        check_intervals(interval_min_seconds, interval_max_seconds)
        if not all(step > 0 for step in (*steps, then)):
            raise ValueError("every step must be above 0")
        self._delays = tuple(min(max(step, interval_min_seconds), interval_max_seconds) for step in steps)
        self._then = min(max(then, interval_min_seconds), interval_max_seconds)
        self._last = len(self._delays)
        self._overdue = overdue_interval_seconds(interval_min_seconds, interval_max_seconds)

    def next_delay_seconds(
        self,
        *,
        polls: int,
        overdue: bool,
        overload: float = 1.0,
        **_facts: object,
    ) -> float:
        """See `PollSchedule`; nothing else matters here."""
        if overdue:
            return self._overdue * overload
        return (self._delays[polls] if polls < self._last else self._then) * overload

    def saw_running(self, *, model: str, after_seconds: float, by_seconds: float) -> None:
        """Nothing is learned."""

    def saw_end(
        self,
        *,
        model: str,
        after_seconds: float,
        by_seconds: float,
        mark: Mark | None = None,
        queue: QueueMark | None = None,
    ) -> None:
        """Nothing is learned."""


class PollBudget:
    """How many polls a second the tasks in flight ask for, against a provider's limit.

    `overload` is what `next_delay_seconds` wants to know. Thinning out the polls of all tasks by one
    factor is the best use of a short budget: to minimise the lag of all tasks for a given number of polls
    is to give every poll the same worth, and with density sqrt(h / (2 c)) a common c · overload² does so.
    Polls then go where the hazard is high, and each task keeps its share.
    """

    __slots__ = ("_per_second", "asked_per_second", "overload")

    def __init__(self, polls_per_second: float | None) -> None:
        self.asked_per_second = 0.0
        self.change(polls_per_second)

    def change(self, polls_per_second: float | None) -> None:
        """A new limit: the polls a second that this worker can sustain; None for any number.

        A limit of 0 is held for a very small one, `OVERLOAD_MAX` keeps waits finite.
        """
        self._per_second = math.inf if polls_per_second is None else polls_per_second * BUDGET_SHARE
        self._weigh()

    def exchange(self, old_rate: float, delay_seconds: float) -> float:
        """A task that asked for `old_rate` (0 for a new one) now waits; returns its rate from now on.

        `delay_seconds` was chosen under the present `overload`; 0 or less means that the task is gone.
        """
        rate = self.overload / delay_seconds if delay_seconds > 0 else 0.0
        asked = self.asked_per_second + rate - old_rate
        self.asked_per_second = asked = asked if asked > 0.0 else 0.0
        if asked > self._per_second or self.overload != 1.0:
            self._weigh()
        return rate

    def _weigh(self) -> None:
        if self.asked_per_second <= self._per_second:
            self.overload = 1.0
        elif self.asked_per_second >= self._per_second * OVERLOAD_MAX:
            self.overload = OVERLOAD_MAX
        else:
            self.overload = self.asked_per_second / self._per_second


def overdue_interval_seconds(interval_min_seconds: float, interval_max_seconds: float) -> float:
    """How often an overdue task is polled under the given floor and ceiling.

    The ceiling does not lower it to its own value, or overdue tasks would be polled as often as fresh
    ones; but it is at most `OVERDUE_CEILING_FACTOR` times the ceiling, so that a very small ceiling makes
    everything quick. The floor always holds.
    """
    slow = min(OVERDUE_INTERVAL_SECONDS, OVERDUE_CEILING_FACTOR * interval_max_seconds)
    return max(slow, interval_min_seconds)


def check_intervals(interval_min_seconds: float, interval_max_seconds: float) -> None:
    """Raise `ValueError` for a floor and a ceiling that cannot be."""
    if not 0 < interval_min_seconds <= interval_max_seconds:
        raise ValueError("interval_min_seconds must be above 0 and at most interval_max_seconds")


def backoff_seconds(
    consecutive_errors: int,
    *,
    jitter: float,
    first_seconds: float = BACKOFF_FIRST_SECONDS,
    max_seconds: float = BACKOFF_MAX_SECONDS,
) -> float:
    """How long to wait after that many errors in a row (1 or more), for polls without an answer.

    Capped exponential with "equal jitter" (M. Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015): half of min(max_seconds, first_seconds · 2^(n-1)) is certain, the other half
    is scaled by `jitter`, a number in [0, 1) that the caller draws. Raises `ValueError` outside of that.
    """
    if consecutive_errors < 1 or not 0 <= jitter < 1:
        raise ValueError("consecutive_errors must be 1 or more and jitter in [0, 1)")
    doublings = min(consecutive_errors - 1, _DOUBLINGS_MAX)
    capped = min(max_seconds, first_seconds * 2.0**doublings)
    return capped * (0.5 + 0.5 * jitter)
