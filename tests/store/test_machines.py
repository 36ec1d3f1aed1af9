"""The ledger and a task's life, played by Hypothesis against small models, on both databases."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from simulation.bugs import BUGS
from simulation.tempo import patched

from rushes.money.audit.audit import audit
from rushes.store.database import Database
from rushes.store.migrations import migrate
from tests.store.machines import LedgerMachine, TaskMachine

EXAMPLES = {"sqlite": 40, "postgresql": 12}
EXAMPLES_FOR_A_BUG = 500
"""The first that finds it ends the search."""

STEPS = 40


def play(
    machine: Callable[[Database], RuleBasedStateMachine],
    database: Database,
    *,
    seeks_planted_bug: bool = False,
) -> None:
    """Run the machine's rules in many orders over this database."""
    run_state_machine_as_test(
        lambda: machine(database),  # type: ignore[arg-type]  # any callable will do
        settings=settings(
            max_examples=EXAMPLES_FOR_A_BUG if seeks_planted_bug else EXAMPLES[database.dialect],
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=seeks_planted_bug or settings().derandomize,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,) if seeks_planted_bug else (Phase.generate, Phase.shrink),
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


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (TaskMachine, "attempt not compared"),
        (TaskMachine, "owner not compared"),
        (TaskMachine, "known task given up"),
        (LedgerMachine, "refund from the front"),
    ],
)
def test_the_machine_notices_a_planted_bug(
    machine: Callable[[Database], RuleBasedStateMachine], name: str
) -> None:
    [bug] = [bug for bug in BUGS if bug.name == name]
    with patched() as patches:
        bug.plant(patches)
        with pytest.raises(AssertionError):
            play(machine, _in_memory(), seeks_planted_bug=True)


def _in_memory() -> Database:
    database = Database("sqlite://", inline=True)
    migrate.upgrade(database)
    return database
