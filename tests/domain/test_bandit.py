"""The choice of a model by what accepted clips have cost, against laws that are known."""

import random
from statistics import mean

import pytest

from rushes.domain.acceptance.bandit import Choice, Record, choose
from rushes.domain.acceptance.intervals import share_interval

LAWS = {"a": (10, 0.8), "b": (6, 0.36), "c": (15, 0.65), "d": (40, 0.95)}
"""Price and share of accepted clips: 12.5, 16.7, 23.1 and 42.1 credits per accepted one."""

SEEDS = 20
CLIPS = 300
LEARNING = 100


def costs_of(seed: int) -> tuple[float, float]:
    """Credits per accepted clip after the first hundred clips: by choice, and by the best model's law."""
    draw = random.Random(seed)
    records = dict.fromkeys(LAWS, Record())
    prices = {name: price for name, (price, _) in LAWS.items()}
    spent = accepted = 0
    for number in range(CLIPS):
        name = choose(prices, records, draw.betavariate).model
        is_accepted = draw.random() < LAWS[name][1]
        record = records[name]
        records[name] = Record(record.accepted + is_accepted, record.clips + 1)
        if number >= LEARNING:
            spent, accepted = spent + prices[name], accepted + is_accepted
    return spent / accepted, min(price / share for price, share in LAWS.values())


def test_after_a_hundred_clips_the_choice_costs_at_most_a_tenth_more_than_the_best_model() -> None:
    found = [costs_of(seed) for seed in range(SEEDS)]
    by_choice, best = mean(cost for cost, _ in found), found[0][1]
    assert best == 12.5
    assert by_choice <= 1.1 * best
    assert mean(price / share for price, share in LAWS.values()) > 1.8 * best, "by chance it is much more"


def test_the_same_draws_give_the_same_choice_with_its_reason() -> None:
    records = {"a": Record(9, 10), "b": Record(1, 10)}
    made = [choose({"a": 10, "b": 10, "c": 500}, records, random.Random(3).betavariate) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].model == "a"
    assert made[0].reason.startswith("a: 9 of 10 clips accepted, ")
    assert "; next " in made[0].reason
    assert choose({"c": 5}, {}, lambda _a, _b: 0.5) == Choice(
        "c", "c: no clips yet, 10.0 credits per accepted clip drawn"
    )
    with pytest.raises(ValueError, match="no model"):
        choose({}, {}, lambda _a, _b: 0.5)


@pytest.mark.parametrize(
    ("hits", "of", "interval"),
    [(0, 0, (0.0, 1.0)), (0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (50, 100, (0.4038, 0.5962))],
)
def test_shares_have_the_intervals_of_wilson(hits: int, of: int, interval: tuple[float, float]) -> None:
    assert share_interval(hits, of) == interval
