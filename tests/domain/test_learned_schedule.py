"""The learned schedule: bounded, better than the ladder from the first task on, and better still later."""

import math

import pytest
from benchmarks._poll_simulation import (
    MODEL,
    RenderTime,
    learned_schedule,
    optimum,
    planned_score,
    poisson_arrivals,
    render_times,
    score,
    simulate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.polling.learned_schedule import (
    FIRST_WAIT_CEILING_FACTOR,
    LearnedSchedule,
    LearnedTimes,
    _Learner,
)
from rushes.domain.polling.reports import Mark
from rushes.domain.polling.schedule import LadderSchedule, PollBudget

SORA = RenderTime(90, 0.4)
VEO = RenderTime(400, 0.35)
VEO_STEADY = RenderTime(400, 0.15)
DISTRIBUTIONS = pytest.mark.parametrize(
    "time", [SORA, VEO, VEO_STEADY, RenderTime(180, 0.4)], ids=["sora", "veo", "veo steady", "doubled"]
)


def fresh(floor: float = 1.0, ceiling: float = 30.0, *, c: float = 1.0) -> LearnedSchedule:
    return LearnedSchedule(floor, ceiling, catalogue=DEFAULT_CATALOGUE, lag_seconds_per_poll=c)


def delay(
    schedule: LearnedSchedule,
    age: float,
    *,
    model: str = "sora-2",
    progress: int | None = None,
    overdue: bool = False,
    overload: float = 1.0,
) -> float:
    return schedule.next_delay_seconds(
        model=model, age_seconds=age, polls=3, progress=progress, overdue=overdue, overload=overload
    )


# --- when to poll -----------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(
    st.tuples(st.floats(0.05, 200), st.floats(0.05, 200)),
    st.floats(0, 20_000),
    st.none() | st.integers(0, 100),
    st.floats(1, 20),
)
def test_every_delay_lies_between_floor_and_ceiling(
    bounds: tuple[float, float], age: float, progress: int | None, overload: float
) -> None:
    floor, ceiling = sorted(bounds)
    seconds = delay(fresh(floor, ceiling), age, progress=progress, overload=overload)
    assert floor <= seconds <= max(floor, ceiling * FIRST_WAIT_CEILING_FACTOR * overload)
    if age >= 90:  # a task this old may be done: the ceiling itself holds
        assert seconds <= max(floor, ceiling * overload)


@given(st.floats(0, 5000), st.floats(0, 100))
def test_a_later_look_never_leads_to_an_earlier_poll(age: float, later: float) -> None:
    schedule = fresh()
    assert age + later + delay(schedule, age + later) >= age + delay(schedule, age) - 1e-6


def test_a_task_that_can_hardly_be_done_is_not_polled() -> None:
    schedule = fresh()
    assert delay(schedule, 0.0, model="veo-pro") > 60
    assert delay(schedule, 0.0, model="sora-2") > 20
    assert delay(schedule, 20.0, model="veo-pro") == pytest.approx(delay(schedule, 0.0, model="veo-pro") - 20)


def test_a_low_ceiling_holds_for_the_first_poll_too() -> None:
    assert delay(fresh(0.05, 0.2), 0.0, model="veo-pro") == pytest.approx(0.2)
    assert delay(fresh(1.0, 6.0), 0.0, model="veo-pro") == pytest.approx(24)


def test_overdue_tasks_are_polled_as_slowly_as_by_the_ladder() -> None:
    assert delay(fresh(), 2000.0, overdue=True) == 120
    assert delay(fresh(0.05, 0.05), 2000.0, overdue=True) == pytest.approx(0.2)


def test_overload_stretches_every_interval() -> None:
    schedule = fresh(0.01, 1000.0)
    assert delay(schedule, 0.0, overload=2.0) > 1.2 * delay(schedule, 0.0)
    for age in (80.0, 120.0, 200.0):
        assert delay(schedule, age, overload=2.0) > 1.5 * delay(schedule, age)
    assert delay(schedule, 5000.0, overdue=True, overload=2.0) == 240


def test_a_dearer_poll_means_fewer_polls_and_more_lag() -> None:
    cheap, dear = planned_score(fresh(c=0.5), SORA), planned_score(fresh(c=2.0), SORA)
    assert dear.polls < 0.7 * cheap.polls
    assert dear.lag_seconds > 1.4 * cheap.lag_seconds


