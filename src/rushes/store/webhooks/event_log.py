"""An account's event log: its events over all batches, in one order that never changes.

Events are written by the transactions that settle, numbered for each batch. Here they are numbered for the
account, when somebody asks: whoever has read up to a position misses nothing below it.
"""

from typing import Any, Final

from sqlalchemy import Connection, Row

from rushes.store.database import Rows, for_update, lock_name, statement

LOG_SECONDS_MAX: Final = 30 * 86_400
"""Events of batches that ended longer ago when the log gets to them are left out of it."""

BATCHES_AT_ONCE_MAX: Final = 200
EVENTS_OF_BATCH_AT_ONCE_MAX: Final = 500

_SPANS = Rows(batch_id=int, after=int, until=int)


def has_news(connection: Connection, account_id: int) -> bool:
    """Whether the account has events that are not in its log yet."""
    found = connection.scalar(
        statement("SELECT 1 FROM batches WHERE account_id = :account_id AND event_seq > logged_seq LIMIT 1"),
        {"account_id": account_id},
    )
    return found is not None


def head(connection: Connection, account_id: int) -> int:
    """The position of the log's last event, 0 for none."""
    found = connection.scalar(
        statement("SELECT MAX(position) FROM account_events WHERE account_id = :account_id"),
        {"account_id": account_id},
    )
    return int(found or 0)


def number_new(connection: Connection, account_id: int, *, now_ms: int) -> int:
    """Put the account's new events into its log, a bounded number of them; returns how many.

    0 may also mean that there are more, behind events that are too old for it.
    """
    lock_name(connection, f"event log of account {account_id}")
    rows = connection.execute(
        statement(
            "SELECT id, logged_seq, event_seq, finalized_at_ms FROM batches WHERE account_id = :account_id"
            f" AND event_seq > logged_seq ORDER BY id LIMIT :limit{for_update(connection)}"
        ),
        {"account_id": account_id, "limit": BATCHES_AT_ONCE_MAX},
    ).all()
    if not rows:
        return 0
    parameters = _SPANS.parameters(connection, [_span(row, now_ms) for row in rows])
    numbered = connection.execute(
        statement(
            "INSERT INTO account_events (account_id, position, batch_id, seq)"
            " SELECT CAST(:account_id AS bigint), CAST(:head AS bigint)"
            " + row_number() OVER (ORDER BY e.created_at_ms, e.batch_id, e.seq), e.batch_id, e.seq"
            f" FROM {_SPANS.sql(connection)} JOIN batch_events e ON e.batch_id = v.batch_id"
            " AND e.seq > v.after AND e.seq <= v.until"
        ),
        {**parameters, "account_id": account_id, "head": head(connection, account_id)},
    ).rowcount
    connection.execute(
        statement(
            f"UPDATE batches SET logged_seq = v.until FROM {_SPANS.sql(connection)}"
            " WHERE batches.id = v.batch_id"
        ),
        parameters,
    )
    return numbered


def _span(batch: Row[Any], now_ms: int) -> tuple[int, int, int]:
    """The batch's id, and the numbers of its events: those after the first, up to the second."""
    ended_at_ms = batch.finalized_at_ms
    if ended_at_ms is not None and ended_at_ms < now_ms - LOG_SECONDS_MAX * 1000:
        return batch.id, batch.event_seq, batch.event_seq
    return batch.id, batch.logged_seq, min(batch.event_seq, batch.logged_seq + EVENTS_OF_BATCH_AT_ONCE_MAX)
