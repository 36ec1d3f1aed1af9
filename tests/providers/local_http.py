"""Real servers on 127.0.0.1 that behave badly on demand, over HTTP/1.1, plain and TLS."""

import asyncio
import contextlib
import gc
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import trustme

AUTHORITY = trustme.CA()
HANG_SECONDS = 30.0


def server_tls(*names: str, alpn: str = "http/1.1", authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    """A server's context with a fresh certificate for `names`, or for this machine's loopback."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
    context.set_alpn_protocols([alpn])
    return context


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP RST instead of a FIN."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass(slots=True)
class Exchange:
    """One request that a server has read to its end, and the ways to answer it over HTTP/1.1."""

    writer: asyncio.StreamWriter
    connection_number: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def close(self) -> None:
        self.writer.close()

    async def reset(self) -> None:
        reset(self.writer)


@dataclass(slots=True)
class LocalServer:
    """What a server saw."""

    url: str
    connections: int = 0
    requests: list[Exchange] = field(default_factory=list)
    under_way: int = 0
    under_way_max: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


async def _end(writer: asyncio.StreamWriter) -> None:
    """Close, waiting for the other side only a moment: the client may hold its end open for long."""
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
        async with asyncio.timeout(0.1):
            await writer.wait_closed()
    writer.transport.abort()
    await asyncio.sleep(0)


Answer = Callable[[Exchange], Awaitable[None]]
OnConnection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[LocalServer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None,
) -> AsyncIterator[LocalServer]:
    """A listening server; all its connections end with the block."""
    running: set[asyncio.Task[None]] = set()
    seen = LocalServer("")

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            await serve(seen, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            await _end(writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(run(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    seen.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield seen
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextlib.asynccontextmanager
async def http1_server(
    answer: Answer, *, tls: ssl.SSLContext | None = None, on_connection: OnConnection | None = None
) -> AsyncIterator[LocalServer]:
    """Calls `answer` for each request; `on_connection` may end a connection before anything is read."""

    async def serve(seen: LocalServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = seen.connections
        if on_connection is not None and not await on_connection(reader, writer):
            return
        while not writer.transport.is_closing():
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            fields = dict(line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in fields.items()}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            exchange = Exchange(writer, number, method, path, headers, body)
            seen.requests.append(exchange)
            seen.arrived.set()
            seen.under_way += 1
            seen.under_way_max = max(seen.under_way_max, seen.under_way)
            try:
                await answer(exchange)
            finally:
                seen.under_way -= 1

    async with listening(serve, tls) as seen:
        yield seen


async def end_as_the_path_says(exchange: Exchange) -> None:
    """Answer; `/close` says that the connection ends, `/end` ends it, and anything else keeps it."""
    await exchange.answer(200, b"ok", {"Connection": "close"} if exchange.path == "/close" else {})
    if exchange.path == "/end":
        await exchange.close()


def alive(kind: type) -> int:
    """How many of them nobody has freed; the collector of circles is not asked."""
    return sum(isinstance(thing, kind) for thing in gc.get_objects())
