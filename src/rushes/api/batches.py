"""Batches and quotes."""

from typing import Annotated, Any, Final, Literal, TypeAlias

from fastapi import APIRouter, Path, Query, Request
from pydantic import StringConstraints
from starlette.responses import Response

from rushes.api.accepting import (
    IdempotencyKey,
    accept_and_answer,
    collecting_after,
    keep_files,
    read_batch,
    read_json_of_batch,
    replay_of,
    request_id_of_batch,
    scope_of,
)
from rushes.api.auth import Caller
from rushes.api.edge.answering import ok_answer
from rushes.api.edge.ids import BatchId, item_index_of, public_id
from rushes.api.edge.times import Time, epoch_ms_if_given
from rushes.api.files import links_for
from rushes.api.parts import ApiParts, Parts
from rushes.api.shapes import models, requests
from rushes.api.shapes import quotes as quote_shapes
from rushes.api.shapes.documents import BATCHES, answers, json_body
from rushes.domain.errors import InputError
from rushes.domain.task import FailureType, TaskStatus
from rushes.money import accept, acts
from rushes.money.accept import BatchRequest
from rushes.read import batches, items, quotes, tries
from rushes.read.batches import BatchFilter
from rushes.read.items import ItemFilter
from rushes.read.scope import Scope
from rushes.read.views import item_id
from rushes.store.keys import KeyOwner

EARLIER_ID: Final = "x-request-id"
"""The header by which the earlier service's clients name a request."""

PAGE_MAX: Final = 100
ITEMS_PAGE_MAX: Final = 1000
OFFSET_MAX: Final = 1_000_000

WAIT_SECONDS_MAX: Final = 60

METADATA_PREFIX: Final = "metadata."
LABELS_MAX: Final = 10
"""Conditions on the model and on metadata that one list may have."""

Order: TypeAlias = Literal["asc", "desc"]
Text: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")
]

router = APIRouter(tags=[BATCHES])

_BATCH_EXAMPLE = {
    "request_id": "order-1742",
    "items": [
        {"prompt": "a paper boat on a puddle", "aspect_ratio": "9:16", "custom_id": "boat"},
        {"prompt": "a kite over the sea", "model": "veo-flash"},
    ],
    "webhook_url": "https://example.com/hooks/rushes",
}
_QUOTE_EXAMPLE = {
    "template": "A {style} shot of {scene}",
    "variables": {"style": ["wide", "close"], "scene": ["a harbour", "a forest"]},
    "model": "sora-2",
}


@router.post(
    "/batches",
    status_code=201,
    response_model=models.AcceptedBatch,
    summary="Create a batch",
    responses=answers(
        400,
        402,
        408,
        413,
        415,
        422,
        ok={200: {"description": "The batch that this request made before.", "model": models.AcceptedBatch}},
    ),
    openapi_extra=json_body(requests.NewBatch, _BATCH_EXAMPLE),
)
async def create_batch(
    request: Request, caller: Caller, parts: Parts, idempotency_key: IdempotencyKey = None
) -> Response:
    """Reserves the credits of all items and accepts them, or writes nothing.

    With a `request_id` (or `Idempotency-Key`) a repeat answers 200 with the same batch and
    `idempotent_replay`; the same id with another body is refused.
    """
    return await new_batch(request, caller, parts, idempotency_key=idempotency_key)


async def new_batch(
    request: Request,
    caller: KeyOwner,
    parts: ApiParts,
    *,
    idempotency_key: str | None,
    or_key: str | None = None,
) -> Response:
    """Accept the batch in the request's body. `or_key`, of `EARLIER_ID`, names the request
    where it has no other name.
    """
    raw = await read_json_of_batch(request)
    with collecting_after(raw):
        answer = await _accept(raw, caller, parts, idempotency_key, or_key)
    if answer["idempotent_replay"]:
        return ok_answer(answer)
    parts.on_accepted()
    return ok_answer(answer, status=201)


async def _accept(
    raw: bytes, caller: KeyOwner, parts: ApiParts, idempotency_key: str | None, or_key: str | None
) -> dict[str, Any]:
    body, new = await read_batch(raw, caller, parts)
    if idempotency_key is None and body.request_id is None and or_key is not None:
        request_id = request_id_of_batch(None, or_key, header=EARLIER_ID)
    else:
        request_id = request_id_of_batch(body.request_id, idempotency_key)
    if isinstance(new, InputError):
        return await replay_of(caller, parts, new, request_id, body.drafts, *body.facts)
    new_id = parts.new_batch_id()
    wanted = BatchRequest(
        account_id=caller.account_id,
        request_scope=scope_of(caller),
        request_id=request_id or new_id,
        request_hash=accept.request_hash(body.drafts, *body.facts),
        tasks=accept.priced_tasks(new.drafts),
        webhook_url=new.webhook_url,
        retry_policy=new.retry_policy,
        name=new.name,
        metadata=new.metadata,
        deadline_at_ms=new.deadline_at_ms,
        acceptance=new.acceptance,
        webhook_events=new.webhook_events,
        uploads_kept_ms=parts.uploads.keep_ms,
        reuse=new.reuse,
    )
    assert not isinstance(body.given, InputError), "it would have been refused"
    await keep_files(caller, parts, body.given, wanted)
    return await parts.database.transact(accept_and_answer, wanted, public_id=new_id, now_ms=parts.now_ms())


