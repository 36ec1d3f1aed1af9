"""What is counted, forgotten, joined and believed of render times."""

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.domain.polling.render_times import (
    BIN_COUNT,
    HALF_LIFE_TASKS,
    SECONDS_MAX,
    Estimate,
    RenderTimes,
    Surprise,
    Tally,
    bin_edge_seconds,
    bin_position,
    typical_task,
)

TYPICAL = typical_task(100.0)
NOTHING = Estimate(RenderTimes(), typical=TYPICAL)

ages = st.floats(0, 20_000)
intervals = st.tuples(ages, ages).map(lambda pair: (min(pair), max(pair)))
counts = st.lists(st.floats(0, 300), min_size=BIN_COUNT, max_size=BIN_COUNT)
shares = st.lists(st.floats(0, 1), min_size=BIN_COUNT, max_size=BIN_COUNT)
histories = st.builds(
    lambda count, exposed, ended, kept: RenderTimes(count, exposed=exposed, ended=ended, kept=kept),
    st.integers(0, 10**6),
    counts,
    counts,
    shares,
)


def same(one: RenderTimes, other: RenderTimes) -> bool:
    return one.count == other.count and all(
        a == pytest.approx(b, rel=1e-9, abs=1e-9)
        for a, b in ((one.exposed, other.exposed), (one.ended, other.ended), (one.kept, other.kept))
    )


def follow(
    tally: Tally,
    estimate: Estimate,
    render_seconds: float,
    polls: Sequence[float],
    *,
    until: float = math.inf,
) -> None:
    """One task, polled at those ages, and not followed beyond `until`."""
    before = 0.0
    for age in polls:
        if age > until:
            return
        if age >= render_seconds:
            tally.add_ended(estimate, before, age)
            return
        tally.add_running(estimate, before, age)
        before = age


def learn(
    render_seconds: Sequence[float], *, poll_seconds: float = 10.0, until: float = math.inf, every: int = 20
) -> Estimate:
    """The estimate after tasks that were polled at fixed intervals, one task after the other."""
    times, tally, estimate = RenderTimes(), Tally(), NOTHING
    polls = [poll_seconds * i for i in range(1, 400)]
    for number, seconds in enumerate(render_seconds, 1):
        follow(tally, estimate, seconds, polls, until=until)
        if number % every == 0:
            times = times.followed_by(tally.take())
            estimate = Estimate(times, typical=TYPICAL)
    return estimate


