"""What an operator does with the archive: look at it, hash all of it again, remove what is too old."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row

from rushes import telemetry
from rushes.concurrency import at_once
from rushes.domain.archive import ALERT_SECONDS, Retention
from rushes.domain.errors import ArchiveUnavailable, NotFound
from rushes.domain.notation import iso_time
from rushes.files import further
from rushes.files.objects import ObjectStore
from rushes.store import archive
from rushes.store.database import Database

PAGE_FILES: Final = 200
AT_ONCE_MAX: Final = 8
PROBLEMS_MAX: Final = 1000
"""Problems that are listed; the others are counted."""

REASONS_MAX: Final = 20
"""Reasons for files that are not stored that a look at the archive lists."""

KEYS: Final = ("video_key", "thumbnail_key", "poster_key")

log = telemetry.logger()


def status(connection: Connection, *, now_ms: int) -> dict[str, Any]:
    """The archive in numbers: files by state, bytes, files at risk, and why files are not stored."""
    files, stored_bytes = archive.totals(connection)
    due = archive.due_files(connection, dies_before_ms=now_ms + int(ALERT_SECONDS * 1000))
    return {
        "files": files,
        "stored_bytes": stored_bytes,
        "due_since": iso_time(due.since_ms),
        "at_risk": due.at_risk,
        "reasons": [dict(row._mapping) for row in archive.troubles(connection, limit=REASONS_MAX)],
    }


# --- verify ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Verification:
    """What was found; `problems` name the object and what is wrong with it."""

    checked: int = 0
    bytes: int = 0
    problem_count: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "ok": self.problem_count == 0,
            "checked": self.checked,
            "bytes": self.bytes,
            "problem_count": self.problem_count,
            "problems": self.problems,
        }


async def verify(
    database: Database,
    objects: ObjectStore,
    *,
    account: str | None = None,
    on_file: Callable[[int, int], None] = lambda _files, _bytes: None,
) -> Verification:
    """Read every stored video again and compare its size and hash with what was recorded.

    Of pictures, which have no recorded hash, it is checked that they are there. Raises `ArchiveUnavailable`.
    """
    found = Verification()

    async def check(row: Mapping[str, Any]) -> None:
        wrong = await _wrong_with(objects, row)
        found.checked += 1
        found.bytes += row["bytes"]
        found.problem_count += len(wrong)
        found.problems += [{"key": key, "problem": what} for key, what in wrong][
            : PROBLEMS_MAX - len(found.problems)
        ]
        on_file(found.checked, found.bytes)

    async for page in _pages(database, account):
        await at_once(AT_ONCE_MAX, page, check)
    return found


async def _pages(database: Database, account: str | None) -> AsyncIterator[list[Mapping[str, Any]]]:
    after = 0
    while rows := await database.read(archive.stored_after, after, limit=PAGE_FILES, account=account):
        yield [dict(row._mapping) for row in rows]
        after = rows[-1].task_id


async def _wrong_with(objects: ObjectStore, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    wrong = []
    try:
        size = await objects.size_of(row["video_key"])
        if size != row["bytes"]:
            wrong.append((row["video_key"], f"it has {size} bytes, {row['bytes']} were stored"))
        elif await objects.sha256_of(row["video_key"]) != row["sha256"]:
            wrong.append((row["video_key"], "its hash is not the one that was recorded"))
    except NotFound:
        wrong.append((row["video_key"], "it is not there"))
    for key in (row["thumbnail_key"], row["poster_key"]):
        try:
            if key is not None:
                await objects.size_of(key)
        except NotFound:
            wrong.append((key, "it is not there"))
    return wrong


# --- retention ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pruned:
    """How many files were removed, or would be, and their bytes."""

    files: int = 0
    bytes: int = 0


async def prune(
    database: Database,
    objects: ObjectStore,
    cut_off_ms: Callable[[str], int | None],
    *,
    dry_run: bool = False,
) -> Pruned:
    """Remove each account's files that were stored before `cut_off_ms(account)`; None keeps them all.

    Files of videos that were deleted go in any case.

    First a file is marked, so that nobody is given it, then its objects are deleted, then their
    names are forgotten: what was interrupted in between is ended by the next call. Raises
    `ArchiveUnavailable`.
    """
    found = Pruned()
    while not dry_run and (rows := await database.read(archive.removed_with_objects, limit=PAGE_FILES)):
        await _delete(database, objects, [dict(row._mapping) for row in rows])
    if dry_run:
        found.files, found.bytes = await database.read(archive.stored_of_deleted_totals)
    while not dry_run and (rows := await database.read(archive.stored_of_deleted, limit=PAGE_FILES)):
        await _remove(database, objects, rows, found)
    for account_id, account in await database.read(archive.accounts_with_files):
        before_ms = cut_off_ms(account)
        if before_ms is None:
            continue
        if dry_run:
            files, size = await database.read(archive.stored_before_totals, account_id, before_ms=before_ms)
            found.files, found.bytes = found.files + files, found.bytes + size
            continue
        while rows := await database.read(
            archive.stored_before, account_id, before_ms=before_ms, limit=PAGE_FILES
        ):
            await _remove(database, objects, rows, found)
        found.files += await further.remove_before(
            database, objects, account_id, before_ms=before_ms, page=PAGE_FILES
        )
    if not dry_run:
        found.files += await further.remove_those_of_removed_videos(database, objects, page=PAGE_FILES)
    return found


async def prune_expired(
    database: Database,
    objects: ObjectStore,
    retention: Retention,
    *,
    now_ms: Callable[[], int],
) -> None:
    """Prune what is past its retention now, and log what went. Raises `StoreError`."""
    try:
        gone = await prune(database, objects, partial(retention.cut_off_ms, now_ms=now_ms()))
    except ArchiveUnavailable as error:  # as long as it is away, nothing is removed
        log.error(telemetry.ARCHIVE_TROUBLE, error=error.message)
    else:
        if gone.files:
            log.info(telemetry.ARCHIVE_PRUNED, files=gone.files, bytes=gone.bytes)


async def _remove(database: Database, objects: ObjectStore, rows: Sequence[Row[Any]], found: Pruned) -> None:
    """Those that this call marks; they are counted in `found`."""
    marked = set(await database.transact(archive.mark_removed_if_stored, [row.task_id for row in rows]))
    gone = [dict(row._mapping) for row in rows if row.task_id in marked]
    await _delete(database, objects, gone)
    found.files += len(gone)
    found.bytes += sum(row["bytes"] for row in gone)


async def _delete(database: Database, objects: ObjectStore, rows: Sequence[Mapping[str, Any]]) -> None:
    keys = [row[name] for row in rows for name in KEYS if row[name] is not None]
    await at_once(AT_ONCE_MAX, keys, objects.remove)
    await database.transact(archive.forget_objects, [row["task_id"] for row in rows])
