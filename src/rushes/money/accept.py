"""Accept a batch, cancel it, and end what has waited too long. Each is one transaction."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection

from rushes.domain.acceptance.best_of import NOTHING_ASKED, Acceptance
from rushes.domain.catalogue.media import uploads_in
from rushes.domain.errors import (
    BatchNotCancellable,
    IdempotencyKeyReused,
    InputError,
    InsufficientCredits,
    ItemNotCancellable,
    NotFound,
)
from rushes.domain.input.auto import AUTO
from rushes.domain.input.chains import followed, is_link
from rushes.domain.input.duplicates import request_keys
from rushes.domain.input.priced import PricedDraft
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.retries import NO_RETRIES, RetryPolicy
from rushes.domain.task import CANCELLED, DEADLINE, TIMEOUT, FailureType
from rushes.money import reuse
from rushes.money.day_caps import Budget
from rushes.money.reserving import reserve
from rushes.money.settle import resolve
from rushes.store import batches, deliveries, ledger, tasks, workers
from rushes.store.acceptance import gates
from rushes.store.inputs import uploads
from rushes.store.tasks import FinishedTask, Followed, NewTask, items, retries, storable, waiting

BATCH_ITEMS_MAX = 10_000
"""Items of one batch; the same limit as the HTTP API's."""

LABEL_CHARACTERS_MAX = 512
"""How much of a value of metadata counts when batches are looked for by it."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A checked and priced batch.

    `request_id` is unique within `request_scope` (an account or an API key); `request_hash` tells whether
    a repeated id carries the same body. Uploads that its items name are kept for `uploads_kept_ms` at least.
    With `reuse` items that ask for what was bought before take that file and cost nothing, see `reusing`.
    """

    account_id: int
    request_scope: str
    request_id: str
    request_hash: str
    tasks: Sequence[NewTask]
    webhook_url: str | None = None
    retry_policy: RetryPolicy = NO_RETRIES
    acceptance: Acceptance = NOTHING_ASKED
    name: str | None = None
    metadata: Mapping[str, Any] | None = None
    deadline_at_ms: int | None = None
    webhook_events: str | None = None
    uploads_kept_ms: int = 0
    reuse: bool = False

    @property
    def labels(self) -> set[tuple[str, str]]:
        """What the batch is found by: the models and aliases asked for, and its metadata as far as they are
        texts, numbers, true or false."""
        models = {("model", name) for task in self.tasks for name in (task.model, task.alias) if name}
        return models | {
            (f"metadata.{storable(key)}", label_text(value))
            for key, value in (self.metadata or {}).items()
            if isinstance(value, str | int | float)
        }

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
    alias, the model too. Where the model is chosen later, the least price is reserved.
    """
    numbered = enumerate(zip(drafts, request_keys(drafts), strict=True))
    found = [_task(index, priced, key) for index, (priced, key) in numbered]
    kinds = {id(priced.options): priced.draft for priced in drafts}  # those priced as one have the same links
    if not any(is_link(draft.options) for draft in kinds.values()):
        return found
    for index, first in enumerate(followed([priced.draft for priced in drafts])):
        if first is not None:
            link = Followed(first, str(drafts[first].draft.custom_id))
            found[index] = replace(found[index], follows=link)
    return found


def _task(index: int, priced: PricedDraft, key: int | None) -> NewTask:
    model, alias = priced.model, None if priced.alias is None else priced.alias.name
    found = NewTask(
        item_index=index,
        custom_id=priced.draft.custom_id,
        prompt=priced.draft.prompt,
        model=model.name,
        options=priced.options,
        metadata=priced.draft.metadata,
        credits=priced.credits,
        charge=priced.charge,
        provider=model.provider,
        api_model=model.api_model,
        alias=alias,
        deadline_at_ms=priced.deadline_at_ms,
        request_key=key,
    )
    if not priced.choices:
        return found
    return replace(found, model=AUTO, provider=AUTO, api_model=AUTO, alias=AUTO, charge=None)


def label_text(value: str | int | float) -> str:
    """A value of a batch's metadata as lists are filtered by it: `true` and `7` as JSON writes them."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return storable(text)[:LABEL_CHARACTERS_MAX]


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
            *(
                () if draft.deadline is None else (draft.deadline,)
            ),  # before there were any, nothing stood here
        ]
        for draft in drafts
    ]
    return hashlib.sha256(msgspec.json.encode([body, facts], order="deterministic")).hexdigest()


def reusing(connection: Connection, request: BatchRequest, *, now_ms: int) -> BatchRequest:
    """The request with its reused items free, where it asks for that; so its price is known before."""
    if not request.reuse:
        return request
    tasks = reuse.reusing(connection, request.account_id, request.tasks, now_ms=now_ms)
    return replace(request, tasks=tasks, reuse=False)


