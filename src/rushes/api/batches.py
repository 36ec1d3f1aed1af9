"""Batches and quotes."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from rushes.api import models
from rushes.api.answering import ok_answer
from rushes.api.auth import Caller
from rushes.api.batch_bodies import (
    BATCH_FIELDS,
    QUOTE_FIELDS,
    BatchBody,
    NewBatch,
    read_batch_body,
    read_label,
)
from rushes.api.bodies import BATCH_BODY_BYTES_MAX, read_body, require_json
from rushes.api.documents import BATCHES, answers, json_body
from rushes.api.files import links_for
from rushes.api.ids import BatchId, item_index_of, public_id
from rushes.api.parts import ApiParts, Parts
from rushes.domain.errors import InputError
from rushes.domain.prompts import TaskDraft
from rushes.engine import accept, pass_rates, quotes, tenant, tries
from rushes.engine.accept import BatchRequest
from rushes.engine.views import EXPORT_FIELDS
from rushes.store.keys import KeyOwner

PAGE_MAX: Final = 100
ITEMS_PAGE_MAX: Final = 1000
OFFSET_MAX: Final = 1_000_000
SHORT_BODY_BYTES: Final = 32 * 1024
"""Bodies up to this are read on the event loop: a hop to a thread would take longer."""

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
IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="The same as `request_id` in the body."),
]


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
    openapi_extra=json_body(models.NewBatch, _BATCH_EXAMPLE),
)
async def create_batch(
    request: Request, caller: Caller, parts: Parts, idempotency_key: IdempotencyKey = None
) -> Response:
    """Reserves the credits of all items and accepts them, or writes nothing.

    With a `request_id` (or `Idempotency-Key`) a repeat answers 200 with the same batch and
    `idempotent_replay`; the same id with another body is refused.
    """
    body = await _read(request, parts, BATCH_FIELDS)
    request_id, new = request_id_of_batch(body.request_id, idempotency_key), body.new
    if isinstance(new, NewBatch) and new.webhook_url is not None and parts.webhook_secret_of is None:
        new = InputError(
            "webhooks are off here: the operator has set no RUSHES_WEBHOOK_SECRET", field="webhook_url"
        )
    if isinstance(new, InputError):
        return ok_answer(await replay_of(caller, parts, new, request_id, body.drafts, *body.facts))
    new_id = parts.new_batch_id()
    wanted = BatchRequest(
        account_id=caller.account_id,
        request_scope=scope_of(caller),
        request_id=request_id or new_id,
        request_hash=accept.request_hash(body.drafts, *body.facts),
        tasks=accept.priced_tasks(new.drafts),
        webhook_url=new.webhook_url,
    )
    accepted = await parts.database.transact(
        tenant.create_batch,
        wanted,
        public_id=new_id,
        retry_policy=new.retry_policy,
        now_ms=parts.now_ms(),
    )
    if accepted["idempotent_replay"]:
        return ok_answer(accepted)
    parts.on_accepted()
    return ok_answer(accepted, status=201)


async def _read(request: Request, parts: ApiParts, fields: frozenset[str]) -> BatchBody:
    """The body; long ones are checked on a thread, a few at a time."""
    require_json(request)
    raw = await read_body(request, bytes_max=BATCH_BODY_BYTES_MAX)
    arguments = {
        "now_ms": parts.now_ms(),
        "allow_private_urls": parts.files.allow_private,
        "fields": fields,
    }
    if len(raw) <= SHORT_BODY_BYTES:
        return read_batch_body(raw, parts.catalogue, **arguments)  # type: ignore[arg-type]
    async with parts.long_bodies:
        return await asyncio.to_thread(read_batch_body, raw, parts.catalogue, **arguments)  # type: ignore[arg-type]


async def replay_of(
    caller: KeyOwner,
    parts: ApiParts,
    refused: InputError,
    request_id: str | None,
    drafts: Sequence[TaskDraft],
    *facts: object,
) -> dict[str, Any]:
    """The batch that this request made when it was not `refused` yet; else raises that."""
    found = await parts.database.read(
        tenant.find_replay, scope_of(caller), request_id, drafts, *facts, now_ms=parts.now_ms()
    )
    if found is None:
        raise refused
    return found


def scope_of(caller: KeyOwner) -> str:
    """Where request ids are unique: idempotency is per API key."""
    return f"key:{caller.key_id}"


def request_id_of_batch(in_body: str | None, in_header: str | None) -> str | None:
    """The request's id, from the body or the header; both must agree. Raises `InputError`."""
    if in_header is None or in_header == "":
        return in_body
    try:
        text = in_header.encode("latin-1").decode()  # the server reads all headers as Latin-1
    except UnicodeDecodeError:
        raise InputError("must be UTF-8", field="Idempotency-Key") from None
    checked = read_label({"Idempotency-Key": text}, "Idempotency-Key")
    if in_body is not None and in_body != checked:
        raise InputError("the Idempotency-Key header says another id", field="request_id")
    return checked


@router.post(
    "/quotes",
    response_model=models.QuoteAnswer,
    summary="Price a batch",
    responses=answers(400, 408, 413, 415, 422),
    openapi_extra=json_body(models.Quote, _QUOTE_EXAMPLE),
)
async def make_quote(request: Request, caller: Caller, parts: Parts) -> Response:
    """What the same body would cost as a batch, and when it would be done. Writes nothing."""
    new = (await _read(request, parts, QUOTE_FIELDS)).new
    if isinstance(new, InputError):
        raise new
    found = await parts.database.read(
        quotes.quote, new.drafts, account=caller.account, pace_of=parts.pace_of, now_ms=parts.now_ms()
    )
    return ok_answer(found)


