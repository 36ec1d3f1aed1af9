"""The simulator in process: a `rushes.providers.http.transport.Transport` that leads to a core, no socket.

For tests without a network and for simulations in virtual time: the clock and the sleep are arguments.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from rushes.providers.http.transport import (
    HELD_BACK,
    RESPONSE_BYTES_MAX,
    Response,
    TransportError,
    departure_under_way,
)
from rushes.simulator.core import SimulatorCore
from rushes.simulator.message import Delivery, SimRequest, SimResponse


class SimulatorTransport:
    """Answers like a network would: a failure that a client cannot tell apart from a taken request is
    raised with `may_have_been_received=True`, even where the core knows better; only a refused
    connection is certainly not sent. The host of a URL is ignored."""

    def __init__(
        self,
        core: SimulatorCore,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._core, self._clock, self._sleep = core, clock, sleep
        self._closed = False

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
        """See `Transport`; every request has a connection of its own.

        The core sees the request at once; delays lie on the answer's way.
        """
        if self._closed:
            raise TransportError("the transport is closed", may_have_been_received=False)
        target = urlsplit(url)
        request = SimRequest(
            method=method,
            path=target.path or "/",
            query=target.query,
            headers={name.lower(): value for name, value in headers.items()},
            body=body or b"",
        )
        departure = departure_under_way()
        if departure is not None and not departure.leave():
            raise TransportError(HELD_BACK, may_have_been_received=False)
        answer = self._core.handle(request, self._clock())
        wait_seconds = answer.delay_seconds + answer.stall_seconds
        if wait_seconds >= timeout_seconds:
            await self._sleep(timeout_seconds)
            raise TransportError("timed out waiting for the answer", may_have_been_received=True)
        if wait_seconds > 0:
            await self._sleep(wait_seconds)
        return _arrived(answer)

    async def prepare(self, url: str, count: int) -> int:
        """See `Transport`: there is nothing to open."""
        return count

    async def close(self) -> None:
        """Refuse further requests."""
        self._closed = True


def _arrived(answer: SimResponse) -> Response:
    match answer.delivery:
        case Delivery.REFUSED:
            raise TransportError("connection refused", may_have_been_received=False)
        case Delivery.RESET:
            raise TransportError("connection reset by peer", may_have_been_received=True)
        case Delivery.CUT:
            raise TransportError("connection closed in the body", may_have_been_received=True)
        case Delivery.WHOLE:
            pass
    length = len(answer.body) + answer.padding_bytes
    if length > RESPONSE_BYTES_MAX:
        raise TransportError(f"body above {RESPONSE_BYTES_MAX} bytes", may_have_been_received=True)
    headers = {"content-length": str(length), "content-type": answer.content_type, **dict(answer.headers)}
    return Response(answer.status, headers, answer.body + bytes(answer.padding_bytes))
