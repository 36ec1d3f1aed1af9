"""Transactions, and everything in which the statements of SQLite and PostgreSQL differ.

`connections/` opens connections to either; no other file of the store knows one from the other.

A transaction is a plain synchronous function of a `Connection`. `await database.transact(fn, …)` runs it
on a database thread (SQLite: one writer; PostgreSQL: a small pool), or on no thread at all when the
database was opened `inline`, as the deterministic simulation does.
"""

import asyncio
import contextlib
import copy
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import msgspec
from sqlalchemy import Connection, CursorResult, TextClause, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rushes.domain.errors import DatabaseBusy, DatabaseUnreachable, SettingsError
from rushes.store.connections.bounds import (
    ANSWER_SECONDS,
    CLOSE_SECONDS_MAX,
    LEASES_BY_ITS_CLOCK,
    TRANSACTION_SECONDS_MAX,
    Closing,
    deadline_of_this_thread,
    until,
)
from rushes.store.connections.dialects import is_postgresql
from rushes.store.connections.failures import RETRY_SQLSTATES, sqlstate, store_error
from rushes.store.connections.sqlite import Checkpoints, sqlite_engine, sqlite_reading_engine

P = ParamSpec("P")
T = TypeVar("T")

POSTGRESQL_THREADS_MAX = 4
"""Transactions of one process that may run at the same time on PostgreSQL."""

POSTGRESQL_IDLE_SECONDS = 10.0
"""How long a transaction may stand still between two statements before PostgreSQL ends it: a process that was
stopped in the middle of one must not keep the locks that others wait for."""

TRANSACTION_RETRIES_MAX = 5
"""How often a transaction that lost a deadlock is run again; each run starts from nothing."""

_OUT_OF_TIME = "the database cannot be reached (it did not answer in time)"


