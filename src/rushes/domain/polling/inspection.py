"""Where polls are worth most: the optimal inspection schedule for a known hazard rate.

A task whose end has hazard rate h(t) is polled with the density

    n(t) = sqrt(h(t) / (2 c))        polls per second at age t

where c is the lag, in seconds, that one poll is worth. This minimises mean lag + c · mean polls
(J. B. Keller, "Optimum Checking Schedules for Systems Subject to Random Failure", Management Science
21(3), 1974, pp. 256-260; the discrete problem is that of R. E. Barlow, L. C. Hunter and F. Proschan,
"Optimum Checking Procedures", J. SIAM 11(4), 1963, pp. 1078-1095). Polls then stand where the integral
of n grows by one from each to the next.
"""

import math
from bisect import bisect_left
from itertools import accumulate, pairwise
from typing import Final

from rushes.domain.polling.render_times import (
    BIN_COUNT,
    BIN_LOG_WIDTH,
    SECONDS_MIN,
    Estimate,
    bin_edge_seconds,
)

FIRST_POLL: Final = 1.5
"""Where the integral of the density stands at the first poll.

The continuous model leaves that open. With 1.5 the cost is within 0.5 % of the exact optimum, which dynamic
programming finds, for the log-normal render times of `tests/domain/test_inspection.py`; with 1 it is up to
2.4 % above it, with 2 up to 5 %.
"""

STEPS_PER_BIN: Final = 4
_STEPS: Final = BIN_COUNT * STEPS_PER_BIN
_STEPS_PER_LOG: Final = STEPS_PER_BIN / BIN_LOG_WIDTH
_AGES: Final = [bin_edge_seconds(i / STEPS_PER_BIN) for i in range(_STEPS + 1)]
_MIDDLES: Final = [bin_edge_seconds((i + 0.5) / STEPS_PER_BIN) for i in range(_STEPS)]
# how far the middle of each step of a bin lies from the bin's own middle, in bins
_OFFSETS: Final = [(k + 0.5) / STEPS_PER_BIN - 0.5 for k in range(STEPS_PER_BIN)]

NORMAL_MIN: Final = -6.0
NORMAL_STEPS_PER_SIGMA: Final = 20
_NORMAL_STEPS: Final = 12 * NORMAL_STEPS_PER_SIGMA
_log: Final = math.log
_inf: Final = math.inf


