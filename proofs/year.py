"""`year`: a year of finished batches is pruned: audits, size and speed before and after.

The rows come from the engine's own functions with a clock that is set by hand over 365 days; nothing waits
for a provider. `--tasks 10000000` is 27,000 tasks a day: hours, and some 15 GB, which are checked for first. One
database at a time, removed afterwards.
"""

import argparse
import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, event, text

from benchmarks import _installation as installation
from proofs.postgresql import running_postgresql
from proofs.result import ProofResult
from rushes.domain.task import Failed, FailureType, Succeeded
from rushes.money.accept import BatchRequest, accept_batch
from rushes.money.audit.audit import AuditReport, audit
from rushes.money.settle import Group, apply_group
from rushes.money.statements.signing_key import public_key_hex
from rushes.run.lane.fairness import claim_fairly
from rushes.run.retention import DAY_MS, prune
from rushes.store import ledger, workers
from rushes.store.connections.bounds import LONG_TRANSACTION_SECONDS_MAX
from rushes.store.database import Database
from rushes.store.migrations import migrate

TASKS = 20_000

BATCH_TASKS = 100
ACCOUNTS = 5
BYTES_PER_TASK = 1_600
"""Of free disk, for the rows and the room that writing them anew takes."""

START_MS = 1_700_000_000_000
DAYS = 365
KEEP_DAYS = 90
MEASURED_TASKS = 2_000
PROVIDER = "grsai"
WORKER = "year"
REFUSED = Failed("output_moderation", FailureType.OUTPUT_MODERATION)
KEY = Ed25519PrivateKey.from_private_bytes(b"year" * 8)


def add_options(command: argparse.ArgumentParser) -> None:
    """Where the rows are made."""
    command.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    command.add_argument(
        "--batch-tasks", type=int, default=BATCH_TASKS, metavar="N", help="tasks of each batch"
    )
    command.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="keep SQLite's rows here, and continue with those of a run before",
    )
    command.add_argument("--vacuum", action="store_true", help="also give the freed room back, and time it")


def run(options: argparse.Namespace) -> ProofResult:
    """Make a year, prune it, compare."""
    found = ProofResult("year")
    started = time.monotonic()
    with ExitStack() as stack:
        if options.folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rushes-year-")))
        else:
            folder = options.folder
            folder.mkdir(parents=True, exist_ok=True)
        wanted = options.tasks * BYTES_PER_TASK * 2
        if shutil.disk_usage(folder).free < wanted:
            found.differ([f"{wanted / 1e9:.1f} GB of free disk are needed in {folder.parent}"])
            return found
        if options.database == "sqlite":
            database = Database(f"sqlite:///{folder / 'year.db'}")
            migrate.upgrade(database)
        else:
            database = Database(stack.enter_context(running_postgresql()).new_database())
        stack.callback(database.close)
        _prove(database, options, found)
    found.headline = f"{options.tasks:,} tasks over {DAYS} days on {options.database}"
    found.seconds = time.monotonic() - started
    return found


def _prove(database: Database, options: argparse.Namespace, found: ProofResult) -> None:
    year = _Year(database, options.batch_tasks)
    began = time.monotonic()
    with _hasty(database):
        year.make(options.tasks)
    found.fact("seconds to make the rows", time.monotonic() - began)
    before_ms = year.now_ms - KEEP_DAYS * DAY_MS
    balances = year.rows("SELECT id, available, held, ledger_seq, ledger_hash FROM accounts ORDER BY id")
    for when in ("before", "after"):
        if when == "after":
            found.fact("size before, MB", year.size_bytes() / 1e6)
            began = time.monotonic()
            gone = asyncio.run(
                prune(database, KEY, before_ms=before_ms, now_ms=lambda: year.now_ms, rest=0.0)
            )
            found.fact("tasks folded", gone.tasks)
            found.fact("ledger entries folded", gone.entries)
            found.fact("tasks folded per second", gone.tasks / (time.monotonic() - began))
            found.fact("size after, MB", year.size_bytes() / 1e6)
            if year.rows("SELECT id, available, held, ledger_seq, ledger_hash FROM accounts ORDER BY id") != (
                balances
            ):
                found.differ(["balances or ledger heads are not those of before"])
        began = time.monotonic()
        report = year.audited()
        found.fact(f"audit {when}, seconds", time.monotonic() - began)
        found.differ(f"audit {when}: {violation.message}" for violation in report.violations)
        if report.tasks + report.folded_tasks != year.tasks():
            found.differ(
                [f"{when}: {report.tasks} and {report.folded_tasks} folded tasks, not all there were"]
            )
        claims, settles = year.speeds()
        found.fact(f"claimed per second {when}", claims)
        found.fact(f"settled per second {when}", settles)
        balances = year.rows("SELECT id, available, held, ledger_seq, ledger_hash FROM accounts ORDER BY id")
    if options.vacuum:
        began = time.monotonic()
        database.vacuum()
        found.fact("vacuum, seconds", time.monotonic() - began)
        found.fact("size after vacuum, MB", year.size_bytes() / 1e6)


@contextmanager
def _hasty(database: Database) -> Iterator[None]:
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


class _Year:
    def __init__(self, database: Database, batch_tasks: int) -> None:
        self.database, self._batch_tasks = database, batch_tasks
        if not self.rows(f"SELECT id FROM workers WHERE id = '{WORKER}'"):
            database.run(workers.register, WORKER, host="here", pid=1, now_ms=1, lease_expires_at_ms=10**15)
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

    def _claim(self, limit: int) -> list[tuple[int, int]]:
        claimed = self.database.run(
            claim_fairly, provider=PROVIDER, worker_id=WORKER, limit=limit, now_ms=self.now_ms
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

    def speeds(self) -> tuple[float, float]:
        """Tasks claimed, and settled, a second, beside all that is there."""
        for number in range(MEASURED_TASKS // BATCH_TASKS):
            self._accept(number, BATCH_TASKS)
        began = time.perf_counter()
        groups = [self._claim(BATCH_TASKS) for _ in range(MEASURED_TASKS // BATCH_TASKS)]
        claiming = time.perf_counter() - began
        began = time.perf_counter()
        for group in groups:
            self._settle(group)
        return MEASURED_TASKS / claiming, MEASURED_TASKS / (time.perf_counter() - began)

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
