"""What a killed worker had claimed and not sent goes back; what it may have sent never does."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rushes.domain.errors import DatabaseUnreachable
from rushes.run import sent_record
from rushes.run.adopt import Adoption
from rushes.run.lane.lane import Lane
from rushes.run.sent_record import NoRecords, SentFiles, sent_records
from rushes.store.database import Database
from tests.books import PROVIDER, Books, assert_sound
from tests.run.lanes import commit_into, context_of, simulated_provider

BOOT = "0f0e2d6c"
CLAIMED = [(1, 1), (2, 1), (3, 2)]

NOTES_AND_WAITS = """
import sys
from pathlib import Path
from rushes.run.sent_record import SentFiles
record = SentFiles(Path(sys.argv[1]), boot_id=sys.argv[2]).of("dead")
record.open()
assert record.leaves(1, 1) and record.leaves(3, 1)
print("noted", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def worker_process(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has handed over attempt 1 of the tasks 1 and 3, as the worker `dead`."""
    command = [sys.executable, "-c", NOTES_AND_WAITS, str(folder), BOOT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "noted\n"
        try:
            yield process
        finally:
            process.kill()


def test_what_a_killed_process_had_not_handed_over_was_never_sent(tmp_path: Path) -> None:
    files = SentFiles(tmp_path / "workers", boot_id=BOOT)
    with worker_process(tmp_path / "workers") as process:
        assert files.never_sent("dead", CLAIMED) == set(), "it lives, and may send them now"
        process.send_signal(signal.SIGSTOP)
        assert files.never_sent("dead", CLAIMED) == set(), "it sleeps, and may send them later"
        process.kill()
        process.wait()
    assert files.never_sent("dead", CLAIMED) == {(2, 1), (3, 2)}
    assert files.never_sent("another", CLAIMED) == set()
    assert SentFiles(tmp_path / "workers", boot_id="after a power cut").never_sent("dead", CLAIMED) == set()


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[:20], lambda data: data[:-1]])
def test_a_file_that_is_not_whole_says_nothing(tmp_path: Path, spoil: Any) -> None:
    files = SentFiles(tmp_path, boot_id=BOOT)
    record = files.of("dead")
    record.open()
    assert record.leaves(1, 1)
    record.close(is_needed=True)
    assert files.never_sent("dead", CLAIMED) == {(2, 1), (3, 2)}
    (path,) = tmp_path.iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    assert files.never_sent("dead", CLAIMED) == set()


def test_nothing_leaves_once_the_record_is_closed_and_an_orderly_end_removes_the_file(tmp_path: Path) -> None:
    record = SentFiles(tmp_path, boot_id=BOOT).of("stopped")
    record.open()
    record.close(is_needed=False)
    assert not record.leaves(1, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stops_no_submit_and_leaves_a_file_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = SentFiles(tmp_path, boot_id=BOOT)
    record = files.of("dead")
    record.open()
    assert record.leaves(1, 1)
    monkeypatch.setattr(os, "write", lambda _file, data: len(data) - 1)
    assert record.leaves(2, 1)
    monkeypatch.undo()
    assert record.leaves(3, 2)
    record.close(is_needed=True)
    assert files.never_sent("dead", CLAIMED) == set()


def test_nothing_leaves_while_the_file_would_deny_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = SentFiles(tmp_path, boot_id=BOOT).of("dead")
    record.open()

    def fails(*_arguments: Any) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", fails)
    monkeypatch.setattr(os, "ftruncate", fails)
    assert not record.leaves(1, 1)


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = SentFiles(tmp_path / "file" / "workers", boot_id=BOOT)
    record = files.of("here")
    record.open()
    assert record.leaves(1, 1)
    record.close(is_needed=True)
    assert files.never_sent("here", CLAIMED) == set()


def test_a_long_file_keeps_its_newer_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_record, "ENTRIES_MAX", 10)
    files = SentFiles(tmp_path, boot_id=BOOT)
    record = files.of("dead")
    record.open()
    for number in range(1, 24):
        assert record.leaves(number, 1)
    assert files.never_sent("dead", CLAIMED) == set(), "the new file is locked as the old one was"
    record.close(is_needed=True)
    sent = {(number, 1) for number in range(1, 25)} - files.never_sent("dead", [(n, 1) for n in range(1, 25)])
    assert sent >= {(number, 1) for number in range(19, 24)}
    assert (24, 1) not in sent
    assert len(sent) <= 10


def test_files_of_workers_that_are_long_dead_are_removed_and_others_kept(tmp_path: Path) -> None:
    files = SentFiles(tmp_path, boot_id=BOOT)
    kept, living = files.of("dead"), files.of("living")
    long_dead = files.of("long-dead")
    for record in (kept, living, long_dead):
        record.open()
    for record in (kept, long_dead):
        record.close(is_needed=True)
    for name in ("long-dead", "living"):
        os.utime(tmp_path / f"{name}.sent", (0, 0))
    files.tidy()
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["dead", "living"]
    living.close(is_needed=False)


def test_this_kernel_has_a_name_for_its_run(tmp_path: Path) -> None:
    assert isinstance(sent_records(tmp_path), SentFiles if sys.platform == "linux" else NoRecords)


@pytest.mark.parametrize("is_answered", [True, False], ids=["answered", "its answer is lost"])
def test_who_takes_over_gives_back_what_was_never_sent_and_holds_the_rest(
    is_answered: bool, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books(database)
    books.worker("dead")
    books.grant(books.account(), 100)
    books.accept(1, [10] * 3)
    sent, unsent, named = books.claim(worker_id="dead")
    books.name([named])
    books.sql("UPDATE workers SET lease_expires_at_ms = 0 WHERE id = 'dead'")
    files = SentFiles(tmp_path, boot_id=BOOT)
    record = files.of("dead")
    record.open()
    assert record.leaves(sent.task_id, sent.attempt)
    assert record.leaves(named.task_id, named.attempt)
    record.close(is_needed=True)
    books.worker()

    async def play() -> list[int]:
        context = context_of(database, records=files, now_ms=lambda: books.now_ms)
        lane = Lane(simulated_provider(), context)
        committing = asyncio.create_task(commit_into([], context.committer))
        adoption = Adoption(context, {PROVIDER: lane})
        if is_answered:
            assert await adoption.adopt(tasks_max=100) == 3
        else:
            with monkeypatch.context() as patches:
                patches.setattr(Database, "transact", losing_answers(Database.transact))
                with pytest.raises(DatabaseUnreachable):
                    await adoption.adopt(tasks_max=100)
            assert await adoption.adopt(tasks_max=100) == 0, "there is nothing left to adopt"
        await context.committer.flushed()
        committing.cancel()
        return sorted((*lane.attempts.unconfirmed, *lane.attempts.polled))

    held = asyncio.run(play())
    rows = books.rows("SELECT id, status, unconfirmed_at_ms IS NULL AS is_sure FROM video_tasks ORDER BY id")
    assert [(row["id"], row["status"], bool(row["is_sure"])) for row in rows] == [
        (sent.task_id, "processing", False),
        (unsent.task_id, "pending", True),
        (named.task_id, "processing", True),
    ]
    assert held == [sent.task_id, named.task_id], "what goes back cannot be given up as well"
    (again,) = books.claim()
    assert (again.task_id, again.attempt) == (unsent.task_id, unsent.attempt + 1)
    assert_sound(books)


def losing_answers(transact: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[None]]:
    """What is to be committed is, and nobody hears of it."""

    async def lost(database: Database, *arguments: Any, **options: Any) -> None:
        await transact(database, *arguments, **options)
        raise DatabaseUnreachable("the connection was lost after the commit was sent")

    return lost
