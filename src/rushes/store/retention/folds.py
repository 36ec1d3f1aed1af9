"""Folding finished batches away: which may go, the signed summaries, and the removal of their rows."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert

from rushes.store.audit_queries import stream
from rushes.store.database import Rows, for_update, statement
from rushes.store.tables import schema
from rushes.store.tasks.remote_ids import key_of

# The newest batch and the batch of the newest task stay: SQLite gives the number after the highest one that
# is there, so without them a number would be given twice, to a callback's address and in the ledger.
_FOLDABLE = (
    "b.account_id = :account_id AND b.finalized_at_ms IS NOT NULL AND b.finalized_at_ms < :before_ms"
    " AND NOT EXISTS (SELECT 1 FROM webhook_feeds w WHERE w.batch_id = b.id AND w.is_open = 1)"
    " AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.batch_id = b.id AND d.status = 'pending')"
    " AND b.id < (SELECT MAX(id) FROM batches)"
    " AND b.id <> (SELECT n.batch_id FROM video_tasks n ORDER BY n.id DESC LIMIT 1)"
)
_KEEPS_FILES = (
    "(EXISTS (SELECT 1 FROM video_tasks t JOIN archived_files f ON f.task_id = t.id WHERE t.batch_id = b.id"
    " AND (f.state IN ('due', 'stored') OR f.video_key IS NOT NULL OR f.thumbnail_key IS NOT NULL"
    " OR f.poster_key IS NOT NULL))"
    " OR EXISTS (SELECT 1 FROM video_tasks t JOIN further_files x ON x.task_id = t.id"
    " WHERE t.batch_id = b.id AND x.state IN ('due', 'stored')))"
)

_IDS = Rows(id=int)
_KEYS = Rows(key=int)
_ITS_BATCHES = "IN (SELECT v.id FROM {rows})"


def accounts(connection: Connection) -> list[tuple[int, str]]:
    """Every account's id and name."""
    return [(row.id, row.name) for row in connection.execute(statement("SELECT id, name FROM accounts"))]


def foldable_batches(
    connection: Connection,
    account_id: int,
    *,
    before_ms: int,
    after_id: int,
    batches_max: int,
    tasks_max: int,
) -> list[int]:
    """The next batches that may go, by id: finalized before then, nothing pending of their webhooks or files.

    At most `batches_max`, and no more once their items are `tasks_max`.
    """
    rows = connection.execute(
        statement(
            f"SELECT b.id, b.total_count FROM batches b WHERE {_FOLDABLE} AND NOT {_KEEPS_FILES}"
            " AND b.id > :after_id ORDER BY b.id LIMIT :limit"
        ),
        {"account_id": account_id, "before_ms": before_ms, "after_id": after_id, "limit": batches_max},
    )
    chosen, tasks = list[int](), 0
    for row in rows.all():
        if chosen and tasks + row.total_count > tasks_max:
            break
        chosen.append(row.id)
        tasks += row.total_count
    return chosen


def foldable_totals(connection: Connection, account_id: int, *, before_ms: int) -> tuple[int, int, int]:
    """How many batches may go, how many tasks they have, and how many only their kept videos hold back."""
    parameters = {"account_id": account_id, "before_ms": before_ms}
    row = connection.execute(
        statement(
            "SELECT COUNT(*) AS batches, COALESCE(SUM(b.total_count), 0) AS tasks"
            f" FROM batches b WHERE {_FOLDABLE} AND NOT {_KEEPS_FILES}"
        ),
        parameters,
    ).one()
    kept = connection.scalar(
        statement(f"SELECT COUNT(*) FROM batches b WHERE {_FOLDABLE} AND {_KEEPS_FILES}"), parameters
    )
    return row.batches, int(row.tasks), kept or 0


