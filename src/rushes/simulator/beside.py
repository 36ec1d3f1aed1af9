"""What a service has beside submits and polls: queues, cancels, finds by the client's key, and tokens."""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from rushes.simulator.draws import Lane, seed_of
from rushes.simulator.families.wire import CancelCall, Cancelling, FindCall, Wire
from rushes.simulator.faults import UNHANDLED, Fault, FaultTable, struck
from rushes.simulator.knobs import SimulatorKnobs
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.report import Counts
from rushes.simulator.work import SimTask, TaskView

WAITING_PROGRESS: float = 5
"""Without queues, a task is said to wait, and can be cancelled, up to this progress in per cent."""


@dataclass(slots=True)
class _Queue:
    waiting: deque[SimTask] = field(default_factory=deque)
    ends: list[float] = field(default_factory=list)
    """When the rendering ones end; a heap."""
    stuck: int = 0
    accepted: int = 0
    left: int = 0
    """The place of the last one that left it; places count from 1."""


class Queues:
    """Starts tasks: at once without a limit, else when one of the model's has ended."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str], _Queue] = {}
        self.running_max: int | None = None

    def add(self, task: SimTask, now: float) -> list[SimTask]:
        """A task was accepted; returns those that start now."""
        if self.running_max is None:
            task.started_at = now
            return [task]
        queue = self._queues.setdefault((task.wire, task.model), _Queue())
        queue.accepted += 1
        task.place = queue.accepted
        queue.waiting.append(task)
        return list(self.advance(now))

    def advance(self, now: float) -> Iterator[SimTask]:
        """Start what may have started by now, each at the time when its place became free."""
        for queue in self._queues.values():
            while queue.waiting:
                at = self._free_at(queue, now)
                if at is None:
                    break
                task = queue.waiting.popleft()
                queue.left = task.place
                if task.cancelled_at is not None:
                    continue
                task.started_at = max(at, task.submitted_at)
                if task.finished_at is None:
                    queue.stuck += 1
                else:
                    heapq.heappush(queue.ends, task.finished_at)
                yield task

    def _free_at(self, queue: _Queue, now: float) -> float | None:
        """Since when there is a place, None without one."""
        if self.running_max is None:
            return now
        free_since = 0.0
        while len(queue.ends) + queue.stuck >= self.running_max:
            if not queue.ends or queue.ends[0] > now:
                return None
            free_since = heapq.heappop(queue.ends)
        return free_since

    def waits(self, task: SimTask, now: float) -> bool:
        """Whether the service has not started it."""
        if task.started_at is None:
            return True
        return self.running_max is None and task.progress_at(now) < WAITING_PROGRESS

    def position(self, task: SimTask) -> int:
        """How many wait before it; those that were cancelled are counted until their turn."""
        queue = self._queues.get((task.wire, task.model))
        return 0 if queue is None else max(0, task.place - queue.left - 1)

    def cancel(self, task: SimTask, now: float, counts: Counts, *, with_running: bool) -> Cancelling:
        """End a task that waits and, `with_running`, one that renders."""
        if task.finished_at is not None and now >= task.finished_at:
            return Cancelling.ENDED
        if self.waits(task, now):
            counts.cancelled_waiting += 1
        elif with_running:
            counts.cancelled_running += 1
        else:
            return Cancelling.RUNNING
        task.cancelled_at = now
        return Cancelling.DONE


class Beside:
    """The tables and draws of one service for these."""

    def __init__(self, counts: Counts) -> None:
        self.queues = Queues()
        self._counts = counts
        self._by_key: dict[tuple[str, str], SimTask] = {}
        self._tokens: dict[str, float] = {}

    def use(self, knobs: SimulatorKnobs) -> None:
        """Take these knobs from now on."""
        self._knobs = knobs
        self._cancel_faults, self._find_faults = FaultTable("cancel", knobs), FaultTable("find", knobs)
        self.queues.running_max = knobs.running_tasks_max

    # --- who may ask

    def admits(self, wire: Wire, request: SimRequest, now: float) -> bool:
        """Whether the request's key, or its token, is good."""
        if wire.token_path:
            ends_at = self._tokens.get(wire.key(request) or "", -math.inf)
            return request.path == wire.token_path or now < ends_at
        return not self._knobs.api_key or wire.key(request) == self._knobs.api_key

    def grant(self, now: float) -> SimResponse:
        """A new token, which ends; so do all that have ended."""
        self._tokens = {token: ends_at for token, ends_at in self._tokens.items() if now < ends_at}
        self._counts.tokens += 1
        token = f"ya29.{seed_of(self._knobs.seed, 'token', self._counts.tokens):016x}"
        self._tokens[token] = now + self._knobs.token_seconds
        granted = {"access_token": token, "expires_in": self._knobs.token_seconds, "token_type": "Bearer"}
        return SimResponse(200, msgspec.json.encode(granted))

    # --- by the client's key

    def knows(self, wire: Wire, submit_key: str) -> bool:
        """Whether a task was submitted by that key."""
        return (wire.name, submit_key) in self._by_key

    def note(self, task: SimTask) -> None:
        """The task can be asked for by its key, if it has one."""
        if task.submit_key:
            self._by_key[task.wire, task.submit_key] = task

    def forget(self, task: SimTask) -> None:
        """The task is gone."""
        self._by_key.pop((task.wire, task.submit_key), None)

    def find(
        self, wire: Wire, call: FindCall, now: float, view_of: Callable[[SimTask, float], TaskView]
    ) -> SimResponse:
        """The answer to a question by the client's key."""
        task, number = self._by_key.get((wire.name, call.submit_key)), self._counts.finds
        self._counts.finds += 1
        if task is not None:
            task.finds += 1
            number = task.finds
        fault = self._find_faults.draw(
            seed_of(self._knobs.seed, "find", call.submit_key), Lane.FIND_FAULT, number
        )
        if task is not None and now - task.submitted_at < self._knobs.find_lag_seconds:
            task = None
        return self._struck("find", fault, wire.found(call, None if task is None else view_of(task, now)))

    # --- cancels

    def cancel(self, wire: Wire, call: CancelCall, task: SimTask | None, now: float) -> SimResponse:
        """The answer to a cancel, and its effect."""
        self._counts.cancels += 1
        if task is None or task.wire != wire.name:
            return wire.cancelled(call, Cancelling.NO_SUCH_TASK)
        task.cancels += 1
        fault = self._cancel_faults.draw(task.seed, Lane.CANCEL_FAULT, task.cancels)
        came_to = Cancelling.RUNNING
        if fault not in UNHANDLED:
            with_running = wire.cancels_running_tasks
            came_to = self.queues.cancel(task, now, self._counts, with_running=with_running)
        return self._struck("cancel", fault, wire.cancelled(call, came_to))

    def _struck(self, kind: str, fault: Fault | None, answer: SimResponse) -> SimResponse:
        if fault is None:
            return answer
        self._counts.faults[f"{kind}_{fault.value}"] += 1
        return struck(fault, answer, knobs=self._knobs, variant=self._counts.requests)
