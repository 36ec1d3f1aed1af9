"""An archive that is looked at, hashed again and cleared of what is too old; interrupted, it goes on."""

import asyncio
from typing import Any

import pytest

from rushes.domain.archive import DAY_MS, Retention
from rushes.domain.errors import ArchiveUnavailable
from rushes.files import archive_upkeep
from rushes.files.archive_upkeep import Pruned, Verification, prune, verify
from rushes.files.objects import ObjectStore
from rushes.files.video_pictures import can_decode
from rushes.store.tasks import items
from tests.books import assert_sound
from tests.files.file_host import CLIP, Reply
from tests.files.vault import Vault


async def filled(vault: Vault) -> int:
    """Two files of the first account, three of another, one that is refused; returns the other's id."""
    other = vault.books.account("other")
    vault.books.grant(other, 100)
    vault.settle(Reply(CLIP), Reply(CLIP), Reply(status=302, headers={"location": "http://10.0.0.1/"}))
    vault.settle(*[Reply(CLIP)] * 3, account_id=other, name="bat_2")
    await vault.work(vault.archiver())
    return other


def batch_row_id(vault: Vault) -> int:
    return int(vault.books.row("SELECT id FROM batches WHERE public_id = 'bat_1'")["id"])


def verified(vault: Vault, **wanted: Any) -> Verification:
    return asyncio.run(verify(vault.books.database, ObjectStore(str(vault.folder)), **wanted))


def pruned(vault: Vault, retention: Retention, *, days_later: float = 0, **wanted: Any) -> Pruned:
    now_ms = vault.books.now_ms + int(days_later * DAY_MS)
    objects = ObjectStore(str(vault.folder))
    return asyncio.run(
        prune(vault.books.database, objects, lambda account: retention.cut_off_ms(account, now_ms), **wanted)
    )


def test_every_stored_object_is_hashed_again_and_what_is_wrong_is_named(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_upkeep, "PAGE_FILES", 2)
    asyncio.run(filled(vault))
    found = verified(vault)
    assert (found.checked, found.bytes, found.problems) == (5, 5 * len(CLIP), [])
    assert verified(vault, account="other").checked == 3
    keys = [row["video_key"] for row in vault.files() if row["state"] == "stored"]
    (vault.folder / keys[0]).write_bytes(CLIP[:-1] + b"!")
    (vault.folder / keys[1]).write_bytes(CLIP + b"!")
    (vault.folder / keys[4]).unlink()
    thumbnails = list(vault.folder.rglob("*-thumbnail.jpg"))
    if can_decode():
        thumbnails[0].unlink()
    found = verified(vault)
    assert found.checked == 5
    named = {problem["key"]: problem["problem"] for problem in found.problems}
    assert "hash" in named[keys[0]]
    assert f"it has {len(CLIP) + 1} bytes" in named[keys[1]]
    assert named[keys[4]] == "it is not there"
    assert found.problem_count == len(named) == 3 + can_decode()
    assert not found.as_dict()["ok"]


def test_files_go_when_their_retention_is_over_by_account_and_by_age(vault: Vault) -> None:
    asyncio.run(filled(vault))
    keep = Retention(30, {"other": 90, "nobody": None})
    assert pruned(vault, keep, days_later=29) == Pruned(0, 0)
    assert pruned(vault, keep, days_later=31, dry_run=True) == Pruned(2, 2 * len(CLIP))
    assert {row["state"] for row in vault.files()} == {"stored", "refused"}
    assert pruned(vault, keep, days_later=31) == Pruned(2, 2 * len(CLIP))
    assert [row["state"] for row in vault.files()] == ["removed", "removed", "refused", *["stored"] * 3]
    left = vault.stored_objects()
    assert all("other" in str(path) for path in left)
    assert len([path for path in left if path.suffix == ".mp4"]) == 3
    assert verified(vault).problem_count == 0
    assert pruned(vault, Retention(1, {"other": None}), days_later=10_000) == Pruned(0, 0)
    assert pruned(vault, keep, days_later=91) == Pruned(3, 3 * len(CLIP))
    assert vault.stored_objects() == []
    assert_sound(vault.books)


