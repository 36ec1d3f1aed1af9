"""Equal items are bought once: the others take the file for nothing, and are bought when they are retried."""

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from rushes.domain.errors import ItemNotRetryable
from rushes.domain.input.duplicates import FILE_IS_GONE, LATELY_MS
from rushes.domain.task import BatchStatus, Succeeded
from rushes.files.archive_upkeep import prune
from rushes.files.due import recording_successes
from rushes.files.objects import ObjectStore
from rushes.money.accept import accept_batch, cancel_batch
from rushes.money.retry import retry_all, retry_failed
from rushes.money.reuse import end_reused
from rushes.money.settle import Group, apply_group
from rushes.store.retention import erasure
from tests.books import REFUSED, WORKER, assert_sound, batch, request
from tests.files.file_host import CLIP, Reply
from tests.files.vault import LINK_SECONDS, Vault, run

KEY = 77


def _accept(
    vault: Vault, keys: list[int | None], *, name: str, reuse: bool = True, price: int = 10, **more: Any
) -> int:
    asked = request(vault.account_id, [price] * len(keys), request_id=name, **more)
    tasks = [replace(task, request_key=key) for task, key in zip(asked.tasks, keys, strict=True)]
    accepted = vault.books.database.run(
        accept_batch, replace(asked, tasks=tasks, reuse=reuse), public_id=name, now_ms=vault.books.now_ms
    )
    return int(accepted.row["id"])


def _settle(vault: Vault, *, failing: bool = False) -> int:
    """The provider makes all that can be claimed, or refuses it; returns how many it was asked for."""
    claimed = vault.books.claim()
    vault.books.name(claimed)
    group = Group()
    for task in claimed:
        path = f"/{task.task_id}.mp4"
        vault.host.replies[path] = [Reply(CLIP)]
        verdict = REFUSED if failing else Succeeded(f"{vault.host.origin}{path}")
        group.verdicts.append((task.task_id, task.attempt, verdict))
    vault.books.database.run(
        apply_group,
        group,
        worker_id=WORKER,
        now_ms=vault.books.now_ms,
        before_closing=recording_successes({"grsai": LINK_SECONDS}, retry_failed),
    )
    return len(claimed)


def _end(vault: Vault) -> int:
    return vault.books.database.run(
        end_reused,
        now_ms=vault.books.now_ms,
        on_success=recording_successes({"grsai": LINK_SECONDS}, retry_failed),
    )


def _bought(vault: Vault) -> int:
    """A stored success of the key."""
    batch_id = _accept(vault, [KEY], name="bat_first", reuse=False)
    assert _settle(vault) == 1
    run(lambda: vault.work(vault.archiver()))
    assert [row["state"] for row in vault.files()] == ["stored"]
    return batch_id


def test_what_was_bought_before_is_a_success_of_0_credits_with_the_first_ones_file(vault: Vault) -> None:
    _bought(vault)
    before = batch(vault.books, 1)
    second = _accept(vault, [KEY, 5], name="bat_second")
    assert batch(vault.books, second)["credits_reserved"] == 10  # of the other item
    assert _end(vault) == 1
    assert _settle(vault) == 1, "no provider is asked for the first item"
    run(lambda: vault.work(vault.archiver()))
    of_first, copy, _other = vault.files()
    assert (copy["state"], copy["sha256"]) == ("stored", hashlib.sha256(CLIP).hexdigest())
    assert copy["video_key"] != of_first["video_key"]
    assert (vault.folder / copy["video_key"]).read_bytes() == CLIP
    row = batch(vault.books, second)
    assert (row["status"], row["succeeded"]) == (BatchStatus.SUCCEEDED.value, 2)
    assert (row["credits_settled"], row["credits_refunded"]) == (10, 0)
    task = vault.books.row("SELECT * FROM video_tasks WHERE batch_id = :id AND item_index = 0", id=second)
    assert (task["credits"], task["attempt"], task["remote_task_id"]) == (0, 0, None)
    assert batch(vault.books, 1) == before
    assert_sound(vault.books)


def test_without_reuse_and_after_30_days_the_same_is_bought_again(vault: Vault) -> None:
    _bought(vault)
    _accept(vault, [KEY], name="bat_second", reuse=False)
    assert _settle(vault) == 1
    vault.books.now_ms += LATELY_MS + 1
    third = _accept(vault, [KEY], name="bat_third")
    assert batch(vault.books, third)["credits_reserved"] == 10
    assert _settle(vault) == 1
    assert_sound(vault.books)


def test_equal_items_of_a_batch_wait_for_the_first_and_take_its_file(vault: Vault) -> None:
    only = _accept(vault, [KEY, KEY, None, KEY, None], name="bat_twice")
    assert batch(vault.books, only)["credits_reserved"] == 30
    assert _end(vault) == 0, "the first one is not made yet"
    assert _settle(vault) == 3
    assert batch(vault.books, only)["finalized_at_ms"] is None
    assert _end(vault) == 2
    assert _end(vault) == 0
    run(lambda: vault.work(vault.archiver(), seconds=60))
    rows = vault.files()
    assert [row["state"] for row in rows] == ["stored"] * 5
    assert {row["sha256"] for row in rows} == {hashlib.sha256(CLIP).hexdigest()}
    row = batch(vault.books, only)
    assert (row["status"], row["credits_settled"]) == (BatchStatus.SUCCEEDED.value, 30)
    assert_sound(vault.books)


