"""Every hot statement finds its rows through an index, on both databases, in tables of over 100,000 rows.

The statements are not copied here: the transactions are run, and what they send is explained.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from benchmarks.machines import insert_finished
from sqlalchemy import Connection, event, text

from benchmarks import _installation as installation
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.task import Failed, FailureType, Succeeded
from rushes.domain.trouble import TroubleRow
from rushes.files.links import FileLinks
from rushes.money import accept
from rushes.money.settle import Group, apply_group
from rushes.read import batches as batch_reads
from rushes.read import ledger as ledger_reads
from rushes.read.board import accounts as board
from rushes.read.board import batch_tabs, failures, overview
from rushes.read.board.item import item_in_full
from rushes.read.deliveries import delivery_page
from rushes.read.installation import gauges, troubles
from rushes.read.items import ItemFilter
from rushes.read.scope import OPERATOR, Span
from rushes.run import failover
from rushes.run.lane.fairness import claim_fairly
from rushes.run.retention import DAY_MS
from rushes.store import batches, deliveries, ledger, tasks, workers
from rushes.store.database import Database
from rushes.store.migrations import migrate
from rushes.store.tasks import turns, waiting
from tests.conftest import DIALECTS
from tests.forecasts import forecaster

FINISHED = 100_000
IN_FLIGHT = 5_000
PENDING = 2_000
LARGE_TABLES = ("video_tasks", "task_resolutions", "ledger_entries", "batch_events")
WEBHOOK_TABLES = ("batches", "webhook_feeds", "webhook_deliveries")
PARTIAL = "ix_video_tasks|ix_webhook_feeds_open|ix_webhook_deliveries_(endpoint|due)"
"""Indexes of what waits or is under way: SQLite calls it a scan when it reads one from end to end."""
WEBHOOKS_FINISHED = 20_000
WORKER = "worker"
FAST_VIDEO = DEFAULT_CATALOGUE.aliases[0]


@dataclass
class Explained:
    """Statements that were sent, each with its plan."""

    dialect: str
    tables: tuple[str, ...] = LARGE_TABLES
    plans: list[tuple[str, str]] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Statements that read a large table from end to end, or find tasks to change by a wrong index."""
        found = []
        for statement, plan in self.plans:
            whole = [table for table in self.tables if self._reads_whole(table, plan)]
            if whole:
                found.append(f"reads all of {', '.join(whole)}: {statement}\n{plan}")
            elif self._changes_tasks_of_a_group(statement) and not self._by_primary_key(plan):
                found.append(f"not by the primary key: {statement}\n{plan}")
        return found

    def _reads_whole(self, table: str, plan: str) -> bool:
        if self.dialect == "postgresql":
            return f"Seq Scan on {table}" in plan
        return re.search(rf"\bSCAN {table}\b(?! USING (COVERING )?INDEX ({PARTIAL}))", plan) is not None

    def _changes_tasks_of_a_group(self, statement: str) -> bool:
        return "UPDATE video_tasks" in statement

    def _by_primary_key(self, plan: str) -> bool:
        if self.dialect == "postgresql":
            return "Index Scan using pk_video_tasks on video_tasks" in plan
        return "SEARCH video_tasks USING INTEGER PRIMARY KEY" in plan


@pytest.fixture(scope="module", params=DIALECTS)
def large_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans') / 'plans.db'}"
    else:
        url = installation.new_postgresql_database(request.getfixturevalue("postgresql_uri"))
    database = Database(url)
    migrate.upgrade(database)
    # PostgreSQL's statistics are made before the tasks in flight come, as on a system whose load just rose
    insert_finished(database, FINISHED)
    installation.analyze(database)
    installation.seed_in_flight(database, IN_FLIGHT, batch_tasks=1000, analyzed=False)
    account_id = database.run(installation.open_account, "waiting", 1_000_000)
    waiting_tasks = [
        replace(task, alias="fast-video", options={}) for task in installation.new_tasks(PENDING)
    ]
    database.run(installation.accept_tasks, account_id, waiting_tasks)
    yield database
    database.close()


