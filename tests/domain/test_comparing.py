"""Two models compared by the cost of an accepted clip, against laws that are known."""

import random

import pytest

from rushes.domain.acceptance.comparing import PAIRS_FIRST, PAIRS_MAX, Arm, cheaper, pairs_next, z_of_look

Law = tuple[int, float]
"""Credits of a clip, and the share of clips that are accepted."""


def compared(seed: int, one: Law, other: Law, pairs_max: int = 512) -> tuple[str | None, int]:
    """The model that is named, and after how many pairs."""
    draw = random.Random(seed)
    accepted, pairs, look = [0, 0], 0, 0
    while pairs < pairs_max:
        count = pairs_next(pairs, [one[0] + other[0]], 10**9)
        for _ in range(count):
            for at, (_, share) in enumerate((one, other)):
                accepted[at] += draw.random() < share
        pairs, look = pairs + count, look + 1
        arms = [
            Arm(name, pairs, hits, pairs * price)
            for name, hits, (price, _) in zip("ab", accepted, (one, other), strict=True)
        ]
        found = cheaper(arms[0], arms[1], look)
        if found is not None:
            return found.model, pairs
    return None, pairs


@pytest.mark.parametrize(
    ("one", "other"), [((10, 0.8), (10, 0.8)), ((10, 0.8), (5, 0.4)), ((40, 0.9), (10, 0.225))]
)
def test_of_two_models_that_cost_the_same_fewer_than_one_in_twenty_is_named(one: Law, other: Law) -> None:
    named = [compared(seed, one, other)[0] for seed in range(400)]
    assert sum(name is not None for name in named) <= 0.05 * len(named)


@pytest.mark.parametrize(
    ("other", "pairs_at_most"), [((40, 0.95), 16), ((15, 0.65), 64), ((13, 0.8), 256), ((7, 0.4), 256)]
)
def test_the_cheaper_of_two_is_named_the_sooner_the_more_they_differ(other: Law, pairs_at_most: int) -> None:
    found = [compared(seed, (10, 0.8), other) for seed in range(100)]
    assert sum(name == "a" for name, _ in found) >= 95
    assert sorted(pairs for _, pairs in found)[50] <= pairs_at_most


def test_a_model_of_which_nothing_was_accepted_is_dearer_and_one_without_clips_is_not_known() -> None:
    good, bad = Arm("good", 8, 8, 80), Arm("bad", 8, 0, 40)
    assert cheaper(good, bad, 1) == cheaper(bad, good, 1) == good
    assert cheaper(good, bad, 9) is None, "a later look asks for more"
    assert cheaper(good, Arm("none", 0, 0, 0), 1) is None
    assert cheaper(Arm("few", 7, 7, 70), Arm("bad", 7, 0, 35), 1) is None, "too few to look at"
    assert bad.as_dict()["cost_per_accepted"] is None
    assert bad.as_dict()["cost_interval"][1] is None
    assert good.as_dict()["cost_interval"][0] == good.as_dict()["cost_per_accepted"] == 10.0


def test_looks_are_after_8_pairs_and_twice_as_many_each_time_within_the_credits() -> None:
    assert [pairs_next(bought, [10], 10**6) for bought in (0, 8, 16, 32)] == [PAIRS_FIRST, 8, 16, 32]
    assert pairs_next(8, [10, 30], 75) == 3, "10, 30 and 10"
    assert pairs_next(8, [10], 9) == pairs_next(PAIRS_MAX, [10], 10**6) == 0
    assert z_of_look(1) < z_of_look(2)
    assert z_of_look(1) == pytest.approx(2.2414, abs=1e-4)
