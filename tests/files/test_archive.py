"""The archive: what is stored is a whole video, what is not says why, and no verdict or credit changes."""

import asyncio
import hashlib
import os
from typing import Any

import pytest
from structlog.testing import capture_logs

from rushes import telemetry
from rushes.domain.archive import BAD_FILES_MAX
from rushes.files.video_pictures import can_decode
from tests.books import assert_sound
from tests.files.file_host import CLIP, FileHost, Reply
from tests.files.vault import LINK_SECONDS, Vault, run

HTML = b"<!DOCTYPE html><html><body>Sign in</body></html>"


def test_a_success_is_stored_whole_with_what_it_is(vault: Vault) -> None:
    vault.settle(Reply(CLIP), Reply(CLIP), options={"aspect_ratio": "16:9", "duration": 2})
    run(lambda: vault.work(vault.archiver()))
    rows = vault.files()
    assert [row["state"] for row in rows] == ["stored", "stored"]  # the failure has no row
    for index, row in enumerate(rows):
        key = row["video_key"]
        content = (vault.folder / key).read_bytes()
        assert content == CLIP
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert (row["bytes"], row["width"], row["height"]) == (len(CLIP), 160, 90)
        assert row["duration_ms"] == 2000
        assert key == f"an_odd_name/bat_1/{index:05d}-{row['task_id']}-{row['sha256'][:16]}.mp4"
        if can_decode():
            for name in ("thumbnail_key", "poster_key"):
                assert (vault.folder / row[name]).read_bytes().startswith(b"\xff\xd8\xff")
    assert_sound(vault.books)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(HTML, headers={"content-type": "video/mp4"}), "text page"),
        (Reply(b""), "empty"),
        (Reply(CLIP[: len(CLIP) * 2 // 3]), "breaks off"),
        (Reply(CLIP + b"\x00" * 200_000), "more than 100000 bytes"),
        (Reply(CLIP + b"\x00" * 200_000, announced=10**9), "more than 100000 bytes"),
        (Reply(b"\x00\x00\x00\x08free" * 3), "no ftyp"),
        (Reply(CLIP.replace(b"vide", b"soun")), "no track of video"),
        (Reply(status=400), "HTTP 400"),
    ],
)
def test_what_is_no_video_is_refused_after_some_tries_and_never_stored(
    vault: Vault, reply: Reply, reason: str
) -> None:
    vault.settle(reply)
    run(lambda: vault.work(vault.archiver(file_bytes_max=100_000), seconds=200))
    (row,) = vault.files()
    assert row["state"] == "refused"
    assert reason in row["reason"]
    assert (row["attempts"], row["bad_files"]) == (BAD_FILES_MAX, BAD_FILES_MAX)
    assert vault.stored_objects() == []
    assert_sound(vault.books)
    assert vault.books.row("SELECT status FROM video_tasks WHERE id = :id", id=row["task_id"]) == {
        "status": "succeeded"
    }


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"duration": 10}, "10 s were asked for"), ({"aspect_ratio": "9:16"}, "9:16 was asked for")],
)
def test_another_length_or_shape_than_asked_for_is_stored_at_once_and_said(
    vault: Vault, options: dict[str, Any], reason: str
) -> None:
    vault.settle(Reply(CLIP), options=options)
    run(lambda: vault.work(vault.archiver()))
    (row,) = vault.files()
    assert (row["state"], row["attempts"]) == ("stored", 1)
    assert reason in row["reason"]
    assert vault.verdicts() == []


@pytest.mark.skipif(not can_decode(), reason="PyAV is not installed")
def test_boxes_around_nothing_that_can_be_decoded_are_refused(vault: Vault) -> None:
    start = CLIP.index(b"mdat") + 4
    end = start - 8 + int.from_bytes(CLIP[start - 8 : start - 4])
    vault.settle(Reply(CLIP[:start] + b"\xa5" * (end - start) + CLIP[end:]))
    run(lambda: vault.work(vault.archiver(), seconds=200))
    (row,) = vault.files()
    assert row["state"] == "refused"
    assert "decode" in row["reason"]


