"""Tasks whose model is chosen when they are bought, and what the choice follows from.

Until then a task has the model and the provider `auto`, which no lane serves, so no claim finds it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from rushes.domain.acceptance.bandit import Record
from rushes.domain.input.auto import AUTO, AutoRule, Chosen
from rushes.domain.input.duplicates import REUSED_PROVIDER
from rushes.store.database import Rows, skip_locked, statement, unindexed
from rushes.store.tables.schema import CLAIMABLE
from rushes.store.tasks.charges import CHARGE_FIELDS
from rushes.store.tasks.guards import NO_TROUBLE

_CHOSEN = Rows(id=int, credits=int, model=str, provider=str, api_model=str, choice=str, **CHARGE_FIELDS)
_WAITS = f"{CLAIMABLE} AND provider = '{AUTO}'"


def batches_waiting(connection: Connection, *, limit: int) -> list[int]:
    """Batches with tasks whose model is still to be chosen, one step through the index for each."""
    found: list[int] = []
    while len(found) < limit:
        batch_id = connection.scalar(
            statement(f"SELECT min(batch_id) FROM video_tasks WHERE {_WAITS} AND batch_id > :last"),
            {"last": found[-1] if found else 0},
        )
        if batch_id is None:
            break
        found.append(int(batch_id))
    return found


def lock_waiting(connection: Connection, batch_id: int, *, limit: int) -> Sequence[Row[Any]]:
    """The batch's first tasks without a model, locked, in the order of its items; others' are left out.

    `spent` is what the item's clips before this one cost, and `number` which try it is.
    """
    rows = connection.execute(
        statement(
            f"SELECT id FROM video_tasks WHERE {_WAITS} AND batch_id = :batch_id ORDER BY item_index"
            f" LIMIT :limit{skip_locked(connection)}"
        ),
        {"batch_id": batch_id, "limit": limit},
    ).all()
    ids = Rows(id=int)
    return connection.execute(
        statement(
            "SELECT t.id, t.item_index, t.retry_number AS number, t.prompt, t.options, t.credits,"
            " (SELECT COALESCE(SUM(p.credits), 0) FROM video_tasks p WHERE p.batch_id = t.batch_id"
            " AND p.item_index = t.item_index AND p.status = 'succeeded') AS spent"
            f" FROM {ids.sql(connection)} JOIN video_tasks t ON t.id = v.id ORDER BY t.item_index"
        ),
        ids.parameters(connection, [(row[0],) for row in rows]),
    ).all()


def count_waiting(connection: Connection, batch_id: int) -> int:
    """How many of the batch's tasks have no model yet."""
    found = connection.scalar(
        statement(f"SELECT COUNT(*) FROM video_tasks WHERE {_WAITS} AND batch_id = :batch_id"),
        {"batch_id": batch_id},
    )
    return int(found or 0)


def to_be_sent(connection: Connection, batch_id: int) -> dict[str, int]:
    """The batch's tasks that have a model and wait to be sent, by model."""
    rows = connection.execute(
        statement(
            f"SELECT model, count(*) AS tasks FROM video_tasks WHERE {CLAIMABLE}"
            f" AND batch_id = :batch_id AND provider NOT IN ('{AUTO}', '{REUSED_PROVIDER}') GROUP BY model"
        ),
        {"batch_id": batch_id},
    )
    return {row.model: int(row.tasks) for row in rows}


def unjudged(connection: Connection, batch_id: int) -> int:
    """How many of the batch's clips have no verdict yet."""
    found = connection.scalar(
        statement("SELECT count(*) FROM clip_verdicts WHERE batch_id = :batch_id AND state <> 'decided'"),
        {"batch_id": batch_id},
    )
    return int(found or 0)


def records(connection: Connection, account_id: int, *, since_ms: int) -> dict[str, Record]:
    """By model: the account's clips that have a verdict since then, and how many were accepted.

    A reused file counts once, where it was bought.
    """
    rows = connection.execute(
        statement(
            "SELECT t.model, COUNT(*) AS clips,"
            " SUM(CASE WHEN c.verdict = 'accepted' THEN 1 ELSE 0 END) AS accepted"
            " FROM clip_verdicts c JOIN video_tasks t ON t.id = c.task_id"
            " WHERE c.state = 'decided' AND c.decided_at_ms >= :since AND t.account_id = :account_id"
            f" AND t.provider <> '{REUSED_PROVIDER}' GROUP BY t.model"
        ),
        {"since": since_ms, "account_id": account_id},
    )
    return {row.model: Record(int(row.accepted), int(row.clips)) for row in rows}


def failing(connection: Connection, account_id: int, *, since_ms: int, failures: int) -> set[str]:
    """Models of which nothing of the account's passed since then, and that many tries or more failed."""
    rows = connection.execute(
        statement(
            "SELECT model FROM video_tasks WHERE completed_at_ms >= :since AND account_id = :account_id"
            f" AND provider <> '{REUSED_PROVIDER}'"
            " AND (failure_type IS NULL OR failure_type <> 'cancelled') GROUP BY model"
            " HAVING SUM(CASE WHEN status = 'succeeded' THEN 1 ELSE 0 END) = 0 AND COUNT(*) >= :failures"
        ),
        {"since": since_ms, "account_id": account_id, "failures": failures},
    )
    return {row.model for row in rows}


def choose_if_waiting(connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Give the tasks, which are locked, their models.

    Rows are `(id, credits, model, provider, api_model, choice, …)` and the charge, as `charge_row` gives it.
    """
    charge = ", ".join(f"{name} = v.{name}" for name in CHARGE_FIELDS)
    connection.execute(
        statement(
            "UPDATE video_tasks SET credits = v.credits, model = v.model, provider = v.provider,"
            f" api_model = v.api_model, choice = v.choice, {NO_TROUBLE}, {charge}"
            f" FROM {_CHOSEN.sql(connection)} WHERE video_tasks.id = v.id"
            f" AND {unindexed(connection, 'video_tasks.status')} = 'pending'"
        ),
        _CHOSEN.parameters(connection, rows),
    )


# --- as the columns keep it -------------------------------------------------------------------------------


def encode_rule(rule: AutoRule) -> str:
    """The rule as `batch_gates.auto` keeps it."""
    return msgspec.json.encode(rule).decode()


def decode_rule(text: str) -> AutoRule:
    """The rule that `encode_rule` wrote."""
    return msgspec.json.decode(text, type=AutoRule)


def encode_chosen(chosen: Chosen) -> str:
    """Why a task has its model, as `video_tasks.choice` keeps it."""
    return msgspec.json.encode(chosen).decode()


def decode_chosen(text: str | None) -> Chosen | None:
    """What `encode_chosen` wrote; None of a task whose model was not chosen, or not yet."""
    return None if text is None else msgspec.json.decode(text, type=Chosen)
