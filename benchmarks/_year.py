"""A year of finished batches, made by the engine's own functions, for what is measured among many rows."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, event, text

from benchmarks import _installation as installation
from benchmarks._installation import SEED_WORKER
from rushes.domain.task import Failed, FailureType, Succeeded
from rushes.money.accept import BatchRequest, accept_batch
from rushes.money.audit.audit import AuditReport, audit
from rushes.money.settle import Group, apply_group
from rushes.money.statements.signing_key import public_key_hex
from rushes.run.lane.fairness import claim_fairly
from rushes.run.retention import DAY_MS
from rushes.store import ledger, workers
from rushes.store.connections.bounds import LONG_TRANSACTION_SECONDS_MAX
from rushes.store.database import Database

BATCH_TASKS = 100
ACCOUNTS = 5
START_MS = 1_700_000_000_000
DAYS = 365
PROVIDER = "grsai"
WORKER = "year"
LEASE_ENDS_MS = START_MS + 10 * DAYS * DAY_MS
REFUSED = Failed("output_moderation", FailureType.OUTPUT_MODERATION)
KEY = Ed25519PrivateKey.from_private_bytes(b"year" * 8)


@contextmanager
def hasty(database: Database) -> Iterator[None]:
    """Transactions meanwhile do not wait for the disk: these rows can be made again."""
    sqlite, postgresql = "PRAGMA synchronous = OFF", "SET synchronous_commit = off"
    hasty = sqlite if database.dialect == "sqlite" else postgresql

    def hurry(connection: Any, _record: object) -> None:
        connection.cursor().execute(hasty)

    event.listen(database.engine, "connect", hurry)
    database.engine.dispose()
    try:
        yield
    finally:
        event.remove(database.engine, "connect", hurry)
        database.engine.dispose()


class Year:
    """Finished batches of some accounts, made with a clock of its own that goes through a year."""

    def __init__(self, database: Database, batch_tasks: int) -> None:
        self.database, self._batch_tasks = database, batch_tasks
        self._register(WORKER)
        [(batches, newest_ms)] = self.rows("SELECT COALESCE(MAX(id), 0), MAX(created_at_ms) FROM batches")
        self.made = int(str(batches))
        self.now_ms = int(str(newest_ms or START_MS))
        self._numbers = itertools.count(self.made)
        self._accounts = [
            database.run(ledger.ensure_account, f"account {number}", self.now_ms)
            for number in range(ACCOUNTS)
        ]

    def make(self, tasks: int) -> None:
        """Batches of the accounts in turn, evenly over the year; one video of ten is refused."""
        batches = max(1, tasks // self._batch_tasks)
        for number in range(self.made, batches):
            self.now_ms += DAYS * DAY_MS // batches
            self._accept(number, min(self._batch_tasks, tasks))
            self._settle(self._claim(self._batch_tasks))

    def open(self, tasks: int) -> None:
        """So many that are in flight of a worker whose lease is over, with those of a run before."""
        self._register(SEED_WORKER)
        [(there,)] = self.rows(
            f"SELECT COUNT(*) FROM video_tasks WHERE status = 'processing' AND worker_id = '{SEED_WORKER}'"
        )
        for number in range(max(0, tasks - int(str(there))) // self._batch_tasks):
            self._accept(number, self._batch_tasks)
            claimed = self._claim(self._batch_tasks, SEED_WORKER)
            group = Group(accepted=[(task_id, attempt, f"remote-{task_id}") for task_id, attempt in claimed])
            self.database.run(apply_group, group, worker_id=SEED_WORKER, now_ms=self.now_ms)
        self._set_lease(SEED_WORKER, 1)

    def _register(self, worker_id: str) -> None:
        if not self.rows(f"SELECT id FROM workers WHERE id = '{worker_id}'"):
            self.database.run(
                workers.register, worker_id, host="here", pid=1, now_ms=1, lease_expires_at_ms=LEASE_ENDS_MS
            )
        self._set_lease(worker_id, LEASE_ENDS_MS)

    def _set_lease(self, worker_id: str, ends_ms: int) -> None:
        lease = text("UPDATE workers SET lease_expires_at_ms = :ends WHERE id = :id")
        self.database.run(lambda connection: connection.execute(lease, {"ends": ends_ms, "id": worker_id}))

    def wait_to_be_claimed(self, tasks: int) -> None:
        """So many more, which no worker has claimed."""
        self._accept(self.made, tasks)

    def _accept(self, number: int, tasks: int) -> None:
        account_id = self._accounts[number % ACCOUNTS]
        name = f"bat_{next(self._numbers)}"

        def run(connection: Connection) -> None:
            ledger.grant(connection, account_id, tasks * installation.CREDITS, now_ms=self.now_ms)
            request = BatchRequest(
                account_id, f"account:{account_id}", name, "", installation.new_tasks(tasks)
            )
            accept_batch(connection, request, public_id=name, now_ms=self.now_ms)

        self.database.run(run)

    def _claim(self, limit: int, worker_id: str = WORKER) -> list[tuple[int, int]]:
        claimed = self.database.run(
            claim_fairly, provider=PROVIDER, worker_id=worker_id, limit=limit, now_ms=self.now_ms
        )
        return [(task.task_id, task.attempt) for task in claimed]

    def _settle(self, claimed: list[tuple[int, int]]) -> None:
        group = Group(
            accepted=[(task_id, attempt, f"remote-{task_id}") for task_id, attempt in claimed],
            verdicts=[
                (
                    task_id,
                    attempt,
                    REFUSED if task_id % 10 == 0 else Succeeded(f"https://files.example/{task_id}.mp4"),
                )
                for task_id, attempt in claimed
            ],
        )
        self.database.run(apply_group, group, worker_id=WORKER, now_ms=self.now_ms)

    def tasks(self) -> int:
        """How many tasks there were in all, also those that are folded: the newest one stays."""
        return int(str(self.rows("SELECT MAX(id) FROM video_tasks")[0][0]))

    def audited(self) -> AuditReport:
        """By the operator's key."""

        def run(connection: Connection) -> AuditReport:
            return audit(connection, trusted_keys=[public_key_hex(KEY)])

        return self.database.within(LONG_TRANSACTION_SECONDS_MAX).run_reading(run)

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """The rows of a query."""

        def run(connection: Connection) -> list[tuple[object, ...]]:
            return [tuple(row) for row in connection.execute(text(statement))]

        return self.database.run_reading(run)

    def size_bytes(self) -> int:
        """What the database takes on the disk; on SQLite without pages that are free for new rows."""
        if self.database.dialect == "postgresql":
            return int(str(self.rows("SELECT pg_database_size(current_database())")[0][0]))
        pages, free, size = (
            int(str(self.rows(f"PRAGMA {name}")[0][0]))
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size
