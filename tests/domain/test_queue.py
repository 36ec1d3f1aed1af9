"""A place in the provider's queue is used where it foretells the end, and nowhere else."""

from itertools import pairwise

import pytest
from benchmarks._poll_simulation import (
    RenderTime,
    Score,
    learned_schedule,
    poisson_arrivals,
    score,
    simulate,
)
from benchmarks._queue_simulation import Workload, bursts, rendered, reporters
from hypothesis import given
from hypothesis import strategies as st

from rushes.domain.polling.queue import (
    ASSUMED_SECONDS,
    RENDERS_SLOT,
    WAITS_SLOT,
    QueueMark,
    next_queue_mark,
    waiting_report,
)
from rushes.domain.polling.render_times import Estimate, RenderTimes, typical_task
from rushes.domain.polling.reports import SLOTS, TENTHS, ReportTimes
from rushes.domain.task import QUEUE_POSITION_MAX

SORA = RenderTime(90.0, 0.3)
WAITING = rendered(bursts(1500, size=300, every_seconds=2500.0), SORA, at_once=20, seed=2)
NOT_WAITING = rendered(poisson_arrivals(1500, per_second=0.3, seed=1), SORA, at_once=200, seed=2)
ESTIMATE = Estimate(RenderTimes(), typical=typical_task(100.0))

positions = st.none() | st.integers(0, QUEUE_POSITION_MAX)


def polled(workload: Workload, kind: str) -> Score:
    noticed = simulate(
        learned_schedule(90.0, lag_seconds_per_poll=1.0),
        sent_at=workload.sent_at,
        render_seconds=workload.total_seconds,
        queue=reporters(workload)[kind],
    )
    return score(noticed)


@pytest.fixture(scope="module")
def by_age() -> Score:
    return polled(WAITING, "no queue reported")


# --- what it is worth -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "lag_max", "polls_max"),
    [
        ("honest position", 0.75, 0.65),
        ("position within 2 times", 1.0, 0.82),
        ("that it waits, no position", 0.75, 1.12),
    ],
)
def test_a_place_in_the_queue_saves_lag_or_polls(
    by_age: Score, kind: str, lag_max: float, polls_max: float
) -> None:
    told = polled(WAITING, kind)
    assert told.lag_seconds <= lag_max * by_age.lag_seconds
    assert told.polls <= polls_max * by_age.polls


@pytest.mark.parametrize("kind", list(reporters(WAITING))[4:])
def test_what_is_invented_costs_little(by_age: Score, kind: str) -> None:
    told = polled(WAITING, kind)
    assert told.lag_seconds <= 1.05 * by_age.lag_seconds
    assert told.lag_seconds + told.polls <= 1.05 * (by_age.lag_seconds + by_age.polls)


@pytest.mark.parametrize("kind", list(reporters(NOT_WAITING)))
def test_nothing_that_is_said_of_a_queue_harms_where_there_is_none(kind: str) -> None:
    by_age, told = polled(NOT_WAITING, "no queue reported"), polled(NOT_WAITING, kind)
    assert told.lag_seconds <= 1.05 * by_age.lag_seconds
    assert told.lag_seconds + told.polls <= 1.05 * (by_age.lag_seconds + by_age.polls)


# --- reports ----------------------------------------------------------------------------------------------


def mark(*reports: tuple[float, bool, int | None]) -> QueueMark | None:
    mark = None
    for age, is_queued, position in reports:
        mark = next_queue_mark(mark, task_number=1, age_seconds=age, is_queued=is_queued, position=position)
    return mark


def test_a_task_that_was_never_seen_waiting_has_no_mark() -> None:
    assert mark((1.0, False, None), (2.0, False, None)) is None


def test_a_task_goes_by_the_last_report_that_it_waits() -> None:
    waited = mark((10.0, True, 40), (20.0, True, 7), (30.0, False, None), (40.0, False, None))
    assert waited is not None
    assert waited.report == waiting_report(20.0, 7)
    assert [report.slot for report, _ in waited.learned()][1:] == [RENDERS_SLOT]


def test_without_a_position_it_goes_by_when_it_was_first_seen_rendering() -> None:
    waited = mark((10.0, True, None), (30.0, False, None), (40.0, False, None))
    assert waited is not None
    assert (waited.report.slot, waited.report.from_seconds) == (RENDERS_SLOT, 30.0)
    assert [(report.slot, of) for report, of in waited.learned()] == [(WAITS_SLOT, 1), (RENDERS_SLOT, 1)]


def test_only_the_first_start_is_learned_from() -> None:
    waited = mark((10.0, True, None), (30.0, False, None), (40.0, True, None), (50.0, False, None))
    assert waited is not None
    assert waited.report == waiting_report(40.0, None)
    assert [report.from_seconds for report, _ in waited.learned()][1:] == [30.0]


@given(positions)
def test_every_position_has_a_slot_of_the_queue(position: int | None) -> None:
    report = waiting_report(5.0, position)
    assert TENTHS <= report.slot < SLOTS
    assert report.expected_seconds >= ASSUMED_SECONDS


def test_slots_grow_with_positions() -> None:
    slots = [waiting_report(0.0, position).slot for position in range(2000)]
    assert all(0 <= then - now <= 1 for now, then in pairwise(slots))
    assert slots[0] == RENDERS_SLOT + 1
    assert slots[-1] == SLOTS - 1


@given(st.floats(0, 20_000), st.floats(0, 20_000), st.floats(0, 20_000), positions, st.integers(1, 50))
def test_any_end_can_be_learned_from(
    age: float, after: float, by: float, position: int | None, reports: int
) -> None:
    report = waiting_report(age, position)
    news = ReportTimes().learn(ESTIMATE, report, reports=reports, after_seconds=after, by_seconds=by)
    again = ReportTimes.checked(news.stored())
    assert again.slots[report.slot][0] == 1.0
