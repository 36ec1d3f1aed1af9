"""The `Transport` over pyreqwest (Rust's reqwest and hyper).

What is special about it is what it says of a failed request. pyreqwest's exception classes do not tell
how far a request got: a reset or a time-out after the server has read the request is a `ConnectError` or
a `ConnectTimeoutError`, as is a refused connection. The cause chain does tell. hyper-util's client wraps
every error before the request has a connection (name lookup, TCP, TLS) in `client error (Connect)`, and
nothing else; TLS early data is never sent, so a failed handshake carried no request. All other chains
(`client error (SendRequest)`, a bare time-out, …) may hide a request that was read.
"""

import atexit
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    DetailedPyreqwestError,
    PoolTimeoutError,
    PyreqwestError,
)
from pyreqwest.http import HeaderMap, Url

from rushes.providers.transport import RESPONSE_BYTES_MAX, Response, TransportError

CONNECT_TIMEOUT_SECONDS: Final = 10.0
"""Time for name lookup, TCP and TLS. Shorter than a request's own time-out, so that it is seen first: of a
connection that timed out it is certain that it carried nothing, of a request that did it is not."""

CONNECTION_IDLE_SECONDS: Final = 4.0
"""How long an unused connection is kept: less than servers keep theirs (5 s and more), because a request
that meets a closing connection may fail with an unknown outcome."""

PING_SECONDS: Final = 20.0
"""HTTP/2 only: how often a busy connection is asked whether it lives, and how long it has to answer."""

REASON_CHARACTERS_MAX: Final = 300

URLS_MAX: Final = 64
"""Parsed URLs that are kept: reading one anew took about 2 of the 50 microseconds of a poll."""

EXIT_SECONDS: Final = 0.05
"""How long the process waits before it ends. pyreqwest's own thread lets go of Python objects a moment
after a request has ended; when the interpreter is being taken down by then, the process aborts (seen in
one of ten runs that ended right after a request, closed client or not)."""

_NEVER_SENT: Final = "client error (Connect)"
_WRAPPERS: Final = ("error sending request", "client error (", "error decoding response body")


class PyreqwestTransport:
    """Requests over one pool of kept-alive connections, HTTP/1.1 or, with `http2`, HTTP/2 over TLS.

    No redirect is followed, no cookie kept, nothing decompressed, and no proxy taken from the
    environment: a provider's key goes to the provider's host and nowhere else.

    No request with a body is ever sent twice. Over HTTP/1.1 hyper moves a request to a new connection
    only when the one it was queued for closed before a byte of it was written. Over HTTP/2 reqwest would
    repeat what a server calls unprocessed (`REFUSED_STREAM`, `GOAWAY`); a body given as a stream cannot be
    replayed, so there such a request fails, with its outcome unknown.

    A cancelled `request` raises at once, but pyreqwest lets what it began run its course: it may yet be
    received, and keeps its place among `connections_max` until it is answered or its time is out.

    `connections_max` bounds the requests under way; the others wait, within their time-out.
    `root_certificates_pem` is trusted besides the system's certificates.
    """

    def __init__(
        self,
        *,
        connections_max: int = 64,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        http2: bool = False,
        root_certificates_pem: bytes | None = None,
    ) -> None:
        builder = (
            ClientBuilder()
            .user_agent("rushes")
            .no_proxy()
            .follow_redirects(False)
            .referer(False)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .max_connections(connections_max)
            .connect_timeout(timedelta(seconds=connect_timeout_seconds))
            .pool_idle_timeout(timedelta(seconds=CONNECTION_IDLE_SECONDS))
            .http2(http2)
        )
        if http2:
            ping = timedelta(seconds=PING_SECONDS)
            builder = builder.http2_keep_alive_interval(ping).http2_keep_alive_timeout(ping)
        if root_certificates_pem is not None:
            builder = builder.add_root_certificate_pem(root_certificates_pem)
        self._client: Client = builder.build()
        atexit.unregister(_let_the_thread_rest)  # once, however many transports there are
        atexit.register(_let_the_thread_rest)
        self._http2 = http2
        self._urls: dict[str, Url] = {}
        self._timeout_seconds = 0.0
        self._timeout = timedelta()

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
        if timeout_seconds != self._timeout_seconds:  # the same for every call of a provider
            self._timeout_seconds, self._timeout = timeout_seconds, timedelta(seconds=timeout_seconds)
        try:
            target = self._urls.get(url) or self._parsed(url)
            builder = self._client.request(method, target).headers(headers).timeout(self._timeout)
            if body is not None:
                if self._http2:
                    builder = builder.body_stream((body,)).header("content-length", str(len(body)))
                else:
                    builder = builder.body_bytes(body)
            request = builder.build_streamed()
        except ValueError:
            # the error's own text may quote a header, and with it the key
            reason = "the request could not be built: a bad URL or header"
            raise TransportError(reason, may_have_been_received=False) from None
        try:
            async with request as response:
                content = await response.body_reader.read(RESPONSE_BYTES_MAX + 1)
                status, fields = response.status, _Headers(response.headers)
        except PyreqwestError as error:
            raise _transport_error(error) from error
        if content is None:
            return Response(status, fields, b"")
        if len(content) > RESPONSE_BYTES_MAX:
            reason = f"an answer of more than {RESPONSE_BYTES_MAX} bytes"
            raise TransportError(reason, may_have_been_received=True)
        return Response(status, fields, content.to_bytes())

    def _parsed(self, url: str) -> Url:
        """Keeps the first URLs without a query: those that come again and again."""
        parsed = Url(url)
        if "?" not in url and len(self._urls) < URLS_MAX:
            self._urls[url] = parsed
        return parsed

    async def close(self) -> None:
        """Release the connections; requests under way fail."""
        await self._client.close()


def _let_the_thread_rest() -> None:
    time.sleep(EXIT_SECONDS)


class _Headers(Mapping[str, str]):
    """Response headers, read only when asked for: few answers are. Those that are not ASCII are left out."""

    __slots__ = ("_headers",)

    def __init__(self, headers: HeaderMap) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        try:
            return self._headers[name]
        except ValueError:  # a server sent raw bytes
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._headers if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _transport_error(error: PyreqwestError) -> TransportError:
    causes = error.details["causes"] if isinstance(error, DetailedPyreqwestError) else None
    messages = [cause["message"] for cause in causes or ()]
    never_sent = (
        # Place and wording both count: later messages may quote the server
        (len(messages) > 1 and messages[1] == _NEVER_SENT)
        # raised before the request is given to hyper
        or isinstance(error, PoolTimeoutError | BuilderError)
    )
    telling = [message for message in messages if not message.startswith(_WRAPPERS)]
    reason = ": ".join(telling) or error.message
    if isinstance(error, PoolTimeoutError):
        reason = "no connection became free in time"
    printable = "".join(c if c.isprintable() else " " for c in reason[:REASON_CHARACTERS_MAX])
    return TransportError(printable, may_have_been_received=not never_sent)
