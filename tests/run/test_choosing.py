"""The worker chooses models of waiting tasks, and a batch that can have none holds up no other."""

import asyncio

import pytest
from sqlalchemy import Connection

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.forecast import Pace
from rushes.domain.input.auto import AutoRule
from rushes.providers.health import HealthState
from rushes.run.lane import choosing
from rushes.run.lane.choosing import AGAIN_MS, Choosing
from rushes.store.database import Database
from rushes.store.tasks import waiting
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


@pytest.mark.parametrize("finish_by_ms", [None, 10**12])
def test_all_open_tasks_are_counted_only_for_a_time_to_finish_by(
    finish_by_ms: int | None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every worker chooses once a second, and an installation may have a million of them."""
    counted, open_at_providers = [], waiting.open_at_providers

    def counting(connection: Connection) -> list[waiting.AtProvider]:
        counted.append(connection)
        return open_at_providers(connection)

    monkeypatch.setattr(waiting, "open_at_providers", counting)
    books = Books(database)
    books.grant(books.account(), 1_000)
    accept(books, 2, rule=AutoRule(("sora-2",), finish_by_ms=finish_by_ms))
    chooser = Choosing(
        database,
        catalogue=DEFAULT_CATALOGUE,
        now_ms=lambda: books.now_ms,
        makes_links=False,
        paces={"grsai": Pace(1.0, 10)},
    )
    assert asyncio.run(chooser.choose(SERVED)) == 2
    assert len(counted) == (finish_by_ms is not None)
