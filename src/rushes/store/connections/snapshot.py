"""Reading one moment's state."""

from sqlalchemy import Connection

from rushes.store.connections.dialects import is_postgresql


def begin_snapshot(connection: Connection) -> None:
    """Make the transaction read one moment's state and refuse its writes. Call before its first statement.

    On SQLite every reading transaction sees one moment's state by itself.
    """
    if not is_postgresql(connection):
        return
    has_started = connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT"
    how = "SET TRANSACTION" if has_started else "START TRANSACTION"
    connection.exec_driver_sql(f"{how} ISOLATION LEVEL REPEATABLE READ, READ ONLY")