def lock(connection: Connection, account_id: int, batch_ids: Sequence[int], *, before_ms: int) -> list[int]:
    """Lock these batches' tasks, the account, and the batches that may still go; returns the last, by id.

    In the order in which everybody locks.
    """
    connection.execute(
        statement(
            "SELECT id FROM video_tasks"
            f" WHERE batch_id {_ITS_BATCHES.format(rows=_IDS.sql(connection))} ORDER BY id"
            f"{for_update(connection)}"
        ),
        _IDS.parameters(connection, [(each,) for each in batch_ids]),
    ).all()
    connection.execute(
        statement(f"SELECT id FROM accounts WHERE id = :account_id{for_update(connection)}"),
        {"account_id": account_id},
    ).all()
    rows = connection.execute(
        statement(
            f"SELECT b.id FROM batches b WHERE b.id {_ITS_BATCHES.format(rows=_IDS.sql(connection))}"
            f" AND {_FOLDABLE} AND NOT {_KEEPS_FILES} ORDER BY b.id{for_update(connection)}"
        ),
        {
            "account_id": account_id,
            "before_ms": before_ms,
            **_IDS.parameters(connection, [(each,) for each in batch_ids]),
        },
    )
    return [row.id for row in rows]


# --- summaries ------------------------------------------------------------------------------------------


def add(connection: Connection, fold: dict[str, Any], batches: Sequence[dict[str, Any]]) -> None:
    """Store a signed summary and the lines that it sums up."""
    result = connection.execute(insert(schema.folds).values(**fold))
    key = result.inserted_primary_key
    assert key is not None
    if batches:
        connection.execute(insert(schema.folded_batches), [{**line, "fold_id": key[0]} for line in batches])


def last_of(connection: Connection, account_id: int) -> Row[Any] | None:
    """The account's newest fold."""
    return connection.execute(
        statement("SELECT * FROM folds WHERE account_id = :account_id ORDER BY id DESC LIMIT 1"),
        {"account_id": account_id},
    ).first()


def all_folds(connection: Connection) -> Iterator[Row[Any]]:
    """Every fold, in the order in which they were made."""
    return stream(
        connection,
        "SELECT id, account_id, ledger_through_seq, ledger_hash, document, public_key,"
        " signature FROM folds ORDER BY id",
    )


_LINE = (
    "batch_id, fold_id, account_id, public_id, total_count, entries_count, credits_reserved,"
    " credits_settled, credits_refunded, finalized_at_ms, statement_hash"
)


def lines_by_fold(connection: Connection) -> Iterator[Row[Any]]:
    """Every folded batch: `fold_id` first, by fold and batch."""
    return stream(
        connection, f"SELECT fold_id AS group_id, {_LINE} FROM folded_batches ORDER BY fold_id, batch_id"
    )


def lines_by_batch(connection: Connection) -> Iterator[Row[Any]]:
    """Every folded batch with its account's name, by the id (`id`) that it had."""
    return stream(
        connection,
        "SELECT f.batch_id AS id, f.account_id, f.public_id, f.total_count, f.entries_count,"
        " f.credits_reserved, f.credits_settled, f.credits_refunded, f.statement_hash, a.name AS account"
        " FROM folded_batches f LEFT JOIN accounts a ON a.id = f.account_id ORDER BY f.batch_id",
    )


def line_of(connection: Connection, public_id: str) -> Row[Any] | None:
    """The folded batch of that name; None when there is none."""
    return connection.execute(
        statement(f"SELECT {_LINE} FROM folded_batches WHERE public_id = :public_id"),
        {"public_id": public_id},
    ).first()


def folded_through(connection: Connection, account_id: int) -> int:
    """The number of the last ledger entry that is folded away, 0 for none."""
    found = connection.scalar(
        statement("SELECT MAX(ledger_through_seq) FROM folds WHERE account_id = :account_id"),
        {"account_id": account_id},
    )
    return found or 0


def hash_at(connection: Connection, account_id: int, seq: int) -> str | None:
    """The hash of the entry at which a fold ends, None where none ends there."""
    found: str | None = connection.scalar(
        statement(
            "SELECT MAX(ledger_hash) FROM folds WHERE account_id = :account_id AND ledger_through_seq = :seq"
        ),
        {"account_id": account_id, "seq": seq},
    )
    return found


