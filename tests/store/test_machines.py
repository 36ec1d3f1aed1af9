"""The ledger and a task's life, played by Hypothesis against small models, on both databases."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from rushes.domain.credits import Part, Reservation, ResolutionKind
from rushes.engine.audit import audit
from rushes.store import migrate, tasks
from rushes.store.database import Database
from tests.store.machines import LedgerMachine, TaskMachine

EXAMPLES = {"sqlite": 40, "postgresql": 12}
STEPS = 40


def play(
    machine: Callable[[Database], RuleBasedStateMachine], database: Database, *, shrinks: bool = True
) -> None:
    """Run the machine's rules in many orders over this database."""
    run_state_machine_as_test(
        lambda: machine(database),  # type: ignore[arg-type]  # any callable will do
        settings=settings(
            max_examples=EXAMPLES[database.dialect],
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink) if shrinks else (Phase.generate,),
            report_multiple_bugs=False,
        ),
    )


@pytest.mark.parametrize("machine", [LedgerMachine, TaskMachine])
def test_no_order_of_steps_leaves_the_model(
    database: Database, machine: Callable[[Database], RuleBasedStateMachine]
) -> None:
    play(machine, database)
    report = database.run_reading(audit)
    assert report.ok, report.violations[:3]
    assert report.tasks > 0


def test_the_task_machine_notices_that_the_attempt_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tasks,
        "_still_at_attempt",
        lambda _connection: "video_tasks.id = v.id AND +video_tasks.status = 'processing'",
    )
    with pytest.raises(AssertionError):
        play(TaskMachine, _in_memory(), shrinks=False)


def test_the_ledger_machine_notices_a_refund_unwound_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refund(self: Reservation, amount: int) -> list[Part]:
        return self._resolve(amount, self.lines, ResolutionKind.REFUND)

    monkeypatch.setattr(Reservation, "refund", refund)
    with pytest.raises(AssertionError):
        play(LedgerMachine, _in_memory(), shrinks=False)


def _in_memory() -> Database:
    database = Database("sqlite://", inline=True)
    migrate.upgrade(database)
    return database
