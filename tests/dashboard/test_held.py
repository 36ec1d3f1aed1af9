"""The pages say what is held and why, and which model of an alias makes an item."""

from dataclasses import replace

from rushes.dashboard.pages.batch.wall import tile
from rushes.dashboard.pages.overview.inbox import inbox
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.files.links import FileLinks
from rushes.money import accept
from rushes.read.board.attention import alerts
from rushes.read.board.batch_tabs import Looking, items_tab
from rushes.read.board.overview import read_overview
from rushes.read.items import ItemFilter
from rushes.read.scope import Span
from rushes.store.database import Database
from tests.books import Books
from tests.dashboard.visits import visit_on
from tests.forecasts import forecaster


def test_the_overview_and_the_wall_name_what_is_held_and_why(database: Database) -> None:
    books = Books(database, now_ms=900_000_000_000)
    account_id = books.account()
    books.grant(account_id, 100)
    drafts = drafts_from_objects(
        [{"prompt": "a", "model": "sora-2"}, {"prompt": "b", "model": "fast-video"}], Defaults("sora-2", {})
    )
    tasks = accept.priced_tasks(validate_drafts(drafts, DEFAULT_CATALOGUE, books.now_ms / 1000))
    request = accept.BatchRequest(account_id, "scope", "bat_1", "hash", tasks)
    database.run(accept.accept_batch, request, public_id="bat_1", now_ms=books.now_ms)
    paused = DEFAULT_CATALOGUE.with_overrides({"sora-2": {"disabled": True}})

    look = database.run_reading(
        read_overview, catalogue=paused, forecaster=forecaster(), batches_max=6, now_ms=books.now_ms
    )
    visit = visit_on(database, now_ms=books.now_ms)
    found = database.run_reading(alerts, look.gauges, look.held, paused, books.now_ms)
    shown = inbox(visit, found, "state")
    assert "1 of sora-2 held" in shown
    assert "sora-2 is disabled by the operator" in shown
    assert "No worker is alive" in shown
    dismissed = replace(visit, dismissed={"held:sora-2": 1, "no_worker:": 0})
    hidden = inbox(dismissed, found, "state")
    assert "1 of sora-2 held" not in hidden
    assert "2 dismissed" in hidden
    grown = replace(visit, dismissed={"held:sora-2": 0})
    assert "1 of sora-2 held" in inbox(grown, found, "state"), "it is about more than it was"
    look = database.run_reading(
        read_overview,
        catalogue=DEFAULT_CATALOGUE,
        forecaster=forecaster(),
        batches_max=6,
        now_ms=books.now_ms,
    )
    found = database.run_reading(alerts, look.gauges, look.held, DEFAULT_CATALOGUE, books.now_ms)
    assert [alert.kind for alert in found] == ["no_worker"]
    looking = Looking("bat_1", paused, FileLinks(b"any"), forecaster(), books.now_ms)
    tab = database.run_reading(items_tab, looking, ItemFilter(), Span(24))
    held, waiting = (tile(visit, item) for item in tab.items)
    assert "Held: sora-2 is disabled by the operator" in held
    assert "fast-video → veo-flash · 90 credits" in waiting
    assert "Held" not in waiting
