"""A service on this machine that answers as configured, over real HTTP, and remembers what it was asked."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from rushes.providers.base import Provider, ProviderConfig, ProviderLimits
from rushes.providers.http.client import HttpTransport
from rushes.simulator.message import Delivery, SimRequest, SimResponse
from rushes.simulator.serving.connection import Connection
from rushes.testing.case import ProviderCase, Replies

KEY = "conformance-canary-5e1f0a"
"""The key that the provider is given; it must show up in its requests' headers and nowhere else."""

TIMEOUT_SECONDS = 0.4
HANG_SECONDS = 5.0


def carries_credentials(case: ProviderCase, request: SimRequest) -> bool:
    """Whether the request has the key in a header, or a token made of it, and the key nowhere else."""
    if case.key_in_headers:
        return any(KEY in value for value in request.headers.values())
    return "authorization" in request.headers and KEY not in str(request)


@dataclass
class Service:
    """Where it is and what it was asked."""

    url: str = ""
    requests: list[SimRequest] = field(default_factory=list)
    replies: Replies = ()
    delivery: Delivery = Delivery.WHOLE
    delay_seconds: float = 0.0
    padding_bytes: int = 0
    token_path: str = ""
    _answered: int = 0

    def say(
        self,
        replies: Replies,
        *,
        delivery: Delivery = Delivery.WHOLE,
        delay_seconds: float = 0.0,
        padding_bytes: int = 0,
    ) -> None:
        """Answer the next requests with these; forget the earlier requests."""
        self.requests, self._answered = [], 0
        self.replies, self.delivery = replies, delivery
        self.delay_seconds, self.padding_bytes = delay_seconds, padding_bytes

    def answer(self, request: SimRequest) -> SimResponse:
        """The next reply, or the last one again; faults strike the last. A token is no reply."""
        if self.token_path and request.path == self.token_path:
            return SimResponse(200, msgspec.json.encode({"access_token": KEY, "expires_in": 3600}))
        self.requests.append(request)
        reply = self.replies[min(self._answered, len(self.replies) - 1)]
        self._answered += 1
        response = SimResponse(reply.status, reply.data(self.url), headers=tuple(reply.headers.items()))
        if self._answered < len(self.replies):
            return response
        return dataclasses.replace(
            response,
            delivery=self.delivery,
            delay_seconds=self.delay_seconds,
            padding_bytes=self.padding_bytes,
        )


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    """A service; its connections end with the block."""
    loop, service = asyncio.get_running_loop(), Service()
    connections: set[Connection] = set()
    server = await loop.create_server(
        lambda: Connection(service.answer, loop=loop, opened=connections.add, closed=connections.discard),
        "127.0.0.1",
        0,
    )
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield service
    finally:
        server.close()
        for connection in list(connections):
            connection.reset()
        await server.wait_closed()


@asynccontextmanager
async def provider_at(
    case: ProviderCase, host: str, limits: ProviderLimits | None = None
) -> AsyncIterator[Provider]:
    """The case's provider, pointed at a host."""
    transport = HttpTransport(connect_timeout_seconds=TIMEOUT_SECONDS)
    try:
        yield case.build(
            ProviderConfig(
                host=host + case.host_path,
                api_key=case.key(KEY, host),
                transport=transport,
                timeout_seconds=TIMEOUT_SECONDS,
                limits=limits or ProviderLimits(),
            )
        )
    finally:
        await transport.close()
