"""Successes whose credits were given back as new lots: each once, whoever does it.

The settlement stands and the new lots are entered as a purchase or a bonus, which nothing changes any more;
what says how much was earned, paid or spent takes off what is noted here.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection

from rushes.store.database import Rows, statement

ENTRY_START: Final = "given back: "
"""How the ledger's descriptions of give-backs start."""

BAD_FILE_ENTRY: Final = ENTRY_START + "the file of {item_id} is bad"
"""How the ledger names a give-back for a bad file; before there was a table, nothing else said so."""

ENTRY_KIND: Final = (
    "CASE WHEN type IN ('purchase', 'bonus')"
    f" AND substr(description, 1, {len(ENTRY_START)}) = '{ENTRY_START}'"
    " THEN 'given_back' ELSE type END"
)
"""The type of a ledger entry for people, as `entry_kind`."""

OF_TASKS: Final = " LEFT JOIN given_back g ON g.task_id = t.id"
"""Joins what was given back to tasks `t`."""

KEPT: Final = "(t.credits - COALESCE(g.credits, 0))"
"""With `OF_TASKS`: what a success cost in the end."""

_IDS: Final = Rows(id=int)


def entry_kind(entry: Mapping[str, Any]) -> str:
    """The type of a ledger entry, or `given_back` for a grant that returns what a video cost."""
    is_grant = entry["type"] in ("purchase", "bonus")
    return "given_back" if is_grant and entry["description"].startswith(ENTRY_START) else entry["type"]


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


def of_tasks(connection: Connection, task_ids: Iterable[int]) -> dict[int, int]:
    """The credits that were given back, of those of the tasks of which some were."""
    rows = connection.execute(
        statement(
            f"SELECT g.task_id, g.credits FROM {_IDS.sql(connection)} JOIN given_back g ON g.task_id = v.id"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
    )
    return {row.task_id: int(row.credits) for row in rows}


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
