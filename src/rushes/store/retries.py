"""Which batches asked for their failed items to be tried again by themselves, and how often."""

from collections.abc import Iterable

from sqlalchemy import Connection

from rushes.store import schema
from rushes.store.database import Rows, statement

_IDS = Rows(id=int)


def ask_for(connection: Connection, batch_id: int, retries_max: int) -> None:
    """Try each failed item of this new batch again, up to so many times (1 to 5)."""
    connection.execute(schema.batch_retries.insert().values(batch_id=batch_id, retries_max=retries_max))


def asked_for(connection: Connection, batch_ids: Iterable[int]) -> dict[int, int]:
    """How often, of those of the given batches that asked."""
    rows = connection.execute(
        statement(
            f"SELECT r.batch_id, r.retries_max FROM batch_retries r, {_IDS.sql(connection)}"
            " WHERE r.batch_id = v.id"
        ),
        _IDS.parameters(connection, [(batch_id,) for batch_id in sorted(set(batch_ids))]),
    )
    return {row[0]: row[1] for row in rows}
