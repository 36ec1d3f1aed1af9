"""The worker chooses models of waiting tasks, and a batch that can have none holds up no other."""

import asyncio

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.input.auto import AutoRule
from rushes.providers.health import HealthState
from rushes.run.lane import choosing
from rushes.run.lane.choosing import AGAIN_MS, Choosing
from rushes.store.database import Database
from tests.books import Books
from tests.money.test_auto import accept

SERVED = {DEFAULT_CATALOGUE.get("sora-2").provider: HealthState("closed")}


def test_a_batch_whose_models_are_not_served_holds_up_no_other_and_is_looked_at_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "BATCHES_MAX", 1)
    books = Books(database)
    books.grant(books.account(), 1_000)
    elsewhere = next(model for model in DEFAULT_CATALOGUE if model.provider not in SERVED)
    accept(books, 2, rule=AutoRule((elsewhere.name,)))
    accept(books, 2, rule=AutoRule(("sora-2",)), name="bat_2")
    now_ms = books.now_ms
    chooser = Choosing(database, catalogue=DEFAULT_CATALOGUE, now_ms=lambda: now_ms, makes_links=False)
    assert [asyncio.run(chooser.choose(SERVED)) for _ in range(3)] == [0, 2, 0]
    served = SERVED | {elsewhere.provider: HealthState("closed")}
    assert asyncio.run(chooser.choose(served)) == 0, "not yet again"
    now_ms += AGAIN_MS
    assert asyncio.run(chooser.choose(served)) == 2
