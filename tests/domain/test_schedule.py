"""The ladder and the back-off: bounded, monotonic, and without surprises."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rushes.domain.polling.schedule import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_MAX_SECONDS,
    OVERDUE_INTERVAL_SECONDS,
    OVERLOAD_MAX,
    LadderSchedule,
    PollBudget,
    PollSchedule,
    backoff_seconds,
)


def delay(schedule: PollSchedule, polls: int, *, overdue: bool = False) -> float:
    return schedule.next_delay_seconds(
        model="sora-2", age_seconds=1.0, polls=polls, progress=None, overdue=overdue
    )


def test_ladder_is_5_5_15_15_then_30() -> None:
    schedule = LadderSchedule(1, 30)
    assert [delay(schedule, polls) for polls in range(7)] == [5, 5, 15, 15, 30, 30, 30]
    assert delay(schedule, 10_000) == 30


def test_floor_and_ceiling_bound_every_step() -> None:
    assert [delay(LadderSchedule(10, 20), polls) for polls in range(6)] == [10, 10, 15, 15, 20, 20]
    assert {delay(LadderSchedule(0.05, 0.05), polls) for polls in range(6)} == {0.05}


@pytest.mark.parametrize(
    ("floor", "ceiling", "expected"),
    [(1, 30, OVERDUE_INTERVAL_SECONDS), (1, 600, 120), (300, 600, 300), (0.01, 0.05, 0.2), (0.05, 0.05, 0.2)],
)
def test_overdue_tasks_are_polled_slowly(floor: float, ceiling: float, expected: float) -> None:
    assert delay(LadderSchedule(floor, ceiling), 0, overdue=True) == pytest.approx(expected)


intervals = st.floats(0.001, 1000)


@given(st.tuples(intervals, intervals), st.lists(st.floats(0.001, 1000), max_size=8), st.floats(0.001, 1000))
def test_rising_steps_stay_rising_and_within_bounds(
    bounds: tuple[float, float], steps: list[float], then: float
) -> None:
    floor, ceiling = sorted(bounds)
    rising = sorted([*steps, then])
    schedule = LadderSchedule(floor, ceiling, rising[:-1], rising[-1])
    delays = [delay(schedule, polls) for polls in range(12)]
    assert delays == sorted(delays)
    assert all(floor <= seconds <= ceiling for seconds in delays)
    assert floor <= delay(schedule, 3, overdue=True) <= max(floor, OVERDUE_INTERVAL_SECONDS)


@pytest.mark.parametrize(("floor", "ceiling"), [(0, 30), (-1, 30), (31, 30), (float("nan"), 30)])
def test_impossible_intervals_are_refused(floor: float, ceiling: float) -> None:
    with pytest.raises(ValueError, match="interval_min_seconds"):
        LadderSchedule(floor, ceiling)


def test_step_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="step"):
        LadderSchedule(1, 30, steps=(5, 0))


def test_backoff_doubles_up_to_its_cap() -> None:
    waits = [backoff_seconds(errors, jitter=0.0) for errors in range(1, 9)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert backoff_seconds(10**9, jitter=0.0) == BACKOFF_MAX_SECONDS / 2


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_between_half_and_all_of_the_capped_wait(errors: int, jitter: float) -> None:
    wait = backoff_seconds(errors, jitter=jitter)
    capped = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(errors - 1, 40))
    assert capped / 2 <= wait <= capped
    assert backoff_seconds(errors + 1, jitter=jitter) >= wait


@pytest.mark.parametrize(("errors", "jitter"), [(0, 0.5), (1, 1.0), (1, -0.1)])
def test_backoff_refuses_what_cannot_be(errors: int, jitter: float) -> None:
    with pytest.raises(ValueError, match="jitter"):
        backoff_seconds(errors, jitter=jitter)


def test_ladder_is_stretched_by_overload() -> None:
    schedule = LadderSchedule(1, 30)
    seconds = schedule.next_delay_seconds(
        model="sora-2", age_seconds=1.0, polls=4, progress=None, overdue=False, overload=3.0
    )
    assert seconds == 90


def test_without_a_limit_there_is_no_overload() -> None:
    budget = PollBudget(None)
    for _ in range(1000):
        budget.exchange(0.0, 0.001)
    assert budget.overload == 1


def test_overload_is_what_is_asked_for_over_what_is_allowed() -> None:
    budget = PollBudget(10.0)
    rates = [budget.exchange(0.0, 1.0) for _ in range(9)]
    assert budget.overload == 1
    rates += [budget.exchange(0.0, budget.overload * 1.0) for _ in range(29)]
    assert budget.asked_per_second == pytest.approx(38)
    assert budget.overload == pytest.approx(4)
    for rate in rates:
        budget.exchange(rate, 0.0)
    assert budget.asked_per_second == pytest.approx(0, abs=1e-9)
    assert budget.overload == 1


@example(waits=[0.01, 1.0], limit=0.1)
@given(waits=st.lists(st.floats(0.01, 1000), min_size=1, max_size=50), limit=st.floats(0.1, 1000))
def test_waits_under_overload_fit_the_budget(waits: list[float], limit: float) -> None:
    budget = PollBudget(limit)
    rates = [0.0] * len(waits)
    for _ in range(3):  # the overload settles as every task is scheduled again
        rates = [
            budget.exchange(rate, wait * budget.overload) for rate, wait in zip(rates, waits, strict=True)
        ]
    made_per_second = sum(1 / (wait * budget.overload) for wait in waits)
    if budget.overload == OVERLOAD_MAX:  # waits stay finite; the rate limit holds back the rest
        assert sum(1 / wait for wait in waits) >= 0.9 * limit * OVERLOAD_MAX
        return
    assert made_per_second <= limit
    assert budget.overload == 1 or made_per_second >= 0.9 * limit


def test_a_changed_limit_changes_the_overload_at_once() -> None:
    budget = PollBudget(None)
    for _ in range(38):
        budget.exchange(0.0, 1.0)
    for limit, overload in ((10.0, 4.0), (40.0, 1.0), (0.0, OVERLOAD_MAX), (None, 1.0)):
        budget.change(limit)
        assert budget.overload == pytest.approx(overload)
