"""How long a model's renders take, learned from polls: a small histogram that forgets slowly.

Ages are cut into bins of equal width in log time. For each bin two numbers are kept: how many tasks were
seen to run through it (`exposed`) and how many ended in it (`ended`). Their ratio is the hazard, the
chance that a task which got this far ends here. Counting both, instead of finished render times only,
makes use of every task: those still running, those cut off, and those that ended between two polls. And
it stays right when a burst of tasks ends in the order of their render times.

"Ended" means any verdict of the provider, a failure as well as a success: both are worth noticing soon.
All times are seconds since the attempt was sent.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

LAYOUT = 1
"""Raised with every change of the bins: counts of one layout mean nothing in another."""

BIN_COUNT = 120
SECONDS_MIN = 1.0
SECONDS_MAX = 14_400.0
"""Ages outside count as the nearest one within."""

BIN_LOG_WIDTH = math.log(SECONDS_MAX / SECONDS_MIN) / BIN_COUNT
"""Every bin is 8 % wide: finer than the spread of any render time that is worth learning."""

HALF_LIFE_TASKS = 200.0
"""A bin's counts weigh half after that many more tasks ran through it."""

HALF_LIFE_TASKS_SURPRISED = 10.0
"""The same while tasks end much earlier or later than expected: the model has changed."""

TYPICAL_SIGMA = 0.5
"""The spread of log render time that is assumed before anything was seen; wider than most models'."""

TYPICAL_WRONG_CHANCE = 0.1
"""The chance that the catalogue is quite wrong at first: then any age is as likely, in log time."""

TYPICAL_TASKS = 12.0
"""How many tasks the catalogue's typical render time counts for at first."""

TYPICAL_HALF_LIFE_TASKS = 20.0
TYPICAL_TASKS_MIN = 0.5
"""The catalogue's time never quite vanishes, so that no age is thought to be impossible."""

FIT_TASKS_MAX = 40.0
"""How many tasks the fitted log-normal counts for: it smooths the bins and continues their tails."""

FIT_SIGMA_MIN = 0.05

SURPRISE_MEMORY_TASKS = 16.0
SURPRISE_SIGMAS = 3.5
SURPRISE_TASKS_MIN = 2.0
"""Surprised: ends differ from the expected ones by that many standard deviations plus that many tasks."""

_TINY = 1e-12
_LAST_EDGE = float(BIN_COUNT)
_log = math.log


def bin_position(seconds: float) -> float:
    """Where an age lies among the bins, 0..`BIN_COUNT`; whole numbers are edges."""
    if seconds <= SECONDS_MIN:
        return 0.0
    return min(math.log(seconds / SECONDS_MIN) / BIN_LOG_WIDTH, float(BIN_COUNT))


def bin_edge_seconds(position: float) -> float:
    """The inverse of `bin_position`."""
    return SECONDS_MIN * math.exp(position * BIN_LOG_WIDTH)


class RenderTimes:
    """A history of tasks, bin by bin; immutable, so it can be handed to another thread.

    `exposed` and `ended` are decayed counts, `count` is how many tasks ended in all. `kept` says for each
    bin how much of an older history is left after this one, so that histories can be joined:
    `older.followed_by(newer)` is the history of both. Joining is associative, and a bin forgets only when
    other tasks run through it. Which of two workers' histories comes first decides only which one is aged
    by the other.
    """

    __slots__ = ("count", "ended", "exposed", "kept")

    def __init__(
        self,
        count: int = 0,
        *,
        exposed: Sequence[float] = (0.0,) * BIN_COUNT,
        ended: Sequence[float] = (0.0,) * BIN_COUNT,
        kept: Sequence[float] = (1.0,) * BIN_COUNT,
    ) -> None:
        self.count = count
        self.exposed, self.ended, self.kept = tuple(exposed), tuple(ended), tuple(kept)

    @classmethod
    def checked(cls, count: int, *, exposed: Sequence[float], ended: Sequence[float]) -> "RenderTimes":
        """A history from outside; raises `ValueError` for what cannot be one."""
        for values in (exposed, ended):
            if len(values) != BIN_COUNT or not all(0 <= value < math.inf for value in values):
                raise ValueError(f"needs {BIN_COUNT} numbers, 0 or more, of each kind")
        if count < 0:
            raise ValueError("count must be 0 or more")
        return cls(count, exposed=exposed, ended=ended)

    def followed_by(self, later: "RenderTimes") -> "RenderTimes":
        """The history of both, `later` being the newer one."""
        return RenderTimes(
            self.count + later.count,
            exposed=[a * k + b for a, k, b in zip(self.exposed, later.kept, later.exposed, strict=True)],
            ended=[a * k + b for a, k, b in zip(self.ended, later.kept, later.ended, strict=True)],
            kept=[a * b for a, b in zip(self.kept, later.kept, strict=True)],
        )