def insert_webhooks(connection: Connection) -> int:
    """Finished batches whose webhooks were delivered, and one with an event to send; returns its row id."""
    account_id = installation.open_account(connection, "webhooks", 10)
    batch_id = installation.accept_tasks(connection, account_id, installation.new_tasks(1))
    deliveries.open_feed(
        connection,
        batch_id,
        account_id=account_id,
        url="https://example.com/hook",
        now_ms=installation.now_ms(),
    )
    common = {"batch_id": batch_id, "count": WEBHOOKS_FINISHED, "now": installation.now_ms()}
    series = "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < :count)"
    connection.execute(
        text(
            f"{series} INSERT INTO batches (public_id, account_id, request_scope, request_id, request_hash,"
            " status, total_count, succeeded_count, event_seq, created_at_ms, finalized_at_ms)"
            " SELECT 'hook_' || n, account_id, 'webhooks', 'hook_' || n, '', 'succeeded', 1, 1, 3, :now, :now"
            " FROM batches, series WHERE id = :batch_id"
        ),
        common,
    )
    connection.execute(
        text(
            "INSERT INTO webhook_feeds (batch_id, endpoint_id, last_seq, is_open)"
            " SELECT b.id, f.endpoint_id, 3, 0"
            " FROM batches b, webhook_feeds f WHERE f.batch_id = :batch_id AND b.request_scope = 'webhooks'"
        ),
        {"batch_id": batch_id},
    )
    connection.execute(
        text(
            "INSERT INTO webhook_deliveries (account_id, endpoint_id, batch_id, seq, type, status, attempts,"
            " next_attempt_at_ms, created_at_ms, delivered_at_ms)"
            " SELECT b.account_id, f.endpoint_id, b.id, v.n, 'video.succeeded', 'delivered',"
            " 1, :now, :now, :now FROM webhook_feeds f, batches b,"
            " (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3) v"
            " WHERE f.batch_id = :batch_id AND b.request_scope = 'webhooks'"
        ),
        {"batch_id": batch_id, "now": installation.now_ms()},
    )
    batches.insert_events(connection, [(batch_id, 1, "batch.processing", None)], now_ms=installation.now_ms())
    connection.execute(text("UPDATE batches SET event_seq = 1 WHERE id = :id"), {"id": batch_id})
    return batch_id