def test_a_host_that_fails_for_minutes_is_waited_for(vault: Vault) -> None:
    bad = [Reply(status=500)] * 12 + [Reply(CLIP[:1000], announced=len(CLIP)), Reply(HTML), Reply(CLIP)]
    vault.settle(bad)
    run(lambda: vault.work(vault.archiver(), seconds=900))
    (row,) = vault.files()
    assert row["state"] == "stored"
    assert (row["attempts"], row["bad_files"], row["reason"]) == (15, 1, None)


def test_a_link_that_dies_first_is_called_out_before_and_ends_as_expired(vault: Vault) -> None:
    vault.settle(Reply(status=500))
    archiver = vault.archiver()

    async def scenario() -> None:
        await vault.work(archiver)
        assert await archiver.alert() == 0
        vault.books.now_ms += int((LINK_SECONDS - 600) * 1000)
        assert await archiver.alert() == 1
        assert await archiver.alert() == 0
        await vault.work(archiver)
        assert vault.files()[0]["state"] == "due"
        await vault.work(archiver, seconds=700)

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert vault.files()[0]["state"] == "expired"
    named = [entry["event"] for entry in logs]
    assert named.index(telemetry.ARCHIVE_AT_RISK) < named.index(telemetry.ARCHIVE_EXPIRED)
    assert_sound(vault.books)


@pytest.mark.parametrize(("status", "with_key"), [(403, False), (401, False), (404, True), (410, True)])
def test_a_dead_link_ends_as_expired(vault: Vault, status: int, with_key: bool) -> None:
    vault.settle(Reply(status=status))
    run(lambda: vault.work(vault.archiver(with_key=with_key), seconds=200))
    assert vault.files()[0]["state"] == "expired"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_loses_no_file_whose_link_lives(vault: Vault, status: int) -> None:
    """The key is being changed: for an hour the provider's own host refuses it."""
    vault.settle([Reply(status=status)] * 70 + [Reply(CLIP)])
    run(lambda: vault.work(vault.archiver(), seconds=int(LINK_SECONDS) - 60))
    (row,) = vault.files()
    assert (row["state"], row["attempts"], row["bad_files"]) == ("stored", 71, 0)
    assert_sound(vault.books)


def test_a_key_that_stays_refused_ends_as_expired_with_its_link(vault: Vault) -> None:
    vault.settle(Reply(status=401))
    began_at_ms = vault.books.now_ms
    run(lambda: vault.work(vault.archiver(), seconds=int(LINK_SECONDS) + 60))
    (row,) = vault.files()
    assert row["state"] == "expired"
    assert "HTTP 401" in row["reason"]
    assert vault.books.now_ms - began_at_ms >= LINK_SECONDS * 1000


@pytest.mark.parametrize("place", ["http://169.254.169.254/", "https://10.0.0.1/x", "http://localhost:1/x"])
def test_a_redirect_to_a_private_place_is_refused_at_once(vault: Vault, place: str) -> None:
    vault.settle(Reply(status=302, headers={"location": place}))
    run(lambda: vault.work(vault.archiver()))
    (row,) = vault.files()
    assert (row["state"], row["attempts"]) == ("refused", 1)


def test_without_trust_a_loopback_url_is_refused_before_a_connection(vault: Vault) -> None:
    vault.settle(Reply(CLIP))
    run(lambda: vault.work(vault.archiver(trusted=False)))
    assert vault.files()[0]["state"] == "refused"
    assert vault.host.requests == []


def test_the_key_goes_to_its_own_origin_and_nowhere_else(vault: Vault) -> None:
    with FileHost().running() as other:
        other.replies["/x.mp4"] = [Reply(CLIP)]
        vault.settle(Reply(status=302, headers={"location": f"{other.origin}/x.mp4"}))
        run(lambda: vault.work(vault.archiver(allow_private=True)))
        assert vault.files()[0]["state"] == "stored"
        assert vault.host.requests[0][1]["authorization"] == "Bearer secret-key"
        assert "authorization" not in other.requests[0][1]