class Estimate:
    """What is believed of a model's render time.

    `hazard[i]` is the rate at which tasks end in bin i, per bin: a task ends there with the chance
    1 - exp(-hazard[i]) if it has got that far. `hazard_before[i]` is the sum of those before bin i
    (`BIN_COUNT` + 1 values), so exp(-hazard_before[i]) is the chance to run longer than its first edge.
    """

    __slots__ = ("hazard", "hazard_before")

    def __init__(self, times: RenderTimes, *, typical: "OneTask") -> None:
        """`typical` is what the catalogue leads to expect, see `typical_task`.

        The counts are blended with a log-normal around the typical time, which fades as tasks end, and
        with the log-normal that fits the blend, which does not.
        """
        weight = max(TYPICAL_TASKS * math.exp2(-times.count / TYPICAL_HALF_LIFE_TASKS), TYPICAL_TASKS_MIN)
        exposed = [a + weight * b for a, b in zip(times.exposed, typical.exposed, strict=True)]
        ended = [a + weight * b for a, b in zip(times.ended, typical.ended, strict=True)]
        fit = log_normal_task(*_fit([b / a for a, b in zip(exposed, ended, strict=True)]))
        weight = min(FIT_TASKS_MAX, sum(ended))
        self.hazard = [
            (d + weight * fit_d) / (e + weight * fit_e)
            for e, fit_e, d, fit_d in zip(exposed, fit.exposed, ended, fit.ended, strict=True)
        ]
        self.hazard_before = [0.0, *accumulate(self.hazard)]

    def hazard_by(self, position: float) -> float:
        """The cumulative hazard up to a bin position: how often a task would have ended by then."""
        i = min(int(position), BIN_COUNT - 1)
        return self.hazard_before[i] + (position - i) * self.hazard[i]

    def chance_running(self, age_seconds: float) -> float:
        """The chance that a task runs longer than that."""
        return math.exp(-self.hazard_by(bin_position(age_seconds)))

    @property
    def sigma(self) -> float:
        """The spread of the log-normal with the same 16 %, 50 % and 84 % points."""
        return _fit(self.hazard)[1]

    @property
    def median_seconds(self) -> float:
        """The age by which half of the tasks have ended."""
        return bin_edge_seconds(_position_of_hazard(self.hazard, self.hazard_before, math.log(2.0)))

    def age_by_which_ended(self, share: float) -> float:
        """The age in seconds by which that share of the tasks has ended, above 0 and below 1."""
        wanted = -math.log1p(-share)
        return bin_edge_seconds(_position_of_hazard(self.hazard, self.hazard_before, wanted))


def mean_seconds(estimate: Estimate) -> float:
    """How long a render takes on average: of the log-normal with the same median and spread."""
    return estimate.median_seconds * math.exp(estimate.sigma**2 / 2)


class Tally:
    """What was seen since the last `take`: raw counts, cheap to add to."""

    __slots__ = ("_ended", "_surprise", "_turns", "count", "expected", "size")

    def __init__(self) -> None:
        self._surprise = Surprise()
        self._clear()

    def _clear(self) -> None:
        # `_turns[i]`: how many more tasks ran through bin i than through bin i - 1
        self._turns = [0.0] * (BIN_COUNT + 2)
        self._ended = [0.0] * BIN_COUNT
        self.count = 0
        self.size = 0
        self.expected = 0.0

    def add_running(self, estimate: Estimate, after_seconds: float, by_seconds: float) -> None:
        """A task was seen running at both ages.

        Almost every poll comes here: `bin_position` and `hazard_by` are written out.
        """
        start = stop = 0.0
        if after_seconds > SECONDS_MIN:
            start = _log(after_seconds / SECONDS_MIN) / BIN_LOG_WIDTH
            if start > _LAST_EDGE:
                start = _LAST_EDGE
        if by_seconds > SECONDS_MIN:
            stop = _log(by_seconds / SECONDS_MIN) / BIN_LOG_WIDTH
            if stop > _LAST_EDGE:
                stop = _LAST_EDGE
        i, j = int(start), int(stop)
        from_edge, to_edge = start - i, stop - j
        turns = self._turns
        turns[i] += 1.0 - from_edge
        turns[i + 1] += from_edge
        turns[j] -= 1.0 - to_edge
        turns[j + 1] -= to_edge
        if i < BIN_COUNT and j < BIN_COUNT:
            hazard, before = estimate.hazard, estimate.hazard_before
            self.expected += before[j] + to_edge * hazard[j] - (before[i] + from_edge * hazard[i])
        else:
            self.expected += estimate.hazard_by(stop) - estimate.hazard_by(start)
        self.size += 1

    def add_ended(self, estimate: Estimate, after_seconds: float, by_seconds: float) -> None:
        """A task was seen running at `after_seconds` and ended at `by_seconds`.

        It is shared out over the bins between by the present belief: one step of the self-consistent
        estimate for interval-censored times (B. W. Turnbull, "The Empirical Distribution Function with
        Arbitrarily Grouped, Censored and Truncated Data", J. R. Statist. Soc. B 38(3), 1976).
        """
        start, stop = bin_position(after_seconds), bin_position(by_seconds)
        first = min(int(start), BIN_COUNT - 1)
        last = max(first, math.ceil(stop) - 1)
        hazard, turns, ended = estimate.hazard, self._turns, self._ended
        running_at_end = math.exp(estimate.hazard_by(start) - estimate.hazard_by(stop))
        in_all = 1.0 - running_at_end
        running = 1.0
        for i in range(first, last + 1):
            width = max(0.0, min(stop, i + 1.0) - max(start, i))
            still = running * math.exp(-hazard[i] * width)
            if in_all > _TINY:
                before, after = (running - running_at_end) / in_all, (still - running_at_end) / in_all
            else:  # a surprise, or no time at all: even in log time
                before, after = (last + 1.0 - i) / (last + 1 - first), (last - i) / (last + 1.0 - first)
            passed = width * (before + after) / 2
            ended[i] += before - after
            turns[i] += passed
            turns[i + 1] -= passed
            self.expected += passed * hazard[i]
            running = still
        self.count += 1
        self.size += 1

    def take(self) -> RenderTimes:
        """The history of what was seen since the last call, which is then forgotten here."""
        surprised = self._surprise.heard(self.count, self.expected)
        half_life = HALF_LIFE_TASKS_SURPRISED if surprised else HALF_LIFE_TASKS
        decay = math.exp2(-1.0 / half_life)
        passed = [max(0.0, turns) for turns in accumulate(self._turns[:BIN_COUNT])]
        kept = [math.exp2(-tasks / half_life) for tasks in passed]
        exposed = [(1.0 - k) / (1.0 - decay) for k in kept]
        ended = [
            d * e / tasks if tasks > _TINY else d
            for d, e, tasks in zip(self._ended, exposed, passed, strict=True)
        ]
        taken = RenderTimes(self.count, exposed=exposed, ended=ended, kept=kept)
        self._clear()
        return taken


