"""OpenAI's files: those of requests that are uploaded, and those of results that a batch has at its end."""

import asyncio
import secrets
import zlib
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response, StreamingResponse

from rushes.api.auth import Caller
from rushes.api.edge.answering import json_answer
from rushes.api.edge.bodies import BATCH_BODY_BYTES_MAX, media_type_of, read_body, unsupported_media_type
from rushes.api.media.forms import read_form
from rushes.api.parts import ApiParts, Parts
from rushes.api.shapes import openai_models
from rushes.api.shapes.documents import OPENAI, answers
from rushes.domain.catalogue.options import quoted
from rushes.domain.errors import InputError, NotFound
from rushes.read.compatible import file_batches
from rushes.read.scope import Scope
from rushes.store.inputs import request_files
from rushes.store.keys import KeyOwner

PAGE_MAX: Final = 10_000
FIELDS_MAX: Final = 10
FIELD_BYTES_MAX: Final = 1024
NAME_CHARACTERS_MAX: Final = 128
KEPT_SECONDS: Final = 30 * 86_400
"""How long a file is kept that says nothing of it, and how long at most."""

KEPT_SECONDS_MIN: Final = 3600

_FORM_FIELDS: Final = frozenset({"purpose", "expires_after[anchor]", "expires_after[seconds]"})
_JSON_LINES: Final = "application/jsonl"

_CONTENT: Final = {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in ("application/octet-stream", _JSON_LINES)  # generators of clients know the first
}

router = APIRouter(prefix="/files", tags=[OPENAI])

FileId = Annotated[
    str, Path(description="A file's id.", examples=["file-5f1c0a9d3e7b24680f13579a"], max_length=128)
]
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["purpose", "file"],
                    "properties": {
                        "purpose": {"type": "string", "enum": ["batch"], "description": "What it is for."},
                        "file": {"type": "string", "format": "binary", "description": "JSON Lines."},
                        "expires_after[anchor]": {
                            "type": "string",
                            "enum": ["created_at"],
                            "description": "From when.",
                        },
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": KEPT_SECONDS_MIN,
                            "maximum": KEPT_SECONDS,
                            "description": "How long it is kept.",
                        },
                    },
                }
            }
        },
    }
}


@router.post(
    "",
    response_model=openai_models.File,
    summary="Upload a file of requests",
    responses=answers(400, 408, 413, 415, 422),
    openapi_extra=_BODY,
)
async def create_request_file(request: Request, caller: Caller, parts: Parts) -> Response:
    """A file for a batch (`purpose=batch`), kept for 30 days or as long as `expires_after` says."""
    file_name, data, kept_seconds = await _upload(request)
    now_ms, public_id = parts.now_ms(), f"file-{secrets.token_hex(12)}"
    compressed = await asyncio.to_thread(zlib.compress, data, 6)
    await parts.database.transact(
        request_files.add,
        caller.account_id,
        public_id=public_id,
        file_name=file_name,
        size_bytes=len(data),
        compressed=compressed,
        expires_at_ms=now_ms + kept_seconds * 1000,
        now_ms=now_ms,
    )
    facts = await parts.database.read(request_files.facts_of, caller.account_id, public_id, now_ms=now_ms)
    return json_answer(_view(facts))


async def _upload(request: Request) -> tuple[str, bytes, int]:
    """The file's name, its bytes, and for how many seconds it is kept."""
    if media_type_of(request) != "multipart/form-data":
        raise unsupported_media_type("multipart/form-data")
    raw = await read_body(request, bytes_max=BATCH_BODY_BYTES_MAX)

    async with read_form(request, raw, fields_max=FIELDS_MAX, field_bytes_max=FIELD_BYTES_MAX) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InputError("missing: send the file itself", field="file")
        kept_seconds = _kept_seconds(form)
        data = await file.read()
    if not data:
        raise InputError("has no bytes", field="file")
    name = (file.filename or "requests.jsonl")[:NAME_CHARACTERS_MAX]
    return (name if name.isprintable() else "requests.jsonl"), data, kept_seconds