def test_a_failed_source_fails_its_equals_and_their_retry_is_bought_at_the_full_price(vault: Vault) -> None:
    only = _accept(vault, [KEY, KEY], name="bat_twice")
    assert _settle(vault, failing=True) == 1
    assert _end(vault) == 1
    rows = vault.books.rows("SELECT status, error, provider FROM video_tasks ORDER BY id")
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert rows[0]["error"] == rows[1]["error"]
    row = batch(vault.books, only)
    assert (row["status"], row["credits_refunded"]) == (BatchStatus.FAILED.value, 10)
    assert_sound(vault.books)
    vault.books.database.run(retry_all, only, [1], now_ms=vault.books.now_ms)
    assert batch(vault.books, only)["credits_reserved"] == 20
    assert _settle(vault) == 1, "it is bought at the provider that the item named"
    row = batch(vault.books, only)
    assert (row["status"], row["credits_settled"]) == (BatchStatus.PARTIAL.value, 10)
    assert_sound(vault.books)
    with pytest.raises(ItemNotRetryable):
        vault.books.database.run(retry_all, only, [1], now_ms=vault.books.now_ms)


def test_a_cancelled_batch_ends_what_waits_for_a_file_and_nothing_comes_after(vault: Vault) -> None:
    only = _accept(vault, [KEY, KEY], name="bat_twice")
    vault.books.database.run(cancel_batch, only, now_ms=vault.books.now_ms)
    assert batch(vault.books, only)["status"] == BatchStatus.CANCELLED.value
    assert _end(vault) == 0
    assert vault.books.rows("SELECT is_open FROM reused_items") == [{"is_open": 0}]
    assert_sound(vault.books)


def test_the_source_stays_until_it_is_copied_and_may_then_go(vault: Vault) -> None:
    _bought(vault)
    _accept(vault, [KEY], name="bat_second")
    objects = ObjectStore(str(vault.folder))
    everything = lambda _account: vault.books.now_ms + 1  # noqa: E731
    assert asyncio.run(prune(vault.books.database, objects, everything, dry_run=True)).files == 0
    assert asyncio.run(prune(vault.books.database, objects, everything)).files == 0, "an item waits for it"
    _end(vault)
    assert asyncio.run(prune(vault.books.database, objects, everything)).files == 0, "it is to be copied"
    run(lambda: vault.work(vault.archiver()))
    vault.books.now_ms += 1
    vault.books.sql("UPDATE archived_files SET stored_at_ms = stored_at_ms + 10 WHERE task_id = 2")
    before_ms = vault.books.row("SELECT stored_at_ms + 1 AS ms FROM archived_files WHERE task_id = 1")["ms"]
    assert asyncio.run(prune(vault.books.database, objects, lambda _account: before_ms)).files == 1
    first, copy = vault.files()
    assert (first["state"], copy["state"]) == ("removed", "stored")
    assert (vault.folder / copy["video_key"]).read_bytes() == CLIP


def test_an_erased_source_is_reused_no_more_and_what_waited_for_it_fails_at_no_cost(vault: Vault) -> None:
    first = _bought(vault)
    second = _accept(vault, [KEY], name="bat_second")
    scope = erasure.Scope(vault.account_id, first)
    assert vault.books.database.run(erasure.erase_some, scope, now_ms=vault.books.now_ms) == 1
    assert _end(vault) == 1
    (task,) = vault.books.rows("SELECT * FROM video_tasks WHERE batch_id = :id", id=second)
    assert (task["status"], task["error"], task["credits"]) == ("failed", FILE_IS_GONE, 0)
    third = _accept(vault, [KEY], name="bat_third")
    assert batch(vault.books, third)["credits_reserved"] == 10
    assert_sound(vault.books)


@pytest.mark.parametrize("made_unfit", ["deleted", "rejected", "another account"])
def test_what_was_deleted_rejected_or_is_anothers_is_not_reused(vault: Vault, made_unfit: str) -> None:
    first = _bought(vault)
    if made_unfit == "deleted":
        vault.books.sql("INSERT INTO deleted_videos VALUES (:id, 0, 1)", id=first)
    elif made_unfit == "rejected":
        vault.books.sql(
            "INSERT INTO clip_verdicts (task_id, batch_id, state, verdict, reasons, created_at_ms,"
            " decided_at_ms) VALUES (1, :id, 'decided', 'rejected', 'black', 1, 1)",
            id=first,
        )
    else:
        vault.account_id = vault.books.account("another")
        vault.books.grant(vault.account_id, 100)
    second = _accept(vault, [KEY], name="bat_second")
    assert batch(vault.books, second)["credits_reserved"] == 10


def test_a_copy_whose_source_lost_its_object_is_fetched_by_the_providers_link(vault: Vault) -> None:
    _bought(vault)
    (first,) = vault.files()
    (vault.folder / first["video_key"]).unlink()
    _accept(vault, [KEY], name="bat_second")
    _end(vault)
    run(lambda: vault.work(vault.archiver()))
    assert [row["state"] for row in vault.files()] == ["stored", "stored"]


def test_the_database_of_before_knows_no_request_and_repeats_none(vault: Vault) -> None:
    _bought(vault)
    vault.books.database.run(
        lambda connection: connection.execute(text("UPDATE video_tasks SET request_key = NULL"))
    )
    second = _accept(vault, [KEY], name="bat_second")
    assert batch(vault.books, second)["credits_reserved"] == 10
