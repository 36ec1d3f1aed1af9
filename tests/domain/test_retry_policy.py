"""The policy of retries in a request, read strictly."""

from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError
from rushes.domain.retries import (
    NO_RETRIES,
    RETRIED_UNASKED,
    RETRIES_MAX,
    LastModel,
    RetryPolicy,
    StopLoss,
    read_policy,
)
from rushes.domain.task import FailureType

NOW = 1_790_000_000.0


def read(value: object, *, buys_clips: bool = False) -> RetryPolicy:
    return read_policy(value, DEFAULT_CATALOGUE, [], NOW, buys_clips=buys_clips)


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        (None, NO_RETRIES),
        (0, NO_RETRIES),
        (2, RetryPolicy(2)),
        ({"max": 0}, NO_RETRIES),
        ({"max": 1}, RetryPolicy(1, RETRIED_UNASKED)),
        (
            {"max": RETRIES_MAX, "reasons": ["timeout"]},
            RetryPolicy(RETRIES_MAX, frozenset({FailureType.TIMEOUT})),
        ),
        ({"max": 1, "reasons": ["bad_file"]}, RetryPolicy(1, frozenset(), on_bad_file=True)),
        ({"max": 1, "credits_max": 0}, RetryPolicy(1, credits_max=0)),
        (
            {"max": 1, "stop_loss": {"pass_rate_min": 0.4, "after": 5}},
            RetryPolicy(1, stop_loss=StopLoss(400_000, after=5)),
        ),
        (
            {"max": 1, "stop_loss": {"pass_rate_min": 1, "after": 1}},
            RetryPolicy(1, stop_loss=StopLoss(1_000_000, after=1)),
        ),
        (
            {"max": 1, "last_model": "veo3.1-pro"},
            RetryPolicy(1, last_model=LastModel.of(DEFAULT_CATALOGUE.get("veo-pro"))),
        ),
    ],
)
def test_a_policy_is_a_number_or_an_object(value: object, policy: RetryPolicy) -> None:
    assert read(value) == policy


def test_where_clips_are_bought_a_cap_means_something_without_retries() -> None:
    assert read({"max": 0, "credits_max": 5}, buys_clips=True).credits_max == 5
    with pytest.raises(InputError, match="means nothing with max 0"):
        read({"max": 0, "reasons": ["timeout"]}, buys_clips=True)


@pytest.mark.parametrize(
    ("value", "field", "problem"),
    [
        (True, "retries", ""),
        (-1, "retries", ""),
        (RETRIES_MAX + 1, "retries", ""),
        ("2", "retries", ""),
        ({}, "retries.max", "missing"),
        ({"max": 1, "reason": []}, "retries.reason", 'unknown field "reason"; did you mean "reasons"'),
        ({"max": 1, "zzzzzzz": 1}, "retries.zzzzzzz", "known: max, reasons"),
        ({"max": 0, "credits_max": 5}, "retries.credits_max", "means nothing with max 0"),
        ({"max": 1, "reasons": []}, "retries.reasons", "a list of at least one reason"),
        ({"max": 1, "reasons": "timeout"}, "retries.reasons", "a list of at least one reason"),
        ({"max": 1, "reasons": ["timeout", 5]}, "retries.reasons[1]", "must be one of"),
        ({"max": 1, "credits_max": -1}, "retries.credits_max", ""),
        ({"max": 1, "stop_loss": 3}, "retries.stop_loss", "must be an object"),
        ({"max": 1, "stop_loss": {"x": 3}}, "retries.stop_loss.x", "known: pass_rate_min, after"),
        ({"max": 1, "stop_loss": {"after": 3}}, "retries.stop_loss.pass_rate_min", "above 0 and at most 1"),
        (
            {"max": 1, "stop_loss": {"pass_rate_min": True, "after": 3}},
            "retries.stop_loss.pass_rate_min",
            "above 0 and at most 1",
        ),
        ({"max": 1, "stop_loss": {"pass_rate_min": 0, "after": 3}}, "retries.stop_loss.pass_rate_min", ""),
        ({"max": 1, "stop_loss": {"pass_rate_min": 0.5, "after": 0}}, "retries.stop_loss.after", ""),
        ({"max": 1, "last_model": 5}, "retries.last_model", "must be the name of a model, not 5"),
        ({"max": 1, "last_model": "soar-2"}, "retries.last_model", 'did you mean "sora-2"'),
    ],
)
def test_anything_else_is_refused_with_its_place(value: Any, field: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem or None) as caught:
        read(value)
    assert caught.value.field == field
