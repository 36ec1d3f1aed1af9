"""Accept a batch, cancel it, and end what has waited too long. Each is one transaction."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection

from rushes.domain import credits as arithmetic
from rushes.domain.credits import EntryType
from rushes.domain.errors import (
    BatchNotCancellable,
    IdempotencyKeyReused,
    InputError,
)
from rushes.domain.prompts import PricedDraft, TaskDraft
from rushes.domain.task import CANCELLED, TIMEOUT, BatchStatus, FailureType
from rushes.engine.settle import resolve
from rushes.store import batches, ledger, tasks, waiting, workers
from rushes.store.batches import NewTask
from rushes.store.database import statement
from rushes.store.tasks import FinishedTask

BATCH_ITEMS_MAX = 10_000
"""Items of one batch; the same limit as the HTTP API's."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A checked and priced batch.

    `request_id` is unique within `request_scope` (an account or an API key); `request_hash` tells whether
    a repeated id carries the same body.
    """

    account_id: int
    request_scope: str
    request_id: str
    request_hash: str
    tasks: Sequence[NewTask]
    webhook_url: str | None = None

    @property
    def required_credits(self) -> int:
        """The credits that accepting this batch reserves."""
        return sum(task.credits for task in self.tasks)

    @property
    def cost_per_video(self) -> int | None:
        """The price of each item, or None when they differ."""
        prices = {task.credits for task in self.tasks}
        return prices.pop() if len(prices) == 1 else None


@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """The batch's row, and whether it was made by an earlier request with the same id."""

    row: dict[str, Any]
    idempotent_replay: bool


def priced_tasks(drafts: Sequence[PricedDraft]) -> list[NewTask]:
    """The rows of checked and priced drafts: the price is fixed here, and unless it was asked for under an
    alias, the model too.
    """
    return [
        NewTask(
            item_index=index,
            custom_id=priced.draft.custom_id,
            prompt=priced.draft.prompt,
            model=priced.model.name,
            options=priced.options,
            metadata=priced.draft.metadata,
            credits=priced.credits,
            provider=priced.model.provider,
            api_model=priced.model.api_model,
            alias=None if priced.alias is None else priced.alias.name,
        )
        for index, priced in enumerate(drafts)
    ]


def request_hash(drafts: Sequence[TaskDraft], *facts: object) -> str:
    """SHA-256 of a batch's items and further facts: tells a replay from another body with the same id.

    They count as their author wrote them: by the time of a replay the catalogue may have changed.
    """
    body = [
        [
            draft.prompt,
            draft.model,
            {name: value for name, value in draft.options.items() if value is not None},
            draft.custom_id,
            draft.metadata,
        ]
        for draft in drafts
    ]
    return hashlib.sha256(msgspec.json.encode([body, facts], order="deterministic")).hexdigest()


def accept_batch(
    connection: Connection, request: BatchRequest, *, public_id: str, now_ms: int
) -> AcceptedBatch:
    """Reserve the credits and insert the tasks, or change nothing.

    Raises `InsufficientCredits`, or `IdempotencyKeyReused` when the request id came with another body.
    Concurrent duplicates wait for the first one and return its batch.
    """
    if not request.tasks:
        raise InputError("a batch has at least one item")
    if len(request.tasks) > BATCH_ITEMS_MAX:
        raise InputError(f"a batch has at most {BATCH_ITEMS_MAX} items, not {len(request.tasks)}")
    batch_id = connection.scalar(
        statement(
            "INSERT INTO batches (public_id, account_id, request_scope, request_id, request_hash, status,"
            " total_count, pending_count, credits_reserved, cost_per_video, webhook_url, created_at_ms)"
            " VALUES (:public_id, :account_id, :scope, :request_id, :hash, 'pending', :total, :total,"
            " :credits, :cost, :webhook_url, :now)"
            " ON CONFLICT (request_scope, request_id) DO NOTHING RETURNING id"
        ),
        {
            "public_id": public_id,
            "account_id": request.account_id,
            "scope": request.request_scope,
            "request_id": request.request_id,
            "hash": request.request_hash,
            "total": len(request.tasks),
            "credits": request.required_credits,
            "cost": request.cost_per_video,
            "webhook_url": request.webhook_url,
            "now": now_ms,
        },
    )
    if batch_id is None:
        return _replay(connection, request)
    _reserve(connection, request.account_id, batch_id, request.required_credits, now_ms=now_ms)
    batches.insert_tasks(
        connection, batch_id=batch_id, account_id=request.account_id, tasks=request.tasks, now_ms=now_ms
    )
    return AcceptedBatch(batches.batch_row(connection, batch_id), idempotent_replay=False)


