"""The checks can fail: bugs planted in the engine are found, and a failing seed is cut down to a test."""

from typing import Any

import pytest
from simulation.bugs import BUGS, Bug
from simulation.campaign import find
from simulation.shrink import Shrunk, shrink
from simulation.tempo import patched
from simulation.world.kinds import Weather

from rushes.run.lane.poll import Poller
from simulation import run

SEEDS_MAX = 6
TASKS = 40

QUICKLY_FOUND = {
    "lot order wrong": "RESERVE_ORDER_WRONG",
    "finalize before last": "LOGGED",
    "cancel fails processing": "REFUSED",
    "commit before intent": "SENT_BEFORE_INTENT",
    "callback trusted": "ENDED_WITHOUT_CAUSE",
    "outbox outside": "EVENT_MISSING",
    "id thrown away": "ID_THROWN_AWAY",
    "throttled task failed": "ENDED_WITHOUT_CAUSE",
}
"""Bugs that the first seeds find, and what they are found as."""


def bug_named(name: str) -> Bug:
    [bug] = [bug for bug in BUGS if bug.name == name]
    return bug


@pytest.mark.parametrize("name", QUICKLY_FOUND)
def test_a_planted_bug_is_found(name: str) -> None:
    found = find(bug_named(name), seeds_max=SEEDS_MAX, tasks=TASKS)
    assert found is not None, f"{SEEDS_MAX} seeds did not find: {bug_named(name).says}"
    assert found.violation == QUICKLY_FOUND[name], found.message


@pytest.mark.parametrize(
    ("name", "tasks", "violation"),
    [("record not read", 100, "UNKNOWN_BUT_NEVER_SENT"), ("trouble not stored", 200, "UNSEEN")],
)
def test_what_a_kill_costs_and_what_is_not_seen_is_found_as_that(
    name: str, tasks: int, violation: str
) -> None:
    found = find(bug_named(name), seeds_max=SEEDS_MAX + 2, tasks=tasks)
    assert found is not None, f"{SEEDS_MAX + 2} seeds did not find: {bug_named(name).says}"
    assert found.violation == violation, found.message
    assert run(found.seed, tasks=tasks).violation is None


def test_every_planted_bug_has_a_name_of_its_own() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12


def test_every_plant_takes_the_calls_of_what_it_stands_in_for() -> None:
    for bug in BUGS:
        with patched() as patches:
            bug.plant(patches)
    with patched() as patches, pytest.raises(TypeError, match=r"apply\(self, task"):
        patches.set(Poller, "apply", lambda _self, _task, _result: None)


def test_a_plant_that_fails_by_itself_finds_nothing() -> None:
    def plant(patches: Any) -> None:
        patches.set(Poller, "apply", lambda _self, _task, _result, _asked_at=None: patches["no such key"])

    with pytest.raises(RuntimeError, match="fails by itself"):
        find(Bug("broken plant", "", plant), seeds_max=SEEDS_MAX, tasks=TASKS)


def test_a_failing_seed_is_cut_down_to_a_regression_test() -> None:
    bug = bug_named("blind resubmit")
    crowded = (run(seed, tasks=TASKS, bug=bug.plant) for seed in range(2, 2 * SEEDS_MAX, 2))
    found = next(result for result in crowded if result.violation is not None)
    shrunk = shrink(found, bug=bug.plant)
    assert shrunk.faults_before == len(found.faults) > 10
    assert [type(fault) for fault in shrunk.result.faults] == [Weather], "one kind of lost answer is enough"
    assert shrunk.result.tasks < TASKS / 2
    regression_test = _made(shrunk)
    regression_test()  # holds with the engine as it is
    with patched() as patches:
        bug.plant(patches)
        with pytest.raises(AssertionError):
            regression_test()


def _made(shrunk: Shrunk) -> Any:
    names: dict[str, Any] = {}
    exec(shrunk.regression_test(), names)
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    return test
