"""A SQLite connection: one process checkpoints the file, one connection of it writes; or one that only reads.

SQLite before 3.51.3 can corrupt a WAL that one process checkpoints while another writes.
"""

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

PRIVATE_FILE_MODE = 0o600


class Checkpoints:
    """The right to checkpoint a database's WAL: one process has it, others write without."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._handle: int | None = None

    @property
    def are_ours(self) -> bool:
        """Whether this process has the right."""
        return self._handle is not None

    def take(self) -> bool:
        """Take the right, if no other process has it; tells whether this process has it now."""
        if self._handle is not None:
            return True
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False  # a read-only folder; opening the database will tell
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def release(self) -> None:
        """Leave the right to another process."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def sqlite_engine(url: URL, *, checkpoints: Checkpoints | None, busy_timeout_seconds: float) -> Engine:
    """An engine for the file whose `checkpoints` these are; without, for a database in memory."""
    if checkpoints is None:
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        checkpoints.take()
        engine = create_engine(url, connect_args={"timeout": busy_timeout_seconds})

        @event.listens_for(engine, "do_connect")
        def _make_private(*_of_the_connection: object) -> None:
            _make_private_file(Path(str(url.database)))

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are started below, not by the driver
        cursor = connection.cursor()
        if checkpoints is not None:
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        # what INSERT OR REPLACE removes counts as deleted: the triggers that guard history see it
        cursor.execute("PRAGMA recursive_triggers = ON")
        cursor.execute(f"PRAGMA busy_timeout = {int(busy_timeout_seconds * 1000)}")
        if checkpoints is not None and not checkpoints.are_ours:
            cursor.execute("PRAGMA wal_autocheckpoint = 0")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("rushes_reading")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def sqlite_reading_engine(path: Path, *, busy_timeout_seconds: float) -> Engine:
    """An engine that never writes to the file, nor beside it where nothing can be written."""

    def connect() -> sqlite3.Connection:
        return open_for_reading(path, busy_timeout_seconds=busy_timeout_seconds)

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def open_for_reading(path: Path, *, busy_timeout_seconds: float = 10.0) -> sqlite3.Connection:
    """A connection of SQLite's own driver that cannot write; raises `sqlite3.Error`."""
    connection = _open_uri(path, "mode=ro", busy_timeout_seconds)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.Error as error:
        connection.close()
        journal = path.with_name(path.name + "-wal")
        has_journal = journal.exists() and journal.stat().st_size > 0
        if error.sqlite_errorname != "SQLITE_CANTOPEN" or has_journal:
            raise
        # in WAL mode, in a folder where its shared memory cannot be made: so nobody else writes there
        connection = _open_uri(path, "immutable=1", busy_timeout_seconds)
    connection.isolation_level = None
    return connection


def _open_uri(path: Path, mode: str, busy_timeout_seconds: float) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=busy_timeout_seconds, check_same_thread=False)


def _make_private_file(path: Path) -> None:
    """A new database is its owner's alone; the journals beside it get the mode of the file."""
    with contextlib.suppress(OSError):  # it is there, or opening it will tell why it cannot be made
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE_FILE_MODE))
