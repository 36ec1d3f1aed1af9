"""The proof of what accepted clips cost, small, and that it can fail."""

import random
from pathlib import Path

import pytest
from proofs.accepted import CLIPS_MAX, WAYS, World, run_way

from proofs import accepted
from rushes.domain.acceptance.best_of import BestOf
from rushes.domain.retries import NO_RETRIES
from rushes.store.database import Database


def test_best_of_gives_nearly_every_item_an_accepted_clip_and_the_books_are_exact(tmp_path: Path) -> None:
    _, share, wrong = run_way(WAYS[2], 1, 30, tmp_path)
    assert wrong == []
    assert share > 0.9


def test_credits_that_nobody_delivered_and_caps_that_were_passed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(accepted.LAWS, "c", (15, 0.0, 0.0))
    database = Database(f"sqlite:///{tmp_path / 'books.db'}", inline=True)
    world = World(database, random.Random(1))
    world.start()
    world.batch(0, "c", best_of=BestOf(3), retries=NO_RETRIES)
    assert world.differences(BestOf(3)) == []
    assert world.differences(BestOf(2)) == ["an item bought 3 clips"]
    assert sum(price for prices in world.delivered.values() for price in prices) == 10 * 3 * 15
    world.delivered.popitem()
    assert world.differences(BestOf(CLIPS_MAX)) == ["450 credits settled, 435 delivered"]
    database.close()
