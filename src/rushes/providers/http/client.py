"""The `Transport` over HTTP/1.1 on the event loop itself.

It exists for two reasons. One is what it says of a failed request: it knows of each whether a byte of it was
written. The other is its price: a fifth of the processor time of the fastest client library that was tried
(docs/performance.md), whose threads hand every answer over to the event loop.
"""

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from rushes.providers.http.connection import Connection, Origin, encode, reason_of
from rushes.providers.http.line import Line
from rushes.providers.http.places import Places
from rushes.providers.http.prepared import Prepared
from rushes.providers.http.transport import HELD_BACK, Response, TransportError, departure_under_way
from rushes.providers.http.way_out import WayOut

CONNECT_TIMEOUT_SECONDS: Final = 10.0
"""Time for name lookup, TCP and TLS."""

CONNECTION_IDLE_SECONDS: Final = 4.0
"""How long an unused connection is kept: less than servers keep theirs (5 s and more), because a request
that meets a closing connection may fail with an unknown outcome."""

SWEEP_SECONDS: Final = 0.05
"""How often deadlines are looked at, for all requests at once: a time-out comes up to this much late. A timer
for each request would cost as much as reading its answer."""


class HttpTransport:
    """Requests over one pool of kept-alive connections.

    No redirect is followed and no cookie kept: a provider's key goes to the provider's host and nowhere else,
    through TLS also where there is a proxy (`way_out`). Nothing compressed is asked for; an answer in gzip or
    deflate is decoded all the same, within the bound for bodies. No request is ever sent twice. A request
    fails with `may_have_been_received=False` as long as it has no connection (name lookup, TCP, a proxy's
    CONNECT, TLS, waiting for one that is free), and with True from its first byte on.

    A byte that arrives while a connection is not in use closes it, and so does one after the end of an
    answer. A `fresh` request goes over a new connection, in the place of the one that was unused for longest
    when there are `connections_max`; other requests may use it afterwards.

    A cancelled `request` closes its connection: the server may or may not have received it.

    `connections_max` bounds the requests under way and the connections that `prepare` has ready for them; the
    others wait, within their time-out, see `Places`.
    `root_certificates_pem` is trusted besides the system's certificates. `way_out` is its own unless it
    is given: no other host's name server makes it wait. It belongs to the event loop that uses it first,
    until that is closed.
    """

    def __init__(
        self,
        *,
        connections_max: int = 64,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        root_certificates_pem: bytes | None = None,
        way_out: WayOut | None = None,
    ) -> None:
        self._way_out = way_out or WayOut()
        self._connections_max = connections_max
        self._connect_timeout_seconds = connect_timeout_seconds
        self._root_certificates_pem = root_certificates_pem
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._connections: set[Connection] = set()
        self._unused: dict[Origin, list[Connection]] = {}
        self._places = Places(connections_max)
        self._prepared = Prepared(self._places, self._connect_in_time)
        self._sweeping: asyncio.TimerHandle | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
        fresh: bool = False,
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
        departure = departure_under_way()
        is_submit = departure is not None
        until = loop.time() + timeout_seconds
        connection = await self._prepared.take(origin) if is_submit else None
        if connection is None and not self._places.take_if_free(is_submit=is_submit):
            self._sweep_soon()
            await self._places.take(is_submit=is_submit, until=until)
        try:
            if connection is None and not fresh:
                connection = self._unused_connection(origin)
            if connection is None:
                self._make_room()
                connection = await self._connect(origin, until)
                if (
                    not origin.tls and not connection.is_quiet()
                ):  # over TLS the server may have tickets to give
                    connection.fail("")
                    raise _never_sent("the server spoke before it was asked")
            if departure is not None and not departure.leave():
                self._keep(connection)
                raise _never_sent(HELD_BACK)
            answer: asyncio.Future[Response] = loop.create_future()
            connection.ask(data, answer, until=until)
            try:
                response = await answer
            except asyncio.CancelledError:
                connection.fail("cancelled")
                raise
            self._keep(connection)
            return response
        finally:
            self._places.give(is_submit=is_submit)

    @property
    def lines_max(self) -> int:
        """How many lines there can be at once."""
        return self._places.each_max

    def line(self, url: str) -> Line | None:
        """A kept connection to the URL's host for questions one after the other; see `Line`.

        None while there is no unused connection or no free place, and before the first request.
        """
        loop = self._loop
        if loop is None or loop.is_closed() or self._closed:
            return None
        try:
            origin, _ = encode("GET", url, {}, None)
        except ValueError:
            return None
        places = self._places
        if not places.take_if_free(is_submit=False):
            return None
        connection = self._unused_connection(origin)
        if connection is None:
            places.give(is_submit=False)
            return None

        def end(connection: Connection) -> None:
            self._keep(connection)
            places.give(is_submit=False)

        return Line(connection, places, end=end)

    async def prepare(self, url: str, count: int) -> int:
        """See `Transport`. What nobody uses within `CONNECTION_IDLE_SECONDS` is closed."""
        loop = self._loop
        if loop is None or loop.is_closed() or self._closed:
            await self._begin()
        try:
            origin, _ = encode("POST", url, {}, None)
        except ValueError:
            return count  # the request itself will say so
        return await self._prepared.have(origin, count)

    async def close(self) -> None:
        """Release the connections; requests under way fail."""
        self._closed = True
        self._drop("the transport was closed")

    def _drop(self, reason: str) -> None:
        self._places.close(reason)
        self._prepared.close()
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
        self._connections.clear()
        self._unused.clear()
        self._places = Places(self._connections_max)
        self._prepared = Prepared(self._places, self._connect_in_time)
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

    def _keep(self, connection: Connection) -> None:
        """For the next request, if it can be used again."""
        assert self._loop is not None
        if connection.may_be_reused() and len(self._connections) <= self._connections_max:
            connection.expires_at = self._loop.time() + CONNECTION_IDLE_SECONDS
            self._unused[connection.origin].append(connection)
        else:
            connection.fail("")

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._root_certificates_pem is not None:
            context.load_verify_locations(cadata=self._root_certificates_pem.decode("ascii"))
        return context

    def _make_room(self) -> None:
        """Keep the connections below `connections_max`: one that is unused goes, the oldest of its host."""
        while len(self._connections) >= self._connections_max:
            unused = next(filter(None, self._unused.values()), None)
            if unused is None:
                return
            unused[0].fail("")

    async def _connect_in_time(self, origin: Origin) -> Connection:
        assert self._loop is not None
        self._make_room()
        return await self._connect(origin, self._loop.time() + self._connect_timeout_seconds)

    async def _connect(self, origin: Origin, until: float) -> Connection:
        """A new connection, from the first of the host's addresses that gives one."""
        loop = self._loop
        assert loop is not None

        async def finish(opened: socket.socket) -> Connection:
            _, connection = await loop.create_connection(
                lambda: Connection(self, origin),
                sock=opened,
                ssl=self._tls if origin.tls else None,
                server_hostname=origin.host if origin.tls else None,
            )
            return connection

        try:
            async with asyncio.timeout_at(min(until, loop.time() + self._connect_timeout_seconds)):
                return await self._way_out.connect(origin.host, origin.port, tls=origin.tls, finish=finish)
        except TimeoutError:
            raise _never_sent("timed out before there was a connection") from None
        except (OSError, UnicodeError, ssl.CertificateError) as error:
            raise _never_sent(reason_of(error)) from error

    def opened(self, connection: Connection) -> None:
        """Keep the connection among those of its origin."""
        assert self._loop is not None
        connection.expires_at = self._loop.time() + CONNECTION_IDLE_SECONDS  # if nobody asks again
        self._connections.add(connection)
        self._unused.setdefault(connection.origin, [])
        self._sweep_soon()

    def ended(self, connection: Connection) -> None:
        """Forget the connection."""
        self._connections.discard(connection)
        self._prepared.ended(connection)
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
        somebody_waits = self._places.expire(now)
        for connection in [each for each in self._connections if each.expires_at <= now]:
            connection.fail("timed out waiting for the answer")
        if self._connections or somebody_waits:
            self._sweep_soon()


def _never_sent(reason: str) -> TransportError:
    return TransportError(reason, may_have_been_received=False)
