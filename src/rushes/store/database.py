"""Engines and transactions: the only file that knows SQLite from PostgreSQL.

A transaction is a plain synchronous function of a `Connection`. `await database.transact(fn, …)` runs it
on a database thread (SQLite: one writer; PostgreSQL: a small pool), or on no thread at all when the
database was opened `inline`, as the deterministic simulation does.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, TextClause, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import StaticPool

from rushes.domain.errors import (
    DatabaseBusy,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnreachable,
    SettingsError,
    StatementRefused,
    StoreError,
)

P = ParamSpec("P")
T = TypeVar("T")

POSTGRESQL_THREADS_MAX = 4
"""Transactions of one process that may run at the same time on PostgreSQL."""

POSTGRESQL_IDLE_SECONDS = 10.0
"""How long a transaction may stand still between two statements before PostgreSQL ends it: a process that was
stopped in the middle of one must not keep the locks that others wait for."""

TRANSACTION_RETRIES_MAX = 5
"""How often a transaction that lost a deadlock is run again; each run starts from nothing."""

# PostgreSQL: serialization_failure, deadlock_detected
_RETRY_SQLSTATES = frozenset({"40001", "40P01"})


class Database:
    """One database and the threads that talk to it.

    `url` is `sqlite:///path`, `sqlite://` (in memory) or `postgresql://…`. With `inline=True` every
    transaction runs in the caller's thread.
    """

    def __init__(
        self,
        url: str,
        *,
        inline: bool = False,
        busy_timeout_seconds: float = 10.0,
        threads: int | None = None,
        postgresql_idle_seconds: float = POSTGRESQL_IDLE_SECONDS,
    ) -> None:
        try:
            parsed = make_url(url)
        except Exception as error:
            raise SettingsError("RUSHES_DATABASE_URL: not a database URL") from error
        backend = parsed.get_backend_name()
        if backend == "postgres":
            parsed, backend = parsed.set(drivername="postgresql"), "postgresql"
        if backend not in ("sqlite", "postgresql"):
            raise SettingsError(
                f"RUSHES_DATABASE_URL: {backend} is not supported; use sqlite:///… or postgresql://…"
            )
        self.dialect = backend
        self.url = parsed
        self._checkpoint_lock: int | None = None
        self._writers: ThreadPoolExecutor | None = None
        self._readers: ThreadPoolExecutor | None = None
        if backend == "sqlite":
            self.engine = self._sqlite_engine(busy_timeout_seconds)
            writer_count, reader_count = 1, 1
        else:
            writer_count = reader_count = threads or POSTGRESQL_THREADS_MAX
            self.engine = create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=writer_count + reader_count,
                max_overflow=2,
                pool_pre_ping=True,
                connect_args={"connect_timeout": 10},
            )
            idle_ms = int(postgresql_idle_seconds * 1000)
            event.listen(self.engine, "connect", partial(_tune_postgresql, idle_ms=idle_ms))
        if not inline:
            self._writers = ThreadPoolExecutor(writer_count, thread_name_prefix="rushes-db-write")
            self._readers = ThreadPoolExecutor(reader_count, thread_name_prefix="rushes-db-read")

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file, None for PostgreSQL and for a database in memory."""
        path = self.url.database
        if self.dialect != "sqlite" or path in (None, "", ":memory:"):
            return None
        return Path(str(path))

    def take_over_checkpoints(self) -> None:
        """Become the process that checkpoints the SQLite file, if the one that did has gone.

        Long-lived processes call this now and then: a short command may have been first.
        """
        path = self.sqlite_path
        if path is not None and self._checkpoint_lock is None:
            self._checkpoint_lock = _take_checkpoint_lock(path)
            if self._checkpoint_lock is not None:
                self.engine.dispose()  # connections opened from now on checkpoint

    # --- transactions ---------------------------------------------------------------------------------

    async def transact(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function(connection, …)` in one transaction: all of it is committed, or none.

        Raises `StoreError` for what the database refuses. After `DatabaseUnreachable` the caller does not
        know whether the commit took effect, so `function` must be safe to run again.
        """
        return await self._on_thread(self._writers, partial(self.run, function, *args, **kwargs))

    async def read(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function(connection, …)` for reading; on SQLite beside the writer, not behind it."""
        return await self._on_thread(self._readers, partial(self.run_reading, function, *args, **kwargs))

    def run(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`transact` for synchronous callers, in the calling thread."""
        for attempt in range(TRANSACTION_RETRIES_MAX + 1):
            try:
                with self.engine.begin() as connection:
                    return function(connection, *args, **kwargs)
            except (DBAPIError, PoolTimeoutError) as error:
                if attempt < TRANSACTION_RETRIES_MAX and _sqlstate(error) in _RETRY_SQLSTATES:
                    continue
                raise _store_error(error) from error
        raise AssertionError("unreachable")

    def run_reading(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`read` for synchronous callers, in the calling thread."""
        try:
            with self.engine.connect().execution_options(rushes_reading=True) as connection:
                return function(connection, *args, **kwargs)
        except (DBAPIError, PoolTimeoutError) as error:
            raise _store_error(error) from error

    @staticmethod
    async def _on_thread(executor: ThreadPoolExecutor | None, call: Callable[[], T]) -> T:
        if executor is None:
            return call()
        # A commit in hand is finished even when its caller is cancelled; the caller sees the cancellation.
        return await asyncio.get_running_loop().run_in_executor(executor, call)

    def close(self) -> None:
        """Finish what runs, close the connections."""
        for executor in (self._writers, self._readers):
            if executor is not None:
                executor.shutdown(wait=True)
        self.engine.dispose()
        if self._checkpoint_lock is not None:
            os.close(self._checkpoint_lock)
            self._checkpoint_lock = None

    # --- SQLite ---------------------------------------------------------------------------------------

    def _sqlite_engine(self, busy_timeout_seconds: float) -> Engine:
        path = self.sqlite_path
        in_memory = path is None
        if path is None:
            engine = create_engine(self.url, poolclass=StaticPool, connect_args={"check_same_thread": False})
        else:
            self._checkpoint_lock = _take_checkpoint_lock(path)
            engine = create_engine(self.url, connect_args={"timeout": busy_timeout_seconds})

        @event.listens_for(engine, "connect")
        def _connect(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None  # transactions are begun below, not by the driver
            cursor = connection.cursor()
            if not in_memory:
                cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
            # what INSERT OR REPLACE removes counts as deleted: the triggers that guard history see it
            cursor.execute("PRAGMA recursive_triggers = ON")
            cursor.execute(f"PRAGMA busy_timeout = {int(busy_timeout_seconds * 1000)}")
            if not in_memory and self._checkpoint_lock is None:
                # SQLite before 3.51.3 can corrupt a WAL that one process checkpoints while another writes
                cursor.execute("PRAGMA wal_autocheckpoint = 0")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            reading = connection.get_execution_options().get("rushes_reading")
            connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

        return engine


# --- the statements' dialects ---------------------------------------------------------------------


def is_postgresql(connection: Connection) -> bool:
    """Which dialect the connection speaks, for the few statements that differ."""
    return connection.dialect.name == "postgresql"


def for_update(connection: Connection) -> str:
    """Locks the selected rows; nothing on SQLite, where the transaction already owns the database.

    Keys never change, so NO KEY: inserting a row that refers to a locked one (a batch to its account) need
    not wait. With plain FOR UPDATE two transactions that insert first and lock then are a deadlock.
    """
    return " FOR NO KEY UPDATE" if is_postgresql(connection) else ""


def skip_locked(connection: Connection) -> str:
    """Locks the selected rows, leaving out those that another worker holds; nothing on SQLite."""
    return " FOR UPDATE SKIP LOCKED" if is_postgresql(connection) else ""


def unindexed(connection: Connection, column: str) -> str:
    """The text column, written so that no planner can choose an index of it over the primary key.

    With such a guard in the open, SQLite once took a thousand times as long, and PostgreSQL, whose
    statistics are of the past, would walk through all tasks in flight for each row of a group.
    """
    return f"({column} || '')" if is_postgresql(connection) else f"+{column}"


@lru_cache(maxsize=512)
def statement(sql: str) -> TextClause:
    """`text(sql)`, kept: taking a statement apart anew takes as long as running it.

    For statements put together from constants only; values are parameters.
    """
    return text(sql)


_POSTGRESQL_TYPES = {int: "bigint", str: "text", float: "double precision"}


@lru_cache(maxsize=256)
def _rows_sql(dialect: str, columns: tuple[tuple[str, type], ...]) -> str:
    names = [name for name, _ in columns]
    if dialect == "postgresql":
        # a function whose rows the planner cannot count: it takes 100, and so the index of a large table
        picks = ", ".join(
            f"CAST(value ->> {i} AS {_POSTGRESQL_TYPES[kind]}) AS {name}"
            for i, (name, kind) in enumerate(columns)
        )
        return f"(SELECT {picks} FROM jsonb_array_elements(CAST(:rows AS jsonb))) AS v"
    picks = ", ".join(f"json_extract(value, '$[{i}]') AS {name}" for i, name in enumerate(names))
    return f"(SELECT {picks} FROM json_each(:rows)) AS v"


class Rows:
    """Many rows as one statement parameter: a table `v` with the given columns.

    Both databases get one JSON text, so a whole group goes in one statement. (psycopg takes six times as
    long to write lists as PostgreSQL arrays.)
    `Rows(id=int, error=str)` names the columns and their types; NULLs are allowed.
    """

    def __init__(self, **columns: type) -> None:
        self._columns = tuple(columns.items())

    def sql(self, connection: Connection) -> str:
        """The FROM item, named `v`."""
        return _rows_sql(connection.dialect.name, self._columns)

    def parameters(
        self, connection: Connection, rows: Sequence[Sequence[Any]] | Iterable[Sequence[Any]]
    ) -> Mapping[str, Any]:
        """The statement's parameters for `rows`, each in the order of the columns."""
        return {"rows": msgspec.json.encode(rows if isinstance(rows, list) else list(rows)).decode()}


def update_returning(
    connection: Connection,
    table: str,
    assignments: str,
    *,
    source: str,
    where: str,
    columns: str,
    parameters: Mapping[str, Any],
) -> Sequence[Sequence[Any]]:
    """`UPDATE table SET assignments FROM source WHERE where`; returns `columns` of the rows it changed.

    None of `columns` may be one that `assignments` change. SQLite is asked for them first, all in one
    value: it would hand out returned rows one by one, and for each of them Python gives up and takes back
    the lock that the polling thread wants too. Nobody else writes between the two statements.
    """
    update = f"UPDATE {table} SET {assignments} FROM {source} WHERE {where}"
    if is_postgresql(connection):
        return connection.execute(statement(f"{update} RETURNING {columns}"), parameters).all()
    found = connection.scalar(
        statement(f"SELECT json_group_array(json_array({columns})) FROM {source}, {table} WHERE {where}"),
        parameters,
    )
    connection.execute(statement(update), parameters)
    rows: list[list[Any]] = msgspec.json.decode(found or "[]")
    return rows


def _tune_postgresql(connection: Any, _record: object, *, idle_ms: int) -> None:
    """No locks for a process that stands still, and plans for disks without a seek.

    The default would read a whole table to find a group's rows; and compiling plans (`jit`) takes longer
    than running any of ours.
    """
    connection.execute("SET random_page_cost = 1.1")
    connection.execute("SET jit = off")
    connection.execute(f"SET idle_in_transaction_session_timeout = {idle_ms}")
    connection.commit()


def _take_checkpoint_lock(path: Path) -> int | None:
    """The right to checkpoint this database's WAL: one process has it, others write without."""
    try:
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None  # a read-only folder; opening the database will tell
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _sqlstate(error: Exception) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _store_error(error: DBAPIError | PoolTimeoutError) -> StoreError:
    """The tree's error for a driver's error, in one line and without the statement or its values."""
    if isinstance(error, PoolTimeoutError):
        return DatabaseBusy("the database's connections are all in use; try again")
    original = error.orig
    # PostgreSQL's detail line quotes the row; its primary message names the rule alone
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    text = " ".join(str(primary or original).split())[:300]
    code = getattr(original, "sqlite_errorname", "") or ""
    state = _sqlstate(error) or ""
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or state == "55P03" or state in _RETRY_SQLSTATES:
        return DatabaseBusy(f"the database is locked by another process ({text}); try again")
    if code.startswith("SQLITE_READONLY") or state == "25006":
        return DatabaseReadOnly(f"the database takes no writes ({text}); check its permissions")
    if code.startswith("SQLITE_FULL") or state in ("53100", "53000"):
        return DatabaseFull(f"no space is left for the database ({text}); free some and try again")
    if code.startswith("SQLITE_CANTOPEN"):
        return DatabaseUnreachable(f"the database file cannot be opened ({text}); check its folder")
    if code.startswith("SQLITE_IOERR"):
        return DatabaseUnreachable(f"the database file cannot be read or written ({text})")
    if code in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
        return StoreError(f"the file is not a healthy SQLite database ({text})")
    if error.connection_invalidated or state[:2] in ("08", "57", "53") or (not state and not code):
        return DatabaseUnreachable(f"the database cannot be reached ({text})")
    return StatementRefused(f"the database refused a statement ({text})")


def begin_snapshot(connection: Connection) -> None:
    """Make the transaction read one moment's state and refuse its writes. Call before its first statement.

    On SQLite every reading transaction sees one moment's state by itself.
    """
    if is_postgresql(connection):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
