"""What each transaction changed, row by row: triggers write it, the simulation reads it after the commit.

The triggers are the simulation's own and stand beside the schema's. A transaction that is rolled back
leaves no trace in the journal either.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, ParamSpec, TypeVar

from sqlalchemy import text

from rushes.store.database import Database
from rushes.store.migrations import migrate
from simulation.truth.lean import LeanConnection

P = ParamSpec("P")
T = TypeVar("T")

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "accounts": ("id", "available", "held", "ledger_seq"),
    "credit_lots": ("id", "account_id", "kind", "amount", "remaining", "expires_at_ms"),
    "batches": (
        *("id", "account_id", "status", "total_count", "pending_count", "processing_count"),
        *("succeeded_count", "failed_count", "credits_reserved", "credits_settled", "credits_refunded"),
        *("event_seq", "cancelled_at_ms", "finalized_at_ms"),
    ),
    "batch_reservations": ("batch_id", "line", "lot_id", "reserved", "settled", "refunded"),
    "video_tasks": (
        *("id", "batch_id", "account_id", "item_index", "retry_number", "is_current", "credits"),
        *("status", "attempt", "worker_id", "remote_task_id", "progress", "provider", "model"),
        *("dispatched_at_ms", "unconfirmed_at_ms", "completed_at_ms", "video_url", "error", "failure_type"),
        *("created_at_ms", "alias"),
    ),
    "task_resolutions": ("task_id", "batch_id", "attempt", "kind", "credits"),
    "ledger_entries": (
        *("account_id", "seq", "type", "delta", "balance_after", "batch_id", "task_id", "parts"),
        "created_at_ms",
    ),
    "batch_events": ("batch_id", "seq", "type", "task_id"),
    "batch_retries": (
        *("batch_id", "retries_max", "credits_max", "pass_rate_min_ppm", "pass_rate_after"),
        *("last_model", "last_credits", "rerolls_count", "credits_used", "stopped_at_ms"),
    ),
    "archived_files": ("task_id", "account_id", "state"),
    "workers": ("id", "lease_expires_at_ms"),
}
"""What is watched of each table."""

DELETED = "deleted from "
_WIDTH = max(len(columns) for columns in COLUMNS.values())
_ENDS = {deleted + table: 2 + len(names) for table, names in COLUMNS.items() for deleted in ("", DELETED)}
"""Where the columns of a row of the SQLite journal end, which start after its number and kind."""


class TaskRow(NamedTuple):
    """The watched columns of `video_tasks`."""

    id: int
    batch_id: int
    account_id: int
    item_index: int
    retry_number: int
    is_current: int
    credits: int
    status: str
    attempt: int
    worker_id: str | None
    remote_task_id: str | None
    progress: int
    provider: str
    model: str
    dispatched_at_ms: int | None
    unconfirmed_at_ms: int | None
    completed_at_ms: int | None
    video_url: str | None
    error: str | None
    failure_type: str | None
    created_at_ms: int
    alias: str | None


class BatchRow(NamedTuple):
    """The watched columns of `batches`."""

    id: int
    account_id: int
    status: str
    total: int
    pending: int
    processing: int
    succeeded: int
    failed: int
    reserved: int
    settled: int
    refunded: int
    event_seq: int
    cancelled_at_ms: int | None
    finalized_at_ms: int | None


class EntryRow(NamedTuple):
    """The watched columns of `ledger_entries`."""

    account_id: int
    seq: int
    type: str
    delta: int
    balance_after: int
    batch_id: int | None
    task_id: int | None
    parts: str
    created_at_ms: int


Change = tuple[str, tuple[Any, ...]]
"""A table's name (or `DELETED` and its name) and the watched columns of the row as it is now."""


def without_taken_back(changes: list[Change]) -> tuple[list[Change], list[TaskRow]]:
    """The changes without remote ids that were stored and taken back in the same transaction, and the rows with
    those: each is another attempt's."""
    if not any(kind == "video_tasks" and _is_unnamed(row) for kind, row in changes):
        return changes, []
    unnamed: set[tuple[int, int]] = set()
    kept: list[Change] = []
    taken_back: list[TaskRow] = []
    for kind, row in reversed(changes):
        if kind == "video_tasks":
            task = TaskRow(*row)
            if task.remote_task_id is not None and (task.id, task.attempt) in unnamed:
                taken_back.append(task)
                continue
            if task.remote_task_id is None and task.unconfirmed_at_ms is not None:
                unnamed.add((task.id, task.attempt))
        kept.append((kind, row))
    return kept[::-1], taken_back


_REMOTE_TASK_ID, _UNCONFIRMED_AT_MS = map(TaskRow._fields.index, ("remote_task_id", "unconfirmed_at_ms"))