def log_normal(count: int, median_seconds: float, sigma: float, *, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [draw.lognormvariate(math.log(median_seconds), sigma) for _ in range(count)]


# --- counting ---------------------------------------------------------------------------------------------


@given(st.floats(1, SECONDS_MAX))
def test_bin_positions_and_edges_are_inverse(seconds: float) -> None:
    assert bin_edge_seconds(bin_position(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 0.5, SECONDS_MAX, 1e9, math.inf])
def test_ages_outside_the_bins_count_as_the_nearest(seconds: float) -> None:
    assert bin_position(seconds) == (0 if seconds < 1 else BIN_COUNT)


@given(intervals)
def test_a_running_task_is_counted_once_in_every_bin_it_ran_through(interval: tuple[float, float]) -> None:
    tally = Tally()
    tally.add_running(NOTHING, *interval)
    seen = tally.take()
    start, stop = bin_position(interval[0]), bin_position(interval[1])
    assert sum(seen.exposed) == pytest.approx(stop - start, rel=0.01, abs=1e-6)
    assert max(seen.exposed) <= 1 + 1e-9
    assert sum(seen.ended) == 0
    assert seen.count == 0


@given(intervals)
def test_an_ended_task_is_shared_out_within_its_interval(interval: tuple[float, float]) -> None:
    tally = Tally()
    tally.add_ended(NOTHING, *interval)
    seen = tally.take()
    assert sum(seen.ended) == pytest.approx(1, rel=0.01)
    assert min(seen.ended) >= 0
    assert seen.count == 1
    start, stop = bin_position(interval[0]), bin_position(interval[1])
    assert sum(seen.exposed) <= stop - start + 1e-6
    outside = [d for i, d in enumerate(seen.ended) if i + 1 < start or i > stop]
    assert not any(outside)


def test_what_was_taken_is_not_counted_again() -> None:
    tally = Tally()
    tally.add_ended(NOTHING, 50.0, 60.0)
    tally.take()
    assert same(tally.take(), RenderTimes())


# --- joining and forgetting -------------------------------------------------------------------------------


@settings(max_examples=30)
@given(histories, histories, histories)
def test_joining_histories_is_associative(a: RenderTimes, b: RenderTimes, c: RenderTimes) -> None:
    assert same(a.followed_by(b).followed_by(c), a.followed_by(b.followed_by(c)))


@settings(max_examples=30)
@given(histories)
def test_joining_nothing_changes_nothing(history: RenderTimes) -> None:
    assert same(history.followed_by(RenderTimes()), history)
    assert same(RenderTimes().followed_by(history), history)


def test_a_bin_forgets_half_when_a_half_life_of_tasks_ran_through_it() -> None:
    first, later = Tally(), Tally()
    first.add_ended(NOTHING, 100.0, 110.0)
    for _ in range(int(HALF_LIFE_TASKS)):
        later.add_running(NOTHING, 0.0, 20.0)
    older = first.take()
    both = older.followed_by(later.take())
    # no task ran through the bins beyond, so nothing of them was forgotten
    assert both.ended == pytest.approx(older.ended)
    assert both.kept[int(bin_position(15.0))] == pytest.approx(0.5)
    assert both.kept[int(bin_position(25.0))] == pytest.approx(1)


def test_counts_stay_bounded_however_many_tasks_run_through() -> None:
    times = RenderTimes()
    for _ in range(50):
        tally = Tally()
        for _ in range(100):
            tally.add_ended(NOTHING, 90.0, 100.0)
        times = times.followed_by(tally.take())
    most = 1 / (1 - 0.5 ** (1 / HALF_LIFE_TASKS))
    assert times.count == 5000
    assert max(times.exposed) <= most + 1e-6
    assert sum(times.ended) < 4 * most


@pytest.mark.parametrize(
    ("count", "exposed", "ended"),
    [
        (-1, [0.0] * BIN_COUNT, [0.0] * BIN_COUNT),
        (1, [0.0] * 5, [0.0] * BIN_COUNT),
        (1, [0.0] * BIN_COUNT, [-1.0] * BIN_COUNT),
        (1, [math.nan] * BIN_COUNT, [0.0] * BIN_COUNT),
        (1, [math.inf] * BIN_COUNT, [0.0] * BIN_COUNT),
    ],
)
def test_a_history_that_cannot_be_is_refused(count: int, exposed: list[float], ended: list[float]) -> None:
    with pytest.raises(ValueError, match=r"needs|count"):
        RenderTimes.checked(count, exposed=exposed, ended=ended)


# --- believing --------------------------------------------------------------------------------------------


def test_before_anything_was_seen_the_catalogue_is_believed() -> None:
    assert NOTHING.median_seconds == pytest.approx(100, rel=0.05)


@settings(max_examples=50)
@given(histories, st.lists(ages, min_size=2, max_size=20))
def test_the_chance_to_be_running_never_rises_with_age(history: RenderTimes, some_ages: list[float]) -> None:
    estimate = Estimate(history, typical=TYPICAL)
    chances = [estimate.chance_running(age) for age in sorted(some_ages)]
    assert all(0 <= chance <= 1 for chance in chances)
    assert chances == sorted(chances, reverse=True)
    assert all(rate > 0 and math.isfinite(rate) for rate in estimate.hazard)


def test_the_median_is_learned_from_polls_that_only_bracket_the_ends() -> None:
    estimate = learn(log_normal(400, 250.0, 0.3, seed=1), poll_seconds=30.0)
    assert estimate.median_seconds == pytest.approx(250, rel=0.06)
    assert estimate.chance_running(250 * math.exp(0.3)) == pytest.approx(0.16, abs=0.05)


def test_tasks_that_were_cut_off_do_not_bias_what_is_learned() -> None:
    # every task is cancelled at 200 s; counting only the ends that were seen, all would end before 200 s
    estimate = learn(log_normal(400, 200.0, 0.4, seed=2), until=200.0)
    assert estimate.chance_running(200) == pytest.approx(0.5, abs=0.08)
    assert estimate.chance_running(120) == pytest.approx(0.9, abs=0.05)


def test_a_burst_that_ends_in_the_order_of_its_times_is_learned_without_bias() -> None:
    # a thousand tasks sent at once: the fast ones end first, the slow ones last, all are polled in step
    seconds = log_normal(1000, 100.0, 0.4, seed=3)
    times, tally, estimate = RenderTimes(), Tally(), NOTHING
    for age in range(10, 1000, 10):
        for one in seconds:
            if one > age:
                tally.add_running(estimate, age - 10, age)
            elif one > age - 10:
                tally.add_ended(estimate, age - 10, age)
        times = times.followed_by(tally.take())
        estimate = Estimate(times, typical=TYPICAL)
    assert estimate.median_seconds == pytest.approx(100, rel=0.06)
    assert estimate.chance_running(150) == pytest.approx(0.155, abs=0.04)


def test_a_median_that_doubles_is_learned_within_200_tasks() -> None:
    before, after = log_normal(600, 100.0, 0.4, seed=4), log_normal(200, 200.0, 0.4, seed=5)
    assert learn(before).median_seconds == pytest.approx(100, rel=0.06)
    assert learn(before + after).median_seconds == pytest.approx(200, rel=0.1)


def test_a_few_early_failures_and_stuck_tasks_leave_the_middle_as_it_is() -> None:
    ends = log_normal(400, 100.0, 0.2, seed=6)
    ends[::20] = [3.0] * len(ends[::20])
    ends[7::40] = [3500.0] * len(ends[7::40])
    estimate = learn(ends)
    assert estimate.median_seconds == pytest.approx(100, rel=0.05)
    assert estimate.chance_running(10) == pytest.approx(0.95, abs=0.03)


def test_steady_ends_are_no_surprise_and_missing_ones_are() -> None:
    surprise = Surprise()
    assert not any(surprise.heard(10, 10.0 + (-1) ** i) for i in range(200))
    assert not surprise.heard(10, 20.0)
    assert surprise.heard(0, 30.0)
    early = Surprise()
    assert early.heard(40, 10.0)
