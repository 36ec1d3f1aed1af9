"""Uploads: pictures, videos and sounds of an account that are to go into its videos."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from rushes.api.auth import Caller
from rushes.api.edge.answering import ok_answer
from rushes.api.edge.bodies import media_type_of, stream_body
from rushes.api.edge.problems import Refusal
from rushes.api.media.forms import read_form
from rushes.api.parts import ApiParts, Parts
from rushes.api.shapes.documents import UPLOADS, answers
from rushes.api.shapes.results import Upload as UploadAnswer
from rushes.domain.errors import ArchiveUnavailable, InputError
from rushes.domain.input.uploads import Upload
from rushes.files.uploads import CheckedFile, check_file, upload_view

FORM_BYTES: Final = 64 * 1024
"""What a form may have around its file."""

FORM_FIELDS_MAX: Final = 10
FILE_FIELD: Final = "file"

router = APIRouter(prefix="/uploads", tags=[UPLOADS])

_BINARY: Final = {"type": "string", "format": "binary", "description": "A picture, video or sound."}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {"type": "object", "required": [FILE_FIELD], "properties": {FILE_FIELD: _BINARY}},
                "example": {FILE_FIELD: "(the bytes of frame.png)"},
            },
        },
    }
}


@router.post(
    "",
    status_code=201,
    response_model=UploadAnswer,
    summary="Upload a file",
    responses=answers(400, 408, 413, 422),
    openapi_extra=_BODY,
)
async def create_upload(request: Request, caller: Caller, parts: Parts) -> Response:
    """Keeps a picture, video or sound for the account, as a form's `file` or as the body itself.

    What it is, its bytes say: PNG, JPEG, WebP, GIF; MP4, MOV, WebM; MP3, WAV, FLAC, Ogg. It is kept as it
    is. Any media input of an item takes the `upload_id`. The same bytes again are the same upload, and make
    it expire later.
    """
    with tempfile.NamedTemporaryFile(prefix="rushes-upload-") as scratch:
        if media_type_of(request) == "multipart/form-data":
            await _read_form(request, FilePath(scratch.name), parts)
        else:
            await _write(FilePath(scratch.name), stream_body(request, bytes_max=parts.uploads.bytes_max))
        async with parts.long_bodies:
            file = await _checked(FilePath(scratch.name), parts)
            upload = await _kept(caller.account_id, caller.account, file, parts)
    return ok_answer(upload_view(upload), status=201)


@router.get("/{upload_id}", response_model=UploadAnswer, summary="Get an upload", responses=answers(404))
async def get_upload(
    upload_id: Annotated[str, Path(examples=["upl_5f1c0a9d3e7b24680f13579a5f1c0a9d"])],
    caller: Caller,
    parts: Parts,
) -> Response:
    """What it is, and until when it is kept."""
    return ok_answer(upload_view(await parts.uploads.find(caller.account_id, upload_id[:100])))


async def _read_form(request: Request, path: FilePath, parts: ApiParts) -> None:
    """Write the form's file to this path."""
    body = stream_body(request, bytes_max=parts.uploads.bytes_max + FORM_BYTES)
    async with read_form(request, body, fields_max=FORM_FIELDS_MAX) as form:
        file = form.get(FILE_FIELD)
        if not isinstance(file, UploadFile):
            raise InputError("missing: the form has no file of that name", field=FILE_FIELD)

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await file.read(1024 * 1024):
                yield chunk

        await _write(path, chunks())


async def _write(path: FilePath, chunks: AsyncIterator[bytes]) -> None:
    with path.open("wb") as sink:
        async for chunk in chunks:
            sink.write(chunk)


async def _checked(path: FilePath, parts: ApiParts) -> CheckedFile:
    try:
        return await asyncio.to_thread(check_file, path, bytes_max=parts.uploads.bytes_max)
    except ValueError as refused:
        raise InputError(str(refused), field=FILE_FIELD) from None


async def _kept(account_id: int, account: str, file: CheckedFile, parts: ApiParts) -> Upload:
    try:
        return await parts.uploads.keep(account_id, account, file)
    except ArchiveUnavailable as error:
        raise Refusal(503, "ARCHIVE_UNAVAILABLE", error.message, headers={"retry-after": "5"}) from error
