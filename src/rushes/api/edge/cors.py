"""Which web pages of other origins may ask this service from a browser (CORS)."""

import re
from collections.abc import Collection, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANY: Final = "*"
PREFLIGHT_SECONDS: Final = 600
"""How long a browser may remember what it was answered."""

_ASKED: Final = "authorization, content-type, idempotency-key, if-none-match, last-event-id, range, x-api-key"
_READ: Final = (
    "accept-ranges, content-disposition, content-length, content-range, etag, location, openai-poll-after-ms,"
    " ratelimit, ratelimit-policy, retry-after, x-request-id"
)
_FOR_TENANTS: Final = re.compile(r"/(?:v1|api/v1|openai/v1|api/video|api/enterprise)/")
_LINKS: Final = "/files/"


class Cors:
    """ASGI middleware. `origins` are those of the operator; links to files are for everyone who has them."""

    def __init__(self, app: ASGIApp, *, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _own_headers(scope) if scope["type"] == "http" else {}
        allowed = self._allowed(scope["path"], headers["origin"]) if "origin" in headers else None
        if allowed is None:
            await self._app(scope, receive, send)
            return
        answered = [(b"access-control-allow-origin", allowed.encode())]
        if allowed != ANY:
            answered.append((b"vary", b"Origin"))
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            answered += [
                (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
                (b"access-control-allow-headers", _ASKED.encode()),
                (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
            ]
            await send({"type": "http.response.start", "status": 204, "headers": answered})
            await send({"type": "http.response.body", "body": b""})
            return
        answered.append((b"access-control-expose-headers", _READ.encode()))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *answered]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _allowed(self, path: str, origin: str) -> str | None:
        """What the answer says of this origin; None for nothing, and then the browser refuses it."""
        if path.startswith(_LINKS):
            return ANY
        if _FOR_TENANTS.match(path) is None:
            return None
        if ANY in self._origins:
            return ANY
        return origin if origin.lower() in self._origins else None


def _own_headers(scope: Scope) -> Mapping[str, str]:
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in (b"origin", b"access-control-request-method")
    }