def test_the_file_of_a_deleted_video_goes_whatever_its_age(vault: Vault) -> None:
    asyncio.run(filled(vault))
    database, now_ms = vault.books.database, vault.books.now_ms
    database.run(items.mark_deleted, batch_row_id(vault), 1, now_ms=now_ms)
    keep = Retention()
    assert pruned(vault, keep, dry_run=True) == Pruned(1, len(CLIP))
    assert pruned(vault, keep) == Pruned(1, len(CLIP))
    states = [row["state"] for row in vault.files()]
    assert states == ["stored", "removed", "refused", *["stored"] * 3]
    assert len([path for path in vault.stored_objects() if path.suffix == ".mp4"]) == 4
    assert pruned(vault, keep) == Pruned(0, 0)
    assert_sound(vault.books)


def test_a_running_archiver_removes_what_was_deleted_without_any_retention(vault: Vault) -> None:
    asyncio.run(filled(vault))
    books = vault.books
    for index in (0, 1):
        books.database.run(items.mark_deleted, batch_row_id(vault), index, now_ms=books.now_ms)
    archiver = vault.archiver()

    async def scenario() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(archiver.run(stop))
        async with asyncio.timeout(10):
            while [row["state"] for row in vault.files()].count("removed") < 2:
                await asyncio.sleep(0.02)
        stop.set()
        await running

    asyncio.run(scenario())
    assert [row["state"] for row in vault.files()].count("stored") == 3


def test_removing_that_was_interrupted_is_ended_by_the_next_call(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(filled(vault))

    async def away(*_arguments: object) -> None:
        raise ArchiveUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "remove", away)
        with pytest.raises(ArchiveUnavailable):
            pruned(vault, Retention(1), days_later=2)
    states = [row["state"] for row in vault.files()]
    assert states.count("removed") == 2, "they are nobody's any more, but still there"
    assert len([path for path in vault.stored_objects() if path.suffix == ".mp4"]) == 5
    assert pruned(vault, Retention(1, {"other": None}), days_later=2) == Pruned(0, 0)
    assert len([path for path in vault.stored_objects() if path.suffix == ".mp4"]) == 3
    assert all(row["video_key"] is None for row in vault.files() if row["state"] == "removed")


def test_a_running_archiver_removes_what_is_too_old(vault: Vault) -> None:
    asyncio.run(filled(vault))
    vault.books.now_ms += 31 * DAY_MS
    archiver = vault.archiver(retention=Retention(30))

    async def scenario() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(archiver.run(stop))
        async with asyncio.timeout(10):
            while vault.stored_objects():
                await asyncio.sleep(0.02)
        stop.set()
        await running

    asyncio.run(scenario())
    assert [row["state"] for row in vault.files()].count("removed") == 5


def test_a_look_says_how_many_there_are_and_why_some_are_not(vault: Vault) -> None:
    async def scenario() -> None:
        await filled(vault)
        vault.settle(Reply(status=500), name="bat_3")
        await vault.work(vault.archiver())

    asyncio.run(scenario())
    now_ms = vault.books.now_ms
    look = vault.books.database.run_reading(archive_upkeep.status, now_ms=now_ms)
    assert look["files"] == {"due": 1, "stored": 5, "expired": 0, "refused": 1, "removed": 0}
    assert (look["stored_bytes"], look["at_risk"]) == (5 * len(CLIP), 0)
    assert sorted((reason["state"], reason["count"]) for reason in look["reasons"]) == [
        ("due", 1),
        ("refused", 1),
    ]
    assert "HTTP 500" in next(reason["reason"] for reason in look["reasons"] if reason["state"] == "due")
    late = vault.books.database.run_reading(archive_upkeep.status, now_ms=now_ms + 6 * 3600 * 1000)
    assert late["at_risk"] == 1
