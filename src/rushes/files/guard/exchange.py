"""One request at a time over HTTP/1.1, and an answer that is read as it comes: for webhooks and files.

llhttp (through httptools) reads the answers; nothing is decompressed. See `client` for where connections go.
"""

import asyncio
import string
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import quote

import httptools
from pyreqwest.http import Url

from rushes.providers.http.connection import field_lines

HEAD_BYTES_MAX: Final = 64 * 1024
"""The largest head of an answer, and the most that comes between two parts of its body."""

CHUNK_BYTES_MAX: Final = 256 * 1024
READ_TIMEOUT_SECONDS: Final = 30.0
"""How long a server may say nothing in the middle of an answer."""

_INTERIM: Final = range(100, 200)


class BrokenAnswer(Exception):
    """What came is no complete answer."""


def encoded(method: str, url: Url, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """The request's bytes; raises `ValueError` for a header that is none or the client's own."""
    target = url.path + (f"?{url.query_string}" if url.query_string is not None else "")
    if not (target.isascii() and target.isprintable()) or " " in target:
        target = quote(target, safe=string.punctuation)
    place = f"{url.host_str}:{url.port}" if url.port is not None else url.host_str
    head = f"{method} {target} HTTP/1.1\r\nhost: {place}\r\n".encode("ascii") + field_lines(headers)
    if body is None:
        return head + b"\r\n"
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


class StreamedConnection:
    """A connection to `address`; `status` and `headers` are those of the last answer.

    Header names are lower case; of a name that comes twice the first counts; what is not ASCII is left out.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        self.address = address
        self.status = 0
        self.headers: dict[str, str] = {}
        self.heard = False
        self.is_reusable = False
        self._reader = reader
        self._writer = writer
        self._parser: httptools.HttpResponseParser | None = None
        self._until = 0.0

    async def ask(self, request: bytes, *, until: float) -> None:
        """Send, and read the answer's head; `until` is the loop's time for all of it, to the last byte.

        Raises `BrokenAnswer` and `OSError`; `heard` says whether a byte came.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._has_head = self._is_complete = self._has_length = self.heard = self.is_reusable = False
        self._bytes_between = 0
        self.headers, self._until = {}, until
        self._writer.write(request)
        async with asyncio.timeout_at(until):
            await self._writer.drain()
        while not self._has_head:
            await self._read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body; raises `BrokenAnswer` and `OSError` where it breaks off."""
        while True:
            if self._body:
                chunk = self._body[0] if len(self._body) == 1 else b"".join(self._body)
                self._body.clear()
                yield chunk
            elif self._is_complete:
                return
            else:
                await self._read()

    async def unasked(self) -> None:
        """Return when anything comes, its end too: the connection must not be used again then."""
        await self._reader.read(1)

    def close(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()
        self._parser = None  # they hold each other

    async def _read(self) -> None:
        now = asyncio.get_running_loop().time()
        async with asyncio.timeout_at(min(self._until, now + READ_TIMEOUT_SECONDS)):
            data = await self._reader.read(CHUNK_BYTES_MAX)
        if self._parser is None:
            raise BrokenAnswer("the connection was closed here")
        if not data:
            if not self._has_head or self._has_length:
                raise BrokenAnswer("the connection ended before the answer was complete")
            self._is_complete = True
            return
        self.heard = True
        self._bytes_between += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BrokenAnswer("not an HTTP answer") from error
        if self._body:
            self._bytes_between = 0
        if self._bytes_between > HEAD_BYTES_MAX:
            raise BrokenAnswer("an answer with too much beside its body")

    # --- httptools ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """More than one answer to one question: whatever it is, it is not the next one's."""
        if self._is_complete:
            self.is_reusable = False
            raise BrokenAnswer("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; those after the body are not kept."""
        if self._has_head:
            return
        lower = name.lower()
        if lower in (b"content-length", b"transfer-encoding"):
            self._has_length = True
        if name.isascii() and value.isascii():
            self.headers.setdefault(lower.decode(), value.decode())

    def on_headers_complete(self) -> None:
        """The body follows, unless the answer was an interim one."""
        assert self._parser is not None  # it calls
        self.status = self._parser.get_status_code()
        self._has_head = self.status not in _INTERIM

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is here, unless it was an interim one."""
        if not self._has_head:
            self.headers, self._has_length = {}, False
            return
        assert self._parser is not None
        self._is_complete = True
        self.is_reusable = self._parser.should_keep_alive()
