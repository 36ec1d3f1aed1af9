"""A person's verdict is a label: given once for each clip, it moves no credit by itself."""

import pytest
from sqlalchemy import text

from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import NotFound
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.domain.retries import LastModel
from rushes.money import accept, acts
from rushes.store.database import Database
from tests.books import Books


def new_batch(books: Books, database: Database, count: int = 4) -> None:
    account_id = books.account()
    books.grant(account_id, 1000)
    drafts = drafts_from_objects([{"prompt": f"p {n}"} for n in range(count)], Defaults("sora-2", {}))
    tasks = accept.priced_tasks(validate_drafts(drafts, DEFAULT_CATALOGUE, books.now_ms / 1000))
    request = accept.BatchRequest(account_id, "scope", "bat_1", "hash", tasks)
    database.run(accept.accept_batch, request, public_id="bat_1", now_ms=books.now_ms)


def test_a_person_rates_successes_once(database: Database) -> None:
    books = Books(database, now_ms=900_000_000_000)
    new_batch(books, database)
    database.run(
        lambda connection: connection.execute(
            text("UPDATE video_tasks SET status = 'succeeded', video_url = 'http://x' WHERE item_index < 3")
        )
    )
    sums = "SELECT SUM(available), SUM(held) FROM accounts"
    before = database.run(lambda connection: tuple(connection.execute(text(sums)).one()))

    def rate(indexes: list[int], verdict: Verdict) -> acts.Rated:
        return database.run(acts.rate_items, "bat_1", indexes, verdict, person="ada", now_ms=books.now_ms)

    assert rate([0, 1, 1, 3, 99], Verdict.ACCEPTED) == acts.Rated(2, 0), "3 is open, 99 is not there"
    assert rate([1, 2], Verdict.REJECTED) == acts.Rated(1, 1), "what was said of 1 stands"
    assert rate([1], Verdict.ACCEPTED) == acts.Rated(0, 1)
    found = database.run(
        lambda connection: connection.execute(
            text(
                "SELECT t.item_index, c.verdict, c.reasons, c.decided_by, c.state FROM clip_verdicts c"
                " JOIN video_tasks t ON t.id = c.task_id ORDER BY 1"
            )
        ).all()
    )
    assert [tuple(row) for row in found] == [
        (0, "accepted", "person", "person:ada", "decided"),
        (1, "accepted", "person", "person:ada", "decided"),
        (2, "rejected", "person", "person:ada", "decided"),
    ]
    assert database.run(lambda connection: tuple(connection.execute(text(sums)).one())) == before
    with pytest.raises(NotFound):
        database.run(acts.rate_items, "none", [0], Verdict.ACCEPTED, person="ada", now_ms=books.now_ms)


def test_failures_are_retried_on_another_model_unless_it_cannot_take_their_options(
    database: Database,
) -> None:
    books = Books(database, now_ms=900_000_000_000)
    new_batch(books, database)
    database.run(acts.cancel, "bat_1", now_ms=books.now_ms)

    def reopened(connection: object) -> None:
        connection.execute(  # type: ignore[attr-defined]
            text("UPDATE batches SET cancelled_at_ms = NULL, status = 'failed'")
        )
        connection.execute(  # type: ignore[attr-defined]
            text("UPDATE video_tasks SET options = :options WHERE item_index = 1"),
            {"options": '{"duration": 10}'},
        )

    database.run(reopened)
    done = database.run(
        acts.retry_items,
        "bat_1",
        [0, 1, 2],
        now_ms=books.now_ms,
        reprice=DEFAULT_CATALOGUE.charge,
        model=LastModel.of(DEFAULT_CATALOGUE.get("veo-flash")),
    )
    assert done.count == 2
    assert done.refusal == "item 1 has options that veo-flash does not take"
    rows = database.run(
        lambda connection: connection.execute(
            text("SELECT item_index, model, credits, status FROM video_tasks WHERE is_current = 1 ORDER BY 1")
        ).all()
    )
    assert [tuple(row)[1:] for row in rows] == [
        ("veo-flash", 15, "pending"),
        ("sora-2", 10, "failed"),
        ("veo-flash", 15, "pending"),
        ("sora-2", 10, "failed"),
    ]
