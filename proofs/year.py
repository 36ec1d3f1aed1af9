"""`year`: a year of finished batches is pruned: audits, size and speed before and after.

The rows come from the engine's own functions with a clock that is set by hand over 365 days; nothing waits
for a provider. `--tasks 10000000` is 27,000 tasks a day: hours, and some 15 GB, which are checked for first. One
database at a time, removed afterwards.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks._installation import median
from benchmarks._year import BATCH_TASKS, DAYS, KEY, Year, hasty
from benchmarks.rows import measured

from proofs.postgresql import running_postgresql
from proofs.result import ProofResult
from rushes.run.retention import DAY_MS, prune
from rushes.store.database import Database
from rushes.store.migrations import migrate

TASKS = 20_000

BYTES_PER_TASK = 1_600
"""Of free disk, for the rows and the room that writing them anew takes."""

KEEP_DAYS = 90
OPEN_TASKS = 10_000


def add_options(command: argparse.ArgumentParser) -> None:
    """Where the rows are made."""
    command.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    command.add_argument(
        "--batch-tasks", type=int, default=BATCH_TASKS, metavar="N", help="tasks of each batch"
    )
    command.add_argument(
        "--open",
        type=int,
        default=OPEN_TASKS,
        metavar="N",
        help="tasks more that are in flight, 9,000 at least",
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
    year = Year(database, options.batch_tasks)
    began = time.monotonic()
    with hasty(database):
        year.make(options.tasks)
        year.open(options.open)
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
        for what, milliseconds in measured(database, year).items():
            found.fact(f"{what}, {when}", f"{median(milliseconds):.1f} ms")
        balances = year.rows("SELECT id, available, held, ledger_seq, ledger_hash FROM accounts ORDER BY id")
    if options.vacuum:
        began = time.monotonic()
        database.vacuum()
        found.fact("vacuum, seconds", time.monotonic() - began)
        found.fact("size after vacuum, MB", year.size_bytes() / 1e6)
