"""The `Transport` over HTTP/1.1 on the event loop itself.

It exists for two reasons. One is what it says of a failed request: it knows of each whether a byte of it was
written. The other is its price: a fifth of the processor time of the fastest client library that was tried
(docs/performance.md), whose threads hand every answer over to the event loop.
"""

import asyncio
import functools
import os
import socket
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from benchmarks._bare.http1 import Connection, Origin, bounded_reason, encode
from benchmarks._bare.transport import Response, TransportError

CONNECT_TIMEOUT_SECONDS: Final = 10.0
"""Time for name lookup, TCP and TLS."""

ADDRESS_SECONDS_MAX: Final = 2.0
"""How long one of a host's addresses is tried while there is another."""

CONNECTION_IDLE_SECONDS: Final = 4.0
"""How long an unused connection is kept: less than servers keep theirs (5 s and more), because a request
that meets a closing connection may fail with an unknown outcome."""

SWEEP_SECONDS: Final = 0.05
"""How often deadlines are looked at, for all requests at once: a time-out comes up to this much late. A timer
for each request would cost as much as reading its answer."""


class HttpTransport:
    """Requests over one pool of kept-alive connections.

    No redirect is followed, no cookie kept, nothing decompressed, and no proxy taken from the
    environment: a provider's key goes to the provider's host and nowhere else. No request is ever sent
    twice. A request fails with `may_have_been_received=False` as long as it has no connection (name lookup,
    TCP, TLS, waiting for one that is free), and with True from its first byte on.

    A cancelled `request` closes its connection: the server may or may not have received it.

    `connections_max` bounds the requests under way; the others wait, within their time-out.
    `root_certificates_pem` is trusted besides the system's certificates. It belongs to the event loop that
    uses it first, until that is closed.
    """

    def __init__(
        self,
        *,
        connections_max: int = 64,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        root_certificates_pem: bytes | None = None,
    ) -> None:
        self._connections_max = self._places = connections_max
        self._connect_timeout_seconds = connect_timeout_seconds
        self._root_certificates_pem = root_certificates_pem
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._connections: set[Connection] = set()
        self._unused: dict[Origin, list[Connection]] = {}
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._sweeping: asyncio.TimerHandle | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
    ) -> Response:
        """The whole answer. Raises `TransportError`, also for a body above `RESPONSE_BYTES_MAX`.

        `timeout_seconds` is for everything, from waiting for a connection to the last byte.
        """
        loop = self._loop
        if loop is None or loop.is_closed() or self._closed:
            loop = await self._begin()
        try:
            origin, data = encode(method, url, headers, body)
        except ValueError:
            # the error's own text may quote a header, and with it the key
            reason = "the request could not be built: a bad URL or header"
            raise TransportError(reason, may_have_been_received=False) from None
        until = loop.time() + timeout_seconds
        if self._places > 0:
            self._places -= 1
        else:
            await self._place(until)
        try:
            connection = self._unused_connection(origin) or await self._connect(origin, until)
            answer: asyncio.Future[Response] = loop.create_future()
            connection.ask(data, answer, until=until)
            try:
                response = await answer
            except asyncio.CancelledError:
                connection.fail("cancelled")
                raise
            if connection.is_reusable:
                connection.expires_at = loop.time() + CONNECTION_IDLE_SECONDS
                self._unused[origin].append(connection)
            else:
                connection.fail("")
            return response
        finally:
            self._give_place()

    async def close(self) -> None:
        """Release the connections; requests under way fail."""
        self._closed = True
        self._drop("the transport was closed")

    def _drop(self, reason: str) -> None:
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(_never_sent(reason))
        for connection in list(self._connections):
            connection.fail(reason)
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def _begin(self) -> asyncio.AbstractEventLoop:
        """Take the running loop; what belongs to a closed one is gone with it."""
        if self._closed:
            raise _never_sent("the transport is closed")
        self._loop = asyncio.get_running_loop()
        self._places = self._connections_max
        self._connections.clear()
        self._unused.clear()
        self._waiting.clear()
        self._sweeping = None
        self._with_the_loop = self._end_with_the_loop()
        await anext(self._with_the_loop)
        return self._loop

    async def _end_with_the_loop(self) -> AsyncGenerator[None, None]:
        """Whoever runs an event loop ends its asynchronous generators before it closes it: this one then
        ends the connections, which nobody else has to remember."""
        try:
            yield
        finally:
            self._drop("the event loop has ended")

    # --- places ---------------------------------------------------------------------------------------

    async def _place(self, until: float) -> None:
        """Wait for one of the `connections_max` places, first come, first served."""
        assert self._loop is not None
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((until, waiter))
        self._sweep_soon()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_place()
            raise

    def _give_place(self) -> None:
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._places += 1

    # --- connections ----------------------------------------------------------------------------------

    def _unused_connection(self, origin: Origin) -> Connection | None:
        """The one that was used last."""
        unused = self._unused.get(origin)
        while unused:
            connection = unused.pop()
            if connection.is_quiet():
                return connection
            connection.fail("")
        return None

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._root_certificates_pem is not None:
            context.load_verify_locations(cadata=self._root_certificates_pem.decode("ascii"))
        return context

    async def _connect(self, origin: Origin, until: float) -> Connection:
        """A new connection, from the first of the host's addresses that gives one."""
        loop = self._loop
        assert loop is not None
        until = min(until, loop.time() + self._connect_timeout_seconds)
        trouble: Exception = OSError("the host has no address")
        try:
            async with asyncio.timeout_at(until):
                found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
                addresses = list(dict.fromkeys(str(address[4][0]) for address in found))
                for number, address in enumerate(addresses, 1):
                    is_last = number == len(addresses)
                    try:
                        async with asyncio.timeout(None if is_last else ADDRESS_SECONDS_MAX):
                            _, connection = await loop.create_connection(
                                lambda: Connection(self, origin),
                                address,
                                origin.port,
                                ssl=self._tls if origin.tls else None,
                                server_hostname=origin.host if origin.tls else None,
                            )
                            return connection
                    except (OSError, ssl.CertificateError) as error:  # TimeoutError is an OSError
                        trouble = error
        except TimeoutError:
            raise _never_sent("timed out before there was a connection") from None
        except (OSError, UnicodeError) as error:
            trouble = error
        raise _never_sent(_reason(trouble)) from trouble

    def opened(self, connection: Connection) -> None:
        """See `Owner`."""
        assert self._loop is not None
        connection.expires_at = self._loop.time() + CONNECTION_IDLE_SECONDS  # if nobody asks any more
        self._connections.add(connection)
        self._unused.setdefault(connection.origin, [])
        self._sweep_soon()

    def ended(self, connection: Connection) -> None:
        """See `Owner`."""
        self._connections.discard(connection)
        unused = self._unused.get(connection.origin, [])
        if connection in unused:
            unused.remove(connection)

    # --- time -----------------------------------------------------------------------------------------

    def _sweep_soon(self) -> None:
        if self._sweeping is None:
            assert self._loop is not None
            self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Fail what is too late, close what was not used for long."""
        assert self._loop is not None
        self._sweeping = None
        now = self._loop.time()
        for until, waiter in self._waiting:
            if until <= now and not waiter.done():
                waiter.set_exception(_never_sent("no connection became free in time"))
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()
        for connection in [each for each in self._connections if each.expires_at <= now]:
            connection.fail("timed out waiting for the answer")
        if self._connections or self._waiting:
            self._sweep_soon()


def _never_sent(reason: str) -> TransportError:
    return TransportError(reason, may_have_been_received=False)


def _reason(error: Exception) -> str:
    """The system's own words where there are any: event loops put them in words of their own."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError | socket.gaierror) and error.errno:
        return os.strerror(error.errno)
    return bounded_reason(str(error) or type(error).__name__)
