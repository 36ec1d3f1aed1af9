"""The limits of models: how many of each are in flight, and how many were submitted within a minute."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from rushes.domain.catalogue.model import ModelLimits
from simulation.truth.broken import broken
from simulation.truth.journal import TaskRow

MINUTE_MS: Final = 60_000


class ModelRooms:
    """Counts the tasks of each model that has limits of its own, by the times that their rows carry."""

    def __init__(self, limits: Mapping[str, ModelLimits]) -> None:
        self.limits = limits
        self._in_flight: Counter[str] = Counter()
        self._sent_at_ms: dict[str, dict[int, int]] = {name: {} for name in limits}

    def changed(self, before: TaskRow, after: TaskRow) -> None:
        """A task's row has changed: a claim must have found room."""
        limits = self.limits.get(after.model)
        if limits is None:
            return
        self._in_flight[after.model] += (after.status == "processing") - (before.status == "processing")
        sent = self._sent_at_ms[after.model]
        if after.status == "pending":
            sent.pop(after.id, None)  # it has come back, and counts no more
        elif before.status == "pending" and after.dispatched_at_ms is not None:
            sent[after.id] = after.dispatched_at_ms
            self._must_have_room(after, limits, after.dispatched_at_ms)
        if after.completed_at_ms is not None and after.id in sent:
            # a clock that was an hour ahead may have dated what has ended long ago
            sent[after.id] = min(sent[after.id], after.completed_at_ms)

    def _must_have_room(self, task: TaskRow, limits: ModelLimits, now_ms: int) -> None:
        in_flight = self._in_flight[task.model]
        if limits.in_flight_tasks_max is not None and in_flight > limits.in_flight_tasks_max:
            broken("MODEL_LIMIT", f"{in_flight} of {task.model} in flight: {limits}")
        submitted = sum(at_ms > now_ms - MINUTE_MS for at_ms in self._sent_at_ms[task.model].values())
        if limits.submits_per_minute is not None and submitted > limits.submits_per_minute:
            broken("MODEL_LIMIT", f"{submitted} of {task.model} submitted within a minute: {limits}")
