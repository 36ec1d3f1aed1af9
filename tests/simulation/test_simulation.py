"""The engine under simulated faults: a small, fixed budget of what `make simulate` runs at length."""

import pytest
from simulation.run import run

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
