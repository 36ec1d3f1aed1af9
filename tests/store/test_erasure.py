"""Erasing on both databases: finished tasks only, once, and the books stay sound."""

import hashlib

from rushes.store.database import Database
from rushes.store.retention import erasure
from rushes.store.retention.erasure import Scope
from tests.money.audited import audited, audited_books


def test_finished_tasks_are_erased_once_and_the_books_stay_sound(database: Database) -> None:
    books = audited_books(database)
    books.sql(
        "UPDATE video_tasks SET metadata = '{\"who\": 1}', sent_options = '{\"a\": 1}' WHERE batch_id = 1"
    )
    books.sql("UPDATE video_tasks SET trouble_reason = 'words' WHERE item_index = 0")
    entries = books.rows("SELECT hash FROM ledger_entries ORDER BY account_id, seq")

    def erase(scope: Scope) -> int:
        return books.database.run(erasure.erase_some, scope, now_ms=9)

    assert erase(Scope(1, 1, 1)) == 1
    row = books.row("SELECT * FROM video_tasks WHERE batch_id = 1 AND item_index = 1")
    assert row["prompt"] == f"erased:sha256:{hashlib.sha256(b'take 1').hexdigest()}"
    told = hashlib.sha256(b'{"who": 1}').hexdigest()
    assert row["metadata"] == f'{{"erased":"erased:sha256:{told}"}}'
    assert (row["video_url"], row["erased_at_ms"], row["custom_id"]) == (None, 9, "item-1")
    assert erase(Scope(1)) == 4
    assert erase(Scope(1)) == 0
    assert books.database.run_reading(erasure.open_count, Scope(1)) == 3
    kept = books.rows("SELECT prompt, trouble_reason FROM video_tasks WHERE erased_at_ms IS NULL ORDER BY id")
    assert [row["prompt"] for row in kept] == ["take 0", "take 1", "take 2", "take 0"]
    assert [row["trouble_reason"] for row in kept] == ["words", None, None, "words"]
    deleted = books.rows("SELECT item_index FROM deleted_videos ORDER BY item_index")
    assert [row["item_index"] for row in deleted] == [0, 2, 4]
    assert books.rows("SELECT hash FROM ledger_entries ORDER BY account_id, seq") == entries
    assert audited(books).ok


def test_names_and_metadata_of_batches_go_once_nothing_of_them_is_open(database: Database) -> None:
    books = audited_books(database)
    books.sql("UPDATE batches SET name = 'Spring', metadata = '{\"who\": \"Miller\"}'")
    books.sql(
        "INSERT INTO batch_labels (batch_id, name, value, account_id)"
        " SELECT id, 'metadata.who', 'Miller', account_id FROM batches"
    )
    before = books.rows("SELECT id, pending_count + processing_count AS open FROM batches ORDER BY id")
    still_open = [row["id"] for row in before if row["open"]]
    assert 0 < len(still_open) < len(before)
    first_ended = next(row["id"] for row in before if not row["open"])

    def named() -> list[int]:
        rows = books.rows("SELECT id FROM batches WHERE name IS NOT NULL ORDER BY id")
        labelled = books.rows(
            "SELECT DISTINCT batch_id FROM batch_labels WHERE name = 'metadata.who' ORDER BY batch_id"
        )
        assert [row["batch_id"] for row in labelled] == [row["id"] for row in rows]
        return [row["id"] for row in rows]

    def erase(scope: Scope) -> None:
        while books.database.run(erasure.erase_some, scope, now_ms=9):
            pass

    erase(Scope(1, first_ended, 0))
    assert named() == [row["id"] for row in before]
    erase(Scope(1, first_ended))
    assert named() == [row["id"] for row in before if row["id"] != first_ended]
    accounts = {row["account_id"] for row in books.rows("SELECT account_id FROM batches")}
    for account_id in accounts:
        erase(Scope(account_id))
    assert named() == still_open
    assert books.rows("SELECT 1 FROM batch_labels WHERE name = 'model'") != []
    assert audited(books).ok