def accept_batch(
    connection: Connection, request: BatchRequest, *, public_id: str, now_ms: int
) -> AcceptedBatch:
    """Reserve the credits and insert the tasks, with what is to happen when they end; or change nothing.

    Raises `InsufficientCredits`, `DayCapReached`, or `IdempotencyKeyReused` when the request id came with
    another body.
    Concurrent duplicates wait for the first one and return its batch.
    """
    if not request.tasks:
        raise InputError("a batch has at least one item")
    if len(request.tasks) > BATCH_ITEMS_MAX:
        raise InputError(f"a batch has at most {BATCH_ITEMS_MAX} items, not {len(request.tasks)}")
    request = reusing(connection, request, now_ms=now_ms)
    batch_id = batches.insert_batch_if_new(
        connection,
        public_id=public_id,
        account_id=request.account_id,
        request_scope=request.request_scope,
        request_id=request.request_id,
        request_hash=request.request_hash,
        total_count=len(request.tasks),
        credits_reserved=request.required_credits,
        cost_per_video=request.cost_per_video,
        webhook_url=request.webhook_url,
        name=request.name,
        metadata=None if request.metadata is None else msgspec.json.encode(request.metadata).decode(),
        now_ms=now_ms,
    )
    if batch_id is None:
        return _replay(connection, request)
    _pay(connection, request, batch_id, now_ms)
    _keep_to_caps(connection, request, now_ms)
    tasks.insert_tasks(
        connection,
        batch_id=batch_id,
        account_id=request.account_id,
        tasks=request.tasks,
        deadline_at_ms=request.deadline_at_ms,
        now_ms=now_ms,
    )
    batches.add_labels(connection, batch_id, account_id=request.account_id, labels=request.labels)
    _use_uploads(connection, request, batch_id, now_ms)
    if request.retry_policy.max or request.acceptance.best_of is not None:
        retries.ask_for(connection, batch_id, request.retry_policy)
    gates.ask_for(connection, batch_id, request.acceptance)
    if request.webhook_url is not None:
        deliveries.open_feed(
            connection,
            batch_id,
            account_id=request.account_id,
            url=request.webhook_url,
            events=request.webhook_events,
            now_ms=now_ms,
        )
    return AcceptedBatch(batches.batch_row(connection, batch_id), idempotent_replay=False)


def _use_uploads(connection: Connection, request: BatchRequest, batch_id: int, now_ms: int) -> None:
    """What the items name is kept while the batch is open; raises `InputError` for what is gone."""
    kinds = {id(task.options): task.options for task in request.tasks}  # items of a kind share their options
    names = [each for options in kinds.values() for each in uploads_in(options)]
    gone = uploads.use_in_batch(connection, request.account_id, batch_id, names, now_ms=now_ms)
    if gone:
        raise InputError(f"there is no upload {gone[0]}: it expired, or was never yours")
    if names:
        uploads.renew_used(
            connection, request.account_id, batch_id, until_ms=now_ms + request.uploads_kept_ms
        )


def _keep_to_caps(connection: Connection, request: BatchRequest, now_ms: int) -> None:
    budget = Budget(
        connection,
        account_id=request.account_id,
        request_scope=request.request_scope,
        models={task.model for task in request.tasks},
        now_ms=now_ms,
    )
    for task in request.tasks if budget.is_capped else ():
        budget.spend(task.model, task.credits, None if task.charge is None else task.charge.cost)


def require_credits(
    connection: Connection, account_id: int, required: int, *, granted: int = 0, now_ms: int
) -> None:
    """Raise `InsufficientCredits` where a batch could not be paid now: before its files are stored."""
    available = ledger.available_credits(connection, account_id, now_ms) + granted
    if required > available:
        raise InsufficientCredits(required=required, available=available)


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


def _pay(connection: Connection, request: BatchRequest, batch_id: int, now_ms: int) -> None:
    account_id, amount = request.account_id, request.required_credits
    if amount:
        ledger.expire_lots(connection, now_ms, account=account_id)
        book = ledger.Book(connection, [account_id])
        reserve(connection, book, account_id=account_id, batch_id=batch_id, amount=amount, now_ms=now_ms)


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
    batches.mark_cancelled_if_open(connection, batch_id, now_ms=now_ms)
    resolve(connection, cancelled, now_ms)
    return sum(task.credits for task in cancelled)


def sweep_cancelled(connection: Connection, *, now_ms: int, limit: int = 20) -> int:
    """End tasks that went back to pending after their batch was cancelled; returns how many."""
    ids = batches.cancelled_with_pending(connection, limit=limit)
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
    """End tasks whose deadline has passed before they were sent, and those of up to `limit` batches that have
    waited longer than that; returns how many."""
    before_ms = now_ms - wait_ms_max
    late = tasks.fail_if_past_deadline(
        connection, error=DEADLINE, failure_type=FailureType.CANCELLED, limit=BATCH_ITEMS_MAX, now_ms=now_ms
    )
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


def cancel_item(connection: Connection, batch_id: int, item_index: int, *, now_ms: int) -> int:
    """Fail and refund an item that is at no provider yet; returns the credits given back.

    Raises `NotFound` and `ItemNotCancellable`.
    """
    cancelled = tasks.fail_if_pending(
        connection,
        batch_id,
        error=CANCELLED,
        failure_type=FailureType.CANCELLED,
        limit=1,
        now_ms=now_ms,
        item_index=item_index,
    )
    if not cancelled:
        row = items.current_row(connection, batch_id, item_index)
        if row is None:
            raise NotFound(f"the batch has no item {item_index}")
        raise ItemNotCancellable(f"item {item_index} is {row.status}; only a pending item can be cancelled")
    resolve(connection, cancelled, now_ms)
    return sum(task.credits for task in cancelled)


def fail_unfollowed(
    connection: Connection, *, providers: Collection[str], wait_ms_max: int, now_ms: int
) -> int:
    """End tasks that were sent that long ago to providers that no worker serves now; returns how many.

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
