"""Reported progress is used where it foretells the end, and nowhere else."""

import math
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.domain.polling.render_times import Estimate, RenderTimes, typical_task
from rushes.domain.polling.reports import (
    MARKS_MIN,
    SLOTS,
    TENTHS,
    Mark,
    Prediction,
    ReportTimes,
    _mixed,
    next_mark,
    progress_report,
)

ESTIMATE = Estimate(RenderTimes(), typical=typical_task(100.0))

numbers = st.floats(-1000, 1000)
histories = st.lists(
    st.tuples(*[st.floats(0, 1000)] * 2, numbers, st.floats(0, 1000), numbers, st.floats(0, 1)),
    min_size=SLOTS,
    max_size=SLOTS,
)


def learn(report: Callable[[float, float], int], *, tasks: int = 200, seed: int = 1) -> ReportTimes:
    """What is known after tasks with a log-normal render time of 100 s, polled every 10 s."""
    draw = random.Random(seed)
    known = ReportTimes()
    for number in range(tasks):
        render_seconds = draw.lognormvariate(math.log(100), 0.5)
        mark: Mark | None = None
        age = 10.0
        while age < render_seconds:
            progress = report(age, render_seconds)
            if 0 < progress < 100:
                mark = next_mark(mark, task_number=number, age_seconds=age, value=progress)
            age += 10.0
        if mark is not None:
            known = known.followed_by(learned(known, mark, after_seconds=age - 10.0, by_seconds=age))
    return known


def learned(known: ReportTimes, mark: Mark, *, after_seconds: float, by_seconds: float) -> ReportTimes:
    report = progress_report(mark.age_seconds, mark.value)
    return known.learn(
        ESTIMATE, report, reports=mark.reports, after_seconds=after_seconds, by_seconds=by_seconds
    )


def predict(known: ReportTimes, *, age_seconds: float, progress: int) -> Prediction | None:
    report = progress_report(age_seconds, progress)
    return known.predict(report.slot, report.expected_seconds)


def test_true_progress_foretells_the_end() -> None:
    known = learn(lambda age, render_seconds: min(99, int(100 * age / render_seconds)))
    prediction = predict(known, age_seconds=30.0, progress=50)
    assert prediction is not None
    assert prediction.median_seconds == pytest.approx(60, rel=0.1)
    assert prediction.sigma < 0.15


def test_progress_that_is_true_to_another_scale_foretells_the_end_too() -> None:
    # the first half of the scale passes in the first tenth of the time
    def report(age: float, render_seconds: float) -> int:
        share = age / render_seconds
        return int(500 * share) if share < 0.1 else min(99, int(50 + 50 * (share - 0.1) / 0.9))

    prediction = predict(learn(report, tasks=600), age_seconds=55.0, progress=75)
    assert prediction is not None
    assert prediction.median_seconds == pytest.approx(100, rel=0.12)


@pytest.mark.parametrize(
    "report",
    [
        lambda age, _: int(99 * (1 - math.exp(-age / 40))),
        lambda _age, _: 50,
        lambda age, _: min(99, int(age)),
    ],
    ids=["a curve of the age", "a constant", "the age itself"],
)
def test_progress_that_knows_nothing_of_the_task_is_not_used(report: Callable[[float, float], int]) -> None:
    known = learn(report)
    used = [
        progress
        for progress in range(1, 100)
        for age in (20.0, 60.0, 150.0)
        if predict(known, age_seconds=age, progress=progress) is not None
    ]
    assert len(used) <= 30, used  # a tenth or so by luck at most


def test_nothing_is_foretold_before_enough_tasks_ended() -> None:
    known = learn(lambda age, seconds: min(99, int(100 * age / seconds)), tasks=7)
    assert all(tenth[0] < MARKS_MIN for tenth in known.slots[:TENTHS])
    assert all(predict(known, age_seconds=30.0, progress=p) is None for p in range(1, 100))


def test_every_report_of_a_task_is_as_likely_to_be_its_mark() -> None:
    kept: Counter[int] = Counter()
    for number in range(6000):
        mark = None
        for report in range(1, 7):
            mark = next_mark(mark, task_number=number, age_seconds=float(report), value=report)
        assert mark is not None
        assert mark.reports == 6
        kept[mark.value] += 1
    assert all(count == pytest.approx(1000, rel=0.15) for count in kept.values()), kept


def test_the_bits_for_a_report_are_those_of_splitmix64() -> None:
    """As published for the seed 0, of which each draw is the next multiple of the increment."""
    drawn = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert [_mixed(number) for number in (1, 2, 3, 4)] == drawn


@settings(max_examples=50)
@given(histories, histories, histories)
def test_joining_progress_histories_is_associative(
    a: list[tuple[float, ...]], b: list[tuple[float, ...]], c: list[tuple[float, ...]]
) -> None:
    one, two, three = ReportTimes(a), ReportTimes(b), ReportTimes(c)
    left = one.followed_by(two).followed_by(three)
    right = one.followed_by(two.followed_by(three))
    for slot, other in zip(left.slots, right.slots, strict=True):
        assert slot == pytest.approx(other, rel=1e-9, abs=1e-6)


@given(
    st.floats(0, 20_000), st.floats(0, 20_000), st.floats(0, 20_000), st.integers(1, 99), st.integers(1, 50)
)
def test_any_end_can_be_learned_from(
    age: float, after: float, by: float, progress: int, reports: int
) -> None:
    mark = Mark(age, progress, reports)
    news = learned(ReportTimes(), mark, after_seconds=after, by_seconds=by)
    assert ReportTimes.checked(news.stored()).slots[progress // TENTHS][0] > 0


@pytest.mark.parametrize(
    "stored",
    [
        [],
        [[0.0] * 4] * 9,
        [[0.0] * 3] * 10,
        [[-1.0, 0, 0, 0]] * 10,
        [[0, 0, -1.0, 0]] * 10,
        [[math.nan] * 4] * 10,
    ],
)
def test_a_progress_history_that_cannot_be_is_refused(stored: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"needs|must"):
        ReportTimes.checked(stored)
