"""Forms (`multipart/form-data`), read in one place: bounded, and closed again."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from fastapi import Request
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from rushes.api.edge.problems import Refusal

FIELD_BYTES_MAX: Final = 1024 * 1024
"""Of a field that is no file, unless the route says otherwise."""


@contextlib.asynccontextmanager
async def read_form(
    request: Request,
    body: AsyncIterator[bytes] | bytes,
    *,
    fields_max: int,
    field_bytes_max: int = FIELD_BYTES_MAX,
) -> AsyncIterator[FormData]:
    """The form in this body, with one file at most; what it holds is gone after the `with`.

    Raises `Refusal` (400) for what is no form.
    """
    parser = MultiPartParser(
        request.headers,
        _with_end(_once(body) if isinstance(body, bytes) else body),  # type: ignore[arg-type]
        max_files=1,
        max_fields=fields_max,
        max_part_size=field_bytes_max,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        message = error.message if isinstance(error, MultiPartException) else "not a multipart form"
        raise Refusal(400, "INVALID_FORM", message[:300]) from None
    try:
        yield form
    finally:
        await form.close()


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _with_end(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in body:
        yield chunk
    yield b""
