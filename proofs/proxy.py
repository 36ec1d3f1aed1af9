"""A proxy between workers and PostgreSQL that cuts connections, above all in the middle of a commit.

It reads what the clients send, in whole chunks, and knows a COMMIT by its text. One COMMIT in so many is
struck, in one of these ways:

    before   the COMMIT is not forwarded: the transaction is rolled back
    within   half of the COMMIT's message is forwarded: the same
    at once  the COMMIT is forwarded and both sides are cut without waiting: either may happen
    late     the client is cut, and the COMMIT is forwarded after it has gone on: committed behind its back
    after    the COMMIT is forwarded and confirmed, the confirmation is swallowed: committed, unknown to us

Besides, connections are cut at random moments.
"""

import asyncio
import contextlib
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

Strike: TypeAlias = Literal["before", "within", "at once", "late", "after"]

STRIKES: tuple[Strike, ...] = ("before", "within", "at once", "late", "after")
LATE_SECONDS_MAX = 1.5
AT_RANDOM = "at a random moment"
COMMIT = b"COMMIT\0"
CHUNK_BYTES_MAX = 65_536


@dataclass(slots=True, eq=False)
class _Link:
    """One client's connection to the server. `swallowing` waits for the confirmation of a COMMIT."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    swallowing: bool = False
    closed: bool = False

    def cut(self) -> None:
        """Reset the client's side at once; the server sees the end of its connection."""
        self.closed = True
        self.client.transport.abort()
        self.server.transport.abort()


@dataclass(slots=True)
class CuttingProxy:
    """Listens on a free port of 127.0.0.1 and leads to the server's Unix socket; a context manager.

    It runs in a thread. `commit_share` is the share of COMMITs that are struck; every `cut_seconds` on
    average one connection is cut at a random moment. Both pause from `calm()` to `storm()`.
    """

    socket_path: Path
    random: random.Random
    commit_share: float
    cut_seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _links: set[_Link] = field(default_factory=set)
    _calm: bool = False
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
        self._thread.join()

    def calm(self) -> None:
        """Cut nothing for now."""
        self._calm = True

    def storm(self) -> None:
        """Cut again."""
        self._calm = False

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        cutting = asyncio.create_task(self._cut_now_and_then())
        self._started.set()
        await self._stop.wait()
        cutting.cancel()
        server.close()
        for link in list(self._links):
            link.cut()
        await asyncio.sleep(0.1)

    async def _cut_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(1 / self.cut_seconds))
            if self._links and not self._calm:
                self.counts[AT_RANDOM] += 1
                self.random.choice(list(self._links)).cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(str(self.socket_path))
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server_writer)
        self._links.add(link)
        try:
            await asyncio.gather(self._up(reader, link), self._down(server_reader, link))
        finally:
            link.cut()
            self._links.discard(link)

    async def _up(self, reader: asyncio.StreamReader, link: _Link) -> None:
        """From the client to the server."""
        with contextlib.suppress(OSError):
            while not link.closed:
                chunk = await reader.read(CHUNK_BYTES_MAX)
                if not chunk:
                    break
                if COMMIT in chunk:
                    self.counts["commits seen"] += 1
                    if not self._calm and self.random.random() < self.commit_share:
                        await self._strike(chunk, link)
                        continue
                link.server.write(chunk)
                await link.server.drain()
        link.cut()

    async def _strike(self, chunk: bytes, link: _Link) -> None:
        strike = self.random.choice(STRIKES)
        if strike != "after":
            self.counts[strike] += 1
        match strike:
            case "before":
                link.cut()
            case "within":
                link.server.write(chunk[: chunk.index(COMMIT) + 3])
                await link.server.drain()
                await asyncio.sleep(0.005)
                link.cut()
            case "at once":
                link.server.write(chunk)
                await link.server.drain()
                # a shutdown in order: what was written arrives
                link.closed = True
                link.client.transport.abort()
                link.server.close()
            case "late":
                link.client.transport.abort()
                await asyncio.sleep(self.random.uniform(0.01, LATE_SECONDS_MAX))
                link.server.write(chunk)
                await link.server.drain()
                link.closed = True
                link.server.close()
            case "after":
                link.swallowing = True
                link.server.write(chunk)
                await link.server.drain()

    async def _down(self, reader: asyncio.StreamReader, link: _Link) -> None:
        """From the server to the client."""
        with contextlib.suppress(OSError):
            while not link.closed:
                chunk = await reader.read(CHUNK_BYTES_MAX)
                if not chunk:
                    break
                if link.swallowing:
                    if COMMIT in chunk:
                        self.counts["after"] += 1
                    break
                link.client.write(chunk)
                await link.client.drain()
        link.cut()