def find_replay(
    connection: Connection,
    request_scope: str,
    request_id: str | None,
    drafts: Sequence[TaskDraft],
    *facts: object,
) -> AcceptedBatch | None:
    """The batch that the same request made before, or None: for a body that would be refused by now.

    Its model may have been retired, disabled or renamed since; what it made is still its answer.
    """
    row = None if request_id is None else batches.find_by_request(connection, request_scope, request_id)
    try:
        if row is None or row["request_hash"] != request_hash(drafts, *facts):
            return None
    except (TypeError, ValueError, RecursionError):  # no JSON: nothing like it was ever accepted
        return None
    return AcceptedBatch(row, idempotent_replay=True)


def _replay(connection: Connection, request: BatchRequest) -> AcceptedBatch:
    row = batches.find_by_request(connection, request.request_scope, request.request_id)
    assert row is not None, "the insert met a batch with this request id"
    if row["request_hash"] != request.request_hash:
        raise IdempotencyKeyReused(
            f'request id "{request.request_id}" was used before with another body; use a new one'
        )
    return AcceptedBatch(row, idempotent_replay=True)


def _reserve(connection: Connection, account_id: int, batch_id: int, amount: int, *, now_ms: int) -> None:
    if amount == 0:
        return
    ledger.expire_lots(connection, now_ms, account=account_id)
    book = ledger.Book(connection, [account_id])
    parts = arithmetic.reserve(ledger.lots(connection, account_id), amount, now_ms)
    book.append(account_id, EntryType.RESERVE, parts, now_ms=now_ms, batch_id=batch_id)
    book.write()
    batches.add_reservation(connection, batch_id, parts)


def cancel_batch(connection: Connection, batch_id: int, *, now_ms: int) -> int:
    """Fail and refund the batch's pending tasks; tasks at the provider run on to their verdict.

    Returns the credits refunded by this call. Raises `BatchNotCancellable` for a finished batch.
    Cancelling an unfinished batch again is harmless.
    """
    cancelled = _cancel_pending(connection, batch_id, now_ms)
    batches.lock_account(connection, batch_id)  # accounts are locked before batches, everywhere
    batch = batches.lock_counters(connection, [batch_id])[batch_id]
    if batch.finalized_at_ms is not None:
        raise BatchNotCancellable("the batch has already finished")
    connection.execute(
        statement(
            "UPDATE batches SET cancelled_at_ms = COALESCE(cancelled_at_ms, :now), status = :status"
            " WHERE id = :id AND finalized_at_ms IS NULL"
        ),
        {"now": now_ms, "status": BatchStatus.CANCELLED.value, "id": batch_id},
    )
    resolve(connection, cancelled, now_ms)
    return sum(task.credits for task in cancelled)


def sweep_cancelled(connection: Connection, *, now_ms: int, limit: int = 20) -> int:
    """End tasks that went back to pending after their batch was cancelled; returns how many."""
    ids = connection.scalars(
        statement(
            "SELECT id FROM batches WHERE pending_count > 0 AND cancelled_at_ms IS NOT NULL"
            " ORDER BY last_dispatched_at_ms, id LIMIT :limit"
        ),
        {"limit": limit},
    ).all()
    # all tasks before the first account is locked
    leftovers = [task for batch_id in sorted(ids) for task in _cancel_pending(connection, batch_id, now_ms)]
    resolve(connection, leftovers, now_ms)
    return len(leftovers)


def _cancel_pending(connection: Connection, batch_id: int, now_ms: int) -> list[FinishedTask]:
    return tasks.fail_if_pending(
        connection,
        batch_id,
        error=CANCELLED,
        failure_type=FailureType.CANCELLED,
        limit=BATCH_ITEMS_MAX,
        now_ms=now_ms,
    )


def fail_waiting(connection: Connection, *, wait_ms_max: int, now_ms: int, limit: int = 20) -> int:
    """End tasks of up to `limit` batches that have waited longer than that to be sent; returns how many."""
    before_ms = now_ms - wait_ms_max
    late: list[FinishedTask] = []
    for batch_id in sorted(waiting.batches_waiting_since(connection, before_ms, limit=limit)):
        late += tasks.fail_if_pending(
            connection,
            batch_id,
            error=TIMEOUT,
            failure_type=FailureType.TIMEOUT,
            limit=BATCH_ITEMS_MAX,
            now_ms=now_ms,
            made_before_ms=before_ms,
        )
    resolve(connection, late, now_ms)  # once no task is left to be locked
    return len(late)


def fail_unfollowed(
    connection: Connection, *, providers: Collection[str], wait_ms_max: int, now_ms: int
) -> int:
    """End tasks that were sent that long ago to providers which no worker serves any more; returns how many.

    `providers` are those that the asking worker serves. Nobody can ask them for a last time.
    """
    late = tasks.fail_if_unfollowed(
        connection,
        served=workers.served_providers(connection, now_ms) | set(providers),
        sent_before_ms=now_ms - wait_ms_max,
        error=TIMEOUT,
        failure_type=FailureType.TIMEOUT,
        limit=BATCH_ITEMS_MAX,
        now_ms=now_ms,
    )
    resolve(connection, late, now_ms)
    return len(late)
