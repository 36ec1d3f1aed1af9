"""Lengths that clients of other services ask for become lengths that a model has."""

from typing import Any

import pytest

from rushes.domain.catalogue.lengths import fitting_length, lengths_of, with_fitting_length
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, OptionSpec, WholeNumber


def model(spec: OptionSpec | None) -> Model:
    return Model(
        "m",
        "p",
        "m",
        1,
        options={} if spec is None else {"duration": spec},
        render_time_p50_seconds=1.0,
        soft_deadline_seconds=2.0,
        hard_deadline_seconds=3.0,
    )


CHOICE = model(OneOf((10, 5)))
ONE = model(OneOf((8,)))
WORDS = model(OneOf(("short", 5)))
RANGE = model(WholeNumber(4, 12, 4))
NONE = model(None)


def test_lengths_are_listed_in_order_where_they_can_be() -> None:
    assert lengths_of(CHOICE) == [5, 10]
    assert list(lengths_of(RANGE) or ()) == [4, 8, 12]
    assert lengths_of(WORDS) is None
    assert lengths_of(NONE) is None


def test_a_length_is_never_shorter_than_was_asked_for() -> None:
    assert [fitting_length([4, 8], asked) for asked in (1, 4, 5, 8, 9)] == [4, 4, 8, 8, None]


@pytest.mark.parametrize(
    ("of", "asked", "length"),
    [
        (CHOICE, 1, 5),
        (CHOICE, 5, 5),
        (CHOICE, 6, 10),
        (CHOICE, 11, 11),
        (ONE, 4, 8),
        (ONE, 9, 8),
        (RANGE, 9, 12),
        (RANGE, 8, 8),
        (RANGE, 13, 13),
        (WORDS, 4, 4),
        (WORDS, "short", "short"),
        (NONE, 5, None),
        (NONE, True, True),
        (CHOICE, True, True),
        (CHOICE, 0, 0),
        (CHOICE, 5.5, 5.5),
        (CHOICE, "6", "6"),
        (CHOICE, None, None),
    ],
)
def test_the_next_longer_length_is_taken_and_what_is_none_stays(of: Model, asked: Any, length: Any) -> None:
    given = {"size": "1080p"} if asked is None else {"duration": asked, "size": "1080p"}
    wanted = {"size": "1080p"} if length is None else {"duration": length, "size": "1080p"}
    assert with_fitting_length(of, given) == wanted
