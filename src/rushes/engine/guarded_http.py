"""Requests to URLs that come from outside, each sent to an address that `net_guard` has checked."""

import atexit
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectError, ConnectTimeoutError, PyreqwestError
from pyreqwest.http import Url
from pyreqwest.response import Response

from rushes.domain.errors import RushesError
from rushes.engine.net_guard import (
    Resolver,
    Target,
    UrlRefused,
    checked_addresses,
    system_resolver,
    target_of,
)

CONNECT_TIMEOUT_SECONDS: Final = 10.0
READ_TIMEOUT_SECONDS: Final = 30.0
"""How long a server may say nothing in the middle of an answer."""

CONNECTION_IDLE_SECONDS: Final = 4.0

CLIENTS_MAX: Final = 64
"""Connection pools that are kept, one for each host and address; making one takes some milliseconds."""

ANSWER_BYTES_MAX: Final = 64 * 1024
"""How much of a webhook receiver's answer is read, so that its connection can be used again."""

EXIT_SECONDS: Final = 0.05
"""How long the process waits before it ends. pyreqwest's own thread lets go of Python objects a moment
after a request has ended; when the interpreter is being taken down by then, the process aborts (seen in
one of ten runs that ended right after a request, closed client or not)."""

ADDRESSES_TRIED_MAX: Final = 3
"""Addresses of one host that are tried, one after the other, while none can be connected to."""

REDIRECTS_MAX: Final = 3
"""Redirects that a download follows; each is checked like the first URL."""


class NoAnswerFromUrl(RushesError):
    """The request went out, or tried to, and no complete answer came."""

    code = "URL_UNREACHABLE"
    retryable = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's head. Header names are lower case; headers that are not ASCII are left out."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TrustedOrigin:
    """A place that the operator has configured: `origin` (`scheme://host:port`) may be a private address, and
    `headers` (a key, say) go there and nowhere else, wherever a redirect leads."""

    origin: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class StreamedAnswer(Answer):
    """An answer whose body is read as it comes; `chunks` raises `NoAnswerFromUrl` when it breaks off."""

    chunks: AsyncIterator[bytes]


