"""A remote id belongs to one attempt; an acceptance that names another one's is unconfirmed, and seen."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection

from rushes.domain.task import ID_OF_ANOTHER_ATTEMPT, SUBMIT_OUTCOME_UNKNOWN
from rushes.money.audit.audit import audit
from rushes.money.settle import Group
from rushes.store.database import Database
from rushes.store.migrations import migrate
from rushes.store.tasks import remote_ids
from rushes.store.tasks.remote_ids import NamedAttempt
from tests.books import PROVIDER, Books, assert_sound, batch, video
from tests.conftest import DIALECTS

HOST = "https://service.example"


@pytest.fixture
def books(database: Database) -> Books:
    """An account with 1,000 credits."""
    made = Books(database)
    made.grant(made.account(), 1_000)
    return made


def rows_of(books: Books) -> list[dict[str, Any]]:
    """What is known of each task's remote task."""
    return books.rows("SELECT status, remote_task_id, unconfirmed_at_ms FROM video_tasks ORDER BY id")


def test_of_two_attempts_with_one_id_the_later_one_is_unconfirmed_and_the_group_goes_through(
    books: Books,
) -> None:
    books.accept(1, [10, 10, 10])
    first, second, third = books.claim()
    books.apply(Group(accepted=[(first.task_id, 1, "remote-a")]))
    applied = books.apply(
        Group(
            accepted=[(second.task_id, 1, "remote-a"), (third.task_id, 1, "remote-c")],
            # polled under the other's id before the database said so
            verdicts=[(second.task_id, 1, video(first)), (third.task_id, 1, video(third))],
        )
    )
    assert applied.named == {(third.task_id, 1)}
    assert applied.contested == {(second.task_id, 1)}
    assert applied.settled == {third.task_id}
    assert rows_of(books) == [
        {"status": "processing", "remote_task_id": "remote-a", "unconfirmed_at_ms": None},
        {"status": "processing", "remote_task_id": None, "unconfirmed_at_ms": books.now_ms},
        {"status": "succeeded", "remote_task_id": "remote-c", "unconfirmed_at_ms": None},
    ]
    (held,) = books.database.run_reading(audit).unconfirmed_submits
    assert held.as_dict() == {
        "batch_id": "bat_1",
        "item_index": 1,
        "attempt": 1,
        "since": "1970-01-01T00:00:01.000Z",
        "state": "held",
        "reason": ID_OF_ANOTHER_ATTEMPT,
        "contested_id": "remote-a",
    }
    assert_sound(books)


def test_of_two_attempts_that_get_one_id_in_one_group_the_first_one_has_it(books: Books) -> None:
    books.accept(1, [10, 10])
    first, second = books.claim()
    applied = books.apply(Group(accepted=[(second.task_id, 1, "one"), (first.task_id, 1, "one")]))
    assert len(applied.named) == len(applied.contested) == 1
    assert sorted(str(row["remote_task_id"]) for row in rows_of(books)) == ["None", "one"]
    assert_sound(books)


def test_a_verdict_under_anothers_id_settles_nothing_in_a_later_group_either(books: Books) -> None:
    books.accept(1, [10, 10])
    first, second = books.claim()
    books.apply(Group(accepted=[(first.task_id, 1, "one"), (second.task_id, 1, "one")]))
    assert books.finish([(second, video(first))]).settled == frozenset()
    applied = books.apply(Group(given_up=[(second.task_id, 1)]))
    assert applied.settled == {second.task_id}
    row = books.row("SELECT status, error FROM video_tasks WHERE id = :id", id=second.task_id)
    assert row == {"status": "failed", "error": SUBMIT_OUTCOME_UNKNOWN}
    assert batch(books)["credits_refunded"] == 10
    assert_sound(books)


def test_the_same_group_committed_twice_changes_nothing_more(books: Books) -> None:
    """As after a commit whose answer was lost."""
    books.accept(1, [10, 10])
    first, second = books.claim()
    group = Group(accepted=[(first.task_id, 1, "one"), (second.task_id, 1, "one")])
    books.apply(group)
    before = books.everything()
    assert books.apply(group).contested == {(second.task_id, 1)}
    assert books.everything() == before