def test_an_archive_that_is_away_loses_nothing(vault: Vault) -> None:
    vault.settle(*[Reply(CLIP)] * 12)
    vault.folder.write_text("not a folder")
    archiver = vault.archiver(retry_seconds=(0.01, 0.02))

    async def scenario() -> None:
        for _ in range(5):
            await vault.work(archiver)
            await asyncio.sleep(0.05)
        assert archiver.trouble is not None
        assert {row["state"] for row in vault.files()} == {"due"}
        os.unlink(vault.folder)
        for _ in range(5):
            await asyncio.sleep(0.05)
            await vault.work(archiver, seconds=2)
        assert archiver.trouble is None

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert {row["state"] for row in vault.files()} == {"stored"}
    assert telemetry.ARCHIVE_TROUBLE in [entry["event"] for entry in logs]
    # while it is away one file at a time finds out, the others wait
    assert len(vault.host.requests) < 12 + 8 + 6


def test_what_is_there_already_is_not_written_again_and_other_content_is_not_overwritten(
    vault: Vault,
) -> None:
    vault.settle(Reply(CLIP), Reply(CLIP))
    run(lambda: vault.work(vault.archiver()))
    first, second = (vault.folder / row["video_key"] for row in vault.files())
    written_at = first.stat().st_mtime_ns
    second.write_bytes(b"something else")
    vault.books.sql(
        "UPDATE archived_files SET state = 'due', next_attempt_at_ms = 0, video_key = NULL, sha256 = NULL,"
        " stored_at_ms = NULL"
    )
    run(lambda: vault.work(vault.archiver()))
    assert [row["state"] for row in vault.files()] == ["stored", "due"]
    assert first.stat().st_mtime_ns == written_at
    assert second.read_bytes() == b"something else"
    assert "another file has the name" in vault.files()[1]["reason"]


def test_two_archivers_fetch_each_file_once(vault: Vault) -> None:
    vault.settle(*[Reply(CLIP)] * 10)

    async def scenario() -> None:
        await asyncio.gather(vault.work(vault.archiver()), vault.work(vault.archiver()))

    run(scenario)
    assert {row["state"] for row in vault.files()} == {"stored"}
    assert len(vault.host.requests) == 10


def test_a_claim_that_ran_out_is_taken_again_and_the_late_one_records_nothing(vault: Vault) -> None:
    from rushes.store import archive

    vault.settle(Reply(CLIP))
    now_ms = vault.books.now_ms
    claim = {"limit": 5, "claimed_until_ms": now_ms + 60_000}
    (late,) = vault.books.database.run(archive.claim_if_due, now_ms=now_ms, **claim)
    assert vault.books.database.run(archive.claim_if_due, now_ms=now_ms, **claim) == []
    assert vault.books.database.run(archive.renew_if_claimed, late, until_ms=now_ms + 120_000)
    assert vault.books.database.run(archive.claim_if_due, now_ms=now_ms + 60_000, **claim) == []
    vault.books.now_ms += 120_000
    run(lambda: vault.work(vault.archiver()))
    assert vault.files()[0]["state"] == "stored"
    stored = archive.StoredFile("k", None, None, 1, "0", None, None, None)
    assert not vault.books.database.run(archive.record_stored_if_claimed, late, stored, now_ms=now_ms)
    assert vault.files()[0]["video_key"] != "k"


def test_a_stopping_archiver_gives_back_what_it_has_not_ended(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rushes.files.archive.STOP_SECONDS_MAX", 0.05)
    vault.settle(Reply(CLIP))

    async def never(*_arguments: object, **_more: object) -> None:
        await asyncio.sleep(60)

    archiver = vault.archiver()
    monkeypatch.setattr("rushes.files.archive.fetch_file", never)

    async def scenario() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(archiver.run(stop))
        while not vault.files()[0]["attempts"]:
            await asyncio.sleep(0.01)
        stop.set()
        await running

    run(scenario)
    assert vault.files()[0]["state"] == "due"
    monkeypatch.undo()
    run(lambda: vault.work(vault.archiver()))
    assert vault.files()[0]["state"] == "stored"
