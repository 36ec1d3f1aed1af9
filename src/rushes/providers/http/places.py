"""Places for requests: how many may be under way, and who waits for one."""

import asyncio
from collections import deque
from typing import Final, NamedTuple

from rushes.providers.http.transport import TransportError

KEPT_SHARE: Final = 8
"""Of this many places one is kept for submits and one for everything else, so that neither shuts out the
other: polls may be slow and many, and a submit is committed before it leaves."""


class _Waiter(NamedTuple):
    number: int
    until: float
    place: asyncio.Future[None]


class Places:
    """`places_max` of them, given first come, first served; but no kind of request may have the last few.

    Every place that was taken must be given back, once. Times are the event loop's, in seconds.
    """

    def __init__(self, places_max: int) -> None:
        self.each_max = places_max - places_max // KEPT_SHARE
        self._free = places_max
        self._taken = {True: 0, False: 0}
        self._waiting: dict[bool, deque[_Waiter]] = {True: deque(), False: deque()}
        self._waited = 0

    def take_if_free(self, *, is_submit: bool) -> bool:
        """Take one now, or say that there is none."""
        if self._free <= 0 or self._taken[is_submit] >= self.each_max:
            return False
        self._free -= 1
        self._taken[is_submit] += 1
        return True

    async def take(self, *, is_submit: bool, until: float) -> None:
        """Wait for one. Raises `TransportError` when `until` comes first, see `expire`."""
        if self.take_if_free(is_submit=is_submit):
            return
        self._waited += 1
        waiter = _Waiter(self._waited, until, asyncio.get_running_loop().create_future())
        self._waiting[is_submit].append(waiter)
        try:
            await waiter.place
        except asyncio.CancelledError:
            place = waiter.place
            if place.done() and not place.cancelled() and place.exception() is None:
                self.give(is_submit=is_submit)
            raise

    def are_waited_for(self, *, by_submits_alone: bool) -> bool:
        """Whether a submit, or anybody, waits for one."""
        return bool(self._waiting[True]) or (not by_submits_alone and bool(self._waiting[False]))

    def give(self, *, is_submit: bool) -> None:
        """Give one back: to whoever has waited longest and may have it."""
        self._free += 1
        self._taken[is_submit] -= 1
        while (kind := self._next()) is not None:
            waiter = self._waiting[kind].popleft()
            if not waiter.place.done():
                self.take_if_free(is_submit=kind)
                waiter.place.set_result(None)
                return

    def _next(self) -> bool | None:
        first = [
            (queue[0].number, kind)
            for kind, queue in self._waiting.items()
            if queue and self._taken[kind] < self.each_max
        ]
        return min(first)[1] if first else None

    def expire(self, now: float) -> bool:
        """Fail those who have waited for too long; tells whether somebody waits still."""
        for queue in self._waiting.values():
            for waiter in queue:
                if waiter.until <= now and not waiter.place.done():
                    waiter.place.set_exception(_none("no connection became free in time"))
            while queue and queue[0].place.done():
                queue.popleft()
        return any(self._waiting.values())

    def close(self, reason: str) -> None:
        """Fail all who wait."""
        for queue in self._waiting.values():
            for waiter in queue:
                if not waiter.place.done():
                    waiter.place.set_exception(_none(reason))


def _none(reason: str) -> TransportError:
    return TransportError(reason, may_have_been_received=False)