def ledger_after(connection: Connection, account_id: int, seq: int, *, limit: int) -> list[Row[Any]]:
    """The account's next entries after `seq`; `folds_away` is 1 for those of no batch or of a folded one."""
    rows = connection.execute(
        statement(
            "SELECT e.account_id, e.seq, e.type, e.delta, e.balance_after, e.batch_id, e.task_id, e.parts,"
            " e.description, e.created_at_ms, e.hash, CASE WHEN e.batch_id IS NULL OR EXISTS (SELECT 1"
            " FROM folded_batches f WHERE f.batch_id = e.batch_id) THEN 1 ELSE 0 END AS folds_away"
            " FROM ledger_entries e WHERE e.account_id = :account_id AND e.seq > :seq"
            " ORDER BY e.seq LIMIT :limit"
        ),
        {"account_id": account_id, "seq": seq, "limit": limit},
    )
    return list(rows)


# --- rows that go ---------------------------------------------------------------------------------------

_OF_TASKS = (
    "task_attempts",
    "contested_remote_ids",
    "task_resolutions",
    "callback_nudges",
    "archived_files",
    "further_files",
    "clip_verdicts",
    "clip_judgements",
    "given_back",
    "reused_items",
    "clip_looks",
    "clip_manifests",
    "last_frames",
)
_OF_BATCHES = (
    "video_tasks",
    "account_events",
    "batch_labels",
    "batch_events",
    "batch_reservations",
    "webhook_deliveries",
    "webhook_feeds",
    "deleted_videos",
    "batch_retries",
    "file_batches",
    "batch_gates",
    "batch_uploads",
)


def remove_batches(connection: Connection, batch_ids: Sequence[int]) -> None:
    """Delete all rows of folded batches but their ledger entries; refused for any that is not folded."""
    rows = _IDS.sql(connection)
    its = _ITS_BATCHES.format(rows=rows)
    parameters = _IDS.parameters(connection, [(each,) for each in batch_ids])
    _remove_remote_ids(connection, its, parameters)
    tasks = f"SELECT id FROM video_tasks WHERE batch_id {its}"
    for table in _OF_TASKS:
        connection.execute(statement(f"DELETE FROM {table} WHERE task_id IN ({tasks})"), parameters)
    for table in _OF_BATCHES:
        connection.execute(statement(f"DELETE FROM {table} WHERE batch_id {its}"), parameters)
    connection.execute(statement(f"DELETE FROM batches WHERE id {its}"), parameters)


def _remove_remote_ids(connection: Connection, its: str, parameters: Any) -> None:
    named = connection.execute(
        statement(
            "SELECT provider, host, remote_task_id FROM video_tasks"
            f" WHERE batch_id {its} AND remote_task_id IS NOT NULL"
            " UNION ALL SELECT n.provider, n.host, n.remote_task_id FROM task_attempts n"
            f" JOIN video_tasks t ON t.id = n.task_id WHERE t.batch_id {its} AND n.remote_task_id IS NOT NULL"
        ),
        parameters,
    )
    keys: Iterable[int] = sorted({key_of(row.provider, row.host, row.remote_task_id) for row in named})
    connection.execute(
        statement(
            f"DELETE FROM remote_ids WHERE key IN (SELECT v.key FROM {_KEYS.sql(connection)})"
            f" AND task_id IN (SELECT id FROM video_tasks WHERE batch_id {its.replace(':rows', ':batches')})"
        ),
        {**_KEYS.parameters(connection, [(key,) for key in keys]), "batches": parameters["rows"]},
    )


def remove_entries(connection: Connection, account_id: int, *, after_seq: int, through_seq: int) -> int:
    """Delete the account's ledger entries between those; refused for any that no fold stands for.

    There is none before: but an index on PostgreSQL still has what earlier folds deleted, and would pass it.
    """
    return connection.execute(
        statement(
            "DELETE FROM ledger_entries WHERE account_id = :account_id AND seq > :after AND seq <= :through"
        ),
        {"account_id": account_id, "after": after_seq, "through": through_seq},
    ).rowcount
