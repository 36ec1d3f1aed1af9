"""Which of the two databases a connection speaks to."""

from typing import TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


def by_dialect(connection: Connection, *, sqlite: T, postgresql: T) -> T:
    """The one of the two that is for the connection's database.

    Outside of this room and `database.py`, which name each difference after what it does, only for what has
    nothing in common: the catalogues in which a schema is found again.
    """
    match connection.dialect.name:
        case "sqlite":
            return sqlite
        case "postgresql":
            return postgresql
        case other:
            raise AssertionError(f"no statement is written for {other}")


def is_postgresql(connection: Connection) -> bool:
    """Which of the two it is."""
    return by_dialect(connection, sqlite=False, postgresql=True)