def _is_unnamed(row: tuple[Any, ...]) -> bool:
    return row[_REMOTE_TASK_ID] is None and row[_UNCONFIRMED_AT_MS] is not None


class SqliteStore:
    """A migrated SQLite database in memory, copied from a template, with its journal.

    With `is_lean` textual statements reach it without SQLAlchemy's work around them (see simulation/truth/lean.py).
    """

    def __init__(self, *, is_lean: bool = True) -> None:
        self.database = Database("sqlite://", inline=True)
        raw = self.database.engine.raw_connection().driver_connection
        assert isinstance(raw, sqlite3.Connection)
        raw.deserialize(_template())
        for statement in _sqlite_journal():
            raw.execute(statement)
        self._raw = raw
        self._lean = LeanConnection(raw) if is_lean else None
        way = self._lean or self.database
        self.run, self.run_reading = way.run, way.run_reading
        self._changes_seen = raw.total_changes

    def take(self) -> list[Change]:
        """The changes committed since the last call, in order."""
        if self._raw.total_changes == self._changes_seen:
            return []
        rows = self._raw.execute("SELECT * FROM temp.journal ORDER BY seq").fetchall()
        if not rows:
            return []
        self._raw.execute("DELETE FROM temp.journal")
        self._changes_seen = self._raw.total_changes
        return [(row[1], row[2 : _ENDS[row[1]]]) for row in rows]

    def close(self) -> None:
        """Forget the database."""
        if self._lean is not None:
            self._lean.close()
        self.database.close()


class PostgresqlStore:
    """A migrated, empty PostgreSQL database, with its journal in a table of its own."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, inline=True)
        with self.database.engine.begin() as connection:
            for statement in _postgresql_journal():
                connection.execute(text(statement))
        self.run, self.run_reading = self.database.run, self.database.run_reading

    def take(self) -> list[Change]:
        """The changes committed since the last call, in order."""
        with self.database.engine.begin() as connection:
            rows = connection.execute(
                text(
                    "WITH taken AS (DELETE FROM simulation_journal RETURNING seq, kind, content)"
                    " SELECT kind, content FROM taken ORDER BY seq"
                )
            ).all()
        return [(kind, tuple(content)) for kind, content in rows]

    def close(self) -> None:
        """Close the connections."""
        self.database.close()


Store = SqliteStore | PostgresqlStore


@lru_cache(maxsize=1)
def _template() -> bytes:
    """The bytes of a migrated, empty database: migrating once serves every seed."""
    database = Database("sqlite://", inline=True)
    migrate.upgrade(database)
    raw = database.engine.raw_connection().driver_connection
    assert isinstance(raw, sqlite3.Connection)
    content = raw.serialize()
    database.close()
    return content


def _sqlite_journal() -> Iterator[str]:
    # there is no disk, and no other connection
    yield "PRAGMA main.synchronous = OFF"
    yield "PRAGMA main.locking_mode = EXCLUSIVE"
    columns = ", ".join(f"c{i}" for i in range(_WIDTH))
    yield f"CREATE TEMP TABLE journal (seq INTEGER PRIMARY KEY, kind, {columns})"
    for table, names in COLUMNS.items():
        targets = ", ".join(f"c{i}" for i in range(len(names)))
        for verb, row, kind in (
            ("INSERT", "NEW", table),
            ("UPDATE", "NEW", table),
            ("DELETE", "OLD", DELETED + table),
        ):
            values = ", ".join(f"{row}.{name}" for name in names)
            yield (
                f"CREATE TEMP TRIGGER journal_{table}_{verb} AFTER {verb} ON main.{table}"
                f" BEGIN INSERT INTO journal (kind, {targets}) VALUES ('{kind}', {values}); END"
            )


def _postgresql_journal() -> Iterator[str]:
    yield "CREATE UNLOGGED TABLE simulation_journal (seq bigserial PRIMARY KEY, kind text, content jsonb)"
    for table, names in COLUMNS.items():
        new, old = (", ".join(f"{row}.{name}" for name in names) for row in ("NEW", "OLD"))
        yield (
            f"CREATE FUNCTION simulation_journal_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF TG_OP = 'DELETE' THEN INSERT INTO simulation_journal (kind, content)"
            f" VALUES ('{DELETED}{table}', jsonb_build_array({old}));"
            f" ELSE INSERT INTO simulation_journal (kind, content)"
            f" VALUES ('{table}', jsonb_build_array({new})); END IF; RETURN NULL; END $$"
        )
        yield (
            f"CREATE TRIGGER simulation_journal AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW"
            f" EXECUTE FUNCTION simulation_journal_{table}()"
        )