class Surprise:
    """Whether tasks have lately ended earlier or later than was believed: a sign of a changed model.

    The number of ends less the cumulative hazard that was run through is a martingale whose variance
    grows by that hazard, so the difference is measured in its square root. Both are remembered over about
    `SURPRISE_MEMORY_TASKS` ends.
    """

    __slots__ = ("_ended", "_expected")

    def __init__(self) -> None:
        self._ended = self._expected = 0.0

    def heard(self, ended: int, expected: float) -> bool:
        """Whether the news, added to what is remembered, are a surprise."""
        kept = math.exp2(-ended / SURPRISE_MEMORY_TASKS)
        self._ended = self._ended * kept + ended
        self._expected = self._expected * kept + expected
        likely = SURPRISE_SIGMAS * math.sqrt(max(self._ended, self._expected)) + SURPRISE_TASKS_MIN
        return abs(self._ended - self._expected) > likely


class OneTask(NamedTuple):
    """Expected `exposed` and `ended` of one task, bin by bin."""

    exposed: list[float]
    ended: list[float]


def typical_task(typical_seconds: float) -> OneTask:
    """What is expected of a model with that median render time before anything was seen of it."""
    exposed, ended = log_normal_task(bin_position(typical_seconds) * BIN_LOG_WIDTH, TYPICAL_SIGMA)
    even = TYPICAL_WRONG_CHANCE / BIN_COUNT
    kept = 1.0 - TYPICAL_WRONG_CHANCE
    return OneTask(exposed, [d * kept + e * even for d, e in zip(ended, exposed, strict=True)])


def log_normal_task(log_median: float, sigma: float) -> OneTask:
    """One task with a log-normal render time; `log_median` is the log of median / `SECONDS_MIN`.

    Times before the first edge count in the first bin.
    """
    scale = 1.0 / (sigma * math.sqrt(2.0))
    running = [1.0]
    running += [0.5 * math.erfc((i * BIN_LOG_WIDTH - log_median) * scale) for i in range(1, BIN_COUNT + 1)]
    exposed, ended, hazard = [], [], 0.0
    for now, then in pairwise(running):
        through = max((now + then) / 2, _TINY)
        if then > _TINY:  # beyond, the last hazard goes on: the tail has underflown
            hazard = math.log(now / then)
        exposed.append(through)
        ended.append(through * hazard)
    return OneTask(exposed, ended)


def _fit(hazard: Sequence[float]) -> tuple[float, float]:
    """Log median and sigma of the log-normal with the same 16 %, 50 % and 84 % points.

    Points instead of moments, because a few early failures and stuck tasks must not widen it.
    """
    before = [0.0, *accumulate(hazard)]
    early, middle, late = (
        _position_of_hazard(hazard, before, -math.log(running)) for running in (0.8413, 0.5, 0.1587)
    )
    return middle * BIN_LOG_WIDTH, max((late - early) / 2 * BIN_LOG_WIDTH, FIT_SIGMA_MIN)


def _position_of_hazard(hazard: Sequence[float], before: Sequence[float], wanted: float) -> float:
    """The bin position at which the cumulative hazard reaches `wanted`."""
    i = bisect_left(before, wanted, 1, BIN_COUNT) - 1
    return min(i + (wanted - before[i]) / max(hazard[i], _TINY), float(BIN_COUNT))