def test_a_model_that_left_the_catalogue_is_polled_all_the_same() -> None:
    schedule = fresh()
    assert 1 <= delay(schedule, 0.0, model="gone") <= 600
    schedule.saw_end(model="gone", after_seconds=10, by_seconds=20)
    assert schedule.take_unsaved() == []


@pytest.mark.parametrize(("floor", "ceiling", "c"), [(0, 30, 1), (31, 30, 1), (1, 30, 0), (1, 30, math.nan)])
def test_impossible_settings_are_refused(floor: float, ceiling: float, c: float) -> None:
    with pytest.raises(ValueError, match=r"interval_min_seconds|lag_seconds_per_poll"):
        fresh(floor, ceiling, c=c)


# --- against the ladder -----------------------------------------------------------------------------------


@DISTRIBUTIONS
def test_a_fresh_schedule_has_less_lag_and_fewer_polls_than_the_ladder(time: RenderTime) -> None:
    ours = planned_score(learned_schedule(time.median_seconds, lag_seconds_per_poll=1.0), time)
    ladder = planned_score(LadderSchedule(1, 30), time)
    assert ours.lag_seconds < ladder.lag_seconds
    assert ours.polls < ladder.polls


@DISTRIBUTIONS
def test_after_some_hundred_tasks_the_schedule_is_close_to_the_exact_optimum(time: RenderTime) -> None:
    schedule = learned_schedule(time.median_seconds, lag_seconds_per_poll=1.0)
    simulate(
        schedule,
        sent_at=poisson_arrivals(500, per_second=0.3, seed=1),
        render_seconds=render_times([(500, time)], seed=2),
    )
    ours = planned_score(schedule, time)
    best = optimum(
        time,
        lag_seconds_per_poll=1.0,
        step_seconds=time.median_seconds / 100,
        horizon_seconds=time.median_seconds * math.exp(4 * time.sigma),
    )
    assert ours.lag_seconds + ours.polls < 1.06 * (best.lag_seconds + best.polls)


@pytest.mark.parametrize(
    ("time", "c", "lag_ratio", "polls_ratio"),
    [(SORA, 1.0, 0.4, 1.0), (VEO, 2.0, 1.0, 0.5), (VEO_STEADY, 3.5, 1.0, 0.3)],
)
def test_targets_against_the_ladder_hold_while_learning(
    time: RenderTime, c: float, lag_ratio: float, polls_ratio: float
) -> None:
    # the first task included; the benchmark does the same with twice as many tasks, and no tolerance
    sent = poisson_arrivals(2000, per_second=0.3, seed=3)
    seconds = render_times([(2000, time)], seed=4)
    ladder = score(simulate(LadderSchedule(1, 30), sent_at=sent, render_seconds=seconds))
    schedule = learned_schedule(time.median_seconds, lag_seconds_per_poll=c)
    ours = score(simulate(schedule, sent_at=sent, render_seconds=seconds))
    assert ours.lag_seconds <= (lag_ratio + 0.02) * ladder.lag_seconds
    assert ours.polls <= (polls_ratio + 0.02) * ladder.polls


def test_a_catalogue_that_is_wrong_by_four_is_soon_corrected() -> None:
    for typical in (100.0, 1600.0):
        schedule = learned_schedule(typical, lag_seconds_per_poll=1.0)
        noticed = simulate(
            schedule,
            sent_at=poisson_arrivals(400, per_second=0.3, seed=5),
            render_seconds=render_times([(400, VEO)], seed=6),
        )
        assert schedule.median_seconds(MODEL) == pytest.approx(400, rel=0.12)
        assert score(noticed[200:]).lag_seconds < 15


def test_polls_are_thinned_out_to_a_short_budget() -> None:
    budget = PollBudget(1.0)
    sent = poisson_arrivals(1000, per_second=0.3, seed=7)
    noticed = simulate(
        learned_schedule(400.0, lag_seconds_per_poll=1.0),
        sent_at=sent,
        render_seconds=render_times([(1000, VEO)], seed=8),
        budget=budget,
    )
    made_per_second = score(noticed).polls * len(noticed) / (sent[-1] - sent[0] + 400)
    assert 0.85 <= made_per_second <= 1.05
    assert budget.asked_per_second == pytest.approx(0, abs=1e-6)


# --- progress ---------------------------------------------------------------------------------------------


