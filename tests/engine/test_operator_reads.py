"""What operators see and do, on both databases; and that a batch of 10,000 items costs a page no more."""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, text

from rushes.dashboard.parts import DashboardParts
from rushes.domain.errors import NotFound, StoreError
from rushes.domain.models import DEFAULT_CATALOGUE
from rushes.domain.prompts import Defaults, drafts_from_objects, validate_drafts
from rushes.engine import accept, operator_acts, operator_reads
from rushes.engine.file_links import FileLinks
from rushes.engine.operator_reads import BatchFilter, ItemFilter, ReadOnly
from rushes.store import ledger
from rushes.store.database import Database
from tests.conftest import DIALECTS

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
    database.run(operator_acts.grant, account, 10 * count, expires_at_ms=None, description="", now_ms=NOW_MS)
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


def parts_on(database: Database) -> DashboardParts:
    """For pages without a browser."""
    return DashboardParts(
        secret="operator-secret-1234",
        database=database,
        read=ReadOnly(database),
        now_ms=lambda: NOW_MS,
        new_nonce=lambda: "nonce",
        on_work=lambda: None,
        catalogue=DEFAULT_CATALOGUE,
        links=FileLinks(b"any"),
        base_url=None,
        signing_key=lambda: pytest.fail("nothing is signed here"),
    )


def fail_and_reopen(connection: Connection, batch_id: str) -> None:
    """All items failed, as if the provider had; the batch is not cancelled."""
    operator_acts.cancel(connection, batch_id, now_ms=NOW_MS)
    connection.execute(
        text("UPDATE batches SET cancelled_at_ms = NULL, status = 'failed' WHERE public_id = :id"),
        {"id": batch_id},
    )
    connection.execute(text("UPDATE video_tasks SET failure_type = 'model_error' WHERE item_index % 2 = 0"))


def test_a_batch_of_ten_thousand_items_is_one_page_of_items(database: Database) -> None:
    pytest.importorskip("nicegui")
    from rushes.dashboard.batch import BatchPage

    new_batch(database, "bat_large", ITEMS)
    database.run(fail_and_reopen, "bat_large")
    for wanted, page, shown in (
        (ItemFilter(), 1, 24),
        (ItemFilter(), 417, 16),
        (ItemFilter(failure_type="model_error"), 200, 24),
        (ItemFilter(), 418, 0),
    ):
        opened = BatchPage(parts_on(database), "/dashboard", "bat_large", wanted, page, 1)
        started = time.perf_counter()
        html = asyncio.run(opened.render())
        seconds = time.perf_counter() - started
        assert html.count('class="tile"') == shown
        assert len(html) < 60_000
        assert seconds < PAGE_SECONDS_MAX
        assert "<b>prompt" not in html, "a prompt became a page"
        assert "10,000 of 10,000 finished" in html
        assert "Proved: three tables agree" in html


def test_the_proof_sees_what_does_not_agree(database: Database) -> None:
    new_batch(database, "bat_one", 3)
    proof = database.run_reading(operator_reads.credit_proof, "bat_one")
    assert (proof["agrees"], proof["held"], proof["is_final"]) == (True, 30, False)
    database.run(operator_acts.cancel, "bat_one", now_ms=NOW_MS)
    proof = database.run_reading(operator_reads.credit_proof, "bat_one")
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
    assert database.run_reading(operator_reads.credit_proof, "bat_one")["agrees"] is False


def test_failures_are_tried_again_by_type_until_the_credits_end(database: Database) -> None:
    new_batch(database, "bat_one", 6)
    database.run(fail_and_reopen, "bat_one")
    assert database.run_reading(operator_reads.failure_counts, "bat_one") == {
        "cancelled": 3,
        "model_error": 3,
    }
    done = database.run(
        operator_acts.retry_failed, "bat_one", failure_type="model_error", from_index=0, now_ms=NOW_MS
    )
    assert (done.count, done.next_index, done.refusal) == (3, None, None)
    assert database.run_reading(operator_reads.failure_counts, "bat_one") == {"cancelled": 3}
    new_batch(database, "bat_other", 2)  # leaves 30 credits
    database.run(lambda connection: connection.execute(text("UPDATE accounts SET available = available")))
    done = database.run(operator_acts.retry_items, "bat_one", [1, 99], now_ms=NOW_MS)
    assert (done.count, done.refusal) == (1, "the batch has no item 99")
    done = database.run(operator_acts.retry_items, "bat_one", [1], now_ms=NOW_MS)
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
    done = database.run(operator_acts.retry_failed, "bat_one", failure_type=None, from_index=0, now_ms=NOW_MS)
    assert (done.count, done.next_index) == (1, None)
    assert done.refusal is not None
    assert "credits" in done.refusal
    assert database.run_reading(operator_reads.credit_proof, "bat_one")["agrees"]


def test_batches_are_found_by_filter_and_page(database: Database) -> None:
    for n in range(5):
        new_batch(database, f"bat_{n}", 1, account="acme" if n % 2 else "studio")
    database.run(operator_acts.cancel, "bat_3", now_ms=NOW_MS)

    def ids(wanted: BatchFilter, before: str | None = None, limit: int = 10) -> tuple[list[str], bool]:
        found, has_more = database.run_reading(
            operator_reads.batch_page, wanted, limit=limit, before=before, now_ms=NOW_MS
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
    found = database.run_reading(
        operator_reads.troubled_tasks, soft_deadline_seconds={"sora-2": 900.0}, now_ms=NOW_MS
    )
    assert (found["overdue_count"], found["unconfirmed_count"]) == (1, 1)
    assert [(task["kind"], task["index"]) for task in found["tasks"]] == [("overdue", 0), ("unconfirmed", 2)]


def test_outcomes_are_counted_by_time_and_model_without_what_was_cancelled(database: Database) -> None:
    new_batch(database, "bat_one", 6)
    database.run(fail_and_reopen, "bat_one")
    counts, is_all = database.run_reading(
        operator_reads.outcomes_over_time, since_ms=NOW_MS - 3000, bucket_ms=1000
    )
    assert is_all
    assert [(c.bucket, c.model, c.succeeded, c.failed) for c in counts] == [(3, "sora-2", 0, 3)]


def test_a_page_cannot_write(new_database_url: Callable[[str], str]) -> None:
    database = Database(new_database_url("postgresql"))

    def write(connection: Connection) -> None:
        connection.execute(text("DELETE FROM workers"))

    with pytest.raises(StoreError):
        asyncio.run(parts_on(database).read(write))
    database.close()
