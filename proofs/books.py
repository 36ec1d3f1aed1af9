"""What our database says, read from outside of rushes: no engine code, no lock, no right to write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError


@dataclass(frozen=True, slots=True)
class OurTask:
    """A row of `video_tasks`."""

    task_id: int
    batch_id: int
    item_index: int
    provider: str
    api_model: str
    prompt: str
    credits: int
    status: str
    attempt: int
    remote_task_id: str | None
    video_url: str | None
    error: str | None
    failure_type: str | None
    provider_cost: float | None = None


@dataclass(frozen=True, slots=True)
class OurBatch:
    """A row of `batches`."""

    public_id: str
    request_id: str
    status: str
    total: int
    open: int
    reserved: int
    settled: int
    refunded: int


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that the equalities compare. `granted` and `available` are sums over all accounts.

    `resolutions` is `(task_id, kind, credits)`, `ended_attempts` is `(task_id, attempt)` of attempts that
    ended without ending their task.
    """

    tasks: tuple[OurTask, ...]
    batches: tuple[OurBatch, ...]
    resolutions: tuple[tuple[int, str, int], ...]
    ended_attempts: tuple[tuple[int, int], ...]
    granted: int
    available: int
    held: int


class Peek:
    """Reads a database while others write it."""

    def __init__(self, database_url: str) -> None:
        url = make_url(database_url)
        if url.get_backend_name() == "sqlite":
            path = Path(str(url.database)).resolve()
            # the service's processes alone may checkpoint or leave files behind
            self._engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true", poolclass=NullPool)
        else:
            self._engine = create_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool)

    def rows(self, statement: str, **parameters: object) -> Sequence[Any]:
        """The rows of a query. Raises `DBAPIError`, also for a table that is not there yet."""
        with self._engine.connect() as connection:
            return connection.execute(text(statement), parameters).all()

    def number(self, statement: str, **parameters: object) -> int | None:
        """The only value of a query as a whole number; None while the database cannot answer."""
        try:
            return int(self.rows(statement, **parameters)[0][0] or 0)
        except DBAPIError:
            return None

    def open_tasks(self) -> int | None:
        """Tasks without a final status; None while the database cannot answer."""
        return self.number("SELECT count(*) FROM video_tasks WHERE status IN ('pending', 'processing')")

    def in_flight(self) -> int:
        """Tasks that a provider has or may have; 0 while the database cannot answer."""
        return self.number("SELECT count(*) FROM video_tasks WHERE status = 'processing'") or 0

    def finished(self) -> int:
        """Tasks with a final status; 0 while the database cannot answer."""
        return self.number("SELECT count(*) FROM video_tasks WHERE status IN ('succeeded', 'failed')") or 0

    def under_way(self, pid: int) -> set[tuple[int, int]]:
        """`(task_id, attempt)` that the process had claimed and of whose submits no outcome is stored."""
        rows = self.rows(
            "SELECT id, attempt FROM video_tasks WHERE status = 'processing' AND worker_id LIKE :worker"
            " AND remote_task_id IS NULL AND unconfirmed_at_ms IS NULL",
            worker=f"%-{pid}-%",
        )
        return {(row[0], row[1]) for row in rows}

    def owned(self, pid: int) -> int:
        """Tasks in flight of the process's worker."""
        return (
            self.number(
                "SELECT count(*) FROM video_tasks WHERE status = 'processing' AND worker_id LIKE :worker",
                worker=f"%-{pid}-%",
            )
            or 0
        )

    def registered(self, pid: int) -> bool:
        """Whether the process has a worker's row."""
        return bool(self.number("SELECT count(*) FROM workers WHERE pid = :pid", pid=pid))

    def books(self) -> Books:
        """All that the equalities need."""
        tasks = self.rows(
            "SELECT id, batch_id, item_index, provider, api_model, prompt, credits, status, attempt,"
            " remote_task_id, video_url, error, failure_type, provider_cost FROM video_tasks ORDER BY id"
        )
        batches = self.rows(
            "SELECT public_id, request_id, status, total_count, pending_count + processing_count,"
            " credits_reserved, credits_settled, credits_refunded FROM batches ORDER BY id"
        )
        resolutions = self.rows("SELECT task_id, kind, credits FROM task_resolutions")
        ended = self.rows("SELECT task_id, attempt FROM task_attempts")
        granted = self.rows("SELECT sum(amount) FROM credit_lots")
        accounts = self.rows("SELECT sum(available), sum(held) FROM accounts")
        return Books(
            tasks=tuple(OurTask(*row) for row in tasks),
            batches=tuple(OurBatch(*row) for row in batches),
            resolutions=tuple((row[0], row[1], row[2]) for row in resolutions),
            ended_attempts=tuple((row[0], row[1]) for row in ended),
            granted=int(granted[0][0] or 0),
            available=int(accounts[0][0] or 0),
            held=int(accounts[0][1] or 0),
        )
