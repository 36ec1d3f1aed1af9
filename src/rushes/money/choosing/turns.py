"""When a task that waits has its turn at a provider which takes only some at a time.

What is at the provider keeps its place for as long as its model's renders take on average; what waits there
comes first. So a choice of lanes counts the wait for a turn, and never takes a cheap lane whose long renders
would leave the items behind it too late.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.model import Model
from rushes.domain.forecast import Pace
from rushes.domain.polling.render_times import SECONDS_MAX, Estimate, mean_seconds
from rushes.store import render_times
from rushes.store.tasks import waiting
from rushes.store.tasks.waiting import AtProvider

LATE_FACTOR: Final = 2.0
"""How much longer than its median a render takes in 95 of 100 cases, as long as nothing was learned."""

LEARNED_SHARE: Final = 0.99
"""Up to this part of the longest age that is learned, what was learned is all that counts."""

LEFT_SHARE: Final = 0.25
"""What is still to come, of the average, of a render that has taken longer than that already."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long a model's renders keep their places on average, and by what age 95 of 100 have ended."""

    mean_seconds: float
    late_seconds: float

    def left_seconds(self, age_seconds: float) -> float:
        """How much longer a render of that age keeps its place."""
        return max(self.mean_seconds - age_seconds, LEFT_SHARE * self.mean_seconds)


UNLISTED: Final = Times(300.0, 600.0)
"""Of a model that has left the catalogue."""


def believed(model: Model, estimate: Estimate | None = None) -> Times:
    """What was learned of the model, or what its catalogue's median leads to expect.

    Of renders that take longer than can be learned, the catalogue's time counts if it is longer.
    """
    median = model.render_time_p50_seconds
    typical = Times(median, LATE_FACTOR * median)
    if estimate is None:
        return typical
    late = estimate.age_by_which_ended(render_times.LATE_SHARE)
    mean = mean_seconds(estimate)
    if late < LEARNED_SHARE * SECONDS_MAX:
        return Times(mean, late)
    return Times(max(mean, typical.mean_seconds), max(late, typical.late_seconds))


def times_of(connection: Connection, catalogue: Catalogue) -> Callable[[Model], Times]:
    """What is believed of each model now."""
    learned = {
        model.name: believed(model, estimate)
        for model, estimate in render_times.estimates(connection, catalogue)
    }
    return lambda model: learned.get(model.name) or believed(model)


class Turns:
    """One batch's turns at a provider, by its places and its rate; times are seconds from now.

    `ends_in_seconds` are when those end that are there. Between two tasks of the batch `between` of others
    have their turns, `others` in all, which keep their places for `others_seconds`.
    """

    __slots__ = ("_between", "_free", "_next", "_others", "_others_seconds", "_step")

    def __init__(
        self,
        pace: Pace,
        ends_in_seconds: Iterable[float] = (),
        *,
        others: int = 0,
        others_seconds: float = 0.0,
        between: int = 0,
    ) -> None:
        self._step = 1 / pace.submits_per_second if pace.submits_per_second else 0.0
        self._next = 0.0
        self._others, self._others_seconds, self._between = others, others_seconds, between
        self._free: list[float] | None = None
        if places := pace.in_flight_tasks_max:
            ends = sorted(ends_in_seconds)
            # of more than there are places for, the first ends free none
            self._free = [0.0] * (places - len(ends)) + ends[max(0, len(ends) - places) :]

    def start_seconds(self) -> float:
        """When the batch's next task is sent."""
        return self._next if self._free is None else max(self._next, self._free[0])

    def take(self, seconds: float) -> None:
        """The next task is sent and keeps its place for that long; those of others come after it."""
        self._take(seconds)
        for _ in range(min(self._between, self._others)):
            self._take(self._others_seconds)
            self._others -= 1

    def _take(self, seconds: float) -> None:
        start = self.start_seconds()
        self._next = start + self._step
        if self._free is not None:
            heapq.heapreplace(self._free, start + seconds)

    def after(self, seconds: float) -> "Turns":
        """The turns once one more was taken for that long; these stay as they are."""
        other = copy(self)
        other._free = None if self._free is None else list(self._free)
        other.take(seconds)
        return other

    def all_start_by(self, by_seconds: float, *, count: int, each_seconds: float) -> bool:
        """Whether that many tasks, which keep their places for `each_seconds`, all start by then."""
        if count <= 0:
            return True
        others = min(self._others, count * self._between)
        if self._next + (count + others - 1) * self._step > by_seconds:
            return False
        if self._free is None:
            return True
        each = max(each_seconds, 1e-9)
        turns = sum(int((by_seconds - at) / each) + 1 for at in self._free if at <= by_seconds)
        return turns >= count + others * self._others_seconds / each


NO_LIMITS: Final = Turns(Pace())
"""Everything starts at once."""


@dataclass(frozen=True, slots=True)
class Queues:
    """What waits for each provider that limits anything, and what is there."""

    paces: Mapping[str, Pace]
    groups: Sequence[AtProvider]
    seconds: Callable[[AtProvider], float]
    """How long one of the group keeps its place from now on, or once it is sent."""

    def turns(self, batch_id: int | None, account_id: int | None) -> dict[str, Turns]:
        """The batch's turns behind what of its own waits; those of a new one without an id.

        Accounts take turns, and the batches of each do, as `rushes.run.lane.fairness` serves them.
        """
        found: dict[str, Turns] = {}
        for name, pace in self.paces.items():
            here = [group for group in self.groups if group.provider == name]
            there = [group for group in here if group.at_ms is not None]
            waiting = [group for group in here if group.at_ms is None]
            others = [group for group in waiting if group.batch_id != batch_id]
            accounts = {group.account_id for group in others} - {account_id}
            siblings = {group.batch_id for group in others if group.account_id == account_id}
            count = sum(group.task_count for group in others)
            turns = Turns(
                pace,
                [self.seconds(group) for group in there for _ in range(group.task_count)],
                others=count,
                others_seconds=sum(self.seconds(group) * group.task_count for group in others)
                / max(1, count),
                between=(len(accounts) + 1) * (len(siblings) + 1) - 1,
            )
            for group in waiting:
                for _ in range(group.task_count if group.batch_id == batch_id else 0):
                    turns.take(self.seconds(group))
            found[name] = turns
        return found


NO_QUEUES: Final = Queues({}, (), lambda _group: 0.0)


def queues_of(
    connection: Connection,
    catalogue: Catalogue,
    paces: Mapping[str, Pace],
    times: Callable[[Model], Times],
    now_ms: int,
) -> Queues:
    """What stands at the providers now."""
    limited = {
        name: pace for name, pace in paces.items() if pace.in_flight_tasks_max or pace.submits_per_second
    }

    def seconds(group: AtProvider) -> float:
        model = catalogue.find(group.model)
        known = UNLISTED if model is None else times(model)
        return known.left_seconds(0.0 if group.at_ms is None else max(0.0, (now_ms - group.at_ms) / 1000))

    return Queues(limited, waiting.open_at_providers(connection) if limited else (), seconds)