class GuardedHttp:
    """An HTTP client for URLs that others have named. See `net_guard` for where it goes.

    No redirect is followed unless it is said, no cookie kept, nothing decompressed, no proxy taken from
    the environment. `root_certificates_pem` is trusted besides the system's certificates.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        resolve: Resolver = system_resolver,
        root_certificates_pem: bytes | None = None,
    ) -> None:
        self.allow_private = allow_private
        self._resolve = resolve
        self._root_certificates_pem = root_certificates_pem
        self._clients: OrderedDict[tuple[str, int, str, bool], Client] = OrderedDict()
        atexit.unregister(_let_the_thread_rest)  # once, however many there are
        atexit.register(_let_the_thread_rest)

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeout_seconds: float
    ) -> Answer:
        """Post once, follow nothing; raises `UrlRefused` and `NoAnswerFromUrl`."""
        async with contextlib.AsyncExitStack() as stack:
            response = await self._open(stack, "POST", url, headers, timeout_seconds, body)
            try:
                await response.body_reader.read(ANSWER_BYTES_MAX)
            except PyreqwestError as error:
                raise NoAnswerFromUrl(_reason(error)) from error
            return Answer(response.status, _headers(response))

    @contextlib.asynccontextmanager
    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_seconds: float,
        trusted: TrustedOrigin | None = None,
    ) -> AsyncIterator[StreamedAnswer]:
        """Get, following up to `REDIRECTS_MAX` redirects; the body streams within the `async with`.

        `timeout_seconds` is for everything, to the last byte. Each hop is checked like the first URL.
        Raises `UrlRefused` and `NoAnswerFromUrl`.
        """
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(REDIRECTS_MAX + 1):
                response = await self._open(stack, "GET", url, headers, timeout_seconds, trusted=trusted)
                location = response.get_header("location") if 300 <= response.status < 400 else None
                if location is None or response.status == 304:
                    yield StreamedAnswer(response.status, _headers(response), _chunks(response))
                    return
                try:
                    url = str(Url(url).join(location))
                except ValueError:
                    raise NoAnswerFromUrl("redirected to what is no URL") from None
                await stack.aclose()
            raise NoAnswerFromUrl(f"more than {REDIRECTS_MAX} redirects")

    async def _open(
        self,
        stack: contextlib.AsyncExitStack,
        method: str,
        url: str,
        headers: Mapping[str, str],
        timeout_seconds: float,
        body: bytes | None = None,
        trusted: TrustedOrigin | None = None,
    ) -> Response:
        """The answer's head, from the first of the host's addresses that can be connected to."""
        allow_private = self.allow_private
        if trusted is not None and target_of(url, allow_private=True).origin == trusted.origin:
            allow_private, headers = True, {**headers, **trusted.headers}
        target = target_of(url, allow_private=allow_private)
        found = await checked_addresses(target, allow_private=allow_private, resolve=self._resolve)
        trouble: Exception = UrlRefused("the host has no address")
        # always the same order, so that connections are used again
        for address in sorted(found, key=lambda text: (":" in text, text))[:ADDRESSES_TRIED_MAX]:
            try:
                client = self._client_at(target, address, allow_private=allow_private)
                builder = client.request(method, url).headers(headers)
                builder = builder.timeout(timedelta(seconds=timeout_seconds))
                request = (builder if body is None else builder.body_bytes(body)).build_streamed()
                return await stack.enter_async_context(request)
            except (ConnectError, ConnectTimeoutError) as error:
                trouble = error
            except (PyreqwestError, ValueError) as error:
                raise NoAnswerFromUrl(_reason(error)) from error
        raise NoAnswerFromUrl(_reason(trouble)) from trouble

    def _client_at(self, target: Target, address: str, *, allow_private: bool) -> Client:
        """A client whose only address for the target's host is this one, which was checked just now."""
        key = (target.host, target.port, address, allow_private)
        client = self._clients.pop(key, None) or self._new_client(
            target, address, allow_private=allow_private
        )
        self._clients[key] = client
        while len(self._clients) > CLIENTS_MAX:
            self._clients.popitem(last=False)  # requests under way keep it alive to their end
        return client

    def _new_client(self, target: Target, address: str, *, allow_private: bool) -> Client:
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
            .connect_timeout(timedelta(seconds=CONNECT_TIMEOUT_SECONDS))
            .read_timeout(timedelta(seconds=READ_TIMEOUT_SECONDS))
            .pool_idle_timeout(timedelta(seconds=CONNECTION_IDLE_SECONDS))
            .https_only(not allow_private)
        )
        if not target.is_literal:
            builder = builder.resolve(target.host, address, target.port)
        if self._root_certificates_pem is not None:
            builder = builder.add_root_certificate_pem(self._root_certificates_pem)
        return builder.build()

    async def close(self) -> None:
        """Release the connections."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()


def _let_the_thread_rest() -> None:
    time.sleep(EXIT_SECONDS)


def _headers(response: Response) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in response.headers:
        with contextlib.suppress(ValueError):  # raw bytes
            found[name.lower()] = response.headers[name]
    return found


async def _chunks(response: Response) -> AsyncIterator[bytes]:
    try:
        while (chunk := await response.body_reader.read_chunk()) is not None:
            yield chunk.to_bytes()
    except PyreqwestError as error:
        raise NoAnswerFromUrl(_reason(error)) from error


def _reason(error: Exception) -> str:
    """What went wrong in a few words of our own: a client's message may repeat the URL and its secrets."""
    if isinstance(error, UrlRefused):
        return error.message
    name = type(error).__name__.lower()
    if "timeout" in name:
        return "timed out"
    if "connect" in name:
        return "no connection"
    if isinstance(error, ValueError):
        return "not a URL that can be requested"
    return "no complete answer"
