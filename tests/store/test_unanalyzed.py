"""A table that PostgreSQL has never analysed: long lists are looked up in an index, not joined row by row.

It takes a batch of 10,000 items for one of few, and would go through the whole list for each of them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from benchmarks.machines import insert_finished
from sqlalchemy import Connection, text

from benchmarks import _installation as installation
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.read.board import failures
from rushes.store.acceptance import verdicts
from rushes.store.database import Database
from rushes.store.migrations import migrate
from rushes.store.tasks import items
from tests.store.test_plans import explain

OTHERS = 30_000
"""With far more tasks, or with far fewer, it would find the right plan by chance."""

ITEMS = 2_000


@pytest.fixture(scope="module")
def unanalyzed(postgresql_uri: str) -> Iterator[tuple[Database, int]]:
    """The database, and the row id of its large batch."""
    database = Database(installation.new_postgresql_database(postgresql_uri))
    migrate.upgrade(database)

    def never_analyze(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE video_tasks SET (autovacuum_enabled = off)"))

    def fill(connection: Connection) -> int:
        for _ in ("claimed", "settled"):
            connection.execute(text("UPDATE video_tasks SET progress = 100"))
        account_id = installation.open_account(connection, "new", ITEMS * installation.CREDITS)
        batch_id = installation.accept_tasks(connection, account_id, installation.new_tasks(ITEMS))
        connection.execute(
            text(
                "UPDATE video_tasks SET status = 'succeeded', video_url = 'https://f.example/v.mp4',"
                " attempt = 1, completed_at_ms = 1 WHERE batch_id = :id"
            ),
            {"id": batch_id},
        )
        return batch_id

    database.run(never_analyze)
    insert_finished(database, OTHERS)
    yield database, database.run(fill)
    database.close()


@pytest.mark.parametrize("name", ["lock", "judge", "price"])
def test_a_long_list_is_looked_up_in_an_index(unanalyzed: tuple[Database, int], name: str) -> None:
    database, batch_id = unanalyzed
    every = range(ITEMS)

    def run(connection: Connection) -> None:
        found: Sequence[Any] = every
        match name:
            case "lock":
                found = items.lock_items(connection, batch_id, every)
            case "judge":
                found = verdicts.decide_by_person_if_unjudged(
                    connection, batch_id, every, Verdict.ACCEPTED, person="ada", now_ms=1
                )
            case _:
                public_id = str(
                    connection.scalar(text("SELECT public_id FROM batches WHERE id = :id"), {"id": batch_id})
                )
                failures.retry_price(
                    connection, public_id, every, model=None, reprice=DEFAULT_CATALOGUE.charge, now_ms=1
                )
        assert len(found) == ITEMS

    plans = [plan for _, plan in explain(database, run, tables=("video_tasks",)).plans]
    assert [plan for plan in plans if "Join Filter" in plan and "jsonb_array_elements.value" in plan] == []
