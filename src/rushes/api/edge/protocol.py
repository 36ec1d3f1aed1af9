"""HTTP/1.1 over uvicorn's protocol, where every byte, second and place that a client takes is counted.

uvicorn bounds neither a head, nor a chunk's extension, nor trailers, nor the rest of a request that was
answered, nor how many requests are pipelined.
"""

import asyncio
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from rushes.api.edge.connections import SMALL_HEAD_BYTES, Places
from rushes.api.edge.problems import unasked_problem

HEAD_BYTES_MAX: Final = 64 * 1024
"""Request line and headers together."""

URL_BYTES_MAX: Final = 32 * 1024
"""The request's path and query."""

HEADERS_MAX: Final = 128
"""Header fields of a request."""

TRAILERS_MAX: Final = 32
"""Fields after a body in chunks; nothing uses them."""

HEAD_SECONDS_MAX: Final = 20.0
"""How long a client may take to send them."""

OVERHEAD_BYTES_MAX: Final = 16 * 1024
"""What a body may have besides its content: chunk sizes, their extensions, trailers. Content in small
chunks may have as much again as its own size."""

ANSWERED_SECONDS_MAX: Final = 5.0
"""How long the rest of a request may take to come, once it was answered."""

ANSWERED_BYTES_MAX: Final = 512 * 1024
"""How much of it is read, and dropped, so that the client sees the answer."""

BODY_SECONDS_MAX: Final = 60.0
"""How long a client may take to send a body."""

PARSED_BYTES_MAX: Final = 16 * 1024
"""How much is parsed before its bytes are counted."""

STALLED_SECONDS_MAX: Final = 120.0
"""How long a client may leave what it was sent unread, once the buffers are full."""

