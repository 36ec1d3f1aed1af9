"""One HTTP/1.1 connection: reads requests with httptools, sends answers as faulty as they are meant to be.

A raw asyncio protocol and not an ASGI server, because an application above a server cannot reset a
connection, break off a body or announce a length that it does not send.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final, cast

import httptools

from rushes.simulator.message import Delivery, SimRequest, SimResponse

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
HEADER_BYTES_MAX: Final = 16 * 1024
PIPELINED_REQUESTS_MAX: Final = 64
_PADDING = bytes(64 * 1024)
_PADDING_WRITES_MAX = 16
_LINGER_ZERO = struct.pack("ii", 1, 0)
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Connection(asyncio.Protocol):
    """Answers requests in order, one at a time; while an answer waits, reading pauses.

    `handle` gives the answer to a request; `opened` and `closed` keep the server's set of connections.
    """

    def __init__(
        self,
        handle: Callable[[SimRequest], SimResponse],
        *,
        loop: asyncio.AbstractEventLoop,
        opened: Callable[["Connection"], None],
        closed: Callable[["Connection"], None],
    ) -> None:
        self._handle = handle
        self._loop = loop
        self._opened, self._closed = opened, closed
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._requests: deque[tuple[SimRequest, bool]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False
        self._paused = False
        self._can_write = True
        self._padding_left = 0
        self._keep_alive = True
        self._broken: int | None = None
        self.last_read_at = loop.time()
        self._clear()

    def _clear(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the server."""
        self._transport = cast(asyncio.Transport, transport)
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        self._transport = None
        self._requests.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._closed(self)
        del self._parser  # they hold each other

    def data_received(self, data: bytes) -> None:
        """Parse, then answer what is complete."""
        self.last_read_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._broken = 400
        except httptools.HttpParserError:
            self._broken = self._broken or 400
        self._answer_next()

    def pause_writing(self) -> None:
        """The client reads more slowly than we send."""
        self._can_write = False

    def resume_writing(self) -> None:
        """The client caught up."""
        self._can_write = True
        if self._padding_left and self._timer is None:
            self._send_padding()

    # --- the parser's side

    def on_message_begin(self) -> None:
        """A new request starts."""
        self._clear()

    def on_url(self, url: bytes) -> None:
        """The target, possibly in parts."""
        self._url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; of a repeated one the last value counts."""
        self._count_header(len(name) + len(value))
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Clients that ask may send their body."""
        if self._headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            self._break(413)
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue it: the handler is not called from inside the parser, which hides exceptions."""
        path, _, query = self._url.decode("latin-1").partition("?")
        request = SimRequest(
            method=self._parser.get_method().decode("latin-1"),
            path=path,
            query=query,
            headers=self._headers,
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
        )
        self._requests.append((request, self._parser.should_keep_alive()))

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_BYTES_MAX:
            self._break(431)

    def _break(self, status: int) -> None:
        self._broken = status
        raise ValueError(status)  # stops the parser, which raises its own error from it

    # --- answers

    def _answer_next(self) -> None:
        """Answer queued requests until one has to wait."""
        while self._requests and not self._busy and self._transport is not None:
            request, self._keep_alive = self._requests.popleft()
            response = self._handle(request)
            if response.delay_seconds > 0:
                self._later(response.delay_seconds, partial(self._send, response, request.method))
            else:
                self._send(response, request.method)
        if self._transport is None:
            return
        if self._broken is not None and not self._busy:
            self._transport.write(_head(self._broken, 0, "text/plain", (), keep_alive=False))
            self._transport.close()
        elif len(self._requests) > PIPELINED_REQUESTS_MAX:
            self._transport.pause_reading()
            self._paused = True

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        """Act in `seconds`; reading goes on meanwhile, so that a client that leaves is noticed."""

        def wake() -> None:
            self._busy, self._timer = False, None
            act()
            self._go_on()

        self._busy = True
        self._timer = self._loop.call_later(seconds, wake)

    def _go_on(self) -> None:
        """After a wait: take the next request, unless another wait has started."""
        if self._busy or self._transport is None:
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._answer_next()

    def _send(self, response: SimResponse, method: str) -> None:
        transport = self._transport
        if transport is None:
            return
        if response.delivery in (Delivery.RESET, Delivery.REFUSED):
            self.reset()
            return
        body = response.body
        head = _head(
            response.status,
            len(body) + response.padding_bytes,
            response.content_type,
            response.headers,
            keep_alive=self._keep_alive,
        )
        if method == "HEAD":
            transport.write(head)
            self._sent()
        elif response.delivery is Delivery.CUT:
            transport.write(head + body[: len(body) // 2])
            self.close()
        elif response.stall_seconds > 0:
            middle = len(body) // 2
            transport.write(head + body[:middle])
            self._later(response.stall_seconds, partial(self._send_end, body[middle:]))
        elif response.padding_bytes:
            transport.write(head + body)
            self._padding_left = response.padding_bytes
            self._send_padding()
        else:
            transport.write(head + body)
            if response.again_seconds is not None:
                self._loop.call_later(response.again_seconds, self._write_again, head + body)
            self._sent()

    def _write_again(self, answer: bytes) -> None:
        """Whatever was asked meanwhile: the client may take it for the answer to that."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)

    def _send_end(self, rest: bytes) -> None:
        if self._transport is not None:
            self._transport.write(rest)
            self._sent()

    def _send_padding(self) -> None:
        """Zero bytes as fast as the client takes them, a mebibyte before the loop's other work."""
        self._busy = True
        for _ in range(_PADDING_WRITES_MAX):
            if not self._padding_left or not self._can_write or self._transport is None:
                break
            size = min(self._padding_left, len(_PADDING))
            self._padding_left -= size
            self._transport.write(_PADDING[:size])
        if not self._padding_left:
            self._busy = False
            self._sent()
            self._go_on()
        elif self._can_write and self._transport is not None:
            self._later(0.0, self._send_padding)

    def _sent(self) -> None:
        if not self._keep_alive:
            self.close()

    def close(self) -> None:
        """Send what is written, then close; further requests on this connection are not answered."""
        self._requests.clear()
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close with RST instead of FIN, dropping what is not sent."""
        self._requests.clear()
        if self._transport is None:
            return
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()

    def is_idle_since(self, moment: float) -> bool:
        """Whether nothing was read since `moment` and nothing is being answered."""
        return self.last_read_at < moment and not self._busy


def _head(
    status: int,
    length: int,
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    *,
    keep_alive: bool,
) -> bytes:
    lines = f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\ncontent-length: {length}\r\n"
    if content_type:
        lines += f"content-type: {content_type}\r\n"
    for name, value in headers:
        lines += f"{name}: {value}\r\n"
    if not keep_alive:
        lines += "connection: close\r\n"
    return (lines + "\r\n").encode("latin-1")
