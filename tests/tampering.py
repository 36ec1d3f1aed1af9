"""Changing a database behind the back of its guards."""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

import psycopg
from sqlalchemy import Connection

from rushes.store.database import Database
from rushes.store.tables import schema

T = TypeVar("T")


def read_tampered(database: Database, statements: tuple[str, ...], read: Callable[[Connection], T]) -> T:
    """What `read` sees once the statements have run with triggers, references and SQLite's checks off.

    The guards stand again when it reads, and all of it is undone afterwards.
    """
    sqlite = database.dialect == "sqlite"
    with database.engine.connect() as connection:
        if not sqlite:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin() as transaction:
            _remove_guards(connection, sqlite=sqlite)
            for statement in statements:
                connection.exec_driver_sql(statement)
            if sqlite:
                connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")
                for statement in schema.sqlite_triggers():
                    connection.exec_driver_sql(statement)
            seen = read(connection)
            transaction.rollback()
    return seen


def _remove_guards(connection: Connection, *, sqlite: bool) -> None:
    if not sqlite:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        return
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
    for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
        connection.exec_driver_sql(f"DROP TRIGGER {name}")


def as_owner(database: Database, *statements: str) -> None:
    """Run and commit statements as the database's owner could, in a session without rushes."""
    if database.dialect == "postgresql":
        url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as session:
            for statement in statements:
                session.execute(statement.encode())
        return
    connection = sqlite3.connect(str(database.sqlite_path))
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
