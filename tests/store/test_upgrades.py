"""Databases of earlier versions, with data in them, are brought to this one, and work goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, text

from benchmarks import _installation as installation
from rushes.domain.acceptance.best_of import Acceptance, BestOf
from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS
from rushes.domain.catalogue.media import MediaFacts
from rushes.domain.errors import StatementRefused
from rushes.domain.input.uploads import Upload
from rushes.domain.task import OutputFile, OutputKind, Succeeded
from rushes.money.retry import retry_failed
from rushes.money.settle import Group, apply_group
from rushes.read.board.accounts import month_statement
from rushes.read.compatible import file_batches
from rushes.read.ledger import LedgerFilter, balance, ledger_page
from rushes.read.scope import OPERATOR
from rushes.store import action_log, caps, keys, operators, webhook_keys
from rushes.store import installation as installation_facts
from rushes.store.acceptance import gates, given_back, verdicts
from rushes.store.database import Database
from rushes.store.inputs import request_files, uploads
from rushes.store.migrations import migrate
from rushes.store.outputs import further
from rushes.store.tables import guards
from rushes.store.tasks import asked, finish_if_owned, pauses, turns
from tests.books import PROVIDER, REFUSED, Books, assert_sound, video
from tests.conftest import DIALECTS


@pytest.fixture(params=DIALECTS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'old.db'}")
    else:
        database = Database(installation.new_postgresql_database(request.getfixturevalue("postgresql_uri")))
    yield database
    database.close()


def upgrade_to(database: Database, revision: str) -> None:
    """As `migrate.upgrade`, but not to the newest."""

    def run(connection: Connection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    database.run(run)


def insert_waiting(connection: Connection, *, accounts: int, batches: int) -> None:
    """One-item batches that wait, by SQL: this version's code does not know the old tables."""
    for account_id in range(1, accounts + 1):
        connection.execute(
            text(
                "INSERT INTO accounts (id, name, ledger_hash, created_at_ms)"
                " VALUES (:id, 'account ' || CAST(:id AS TEXT), '', 1)"
            ),
            {"id": account_id},
        )
    for number in range(1, accounts * batches + 1):
        row = {"id": number, "account_id": (number - 1) // batches + 1, "name": f"b{number}"}
        connection.execute(
            text(
                "INSERT INTO batches (id, public_id, account_id, request_scope, request_id, request_hash,"
                " status, total_count, pending_count, created_at_ms)"
                " VALUES (:id, :name, :account_id, 'old', :name, '', 'pending', 1, 1, 1)"
            ),
            row,
        )
        connection.execute(
            text(
                "INSERT INTO video_tasks (batch_id, account_id, item_index, prompt, model, options, credits,"
                " status, provider, api_model, created_at_ms)"
                " VALUES (:id, :account_id, 0, 'p', 'sora-2', '{}', 0, 'pending', :provider, 'sora-2', 1)"
            ),
            {**row, "provider": PROVIDER},
        )


def test_what_waited_before_there_were_turns_is_served_in_turn(empty: Database) -> None:
    upgrade_to(empty, "0010")
    empty.run(insert_waiting, accounts=3, batches=4)
    before, after = migrate.upgrade(empty)
    assert (before, after) == ("0010", migrate.head())
    books = Books(empty)
    order = [(task.batch_id - 1) // 4 + 1 for _ in range(12) for task in books.claim(1)]
    assert order == [1, 2, 3] * 4
    assert empty.run_reading(turns.waiting_models, PROVIDER, ["sora-2"]) == []


def test_what_waits_and_what_is_in_flight_goes_on_beside_chains(empty: Database) -> None:
    upgrade_to(empty, "0026")
    empty.run(insert_waiting, accounts=1, batches=3)

    def send_one(connection: Connection) -> None:
        connection.execute(
            text(
                "UPDATE video_tasks SET status = 'processing', worker_id = 'worker-1', attempt = 1,"
                " dispatched_at_ms = 5 WHERE batch_id = 2"
            )
        )
        connection.execute(
            text(
                "UPDATE batches SET pending_count = 0, processing_count = 1, status = 'processing'"
                " WHERE id = 2"
            )
        )

    empty.run(send_one)
    migrate.upgrade(empty)
    books = Books(empty)
    assert sorted(task.batch_id for task in books.claim()) == [1, 3]
    books.apply(Group(accepted=[(2, 1, "remote-2")]))
    books.apply(Group(verdicts=[(2, 1, Succeeded("https://files.example/2.mp4"))]))
    assert books.row("SELECT status, follows_index, waits_for_frame FROM video_tasks WHERE id = 2") == {
        "status": "succeeded",
        "follows_index": None,
        "waits_for_frame": 0,
    }
    assert books.rows("SELECT * FROM last_frames") == []
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []


def test_history_of_before_goes_only_where_a_fold_stands_for_it(empty: Database) -> None:
    """With finished, waiting and running tasks in it; all guards stand afterwards."""
    upgrade_to(empty, "0015")

    def fill(connection: Connection) -> None:
        insert_waiting(connection, accounts=2, batches=3)
        for statement in (
            "UPDATE batches SET status = 'failed', pending_count = 0, failed_count = 1, finalized_at_ms = 2,"
            " completed_at_ms = 2 WHERE id = 1",
            "UPDATE video_tasks SET status = 'failed', error = 'e', failure_type = 'unknown',"
            " completed_at_ms = 2 WHERE batch_id = 1",
            "INSERT INTO task_resolutions (task_id, batch_id, attempt, kind, credits, created_at_ms)"
            " SELECT id, batch_id, 0, 'refund', 0, 2 FROM video_tasks WHERE batch_id = 1",
            "UPDATE batches SET status = 'processing', pending_count = 0, processing_count = 1 WHERE id = 2",
            "UPDATE video_tasks SET status = 'processing', worker_id = 'w', attempt = 1 WHERE batch_id = 2",
        ):
            connection.execute(text(statement))

    empty.run(fill)
    before = empty.run_reading(_statuses)
    migrate.upgrade(empty)
    assert empty.run_reading(_statuses) == before == ["failed", "processing", *["pending"] * 4]
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []

    def remove(connection: Connection) -> None:
        connection.execute(text("DELETE FROM task_resolutions"))

    def fold(connection: Connection) -> None:
        connection.execute(
            text(
                "INSERT INTO folds (account_id, ledger_through_seq, ledger_hash, document, public_key,"
                " signature, created_at_ms) VALUES (1, 0, '', '{}', :key, :signature, 1)"
            ),
            {"key": "0" * 64, "signature": "0" * 128},
        )
        connection.execute(
            text(
                "INSERT INTO folded_batches (batch_id, fold_id, account_id, public_id, total_count,"
                " entries_count, credits_reserved, credits_settled, credits_refunded, finalized_at_ms,"
                " statement_hash) SELECT 1, id, 1, 'b1', 1, 0, 0, 0, 0, 2, '' FROM folds"
            )
        )

    with pytest.raises(StatementRefused, match="task_resolutions is append-only"):
        empty.run(remove)
    empty.run(fold)
    empty.run(remove)


def _statuses(connection: Connection) -> list[str]:
    return list(connection.scalars(text("SELECT status FROM video_tasks ORDER BY id")))


@pytest.mark.parametrize("in_use", [False, True])
def test_a_database_in_use_may_keep_weak_secrets_and_all_accounts_keep_theirs(
    empty: Database, in_use: bool
) -> None:
    upgrade_to(empty, "0016")
    if in_use:
        empty.run(insert_waiting, accounts=2, batches=1)
    migrate.upgrade(empty)
    assert empty.run_reading(installation_facts.takes_weak_secrets) == in_use
    assert empty.run_reading(webhook_keys.versions_of, 1, now_ms=1) == webhook_keys.KeyVersions()
    if in_use:
        rotated = empty.run(webhook_keys.rotate, 1, overlap_seconds=10, now_ms=1)
        assert rotated.all == (2, 1)


def execute(connection: Connection, statement: str) -> None:
    """Run one statement."""
    connection.execute(text(statement))


def test_the_log_of_actions_is_added_to_a_database_in_use_and_is_never_changed(empty: Database) -> None:
    upgrade_to(empty, "0017")
    empty.run(insert_waiting, accounts=1, batches=1)
    migrate.upgrade(empty)
    actor = action_log.Actor("cli:ann", "here")
    empty.run(action_log.record, actor, "key.revoke", "key 7", before={"revoked": False}, now_ms=5)
    for statement in ("UPDATE action_log SET operator = 'bob'", "DELETE FROM action_log"):
        with pytest.raises(StatementRefused, match="append-only"):
            empty.run(execute, statement)
    (row,) = empty.run_reading(action_log.newest, limit=10)
    assert (row["operator"], row["place"], row["action"], row["subject"]) == (
        "cli:ann",
        "here",
        "key.revoke",
        "key 7",
    )
    assert (row["at_ms"], row["before"], row["after"]) == (5, {"revoked": False}, None)


def test_batches_of_before_are_found_by_their_models_and_old_keys_may_do_all(empty: Database) -> None:
    upgrade_to(empty, "0018")
    empty.run(insert_waiting, accounts=2, batches=2)
    for statement in (
        "UPDATE video_tasks SET alias = 'any' WHERE batch_id = 3",
        "INSERT INTO api_keys (account_id, name, shown, key_hash, created_at_ms) VALUES (1, '', '', 'h', 1)",
    ):
        empty.run(execute, statement)
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []

    def read(connection: Connection) -> list[tuple[object, ...]]:
        rows = connection.execute(text("SELECT batch_id, name, value, account_id FROM batch_labels"))
        return sorted(tuple(row) for row in rows)

    models = [(number, "model", "sora-2", (number + 1) // 2) for number in range(1, 5)]
    assert empty.run_reading(read) == sorted([*models, (3, "model", "any", 2)])

    def scope(connection: Connection) -> object:
        return connection.scalar(text("SELECT scope FROM api_keys"))

    assert empty.run_reading(scope) == "admin"


def test_a_batch_that_was_cancelled_before_has_its_tasks_cancelled_at_the_provider(empty: Database) -> None:
    upgrade_to(empty, "0018")
    empty.run(insert_waiting, accounts=1, batches=2)

    def cancel_one(connection: Connection) -> None:
        connection.execute(text("UPDATE batches SET cancelled_at_ms = 5, status = 'cancelled' WHERE id = 2"))
        connection.execute(
            text(
                "UPDATE video_tasks SET status = 'processing', attempt = 1, worker_id = 'w',"
                " remote_task_id = 'r' || CAST(id AS TEXT), dispatched_at_ms = 2"
            )
        )

    empty.run(cancel_one)
    before, after = migrate.upgrade(empty)
    assert (before, after) == ("0018", migrate.head())
    assert empty.run_reading(asked.named_of_cancelled_batches, "w") == [(2, 1)]
    assert empty.run_reading(asked.named_of_cancelled_batches, "another") == []
    keys = empty.run_reading(asked.submit_keys_if_owned, [(1, 1), (2, 1)], worker_id="w")
    assert keys == {1: "b1-0-0-1", 2: "b2-0-0-1"}


def test_operators_and_sessions_are_added_to_a_database_in_use(empty: Database) -> None:
    upgrade_to(empty, "0020")
    empty.run(insert_waiting, accounts=1, batches=1)
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    assert empty.run_reading(operators.list_all) == []
    assert not empty.run_reading(operators.are_there)


def test_successes_of_before_have_no_verdict_and_batches_no_gate(empty: Database) -> None:
    upgrade_to(empty, "0021")
    empty.run(insert_waiting, accounts=1, batches=2)
    before, after = migrate.upgrade(empty)
    assert (before, after) == ("0021", migrate.head())
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    assert empty.run_reading(gates.of_batch, 1) == Acceptance()
    assert empty.run_reading(verdicts.counts_of_batch, "b1") == {}
    asked = Acceptance(DEFAULT_THRESHOLDS, BestOf(3, 40))
    empty.run(gates.ask_for, 2, asked)
    assert empty.run_reading(gates.of_batch, 2) == asked
    assert empty.run_reading(verdicts.counts_of_batch, "b2") == {
        **dict.fromkeys(("accepted", "rejected", "undecided", "open"), 0)
    }


def test_deliveries_of_before_are_kept_and_an_event_may_go_to_several_endpoints(empty: Database) -> None:
    upgrade_to(empty, "0022")
    empty.run(insert_waiting, accounts=1, batches=2)
    for statement in (
        "INSERT INTO webhook_endpoints (id, account_id, url, created_at_ms, disabled_at_ms)"
        " VALUES (7, 1, 'https://a.example', 1, NULL), (8, 1, 'https://b.example', 1, 5)",
        "INSERT INTO webhook_feeds (batch_id, endpoint_id, last_seq, is_open)"
        " VALUES (1, 7, 1, 0), (2, 8, 0, 1)",
        "INSERT INTO webhook_deliveries (id, account_id, endpoint_id, batch_id, seq, type, status, attempts,"
        " next_attempt_at_ms, created_at_ms) VALUES (3, 1, 7, 1, 1, 'batch.failed', 'delivered', 2, 1, 1)",
    ):
        empty.run(execute, statement)
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []

    def read(connection: Connection, query: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.execute(text(query))]

    endpoints = empty.run_reading(read, "SELECT id, url, disabled_reason FROM webhook_endpoints ORDER BY id")
    assert endpoints == [(7, "https://a.example", None), (8, "https://b.example", "gone")]
    feeds = empty.run_reading(read, "SELECT batch_id, endpoint_id, last_seq, is_open FROM webhook_feeds")
    assert sorted(feeds) == [(1, 7, 1, 0), (2, 8, 0, 1)]
    assert empty.run_reading(read, "SELECT id, endpoint_id, attempts FROM webhook_deliveries") == [(3, 7, 2)]
    again = (
        "INSERT INTO webhook_deliveries (account_id, endpoint_id, batch_id, seq, type, status,"
        " next_attempt_at_ms, created_at_ms) VALUES (1, {}, 1, 1, 'batch.failed', 'pending', 1, 1)"
    )
    empty.run(execute, again.format(8))
    with pytest.raises(StatementRefused):
        empty.run(execute, again.format(7))


def test_batches_of_before_need_no_upload_and_their_account_may_have_some(empty: Database) -> None:
    upgrade_to(empty, "0023")
    empty.run(insert_waiting, accounts=2, batches=1)
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    assert empty.run_reading(uploads.gone_of_batch, 1, now_ms=5) == []
    kept = Upload("upl_1", "0" * 64, MediaFacts("image/png", 7, 2, 3), "uploads/a", 1, 9)
    assert empty.run(uploads.add_or_renew, 1, kept) == kept
    assert empty.run(uploads.use_in_batch, 1, 1, ["upl_1"], now_ms=5) == []
    assert empty.run(uploads.use_in_batch, 2, 2, ["upl_1"], now_ms=5) == ["upl_1"], "another account's"
    assert empty.run(uploads.mark_removed_if_expired, now_ms=10, limit=5) == 0, "an open batch needs it"


def test_batches_of_before_were_made_from_no_file(empty: Database) -> None:
    upgrade_to(empty, "0024")
    empty.run(insert_waiting, accounts=1, batches=2)
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    assert empty.run_reading(file_batches.page, OPERATOR, limit=5, after=None) == ([], False)
    empty.run(request_files.note_batch, 2, input_file_id="file-1", completion_window="24h")
    made, has_more = empty.run_reading(file_batches.page, OPERATOR, limit=5, after=None)
    assert ([batch["id"] for batch in made], has_more) == (["b2"], False)


def test_what_waits_and_runs_is_of_no_paused_provider_and_nothing_was_given_back(empty: Database) -> None:
    upgrade_to(empty, "0026")
    empty.run(insert_waiting, accounts=1, batches=2)
    with empty.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE batches SET status = 'processing', pending_count = 0, processing_count = 1"
                " WHERE id = 1"
            )
        )
        connection.execute(
            text(
                "UPDATE video_tasks SET status = 'processing', worker_id = 'w', attempt = 1,"
                " dispatched_at_ms = 1 WHERE batch_id = 1"
            )
        )
    before, _ = migrate.upgrade(empty)
    assert before == "0026"
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    books = Books(empty)
    assert empty.run_reading(pauses.all_pauses) == {}
    assert empty.run_reading(given_back.found, 1) is None
    assert [task.batch_id for task in books.claim()] == [2]
    assert _statuses_by_id(empty) == ["processing", "processing"]
    ann = action_log.Actor("ann", "here")
    assert empty.run(pauses.pause, PROVIDER, reason="a test", actor=ann, now_ms=5)
    assert empty.run(operators.take_form, "token", now_ms=5)
    assert not empty.run(operators.take_form, "token", now_ms=6)


def _statuses_by_id(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return list(connection.scalars(text("SELECT status FROM video_tasks ORDER BY id")))


def test_keys_of_before_were_made_by_no_other_and_spend_up_to_caps_of_their_own(empty: Database) -> None:
    upgrade_to(empty, "0027")
    empty.run(insert_waiting, accounts=1, batches=1)
    columns = "id, account_id, name, shown, key_hash, scope, credits_per_day_max, created_at_ms"
    for number in (5, 6):
        values = f"{number}, 1, 'k', 's', 'h{number}', 'admin', 40, 1"
        empty.run(execute, f"INSERT INTO api_keys ({columns}) VALUES ({values})")
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    assert [row["made_by_key_id"] for row in empty.run_reading(keys.of_account, 1)] == [None, None]
    for number in (5, 6):
        found = empty.run_reading(
            caps.caps_for, account_id=1, request_scope=f"key:{number}", models=frozenset({"sora-2"})
        )
        assert found == [caps.DayCap("key", str(number), caps.CREDITS, 40)]


def test_of_tries_of_before_only_those_that_a_rejected_clip_bought_use_up_no_re_roll(empty: Database) -> None:
    """Both batches have a rejected clip and a try under way: best of n bought the first, the second is a
    re-roll."""
    upgrade_to(empty, "0026")
    empty.run(insert_waiting, accounts=1, batches=2)
    for statement in (
        "INSERT INTO batch_gates (batch_id, thresholds, clips_max) VALUES (1, '{}', 3), (2, '{}', NULL)",
        "INSERT INTO batch_retries (batch_id, retries_max, reasons, rerolls_count)"
        " SELECT id, 1, 'output_moderation,bad_file', 1 FROM batches",
        "UPDATE video_tasks SET status = 'processing', attempt = 1, worker_id = 'w'",
        "UPDATE video_tasks SET status = 'succeeded', video_url = 'u', completed_at_ms = 2, is_current = 0",
        "INSERT INTO clip_verdicts (task_id, batch_id, state, verdict, created_at_ms, decided_at_ms)"
        " SELECT id, batch_id, 'decided', 'rejected', 2, 2 FROM video_tasks",
        "INSERT INTO task_resolutions (task_id, batch_id, attempt, kind, credits, created_at_ms)"
        " SELECT id, batch_id, 1, 'settle', 0, 2 FROM video_tasks",
        "INSERT INTO video_tasks (batch_id, account_id, item_index, retry_number, prompt, model, options,"
        " credits, status, attempt, worker_id, remote_task_id, provider, api_model, created_at_ms)"
        " SELECT batch_id, account_id, 0, 1, 'p', model, '{}', 0, 'processing', 1, 'w', 'r' || batch_id,"
        " provider, api_model, 2 FROM video_tasks WHERE is_current = 0",
        "UPDATE batches SET status = 'processing', pending_count = 0, processing_count = 1",
    ):
        empty.run(execute, statement)
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    books = Books(empty)
    under_way = books.rows("SELECT id FROM video_tasks WHERE is_current = 1 ORDER BY batch_id")
    group = Group(verdicts=[(row["id"], 1, REFUSED) for row in under_way])
    empty.run(apply_group, group, worker_id="w", now_ms=3, before_closing=retry_failed)
    again = books.rows("SELECT batch_id, retry_number, rerolls FROM video_tasks WHERE status = 'pending'")
    assert again == [{"batch_id": 1, "retry_number": 2, "rerolls": 1}]


def test_successes_of_before_have_no_further_files_and_one_in_flight_may_bring_some(empty: Database) -> None:
    upgrade_to(empty, "0032")
    empty.run(insert_waiting, accounts=1, batches=1)

    def send(connection: Connection) -> None:
        connection.execute(
            text("UPDATE batches SET status = 'processing', pending_count = 0, processing_count = 1")
        )
        connection.execute(
            text(
                "UPDATE video_tasks SET status = 'processing', attempt = 1, worker_id = 'w',"
                " remote_task_id = 'r', dispatched_at_ms = 2"
            )
        )

    empty.run(send)
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    assert empty.run_reading(further.of_tasks, [1]) == {}
    files = (OutputFile(OutputKind.LAST_FRAME, "https://f.example/1.png"),)
    verdict = Succeeded("https://f.example/1.mp4", further_files=files)
    empty.run(finish_if_owned, [(1, 1, verdict)], worker_id="w", now_ms=5)
    (row,) = empty.run_reading(further.of_tasks, [1])[1]
    assert (row["kind"], row["url"], row["state"]) == ("last_frame", "https://f.example/1.png", "due")
    (claimed,) = empty.run(further.claim_if_due, limit=5, now_ms=6, claimed_until_ms=70)
    assert (claimed.position, claimed.attempts, claimed.provider) == (1, 1, PROVIDER)
    assert empty.run(further.claim_if_due, limit=5, now_ms=69, claimed_until_ms=140) == []
    (again,) = empty.run(further.claim_if_due, limit=5, now_ms=70, claimed_until_ms=140)
    stored = further.StoredFurther("k", "image/png", 5, "0" * 64)
    assert not empty.run(further.record_stored_if_claimed, claimed, stored, now_ms=71), "another's by now"
    assert empty.run(further.record_stored_if_claimed, again, stored, now_ms=72)


@pytest.mark.parametrize("before", ["0033", "0034"])  # without choices and repairs, and without repairs
def test_what_waits_and_runs_beside_choices_and_repairs_has_the_model_that_it_asked_for(
    empty: Database, before: str
) -> None:
    upgrade_to(empty, before)
    empty.run(insert_waiting, accounts=1, batches=2)
    for statement in (
        "INSERT INTO batch_gates (batch_id, thresholds, clips_max) VALUES (1, '{}', 3)",
        "INSERT INTO batch_retries (batch_id, retries_max, reasons) VALUES (1, 1, 'output_moderation')",
        "UPDATE video_tasks SET status = 'processing', attempt = 1, worker_id = 'w', remote_task_id = 'r'"
        " WHERE id = 1",
        "UPDATE batches SET status = 'processing', pending_count = 0, processing_count = 1 WHERE id = 1",
    ):
        empty.run(execute, statement)
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    assert empty.run_reading(gates.of_batch, 1).auto is None
    empty.run(
        apply_group,
        Group(verdicts=[(1, 1, REFUSED)]),
        worker_id="w",
        now_ms=3,
        before_closing=retry_failed,
    )
    assert sorted(task.batch_id for task in Books(empty).claim()) == [1, 2]
    rows = Books(empty).rows("SELECT DISTINCT model, choice, repair FROM video_tasks")
    assert rows == [{"model": "sora-2", "choice": None, "repair": None}]


def test_ledgers_of_before_are_found_by_their_time_and_grow_on(empty: Database) -> None:
    upgrade_to(empty, "0035")
    books = Books(empty)
    account_id = books.account()
    books.grant(account_id, 50)
    books.accept(account_id, [10, 10, 10])
    first, *others = books.claim()
    books.name([first, *others])
    books.finish([(first, video(first))])
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    books.now_ms = 90_000_000
    books.finish([(each, REFUSED) for each in others])
    assert_sound(books)
    early = empty.run_reading(month_statement, "default", from_ms=0, to_ms=2_000)
    assert (early.opening, early.closing, early.moves) == (
        0,
        20,
        [("purchase", 1, 50), ("reserve", 1, -30), ("settle", 1, 0)],
    )
    late = empty.run_reading(month_statement, "default", from_ms=2_000, to_ms=100_000_000)
    assert (late.opening, late.closing, late.moves) == (20, 40, [("refund", 2, 20)])
    entries, total = empty.run_reading(ledger_page, OPERATOR, LedgerFilter("default"), limit=2, offset=0)
    assert ([entry["type"] for entry in entries], total) == (["refund", "refund"], 5)


def test_lots_of_before_are_found_in_the_order_in_which_they_are_spent(empty: Database) -> None:
    upgrade_to(empty, "0036")
    books = Books(empty)
    account_id = books.account()
    books.grant(account_id, 50)
    books.grant(account_id, 20, expires_at_ms=100_000)
    books.accept(account_id, [10, 10, 10])
    first, *others = books.claim()
    books.name([first, *others])
    migrate.upgrade(empty)
    assert empty.run_reading(guards.missing_columns) == empty.run_reading(guards.missing_guards) == []
    books.finish([(first, video(first)), *((each, REFUSED) for each in others)])
    assert_sound(books)
    books.accept(account_id, [10], name="bat_2")
    found = empty.run_reading(balance, "default", now_ms=books.now_ms)
    lots = [(lot["kind"], lot["remaining"]) for lot in found["lots"]]
    assert (found["available"], found["reserved"], lots) == (50, 10, [("permanent", 50)])
