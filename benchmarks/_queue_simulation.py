"""A provider that renders a few tasks at a time and makes the others wait: for the poll-times benchmark."""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks._poll_simulation import QueueReporter, RenderTime, render_times
from rushes.domain.task import QUEUE_POSITION_MAX, Processing

RENDERS = Processing(None)


class Workload(NamedTuple):
    """Tasks of one provider: when each is sent, starts to render, and has ended."""

    sent_at: Sequence[float]
    start_at: Sequence[float]
    end_at: Sequence[float]

    @property
    def total_seconds(self) -> list[float]:
        """From when each is sent to its end."""
        return [end - sent for sent, end in zip(self.sent_at, self.end_at, strict=True)]

    def chance_ended(self, age_seconds: float) -> float:
        """The share of the tasks that have ended by that age."""
        return sum(total <= age_seconds for total in self.total_seconds) / len(self.sent_at)

    @property
    def wait_seconds(self) -> float:
        """The mean wait for the start."""
        return sum(self.start_at) / len(self.start_at) - sum(self.sent_at) / len(self.sent_at)


def together(works: Sequence[Workload]) -> Workload:
    """All of them, for means and shares."""
    columns = ([at for work in works for at in work[i]] for i in range(3))
    return Workload(*columns)


def bursts(tasks: int, *, size: int, every_seconds: float) -> list[float]:
    """When tasks are sent, `size` of them at once, 20 a second."""
    return [every_seconds * (number // size) + 0.05 * (number % size) for number in range(tasks)]


def rendered(sent_at: Sequence[float], time: RenderTime, *, at_once: int, seed: int) -> Workload:
    """The provider renders `at_once` tasks at a time, in the order in which they were sent."""
    free_at, start_at, end_at = [0.0] * at_once, [], []
    seconds = render_times([(len(sent_at), time)], seed=seed)
    for sent, render_seconds in zip(sent_at, seconds, strict=True):
        start = max(sent, heapq.heappop(free_at))
        heapq.heappush(free_at, start + render_seconds)
        start_at.append(start)
        end_at.append(start + render_seconds)
    return Workload(sent_at, start_at, end_at)


def reporters(workload: Workload) -> Mapping[str, QueueReporter | None]:
    """What the provider says, from honest to invented."""
    sent_at, start_at, _ = workload

    def ahead(number: int, now: float) -> int:
        return bisect_left(start_at, start_at[number]) - bisect_right(start_at, now)

    def waiting(position: Callable[[int, float], int | None]) -> QueueReporter:
        def report(number: int, now: float) -> Processing:
            if now >= start_at[number]:
                return RENDERS
            return Processing(None, is_queued=True, queue_position=position(number, now))

        return report

    def always(position: Callable[[int, float], int | None]) -> QueueReporter:
        return lambda number, now: Processing(None, is_queued=True, queue_position=position(number, now))

    def noise(number: int) -> int:
        return number * 2654435761 % 2**32

    def flapping(number: int, now: float) -> Processing:
        return RENDERS if int(now) % 2 else Processing(None, is_queued=True)

    return {
        "no queue reported": None,
        "honest position": waiting(ahead),
        "position within 2 times": waiting(lambda n, now: int(ahead(n, now) * 2 ** (noise(n) / 2**31 - 1))),
        "that it waits, no position": waiting(lambda _n, _now: None),
        "0 while it waits": waiting(lambda _n, _now: 0),
        "0 until it is done": always(lambda _n, _now: 0),
        "waits until it is done": always(lambda _n, _now: None),
        "stuck where it was sent": always(lambda n, _now: ahead(n, sent_at[n])),
        "growing with the age": always(lambda n, now: int(now - sent_at[n])),
        "at random": always(lambda n, now: noise(n + int(now)) % 100),
        "the greatest there is": always(lambda _n, _now: QUEUE_POSITION_MAX),
        "waits and renders by turns": flapping,
    }
