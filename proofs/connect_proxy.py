"""A proxy that opens tunnels (CONNECT) to one TLS front, and refuses, stalls or drops some of them.

One tunnel in so many is struck, in one of these ways:

    refuse        another status than 2xx
    drop early    closed before CONNECT is answered
    stall early   no answer to CONNECT for a while, then closed
    drop in TLS   opened, and closed during the handshake
    drop late     opened, and reset at a random moment while requests go through it
    stall late    opened, and from a random moment on nothing goes through; closed after a while

Behind it stands TLS for the provider's name, whose plain side is the simulated provider.
"""

import asyncio
import contextlib
import random
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

import trustme

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Strike: TypeAlias = Literal["refuse", "drop early", "stall early", "drop in TLS", "drop late", "stall late"]
STRIKES: Final[tuple[Strike, ...]] = (
    "refuse", "drop early", "stall early", "drop in TLS", "drop late", "stall late",
)  # fmt: skip
STALL_SECONDS: Final = 2.0
LATE_SECONDS_MAX: Final = 1.0
CHUNK_BYTES_MAX: Final = 65_536


@dataclass(slots=True)
class ConnectProxy:
    """Listens on a free port of 127.0.0.1; a context manager that runs in a thread of its own.

    `target_port` is the provider's, on this machine; `name` is the only host that it opens tunnels to.
    """

    name: str
    random: random.Random
    share: float
    target_port: int = 0
    port: int = 0
    authority: trustme.CA = field(default_factory=trustme.CA)
    counts: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    _front_port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None
    _thread: threading.Thread | None = None
    _started: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(self.name).configure_cert(context)
        front = await asyncio.start_server(self._guarded(self._front), "127.0.0.1", 0, ssl=context)
        server = await asyncio.start_server(self._guarded(self._accept), "127.0.0.1", 0)
        self._front_port = front.sockets[0].getsockname()[1]
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        front.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _guarded(self, serve: Serve) -> Serve:
        """A handler whose connection ends with it, however it ends."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                    await serve(reader, writer)
            finally:
                writer.transport.abort()
                self._tasks.discard(task)

        return handle

    async def _front(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The provider's TLS."""
        far = await asyncio.open_connection("127.0.0.1", self.target_port)
        await self._pass_on(reader, writer, *far, asyncio.Event())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        place = head.split(" ")[1]
        self.asked[place] += 1
        if not head.startswith("CONNECT ") or place != f"{self.name}:443":
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            await writer.drain()
            return
        strike = self.random.choice(STRIKES) if self.random.random() < self.share else None
        self.counts[strike or "left alone"] += 1
        match strike:
            case "refuse":
                writer.write(f"HTTP/1.1 {self.random.choice((403, 429, 502, 503, 504))} No\r\n\r\n".encode())
                await writer.drain()
            case "drop early":
                return
            case "stall early":
                await asyncio.sleep(STALL_SECONDS)
            case _:
                await self._tunnel(reader, writer, strike)

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, strike: Strike | None
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._front_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        hushed = asyncio.Event()
        passing = asyncio.create_task(self._pass_on(reader, writer, far_reader, far_writer, hushed))
        try:
            match strike:
                case "drop in TLS":
                    await asyncio.sleep(self.random.uniform(0, 0.005))
                case "drop late":
                    await asyncio.sleep(self.random.uniform(0, LATE_SECONDS_MAX))
                case "stall late":
                    await asyncio.sleep(self.random.uniform(0, LATE_SECONDS_MAX))
                    hushed.set()
                    await asyncio.sleep(STALL_SECONDS)
                case _:
                    await passing
        finally:
            passing.cancel()
            far_writer.transport.abort()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        hushed: asyncio.Event,
    ) -> None:
        async def one_way(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(CHUNK_BYTES_MAX):
                    if not hushed.is_set():
                        sink.write(data)
                        await sink.drain()
            sink.close()

        try:
            await asyncio.gather(one_way(reader, far_writer), one_way(far_reader, writer))
        finally:
            far_writer.transport.abort()
            writer.transport.abort()