def test_an_attempt_whose_id_was_anothers_may_still_be_found_under_its_own(books: Books) -> None:
    books.accept(1, [10, 10])
    first, second = books.claim()
    books.apply(Group(accepted=[(first.task_id, 1, "one"), (second.task_id, 1, "one")]))
    assert books.apply(Group(accepted=[(second.task_id, 1, "two")])).named == {(second.task_id, 1)}
    assert books.finish([(second, video(second))]).settled == {second.task_id}
    assert_sound(books)


def test_an_id_that_came_too_late_for_its_attempt_is_still_free(books: Books) -> None:
    books.accept(1, [10, 10])
    first, second = books.claim()
    books.apply(Group(unconfirmed=[(first.task_id, 1)]))
    books.apply(Group(given_up=[(first.task_id, 1)]))
    assert books.apply(Group(accepted=[(first.task_id, 1, "late")])).named == frozenset()
    assert books.apply(Group(accepted=[(second.task_id, 1, "late")])).named == {(second.task_id, 1)}
    assert_sound(books)


def test_one_id_at_two_hosts_of_a_provider_is_two_remote_tasks(books: Books) -> None:
    books.accept(1, [10, 10])
    first, second = books.claim()
    books.sql("UPDATE video_tasks SET host = :host WHERE id = :id", host=HOST, id=second.task_id)
    applied = books.apply(Group(accepted=[(first.task_id, 1, "1"), (second.task_id, 1, "1")]))
    assert applied.contested == frozenset()
    look = books.database.run_reading
    assert look(remote_ids.holder_of, PROVIDER, None, "1") == (first.task_id, 1)
    assert look(remote_ids.holder_of, PROVIDER, HOST, "1") == (second.task_id, 1)
    assert look(remote_ids.holder_of, "another", HOST, "1") is None
    assert_sound(books)


def test_two_ids_with_the_same_key_are_told_apart(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_ids, "key_of", lambda _provider, _host, _remote_task_id: 7)
    books.accept(1, [10, 10])
    first, second = books.claim()
    applied = books.apply(Group(accepted=[(first.task_id, 1, "one"), (second.task_id, 1, "two")]))
    assert applied.contested == frozenset()
    assert [row["remote_task_id"] for row in rows_of(books)] == ["one", "two"]
    assert books.database.run_reading(remote_ids.holder_of, PROVIDER, None, "three") is None


@pytest.mark.parametrize("remote_task_id", ["a", "é-漢", "0" * 300, "\ud800"])
def test_a_key_is_a_signed_integer_of_eight_bytes(remote_task_id: str) -> None:
    key = remote_ids.key_of("grsai", None, remote_task_id)
    assert -(2**63) <= key < 2**63
    assert key == remote_ids.key_of("grsai", "", remote_task_id)
    assert key != remote_ids.key_of("grsai", "h", remote_task_id)


def test_the_key_of_an_id_never_changes() -> None:
    """The keys of all ids that were ever given are stored."""
    assert remote_ids.key_of("grsai", "https://grsai.example", "task-1") == KEY_OF_TASK_1


KEY_OF_TASK_1 = 6093363102738812052


def test_of_two_transactions_that_take_one_id_at_once_the_later_one_is_refused(
    new_database_url: Callable[[str], str],
) -> None:
    """Only PostgreSQL runs two at once: the later one waits for the first one's commit."""
    database = Database(new_database_url("postgresql"))
    books = Books(database)
    books.grant(books.account(), 100)
    books.accept(1, [10, 10])
    first, second = books.claim()
    books.apply(Group(accepted=[(first.task_id, 1, "one")]))
    taken, may_commit = threading.Event(), threading.Event()
    refused: list[list[NamedAttempt]] = []
    mine = NamedAttempt(second.task_id, 1, PROVIDER, None, "two")
    theirs = mine._replace(task_id=first.task_id, attempt=9)

    def take_and_linger(connection: Connection) -> None:
        connection.exec_driver_sql(
            f"UPDATE video_tasks SET remote_task_id = 'two' WHERE id = {second.task_id}"
        )
        refused.append(remote_ids.take_if_free(connection, [mine]))
        taken.set()
        may_commit.wait(10)

    def take_too() -> None:
        taken.wait(10)
        threading.Timer(0.2, may_commit.set).start()
        refused.append(database.run(remote_ids.take_if_free, [theirs]))

    other = threading.Thread(target=take_too)
    other.start()
    database.run(take_and_linger)
    other.join(20)
    assert refused == [[], [theirs]]
    database.close()


