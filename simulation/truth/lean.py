"""A connection without SQLAlchemy's own work per statement, for the simulation's SQLite in memory.

The store's functions and their SQL are the production ones; what is left out is what SQLAlchemy does
around a textual statement, which takes several times as long as such a small database needs to run it.
Statements built by SQLAlchemy Core still go through SQLAlchemy. A run gives the same fingerprint with this
connection as with SQLAlchemy's, which tests/simulation asserts.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar, cast

from sqlalchemy import Connection, TextClause, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from rushes.store.connections.failures import store_error

P = ParamSpec("P")
T = TypeVar("T")


@lru_cache(maxsize=1024)
def _maker(names: tuple[str, ...]) -> Callable[[Sequence[Any]], Any]:
    row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
    return partial(tuple.__new__, row)


class LeanResult:
    """The rows of one statement: what the store asks of SQLAlchemy's result, and no more."""

    __slots__ = ("_cursor", "_makers", "_sql")

    def __init__(self, cursor: sqlite3.Cursor, sql: str, makers: dict[str, Callable[..., Any]]) -> None:
        self._cursor, self._sql, self._makers = cursor, sql, makers

    def all(self) -> list[Any]:
        """All rows, with their columns' names."""
        rows = self._cursor.fetchall()
        return list(map(self._named(), rows)) if rows else rows

    def first(self) -> Any:
        """The first row or None."""
        row = self._cursor.fetchone()
        return None if row is None else self._named()(row)

    def one(self) -> Any:
        """The only row."""
        [row] = self._cursor.fetchall()
        return self._named()(row)

    def scalar(self) -> Any:
        """The first column of the first row, None without a row."""
        row = self._cursor.fetchone()
        return None if row is None else row[0]

    def scalars(self) -> "LeanScalars":
        """The first column of all rows."""
        return LeanScalars([row[0] for row in self._cursor.fetchall()])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.all())

    @property
    def rowcount(self) -> int:
        """Rows changed."""
        return self._cursor.rowcount

    def _named(self) -> Callable[[Sequence[Any]], Any]:
        make = self._makers.get(self._sql)
        if make is None:
            names = tuple([column[0] for column in self._cursor.description])
            make = self._makers[self._sql] = _maker(names)
        return make


class LeanScalars(list[Any]):
    """Values; `all()` as SQLAlchemy has it."""

    def all(self) -> list[Any]:
        """The values."""
        return self


class LeanConnection:
    """Runs textual statements itself and hands the others to SQLAlchemy, over the same connection."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
        self._raw, self._core = raw, engine.connect()
        self._makers: dict[str, Callable[..., Any]] = {}  # by statement: its rows' type
        self.dialect = engine.dialect

    def execute(self, wanted: Any, parameters: Any = None) -> Any:
        """See SQLAlchemy's `Connection`."""
        if not isinstance(wanted, TextClause):
            return self._core.execute(wanted, parameters)
        sql = wanted.text
        if parameters is None:
            cursor = self._raw.execute(sql)
        elif isinstance(parameters, list | tuple):
            cursor = self._raw.executemany(sql, parameters)
        else:
            cursor = self._raw.execute(sql, parameters)
        return LeanResult(cursor, sql, self._makers)

    def scalar(self, wanted: Any, parameters: Any = None) -> Any:
        """See SQLAlchemy's `Connection`."""
        return self.execute(wanted, parameters).scalar()

    def scalars(self, wanted: Any, parameters: Any = None) -> Any:
        """See SQLAlchemy's `Connection`."""
        return self.execute(wanted, parameters).scalars()

    def exec_driver_sql(self, sql: str, parameters: tuple[Any, ...] = ()) -> LeanResult:
        """See SQLAlchemy's `Connection`."""
        return LeanResult(self._raw.execute(sql, parameters), sql, self._makers)

    @contextmanager
    def begin_nested(self) -> Iterator[None]:
        """A savepoint."""
        self._raw.execute("SAVEPOINT lean")
        try:
            yield
        except BaseException:
            self._raw.execute("ROLLBACK TO lean")
            raise
        finally:
            self._raw.execute("RELEASE lean")

    def run(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One transaction, as `Database.run` has it: all of it is committed, or none."""
        return self._run(function, args, kwargs, writes=True)

    def run_reading(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What only reads needs no transaction: nobody else writes before it ends."""
        return self._run(function, args, kwargs, writes=False)

    def _run(
        self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], *, writes: bool
    ) -> T:
        raw = self._raw
        try:
            if writes:
                raw.execute("BEGIN IMMEDIATE")
            result = function(cast(Connection, self), *args, **kwargs)
            if writes:
                raw.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            _refused(error)
        except DBAPIError as error:
            self._undo()
            raise store_error(error) from error
        except BaseException:
            self._undo()
            raise
        finally:
            if self._core.in_transaction():
                self._core.commit()  # a matter of SQLAlchemy's books alone: the transaction is over
        return result

    def _undo(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")

    def close(self) -> None:
        """Give SQLAlchemy's part back; the connection itself is another's."""
        self._core.close()


def _refused(error: sqlite3.Error) -> NoReturn:
    raise store_error(DBAPIError("", {}, error)) from error
