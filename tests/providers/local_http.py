"""Real servers on 127.0.0.1 that behave badly on demand, over HTTP/1.1 and HTTP/2, plain and TLS."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import trustme
from h2.errors import ErrorCodes

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


@contextlib.asynccontextmanager
async def http2_server(behaviours: list[str]) -> AsyncIterator[LocalServer]:
    """Over TLS; the n-th request meets `behaviours[n]`, later ones the last of them."""

    async def serve(seen: LocalServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Http2Connection(seen, reader, writer, behaviours).serve()

    async with listening(serve, server_tls(alpn="h2")) as seen:
        yield seen


class _Http2Connection:
    def __init__(
        self,
        seen: LocalServer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        behaviours: list[str],
    ) -> None:
        self._seen, self._reader, self._writer, self._behaviours = seen, reader, writer, behaviours
        self._number = seen.connections
        self._protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._streams: dict[int, tuple[dict[str, str], bytearray]] = {}

    async def serve(self) -> None:
        if self._behaviours[0] == "garbage at once":
            self._writer.write(b"this is not HTTP/2 " * 10)
            await self._writer.drain()
            await asyncio.sleep(0.1)
            return
        self._protocol.initiate_connection()
        await self._flush()
        while data := await self._reader.read(65536):
            for event in self._protocol.receive_data(data):
                if not await self._handle(event):
                    return
            await self._flush()

    async def _flush(self) -> None:
        self._writer.write(self._protocol.data_to_send())
        await self._writer.drain()

    async def _handle(self, event: object) -> bool:
        """False when the connection is over."""
        if isinstance(event, h2.events.RequestReceived):
            fields = {name.decode(): value.decode() for name, value in event.headers}
            self._streams[event.stream_id] = (fields, bytearray())
        elif isinstance(event, h2.events.DataReceived):
            self._streams[event.stream_id][1].extend(event.data)
            self._protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            fields, body = self._streams.pop(event.stream_id)
            exchange = Exchange(
                self._writer, self._number, fields[":method"], fields[":path"], fields, bytes(body)
            )
            number = len(self._seen.requests)
            self._seen.requests.append(exchange)
            behaviour = self._behaviours[min(number, len(self._behaviours) - 1)]
            return await self._behave(behaviour, event.stream_id)
        return True

    async def _behave(self, behaviour: str, stream_id: int) -> bool:
        protocol = self._protocol
        match behaviour:
            case "answer":
                self._send(stream_id, b"ok")
            case "answer, then leave":
                self._send(stream_id, b"ok")
                await self._flush()
                await asyncio.sleep(0.05)
                protocol.close_connection()
                await self._flush()
                return False
            case "refuse the stream":
                protocol.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            case "fail the stream":
                protocol.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
            case "leave, stream unprocessed":
                protocol.close_connection(last_stream_id=max(stream_id - 2, 0))
                await self._flush()
                await asyncio.sleep(0.05)
                return False
            case "leave, stream processed":
                protocol.close_connection(last_stream_id=stream_id)
                await self._flush()
                return False
            case "reset":
                reset(self._writer)
                return False
            case "close":
                return False
            case "hang":
                await asyncio.sleep(HANG_SECONDS)
            case "cut the body":
                self._send(stream_id, b"abc", content_length=100, end=False)
                await self._flush()
                return False
            case "reset in the body":
                self._send(stream_id, b"abc", content_length=100, end=False)
                await self._flush()
                await asyncio.sleep(0.02)
                reset(self._writer)
                return False
            case "refuse the stream in the body":
                self._send(stream_id, b"abc", content_length=100, end=False)
                protocol.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            case "end the body early":
                self._send(stream_id, b"abc", content_length=100)
            case "garbage":
                self._writer.write(protocol.data_to_send() + b"\xff" * 64)
                await self._writer.drain()
            case unknown:
                raise AssertionError(unknown)
        return True

    def _send(
        self, stream_id: int, body: bytes, *, content_length: int | None = None, end: bool = True
    ) -> None:
        length = len(body) if content_length is None else content_length
        self._protocol.send_headers(stream_id, [(":status", "200"), ("content-length", str(length))])
        self._protocol.send_data(stream_id, body, end_stream=end)
