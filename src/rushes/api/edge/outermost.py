"""The outermost layer: request ids, HEAD, headers of every answer, a line for debugging, no naked crash."""

import asyncio
import re
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rushes import telemetry
from rushes.api.edge.problems import problem_response

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}")
"""A client's own request id that is taken over; any other is replaced."""

KEY_REFUSED: Final = "the key is wrong or was revoked"

ONCE: Final = frozenset(
    {
        *(b"x-api-key", b"authorization", b"idempotency-key", b"x-request-id", b"x-worker-secret"),
        *(b"content-type", b"last-event-id", b"range", b"host"),
    }
)
"""Headers that say one thing: with two values a proxy and this service might each go by another one."""

_COMMON_HEADERS: Final = ((b"x-content-type-options", b"nosniff"),)

log = telemetry.logger()


class _HeadIsAnswered(Exception):
    """Leaves the app: what follows would be the body."""


class Edge:
    """ASGI middleware around the whole app.

    `new_request_id()` makes ids; `on_request(method, route, status, seconds)` hears of every answer, with
    the route's template and not its path: paths may hold tokens.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        new_request_id: Callable[[], str],
        on_request: Callable[[str, str, int, float], None],
    ) -> None:
        self._app = app
        self._new_request_id = new_request_id
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        if is_head:  # the answer of GET without its body; the server's own scope keeps its method
            scope = {**scope, "method": "GET"}
        request_id = _given_request_id(scope) or self._new_request_id()
        scope["rushes_request_id"] = request_id
        scope["rushes_headers"] = {}
        revoked = scope["rushes_key_revoked"] = asyncio.Event()
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    *_COMMON_HEADERS,
                    *((name.encode(), value.encode()) for name, value in scope["rushes_headers"].items()),
                ]
            await send(message)
            if is_head and message["type"] == "http.response.start":
                await send({"type": "http.response.body", "body": b""})
                raise _HeadIsAnswered

        try:
            refusal = _contradiction(request_id, scope)
            await (refusal or self._app)(scope, receive, send_with_headers)
        except _HeadIsAnswered:
            pass
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if status or not revoked.is_set() or task is None:
                raise
            task.uncancel()  # `OpenAnswers` ended it before it had answered anything
            response = problem_response(
                request_id, scope["path"], status=401, code="INVALID_API_KEY", message=KEY_REFUSED
            )
            await response(scope, receive, send_with_headers)
        except Exception as error:
            # the type alone: an error's text may hold what a tenant sent, or a secret
            log.error(telemetry.REQUEST_FAILED, request_id=request_id, error=type(error).__name__)
            if status == 0:
                response = problem_response(
                    request_id,
                    scope["path"],
                    status=500,
                    code="INTERNAL_ERROR",
                    message="something went wrong here; the request id finds it in the log",
                )
                await response(scope, receive, send_with_headers)
            else:
                raise
        finally:
            method = "HEAD" if is_head else scope["method"]
            self._report(scope, method, status, request_id, time.perf_counter() - started)

    def _report(self, scope: Scope, method: str, status: int, request_id: str, seconds: float) -> None:
        route = _template_of(scope)
        self._on_request(method, route, status, seconds)
        log.debug(
            telemetry.REQUEST,
            request_id=request_id,
            method=method,
            route=route,
            status=status,
            seconds=round(seconds, 4),
        )


def response_headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    """Headers to be added to this request's answer, whatever it will be."""
    found: dict[str, str] = scope["rushes_headers"]
    return found


def _given_request_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            return text if REQUEST_ID.fullmatch(text) else None
    return None


def _contradiction(request_id: str, scope: Scope) -> Response | None:
    """The refusal of a request that has a header of `ONCE` with two values."""
    seen: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in ONCE and seen.setdefault(name, value) != value:
            message = f"the header {name.decode()} is there twice, with different values"
            return problem_response(
                request_id, scope["path"], status=400, code="BAD_REQUEST", message=message
            )
    return None


def _template_of(scope: Scope) -> str:
    """The matched route's path with its parameters' names, without prefix; or `unmatched`."""
    route = scope.get("route")
    path: str = getattr(route, "path", "unmatched")
    return path.removeprefix("/api").removeprefix("/v1")
