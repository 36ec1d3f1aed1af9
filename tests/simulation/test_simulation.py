"""The engine under simulated faults: a small, fixed budget of what `make simulate` runs at length."""

import pytest
from simulation.run import plan_of, run
from simulation.world.kinds import Fault, SwappedAnswers, Weather

SEEDS = range(1, 9)
TASKS = 60


@pytest.mark.parametrize("seed", SEEDS)
def test_no_promise_is_broken_under_this_seeds_faults(seed: int) -> None:
    result = run(seed, tasks=TASKS)
    assert result.violation is None, result.message
    assert result.settled + result.refunded > 0


def test_the_same_seed_replays_exactly() -> None:
    assert run(3, tasks=TASKS).fingerprint == run(3, tasks=TASKS).fingerprint


def test_the_lean_connection_gives_the_same_run_as_sqlalchemys() -> None:
    assert run(2, tasks=TASKS).fingerprint == run(2, tasks=TASKS, is_lean=False).fingerprint


@pytest.mark.parametrize("seed", [2, 4])
def test_mixed_up_answers_and_forgotten_tasks_break_no_promise(seed: int) -> None:
    faults: list[Fault] = [SwappedAnswers(share=0.5)]
    faults += [Weather(knob=knob, value=0.3) for knob in ("business_code", "forgotten", "poll_swapped")]
    result = run(seed, tasks=40, faults=faults)
    assert result.violation is None, result.message


def test_the_weather_of_every_plan_can_be_had() -> None:
    """The shares of what may befall a task are at most the whole: an aim adds to what chance has drawn."""
    for seed in range(1, 1001):
        plan, faults = plan_of(seed, 100)
        plan.knobs().replaced({fault.knob: fault.value for fault in faults if isinstance(fault, Weather)})
