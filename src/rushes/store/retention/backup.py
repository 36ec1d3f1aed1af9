"""A copy of the database as it is at one moment, made while others read and write it."""

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from rushes.domain.errors import DatabaseDamaged, DatabaseUnreachable, InputError, StoreError
from rushes.domain.notation import iso_time
from rushes.store.connections.failures import WHEN_DAMAGED, store_error
from rushes.store.connections.sqlite import PRIVATE_FILE_MODE, open_for_reading
from rushes.store.database import Database
from rushes.store.migrations import revisions

SQLITE_NAME = "rushes.db"
POSTGRESQL_NAME = "rushes.dump"


MANIFEST_NAME = "backup.json"


def back_up(database: Database, folder: Path, *, version: str, now_ms: int) -> dict[str, Any]:
    """`copy_database`, and a manifest beside the copy: what it is, of which revision, and its hash."""
    revision = database.run_reading(revisions.current)
    made = copy_database(database, folder)
    with made.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = {
        "database": database.dialect,
        "file": made.name,
        "bytes": made.stat().st_size,
        "sha256": digest,
        "revision": revision,
        "version": version,
        "made_at": iso_time(now_ms),
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest, indent=1) + "\n")
    return {"folder": str(folder), **manifest}


def copy_database(database: Database, folder: Path) -> Path:
    """Write the copy into the folder, mode 0600, whole or not at all; returns its path.

    SQLite: a database file of its own, checked, without a journal beside it. PostgreSQL: a dump in
    `pg_dump`'s custom format. Raises `InputError` when there is a copy already or the folder takes none,
    `DatabaseDamaged` when the copy of a SQLite file does not pass its check, and `StoreError` for what the
    database refuses.
    """
    source = database.sqlite_path
    if source is None and database.dialect == "sqlite":
        raise InputError("the database is in memory; there is nothing to copy")
    target = folder / (POSTGRESQL_NAME if source is None else SQLITE_NAME)
    part = target.with_name(f".{target.name}.part")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if target.exists():
            raise InputError("there is a backup already; name a new folder", source=str(target))
        with contextlib.suppress(FileNotFoundError):
            part.unlink()  # of a backup that was interrupted
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE_MODE))
        try:
            if source is None:
                _dump(database, part)
            else:
                _copy(source, part)
            _to_disk(part)
            os.link(part, target)  # never over another one
        finally:
            part.unlink()
        _to_disk(folder)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", source=str(target)) from error
    return target


def _copy(source: Path, part: Path) -> None:
    try:
        with (
            contextlib.closing(open_for_reading(source)) as reading,
            contextlib.closing(sqlite3.connect(part)) as copy,
        ):
            reading.backup(copy, pages=-1)  # in one step: one moment, which no writer makes it start again
            copy.execute("PRAGMA journal_mode = DELETE")
            found = [row[0] for row in copy.execute("PRAGMA integrity_check(1)")]
    except sqlite3.Error as error:
        raise store_error(DBAPIError("", None, error)) from error
    if found != ["ok"]:
        first = " ".join(str(found[0]).split())[:200]
        raise DatabaseDamaged(f"the database file is damaged ({first}); {WHEN_DAMAGED}")


def _dump(database: Database, part: Path) -> None:
    program = shutil.which("pg_dump")
    if program is None:
        raise StoreError(
            "pg_dump is not on the PATH; install PostgreSQL's client programs, not older than the server"
        )
    url = database.url.set(drivername="postgresql")
    environment = dict(os.environ)
    if url.password is not None:
        # not among the arguments, which every user of the machine can list
        environment["PGPASSWORD"] = str(url.password)
        url = url.set(password=None)
    where = url.render_as_string(hide_password=False)
    done = subprocess.run(  # noqa: S603 - the program that the operator's PATH has, and no shell
        [program, "--format=custom", "--no-password", f"--file={part}", f"--dbname={where}"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
        raise DatabaseUnreachable(f"pg_dump made no copy: {last}")


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
