"""Reading request bodies: bounded in size, time and depth, strict about what they are."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from rushes.api.edge.problems import Refusal
from rushes.api.edge.protocol import BODY_SECONDS_MAX
from rushes.domain.errors import InputError
from rushes.domain.input.strict_json import parse_json

SMALL_BODY_BYTES_MAX: Final = 256 * 1024
BATCH_BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""10,000 items with long prompts fit; a prompt of 4,000 characters, all escaped, takes 48,000 bytes."""

UPLOAD_BODY_BYTES_MAX: Final = 16 * 1024 * 1024
DEPTH_MAX: Final = 32
"""Levels of lists and objects in a body."""

_JSON_TYPES: Final = ("application/json", "application/problem+json")


def media_type_of(request: Request) -> str:
    """The request's content type without its parameters, in lower case; empty when it has none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, *, bytes_max: int) -> bytes:
    """The whole body. Refuses one that is too large (413) or comes too slowly (408)."""
    body = bytearray()
    async for chunk in stream_body(request, bytes_max=bytes_max):
        body += chunk
    return bytes(body)


async def stream_body(request: Request, *, bytes_max: int) -> AsyncIterator[bytes]:
    """The body as it comes, refused as `read_body` refuses it."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdecimal() and (len(declared) > 15 or int(declared) > bytes_max):
        raise _too_large(bytes_max)
    count, ends_at = 0, asyncio.get_running_loop().time() + BODY_SECONDS_MAX
    chunks = aiter(request.stream())
    try:
        while True:
            async with asyncio.timeout_at(ends_at):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            count += len(chunk)
            if count > bytes_max:
                raise _too_large(bytes_max)
            yield chunk
    except TimeoutError:
        raise Refusal(
            408,
            "BODY_TOO_SLOW",
            f"the body did not come within {BODY_SECONDS_MAX:.0f} seconds",
            headers={"connection": "close"},
        ) from None
    except ClientDisconnect:
        raise Refusal(400, "BODY_INCOMPLETE", "the body broke off") from None


def _too_large(bytes_max: int) -> Refusal:
    # what is left of the body is not read, so the connection cannot be used again
    return Refusal(
        413,
        "BODY_TOO_LARGE",
        f"the body has more than {bytes_max} bytes",
        headers={"connection": "close"},
        bytes_max=bytes_max,
    )


def require_json(request: Request) -> None:
    """Refuse (415) what does not say that it is JSON, and what is compressed."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "send the body as it is, without Content-Encoding")
    kind = media_type_of(request)
    if kind not in _JSON_TYPES and not (kind.startswith("application/") and kind.endswith("+json")):
        raise unsupported_media_type("application/json")


def unsupported_media_type(expected: str) -> Refusal:
    """415, saying what would be taken."""
    return Refusal(
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        f"send {expected}, with that Content-Type",
        headers={"accept": expected},
    )


async def read_object(request: Request, *, bytes_max: int = SMALL_BODY_BYTES_MAX) -> Mapping[str, Any]:
    """The body as a JSON object. Refuses what is no JSON (400), and any other value (422)."""
    require_json(request)
    return object_of(await read_body(request, bytes_max=bytes_max))


def object_of(body: bytes) -> Mapping[str, Any]:
    """The JSON object in these bytes; see `read_object`."""
    try:
        value = parse_json(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Refusal(400, "INVALID_JSON", "the body is not UTF-8") from None
    except ValueError as error:
        raise Refusal(400, "INVALID_JSON", str(error)[:300]) from None
    if not isinstance(value, dict):
        raise InputError("the body must be a JSON object")
    return value


def check_depth(value: object, *, field: str) -> None:
    """Refuse lists and objects nested deeper than `DEPTH_MAX`; without recursion of its own."""
    level: list[object] = [value]
    for _ in range(DEPTH_MAX):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise InputError(f"nested more than {DEPTH_MAX} levels deep", field=field)
