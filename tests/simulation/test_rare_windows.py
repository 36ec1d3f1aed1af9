"""Windows that chance seldom opens: the faults that open them break no promise, and a bug there is found."""

from collections import Counter
from collections.abc import Sequence

import pytest
from simulation.aims.lone import LONE_AIMS, LONE_EVERY, alone
from simulation.bugs import BUGS
from simulation.run import plan_of, run
from simulation.world.kinds import (
    CallbackStorm,
    Crash,
    Fault,
    LateAnswer,
    LostCommit,
    MovedHost,
    RefusedRows,
    SlowConnects,
    Stop,
    SwappedSubmits,
    Weather,
)

TASKS = 30

FOUND_WITH: dict[str, tuple[int, Sequence[Fault], str]] = {
    "id of another kept": (2, [SwappedSubmits(0.3)], "NAMED_WRONG"),
    "refused id polled on": (2, [RefusedRows(0.0, 200.0, ("accepted",), 10)], "ENDED_WITHOUT_CAUSE"),
    "refused return forgotten": (
        2,
        [RefusedRows(0.0, 200.0, ("returned",), 10), Weather("submit_throttled", 0.4)],
        "NOT_FINAL",
    ),
    "asked at the new host": (
        4,
        [MovedHost(60.0), *(Crash(61.0, slot, "step", 1, 1.0) for slot in range(2))],
        "ASKED_ELSEWHERE",
    ),
    "late claim forgotten": (
        2,
        [
            *(LateAnswer(2.0, slot, "claim_fairly", 1, 9.0) for slot in range(3)),
            *(Stop(2.0, slot, 1.0, "commit.before.claim_fairly") for slot in range(3)),
        ],
        "RECORD_DROPPED",
    ),
    "held is given back": (
        28,
        [
            RefusedRows(0.0, 400.0, ("accepted", "unconfirmed"), 20),
            *(LostCommit(5.0 * number, 0, "claim_fairly", 1) for number in range(1, 40)),
        ],
        "RETURNED_IN_DOUBT",
    ),
}
"""By the bug's name a seed for the plan, the faults that open its window, and what the bug is found as."""


@pytest.mark.parametrize("name", FOUND_WITH)
def test_the_window_breaks_no_promise_and_the_bug_in_it_is_found(name: str) -> None:
    seed, faults, violation = FOUND_WITH[name]
    kept = run(seed, tasks=TASKS, faults=faults)
    assert kept.violation is None, kept.message
    [bug] = [bug for bug in BUGS if bug.name == name]
    found = run(seed, tasks=TASKS, faults=faults, bug=bug.plant)
    assert found.violation == violation, found.message


@pytest.mark.parametrize(
    "faults",
    [
        [RefusedRows(0.0, 200.0, ("refused",), 10), Weather("submit_rejected", 0.4)],
        [RefusedRows(0.0, 200.0, ("verdicts",), 10)],
        [RefusedRows(0.0, 200.0, ("accepted", "unconfirmed"), 20), Weather("submit_reset_after", 0.3)],
        [RefusedRows(0.0, 200.0, ("given_up", "resubmitted"), 10), Weather("submit_reset_after", 0.3)],
        [
            RefusedRows(0.0, 200.0, ("returned", "refused", "unconfirmed"), 30),
            Weather("submit_throttled", 0.4),
            Weather("submit_rejected", 0.3),
        ],
        [CallbackStorm(1.0, 5, 0.1, 0.5), Weather("submit_accepted_then_reset", 0.5)],
        [SlowConnects(1.0, 15.0), *(Stop(t, slot, 1.0) for slot in range(2) for t in (45.0, 90.0))],
    ],
    ids=[
        "refusals",
        "verdicts",
        "names and holds",
        "given up",
        "returns and holds",
        "callbacks",
        "slow connects",
    ],
)
def test_what_is_refused_repeated_or_cut_short_breaks_no_promise(faults: Sequence[Fault]) -> None:
    result = run(4, tasks=TASKS, faults=faults)
    assert result.violation is None, result.message


def test_each_rare_aim_and_each_rarity_is_some_seeds() -> None:
    rarities: Counter[str] = Counter()
    for seed in range(1, 101):
        plan, faults = plan_of(seed, 1000)
        for name in ("tickers", "model_limits", "can_drop", "gone_seconds"):
            rarities[name] += bool(getattr(plan, name))
        rarities.update({type(fault).__name__ for fault in faults})
    assert min(rarities[name] for name in ("tickers", "model_limits", "can_drop", "gone_seconds")) >= 3
    kinds = (CallbackStorm, MovedHost, RefusedRows, SlowConnects, SwappedSubmits)
    assert min(rarities[kind.__name__] for kind in kinds) >= 3


@pytest.mark.parametrize("number", range(len(LONE_AIMS)))
def test_a_lone_aim_befalls_its_plan_and_breaks_no_promise(number: int) -> None:
    seed = LONE_EVERY * (len(LONE_AIMS) + number) + LONE_EVERY - 1
    plan, faults = plan_of(seed, TASKS)
    assert (plan, faults) == alone(plan, LONE_AIMS[number])
    assert len({type(fault) for fault in faults}) <= 5
    result = run(seed, tasks=TASKS)
    assert result.violation is None, result.message
    assert result.settled + result.refunded >= TASKS


FOUND_ALONE = {
    "known task given up": ("_named_when_given_up", "GAVE_UP_A_KNOWN_TASK"),
    "end forgets the next attempt": ("_known_late", "NOT_FINAL"),
    "gone too soon": ("_long_outages", "TIMEOUT_WITHOUT_POLL"),
    "held task sent": ("_retired", "CLAIMED_HELD"),
}
"""By the bug's name the aim that finds it, where crowded faults seldom do, and what it is found as."""


@pytest.mark.parametrize("name", FOUND_ALONE)
def test_a_lone_aim_finds_the_bug_that_crowded_faults_seldom_show(name: str) -> None:
    aim_name, violation = FOUND_ALONE[name]
    aims = [aim for aim in LONE_AIMS if aim.faults.__name__ == aim_name]
    [bug] = [bug for bug in BUGS if bug.name == name]
    found = set[str | None]()
    for seed in range(1, 7):
        for aim in aims:
            plan, faults = alone(plan_of(3 * seed, 100)[0], aim)
            found.add(run(3 * seed, tasks=100, plan=plan, faults=faults, bug=bug.plant).violation)
            if violation in found:
                return
    raise AssertionError(f"found as {found}")
