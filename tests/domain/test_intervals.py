"""Confidence intervals of shares, against published values."""

import pytest

from rushes.domain.acceptance.best_of import chance_accepted, clips_expected
from rushes.domain.acceptance.intervals import share_interval
from rushes.domain.acceptance.repairs import Side, gain_interval


@pytest.mark.parametrize(
    ("hits", "of", "interval"),
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (20, 20, (0.8389, 1.0)),
        (0, 0, (0.0, 1.0)),
    ],
)
def test_the_intervals_are_those_of_wilson(hits: int, of: int, interval: tuple[float, float]) -> None:
    """From the table of Newcombe, "Two-sided confidence intervals for the single proportion" (1998)."""
    assert share_interval(hits, of) == interval


@pytest.mark.parametrize(
    ("treated", "control", "interval"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
        ((0, 10), (10, 10), (-1.0, -0.6075)),
        ((0, 0), (0, 0), (-1.0, 1.0)),
    ],
)
def test_the_intervals_of_gains_are_those_of_newcombe(
    treated: tuple[int, int], control: tuple[int, int], interval: tuple[float, float]
) -> None:
    """From the table of "Interval estimation for the difference between independent proportions" (1998)."""
    (passed, tries), (passed_control, tries_control) = treated, control
    found = gain_interval(Side(tries, passed, 0), Side(tries_control, passed_control, 0))
    assert found == pytest.approx(interval, abs=1e-4)


def test_clips_are_bought_until_one_is_accepted() -> None:
    assert chance_accepted(0.5, 3) == 0.875
    assert clips_expected(0.5, 3) == 1.75
    assert clips_expected(1.0, 3) == 1.0
    assert clips_expected(0.0, 3) == 3.0
