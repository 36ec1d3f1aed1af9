"""Successes whose credits were given back as new lots: each once, whoever does it."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from rushes.store.database import statement

BAD_FILE_ENTRY: Final = "given back: the file of {item_id} is bad"
"""How the ledger names a give-back for a bad file; before there was a table, nothing else said so."""


def note(connection: Connection, task_id: int, *, credits: int, reason: str, now_ms: int) -> bool:
    """Write down that the task's credits are given back; False when they were before."""
    noted = connection.scalar(
        statement(
            "INSERT INTO given_back (task_id, credits, reason, given_at_ms)"
            " VALUES (:task_id, :credits, :reason, :now) ON CONFLICT (task_id) DO NOTHING RETURNING 1"
        ),
        {"task_id": task_id, "credits": credits, "reason": reason, "now": now_ms},
    )
    return noted is not None


def found(connection: Connection, task_id: int) -> Mapping[str, Any] | None:
    """`credits, reason, given_at_ms` of a task whose credits were given back."""
    row = connection.execute(
        statement("SELECT credits, reason, given_at_ms FROM given_back WHERE task_id = :task_id"),
        {"task_id": task_id},
    ).first()
    return None if row is None else dict(row._mapping)


def was_before_there_was_a_table(
    connection: Connection, account_id: int, *, item_id: str, since_ms: int
) -> bool:
    """Whether the ledger has a give-back for a bad file of the item, since its video came."""
    return bool(
        connection.scalar(
            statement(
                "SELECT EXISTS (SELECT 1 FROM ledger_entries WHERE account_id = :account_id"
                " AND created_at_ms >= :since AND description = :description)"
            ),
            {
                "account_id": account_id,
                "since": since_ms,
                "description": BAD_FILE_ENTRY.format(item_id=item_id),
            },
        )
    )
