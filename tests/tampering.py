"""Changing a database behind the back of its guards, and putting the guards back."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from rushes.store import schema
from rushes.store.database import Database

Execute = Callable[[str], None]


@contextmanager
def without_guards(database: Database) -> Iterator[Execute]:
    """Triggers and foreign keys (SQLite: checks, too) do not hold inside; afterwards all of them do again."""
    if database.dialect == "sqlite":
        with sqlite_unguarded(database) as execute:
            yield execute
        return
    with postgresql_session(database) as execute:
        execute("SET session_replication_role = replica")
        yield execute


@contextmanager
def sqlite_unguarded(database: Database) -> Iterator[Execute]:
    """A connection of the tamperer's own, with the triggers dropped while it is used."""
    connection = sqlite3.connect(str(database.sqlite_path))
    connection.execute("PRAGMA ignore_check_constraints = ON")
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    for name in names:
        connection.execute(f"DROP TRIGGER {name}")

    def execute(statement: str) -> None:
        connection.execute(statement)

    yield execute
    for statement in schema.sqlite_triggers():
        connection.execute(statement)
    connection.commit()
    connection.close()


@contextmanager
def postgresql_session(database: Database) -> Iterator[Execute]:
    """A session of the tamperer's own, committed at the end."""
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:

        def execute(statement: str) -> None:
            connection.execute(statement.encode())

        yield execute


def plain_session(database: Database, *statements: str) -> None:
    """Run statements as the database's owner would, guards and all."""
    if database.dialect == "postgresql":
        with postgresql_session(database) as execute:
            for statement in statements:
                execute(statement)
        return
    connection = sqlite3.connect(str(database.sqlite_path))
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
