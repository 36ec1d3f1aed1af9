"""Rate limits of a provider, held by each worker on its own event loop's clock."""

import asyncio
import sys
from math import floor, inf

BURST_SHARE = 20
"""A burst is at most this part of what a second allows: a twentieth."""

JITTER_SECONDS = 0.05
"""By how much less time may lie between requests where they arrive than where they left."""


ROUNDING = 1e-6
"""The part of a place by which floating point may miss a whole one."""

LOOK_AGAIN_SECONDS = 1.0
"""How long a waiter sleeps at most: the limit may have been raised meanwhile."""


class RateLimit:
    """Lets through at most `per_second` in any one second, in bursts of a twentieth; None limits nothing.

    The "virtual scheduling" form of the generic cell rate algorithm (ITU-T I.371): one number, the time at
    which the bucket would be empty. A leaky bucket admits its burst on top of its rate, so the rate is
    lowered by the burst's share; and by a little more, so that the limit also holds where the requests
    arrive. `per_second` may change at any time. Times are the event loop's, in seconds.

    Who must do something else first (commit what it will send) reserves its places: nobody else gets them,
    and each counts from the moment when it is used.
    """

    __slots__ = ("_empty_at", "_reserved", "_slack_seconds", "_step_seconds")

    def __init__(self, per_second: float | None) -> None:
        self._empty_at = 0.0
        self._reserved = 0
        self.change(per_second)

    def change(self, per_second: float | None) -> None:
        """A new limit from now on; 0 lets nothing through. What was let through before still counts."""
        self._slack_seconds = 0.0
        if per_second is None:
            self._step_seconds = 0.0
        elif per_second <= 0:
            self._step_seconds = inf
        else:
            burst = max(1.0, per_second / BURST_SHARE)
            rate = max(per_second - burst, per_second / 2) / (1 + JITTER_SECONDS)
            self._step_seconds = 1 / rate
            self._slack_seconds = (burst - 1) / rate

    @property
    def sustained_per_second(self) -> float | None:
        """What goes through in the long run; None for no limit."""
        return None if self._step_seconds == 0.0 else 1 / self._step_seconds

    def permitted_at(self, now: float) -> float:
        """When the next may go: `now`, or later. Nothing is taken by asking."""
        if self._step_seconds == 0.0:
            return now
        if self._step_seconds == inf:
            return inf
        return max(now, self._empty_at + self._reserved * self._step_seconds - self._slack_seconds)

    def reserve(self, now: float, count_max: int) -> int:
        """Keep places for as many as may go now, at most `count_max`; returns how many."""
        count = min(count_max, self._free(now))
        self._reserved += count
        return count

    def _free(self, now: float) -> int:
        if self._step_seconds == 0.0:
            return sys.maxsize
        if self._step_seconds == inf:
            return 0
        # that many steps fit between what has been taken and what may be taken by now
        steps = (now + self._slack_seconds - max(now, self._empty_at)) / self._step_seconds
        return max(0, floor(steps + ROUNDING) + 1 - self._reserved)

    def use(self, now: float) -> None:
        """One of the reserved goes now."""
        self.give_back(1)
        self.take(now)

    def give_back(self, count: int) -> None:
        """`count` of the reserved are not sent."""
        assert 0 <= count <= self._reserved, "more was given back than reserved"
        self._reserved -= count

    def take(self, now: float) -> None:
        """One goes now."""
        if 0.0 < self._step_seconds < inf:
            self._empty_at = max(self._empty_at, now) + self._step_seconds

    async def acquire(self, *, until: float = inf) -> bool:
        """Wait until one may go, and let it go; False, at once, when that is not before `until` or never."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            permitted_at = self.permitted_at(now)
            if permitted_at >= until or now >= until:
                return False
            if permitted_at <= now:
                self.take(now)
                return True
            await asyncio.sleep(min(permitted_at - now, LOOK_AGAIN_SECONDS))
