"""HTTP/1.1 for `http.py`: what a request looks like on the wire, and one connection that carries it.

llhttp (through httptools) reads the answers. A connection does one exchange at a time, in callbacks of the
event loop: no task and no thread belongs to it.
"""

import asyncio
import os
import re
import select
import socket
import ssl
import string
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple, Protocol, cast
from urllib.parse import quote

import httptools

from rushes.providers.http.transport import (
    RESPONSE_BYTES_MAX,
    TOO_LARGE,
    Response,
    TransportError,
    answer_bytes_max,
)

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
_ENCODING_FIELD: Final = b"content-encoding"
_WINDOWS: Final = {
    b"gzip": (zlib.MAX_WBITS | 16,),
    b"x-gzip": (zlib.MAX_WBITS | 16,),
    b"deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),  # RFC 9110 means zlib's format, some servers the bare one
    b"identity": (),
    b"": (),
}
"""How to read a content coding: each of zlib's windows is tried in turn; none, and the body is as it is."""


# --- requests -------------------------------------------------------------------------------------------


class Origin(NamedTuple):
    """Where a request goes. `host` is a name in ASCII or an address without brackets."""

    host: str
    port: int
    tls: bool
    host_field: bytes


def encode_head(method: str, url: str, headers: Mapping[str, str]) -> bytes:
    """The bytes of a request up to its content's length, for many that differ in their bodies alone.

    Raises `ValueError` as `encode` does.
    """
    _, line = _line(method, url)
    return line + _fields(tuple(headers.items()))


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


def field_lines(headers: Mapping[str, str]) -> bytes:
    """The fields of a request, one a line; raises `ValueError` for one that is none or the client's own."""
    return _field_lines(tuple(headers.items()))


@lru_cache(maxsize=LINES_MAX)
def _fields(headers: tuple[tuple[str, str], ...]) -> bytes:
    return _field_lines(headers)


def _field_lines(headers: tuple[tuple[str, str], ...]) -> bytes:
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


