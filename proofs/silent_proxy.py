"""A proxy between workers and PostgreSQL that swallows everything: no answer, no end of the connection.

While it is hushed it takes connections and bytes from both sides and passes nothing on; its kernel
acknowledges what it took, so keepalives and `tcp_user_timeout` see a healthy peer. A connection that lost a
byte stays silent for good; those made after `speak()` work.
"""

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

CHUNK_BYTES_MAX = 65_536


@dataclass(slots=True)
class SilentProxy:
    """Listens on a free port of 127.0.0.1 and leads to the server's Unix socket; a context manager.

    It runs in a thread of its own.
    """

    socket_path: Path
    swallowed_bytes: int = 0
    silenced_links: int = 0
    port: int = 0
    _hushed: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
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

    def hush(self) -> None:
        """Swallow everything from now on."""
        self._hushed = True

    def speak(self) -> None:
        """Connect and pass on again, for new connections."""
        self._hushed = False

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.1)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(str(self.socket_path))
        except OSError:
            writer.transport.abort()
            return
        both, silenced = {writer, server_writer}, asyncio.Event()
        self._writers |= both
        try:
            await asyncio.gather(
                self._pass_on(reader, server_writer, silenced), self._pass_on(server_reader, writer, silenced)
            )
        finally:
            for each in both:
                each.transport.abort()
            self._writers -= both

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silenced: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES_MAX):
                if self._hushed or silenced.is_set():
                    self.silenced_links += not silenced.is_set()
                    self.swallowed_bytes += len(chunk)
                    silenced.set()
                    continue
                writer.write(chunk)
                await writer.drain()
        if not silenced.is_set():
            writer.transport.abort()
