"""uvicorn, with the limits that it leaves open: how large and how slow a request's head may be."""

import asyncio
import contextlib
import json
import resource
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rushes.api.problems import PROBLEM_TYPE
from rushes.domain.errors import InputError

HEAD_BYTES_MAX: Final = 64 * 1024
"""Request line and headers together."""

HEAD_SECONDS_MAX: Final = 20.0
"""How long a client may take to send them."""

STALLED_SECONDS_MAX: Final = 120.0
"""How long a client may leave what it was sent unread, once the buffers are full."""

KEEP_ALIVE_SECONDS: Final = 30
STOP_SECONDS_MAX: Final = 6
"""How long requests under way may take to end when the server stops."""

BACKLOG: Final = 2048

CONNECTIONS_MAX: Final = 10_000
"""Clients that are connected at the same time; fewer where the system allows fewer open files."""

FILES_SPARE: Final = 500
"""Open files for everything else: the database, the provider, the archive."""

WEBSOCKET_MESSAGE_BYTES_MAX: Final = 1024 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 that drops a client whose head is too large or does not come, or who reads nothing."""

    connections_max = CONNECTIONS_MAX

    _head_bytes = 0
    _in_body = False
    _head_timer: asyncio.TimerHandle | None = None
    _stalled_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            self._refuse(503, "TOO_MANY_CONNECTIONS", "this server has as many clients as it can; try again")
            return
        self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX + len(data):
                self._refuse(431, "HEADERS_TOO_LARGE", f"the headers have more than {HEAD_BYTES_MAX} bytes")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_body = False
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self._too_slow)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._in_body = True
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._head_bytes = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The buffers are full: from now on the client's time runs."""
        super().pause_writing()
        # not closed in order, for which the buffers would have to be read
        self._stalled_timer = self.loop.call_later(STALLED_SECONDS_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
            self._stalled_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets a problem document too."""
        self._refuse(400, "BAD_REQUEST", "this is no HTTP request")

    def _too_slow(self) -> None:
        self._head_timer = None
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, code: str, message: str) -> None:
        title = code.replace("_", " ").capitalize()
        request_id = f"req_{secrets.token_hex(8)}"
        body = json.dumps(
            {
                "type": f"urn:rushes:error:{code}",
                "title": title,
                "status": status,
                "detail": message,
                "request_id": request_id,
                "ok": False,
                "error": code,
                "message": message,
            }
        ).encode()
        self.transport.write(
            f"HTTP/1.1 {status} {title}\r\ncontent-type: {PROBLEM_TYPE}\r\nx-request-id: {request_id}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()


def allowed_connections() -> int:
    """How many clients may connect, after this process has got the open files that they need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + FILES_SPARE
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return max(soft // 2, min(CONNECTIONS_MAX, soft - FILES_SPARE))


class _Server(uvicorn.Server):
    """Leaves the process's signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bound_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one. Raises `InputError` when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # said to be TCP, because asyncio turns Nagle's algorithm off only then: 40 ms on every answer
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        field = "host" if isinstance(error, socket.gaierror) else "port"
        raise InputError(f"cannot listen on {host}:{port}: {reason}", field=field) from error
    return listening


async def serve_until(
    app: ASGIApp,
    listening: socket.socket,
    stop: asyncio.Event,
    *,
    on_stopping: Callable[[], None],
    websockets: bool = False,
) -> None:
    """Serve until `stop` is set, then let requests under way end. `on_stopping()` ends endless answers.

    WebSockets are taken only when asked for: the API has none, the dashboard does.
    """
    config = uvicorn.Config(
        app,
        http=type("Protocol", (BoundedProtocol,), {"connections_max": allowed_connections()}),
        ws="websockets-sansio" if websockets else "none",
        ws_max_size=WEBSOCKET_MESSAGE_BYTES_MAX,
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        log_level="critical",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS_MAX,
    )
    server = _Server(config)

    async def stop_it() -> None:
        await stop.wait()
        on_stopping()
        server.should_exit = True

    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(stop_it())
        await server.serve(sockets=[listening])
        stopping.cancel()


def url_of(listening: socket.socket) -> str:
    """Where the socket can be reached."""
    address: Any = listening.getsockname()
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"
