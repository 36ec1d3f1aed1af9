"""A test run says something of the code alone: its examples are the same every time."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def drawn() -> list[int]:
    numbers: list[int] = []

    @given(st.integers())
    def draw(number: int) -> None:
        numbers.append(number)

    draw()
    return numbers


@pytest.mark.skipif("HYPOTHESIS_PROFILE" in os.environ, reason="another profile was asked for")
def test_examples_are_drawn_the_same_way_every_time() -> None:
    assert settings.default is not None
    assert settings.default.derandomize
    first = drawn()
    assert len(set(first)) > 10
    assert drawn() == first


def test_the_wide_profile_draws_others() -> None:
    assert not settings.get_profile("wide").derandomize
