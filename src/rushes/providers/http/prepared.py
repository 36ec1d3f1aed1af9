"""Connections that are opened before there is anything to send.

A submit is committed before it leaves, and what is committed and has not left at a crash is unknown to
everybody. So the slow part (name lookup, TCP, TLS) comes before the commit.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from rushes.providers.http.connection import Connection, Origin
from rushes.providers.http.places import Places
from rushes.providers.http.transport import TransportError

PREPARE_SECONDS_MAX: Final = 1.0
"""How long `Prepared.have` waits for the first connection; what is being opened then goes on."""

FAILURE_SECONDS: Final = 4.0
"""For how long a connection that could not be opened is the answer to the next submit."""

LOOKS_MAX: Final = 3
"""Turns of the event loop in which what has come over TLS is read: the server's tickets."""


class Prepared:
    """Unused connections to each origin, each with a place of its own; `connect(origin)` opens one."""

    def __init__(self, places: Places, connect: Callable[[Origin], Awaitable[Connection]]) -> None:
        self._places = places
        self._connect = connect
        self._ready: dict[Origin, list[Connection]] = {}
        self._opening: dict[Origin, set[asyncio.Task[None]]] = {}
        self._failures: dict[Origin, tuple[float, TransportError]] = {}

    async def have(self, origin: Origin, count: int) -> int:
        """Open what is missing to `count`; how many submits may be sent now without a wait.

        It is 0 while none is ready yet. When none can be opened it is 1: that submit gets the reason.
        """
        ready = self._ready.setdefault(origin, [])
        for connection in list(ready):
            # over TLS what is there to be read may be the server's tickets, see `take`
            if not connection.is_reusable or not (origin.tls or connection.is_quiet()):
                connection.fail("")
        opening = self._opening.setdefault(origin, set())
        for _ in range(count - len(ready) - len(opening)):
            if not self._places.take_if_free(is_submit=True):
                break
            task = asyncio.get_running_loop().create_task(self._open(origin))
            opening.add(task)
            task.add_done_callback(opening.discard)
        until = asyncio.get_running_loop().time() + PREPARE_SECONDS_MAX
        while not ready and opening and (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(set(opening), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not ready and not opening and origin in self._failures:
            return 1
        return min(len(ready), count)

    async def _open(self, origin: Origin) -> None:
        try:
            connection = await self._connect(origin)
        except BaseException as error:
            self._places.give(is_submit=True)
            if not isinstance(error, TransportError):
                raise
            self._failures[origin] = (asyncio.get_running_loop().time(), error)
            return
        self._failures.pop(origin, None)
        self._ready[origin].append(connection)

    async def take(self, origin: Origin) -> Connection | None:
        """One that is ready, with its place; None when there is none.

        Raises the `TransportError` of the last try to open one, once.
        """
        ready = self._ready.get(origin, [])
        while ready:
            connection, may_be_used = ready.pop(0), False
            try:
                may_be_used = await _is_quiet(connection)
            finally:
                if not may_be_used:
                    connection.fail("")
                    self._places.give(is_submit=True)
            if may_be_used:
                return connection
        failed_at, failure = self._failures.pop(origin, (0.0, None))
        if failure is not None and asyncio.get_running_loop().time() < failed_at + FAILURE_SECONDS:
            raise failure
        return None

    def ended(self, connection: Connection) -> None:
        """It was closed, by whichever side."""
        ready = self._ready.get(connection.origin, [])
        if connection in ready:
            ready.remove(connection)
            self._places.give(is_submit=True)

    def close(self) -> None:
        """Open no more; those that are ready are closed with all others."""
        for opening in self._opening.values():
            for task in opening:
                task.cancel()


async def _is_quiet(connection: Connection) -> bool:
    """Whether nothing waits to be read on it, and it is open. See `Connection.is_quiet`.

    What a TLS server sends after the handshake is read first: the connection is closed if it was more.
    """
    for _ in range(LOOKS_MAX if connection.origin.tls else 1):
        if not connection.is_reusable:
            return False
        if connection.is_quiet():
            return True
        await asyncio.sleep(0)
    return False
