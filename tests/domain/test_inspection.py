"""The optimal inspection schedule against the exact optimum, and its tables against each other."""

import math

import pytest
from benchmarks._poll_simulation import RenderTime, Score, optimum
from hypothesis import given
from hypothesis import strategies as st

from rushes.domain.polling.inspection import (
    FIRST_POLL,
    NORMAL_MIN,
    PollTable,
    log_normal_next_age_seconds,
    next_polls_due,
)
from rushes.domain.polling.render_times import (
    BIN_LOG_WIDTH,
    SECONDS_MAX,
    Estimate,
    RenderTimes,
    bin_position,
    log_normal_task,
    typical_task,
)

TASKS = 1e6  # so many that nothing else counts in the estimate


def known(time: RenderTime) -> Estimate:
    """An estimate that is as good as certain of a log-normal."""
    exposed, ended = log_normal_task(bin_position(time.median_seconds) * BIN_LOG_WIDTH, time.sigma)
    times = RenderTimes(10**6, exposed=[e * TASKS for e in exposed], ended=[d * TASKS for d in ended])
    return Estimate(times, typical=typical_task(time.median_seconds))


def expected(table: PollTable, time: RenderTime) -> Score:
    """Mean lag and polls of the table's polls, by integration over the render time."""
    lag = polls = age = 0.0
    running = 1.0
    while running > 1e-6:
        after = table.age_seconds_at(next_polls_due(table.polls_by(age), 1.0))
        steps = 200
        width = (after - age) / steps
        for i in range(steps):
            # the lag is what remains of the interval after the end, so it is the ended share integrated
            lag += (time.chance_ended(age + (i + 0.5) * width) - (1 - running)) * width
        polls += running
        age, running = after, 1 - time.chance_ended(after)
    return Score(lag, polls)


@pytest.mark.parametrize("c", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("time", [RenderTime(90, 0.4), RenderTime(400, 0.35), RenderTime(400, 0.15)])
def test_polls_by_the_density_cost_hardly_more_than_the_exact_optimum(time: RenderTime, c: float) -> None:
    best = optimum(
        time,
        lag_seconds_per_poll=c,
        step_seconds=time.median_seconds / 200,
        horizon_seconds=time.median_seconds * math.exp(4 * time.sigma),
    )
    ours = expected(PollTable(known(time), lag_seconds_per_poll=c), time)
    assert ours.lag_seconds + c * ours.polls <= 1.005 * (best.lag_seconds + c * best.polls)


@given(st.floats(0, 30_000), st.floats(0.1, 10))
def test_the_integral_and_its_inverse_agree(age: float, c: float) -> None:
    table = PollTable(known(RenderTime(90, 0.4)), lag_seconds_per_poll=c)
    polls = table.polls_by(age)
    back = table.age_seconds_at(polls)
    assert table.polls_by(back) == pytest.approx(polls, abs=1e-6)
    assert back <= age * (1 + 1e-9) or age <= 1


@given(st.lists(st.floats(0, SECONDS_MAX), min_size=2, max_size=20))
def test_more_polls_are_due_at_a_higher_age(some_ages: list[float]) -> None:
    table = PollTable(known(RenderTime(400, 0.35)), lag_seconds_per_poll=1.0)
    due = [table.polls_by(age) for age in sorted(some_ages)]
    assert due == sorted(due)


def test_four_times_the_worth_of_a_poll_halves_the_polls() -> None:
    estimate = known(RenderTime(400, 0.35))
    cheap = PollTable(estimate, lag_seconds_per_poll=1.0)
    dear = PollTable(estimate, lag_seconds_per_poll=4.0)
    assert dear.polls_by(600) == pytest.approx(cheap.polls_by(600) / 2)


def test_no_poll_is_due_beyond_the_last_bin() -> None:
    table = PollTable(known(RenderTime(400, 0.35)), lag_seconds_per_poll=1.0)
    assert table.age_seconds_at(table.polls_by(SECONDS_MAX) + 1) == math.inf


def test_the_first_poll_waits_longer_than_the_others() -> None:
    assert next_polls_due(0.0, 1.0) == FIRST_POLL
    assert next_polls_due(0.2, 1.0) == FIRST_POLL
    assert next_polls_due(3.0, 1.0) == 4.0
    assert next_polls_due(3.0, 2.0) == 5.0
    assert next_polls_due(0.0, 2.0) == 2 * FIRST_POLL


@pytest.mark.parametrize("age", [200.0, 360.0, 390.0, 400.0, 430.0])
def test_the_table_for_narrow_log_normals_agrees_with_the_table_by_bins(age: float) -> None:
    time = RenderTime(400, 0.15)
    table = PollTable(known(time), lag_seconds_per_poll=0.5)
    by_bins = table.age_seconds_at(next_polls_due(table.polls_by(age), 1.0))
    by_normal = log_normal_next_age_seconds(
        age_seconds=age, median_seconds=400, sigma=0.15, lag_seconds_per_poll=0.5, step=1.0
    )
    assert by_normal - age == pytest.approx(by_bins - age, rel=0.15)


@pytest.mark.parametrize("age", [1.0, 399.0, 500.0])
def test_the_poll_of_a_narrow_log_normal_stands_where_the_integral_has_grown_enough(age: float) -> None:
    median, sigma, c, step = 400.0, 0.15, 0.5, 2.0
    width = 1e-3
    polls = 0.0
    due = math.inf
    z = NORMAL_MIN
    while polls < due:
        if due == math.inf and z >= math.log(age / median) / sigma:
            due = next_polls_due(polls, step)
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        hazard = density / (0.5 * math.erfc(z / math.sqrt(2)))  # a sigma, of log t
        polls += math.sqrt(hazard / 2 * median * sigma / c) * width
        z += width
    ours = log_normal_next_age_seconds(
        age_seconds=age, median_seconds=median, sigma=sigma, lag_seconds_per_poll=c, step=step
    )
    assert ours == pytest.approx(median * math.exp(sigma * z), rel=1e-3)


@given(
    st.floats(1, 10_000), st.floats(1, 10_000), st.floats(0.01, 1.0), st.floats(0.05, 20), st.floats(1, 10)
)
def test_the_narrow_log_normals_poll_is_always_a_finite_age(
    age: float, median: float, sigma: float, c: float, step: float
) -> None:
    next_age = log_normal_next_age_seconds(
        age_seconds=age, median_seconds=median, sigma=sigma, lag_seconds_per_poll=c, step=step
    )
    assert math.isfinite(next_age)
    assert next_age > 0


@pytest.mark.parametrize("median_seconds", [30.0, 400.0, 3000.0])
@pytest.mark.parametrize("sigma", [0.1, 0.4])
def test_the_table_of_next_ages_says_what_the_integral_says(median_seconds: float, sigma: float) -> None:
    table = PollTable(known(RenderTime(median_seconds, sigma)), lag_seconds_per_poll=1.0)
    age = 0.5
    while age < SECONDS_MAX * 1.2:
        exact = table.age_seconds_at(next_polls_due(table.polls_by(age), 1.0))
        assert table.next_age_seconds(age) == pytest.approx(exact, rel=0.003), age
        assert table.next_age_seconds(age) >= age
        assert (age < table.first_wait_until_seconds) == (table.polls_by(age) + 1.0 < FIRST_POLL), age
        age *= 1.013
