"""What operators see and do, on both databases; and that a batch of 10,000 items costs a page no more."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, text

from rushes.dashboard.frame import document
from rushes.dashboard.pages.batch import credit_proof as credits_tab
from rushes.dashboard.pages.batch import events, failures, table, wall
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import NotFound, StoreError
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.files.links import FileLinks
from rushes.money import accept, acts
from rushes.read import tries
from rushes.read.batches import BatchFilter, batch, batch_page, event_head, failure_counts
from rushes.read.board.attention import Kind, alerts, items_of_alert
from rushes.read.deliveries import delivery_page
from rushes.read.installation.gauges import read_gauges
from rushes.read.items import ItemFilter, export_page, item_page
from rushes.read.ledger import LedgerFilter, credit_proof, ledger_page
from rushes.read.scope import OPERATOR, ReadOnly, Scope
from rushes.store import ledger
from rushes.store.database import Database
from rushes.store.deliveries import DeliveryName
from tests.conftest import DIALECTS
from tests.dashboard.visits import visit_on
from tests.forecasts import forecaster

NOW_MS = 1_800_000_000_000
ITEMS = 10_000
PAGE_SECONDS_MAX = 2.0
"""Generous, for a busy machine: docs/dashboard.md has what was measured."""


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> Iterator[Database]:
    opened = Database(new_database_url(request.param))
    yield opened
    opened.close()


def new_batch(database: Database, public_id: str, count: int, *, account: str = "acme") -> None:
    """A batch of that many pending items, its credits granted before."""
    database.run(acts.grant, account, 10 * count, expires_at_ms=None, description="", now_ms=NOW_MS)
    spend(database, public_id, count, account=account)


def spend(database: Database, public_id: str, count: int, *, account: str = "acme") -> None:
    """A batch of that many pending items."""
    objects = [{"prompt": f"<b>prompt {n}</b>"} for n in range(count)]
    drafts = drafts_from_objects(objects, Defaults(model="sora-2", options={}))
    tasks = accept.priced_tasks(validate_drafts(drafts, DEFAULT_CATALOGUE, NOW_MS / 1000))

    def run(connection: Connection) -> None:
        request = accept.BatchRequest(
            account_id=ledger.account_id(connection, account),
            request_scope=account,
            request_id=public_id,
            request_hash=public_id,
            tasks=tasks,
        )
        accept.accept_batch(connection, request, public_id=public_id, now_ms=NOW_MS)

    database.run(run)


def fail_and_reopen(connection: Connection, batch_id: str) -> None:
    """All items failed, as if the provider had; the batch is not cancelled."""
    acts.cancel(connection, batch_id, now_ms=NOW_MS)
    connection.execute(
        text("UPDATE batches SET cancelled_at_ms = NULL, status = 'failed' WHERE public_id = :id"),
        {"id": batch_id},
    )
    connection.execute(text("UPDATE video_tasks SET failure_type = 'model_error' WHERE item_index % 2 = 0"))


def test_a_batch_of_ten_thousand_items_is_one_page_of_items(database: Database) -> None:
    new_batch(database, "bat_large", ITEMS)
    database.run(fail_and_reopen, "bat_large")
    for query, shown in (
        ({}, 60),
        ({"page": "167"}, 40),
        ({"failure_type": "model_error", "page": "80"}, 60),
        ({"page": "168"}, 0),
    ):
        visit = visit_on(database, now_ms=NOW_MS, query=query, names={"batch_id": "bat_large"})
        started = time.perf_counter()
        page = asyncio.run(wall.show(visit))
        html = document(visit, page)
        seconds = time.perf_counter() - started
        assert html.count('class="tile"') == shown
        assert len(html) < 90_000
        assert seconds < PAGE_SECONDS_MAX
        assert "<b>prompt" not in html, "a prompt became a page"
        assert "10,000 / 10,000" in html
    visit = visit_on(database, now_ms=NOW_MS, names={"batch_id": "bat_large"})
    for show in (table.show, failures.show, credits_tab.show, events.show):
        started = time.perf_counter()
        page = asyncio.run(show(visit))
        assert time.perf_counter() - started < PAGE_SECONDS_MAX
        assert len(document(visit, page)) < 150_000
    assert "Proved: three tables agree" in asyncio.run(credits_tab.show(visit)).parts["proof"]


def test_the_proof_sees_what_does_not_agree(database: Database) -> None:
    new_batch(database, "bat_one", 3)
    proof = database.run_reading(credit_proof, OPERATOR, "bat_one")
    assert (proof["agrees"], proof["held"], proof["is_final"]) == (True, 30, False)
    database.run(acts.cancel, "bat_one", now_ms=NOW_MS)
    proof = database.run_reading(credit_proof, OPERATOR, "bat_one")
    assert (
        proof["batch"]
        == proof["ledger"]
        == proof["lots"]
        == {
            "reserved": 30,
            "settled": 0,
            "refunded": 30,
        }
    )
    assert (proof["agrees"], proof["held"], proof["is_final"]) == (True, 0, True)
    database.run(
        lambda connection: connection.execute(
            text("UPDATE batch_reservations SET refunded = 20, settled = 10")
        )
    )
    assert database.run_reading(credit_proof, OPERATOR, "bat_one")["agrees"] is False


def test_failures_are_tried_again_by_type_until_the_credits_end(database: Database) -> None:
    new_batch(database, "bat_one", 6)
    database.run(fail_and_reopen, "bat_one")
    assert database.run_reading(failure_counts, OPERATOR, "bat_one") == {
        "cancelled": 3,
        "model_error": 3,
    }
    done = database.run(acts.retry_failed, "bat_one", failure_type="model_error", from_index=0, now_ms=NOW_MS)
    assert (done.count, done.next_index, done.refusal) == (3, None, None)
    assert database.run_reading(failure_counts, OPERATOR, "bat_one") == {"cancelled": 3}
    new_batch(database, "bat_other", 2)  # leaves 30 credits
    database.run(lambda connection: connection.execute(text("UPDATE accounts SET available = available")))
    done = database.run(acts.retry_items, "bat_one", [1, 99], now_ms=NOW_MS)
    assert (done.count, done.refusal) == (1, "the batch has no item 99")
    done = database.run(acts.retry_items, "bat_one", [1], now_ms=NOW_MS)
    assert done.count == 0
    assert done.refusal is not None
    assert "only a failed item" in done.refusal


def test_trying_again_stops_when_the_credits_end(database: Database) -> None:
    new_batch(database, "bat_one", 4)
    database.run(fail_and_reopen, "bat_one")  # gives back the 40 credits
    available = database.run_reading(
        lambda connection: connection.scalar(text("SELECT available FROM accounts"))
    )
    assert available == 40
    spend(database, "bat_other", 3)  # takes 30 of them
    done = database.run(acts.retry_failed, "bat_one", failure_type=None, from_index=0, now_ms=NOW_MS)
    assert (done.count, done.next_index) == (1, None)
    assert done.refusal is not None
    assert "credits" in done.refusal
    assert database.run_reading(credit_proof, OPERATOR, "bat_one")["agrees"]


def test_batches_are_found_by_filter_and_page(database: Database) -> None:
    for n in range(5):
        new_batch(database, f"bat_{n}", 1, account="acme" if n % 2 else "studio")
    database.run(acts.cancel, "bat_3", now_ms=NOW_MS)

    def ids(wanted: BatchFilter, before: str | None = None, limit: int = 10) -> tuple[list[str], bool]:
        found, has_more = database.run_reading(
            batch_page,
            OPERATOR,
            wanted,
            limit=limit,
            after=before,
            forecaster=forecaster(),
            now_ms=NOW_MS,
        )
        return [batch["batch_id"] for batch in found], has_more

    assert ids(BatchFilter(), limit=2) == (["bat_4", "bat_3"], True)
    assert ids(BatchFilter(), before="bat_3") == (["bat_2", "bat_1", "bat_0"], False)
    assert ids(BatchFilter(account="acme")) == (["bat_3", "bat_1"], False)
    assert ids(BatchFilter(status="cancelled")) == (["bat_3"], False)
    assert ids(BatchFilter(search="bat_2")) == (["bat_2"], False)
    assert ids(BatchFilter(search="%")) == ([], False)
    with pytest.raises(NotFound):
        ids(BatchFilter(account="nobody"))


def test_overdue_and_unconfirmed_tasks_are_named(database: Database) -> None:
    new_batch(database, "bat_one", 3)

    def send(connection: Connection) -> None:
        for index, (age_ms, unconfirmed) in enumerate([(901_000, None), (899_000, None), (5, NOW_MS)]):
            connection.execute(
                text(
                    "UPDATE video_tasks SET status = 'processing', worker_id = 'w', attempt = 1,"
                    " dispatched_at_ms = :at, unconfirmed_at_ms = :unconfirmed WHERE item_index = :index"
                ),
                {"at": NOW_MS - age_ms, "unconfirmed": unconfirmed, "index": index},
            )

    database.run(send)
    catalogue = Catalogue([replace(DEFAULT_CATALOGUE.get("sora-2"), soft_deadline_seconds=900.0)])
    gauges = database.run_reading(read_gauges, NOW_MS)
    found = database.run_reading(alerts, gauges, [], catalogue, NOW_MS)
    counts = {alert.kind: alert.count for alert in found}
    assert (counts["overdue"], counts["unconfirmed"]) == (1, 1)
    kinds: tuple[Kind, ...] = ("overdue", "unconfirmed")
    items = [
        (kind, item.index)
        for kind in kinds
        for item in database.run_reading(items_of_alert, kind, catalogue, NOW_MS)
    ]
    assert items == [("overdue", 0), ("unconfirmed", 2)]


def test_a_page_cannot_write(new_database_url: Callable[[str], str]) -> None:
    database = Database(new_database_url("postgresql"))

    def write(connection: Connection) -> None:
        connection.execute(text("DELETE FROM workers"))

    with pytest.raises(StoreError):
        asyncio.run(ReadOnly(database)(write))
    database.close()


def test_a_scope_finds_nothing_of_another_account(database: Database) -> None:
    new_batch(database, "bat_one", 2)
    new_batch(database, "bat_two", 1, account="studio")
    own, other = (Scope(database.run_reading(ledger.account_id, name)) for name in ("acme", "studio"))
    read = database.run_reading
    now: dict[str, Any] = {"forecaster": forecaster(), "now_ms": NOW_MS}
    links: dict[str, Any] = {"catalogue": DEFAULT_CATALOGUE, "links": FileLinks(b"any"), "now_ms": NOW_MS}

    def batch_ids(scope: Scope, after: str | None = None) -> list[str]:
        found, _ = read(batch_page, scope, limit=10, after=after, **now)
        return [one["batch_id"] for one in found]

    assert batch_ids(OPERATOR) == ["bat_two", "bat_one"]
    assert (batch_ids(own), batch_ids(other)) == (["bat_one"], ["bat_two"])
    assert read(batch, own, "bat_one", **now)["credits_reserved"] == 20
    assert "account" not in read(batch, own, "bat_one", **now)
    assert read(batch, OPERATOR, "bat_one", **now)["account"] == "acme"
    assert read(ledger_page, own, LedgerFilter(batch_id="bat_one"), limit=9, offset=0)[1] == 1
    assert read(ledger_page, other, LedgerFilter(account="acme"), limit=9, offset=0) == ([], 0)
    for refused in (
        lambda: batch_ids(other, after="bat_one"),
        lambda: read(batch, other, "bat_one", **now),
        lambda: read(event_head, other, "bat_one"),
        lambda: read(failure_counts, other, "bat_one"),
        lambda: read(credit_proof, other, "bat_one"),
        lambda: read(item_page, other, "bat_one", ItemFilter(), limit=5, offset=0, **links),
        lambda: read(export_page, other, "bat_one", from_index=0),
        lambda: read(tries.item_attempts, other, "bat_one", 0),
        lambda: read(tries.batch_rerolls, other, "bat_one"),
        lambda: read(ledger_page, other, LedgerFilter(batch_id="bat_one"), limit=5, offset=0),
        lambda: read(delivery_page, other, status=None, limit=5, after=DeliveryName("bat_one", 1)),
    ):
        with pytest.raises(NotFound):
            refused()


def test_an_operator_sees_more_of_an_item_than_its_owner(database: Database) -> None:
    new_batch(database, "bat_one", 1)
    own = Scope(database.run_reading(ledger.account_id, "acme"))
    ((his,), total), ((ours,), _) = (
        database.run_reading(
            item_page,
            scope,
            "bat_one",
            ItemFilter("pending"),
            limit=5,
            offset=0,
            catalogue=DEFAULT_CATALOGUE,
            links=FileLinks(b"any"),
            now_ms=NOW_MS,
        )
        for scope in (own, OPERATOR)
    )
    assert total == 1
    assert ours == his | {"credits": 10, "remote_task_id": None, "options": {}}


def test_an_export_has_what_is_kept_of_each_video(database: Database) -> None:
    new_batch(database, "bat_one", 3)

    def end(connection: Connection) -> None:
        connection.execute(
            text("UPDATE video_tasks SET status = 'succeeded', video_url = 'https://p/' || item_index")
        )
        connection.execute(
            text(
                "INSERT INTO archived_files (task_id, account_id, state, next_attempt_at_ms, link_dies_at_ms,"
                " video_key, bytes, sha256, width, height, duration_ms, stored_at_ms, created_at_ms)"
                " SELECT id, account_id, CASE item_index WHEN 0 THEN 'stored' ELSE 'removed' END, 0, 0,"
                " 'k.mp4', 5, 'cafe', 720, 1280, 1500, 0, 0 FROM video_tasks WHERE item_index < 2"
            )
        )

    database.run(end)
    for scope in (OPERATOR, Scope(1)):
        page = database.run_reading(export_page, scope, "bat_one", from_index=0, base="https://v.example.com")
        urls = [row["content_url"] for row in page]
        kept = "https://v.example.com/v1/videos/bat_one-{}/content"
        assert urls == [kept.format(0), None, kept.format(2)]  # the last one has no archive
        facts = ("archive_path", "sha256", "bytes", "width", "height", "duration_seconds")
        assert [page[0][name] for name in facts] == ["k.mp4", "cafe", 5, 720, 1280, 1.5]
        assert {row[name] for row in page[1:] for name in facts} == {None}
        assert database.run_reading(export_page, scope, "bat_one", from_index=3) == []
