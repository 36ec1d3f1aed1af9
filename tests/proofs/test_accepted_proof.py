"""The proof of what accepted clips cost, small, and that it can fail."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from proofs.accepted import (
    LAWS,
    WAYS,
    World,
    cost_by_law,
    empty_books,
    run_way,
)

from proofs import accepted
from rushes.domain.acceptance.best_of import Acceptance, BestOf
from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS
from rushes.domain.retries import NO_RETRIES
from rushes.simulator.quality.laws import Law
from rushes.store.database import Database


def test_each_model_costs_at_least_1_3_times_what_the_next_cheaper_one_costs() -> None:
    costs = sorted(cost_by_law(name) for name in LAWS)
    assert all(dearer >= 1.3 * cheaper for cheaper, dearer in pairwise(costs))


@pytest.mark.parametrize("way", [way for way in WAYS if way.best_of is not None], ids=lambda way: way.name)
def test_best_of_gives_nearly_every_item_an_accepted_clip_and_the_books_are_exact(
    tmp_path: Path, way: accepted.Way
) -> None:
    _, share, wrong = run_way(way, 1, 30, empty_books(tmp_path), tmp_path)
    assert wrong == []
    assert share > 0.8


def test_credits_that_nobody_delivered_and_caps_that_were_passed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(accepted.LAWS, "c", (13, Law(black=1.0)))
    database = Database(f"sqlite:///{empty_books(tmp_path)}", inline=True)
    world = World(database, random.Random(1))
    world.start()
    world.batch("c", 10, Acceptance(DEFAULT_THRESHOLDS, BestOf(3)), NO_RETRIES)
    assert world.differences(BestOf(3)) == []
    assert world.differences(BestOf(2)) == ["an item bought 3 clips"]
    assert world.differences(BestOf(3, credits_max=38)) == ["an item's clips cost 39 credits"]
    assert sum(price for _, price, _ in world.delivered) == 10 * 3 * 13
    world.delivered.pop()
    assert world.differences(BestOf(3)) == ["390 credits settled, 377 delivered"]
    database.close()
