"""Connections that are kept for a moment after an answer, for the next request to the same place."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rushes.files.guard.exchange import StreamedConnection

IDLE_SECONDS: Final = 4.0
"""How long an unused connection is kept: less than servers keep theirs."""

KEPT_MAX: Final = 64


class Place(NamedTuple):
    """Where a connection leads."""

    host: str
    port: int
    tls: bool


@dataclass(slots=True, eq=False)
class _Unused:
    """A connection nobody uses, and the wait for what it must not say."""

    place: Place
    connection: StreamedConnection
    watch: "asyncio.Task[None]"
    timer: asyncio.TimerHandle


@dataclass(slots=True)
class Kept:
    """The unused connections, those used last at the end; of one event loop at a time."""

    _unused: list[_Unused] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop | None = None

    async def take(self, place: Place, addresses: Sequence[str]) -> StreamedConnection | None:
        """One that leads there, by one of these addresses, and has been silent; None without one."""
        if self._loop is not asyncio.get_running_loop():
            self._unused.clear()  # they ended with their loop
            self._loop = asyncio.get_running_loop()
        for unused in reversed(self._unused):
            if unused.place == place and unused.connection.address in addresses and not unused.watch.done():
                self._unused.remove(unused)
                unused.timer.cancel()
                unused.watch.cancel()
                await asyncio.wait([unused.watch])
                if unused.watch.cancelled():
                    return unused.connection
                unused.connection.close()
                return None
        return None

    def give(self, place: Place, connection: StreamedConnection) -> None:
        """Keep it, if its answer was read to the end and the server keeps it too; else it is closed."""
        if not connection.is_reusable:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        watch = loop.create_task(_quietly(connection))
        unused = _Unused(place, connection, watch, loop.call_later(IDLE_SECONDS, watch.cancel))
        self._loop = loop
        self._unused.append(unused)
        watch.add_done_callback(lambda _watch: self._drop(unused))
        if len(self._unused) > KEPT_MAX:
            self._drop(self._unused[0])

    def close(self) -> None:
        """Close them all."""
        for unused in list(self._unused):
            self._drop(unused)

    def _drop(self, unused: _Unused) -> None:
        """Close it, unless it was taken."""
        if unused in self._unused:
            self._unused.remove(unused)
            unused.timer.cancel()
            unused.watch.cancel()
            unused.connection.close()


async def _quietly(connection: StreamedConnection) -> None:
    """Until anything comes; an error is the same."""
    try:
        await connection.unasked()
    except OSError:
        return