class PollTable:
    """The integral of the poll density over the age, for one model: how many polls are due by when."""

    __slots__ = ("_next_ages", "_polls", "first_wait_until_seconds")

    def __init__(self, estimate: Estimate, *, lag_seconds_per_poll: float) -> None:
        # With y = log t and H = h t, the hazard per unit of y: n dt = sqrt(H t / (2 c)) dy.
        # Between the middles of the bins the hazard is interpolated, so that it has no steps.
        factor = 1.0 / (2.0 * lag_seconds_per_poll * _STEPS_PER_LOG * STEPS_PER_BIN)
        hazard = estimate.hazard
        slopes = [b - a for a, b in pairwise(hazard)]
        smooth = [
            here + offset * (right if offset > 0 else left)
            for left, here, right in zip([0.0, *slopes], hazard, [*slopes, 0.0], strict=True)
            for offset in _OFFSETS
        ]
        sqrt = math.sqrt
        steps = [sqrt(h * age * factor) for h, age in zip(smooth, _MIDDLES, strict=True)]
        self._polls = [0.0, *accumulate(steps)]
        self._next_ages: list[float | None] = [None] * (_STEPS + 1)
        self.first_wait_until_seconds = self.age_seconds_at(FIRST_POLL - 1.0)
        """Who looks before that age waits for the first poll."""

    def next_age_seconds(self, age_seconds: float) -> float:
        """The age of the next poll of a task that is polled at this age, without any overload.

        Almost every poll asks for it. It is worked out at the edges of the steps, when first asked for, and
        interpolated between them.
        """
        position = _log(age_seconds / SECONDS_MIN) * _STEPS_PER_LOG if age_seconds > SECONDS_MIN else 0.0
        i = int(position)
        if i >= _STEPS:
            return self._next_age_seconds(_STEPS)
        ages = self._next_ages
        here, then = ages[i], ages[i + 1]
        if here is None or then is None:
            here, then = self._next_age_seconds(i), self._next_age_seconds(i + 1)
        if then == _inf:  # the last ages: the integral ends within this step
            return self.age_seconds_at(next_polls_due(self.polls_by(age_seconds), 1.0))
        return here + (position - i) * (then - here)

    def _next_age_seconds(self, step: int) -> float:
        age = self._next_ages[step]
        if age is None:
            age = self._next_ages[step] = self.age_seconds_at(next_polls_due(self._polls[step], 1.0))
        return age

    def polls_by(self, age_seconds: float) -> float:
        """The integral up to that age."""
        if age_seconds <= SECONDS_MIN:
            return 0.0
        polls = self._polls
        i = int(math.log(age_seconds / SECONDS_MIN) * _STEPS_PER_LOG)
        if i >= _STEPS:
            return polls[_STEPS]
        share = (age_seconds - _AGES[i]) / (_AGES[i + 1] - _AGES[i])
        return polls[i] + share * (polls[i + 1] - polls[i])

    def age_seconds_at(self, polls_due: float) -> float:
        """The age at which the integral reaches `polls_due`; infinite if it never does."""
        polls = self._polls
        i = bisect_left(polls, polls_due)
        if i == 0:
            return 0.0
        if i > _STEPS:
            return math.inf
        share = (polls_due - polls[i - 1]) / (polls[i] - polls[i - 1])
        return _AGES[i - 1] + share * (_AGES[i] - _AGES[i - 1])


def next_polls_due(polls_by_now: float, step: float) -> float:
    """Where the integral stands at the next poll; `step` is 1, or more when polls must be fewer."""
    return max(polls_by_now + step, FIRST_POLL * step)


def _normal_polls() -> list[float]:
    """The integral of sqrt(hazard / 2) of the standard normal distribution, from `NORMAL_MIN` on."""
    width = 1.0 / NORMAL_STEPS_PER_SIGMA
    total, totals = 0.0, [0.0]
    for i in range(_NORMAL_STEPS):
        z = NORMAL_MIN + (i + 0.5) * width
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        hazard = density / (0.5 * math.erfc(z / math.sqrt(2)))
        total += math.sqrt(hazard / 2) * width
        totals.append(total)
    return totals


_NORMAL_POLLS: Final = _normal_polls()


def log_normal_next_age_seconds(
    *, age_seconds: float, median_seconds: float, sigma: float, lag_seconds_per_poll: float, step: float
) -> float:
    """The next poll's age for a task whose render time is known up to a narrow log-normal.

    The density is that of `PollTable` with the narrow peak's width in place of the age: one table serves
    all medians and sigmas. Far beyond the peak the answer is `age_seconds` or a little more.
    """
    scale = math.sqrt(median_seconds * sigma / lag_seconds_per_poll)
    z = math.log(age_seconds / median_seconds) / sigma
    position = min(max((z - NORMAL_MIN) * NORMAL_STEPS_PER_SIGMA, 0.0), float(_NORMAL_STEPS))
    i = min(int(position), _NORMAL_STEPS - 1)
    totals = _NORMAL_POLLS
    by_now = totals[i] + (position - i) * (totals[i + 1] - totals[i])
    due = next_polls_due(scale * by_now, step) / scale
    j = min(bisect_left(totals, due), _NORMAL_STEPS)
    position = j - 1 + (due - totals[j - 1]) / (totals[j] - totals[j - 1])
    return median_seconds * math.exp(sigma * (NORMAL_MIN + position / NORMAL_STEPS_PER_SIGMA))