# --- rows from before ------------------------------------------------------------------------------------


def before_remote_ids(database: Database) -> None:
    """An empty database at the revision before the ids' table."""

    def run(connection: Connection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0011")

    database.run(run)


OLD_BATCH = (
    "INSERT INTO accounts (id, name, available, held, ledger_hash, created_at_ms)"
    " VALUES (1, 'default', 0, 0, '', 1)",
    "INSERT INTO batches (id, public_id, account_id, request_scope, request_id, request_hash, status,"
    " total_count, failed_count, created_at_ms) VALUES (1, 'bat_1', 1, 's', 'r', '', 'failed', 5, 5, 1)",
)
OLD_TASK = (
    "INSERT INTO video_tasks (id, batch_id, account_id, item_index, prompt, model, options, credits, status,"
    " provider, api_model, host, attempt, remote_task_id, error, failure_type, created_at_ms)"
    " VALUES (:id, 1, 1, :id, '', 'm', '{}', 0, 'failed', 'grsai', 'm', :host, :attempt, :remote, 'no',"
    " 'unknown', 1)"
)
OLD_ATTEMPT = (
    "INSERT INTO task_attempts (task_id, attempt, provider, model, api_model, remote_task_id, ended_at_ms,"
    " error, failure_type) VALUES (5, 1, 'grsai', 'm', 'm', 'ended', 1, 'no', 'unknown')"
)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_database_with_attempts_that_carry_one_id_is_migrated_and_they_are_named(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}" if dialect == "sqlite" else new_empty_postgresql(request)
    database = Database(url)
    before_remote_ids(database)
    books = Books(database)
    for sql in OLD_BATCH:
        books.sql(sql)
    for task_id, host, attempt, remote in (
        (1, None, 1, "twice"),
        (2, None, 1, "twice"),
        (3, HOST, 1, "twice"),
        (4, None, 2, None),
        (5, None, 2, "five"),
    ):
        books.sql(OLD_TASK, id=task_id, host=host, attempt=attempt, remote=remote)
    books.sql(OLD_ATTEMPT)
    before = books.rows("SELECT * FROM video_tasks ORDER BY id")
    migrate.upgrade(database)
    after = books.rows("SELECT * FROM video_tasks ORDER BY id")
    kept = [{name: row[name] for name in old} for row, old in zip(after, before, strict=True)]
    assert kept == before, "nothing is lost, whatever columns later migrations add"
    held = books.rows("SELECT task_id, attempt FROM remote_ids ORDER BY task_id, attempt")
    assert [(row["task_id"], row["attempt"]) for row in held] == [(1, 1), (3, 1), (5, 1), (5, 2)]
    look = database.run_reading
    assert look(remote_ids.holder_of, PROVIDER, None, "twice") == (1, 1)
    assert look(remote_ids.holder_of, PROVIDER, HOST, "twice") == (3, 1)
    assert look(remote_ids.holder_of, PROVIDER, None, "ended") == (5, 1)
    assert look(remote_ids.holder_of, PROVIDER, None, "five") == (5, 2)
    twice = [v.item_index for v in look(audit).violations if v.code == "REMOTE_TASK_TWICE"]
    assert twice == [1, 2]
    database.close()


def new_empty_postgresql(request: pytest.FixtureRequest) -> str:
    """The URL of an empty PostgreSQL database."""
    from tests.conftest import _execute, _numbers, _uri_of

    uri = request.getfixturevalue("postgresql_uri")
    name = f"empty_{next(_numbers)}"
    _execute(uri, f"CREATE DATABASE {name}")
    return _uri_of(uri, name)
