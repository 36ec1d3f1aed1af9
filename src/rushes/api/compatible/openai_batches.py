"""OpenAI's Batch API: another front door to the same batches, from a file of requests to its results."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from rushes.api.accepting import (
    IdempotencyKey,
    accept_and_answer,
    keep_files,
    known_uploads,
    replay_of,
    request_id_of_batch,
    scope_of,
)
from rushes.api.auth import Caller
from rushes.api.compatible.openai_files import openai_page
from rushes.api.compatible.request_files import ENDPOINT, priced_requests, read_requests, window_seconds
from rushes.api.edge.answering import json_answer
from rushes.api.edge.bodies import read_object
from rushes.api.edge.ids import BatchId, public_id
from rushes.api.edge.problems import unknown_field
from rushes.api.parts import Parts
from rushes.api.shapes import openai_models, requests
from rushes.api.shapes.documents import OPENAI, answers, json_body
from rushes.domain.catalogue.options import NOWHERE, quoted
from rushes.domain.errors import InputError
from rushes.domain.input.prompts import check_metadata
from rushes.money import accept, acts
from rushes.money.accept import BatchRequest
from rushes.read.compatible import file_batches
from rushes.read.scope import Scope
from rushes.store import batches
from rushes.store.inputs import request_files

PAGE_MAX: Final = 100
FIELDS: Final = frozenset(
    {"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"}
)

router = APIRouter(prefix="/batches", tags=[OPENAI])

_EXAMPLE: Final = {
    "input_file_id": "file-5f1c0a9d3e7b24680f13579a",
    "endpoint": ENDPOINT,
    "completion_window": "24h",
}


@router.post(
    "",
    response_model=openai_models.FileBatch,
    summary="Create a batch from a file",
    responses=answers(400, 402, 404, 408, 413, 415, 422),
    openapi_extra=json_body(requests.NewFileBatch, _EXAMPLE),
)
async def create_file_batch(
    request: Request, caller: Caller, parts: Parts, idempotency_key: IdempotencyKey = None
) -> Response:
    """Reserves the credits of all requests, or writes nothing and names the line at fault.

    What is not at a provider when `completion_window` ends is cancelled and refunded.
    """
    document = await read_object(request)
    file_id, seconds, metadata = _fields(document)
    request_id, now_ms = request_id_of_batch(None, idempotency_key), parts.now_ms()
    file_name, data = await parts.database.read(
        request_files.content_of, caller.account_id, file_id, now_ms=now_ms
    )
    async with parts.long_bodies:
        found = await asyncio.to_thread(
            read_requests,
            data,
            file_name,
            parts.catalogue,
            now_ms,
            account=caller.account,
            upload_bytes_max=parts.uploads.bytes_max,
        )
        known = await known_uploads(caller, parts, found.given)
        priced = await asyncio.to_thread(priced_requests, found, parts.catalogue, known, now_ms)
    facts = ("file", file_id, document["completion_window"], metadata)
    if isinstance(priced, InputError):
        accepted = await replay_of(caller, parts, priced, request_id, found.written, *facts)
        return await _batch(parts, caller.account_id, accepted["batch_id"])
    new_id = parts.new_batch_id()
    wanted = BatchRequest(
        account_id=caller.account_id,
        request_scope=scope_of(caller),
        request_id=request_id or new_id,
        request_hash=accept.request_hash(found.written, *facts),
        tasks=accept.priced_tasks(priced),
        uploads_kept_ms=parts.uploads.keep_ms,
        metadata=metadata,
        deadline_at_ms=now_ms + seconds * 1000,
    )
    assert not isinstance(found.given, InputError), "it would have been refused"
    await keep_files(caller, parts, found.given, wanted)
    accepted = await parts.database.transact(
        _accept,
        wanted,
        new_id,
        input_file_id=file_id,
        completion_window=document["completion_window"],
        now_ms=now_ms,
    )
    if not accepted["idempotent_replay"]:
        parts.on_accepted()
    return await _batch(parts, caller.account_id, accepted["batch_id"])


def _accept(
    connection: Connection,
    wanted: BatchRequest,
    new_id: str,
    *,
    input_file_id: str,
    completion_window: str,
    now_ms: int,
) -> dict[str, Any]:
    accepted = accept_and_answer(connection, wanted, public_id=new_id, now_ms=now_ms)
    if not accepted["idempotent_replay"]:
        request_files.note_batch(
            connection,
            batches.batch_row_id(connection, new_id),
            input_file_id=input_file_id,
            completion_window=completion_window,
        )
    return accepted


def _fields(document: Any) -> tuple[str, int, Any]:
    """The file's id, the seconds of the window, and the metadata. Raises `InputError`."""
    for name in document:
        if name not in FIELDS:
            raise unknown_field(name, FIELDS)
    file_id, metadata = document.get("input_file_id"), document.get("metadata")
    if not isinstance(file_id, str):
        raise InputError("must be the id of a file that was uploaded", field="input_file_id")
    if document.get("endpoint") != ENDPOINT:
        raise InputError(f"must be {ENDPOINT}, not {quoted(document.get('endpoint'))}", field="endpoint")
    if metadata is not None:
        check_metadata(metadata, NOWHERE)
    return file_id, window_seconds(document.get("completion_window")), metadata


async def _batch(parts: Parts, account_id: int, batch_id: str) -> Response:
    return json_answer(await parts.database.read(file_batches.find, Scope(account_id), batch_id))


@router.get(
    "",
    response_model=openai_models.FileBatchList,
    summary="List batches that were made from files",
    responses=answers(404, 422),
)
async def list_file_batches(
    caller: Caller,
    parts: Parts,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    after: Annotated[str | None, Query(description="The last id of the page before.")] = None,
) -> Response:
    """Newest first; all batches are under `/v1/batches`."""
    data, has_more = await parts.database.read(
        file_batches.page,
        Scope(caller.account_id),
        limit=limit,
        after=None if after is None else public_id(after),
    )
    return json_answer(openai_page(data, has_more))


@router.get(
    "/{batch_id}",
    response_model=openai_models.FileBatch,
    summary="Get a batch that was made from a file",
    responses=answers(404),
)
async def get_file_batch(batch_id: BatchId, caller: Caller, parts: Parts) -> Response:
    """Its counts, and at its end the files of its results."""
    return await _batch(parts, caller.account_id, batch_id)


@router.post(
    "/{batch_id}/cancel",
    response_model=openai_models.FileBatch,
    summary="Cancel a batch that was made from a file",
    responses=answers(400, 404),
)
async def cancel_file_batch(batch_id: BatchId, caller: Caller, parts: Parts) -> Response:
    """What is at no provider yet is refunded; the rest runs on to its verdict (`cancelling`)."""
    await parts.database.read(file_batches.find, Scope(caller.account_id), batch_id)
    await parts.database.transact(acts.cancel, batch_id, account_id=caller.account_id, now_ms=parts.now_ms())
    return await _batch(parts, caller.account_id, batch_id)
