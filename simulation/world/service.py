"""The simulated video service of the world: the real simulator's core, with an ear at its door."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rushes.simulator import Outcome, SimulatorCore, SimulatorKnobs
from rushes.simulator.families.wire import Refusal
from rushes.simulator.work import SimTask

CLEAR_ENDS = (Outcome.SUCCEEDED, Outcome.OUTPUT_MODERATION, Outcome.INPUT_MODERATION, Outcome.ERROR)
"""Ends that are told by a status of the protocol: whoever hears of one has nothing more to ask."""


@dataclass(slots=True)
class Heard:
    """What the answer to one request says, when it arrives whole."""

    is_clear_end: bool = False


class Service(SimulatorCore):
    """A core that tells `on_accepted` of each task at the moment it is accepted; `told` has the verdicts
    that left it whole, by remote task id. `on_refused` hears why a submit was refused. `heard` belongs to
    the request that is handed to it next: several about one task may be under way at once."""

    def __init__(
        self,
        knobs: SimulatorKnobs,
        *,
        on_accepted: Callable[[SimTask], None],
        on_refused: Callable[[Refusal], None],
    ) -> None:
        super().__init__(knobs, base_url="http://files.invalid", started_at=0.0)
        self._on_accepted = on_accepted
        self.told: dict[str, set[Outcome]] = {}
        self.heard = Heard()
        self._on_refused = on_refused

    def _accept(self, *arguments: Any) -> SimTask | None:
        task = super()._accept(*arguments)
        if task is not None:
            self._on_accepted(task)
        return task

    def _refusal(self, *arguments: Any) -> Refusal | None:
        refusal = super()._refusal(*arguments)
        if refusal is not None:
            self._on_refused(refusal)
        return refusal

    def _tell_final(self, task: SimTask, outcome: Outcome, now: float) -> None:
        # a service that forgets and remembers again tells more than one verdict: the first to arrive counts
        self.told.setdefault(task.id, set()).add(outcome)
        self.heard.is_clear_end = outcome in CLEAR_ENDS
        super()._tell_final(task, outcome, now)

    def drop(self, task_id: str, now: float) -> bool:
        """Forget a task that has not started to render; False when it has."""
        task = self._tasks.get(task_id)
        if (
            task is None
            or task.started_at is None
            or (task.finished_at is not None and now >= task.finished_at)
        ):
            return False
        if not self._beside.queues.waits(task, now):
            return False
        task.fate = replace(task.fate, outcome=Outcome.FORGOTTEN, render_seconds=now - task.started_at)
        return True

    def be_out(self, *, start: float, seconds: float, kind: str) -> None:
        """Answer nothing from `start` on, for so long."""
        self.use(
            self.knobs.replaced(
                {"outage_start_seconds": start, "outage_seconds": seconds, "outage_kind": kind}
            )
        )