@router.get(
    "/batches",
    response_model=models.BatchPage,
    summary="List batches",
    responses=answers(404, 422),
)
async def list_batches(
    caller: Caller,
    parts: Parts,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    after: Annotated[str | None, Query(description="The last id of the page before.")] = None,
) -> Response:
    """Newest first."""
    data, has_more = await parts.database.read(
        tenant.batch_page,
        caller.account_id,
        limit=limit,
        after=None if after is None else public_id(after),
        now_ms=parts.now_ms(),
    )
    return ok_answer({"data": data, "has_more": has_more})


@router.get("/batches/{batch_id}", response_model=models.Batch, summary="Get a batch", responses=answers(404))
async def get_batch(batch_id: BatchId, caller: Caller, parts: Parts) -> Response:
    """Counts, credits and the expected end."""
    found = await parts.database.read(tenant.batch, caller.account_id, batch_id, now_ms=parts.now_ms())
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
    status: Annotated[models.Status | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=ITEMS_PAGE_MAX)] = 100,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> Response:
    """In their order; of an item that was tried again, the newest try.

    Once a video is stored, its `video_url` and `thumbnail_url` are links of this service that need no key and
    live for one to two hours. A video that could not be kept has none; `archive` says why.
    """
    items, total = await parts.database.read(
        tenant.item_page,
        caller.account_id,
        batch_id,
        status=status,
        limit=limit,
        offset=offset,
        catalogue=parts.catalogue,
        links=links_for(request, parts),
        now_ms=parts.now_ms(),
    )
    return ok_answer({"items": items, "total": total, "limit": limit, "offset": offset})


@router.post(
    "/batches/{batch_id}/cancel",
    response_model=models.CancelledBatch,
    summary="Cancel a batch",
    responses=answers(400, 404),
)
async def cancel_batch(batch_id: BatchId, caller: Caller, parts: Parts) -> Response:
    """Pending items fail `CANCELLED` and are refunded; items at a provider run on to their verdict."""
    refunded = await parts.database.transact(
        tenant.cancel, caller.account_id, batch_id, now_ms=parts.now_ms()
    )
    return ok_answer({"batch_id": batch_id, "status": "cancelled", "credits_refunded": refunded})


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
    """A failed item becomes a new attempt with a new reservation; the batch opens again."""
    index = item_index_of(item, batch_id=batch_id)
    retried = await parts.database.transact(
        tenant.retry, caller.account_id, batch_id, index, now_ms=parts.now_ms()
    )
    parts.on_accepted()
    return ok_answer(retried)


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
        batch_id,
        item_index_of(item, batch_id=batch_id),
        account_id=caller.account_id,
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
    return ok_answer(await parts.database.read(tries.batch_rerolls, batch_id, account_id=caller.account_id))


@router.get(
    "/models/stats",
    response_model=models.PassRates,
    summary="Get pass rates",
    responses=answers(422),
)
async def get_pass_rates(
    caller: Caller,
    parts: Parts,
    days: Annotated[int, Query(ge=1, le=pass_rates.DAYS_MAX)] = 7,
    prompts: Annotated[int, Query(ge=0, le=pass_rates.PROMPTS_MAX, description="How many.")] = 20,
) -> Response:
    """How often your tries pass, by model and by prompt."""
    found = await parts.database.read(
        pass_rates.pass_rates,
        days=days,
        prompts_max=prompts,
        account_id=caller.account_id,
        now_ms=parts.now_ms(),
    )
    return ok_answer(found)


# --- export ---------------------------------------------------------------------------------------------


@router.get(
    "/batches/{batch_id}/export",
    response_class=StreamingResponse,
    summary="Export a batch",
    responses=answers(
        404,
        422,
        ok={
            200: {
                "description": "Every item, a row each.",
                "content": {
                    "text/csv": {"schema": {"type": "string"}},
                    "application/x-ndjson": {"schema": {"type": "string"}},
                },
            }
        },
    ),
)
async def export_batch(
    batch_id: BatchId,
    caller: Caller,
    parts: Parts,
    format: Annotated[Literal["csv", "jsonl"], Query()] = "jsonl",
) -> Response:
    """The columns of `rushes batch export`. Values are exact: open CSV in a spreadsheet as text."""
    first = await parts.database.read(tenant.export_page, caller.account_id, batch_id, from_index=0)
    encode = _csv_rows if format == "csv" else _jsonl_rows

    async def rows() -> AsyncIterator[bytes]:
        page = first
        if format == "csv":
            yield _csv_rows([dict(zip(EXPORT_FIELDS, EXPORT_FIELDS, strict=True))])
        while page:
            yield encode(page)
            page = await parts.database.read(
                tenant.export_page, caller.account_id, batch_id, from_index=page[-1]["index"] + 1
            )

    return StreamingResponse(
        rows(),
        media_type="text/csv" if format == "csv" else "application/x-ndjson",
        headers={"content-disposition": f'attachment; filename="{batch_id}.{format}"'},
    )


def _jsonl_rows(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _csv_rows(rows: Sequence[Mapping[str, Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(row.values() for row in rows)
    return buffer.getvalue().encode()