def reason_of(error: Exception) -> str:
    """The system's own words where there are any: event loops put them in words of their own."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError | socket.gaierror) and error.errno:
        return os.strerror(error.errno)
    return bounded_reason(str(error) or type(error).__name__)


def decoded(body: bytes, encodings: bytes, bytes_max: int = RESPONSE_BYTES_MAX) -> bytes:
    """A body without its content coding, at most `bytes_max`.

    Nothing compressed is asked for, and some gateways compress all the same. Raises `ValueError` for one that
    is not known, more than one, a body that is not what it is said to be, ends early or grows too large.
    """
    names = [name.strip().lower() for name in encodings.split(b",")]
    if len(names) != 1 or names[0] not in _WINDOWS:
        raise ValueError("an answer in a content encoding that was not asked for")
    if not _WINDOWS[names[0]] or not body:
        return body
    for window in _WINDOWS[names[0]]:
        reader = zlib.decompressobj(window)
        try:
            plain = reader.decompress(body, bytes_max + 1)
        except zlib.error:
            continue
        if len(plain) > bytes_max:
            raise ValueError(f"{TOO_LARGE} {bytes_max} bytes")
        if reader.eof and not reader.unused_data:
            return plain
    raise ValueError("an answer that is not in the content encoding it names")


# --- one connection -------------------------------------------------------------------------------------


class Owner(Protocol):
    """Who keeps connections."""

    def opened(self, connection: "Connection") -> None:
        """It may be asked."""

    def ended(self, connection: "Connection") -> None:
        """It can no longer be used."""


class Answer(Protocol):
    """Who waits for an answer: a future, or a line's next step. Either method is called once."""

    def done(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def set_result(self, response: Response, /) -> None:
        """The whole answer."""
        ...

    def set_exception(self, error: TransportError, /) -> None:
        """Why there is none."""
        ...


class Connection(asyncio.Protocol):
    """Kept alive for as long as the server and llhttp see no reason against it.

    `expires_at` is the event loop's time at which the exchange under way is too late, or at which an
    unused connection is to be closed.
    """

    __slots__ = (
        "_answer",
        "_body",
        "_bytes",
        "_bytes_max",
        "_complete_answer",
        "_encodings",
        "_exchanges",
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
        self._answer: Answer | None = None
        self._complete_answer: tuple[Answer, Response] | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._bytes = 0
        self._bytes_max = RESPONSE_BYTES_MAX
        self._has_head = False
        self._encodings = b""
        self._exchanges = 0

    def is_quiet(self) -> bool:
        """Whether nothing has come that the event loop has not seen yet. On an unused connection it is the
        server's goodbye, and a request sent after that has an unknown outcome; or an answer to an earlier
        question, and it would be taken for the answer to the next one."""
        return not self._news.poll(0)

    def may_be_reused(self) -> bool:
        """Whether another request may follow: nobody said otherwise, and all of the last one was sent."""
        return self.is_reusable and not self._transport.get_write_buffer_size()

    def drop(self) -> None:
        """Close it: what it answers is not what was asked. See `Response.drop_connection`."""
        self.fail("its answers are about other questions")

    def ask(self, request: bytes, answer: Answer, *, until: float) -> None:
        """Send; `answer` gets the response or a `TransportError`."""
        if self._transport.is_closing():
            reason = "the connection ended before the request was sent"
            answer.set_exception(TransportError(reason, may_have_been_received=False))
            return
        self._fields, self._body, self._bytes, self._has_head = [], [], 0, False
        self._encodings = b""
        self._bytes_max = answer_bytes_max()
        self._exchanges += 1
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
        """Read on in the answer; bytes that nobody asked for end the connection."""
        if self._answer is None:
            self.fail("")
            return
        self._bytes += len(data)
        if self._bytes > self._bytes_max + HEAD_BYTES_MAX:
            self.fail(f"{TOO_LARGE} {self._bytes_max} bytes")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail(f"not an HTTP answer: {type(error).__name__}")
        if self._complete_answer is not None:
            self._deliver()

    def eof_received(self) -> None:
        """The server sends nothing more: the same as a lost connection."""
        self._lose(None)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`; comes last, and once."""
        self._lose(error)
        # they hold each other: left to the collector of such circles, hundreds lie between what is used
        del self._parser

    def _lose(self, error: Exception | None) -> None:
        """An answer that ends with its connection is complete, any other is not."""
        if error is None and self._answer is not None and self._ends_with_the_connection():
            self._complete(self._parser.get_status_code())
        if self._complete_answer is not None:
            self.is_reusable = False
            self._deliver()
        self._end(str(error or "") or "the connection was closed before the answer was complete")

    def _ends_with_the_connection(self) -> bool:
        names = {name.lower() for name, _ in self._fields}
        return self._has_head and names.isdisjoint({b"content-length", b"transfer-encoding"})

    def _complete(self, status: int) -> None:
        answer = self._answer
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if self._encodings:
            try:
                body = decoded(body, self._encodings, self._bytes_max)
            except ValueError as error:
                self.fail(str(error))
                return
        if len(body) > self._bytes_max:
            self.fail(f"{TOO_LARGE} {self._bytes_max} bytes")
        elif answer is not None:
            self._answer = None
            response = Response(status, _Headers(self._fields), body, self._exchanges == 1, self.drop)
            self._complete_answer = (answer, response)

    def _deliver(self) -> None:
        """Hand the answer on, once all that came with it was read: whoever gets it may ask again at once."""
        assert self._complete_answer is not None
        answer, response = self._complete_answer
        self._complete_answer = None
        if not answer.done():  # done: the request was cancelled
            answer.set_result(response)

    # --- httptools ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer to nothing is a reason not to ask again."""
        if self._answer is None:
            self.is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of a chunked body's end."""
        if len(name) == len(_ENCODING_FIELD) and name.lower() == _ENCODING_FIELD:
            self._encodings += b"," + value if self._encodings else value
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The body follows."""
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is here, unless it was an interim one."""
        status = self._parser.get_status_code()
        if status in _INTERIM:
            self._fields, self._body, self._has_head, self._encodings = [], [], False, b""
            return
        if not self._parser.should_keep_alive():
            self.is_reusable = False
        self._complete(status)


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
