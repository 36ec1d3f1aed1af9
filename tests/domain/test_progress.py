"""Reported progress is used where it foretells the end, and nowhere else."""

import math
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.domain.polling.progress import (
    MARKS_MIN,
    TENTHS,
    ProgressMark,
    ProgressTimes,
    _mixed,
    next_mark,
)
from rushes.domain.polling.render_times import Estimate, RenderTimes, typical_task

ESTIMATE = Estimate(RenderTimes(), typical=typical_task(100.0))

numbers = st.floats(-1000, 1000)
tenths = st.lists(
    st.tuples(*[st.floats(0, 1000)] * 2, numbers, st.floats(0, 1000), numbers, st.floats(0, 1)),
    min_size=TENTHS,
    max_size=TENTHS,
)


def learn(report: Callable[[float, float], int], *, tasks: int = 200, seed: int = 1) -> ProgressTimes:
    """What is known after tasks with a log-normal render time of 100 s, polled every 10 s."""
    draw = random.Random(seed)
    known = ProgressTimes()
    for number in range(tasks):
        render_seconds = draw.lognormvariate(math.log(100), 0.5)
        mark: ProgressMark | None = None
        age = 10.0
        while age < render_seconds:
            progress = report(age, render_seconds)
            mark = next_mark(mark, task_number=number, age_seconds=age, progress=progress)
            age += 10.0
        if mark is not None:
            news = known.learn(ESTIMATE, mark, after_seconds=age - 10.0, by_seconds=age)
            known = known.followed_by(news)
    return known


def test_true_progress_foretells_the_end() -> None:
    known = learn(lambda age, render_seconds: min(99, int(100 * age / render_seconds)))
    prediction = known.predict(age_seconds=30.0, progress=50)
    assert prediction is not None
    assert prediction.median_seconds == pytest.approx(60, rel=0.1)
    assert prediction.sigma < 0.15


def test_progress_that_is_true_to_another_scale_foretells_the_end_too() -> None:
    # the first half of the scale passes in the first tenth of the time
    def report(age: float, render_seconds: float) -> int:
        share = age / render_seconds
        return int(500 * share) if share < 0.1 else min(99, int(50 + 50 * (share - 0.1) / 0.9))

    prediction = learn(report, tasks=600).predict(age_seconds=55.0, progress=75)
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
        if known.predict(age_seconds=age, progress=progress) is not None
    ]
    assert len(used) <= 30, used  # a tenth or so by luck at most


def test_progress_that_jumps_from_0_to_100_is_never_marked() -> None:
    mark = None
    for progress in (0, 0, 0, 100, None):
        mark = next_mark(mark, task_number=1, age_seconds=10.0, progress=progress)
    assert mark is None
    assert learn(lambda _age, _seconds: 0).tenths == ProgressTimes().tenths


def test_nothing_is_foretold_before_enough_tasks_ended() -> None:
    known = learn(lambda age, seconds: min(99, int(100 * age / seconds)), tasks=7)
    assert all(tenth[0] < MARKS_MIN for tenth in known.tenths)
    assert all(known.predict(age_seconds=30.0, progress=p) is None for p in range(1, 100))


def test_every_report_of_a_task_is_as_likely_to_be_its_mark() -> None:
    kept: Counter[int] = Counter()
    for number in range(6000):
        mark = None
        for report in range(1, 7):
            mark = next_mark(mark, task_number=number, age_seconds=float(report), progress=report)
        assert mark is not None
        assert mark.reports == 6
        kept[mark.progress] += 1
    assert all(count == pytest.approx(1000, rel=0.15) for count in kept.values()), kept


def test_the_bits_for_a_report_are_those_of_splitmix64() -> None:
    """As published for the seed 0, of which each draw is the next multiple of the increment."""
    drawn = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert [_mixed(number) for number in (1, 2, 3, 4)] == drawn


@settings(max_examples=50)
@given(tenths, tenths, tenths)
def test_joining_progress_histories_is_associative(
    a: list[tuple[float, ...]], b: list[tuple[float, ...]], c: list[tuple[float, ...]]
) -> None:
    one, two, three = ProgressTimes(a), ProgressTimes(b), ProgressTimes(c)
    left = one.followed_by(two).followed_by(three)
    right = one.followed_by(two.followed_by(three))
    for tenth, other in zip(left.tenths, right.tenths, strict=True):
        assert tenth == pytest.approx(other, rel=1e-9, abs=1e-6)


@given(
    st.floats(0, 20_000), st.floats(0, 20_000), st.floats(0, 20_000), st.integers(1, 99), st.integers(1, 50)
)
def test_any_end_can_be_learned_from(
    age: float, after: float, by: float, progress: int, reports: int
) -> None:
    mark = ProgressMark(age, progress, reports)
    news = ProgressTimes().learn(ESTIMATE, mark, after_seconds=after, by_seconds=by)
    assert ProgressTimes.checked([tenth[:5] for tenth in news.tenths]).tenths[progress // TENTHS][0] > 0


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
        ProgressTimes.checked(stored)
