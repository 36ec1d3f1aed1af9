"""Reading a database that may be damaged, or hold what it should have refused."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from rushes.store.connections.dialects import is_postgresql
from rushes.store.connections.failures import is_damage

INSTRUCTIONS_BETWEEN_LOOKS = 100_000
"""Of SQLite's machine, between two looks at the time."""


def whole_table(connection: Connection, table: str) -> str:
    """The FROM item of a table that is read as it stands: a damaged index hides none of its rows.

    On PostgreSQL `distrust_indexes` does that, for a whole transaction.
    """
    return table if is_postgresql(connection) else f"{table} NOT INDEXED"


def distrust_indexes(connection: Connection) -> None:
    """Make PostgreSQL read tables, not indexes, until the transaction ends.

    A damaged index then cannot hide a row. SQLite's indexes are compared with their tables by
    `failed_integrity_checks` instead.
    """
    if is_postgresql(connection):
        for method in ("indexscan", "indexonlyscan", "bitmapscan"):
            connection.exec_driver_sql(f"SET LOCAL enable_{method} = off")


def failed_integrity_checks(connection: Connection, count_max: int) -> list[str]:
    """What SQLite's `integrity_check` finds, up to a limit; PostgreSQL has no such check."""
    if is_postgresql(connection):
        return []
    try:
        rows = connection.exec_driver_sql(f"PRAGMA integrity_check({count_max})")
        return [row[0] for row in rows if row[0] != "ok"]
    except DBAPIError as error:
        if is_damage(error):  # the check itself could not go on
            return [str(error.orig)]
        raise


def failed_integrity_checks_until(
    connection: Connection, is_over: Callable[[], bool], count_max: int
) -> list[str] | None:
    """`failed_integrity_checks`, or None when `is_over` before the whole file was checked."""
    if is_postgresql(connection):
        return []
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(is_over, INSTRUCTIONS_BETWEEN_LOOKS)
    try:
        return failed_integrity_checks(connection, count_max)
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            return None
        raise
    finally:
        driver.set_progress_handler(None, 0)


def takes_any_type(connection: Connection) -> bool:
    """Whether a column may hold a value of another type than its own."""
    return not is_postgresql(connection)