def test_true_progress_saves_polls_and_lag_and_invented_progress_costs_nothing() -> None:
    sent = poisson_arrivals(800, per_second=0.3, seed=9)
    seconds = render_times([(800, SORA)], seed=10)

    def run(report: object) -> tuple[float, float]:
        reporter = report if callable(report) else None
        schedule = learned_schedule(90.0, lag_seconds_per_poll=1.0)
        noticed = simulate(schedule, sent_at=sent, render_seconds=seconds, reporter=reporter)
        late = score(noticed[300:])
        return late.lag_seconds, late.polls

    lag, polls = run(None)
    true_lag, true_polls = run(lambda age, rendering, _: min(99, int(100 * age / rendering)))
    assert true_lag < 0.6 * lag
    assert true_polls < 0.7 * polls
    for invented in (
        lambda age, _rendering, _number: int(99 * (1 - math.exp(-age / 60))),
        lambda age, rendering, _number: min(99, int(200 * age / rendering)),
        lambda _age, _rendering, _number: 99,
    ):
        invented_lag, invented_polls = run(invented)
        assert invented_lag + invented_polls < 1.03 * (lag + polls)


# --- saving -----------------------------------------------------------------------------------------------


def teach(schedule: LearnedSchedule, tasks: int, seconds: float) -> None:
    for _ in range(tasks):
        schedule.saw_running(model="sora-2", after_seconds=0, by_seconds=seconds - 10)
        schedule.saw_end(
            model="sora-2",
            after_seconds=seconds - 10,
            by_seconds=seconds,
            mark=Mark(seconds - 10, 50, 1),
        )


def counts(learned: list[LearnedTimes]) -> dict[str, int]:
    return {one.model: one.times.count for one in learned}


def test_conclusions_are_drawn_when_enough_was_seen_and_not_before() -> None:
    learner = _Learner("p", "m", 100.0, 1.0)
    table, enough = learner.table, learner.rebuild_size
    for _ in range(enough):
        assert learner.table is table
        learner.tally.add_running(learner.estimate, 0.0, 10.0)
        learner.consider()
    assert learner.table is not table
    assert learner.tally.size == 0


def test_what_is_new_is_given_once_it_was_saved() -> None:
    schedule = fresh()
    assert schedule.take_unsaved() == []
    teach(schedule, 5, 50)
    taken = schedule.take_unsaved()
    assert counts(taken) == {"sora-2": 5}
    assert taken[0].provider == "grsai"
    assert sum(tenth[0] for tenth in taken[0].reports.slots) > 4
    schedule.put_saved(taken)
    assert schedule.take_unsaved() == []


def test_what_could_not_be_saved_is_given_again_with_what_is_new() -> None:
    schedule = fresh()
    teach(schedule, 5, 50)
    schedule.take_unsaved()
    teach(schedule, 3, 50)
    assert counts(schedule.take_unsaved()) == {"sora-2": 8}


def test_what_is_learned_while_saving_is_kept() -> None:
    schedule = fresh()
    teach(schedule, 5, 50)
    taken = schedule.take_unsaved()
    teach(schedule, 3, 50)
    schedule.put_saved(taken)
    assert counts(schedule.take_unsaved()) == {"sora-2": 3}


def test_another_workers_history_is_believed() -> None:
    one, other = fresh(), fresh()
    teach(one, 60, 40)
    other.put_saved(one.take_unsaved())
    assert other.median_seconds("sora-2") == pytest.approx(one.median_seconds("sora-2"), rel=0.05)
    assert other.median_seconds("sora-2") < 50


def test_a_history_of_another_provider_is_not_mistaken_for_ones_own() -> None:
    schedule = fresh()
    teach(schedule, 60, 40)
    [taken] = schedule.take_unsaved()
    other = fresh()
    other.put_saved([taken._replace(provider="elsewhere")])
    assert other.median_seconds("sora-2") == pytest.approx(90, rel=0.1)


def test_a_ceiling_that_the_operator_set_bounds_the_first_wait_too() -> None:
    free = LearnedSchedule(1.0, 30.0, catalogue=DEFAULT_CATALOGUE)
    bounded = LearnedSchedule(1.0, 30.0, catalogue=DEFAULT_CATALOGUE, first_wait_max_seconds=30.0)

    def first(schedule: LearnedSchedule) -> float:
        return schedule.next_delay_seconds(
            model="veo-pro", age_seconds=0.0, polls=0, progress=None, overdue=False
        )

    assert first(free) > 60.0
    assert first(bounded) == 30.0