def _kept_seconds(form: FormData) -> int:
    for name in form:
        if name != "file" and name not in _FORM_FIELDS:
            raise InputError(
                f"unknown field {quoted(name)}", field=name[:100] if name.isprintable() else None
            )
    if form.get("purpose") != "batch":
        raise InputError(f"must be batch, not {quoted(form.get('purpose'))}", field="purpose")
    text = form.get("expires_after[seconds]")
    if text is None:
        return KEPT_SECONDS
    if form.get("expires_after[anchor]", "created_at") != "created_at":
        raise InputError("must be created_at", field="expires_after.anchor")
    is_number = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 9
    seconds = int(str(text)) if is_number else 0
    if not KEPT_SECONDS_MIN <= seconds <= KEPT_SECONDS:
        raise InputError(f"must be {KEPT_SECONDS_MIN} to {KEPT_SECONDS}", field="expires_after.seconds")
    return seconds


@router.get("", response_model=openai_models.FileList, summary="List files", responses=answers(404, 422))
async def list_request_files(
    caller: Caller,
    parts: Parts,
    purpose: Annotated[Literal["batch"] | None, Query(description="Only those of requests: all.")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    order: Annotated[Literal["asc", "desc"], Query()] = "desc",
    after: Annotated[str | None, Query(description="The last id of the page before.")] = None,
) -> Response:
    """Files that were uploaded, newest first; a batch names those of its results."""
    rows, has_more = await parts.database.read(
        request_files.page,
        caller.account_id,
        limit=limit,
        after=after,
        ascending=order == "asc",
        now_ms=parts.now_ms(),
    )
    return json_answer(openai_page([_view(row) for row in rows], has_more))


def openai_page(data: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    """A page of a list in OpenAI's shape."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more}


@router.get(
    "/{file_id}", response_model=openai_models.File, summary="Get a file", responses=answers(404, 422)
)
async def get_request_file(file_id: FileId, caller: Caller, parts: Parts) -> Response:
    """Its name, size and end, without its content."""
    place = file_batches.place_of(file_id)
    if place is None:
        facts = await parts.database.read(
            request_files.facts_of, caller.account_id, file_id, now_ms=parts.now_ms()
        )
        return json_answer(_view(facts))
    batch_id, kind = place
    size = 0
    async for chunk in _result_chunks(parts, caller, batch_id, kind):
        size += len(chunk)
    batch = await parts.database.read(file_batches.find, Scope(caller.account_id), batch_id)
    return json_answer(
        {
            "id": file_id,
            "object": "file",
            "bytes": size,
            "created_at": batch["completed_at"] or batch["cancelled_at"],
            "expires_at": None,
            "filename": f"{batch_id}_{kind}.jsonl",
            "purpose": "batch_output",
            "status": "processed",
        }
    )


@router.get(
    "/{file_id}/content",
    response_class=Response,
    summary="Download a file",
    responses=answers(
        404,
        422,
        ok={200: {"description": "JSON Lines.", "content": _CONTENT}},
    ),
)
async def download_request_file(file_id: FileId, caller: Caller, parts: Parts) -> Response:
    """What was uploaded as it came; of a batch's results, a line for each request."""
    place = file_batches.place_of(file_id)
    if place is None:
        _, data = await parts.database.read(
            request_files.content_of, caller.account_id, file_id, now_ms=parts.now_ms()
        )
        return Response(data, media_type=_JSON_LINES)
    chunks = _result_chunks(parts, caller, *place)
    first = await anext(chunks)  # so that what is not there is refused

    async def all_chunks() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return StreamingResponse(all_chunks(), media_type=_JSON_LINES)


@router.delete(
    "/{file_id}",
    response_model=openai_models.DeletedFile,
    summary="Delete a file",
    responses=answers(404, 422),
)
async def delete_request_file(file_id: FileId, caller: Caller, parts: Parts) -> Response:
    """One that was uploaded; batches that were made from it go on. Results stay with their batch."""
    if file_batches.place_of(file_id) is not None:
        raise NotFound("a file of results cannot be deleted: delete the videos")
    await parts.database.transact(request_files.remove, caller.account_id, file_id)
    return json_answer({"id": file_id, "object": "file", "deleted": True})


async def _result_chunks(parts: ApiParts, caller: KeyOwner, batch_id: str, kind: str) -> AsyncIterator[bytes]:
    next_index: int | None = 0
    while next_index is not None:
        lines, next_index = await parts.database.read(
            file_batches.lines_of, Scope(caller.account_id), batch_id, kind, from_index=next_index
        )
        yield b"".join(lines)


def _view(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": facts["public_id"],
        "object": "file",
        "bytes": facts["bytes"],
        "created_at": facts["created_at_ms"] // 1000,
        "expires_at": facts["expires_at_ms"] // 1000,
        "filename": facts["file_name"],
        "purpose": "batch",
        "status": "processed",
    }