PIPELINED_MAX: Final = 8
"""Requests that wait on one connection for the answers to those before them."""

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class _StopParsing(Exception):
    """Leaves the parser: what follows is not to be read."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `places` are those of its server.

    A refusal is written when all requests before it were answered, so that answers keep their order.
    """

    places: Places

    _holder: str | None = None
    _has_place = False
    _running: RequestResponseCycle | None = None

    _head_bytes = _large_head_bytes = 0
    _fields = _fields_bytes = 0
    _in_head, _in_body = True, False
    _has_body_place = False
    _held_body_bytes = 0
    _body_framing = b""
    _is_parser_new = False
    _message_number = 0
    _payload_bytes = _overhead_bytes = _overhead_run_bytes = 0

    _dropped_bytes = 0
    _is_refused = False
    _refusal: bytes | None = None
    _timer: asyncio.TimerHandle | None = None
    _stalled_timer: asyncio.TimerHandle | None = None
    _slow_timer: asyncio.TimerHandle | None = None

    # --- the connection ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._holder = self.places.holder_of(self.client[0] if self.client else "")
        if not self.places.connect(self._holder):
            self._turn_away("this address has as many connections as it may; close some, or try again")
            return
        self._has_place = True
        if len(self.connections) > self.places.connections_max and not self._make_room():
            self._turn_away("this server has as many clients as it can; try again")
            return
        self.places.waiting[self.transport] = None
        self._set_timer(HEAD_SECONDS_MAX, self._too_slow)
        slow_seconds = self.places.slow_seconds(self._holder, self.loop.time())
        if slow_seconds > 0:
            self.loop.call_soon(self.flow.pause_reading)  # now would be before the loop starts to read
            self._slow_timer = self.loop.call_later(slow_seconds, self.flow.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()
        super().connection_lost(exc)

    def _let_go(self) -> None:
        self._stop_timer()
        for timer in (self._stalled_timer, self._slow_timer):
            if timer is not None:
                timer.cancel()
        self.places.waiting.pop(self.transport, None)
        if self._has_place:
            self._has_place = False
            self.places.disconnect(self._holder)
        self._release_head()
        self._end_body()
        self._release_body()

    def _make_room(self) -> bool:
        """End the connection that has waited longest for a request, for the sake of a new one."""
        oldest = next(iter(self.places.waiting), None)
        if oldest is None:
            return False
        del self.places.waiting[oldest]
        oldest.abort()
        return True

    def _turn_away(self, message: str) -> None:
        self._is_refused = True
        self.transport.write(unasked_problem(503, "TOO_MANY_CONNECTIONS", message))
        self.transport.close()

    # --- bytes ------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self._is_left_over():
            self._dropped_bytes += len(data)
            if self._dropped_bytes > ANSWERED_BYTES_MAX:
                self._cut()
                return
            if self._is_refused:
                return
        for start in range(0, len(data), PARSED_BYTES_MAX):
            self._parse(data[start : start + PARSED_BYTES_MAX])
            if self._is_refused:
                break

    def _parse(self, data: bytes) -> None:
        in_body, number, payload = self._in_body, self._message_number, self._payload_bytes
        self._unset_keepalive_if_required()
        self._feed(data)
        if self._is_refused:
            return
        if number == self._message_number and in_body == self._in_body:
            if in_body:
                self._count_overhead(len(data), len(data) - (self._payload_bytes - payload))
            else:
                self._count_head(len(data))
        if self._in_body and not self._has_body_place and not self.cycle.response_complete:
            self._begin_body()
        elif self._timer is None and self.timeout_keep_alive_task is None and not self._is_under_way():
            # the rest of an answered request, or empty lines: the wait for the next one goes on
            self._set_timer(HEAD_SECONDS_MAX, self._too_slow)

    def _feed(self, data: bytes) -> None:
        """Parse; who asks for another protocol is answered in this one, which is read on."""
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    data = data[upgrade.args[0] :]
                    self._begin_parser()
        except httptools.HttpParserError:
            self.send_400_response("")

    def _begin_parser(self) -> None:
        """A new parser for what follows such a head: the last one does not read its body."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        framing, self._body_framing = self._body_framing, b""
        if framing:
            self._is_parser_new = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
            self._is_parser_new = False

    def _is_left_over(self) -> bool:
        """Whether what comes now belongs to a request that was answered."""
        return self._in_body and self.cycle.response_complete

    def _count_head(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(431, "HEADERS_TOO_LARGE", f"the headers have more than {HEAD_BYTES_MAX} bytes")
        elif self._head_bytes > SMALL_HEAD_BYTES:
            if self.places.hold_head(length):
                self._large_head_bytes += length
            else:
                self._refuse(503, "TOO_MANY_HEADERS", "this server reads as many large headers as it can")

    def _count_overhead(self, length: int, overhead: int) -> None:
        self._overhead_bytes += overhead
        self._overhead_run_bytes = overhead + (self._overhead_run_bytes if overhead == length else 0)
        if (
            self._overhead_run_bytes > OVERHEAD_BYTES_MAX
            or self._overhead_bytes > OVERHEAD_BYTES_MAX + self._payload_bytes
        ):
            self._refuse(
                413,
                "BODY_TOO_LARGE",
                f"the body has more than {OVERHEAD_BYTES_MAX} bytes of chunk extensions or trailers",
            )

    # --- what the parser finds --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_parser_new:
            return
        super().on_message_begin()
        self._message_number += 1
        self._in_head, self._in_body = True, False
        self._fields = self._fields_bytes = 0
        self._set_timer(HEAD_SECONDS_MAX, self._too_slow)

    def on_url(self, url: bytes) -> None:
        if self._is_parser_new:
            return
        self._fields_bytes += len(url)
        if self._fields_bytes > URL_BYTES_MAX:
            self._stop(414, "URI_TOO_LONG", f"the URL has more than {URL_BYTES_MAX} bytes")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers come here too; nothing uses them, and they must not become headers."""
        if self._is_parser_new:
            return
        self._count_field(len(name) + len(value) + 4)
        self._fields += 1
        if self._fields > (HEADERS_MAX if self._in_head else TRAILERS_MAX):
            what = f"{HEADERS_MAX} headers" if self._in_head else f"{TRAILERS_MAX} trailers"
            self._stop(431, "HEADERS_TOO_LARGE", f"the request has more than {what}")
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_parser_new:
            return
        if self.parser.get_method() == b"CONNECT":
            self._stop(405, "METHOD_NOT_ALLOWED", "this is no proxy")
        if len(self.pipeline) >= PIPELINED_MAX:
            self._stop(429, "TOO_MANY_REQUESTS", f"more than {PIPELINED_MAX} requests wait for their answers")
        super().on_headers_complete()  # first: after a target that is no URL there is no request
        self._stop_timer()
        self._in_head, self._in_body = False, True
        self._head_bytes = 0
        self._fields = self._fields_bytes = 0
        self._release_head()
        self._payload_bytes = self._overhead_bytes = self._overhead_run_bytes = self._dropped_bytes = 0
        self.places.waiting.pop(self.transport, None)
        if self.parser.should_upgrade():
            framing = [b"%s: %s\r\n" % field for field in self.headers if field[0] in FRAMING]
            self._body_framing = b"".join(framing)

    def on_body(self, body: bytes) -> None:
        self._payload_bytes += len(body)
        if self.cycle.response_complete:
            return
        if not self.places.hold_body(self._holder, len(body), held_bytes=self._held_body_bytes):
            self._stop(503, "TOO_MANY_BODIES", "this server holds as many large bodies as it can; try again")
        self._held_body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._body_framing:
            return  # says the parser that does not read the body
        self._in_body, self._in_head = False, True
        self._head_bytes = 0
        self._end_body()
        self._stop_timer()
        super().on_message_complete()
        if self._running is not None and not self._is_under_way():
            self.places.waiting[self.transport] = None  # it was answered before it came whole

    def _begin_body(self) -> None:
        """A body that did not come with its head has a place, and its time runs."""
        if not self.places.begin_body(self._holder):
            self._refuse(503, "TOO_MANY_BODIES", "too many requests send their bodies; try again")
            return
        self._has_body_place = True
        # a little more than the routes take, whose refusal says more
        self._set_timer(BODY_SECONDS_MAX + ANSWERED_SECONDS_MAX, self._too_slow)

    def _count_field(self, length: int) -> None:
        self._fields_bytes += length
        if self._fields_bytes > HEAD_BYTES_MAX:
            what = "headers" if self._in_head else "trailers"
            self._stop(431, "HEADERS_TOO_LARGE", f"the {what} have more than {HEAD_BYTES_MAX} bytes")

    # --- answers ----------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        async def unless_given_up(scope: Any, receive: Any, send: Any) -> None:
            if not cycle.disconnected:  # refused before it ran: then it has no effect
                await app(scope, receive, send)

        self._running = cycle
        super()._start_asgi_task(cycle, unless_given_up)

    def on_response_complete(self) -> None:
        self._release_body()
        super().on_response_complete()
        if self.transport.is_closing():
            self._set_timer(STALLED_SECONDS_MAX, self.transport.abort)
        elif self._is_under_way():
            return
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
        elif self._is_left_over():
            self._end_body()
            self._set_timer(ANSWERED_SECONDS_MAX, self._cut)
        else:
            self.places.waiting[self.transport] = None

    def _is_under_way(self) -> bool:
        """Whether a request that came whole waits for its answer, or for the rest of it."""
        return bool(self.pipeline) or (self._running is not None and not self._running.response_complete)

    def pause_writing(self) -> None:
        """The buffers are full: from now on the client's time runs."""
        super().pause_writing()
        # not closed in order, for which the buffers would have to be read
        self._stalled_timer = self.loop.call_later(STALLED_SECONDS_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
            self._stalled_timer = None
        super().resume_writing()

    # --- refusals ---------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets a problem document too."""
        self._refuse(400, "BAD_REQUEST", "this is no HTTP request")

    def _stop(self, status: int, code: str, message: str) -> None:
        """Refuse from within the parser, which then stops."""
        self._refuse(status, code, message)
        raise _StopParsing

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Read nothing more; answer this when everything before it is answered, and close."""
        if self._is_refused:
            return
        self._is_refused = True
        self._dropped_bytes = 0
        self._stop_timer()
        if status < 500:  # beyond a limit of its own, not one of the server's
            self._count_abuse()
        if self._in_body:
            if self.cycle.response_complete:  # it has its answer
                self.transport.abort()
                return
            if self.cycle is self._running:
                if self.cycle.response_started:
                    self.transport.abort()  # so that the client sees that the answer is incomplete
                    return
                self._give_up(self.cycle)
                self._running = None
            elif self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()
        document = unasked_problem(status, code, message)
        if self._is_under_way():
            self._refusal = document
        else:
            self._send_refusal(document)

    def _cut(self) -> None:
        if not self._is_refused:
            self._is_refused = True
            self._count_abuse()
        self.transport.abort()

    def _count_abuse(self) -> None:
        if self._holder is not None:
            self.places.abuses.failed(self._holder, self.loop.time())

    def _give_up(self, cycle: RequestResponseCycle) -> None:
        """Its request never comes whole: for the app the client is gone."""
        cycle.disconnected = True
        cycle.message_event.set()
        self._end_body()
        self._release_body()

    def _send_refusal(self, document: bytes) -> None:
        """Write it, if there is one, and close."""
        if document:
            self.transport.write(document)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # closed with bytes unread, the system would reset the connection before the client has read this
        self._set_timer(ANSWERED_SECONDS_MAX, self.transport.abort)

    # --- time -------------------------------------------------------------------------------------------

    def _set_timer(self, seconds: float, act: Any) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, act)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.flow.read_paused:  # it is we who do not read
            self._set_timer(HEAD_SECONDS_MAX, self._too_slow)
        elif self._in_body:
            self.transport.abort()
        else:
            self._is_refused = True
            if self._is_under_way():
                self._refusal = b""
            else:
                self.transport.close()

    # --- places -----------------------------------------------------------------------------------------

    def _release_head(self) -> None:
        self.places.hold_head(-self._large_head_bytes)
        self._large_head_bytes = 0

    def _end_body(self) -> None:
        if self._has_body_place:
            self._has_body_place = False
            self.places.end_body(self._holder)

    def _release_body(self) -> None:
        self.places.release_body(self._holder, self._held_body_bytes)
        self._held_body_bytes = 0
