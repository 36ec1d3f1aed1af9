"""HTTP/1.1 for `http.py`: what a request looks like on the wire, and one connection that carries it.

llhttp (through httptools) reads the answers. A connection does one exchange at a time, in callbacks of the
event loop: no task and no thread belongs to it.
"""

import asyncio
import re
import select
import string
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple, Protocol, cast
from urllib.parse import quote

import httptools

from benchmarks._bare.transport import RESPONSE_BYTES_MAX, Response, TransportError

HEAD_BYTES_MAX: Final = 64 * 1024
"""The largest head of an answer, with all that is around the body."""

REASON_CHARACTERS_MAX: Final = 300

LINES_MAX: Final = 64
"""Request lines, origins and sets of headers that are kept in the form in which they are sent."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_URL: Final = re.compile(r"(https?)://([^/?#\s@\\]+)([/?][^#]*)?(?:#.*)?", re.IGNORECASE)
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METHOD: Final = re.compile(r"[A-Z]+")
_OWN_FIELDS: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "te", "expect"})
_WITHOUT_BODY: Final = frozenset({"GET", "DELETE"})
_INTERIM: Final = range(100, 200)


# --- requests -------------------------------------------------------------------------------------------


class Origin(NamedTuple):
    """Where a request goes. `host` is a name in ASCII or an address without brackets."""

    host: str
    port: int
    tls: bool
    host_field: bytes


def encode(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[Origin, bytes]:
    """Where the request goes, and its bytes.

    Raises `ValueError` for what cannot be sent: a URL or a header that is none, a field that is the client's
    own, a HEAD (its answer would be read as if it had a body).
    """
    origin, line = _line(method, url)
    fields = _fields(tuple(headers.items()))
    if body is None:
        if method in _WITHOUT_BODY:
            return origin, b"%b%b\r\n" % (line, fields)
        body = b""
    return origin, b"%b%bcontent-length: %d\r\n\r\n%b" % (line, fields, len(body), body)


@lru_cache(maxsize=LINES_MAX)
def _line(method: str, url: str) -> tuple[Origin, bytes]:
    """The request line, and the host."""
    parts = _URL.fullmatch(url)
    if parts is None or _METHOD.fullmatch(method) is None or method == "HEAD":
        raise ValueError("not a request that can be sent")
    scheme, place, target = parts.groups("/")
    origin = _origin(scheme.lower(), place)
    if target[0] == "?":
        target = "/" + target
    if not (target.isascii() and target.isprintable()) or " " in target:
        target = quote(target, safe=string.punctuation)
    return origin, f"{method} {target} HTTP/1.1\r\n".encode() + origin.host_field


@lru_cache(maxsize=LINES_MAX)
def _origin(scheme: str, place: str) -> Origin:
    parts = _HOST_AND_PORT.fullmatch(place)
    if parts is None:
        raise ValueError("not a host")
    host, port = parts[1], int(parts[2] or _DEFAULT_PORTS[scheme])
    if not 0 < port < 65536:
        raise ValueError("not a port")
    if not host.startswith("["):
        host = host.encode("idna").decode()  # UnicodeError is a ValueError
    named = host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
    return Origin(host.strip("[]"), port, scheme == "https", f"host: {named}\r\n".encode())


@lru_cache(maxsize=LINES_MAX)
def _fields(headers: tuple[tuple[str, str], ...]) -> bytes:
    names = {name.lower() for name, _ in headers}
    if names & _OWN_FIELDS:
        raise ValueError("a header that is the client's own")
    lines = [] if "user-agent" in names else ["user-agent: rushes\r\n"]
    lines += [] if "accept" in names else ["accept: */*\r\n"]
    for name, value in headers:
        if _HEADER_NAME.fullmatch(name) is None or not (value.isascii() and value.isprintable()):
            raise ValueError("not a header")  # without its value: that may be a key
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode()


def bounded_reason(text: str) -> str:
    """Why there is no answer, in one printable line of bounded length."""
    return "".join(c if c.isprintable() else " " for c in text[:REASON_CHARACTERS_MAX])


# --- one connection -------------------------------------------------------------------------------------


class Owner(Protocol):
    """Who keeps connections."""

    def opened(self, connection: "Connection") -> None:
        """It may be asked."""

    def ended(self, connection: "Connection") -> None:
        """It is of no use any more."""


class Connection(asyncio.Protocol):
    """Kept alive for as long as the server and llhttp see no reason against it.

    `expires_at` is the event loop's time at which the exchange under way is too late, or at which an
    unused connection is to be closed.
    """

    __slots__ = (
        "_answer",
        "_body",
        "_bytes",
        "_fields",
        "_has_head",
        "_news",
        "_owner",
        "_parser",
        "_transport",
        "expires_at",
        "is_reusable",
        "origin",
    )

    def __init__(self, owner: Owner, origin: Origin) -> None:
        self.origin = origin
        self.expires_at = 0.0
        self.is_reusable = False
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Response] | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._bytes = 0
        self._has_head = False

    def is_quiet(self) -> bool:
        """Whether nothing has come that the event loop has not seen yet: on an unused connection it could
        only be the server's goodbye, and a request sent after that has an unknown outcome."""
        return not self._news.poll(0)

    def ask(self, request: bytes, answer: asyncio.Future[Response], *, until: float) -> None:
        """Send; `answer` gets the response or a `TransportError`."""
        if self._transport.is_closing():
            reason = "the connection ended before the request was sent"
            answer.set_exception(TransportError(reason, may_have_been_received=False))
            return
        self._fields, self._body, self._bytes, self._has_head = [], [], 0, False
        self._answer = answer
        self.expires_at = until
        self._transport.write(request)

    def fail(self, reason: str) -> None:
        """End the connection at once, and with it the exchange under way."""
        self._transport.abort()
        self._end(reason)

    def _end(self, reason: str) -> None:
        self.is_reusable = False
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(TransportError(bounded_reason(reason), may_have_been_received=True))
        self._owner.ended(self)

    # --- asyncio.Protocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`; over TLS the handshake is done."""
        self._transport = cast(asyncio.Transport, transport)
        self._news = select.poll()
        self._news.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.is_reusable = True
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._answer is None:
            self.fail("")
            return
        self._bytes += len(data)
        if self._bytes > RESPONSE_BYTES_MAX + HEAD_BYTES_MAX:
            self.fail(f"an answer of more than {RESPONSE_BYTES_MAX} bytes")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail(f"not an HTTP answer: {type(error).__name__}")

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        self.connection_lost(None)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if error is None and self._answer is not None and self._ends_with_the_connection():
            self._complete()
        self._end(str(error or "") or "the connection was closed before the answer was complete")

    def _ends_with_the_connection(self) -> bool:
        names = {name.lower() for name, _ in self._fields}
        return self._has_head and names.isdisjoint({b"content-length", b"transfer-encoding"})

    def _complete(self) -> None:
        answer = self._answer
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if len(body) > RESPONSE_BYTES_MAX:
            self.fail(f"an answer of more than {RESPONSE_BYTES_MAX} bytes")
        elif answer is not None:
            self._answer = None
            if not answer.done():  # done: the request was cancelled
                answer.set_result(Response(self._parser.get_status_code(), _Headers(self._fields), body))

    # --- httptools ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer to nothing is a reason not to ask again."""
        if self._answer is None:
            self.is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of a chunked body's end."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The body follows."""
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is here, unless it was an interim one."""
        if self._parser.get_status_code() in _INTERIM:
            self._fields, self._body, self._has_head = [], [], False
            return
        if not self._parser.should_keep_alive():
            self.is_reusable = False
        self._complete()


class _Headers(Mapping[str, str]):
    """Response headers, read only when asked for: few answers are.

    Of a name that comes twice the first is taken; values that are not ASCII are left out.
    """

    __slots__ = ("_fields", "_found")

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        self._fields = fields
        self._found: dict[str, str] | None = None

    def _read(self) -> dict[str, str]:
        if self._found is None:
            self._found = {}
            for name, value in self._fields:
                if name.isascii() and value.isascii():
                    self._found.setdefault(name.decode().lower(), value.decode())
        return self._found

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())
