"""An answer that is not understood is seen: on the item, over all tasks and in the log."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from rushes import telemetry
from rushes.domain.task import TIMEOUT, Failed, FailureType, NoAnswer, Processing, Succeeded
from rushes.domain.trouble import Trouble, TroubleRow
from rushes.money.settle import Group
from rushes.read import views
from rushes.read.installation import troubles
from rushes.read.items import export_page
from rushes.read.scope import OPERATOR
from rushes.run.commit import GROUP_TASKS_MAX
from rushes.run.lane.lane import Lane
from rushes.run.lane.unanswered import GROWN_ROWS_MAX, NEW_ROWS_MAX, Unanswered
from rushes.run.shares import Shares
from rushes.run.upkeep import Upkeep
from rushes.simulator import running_simulator
from rushes.store import batches, workers
from rushes.store.database import Database
from rushes.store.migrations import migrate
from rushes.store.tasks import ClaimedTask
from tests.books import PROVIDER, WORKER, Books
from tests.conftest import DIALECTS
from tests.harness import items, knobs, rushes_on
from tests.run.lanes import context_of
from tests.run.test_poller import SlowAnswers, poller_of, task

BUSY = NoAnswer("HTTP 503", 503)


@pytest.fixture
def books(database: Database) -> Books:
    books = Books(database)
    books.grant(books.account(), 1_000)
    return books


def in_flight(books: Books, count: int) -> list[ClaimedTask]:
    """That many tasks at the provider."""
    books.accept(1, [5] * count)
    claimed = books.claim()
    books.name(claimed)
    return claimed


def trouble_of(books: Books, task_id: int) -> dict[str, Any]:
    row = books.row("SELECT * FROM video_tasks WHERE id = :id", id=task_id)
    return {name.removeprefix("trouble_"): value for name, value in row.items() if "trouble_" in name}


def poll_row(claimed: ClaimedTask, kind: str | None = "http_503", **more: Any) -> TroubleRow:
    if kind is None:
        return TroubleRow(claimed.task_id, claimed.attempt, None)
    values: dict[str, Any] = {"reason": "HTTP 503", "times": 3, "since_ms": 500, "at_ms": 900} | more
    return TroubleRow(claimed.task_id, claimed.attempt, kind, **values)


# --- in memory ------------------------------------------------------------------------------------------


def seen(unanswered: Unanswered, task_id: int, now: float, kind: str = "http_503") -> None:
    unanswered.note(task_id, 1, kind=kind, reason=f"it was {kind}", now=now)


def test_a_trouble_counts_up_changes_and_is_over() -> None:
    unanswered = Unanswered("grsai")
    for second in (1.0, 2.0, 4.0):
        seen(unanswered, 7, second)
    assert unanswered.take(now=5.0, now_ms=105_000) == [
        TroubleRow(7, 1, "http_503", "it was http_503", 3, 101_000, 104_000)
    ]
    assert unanswered.take(now=5.0, now_ms=105_000) == []
    seen(unanswered, 7, 6.0)
    assert [row.times for row in unanswered.take(now=6.0, now_ms=106_000)] == [4]
    seen(unanswered, 7, 7.0, "timeout")
    (changed,) = unanswered.take(now=7.0, now_ms=107_000)
    assert (changed.kind, changed.times, changed.since_ms) == ("timeout", 5, 101_000)
    unanswered.understood(7)
    assert unanswered.take(now=8.0, now_ms=108_000) == [TroubleRow(7, 1, None)]
    assert unanswered.counts == {"http_503": 4, "timeout": 1}


def test_what_nobody_has_seen_yet_needs_no_clearing() -> None:
    unanswered = Unanswered("grsai")
    seen(unanswered, 7, 1.0)
    unanswered.understood(7)
    unanswered.understood(8)
    assert unanswered.take(now=2.0, now_ms=2_000) == []


def test_an_adopted_count_goes_on() -> None:
    unanswered = Unanswered("grsai")
    unanswered.remember(7, 2, Trouble("http_503", "old", 5, 10_000, 90_000), now=1.0, now_ms=100_000)
    assert unanswered.take(now=1.0, now_ms=100_000) == []
    unanswered.note(7, 2, kind="http_503", reason="new", now=3.0)
    assert unanswered.take(now=3.0, now_ms=102_000) == [
        TroubleRow(7, 2, "http_503", "new", 6, 10_000, 102_000)
    ]


def test_writes_are_bounded_and_what_is_new_goes_first() -> None:
    unanswered = Unanswered("grsai")
    count = NEW_ROWS_MAX + 5
    for task_id in range(count):
        seen(unanswered, task_id, 1.0)
    assert len(unanswered.take(now=2.0, now_ms=2_000)) == NEW_ROWS_MAX
    assert len(unanswered.take(now=2.0, now_ms=2_000)) == 5
    for task_id in range(count):
        seen(unanswered, task_id, 3.0)
    seen(unanswered, count, 3.0)
    rows = unanswered.take(now=4.0, now_ms=4_000)
    assert rows[0].task_id == count
    assert len(rows) == GROWN_ROWS_MAX + 1
    told = len(rows)
    while rows := unanswered.take(now=4.0, now_ms=4_000):
        told += len(rows)
    assert told == count + 1


def test_the_log_has_one_line_for_each_reason_and_minute() -> None:
    unanswered = Unanswered("grsai")
    with capture_logs() as lines:
        for second in range(100):
            for task_id in range(5):
                seen(unanswered, task_id, second)
            unanswered.take(now=second, now_ms=second * 1000)
        seen(unanswered, 9, 100.0, "timeout")
        unanswered.take(now=100.0, now_ms=100_000)
    told = [line for line in lines if line["event"] == telemetry.POLL_UNANSWERED]
    assert [(line["kind"], line["polls"], line["tasks"]) for line in told] == [
        ("http_503", 5, 5),
        ("http_503", 300, 5),
        ("timeout", 1, 1),
    ]
    assert told[0]["reason"] == "it was http_503"
    assert told[0]["provider"] == "grsai"


def test_a_plug_ins_kinds_are_bounded() -> None:
    unanswered = Unanswered("acme")
    for number in range(1000):
        seen(unanswered, number, 1.0, f"kind-{number}")
    assert len(unanswered.counts) <= 201
    assert unanswered.counts["other"] == 800


def test_a_poller_notes_what_was_no_answer_until_one_is() -> None:
    async def scenario() -> None:
        poller = poller_of(SlowAnswers(0.0), interval_seconds=100.0)
        followed = task(1)
        poller.add(followed)
        poller.apply(followed, BUSY)
        poller.apply(followed, BUSY)
        (row,) = poller.take_troubles(50_000)
        assert (row.kind, row.reason, row.times) == ("http_503", "HTTP 503", 2)
        poller.apply(followed, Processing(10))
        assert poller.take_troubles(51_000) == [TroubleRow(1, 1, None)]
        poller.apply(followed, BUSY)
        poller.forget(1)
        assert poller.take_troubles(52_000) == []

    asyncio.run(scenario())


# --- in the database ------------------------------------------------------------------------------------


def test_while_none_is_stored_no_more_are_brought(database: Database) -> None:
    """The database is away for long: what the group keeps in memory is bounded, and nothing is lost."""

    async def scenario() -> None:
        context = context_of(database)
        lane = Lane(SlowAnswers(0.0), context)
        lanes = {lane.provider.name: lane}
        shares = Shares(database, worker_id=WORKER, now_ms=context.now_ms, lanes=lanes)
        upkeep = Upkeep(context, lanes, shares=shares)
        troubles = lane.poller.unanswered
        for task_id in range(GROUP_TASKS_MAX):
            seen(troubles, task_id, 1.0)
        upkeep.store_progress()
        assert len(context.committer._group.troubles) == GROUP_TASKS_MAX
        seen(troubles, GROUP_TASKS_MAX, 1.0)
        upkeep.store_progress()
        assert len(context.committer._group.troubles) == GROUP_TASKS_MAX
        context.committer._take()  # the database is back
        upkeep.store_progress()
        assert [row.task_id for row in context.committer._group.troubles] == [GROUP_TASKS_MAX]

    asyncio.run(scenario())


def test_a_trouble_is_stored_and_cleared_by_its_owner_only(books: Books) -> None:
    (claimed,) = in_flight(books, 1)
    books.worker("worker-2")
    before = books.everything()
    books.apply(Group(troubles=[poll_row(claimed)]), worker_id="worker-2")
    books.apply(Group(troubles=[poll_row(claimed)._replace(attempt=9)]))
    assert books.everything() == before
    books.apply(Group(troubles=[poll_row(claimed)]))
    assert trouble_of(books, claimed.task_id) == {
        "kind": "http_503",
        "reason": "HTTP 503",
        "count": 3,
        "since_ms": 500,
        "at_ms": 900,
    }
    books.apply(Group(troubles=[poll_row(claimed, None)]))
    assert books.everything() == before


def test_of_two_rows_of_a_task_in_one_group_the_later_counts(books: Books) -> None:
    (claimed,) = in_flight(books, 1)
    books.apply(Group(troubles=[poll_row(claimed), poll_row(claimed, "timeout", times=1)]))
    assert trouble_of(books, claimed.task_id)["kind"] == "timeout"


def test_submits_count_over_attempts_until_one_is_accepted(books: Books) -> None:
    books.accept(1, [5])
    for number in (1, 2, 3):
        (claimed,) = books.claim()
        at_ms = number * 1_000
        row = TroubleRow(claimed.task_id, claimed.attempt, "http_429", "HTTP 429", None, at_ms, at_ms)
        books.apply(Group(troubles=[row], returned=[(claimed.task_id, claimed.attempt)]))
        found = trouble_of(books, claimed.task_id)
        assert (found["count"], found["since_ms"], found["at_ms"]) == (number, 1_000, at_ms)
    item = shown(books)
    assert item["status"] == "pending"
    assert item["last_poll"] is None
    assert item["last_submit"]["count"] == 3
    assert item["last_submit"]["reason"] == "HTTP 429"
    books.name(books.claim())
    assert shown(books)["last_submit"] is None
    assert set(trouble_of(books, 1).values()) == {None}


def shown(books: Books, *, to_operator: bool = True) -> dict[str, Any]:
    row = next(row for row in books.database.run_reading(batches.list_items, 1) if row["id"] == 1)
    return views.item_view(row, batch_public_id="bat_1", to_operator=to_operator)


def test_an_item_tells_operators_the_words_and_tenants_a_sentence(books: Books) -> None:
    (claimed,) = in_flight(books, 1)
    books.apply(Group(troubles=[poll_row(claimed, "http_503", reason="HTTP 503 at inner.example")]))
    assert shown(books)["last_poll"] == {
        "kind": "http_503",
        "reason": "HTTP 503 at inner.example",
        "count": 3,
        "since": "1970-01-01T00:00:00.500Z",
        "at": "1970-01-01T00:00:00.900Z",
    }
    assert "inner" not in str(shown(books, to_operator=False))
    (exported,) = books.database.run_reading(export_page, OPERATOR, "bat_1", from_index=0)
    assert exported["trouble"].startswith("poll: HTTP 503 at inner.example (3 times")


def test_a_success_hides_the_trouble_and_a_time_out_keeps_it(books: Books) -> None:
    first, second = in_flight(books, 2)
    books.apply(Group(troubles=[poll_row(first), poll_row(second)]))
    books.finish([(first, Succeeded("https://v.example/1")), (second, Failed(TIMEOUT, FailureType.TIMEOUT))])
    rows = books.rows("SELECT * FROM video_tasks ORDER BY id")
    found = [views.trouble_view(row, to_operator=True)["last_poll"] for row in rows]
    assert found[0] is None
    assert found[1] is not None
    assert found[1]["count"] == 3
    assert books.database.run_reading(troubles.trouble_groups, 10_000) == []


def test_an_adopted_task_brings_its_trouble_and_an_unanswered_submit_gets_one(books: Books) -> None:
    books.accept(1, [5, 5])
    polled, unanswered = books.claim()
    books.name([polled])
    books.apply(Group(troubles=[poll_row(polled)]))
    books.sql("UPDATE workers SET lease_expires_at_ms = 0 WHERE id = :id", id=WORKER)
    books.worker("worker-2")
    adopted = books.database.run(
        workers.adopt, "worker-2", providers=[PROVIDER], now_ms=books.now_ms, limit=10
    )
    found = {task.task_id: task.trouble for task in adopted}
    assert found[polled.task_id] == Trouble("http_503", "HTTP 503", 3, 500, 900)
    lost = found[unanswered.task_id]
    assert lost is not None
    assert (lost.kind, lost.count) == ("worker_stopped", 1)


def test_groups_are_counted_by_provider_question_and_kind_with_their_alerts(books: Books) -> None:
    claimed = in_flight(books, 14)
    rows = [poll_row(each) for each in claimed[:11]]
    rows += [poll_row(each, "timeout", since_ms=0, at_ms=299_000) for each in claimed[11:12]]
    rows += [poll_row(each, "undecodable", since_ms=0, at_ms=300_000) for each in claimed[12:13]]
    books.apply(Group(troubles=rows))
    found = books.database.run_reading(troubles.trouble_groups, 400_000)
    assert [(group.kind, group.task_count, group.is_alert) for group in found] == [
        ("http_503", 11, True),
        ("timeout", 1, False),
        ("undecodable", 1, True),
    ]
    assert {(group.provider, group.question) for group in found} == {(PROVIDER, "poll")}
    assert found[0].reason == "HTTP 503"
    assert "11 tasks" in found[0].text


def test_tasks_that_wait_their_turn_after_an_old_refusal_are_no_alert(books: Books) -> None:
    books.accept(1, [5] * 11)
    claimed = books.claim()
    rows = [TroubleRow(c.task_id, c.attempt, "http_429", "HTTP 429", None, 1_000, 1_000) for c in claimed]
    books.apply(Group(troubles=rows, returned=[(c.task_id, c.attempt) for c in claimed]))
    (fresh,) = books.database.run_reading(troubles.trouble_groups, 2_000)
    assert fresh.is_alert
    assert fresh.question == "submit"
    (old,) = books.database.run_reading(troubles.trouble_groups, 1_000 + 301_000)
    assert not old.is_alert
    assert old.task_count == 11


def test_a_given_up_attempt_keeps_the_words(books: Books) -> None:
    books.accept(1, [5])
    (claimed,) = books.claim()
    rows = [(claimed.task_id, claimed.attempt)]
    row = TroubleRow(*rows[0], "timeout", "timed out waiting", None, 1_000, 1_000)
    books.apply(Group(troubles=[row], unconfirmed=rows))
    books.apply(Group(resubmitted=rows))
    assert books.row("SELECT trouble_reason FROM task_attempts")["trouble_reason"] == "timed out waiting"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_migration_leaves_tasks_from_before_without_trouble(
    dialect: str, new_database_url: Callable[[str], str]
) -> None:
    database = Database(new_database_url(dialect))
    books = Books(database)
    books.grant(books.account(), 100)
    (claimed,) = in_flight(books, 1)
    before = books.everything()
    books.sql("DROP INDEX ix_video_tasks_troubled")
    for column in ("kind", "reason", "count", "since_ms", "at_ms"):
        books.sql(f"ALTER TABLE video_tasks DROP COLUMN trouble_{column}")
    books.sql("ALTER TABLE task_attempts DROP COLUMN trouble_reason")
    books.sql("UPDATE alembic_version SET version_num = '0010'")

    def upgrade(connection: Connection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0011")
        # what came later is there already
        connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": migrate.head()})

    database.run(upgrade)
    assert {name: [dict(sorted(row.items())) for row in rows] for name, rows in before.items()} == {
        name: [dict(sorted(row.items())) for row in rows] for name, rows in books.everything().items()
    }
    books.apply(Group(troubles=[poll_row(claimed)]))
    assert trouble_of(books, claimed.task_id)["count"] == 3
    database.close()


# --- all of it ------------------------------------------------------------------------------------------


def test_a_gateway_that_is_not_understood_is_seen_and_the_count_outlives_its_worker(
    new_database_url: Callable[[str], str],
) -> None:
    async def play() -> None:
        url = new_database_url("sqlite")
        with running_simulator(knobs(poll_server_error=1.0, render_seconds=60.0)) as simulator:
            async with rushes_on(url, simulator.base_url) as rushes:
                batch_id = (await rushes.create_batch(items(3)))["batch_id"]
                before = await seen_counts(rushes, batch_id)
                groups = await rushes.troubles()
                assert {(group["provider"], group["question"]) for group in groups} == {("grsai", "poll")}
                assert sum(group["task_count"] for group in groups) == 3
                assert await rushes.troubles(batch_id) == groups
            async with rushes_on(url, simulator.base_url) as rushes:
                after = await seen_counts(rushes, batch_id)
                assert all(now >= then for then, now in zip(before, after, strict=True))
                assert sum(after) > sum(before)

    async def seen_counts(rushes: Any, batch_id: str) -> list[int]:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(4.0, stop.set)
        await rushes.run(batch_id, stop=stop)
        found = [item["last_poll"] for item in await rushes.items(batch_id)]
        assert all(poll["kind"].startswith("http_5") for poll in found)
        return [poll["count"] for poll in found]

    asyncio.run(play())