@router.post(
    "/quotes",
    response_model=quote_shapes.QuoteAnswer,
    summary="Price a batch",
    responses=answers(400, 408, 413, 415, 422),
    openapi_extra=json_body(requests.NewBatch, _QUOTE_EXAMPLE),
)
async def make_quote(request: Request, caller: Caller, parts: Parts) -> Response:
    """What the same body would cost as a batch, and when it would be done. Writes nothing.

    It is checked as a batch's is; `request_id` names nothing here.
    """
    raw = await read_json_of_batch(request)
    with collecting_after(raw):
        found = await _quote(raw, caller, parts)
    return ok_answer(found)


async def _quote(raw: bytes, caller: KeyOwner, parts: ApiParts) -> dict[str, Any]:
    _body, new = await read_batch(raw, caller, parts)
    if isinstance(new, InputError):
        raise new
    return await parts.database.read(
        quotes.quote,
        new.drafts,
        account=caller.account,
        forecaster=parts.forecaster,
        now_ms=parts.now_ms(),
        reuse=new.reuse,
        best_of=new.acceptance.best_of,
    )


@router.get(
    "/batches",
    response_model=models.BatchPage,
    summary="List batches",
    responses=answers(404, 422),
)
async def list_batches(
    request: Request,
    caller: Caller,
    parts: Parts,
    status: Annotated[models.BatchStatusFilter | None, Query()] = None,
    model: Annotated[Text | None, Query(description="A model or an alias that an item asked for.")] = None,
    request_id: Annotated[Text | None, Query(description="The id that the request came with.")] = None,
    created_after: Time = None,
    created_before: Time = None,
    order: Annotated[Order, Query()] = "desc",
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    after: Annotated[str | None, Query(description="The last id of the page before.")] = None,
) -> Response:
    """Newest first, unless `order=asc`. `metadata.KEY=value`, for any key, finds them by their metadata."""
    labels = [] if model is None else [("model", model)]
    labels += [
        (name, accept.label_text(value))
        for name, value in request.query_params.multi_items()
        if name.startswith(METADATA_PREFIX)
    ]
    if len(labels) > LABELS_MAX:
        raise InputError(f"at most {LABELS_MAX} conditions on model and metadata, not {len(labels)}")
    wanted = BatchFilter(
        status=models.EARLIER_STATUSES.get(status, status),
        request_id=request_id,
        created_after_ms=epoch_ms_if_given(created_after, field="created_after"),
        created_before_ms=epoch_ms_if_given(created_before, field="created_before"),
        labels=tuple(labels),
    )
    data, has_more = await parts.database.read(
        batches.batch_page,
        Scope(caller.account_id),
        wanted,
        limit=limit,
        after=None if after is None else public_id(after),
        forecaster=parts.forecaster,
        now_ms=parts.now_ms(),
        ascending=order == "asc",
    )
    return ok_answer({"data": data, "has_more": has_more})