def explain(
    database: Database,
    transaction: Callable[[Connection], object],
    *,
    tables: tuple[str, ...] = LARGE_TABLES,
) -> Explained:
    """Run the transaction, explain what it sends, and undo it."""
    explained, sent = Explained(database.dialect, tables), []

    def remember(
        _connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        if not many and any(table in statement for table in tables) and "EXPLAIN" not in statement:
            sent.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", remember)
    try:
        with database.engine.connect() as connection:
            transaction(connection)
            event.remove(database.engine, "before_cursor_execute", remember)
            word = "EXPLAIN" if database.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
            for statement, parameters in sent:
                rows = connection.exec_driver_sql(f"{word} {statement}", parameters).all()
                explained.plans.append((statement, "\n".join(str(row[-1]) for row in rows)))
            connection.rollback()
    finally:
        if event.contains(database.engine, "before_cursor_execute", remember):
            event.remove(database.engine, "before_cursor_execute", remember)
    assert explained.plans, "it sent nothing that reads a large table"
    return explained


def register(connection: Connection) -> int:
    now = installation.now_ms()
    workers.register(
        connection,
        WORKER,
        host="",
        pid=0,
        now_ms=now,
        lease_expires_at_ms=now + 600_000,
        holds={"grsai": 0},
    )
    return now


def look(connection: Connection) -> None:
    models = [model.name for model in DEFAULT_CATALOGUE]
    waiting_count = turns.count_waiting(
        connection, "grsai", models, count_max=64, in_flight_max=IN_FLIGHT + 100
    )
    assert waiting_count == 64


def claim(connection: Connection) -> None:
    claimed = claim_fairly(
        connection,
        provider="grsai",
        worker_id=WORKER,
        limit=64,
        now_ms=register(connection),
        in_flight_max=IN_FLIGHT + 100,
        models=[model.name for model in DEFAULT_CATALOGUE],
    )
    assert len(claimed) == 64


def settle(connection: Connection) -> None:
    """Every kind of outcome in one group, each of tasks that this worker has."""
    now = register(connection)
    owned = workers.adopt(connection, WORKER, providers=["grsai"], now_ms=now, limit=400)
    claimed = claim_fairly(connection, provider="grsai", worker_id=WORKER, limit=60, now_ms=now)
    rows = [(task.task_id, task.attempt) for task in owned]
    group = Group(
        accepted=[(task.task_id, task.attempt, f"r{task.task_id}") for task in claimed[:20]],
        unconfirmed=[(task.task_id, task.attempt) for task in claimed[20:40]],
        returned=[(task.task_id, task.attempt) for task in claimed[40:]],
        resubmitted=rows[:10],
        progress=[(*row, 50) for row in rows[10:100]],
        troubles=[TroubleRow(*row, "http_503", "HTTP 503", 2, now, now) for row in rows[10:100]],
        verdicts=[
            *((*row, Succeeded("https://file.example.com/v.mp4")) for row in rows[100:300]),
            *((*row, Failed("error", FailureType.MODEL_ERROR)) for row in rows[300:]),
        ],
    )
    applied = apply_group(connection, group, worker_id=WORKER, now_ms=now)
    assert len(applied.settled) == 300
    assert [found.task_count for found in troubles.trouble_groups(connection, now)] == [90]
    troubles.trouble_groups(connection, now, batch_id=1)


def adopt(connection: Connection) -> None:
    now = register(connection)
    assert workers.any_dead(connection, WORKER, now_ms=now)
    assert workers.survey(connection, now).free == {"grsai": IN_FLIGHT}
    assert len(workers.adopt(connection, WORKER, providers=["grsai"], now_ms=now, limit=1000)) == 1000


def give_away(connection: Connection) -> None:
    now = register(connection)
    owned = workers.adopt(connection, WORKER, providers=["grsai"], now_ms=now, limit=100)
    rows = [(task.task_id, task.attempt) for task in owned]
    given = workers.release_share_if_owned(connection, rows, provider="grsai", worker_id=WORKER, now_ms=now)
    assert len(given) == 100
    workers.release(connection, WORKER)


def look_after(connection: Connection) -> None:
    now = register(connection)
    ledger.expire_lots(connection, now)
    accept.sweep_cancelled(connection, now_ms=now)
    accept.fail_waiting(connection, wait_ms_max=7 * 86_400_000, now_ms=now)
    accept.fail_unfollowed(connection, providers=["grsai"], wait_ms_max=7 * 86_400_000, now_ms=now)
    tasks.owned_without_remote_id(connection, provider="grsai", worker_id=WORKER)
    workers.owned_in_flight(connection, WORKER, providers=["grsai"])
    tasks.remote_ids_if_owned(connection, [(number, 1) for number in range(50)], worker_id=WORKER)


def move(connection: Connection) -> None:
    """Everything that waits was asked for under an alias, and goes to another model."""
    waiting.any_movable(connection)
    assert waiting.models_under(connection, "fast-video") == ["sora-2"]
    model, target = DEFAULT_CATALOGUE.get("sora-2"), DEFAULT_CATALOGUE.get("minimax-h3")
    page = failover.move(connection, FAST_VIDEO, model.name, [target], skip=1)
    assert page.moved == {"minimax-h3": 1000}
    assert failover.shorten(connection, FAST_VIDEO, model, [target], queue_max=990) == {}
    assert failover.shorten(connection, FAST_VIDEO, model, [target], queue_max=1100) == {}
    assert failover.shorten(connection, FAST_VIDEO, target, [model], queue_max=1000) == {}
    waiting.batches_waiting_since(connection, installation.now_ms() + 1, limit=20)


def watch(connection: Connection) -> None:
    """What an operator's open pages ask for every few seconds."""
    now = register(connection)
    overview.read_overview(
        connection, catalogue=DEFAULT_CATALOGUE, forecaster=forecaster(), batches_max=6, now_ms=now
    )
    filtered = batch_reads.BatchFilter(status="failed", search="bat_")
    batch_reads.batch_page(
        connection, OPERATOR, filtered, limit=25, after=None, forecaster=forecaster(), now_ms=now
    )
    (batch, *_), _ = batch_reads.batch_page(
        connection, OPERATOR, limit=25, after=None, forecaster=forecaster(), now_ms=now
    )
    public_id = batch["batch_id"]
    looking = batch_tabs.Looking(public_id, DEFAULT_CATALOGUE, FileLinks(b"any"), forecaster(), now)
    page = Span(24, 24)
    for wanted in (ItemFilter(), ItemFilter(status="succeeded"), ItemFilter(failure_type="timeout")):
        batch_tabs.items_tab(connection, looking, wanted, page)
    batch_tabs.failures_tab(connection, looking)
    batch_tabs.credits_tab(connection, looking, page)
    batch_tabs.events_tab(connection, looking, after=10, limit=25)
    charge = DEFAULT_CATALOGUE.charge
    failed = failures.failed_indexes(
        connection, public_id, failures.FailureFilter("timeout", "sora-2", False)
    )
    failures.retry_price(connection, public_id, [0, *failed], model=None, reprice=charge, now_ms=now)
    item_in_full(connection, public_id, 0, catalogue=DEFAULT_CATALOGUE, links=FileLinks(b"any"), now_ms=now)
    batch_reads.failure_counts(connection, OPERATOR, batch["batch_id"])
    ledger_reads.account_in_full(connection, batch["account"], entries=Span(25, 25), now_ms=now)
    delivery_page(connection, OPERATOR, status="failed", limit=25, after=None)


HOT = (look, claim, settle, adopt, give_away, look_after, move, watch)


@pytest.mark.parametrize("transaction", HOT, ids=[each.__name__ for each in HOT])
def test_hot_transactions_find_their_rows_through_an_index(
    large_database: Database, transaction: Callable[[Connection], None]
) -> None:
    assert explain(large_database, transaction).faults() == []


@pytest.mark.parametrize("transaction", HOT, ids=[each.__name__ for each in HOT])
def test_and_still_do_when_the_statistics_are_fresh(
    large_database: Database, transaction: Callable[[Connection], None]
) -> None:
    installation.analyze(large_database)
    assert explain(large_database, transaction).faults() == []


@pytest.fixture(scope="module")
def webhook_database(large_database: Database) -> tuple[Database, int]:
    """With webhooks of many finished batches, and the row id of a batch that has an event to send."""
    return large_database, large_database.run(insert_webhooks)


def test_upkeep_and_sending_of_webhooks_read_no_history(webhook_database: tuple[Database, int]) -> None:
    database, batch_id = webhook_database
    now = installation.now_ms() + 1

    def send(connection: Connection) -> None:
        assert deliveries.any_news(connection)
        assert deliveries.fan_out(connection, feeds_max=64, events_max=1000, now_ms=now) == 1
        due = deliveries.endpoints_with_due(
            connection, now_ms=now, limit=64, except_endpoints=[10**9], except_accounts=[10**9]
        )
        ((endpoint_id, _account_id),) = due
        (claimed,) = deliveries.claim_if_due(
            connection, endpoint_id, limit=8, now_ms=now, claimed_until_ms=now + 60_000
        )
        deliveries.record_delivered_if_claimed(connection, claimed, http_status=200, now_ms=now)
        deliveries.reopen_feed(connection, batch_id)
        assert deliveries.purge(connection, before_ms=0, limit=1000) == 0
        assert deliveries.purge(connection, before_ms=now + 1, limit=1000) == 1000

    for _ in ("statistics of the past", "fresh statistics"):
        explained = explain(database, send, tables=WEBHOOK_TABLES)
        assert explained.faults() == []
        purges = [plan for statement, plan in explained.plans if "DELETE" in statement]
        assert all("ix_webhook_deliveries_ended" in plan for plan in purges), purges
        installation.analyze(database)


def test_reads_of_an_account_do_not_pass_its_whole_ledger(large_database: Database) -> None:
    installation.analyze(large_database)
    now = installation.now_ms()

    def read(connection: Connection) -> None:
        board.account_board(connection, "history", entries=Span(25), now_ms=now + 400 * DAY_MS)
        board.month_statement(connection, "history", from_ms=now - 60 * DAY_MS, to_ms=now - 30 * DAY_MS)
        newest, public_id = connection.execute(
            text(
                "SELECT t.id, b.public_id FROM video_tasks t JOIN batches b ON b.id = t.batch_id"
                " WHERE t.status = 'processing' ORDER BY t.id DESC LIMIT 1"
            )
        ).one()
        item_in_full(
            connection, public_id, 0, catalogue=DEFAULT_CATALOGUE, links=FileLinks(b"any"), now_ms=now
        )
        ledger.settled_parts(connection, newest)

    plans = [
        (statement, plan)
        for statement, plan in explain(large_database, read).plans
        if "ledger_entries" in statement
    ]
    assert [statement for statement, _ in plans if "count(*)" in statement] == []
    by_time = [plan for statement, plan in plans if re.search(r"WHERE .*created_at_ms", statement, re.DOTALL)]
    by_task = [plan for statement, plan in plans if re.search(r"WHERE .*task_id", statement, re.DOTALL)]
    assert len(by_time) >= 4
    assert [plan for plan in by_time if "ix_ledger_entries_time" not in plan] == []
    assert len(by_task) == 2
    assert [plan for plan in by_task if "ix_ledger_entries_batch" not in plan] == []


def test_submits_of_unknown_outcome_are_found_without_all_that_renders(large_database: Database) -> None:
    installation.analyze(large_database)
    explained = explain(large_database, lambda connection: gauges.read_gauges(connection, 1))
    [plan] = [plan for statement, plan in explained.plans if "MIN(unconfirmed_at_ms)" in statement]
    assert "ix_video_tasks_unconfirmed" in plan


def test_a_whole_table_that_is_read_would_be_noticed(large_database: Database) -> None:
    explained = explain(
        large_database,
        lambda connection: connection.execute(text("SELECT count(*) FROM video_tasks WHERE prompt = 'x'")),
    )
    assert len(explained.faults()) == 1


def test_a_group_found_by_another_index_would_be_noticed(large_database: Database) -> None:
    explained = explain(
        large_database,
        lambda connection: connection.execute(
            text("UPDATE video_tasks SET progress = 1 WHERE worker_id = 'nobody' AND status = 'processing'")
        ),
    )
    assert len(explained.faults()) == 1