class Database:
    """One database and the threads that talk to it.

    `url` is `sqlite:///path`, `sqlite://` (in memory) or `postgresql://…`. With `inline=True` every
    transaction runs in the caller's thread. On PostgreSQL every transaction ends within `seconds_max` (and
    `ANSWER_SECONDS`), and with `leases_by_its_clock` leases go by its clock instead of the time that is
    passed. On SQLite `busy_timeout_seconds` bounds the only wait that there is, and with `reads_only` nothing
    is written, beside the file either: a copy on a read-only disk can be read.
    """

    def __init__(
        self,
        url: str,
        *,
        inline: bool = False,
        busy_timeout_seconds: float = 10.0,
        threads: int | None = None,
        postgresql_idle_seconds: float = POSTGRESQL_IDLE_SECONDS,
        seconds_max: float = TRANSACTION_SECONDS_MAX,
        leases_by_its_clock: bool = False,
        reads_only: bool = False,
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
        self._statement_seconds = self._seconds_max = seconds_max
        self._closing = Closing()
        self._checkpoints: Checkpoints | None = None
        self._writers: ThreadPoolExecutor | None = None
        self._readers: ThreadPoolExecutor | None = None
        if backend == "sqlite":
            path = self.sqlite_path
            if path is not None and reads_only:
                self.engine = sqlite_reading_engine(path, busy_timeout_seconds=busy_timeout_seconds)
            else:
                self._checkpoints = None if path is None else Checkpoints(path)
                self.engine = sqlite_engine(
                    parsed, checkpoints=self._checkpoints, busy_timeout_seconds=busy_timeout_seconds
                )
            writer_count, reader_count = 1, 1
        else:
            writer_count = reader_count = threads or POSTGRESQL_THREADS_MAX
            from rushes.store.connections.postgresql import postgresql_engine  # slow to import

            self.engine = postgresql_engine(
                parsed,
                pool_size=writer_count + reader_count,
                seconds_max=seconds_max,
                idle_seconds=postgresql_idle_seconds,
                leases_by_its_clock=leases_by_its_clock,
            )
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

    def within(self, seconds: float) -> Self:
        """The same database, with another bound for its transactions on PostgreSQL. Close the first one."""
        other = copy.copy(self)
        other._seconds_max = seconds
        return other

    def take_over_checkpoints(self) -> None:
        """Become the process that checkpoints the SQLite file, if the one that did has gone.

        Long-lived processes call this now and then: a short command may have been first.
        """
        checkpoints = self._checkpoints
        if checkpoints is not None and not checkpoints.are_ours and checkpoints.take():
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
                with self._bounded(), self.engine.begin() as connection:
                    self._allow_long_statements(connection)
                    return function(connection, *args, **kwargs)
            except (DBAPIError, PoolTimeoutError) as error:
                if attempt < TRANSACTION_RETRIES_MAX and sqlstate(error) in RETRY_SQLSTATES:
                    continue
                raise store_error(error) from error
        raise AssertionError("unreachable")

    def run_reading(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`read` for synchronous callers, in the calling thread.

        On PostgreSQL each statement sees what is committed then, so a transaction would take two exchanges
        more for nothing; what must see one moment calls `begin_snapshot`.
        """
        options: dict[str, Any] = {"rushes_reading": True}
        if self.dialect == "postgresql" and not self._allows_long_statements:
            options["isolation_level"] = "AUTOCOMMIT"
        try:
            with self._bounded(), self.engine.connect().execution_options(**options) as connection:
                self._allow_long_statements(connection)
                return function(connection, *args, **kwargs)
        except (DBAPIError, PoolTimeoutError) as error:
            raise store_error(error) from error

    async def _on_thread(self, executor: ThreadPoolExecutor | None, call: Callable[[], T]) -> T:
        if executor is None:
            return call()
        # A commit in hand is finished even when its caller is cancelled; the caller sees the cancellation.
        running = asyncio.get_running_loop().run_in_executor
        if self.dialect == "sqlite":
            return await running(executor, call)
        seconds = self._seconds_max + ANSWER_SECONDS
        deadline = time.monotonic() + seconds  # the wait for a thread counts
        try:
            async with asyncio.timeout(seconds + ANSWER_SECONDS) as timeout:
                return await running(executor, partial(self._by, deadline, call))
        except TimeoutError:
            if not timeout.expired():
                raise
            raise DatabaseUnreachable(_OUT_OF_TIME) from None  # not even a thread came back

    def _by(self, deadline: float, call: Callable[[], T]) -> T:
        """Run it, if there is time left; what it asks of the database ends at the deadline."""
        if time.monotonic() >= deadline:
            raise DatabaseBusy("the database did not take a transaction in time; try again")
        with until(deadline, self._closing):
            return call()

    def _bounded(self) -> contextlib.AbstractContextManager[None]:
        """Until the deadline of this transaction, the one that its caller has set if there is one."""
        if self.dialect == "sqlite" or deadline_of_this_thread() is not None:
            return contextlib.nullcontext()
        return until(time.monotonic() + self._seconds_max + ANSWER_SECONDS, self._closing)

    @property
    def _allows_long_statements(self) -> bool:
        return self.dialect == "postgresql" and self._seconds_max > self._statement_seconds

    def _allow_long_statements(self, connection: Connection) -> None:
        if self._allows_long_statements:
            milliseconds = int(self._seconds_max * 1000)
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")

    def vacuum(self) -> None:
        """Write the tables anew without the room that deleted rows have left. Others wait or are refused."""
        try:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                if self.dialect == "sqlite":
                    driver: Any = connection.connection.driver_connection
                    driver.execute("VACUUM")
                    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                else:
                    connection.exec_driver_sql("VACUUM (FULL, ANALYZE)")
        except DBAPIError as error:
            raise store_error(error) from error
        except sqlite3.Error as error:
            raise store_error(DBAPIError("", None, error)) from error

    def close(self) -> None:
        """Finish what runs, for `CLOSE_SECONDS_MAX` at most on PostgreSQL, and close the connections."""
        self._closing.at = time.monotonic() + CLOSE_SECONDS_MAX
        for executor in (self._writers, self._readers):
            if executor is not None:
                executor.shutdown(wait=True)
        self.engine.dispose()
        if self._checkpoints is not None:
            self._checkpoints.release()


# --- the statements' dialects ---------------------------------------------------------------------


def for_update(connection: Connection) -> str:
    """Locks the selected rows; nothing on SQLite, where the transaction already owns the database.

    Keys never change, so NO KEY: inserting a row that refers to a locked one (a batch to its account) need
    not wait. With plain FOR UPDATE two transactions that insert first and lock then are a deadlock.
    """
    return " FOR NO KEY UPDATE" if is_postgresql(connection) else ""


def for_share(connection: Connection) -> str:
    """Keeps the selected rows from being changed until the transaction ends; nothing on SQLite."""
    return " FOR SHARE" if is_postgresql(connection) else ""


def skip_locked(connection: Connection) -> str:
    """Locks the selected rows, leaving out those that another worker holds; nothing on SQLite."""
    return " FOR UPDATE SKIP LOCKED" if is_postgresql(connection) else ""


def unindexed(connection: Connection, column: str) -> str:
    """The text column, written so that no planner can choose an index of it over the primary key.

    With such a guard in the open, SQLite once took a thousand times as long, and PostgreSQL, whose
    statistics are of the past, would walk through all tasks in flight for each row of a group.
    """
    return f"({column} || '')" if is_postgresql(connection) else f"+{column}"


def lateral(connection: Connection, table: str, condition: str, *, kinds: Sequence[str]) -> str:
    """Joins to each row of `v` the rows `t` of the table that meet the condition and one of the `kinds`.

    The condition names columns of the table and of `v`, a kind those of the table alone. The rows are found
    one row of `v` at a time.
    """
    if is_postgresql(connection):
        # a part for each kind, so that indexes of the rows of one kind serve where they are smaller
        parts = " UNION ALL ".join(f"SELECT * FROM {table} WHERE {condition} AND {kind}" for kind in kinds)
        return f"CROSS JOIN LATERAL ({parts}) t"
    return f"CROSS JOIN {table} t WHERE t.{condition} AND ({' OR '.join(kinds)})"


@lru_cache(maxsize=512)
def statement(sql: str) -> TextClause:
    """`text(sql)`, kept: taking a statement apart anew takes as long as running it.

    For statements put together from constants only; values are parameters.
    """
    return text(sql)


_POSTGRESQL_TYPES = {int: "bigint", str: "text", float: "double precision"}


@lru_cache(maxsize=256)
def _rows_sql(dialect: str, columns: tuple[tuple[str, type], ...], table: str, parameter: str) -> str:
    names = [name for name, _ in columns]
    if dialect == "postgresql":
        # a function whose rows the planner cannot count: it takes 100, and so the index of a large table
        picks = ", ".join(
            f"CAST(value ->> {i} AS {_POSTGRESQL_TYPES[kind]}) AS {name}"
            for i, (name, kind) in enumerate(columns)
        )
        return f"(SELECT {picks} FROM jsonb_array_elements(CAST(:{parameter} AS jsonb))) AS {table}"
    picks = ", ".join(f"json_extract(value, '$[{i}]') AS {name}" for i, name in enumerate(names))
    return f"(SELECT {picks} FROM json_each(:{parameter})) AS {table}"


class Rows:
    """Many rows as one statement parameter: a table `v` with the given columns, or another `table`.

    Both databases get one JSON text: psycopg takes six times as long to write lists as PostgreSQL arrays.
    `Rows(id=int, error=str)` names the columns and their types; NULLs are allowed.
    """

    def __init__(self, table: str = "v", /, **columns: type) -> None:
        self._table = table
        self.names, self._columns = tuple(columns), tuple(columns.items())
        self._parameter = "rows" if table == "v" else f"rows_of_{table}"

    def sql(self, connection: Connection) -> str:
        """The FROM item."""
        return _rows_sql(connection.dialect.name, self._columns, self._table, self._parameter)

    def among(self, connection: Connection, column: str) -> str:
        """That a column is in the first of these. A join may go through them all for each row, where the
        planner takes a table that it knows nothing of for one of few rows; this takes the column's index."""
        found = f"SELECT v.{self.names[0]} FROM {self.sql(connection)}"
        return f"{column} = ANY(ARRAY({found}))" if is_postgresql(connection) else f"{column} IN ({found})"

    def parameters(self, connection: Connection, rows: Iterable[Sequence[Any]]) -> Mapping[str, Any]:
        """The statement's parameters for `rows`, each in the order of the columns."""
        return {self._parameter: msgspec.json.encode(rows if isinstance(rows, list) else list(rows)).decode()}


def as_given(connection: Connection, column: str) -> str:
    """ORDER BY for an INSERT of `Rows` that stand in this order: SQLite keeps it without, and would sort."""
    return f" ORDER BY {column}" if is_postgresql(connection) else ""


INSERTED_AT_ONCE: Final = 100
"""Rows of one INSERT of bound values: SQLite's driver keeps a statement for each number of them."""


def insert_rows(connection: Connection, table: str, rows: Rows, values: Sequence[Sequence[Any]]) -> None:
    """Append rows to a table, each value in the order of the columns of `rows`.

    SQLite takes bound values in a quarter of the time in which it takes them out of JSON.
    """
    names = ", ".join(rows.names)
    if is_postgresql(connection):
        insert = f"INSERT INTO {table} ({names}) SELECT {names} FROM {rows.sql(connection)}"
        connection.execute(statement(insert), rows.parameters(connection, values))
        return
    for part in (values[at : at + INSERTED_AT_ONCE] for at in range(0, len(values), INSERTED_AT_ONCE)):
        insert_part = _insert_sql(table, names, len(rows.names), len(part))
        connection.exec_driver_sql(insert_part, tuple(chain.from_iterable(part)))


@lru_cache(maxsize=512)
def _insert_sql(table: str, names: str, width: int, count: int) -> str:
    return f"INSERT INTO {table} ({names}) VALUES " + ", ".join([f"({', '.join('?' * width)})"] * count)


def dictionaries(result: CursorResult[Any]) -> list[dict[str, Any]]:
    """The rows by the names of their columns; a row's own mapping takes four times as long to become one."""
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result.all()]


def rows_at_once(
    connection: Connection, columns: str, rest: str, parameters: Mapping[str, Any]
) -> Sequence[Sequence[Any]]:
    """The rows of `SELECT columns rest`, for many of them. SQLite is asked for them in one value: it would
    hand out rows one by one, and for each of them Python gives up and takes back the lock that the polling
    thread wants too.
    """
    if is_postgresql(connection):
        return connection.execute(statement(f"SELECT {columns} {rest}"), parameters).all()
    found = connection.scalar(statement(f"SELECT json_group_array(json_array({columns})) {rest}"), parameters)
    return msgspec.json.decode(found or "[]", type=list[list[Any]])


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

    None of `columns` may be one that `assignments` change: SQLite is asked for them first, see
    `rows_at_once`. Nobody else writes between the two statements.
    """
    update = f"UPDATE {table} SET {assignments} FROM {source} WHERE {where}"
    if is_postgresql(connection):
        return connection.execute(statement(f"{update} RETURNING {columns}"), parameters).all()
    rows = rows_at_once(connection, columns, f"FROM {source}, {table} WHERE {where}", parameters)
    connection.execute(statement(update), parameters)
    return rows


def lease_time(connection: Connection) -> str:
    """What a lease is compared with, in epoch milliseconds: the database's clock, or the parameter `now`.

    In a subquery, so that it is read once in a statement, and an index can be used with it.
    """
    if is_postgresql(connection) and connection.get_execution_options().get(LEASES_BY_ITS_CLOCK):
        return "(SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint))"
    return "CAST(:now AS bigint)"


def lock_number(connection: Connection, number: int) -> None:
    """Wait for the lock of that number and hold it until the transaction ends; SQLite has one writer."""
    if is_postgresql(connection):
        connection.execute(statement("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def lock_name(connection: Connection, name: str) -> None:
    """The same, for the lock of that name."""
    if is_postgresql(connection):
        connection.execute(
            statement("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name}
        )
