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


class Step:
    """A callback and its arguments, to be called once: what of asyncio's `Handle` a simulation needs."""

    __slots__ = ("args", "callback", "context", "is_cancelled")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        self.callback, self.args, self.is_cancelled = callback, args, False
        self.context = contextvars.copy_context() if context is None else context

    def cancel(self) -> None:
        """It is not called any more."""
        self.is_cancelled = True


class Timer(Step):
    """A step of a later time, which lies among the loop's timers until then."""

    __slots__ = ("is_waiting", "loop")
    is_waiting: bool
    loop: "VirtualLoop"

    def cancel(self) -> None:
        """It is not called any more."""
        if self.is_waiting and not self.is_cancelled:
            self.loop.timer_cancelled()
        self.is_cancelled = True

    def done(self) -> bool:
        """Whether it rings for nobody, as a future says it."""
        return self.is_cancelled


class Gate(Protocol):
    """What decides whether a simulated process runs its next step."""

    def admits(self, step: Step) -> bool:
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


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one simulated world. `time()` starts at 0 and counts virtual seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual_now = 0.0
        self._timers: list[tuple[float, int, Timer | asyncio.Future[None]]] = []
        self._timers_made = 0
        self._timers_cancelled = 0
        self.steps = 0
        NumberedTask._numbers = itertools.count()

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_now

    def create_task(  # type: ignore[override]  # plain coroutines only
        self,
        coroutine: Coroutine[Any, Any, Any],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> NumberedTask:
        """Like asyncio's; the task has a number."""
        return NumberedTask(coroutine, loop=self, name=name, context=context)

    def call_at(  # type: ignore[override]  # not generic over the arguments
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Timer:
        """Like asyncio's; equal times keep the order of the calls."""
        timer = Timer(callback, args, context)
        timer.loop, timer.is_waiting = self, True
        self._timers_made += 1
        heapq.heappush(self._timers, (when, self._timers_made, timer))
        return timer

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Timer:
        """Like asyncio's."""
        return self.call_at(self._virtual_now + delay, callback, *args, context=context)

    def run_again(self, steps: list[Step]) -> None:
        """Put steps that a gate has kept back into the queue."""
        self._ready.extend(steps)  # type: ignore[attr-defined]

    def pause(self, seconds: float) -> asyncio.Future[None]:
        """`asyncio.sleep` at a third of the cost, to be awaited: its future itself lies among the timers.

        One whose sleeper was cancelled rings for nobody.
        """
        woken: asyncio.Future[None] = asyncio.Future(loop=self)
        self._timers_made += 1
        heapq.heappush(self._timers, (self._virtual_now + seconds, self._timers_made, woken))
        return woken

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Step:
        """Like asyncio's, without its checks."""
        step = Step(callback, args, context)
        self._ready.append(step)  # type: ignore[attr-defined]
        return step

    def timer_cancelled(self) -> None:
        """One of the timers rings for nobody any more."""
        self._timers_cancelled += 1
        if self._timers_cancelled > max(CANCELLED_TIMERS_MAX, len(self._timers) // 2):
            self._timers[:] = [entry for entry in self._timers if not entry[2].done()]
            heapq.heapify(self._timers)
            self._timers_cancelled = 0

    def _run_once(self) -> None:
        """Round after round until the loop is stopped: first the timers that are due, then what is ready."""
        ready = self._ready  # type: ignore[attr-defined]
        timers = self._timers
        while True:
            if not ready:
                while timers and timers[0][2].done():
                    heapq.heappop(timers)
                if not timers:
                    raise NothingLeft("nothing is scheduled any more")
                self._virtual_now = max(self._virtual_now, timers[0][0])
            while timers and timers[0][0] <= self._virtual_now:
                due = heapq.heappop(timers)[2]
                if due.done():
                    continue
                if isinstance(due, Timer):
                    due.is_waiting = False
                    ready.append(due)
                else:
                    due.set_result(None)
            for _ in range(len(ready)):
                step = ready.popleft()
                if step.is_cancelled:
                    continue
                context = step.context
                gate = context.get(GATE)
                if gate is None or gate.admits(step):
                    self.steps += 1
                    try:
                        context.run(step.callback, *step.args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:
                        what = f"Exception in callback {step.callback!r}"
                        self.call_exception_handler({"message": what, "exception": error})
            if self._stopping:  # type: ignore[attr-defined]
                return
