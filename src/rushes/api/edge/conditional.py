"""ETags of JSON answers: who has what would be sent is answered 304, without it (RFC 9110)."""

import hashlib
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TAG_BYTES: Final = 16
_KEPT_AT_304: Final = frozenset({b"cache-control", b"vary", b"access-control-allow-origin"})


class Conditional:
    """ASGI middleware. Only whole JSON answers of GET that are 200 and have no ETag get one, a weak one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def send_with_tag(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_json(message):
                held = message
                return
            start, held = held, None
            if start is None:
                await send(message)
                return
            if message["type"] == "http.response.body" and not message.get("more_body"):
                tag = _tag_of(message["body"])
                if _has(scope["headers"], tag):
                    start["status"] = 304
                    start["headers"] = [pair for pair in start["headers"] if pair[0] in _KEPT_AT_304]
                    message = {"type": "http.response.body", "body": b""}
                start["headers"] = [*start["headers"], (b"etag", tag)]
            await send(start)
            await send(message)

        await self._app(scope, receive, send_with_tag)


def _is_json(start: Message) -> bool:
    headers = dict(start.get("headers", ()))
    is_json: bool = headers.get(b"content-type", b"").startswith(b"application/json")
    return start["status"] == 200 and is_json and b"etag" not in headers


def _tag_of(body: bytes) -> bytes:
    return b'W/"%s"' % hashlib.blake2b(body, digest_size=_TAG_BYTES).hexdigest().encode()


def _has(headers: Iterable[tuple[bytes, bytes]], tag: bytes) -> bool:
    """Whether `If-None-Match` names the tag; weakly compared, as it says."""
    given = [value for name, value in headers if name == b"if-none-match"]
    tags = {each.strip().removeprefix(b"W/") for value in given for each in value.split(b",")}
    return b"*" in tags or tag.removeprefix(b"W/") in tags
