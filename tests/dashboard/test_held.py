"""The pages say what is held and why, and which model of an alias makes an item."""

from rushes.dashboard.overview import page_content
from rushes.dashboard.wall import tile
from rushes.domain.models import DEFAULT_CATALOGUE
from rushes.domain.prompts import Defaults, drafts_from_objects, validate_drafts
from rushes.engine import accept, operator_reads
from rushes.engine.file_links import FileLinks
from rushes.engine.operator_reads import ItemFilter, Span
from rushes.store.database import Database
from tests.books import Books


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

    look = database.run_reading(operator_reads.look, catalogue=paused, batches_max=6, now_ms=books.now_ms)
    page = page_content("", look, [], span="day")
    assert "1 of sora-2 · sora-2 is disabled by the operator" in page
    look = database.run_reading(
        operator_reads.look, catalogue=DEFAULT_CATALOGUE, batches_max=6, now_ms=books.now_ms
    )
    assert "Tasks that are held" not in page_content("", look, [], span="day")

    whole = database.run_reading(
        operator_reads.batch_in_full,
        "bat_1",
        ItemFilter(),
        items=Span(24),
        entries=Span(24),
        links=FileLinks(b"any"),
        catalogue=paused,
        now_ms=books.now_ms,
    )
    held, waiting = (tile(item, whole["batch"], is_selected=False) for item in whole["items"])
    assert "Held: sora-2 is disabled by the operator" in held
    assert "fast-video → veo-flash · 15 credits" in waiting
    assert "Held" not in waiting
