"""The simulated video service of the world: the real simulator's core, with an ear at its door."""

from collections.abc import Callable
from typing import Any

from rushes.providers.simulator import Outcome, SimulatorCore, SimulatorKnobs
from rushes.providers.simulator.work import SimTask


class Service(SimulatorCore):
    """A core that tells `on_accepted` of each task at the moment it is accepted; `told` has the verdicts
    that left it whole, by remote task id."""

    def __init__(self, knobs: SimulatorKnobs, *, on_accepted: Callable[[SimTask], None]) -> None:
        super().__init__(knobs, base_url="http://files.invalid", started_at=0.0)
        self._on_accepted = on_accepted
        self.told: dict[str, set[Outcome]] = {}

    def _accept(self, *arguments: Any) -> SimTask | None:
        task = super()._accept(*arguments)
        if task is not None:
            self._on_accepted(task)
        return task

    def _tell_final(self, task: SimTask, outcome: Outcome, now: float) -> None:
        # a service that forgets and remembers again tells more than one verdict: the first to arrive counts
        self.told.setdefault(task.id, set()).add(outcome)
        super()._tell_final(task, outcome, now)

    def be_out(self, *, start: float, seconds: float, kind: str) -> None:
        """Answer nothing from `start` on, for so long."""
        self.use(
            self.knobs.replaced(
                {"outage_start_seconds": start, "outage_seconds": seconds, "outage_kind": kind}
            )
        )
