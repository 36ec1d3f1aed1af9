"""uvicorn with bounds: see `protocol` for one connection, `connections` for all of them together."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from rushes.api.edge.connections import EdgeLimits, Places
from rushes.api.edge.protocol import BoundedProtocol
from rushes.domain.errors import InputError

KEEP_ALIVE_SECONDS: Final = 30
STOP_SECONDS_MAX: Final = 6
"""How long requests under way may take to end when the server stops."""

BACKLOG: Final = 2048

FILES_SPARE: Final = 500
"""Open files for everything else: the database, the provider, the archive."""


def allowed_connections(connections_max: int) -> int:
    """How many clients may connect, after this process has got the open files that they need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + FILES_SPARE
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections_max
    return max(soft // 2, min(connections_max, soft - FILES_SPARE))


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
    limits: EdgeLimits,
) -> None:
    """Serve until `stop` is set, then let requests under way end. `on_stopping()` ends endless answers."""
    places = Places(limits, connections_max=allowed_connections(limits.connections_max))
    config = uvicorn.Config(
        app,
        http=type("Protocol", (BoundedProtocol,), {"places": places}),
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # by itself uvicorn believes whatever loopback says of others
        proxy_headers=bool(limits.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in limits.trusted_proxies],
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