@router.get(
    "/batches/{batch_id}", response_model=models.Batch, summary="Get a batch", responses=answers(404, 422)
)
async def get_batch(
    batch_id: BatchId,
    caller: Caller,
    parts: Parts,
    wait: Annotated[
        int, Query(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for the batch's next event.")
    ] = 0,
) -> Response:
    """Counts, credits and the expected end. With `wait` it answers once something happens, or after that
    time; a finished batch at once."""
    if wait:
        row_id, seq, finished = await parts.database.read(
            batches.event_head, Scope(caller.account_id), batch_id
        )
        if not finished:
            parts.events.admit(caller.account_id)
            await parts.events.changed(
                row_id, account_id=caller.account_id, seq=seq, finished=finished, seconds_max=wait
            )
    found = await parts.database.read(
        batches.batch,
        Scope(caller.account_id),
        batch_id,
        forecaster=parts.forecaster,
        now_ms=parts.now_ms(),
    )
    return ok_answer(found)


@router.get(
    "/batches/{batch_id}/items",
    response_model=models.ItemPage,
    summary="List a batch's items",
    responses=answers(404, 422),
)
async def list_items(
    request: Request,
    batch_id: BatchId,
    caller: Caller,
    parts: Parts,
    status: Annotated[models.StatusFilter | None, Query()] = None,
    failure_type: Annotated[FailureType | None, Query(description="Only items that failed so.")] = None,
    custom_id: Annotated[Text | None, Query(description="Only the item with this name of yours.")] = None,
    model: Annotated[
        Text | None, Query(description="Only items of this model, or asked for under it.")
    ] = None,
    order: Annotated[Order, Query()] = "asc",
    limit: Annotated[int, Query(ge=1, le=ITEMS_PAGE_MAX)] = 100,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> Response:
    """In their order; of an item that was retried, the newest try. `total` counts those that were asked for.

    Once a video is stored, its `video_url` and `thumbnail_url` are links of this service that need no key and
    live for one to two hours. A video that could not be kept has none; `archive` says why.
    """
    found, total = await parts.database.read(
        items.item_page,
        Scope(caller.account_id),
        batch_id,
        ItemFilter(models.EARLIER_STATUSES.get(status, status), failure_type, custom_id, model),
        limit=limit,
        offset=offset,
        catalogue=parts.catalogue,
        links=links_for(request, parts),
        now_ms=parts.now_ms(),
        ascending=order == "asc",
    )
    return ok_answer({"items": found, "total": total, "limit": limit, "offset": offset})


@router.post(
    "/batches/{batch_id}/cancel",
    response_model=models.CancelledBatch,
    summary="Cancel a batch",
    responses=answers(400, 404),
)
async def cancel_batch(batch_id: BatchId, caller: Caller, parts: Parts) -> Response:
    """Pending items fail `CANCELLED` and are refunded; items at a provider run on to their verdict."""
    refunded = await parts.database.transact(
        acts.cancel, batch_id, account_id=caller.account_id, now_ms=parts.now_ms()
    )
    return ok_answer({"batch_id": batch_id, "status": "cancelled", "credits_refunded": refunded})


@router.post(
    "/batches/{batch_id}/items/{item}/cancel",
    response_model=models.CancelledItem,
    summary="Cancel an item",
    responses=answers(400, 404),
)
async def cancel_item(
    batch_id: BatchId,
    item: Annotated[str, Path(description="The item's id, or its index.", examples=["3"])],
    caller: Caller,
    parts: Parts,
) -> Response:
    """A pending item fails `CANCELLED` and is refunded; one that a provider has is refused."""
    index = item_index_of(item, batch_id=batch_id)
    refunded = await parts.database.transact(
        acts.cancel_item, batch_id, index, account_id=caller.account_id, now_ms=parts.now_ms()
    )
    return ok_answer(
        {
            "batch_id": batch_id,
            "item_id": item_id(batch_id, index),
            "status": TaskStatus.FAILED.value,
            "credits_refunded": refunded,
        }
    )


@router.post(
    "/batches/{batch_id}/items/{item}/retry",
    response_model=models.RetriedItem,
    summary="Try a failed item again",
    responses=answers(400, 402, 404),
)
async def retry_item(
    batch_id: BatchId,
    item: Annotated[str, Path(description="The item's id, or its index.", examples=["3"])],
    caller: Caller,
    parts: Parts,
) -> Response:
    """A failed item becomes a new attempt with a new reservation; the batch opens again.

    A key that has a day's cap retries only in batches that it made itself.
    """
    index = item_index_of(item, batch_id=batch_id)
    retried = await parts.database.transact(
        acts.retry_item,
        batch_id,
        index,
        account_id=caller.account_id,
        key_id=caller.key_id,
        now_ms=parts.now_ms(),
        reprice=parts.catalogue.charge,
    )
    parts.on_accepted()
    return ok_answer(
        {
            "batch_id": batch_id,
            "item_id": item_id(batch_id, index),
            "status": TaskStatus.PENDING.value,
            "required_credits": retried.required_credits,
            "available_credits": retried.available_credits,
        }
    )


@router.get(
    "/batches/{batch_id}/items/{item}/attempts",
    response_model=models.ItemAttempts,
    summary="List an item's attempts",
    responses=answers(404),
)
async def list_attempts(
    batch_id: BatchId,
    item: Annotated[str, Path(description="The item's id, or its index.", examples=["3"])],
    caller: Caller,
    parts: Parts,
) -> Response:
    """Each try with its model, remote id, times and verdict, oldest first."""
    found = await parts.database.read(
        tries.item_attempts,
        Scope(caller.account_id),
        batch_id,
        item_index_of(item, batch_id=batch_id),
    )
    return ok_answer(found)


@router.get(
    "/batches/{batch_id}/retries",
    response_model=models.BatchRerolls,
    summary="Get a batch's re-rolls",
    responses=answers(404),
)
async def get_rerolls(batch_id: BatchId, caller: Caller, parts: Parts) -> Response:
    """What the batch asked for, and what its tries have come to: count, credits, pass rate."""
    return ok_answer(await parts.database.read(tries.batch_rerolls, Scope(caller.account_id), batch_id))
