"""Forecasts: never below what is certain, and right where it matters."""

from hypothesis import given
from hypothesis import strategies as st

from rushes.domain.forecast import (
    FORECAST_SECONDS_MAX,
    OpenTasks,
    Pace,
    Rendering,
    RenderTime,
    ToBeSent,
    Undecided,
    seconds_until_done,
)

SORA = RenderTime(100.0)
FINITE = st.floats(0.0, 100_000.0)
COUNTS = st.integers(1, 5_000)
BELIEFS = st.builds(RenderTime, st.floats(1.0, 3_600.0), st.floats(0.05, 1.0))
PACES = st.builds(
    Pace,
    st.none() | st.floats(0.01, 100.0),
    st.none() | st.integers(1, 500),
    st.integers(0, 10_000),
)
OPEN = st.one_of(
    st.builds(ToBeSent, COUNTS, BELIEFS, PACES, FINITE),
    st.builds(Rendering, COUNTS, BELIEFS, FINITE, FINITE),
    st.builds(Undecided, COUNTS, st.floats(-1_000.0, 100_000.0)),
)


@given(st.lists(OPEN, max_size=6))
def test_it_is_never_negative_and_never_below_what_is_certain(open_tasks: list[OpenTasks]) -> None:
    for chance in (0.5, 0.95):
        seconds = seconds_until_done(open_tasks, chance)
        assert 0.0 <= seconds <= FORECAST_SECONDS_MAX
        for tasks in open_tasks:
            assert seconds >= min(tasks.certain_seconds(), FORECAST_SECONDS_MAX)


@given(st.lists(OPEN, min_size=1, max_size=4), OPEN)
def test_more_open_tasks_never_take_less_time(open_tasks: list[OpenTasks], more: OpenTasks) -> None:
    before, after = seconds_until_done(open_tasks), seconds_until_done([*open_tasks, more])
    assert after >= before * (1 - 1e-6) - 1e-6


@given(st.lists(OPEN, min_size=1, max_size=4))
def test_a_better_chance_takes_no_less_time(open_tasks: list[OpenTasks]) -> None:
    assert seconds_until_done(open_tasks, 0.95) >= seconds_until_done(open_tasks, 0.5) * (1 - 1e-6) - 1e-6


def test_nothing_open_takes_no_time() -> None:
    assert seconds_until_done([]) == 0.0


def test_one_task_takes_the_median() -> None:
    assert abs(seconds_until_done([ToBeSent(1, SORA)]) - 100.0) < 0.01
    assert abs(seconds_until_done([Rendering(1, SORA, 0.0, 10_000.0)]) - 100.0) < 0.01


def test_an_unconfirmed_task_takes_until_it_is_decided_whatever_else_renders() -> None:
    assert seconds_until_done([Undecided(1, 720.0), Rendering(3, SORA, 90.0, 10_000.0)]) == 720.0


def test_tasks_that_have_rendered_for_long_are_nearer_to_their_end_by_the_deadline_at_the_latest() -> None:
    young = seconds_until_done([Rendering(82, SORA, 10.0, 10_000.0)])
    older = seconds_until_done([Rendering(82, SORA, 90.0, 10_000.0)])
    assert 0 < older < young
    assert seconds_until_done([Rendering(82, SORA, 9_990.0, 10.0)]) <= 10.0001
    assert 0.0 <= seconds_until_done([Rendering(1, SORA, 1e9, 25.0)]) <= 25.0001


def test_a_limit_on_tasks_at_the_provider_makes_waves() -> None:
    one_wave = seconds_until_done([ToBeSent(20, SORA, Pace(in_flight_tasks_max=20))])
    two_waves = seconds_until_done([ToBeSent(20, SORA, Pace(in_flight_tasks_max=20, open_ahead=20))])
    assert two_waves > one_wave + 99.0


def test_a_limit_on_submits_spreads_the_starts() -> None:
    at_once = seconds_until_done([ToBeSent(1000, SORA)])
    spread = seconds_until_done([ToBeSent(1000, SORA, Pace(submits_per_second=1.0))])
    assert spread > 1000.0 > at_once
