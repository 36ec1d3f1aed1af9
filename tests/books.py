"""Books to test with: accounts, batches and verdicts, made by the functions that the engine uses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from rushes.domain.acceptance.best_of import Acceptance, BestOf
from rushes.domain.acceptance.gate import Thresholds
from rushes.domain.credits import LotKind
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.retries import NO_RETRIES, RetryPolicy
from rushes.domain.task import Failed, FailureType, Succeeded, Verdict
from rushes.money.accept import BatchRequest, accept_batch, request_hash
from rushes.money.audit.audit import audit
from rushes.money.settle import Applied, Group, apply_group
from rushes.run.lane.fairness import claim_fairly
from rushes.store import ledger, workers
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask, NewTask

PROVIDER = "grsai"
WORKER = "worker-1"
LEASE_ENDS_MS = 10**12

REFUSED = Failed("output_moderation", FailureType.OUTPUT_MODERATION)


def video(task: ClaimedTask) -> Succeeded:
    """A success with a URL of its own."""
    return Succeeded(f"https://files.example/{task.task_id}.mp4")


def new_tasks(credits_per_item: Sequence[int]) -> list[NewTask]:
    """One task per price."""
    return [
        NewTask(
            item_index=index,
            custom_id=f"item-{index}",
            prompt=f"take {index}",
            model="sora-2",
            options={"duration": 10},
            metadata=None,
            credits=price,
            provider=PROVIDER,
            api_model="sora-2",
        )
        for index, price in enumerate(credits_per_item)
    ]


def request(
    account_id: int,
    credits_per_item: Sequence[int],
    *,
    request_id: str = "r-1",
    gate: Thresholds | None = None,
    best_of: BestOf | None = None,
    retry_policy: RetryPolicy = NO_RETRIES,
) -> BatchRequest:
    """A request for a batch of these prices."""
    items = new_tasks(credits_per_item)
    return BatchRequest(
        account_id=account_id,
        request_scope=f"account:{account_id}",
        request_id=request_id,
        request_hash=request_hash([TaskDraft(item.prompt, item.model, item.options) for item in items]),
        tasks=items,
        acceptance=Acceptance(gate, best_of),
        retry_policy=retry_policy,
    )


@dataclass(slots=True)
class Books:
    """A database, a clock that tests set by hand, and the steps of a task's life, each a transaction."""

    database: Database
    now_ms: int = 1_000
    registered: set[str] = field(default_factory=set)

    def account(self, name: str = "default") -> int:
        """The id of the account, made when there is none."""
        return self.database.run(ledger.ensure_account, name, self.now_ms)

    def grant(self, account_id: int, amount: int, *, expires_at_ms: int | None = None) -> int:
        """A permanent lot, or a bonus lot when it expires."""
        return self.database.run(
            ledger.grant,
            account_id,
            amount,
            now_ms=self.now_ms,
            kind=LotKind.PERMANENT if expires_at_ms is None else LotKind.BONUS,
            expires_at_ms=expires_at_ms,
        )

    def accept(
        self,
        account_id: int,
        credits_per_item: Sequence[int],
        *,
        name: str = "bat_1",
        **asked: Any,
    ) -> int:
        """A batch with one task per price; returns its row id."""
        accepted = self.database.run(
            accept_batch,
            request(account_id, credits_per_item, request_id=name, **asked),
            public_id=name,
            now_ms=self.now_ms,
        )
        return int(accepted.row["id"])

    def worker(self, worker_id: str = WORKER) -> str:
        """A worker with a lease that does not run out."""
        if worker_id not in self.registered:
            self.registered.add(worker_id)
            self.database.run(
                workers.register,
                worker_id,
                host="here",
                pid=1,
                now_ms=self.now_ms,
                lease_expires_at_ms=LEASE_ENDS_MS,
            )
        return worker_id

    def claim(self, limit: int = 10_000, *, worker_id: str = WORKER) -> list[ClaimedTask]:
        """Commit the intent to submit pending tasks."""
        return self.database.run(
            claim_fairly,
            provider=PROVIDER,
            worker_id=self.worker(worker_id),
            limit=limit,
            now_ms=self.now_ms,
        )

    def apply(self, group: Group, *, worker_id: str = WORKER) -> Applied:
        """Commit a group."""
        return self.database.run(apply_group, group, worker_id=worker_id, now_ms=self.now_ms)

    def name(self, claimed: Iterable[ClaimedTask]) -> None:
        """The provider accepts these attempts under the ids `remote-<task>-<attempt>`."""
        self.apply(
            Group(accepted=[(t.task_id, t.attempt, f"remote-{t.task_id}-{t.attempt}") for t in claimed])
        )

    def finish(self, verdicts: Iterable[tuple[ClaimedTask, Verdict]], *, worker_id: str = WORKER) -> Applied:
        """Commit these verdicts."""
        rows = [(task.task_id, task.attempt, verdict) for task, verdict in verdicts]
        return self.apply(Group(verdicts=rows), worker_id=worker_id)

    def sql(self, statement: str, **parameters: object) -> None:
        """One statement of a tamperer."""

        def run(connection: Connection) -> None:
            connection.execute(text(statement), parameters)

        self.database.run(run)

    def rows(self, statement: str, **parameters: object) -> list[dict[str, Any]]:
        """The rows of a query."""

        def run(connection: Connection) -> list[dict[str, Any]]:
            return [dict(row._mapping) for row in connection.execute(text(statement), parameters)]

        return self.database.run_reading(run)

    def row(self, statement: str, **parameters: object) -> dict[str, Any]:
        """The only row of a query."""
        (row,) = self.rows(statement, **parameters)
        return row

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """Every row about money and tasks, to show that something changed nothing."""
        return {
            table: self.rows(f"SELECT * FROM {table} ORDER BY {key}")
            for table, key in (
                ("accounts", "id"),
                ("credit_lots", "id"),
                ("batches", "id"),
                ("batch_reservations", "batch_id, line"),
                ("video_tasks", "id"),
                ("task_attempts", "task_id, attempt"),
                ("remote_ids", "key"),
                ("contested_remote_ids", "task_id, attempt, remote_task_id"),
                ("task_resolutions", "task_id"),
                ("ledger_entries", "account_id, seq"),
                ("batch_events", "batch_id, seq"),
            )
        }


def claimed_by_worker(database: Database, count: int) -> tuple[Books, list[ClaimedTask]]:
    """A batch of so many tasks for 5 credits each, all claimed, of which the database knows nothing more."""
    books = Books(database)
    account = books.account()
    books.grant(account, 5 * count)
    books.accept(account, [5] * count)
    return books, books.claim()


def batch(books: Books, batch_id: int = 1) -> dict[str, Any]:
    """The batch's row; counters without their `_count`."""
    row = books.row("SELECT * FROM batches WHERE id = :id", id=batch_id)
    return {name.removesuffix("_count"): value for name, value in row.items()}


def events(books: Books, batch_id: int = 1) -> list[str]:
    """The types of the batch's events, in order."""
    rows = books.rows("SELECT type FROM batch_events WHERE batch_id = :id ORDER BY seq", id=batch_id)
    return [row["type"] for row in rows]


def assert_sound(books: Books) -> None:
    """The audit finds nothing."""
    assert books.database.run_reading(audit).violations == ()
