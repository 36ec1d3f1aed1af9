"""Callbacks: what is sent, when, and the lies among them."""

import dataclasses
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from rushes.simulator.draws import Lane, digest_of, uniform
from rushes.simulator.families.wire import Wire
from rushes.simulator.fate import Outcome
from rushes.simulator.knobs import SimulatorKnobs
from rushes.simulator.work import SimTask, TaskView


class CallbackKind(Enum):
    """Why a callback is sent."""

    PROGRESS = "progress"
    FINAL = "final"
    LATE = "late"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    FORGED_RESULT = "forged_result"
    """The task's own id with an outcome and a URL that are not its own."""
    FORGED_ID = "forged_id"
    """The id of a task that does not exist."""


@dataclass(frozen=True, slots=True)
class Callback:
    """One POST to make: JSON `body` to `url`, at `due_at` on the core's clock."""

    due_at: float
    url: str
    body: bytes
    task_id: str
    kind: CallbackKind


def plan_callbacks(task: SimTask, knobs: SimulatorKnobs) -> Iterator[tuple[float, CallbackKind]]:
    """When to send what for this task, decided when it starts."""
    delay, seed = knobs.callback_delay_seconds, task.seed
    started_at = task.submitted_at if task.started_at is None else task.started_at
    half_way = started_at + task.fate.render_seconds / 2 + delay
    if task.callback_progress and knobs.callback_progress:
        yield half_way, CallbackKind.PROGRESS
    if uniform(seed, Lane.CALLBACK_FORGED) < knobs.callback_forged:
        is_own = uniform(seed, Lane.CALLBACK_FORGERY) < 0.5
        yield half_way, CallbackKind.FORGED_RESULT if is_own else CallbackKind.FORGED_ID
    if task.finished_at is None or uniform(seed, Lane.CALLBACK_LOST) < knobs.callback_lost:
        return
    final_at, kind = task.finished_at + delay, CallbackKind.FINAL
    if uniform(seed, Lane.CALLBACK_LATE) < knobs.callback_late:
        final_at, kind = final_at + knobs.callback_late_seconds, CallbackKind.LATE
    yield final_at, kind
    if uniform(seed, Lane.CALLBACK_DUPLICATE) < knobs.callback_duplicate:
        yield final_at + delay, CallbackKind.DUPLICATE
    if uniform(seed, Lane.CALLBACK_OUT_OF_ORDER) < knobs.callback_out_of_order:
        yield final_at + 2 * delay, CallbackKind.OUT_OF_ORDER


def forged_id(task: SimTask) -> str:
    """An id that no task has."""
    return f"forged-{digest_of('forged', task.id).hex()}"


def forged_outcome(task: SimTask) -> Outcome:
    """What a forged callback claims: the opposite of the truth."""
    return Outcome.ERROR if task.fate.outcome is Outcome.SUCCEEDED else Outcome.SUCCEEDED


def callback_body(
    wire: Wire, task: SimTask, kind: CallbackKind, *, forged_url: str, honest: Callable[[], TaskView]
) -> bytes | None:
    """What a callback of this kind says, in the wire's words; `honest()` is how the task really stands."""
    match kind:
        case CallbackKind.FORGED_RESULT | CallbackKind.FORGED_ID:
            is_own = kind is CallbackKind.FORGED_RESULT
            posed = task if is_own else dataclasses.replace(task, id=forged_id(task))
            outcome = forged_outcome(task)
            url = forged_url if outcome is Outcome.SUCCEEDED else None
            return wire.callback_body(TaskView(posed, outcome, 100, video_url=url))
        case CallbackKind.PROGRESS | CallbackKind.OUT_OF_ORDER:
            return wire.callback_body(TaskView(task, None, 50))
        case CallbackKind.FINAL | CallbackKind.LATE | CallbackKind.DUPLICATE:
            return wire.callback_body(honest())


class CallbackQueue:
    """Planned callbacks by time; equal times keep the order of planning."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, CallbackKind]] = []
        self._planned = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_at(self) -> float | None:
        """When the next one is due."""
        return self._heap[0][0] if self._heap else None

    def plan(self, task: SimTask, knobs: SimulatorKnobs) -> None:
        """Add those of a task that starts, if it wants any."""
        if task.callback_url is not None and knobs.callbacks:
            for due_at, kind in plan_callbacks(task, knobs):
                self._planned += 1
                heapq.heappush(self._heap, (due_at, self._planned, task.id, kind))

    def take_due(
        self,
        now: float,
        tasks: Mapping[str, SimTask],
        body_of: Callable[[SimTask, CallbackKind, float], bytes | None],
        counts: Counter[str],
    ) -> Iterator[Callback]:
        """Remove and give all that are due and that have words, counted by kind."""
        while self._heap and self._heap[0][0] <= now:
            due_at, _, task_id, kind = heapq.heappop(self._heap)
            task = tasks.get(task_id)
            if task is None or task.callback_url is None:
                continue
            body = body_of(task, kind, due_at)
            if body is not None:
                counts[kind.value] += 1
                yield Callback(due_at, task.callback_url, body, task_id, kind)
