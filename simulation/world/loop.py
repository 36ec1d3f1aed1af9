"""An event loop in virtual time: when nothing is left to run, the clock jumps to the next timer.

It never sleeps, polls no file descriptor and starts no thread. Callbacks run in the order in which they
were scheduled, so a run is a function of its seed. Every callback that belongs to a simulated process
passes that process's gate, which can stop the process for a while or for ever between any two awaits.
"""

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

CANCELLED_TIMERS_MAX = 2000
"""Cancelled timers that may lie in the heap before it is rebuilt, if they are most of it."""


class Gate(Protocol):
    """What decides whether a simulated process runs its next step."""

    def admits(self, handle: asyncio.Handle) -> bool:
        """Whether the step may run now; a process that is only paused keeps it for later."""
        ...


GATE: contextvars.ContextVar[Gate | None] = contextvars.ContextVar("GATE", default=None)
"""The process that the running code belongs to; every task inherits it from the one that made it."""


class NothingLeft(RuntimeError):
    """The loop waits for something that no timer will bring: the simulation itself is stuck."""


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number, so that sets of tasks have the same order in every run."""

    _numbers = itertools.count()

    def __init__(self, coroutine: Coroutine[Any, Any, Any], **kwargs: Any) -> None:
        self.number = next(self._numbers)
        context = kwargs.get("context")
        self.gate = GATE.get() if context is None else context.get(GATE)
        super().__init__(coroutine, **kwargs)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


def _numbered(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **kwargs: Any
) -> NumberedTask:
    return NumberedTask(coroutine, loop=loop, **kwargs)


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one simulated world. `time()` starts at 0 and counts virtual seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual_now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle | asyncio.Future[None]]] = []
        self._timers_made = 0
        self._timers_cancelled = 0
        self.steps = 0
        NumberedTask._numbers = itertools.count()
        self.set_task_factory(_numbered)  # type: ignore[arg-type]  # plain coroutines only

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_now

    def call_at(  # type: ignore[override]  # not generic over the arguments
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Like asyncio's; equal times keep the order of the calls."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        handle._scheduled = True  # type: ignore[attr-defined]
        self._timers_made += 1
        heapq.heappush(self._timers, (when, self._timers_made, handle))
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Like asyncio's."""
        return self.call_at(self._virtual_now + delay, callback, *args, context=context)

    def run_again(self, handles: list[asyncio.Handle]) -> None:
        """Put steps that a gate has kept back into the queue."""
        self._ready.extend(handles)  # type: ignore[attr-defined]

    async def pause(self, seconds: float) -> None:
        """`asyncio.sleep` at half the cost: its future itself lies among the timers.

        One whose sleeper was cancelled rings for nobody.
        """
        woken: asyncio.Future[None] = asyncio.Future(loop=self)
        self._timers_made += 1
        heapq.heappush(self._timers, (self._virtual_now + seconds, self._timers_made, woken))
        await woken

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Like asyncio's, without its checks."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if not handle._scheduled:  # type: ignore[attr-defined]
            return
        self._timers_cancelled += 1
        if self._timers_cancelled > max(CANCELLED_TIMERS_MAX, len(self._timers) // 2):
            self._timers = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._timers_cancelled = 0

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        timers = self._timers
        if not ready:
            while timers and timers[0][2].cancelled():
                heapq.heappop(timers)
            if not timers:
                raise NothingLeft("nothing is scheduled any more")
            self._virtual_now = max(self._virtual_now, timers[0][0])
        while timers and timers[0][0] <= self._virtual_now:
            due = heapq.heappop(timers)[2]
            if due.cancelled():
                continue
            if isinstance(due, asyncio.TimerHandle):
                due._scheduled = False  # type: ignore[attr-defined]
                ready.append(due)
            else:
                due.set_result(None)
        steps = 0
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            gate = handle._context.get(GATE)
            if gate is None or gate.admits(handle):
                steps += 1
                handle._run()
        self.steps += steps
