"""Requests to URLs that come from outside, each sent to an address that `addresses` has checked."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final, NamedTuple

from pyreqwest.http import Url

from rushes.domain.errors import RushesError
from rushes.files.guard.addresses import (
    Resolver,
    Target,
    checked_addresses,
    refuse_local_name,
    target_of,
)
from rushes.files.guard.exchange import BrokenAnswer, StreamedConnection, encoded
from rushes.files.guard.kept import Kept, Place
from rushes.providers.http.additions import with_query
from rushes.providers.http.proxies import DIRECT, Proxies, ProxyRefused
from rushes.providers.http.way_out import WayOut

CONNECT_TIMEOUT_SECONDS: Final = 10.0
"""Time for TCP, a proxy's CONNECT and TLS."""

ANSWER_BYTES_MAX: Final = 64 * 1024
"""How much of a webhook receiver's answer is read, so that its connection can be used again."""

ADDRESSES_TRIED_MAX: Final = 3
"""Addresses of one host that a proxy is asked for, one after the other, while it opens no way."""

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
class PostedAnswer(Answer):
    """The answer to a post, with the start of its body."""

    body: bytes = b""


@dataclass(frozen=True, slots=True)
class TrustedOrigin:
    """A place that the operator has configured: `origin` (`scheme://host:port`) may be a private address, and
    `headers` (a key, say) and `query` go there and nowhere else, wherever a redirect leads."""

    origin: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class StreamedAnswer(Answer):
    """An answer whose body is read as it comes; `chunks` raises `NoAnswerFromUrl` when it breaks off."""

    chunks: AsyncIterator[bytes]


class _Request(NamedTuple):
    """A request that may be sent: to one of these addresses, through the target's proxy if it has one."""

    target: Target
    addresses: Sequence[str]
    data: bytes
    until: float


class GuardedHttp:
    """An HTTP client for URLs that others have named. See `addresses` for where it goes.

    No redirect is followed unless it is said, no cookie kept, nothing decompressed.
    `root_certificates_pem` is trusted besides the system's certificates. `resolve` replaces the look-ups.

    Where `proxies` lead to the host, the proxy is asked for an address that was looked up and checked here:
    a name that changes its mind cannot lead it elsewhere. With `proxy_guards` it gets the name instead, and
    refusing private addresses is its task: only what the URL itself says is checked here. The operator's own
    places (`TrustedOrigin`) always go by name.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        resolve: Resolver | None = None,
        root_certificates_pem: bytes | None = None,
        proxies: Proxies = DIRECT,
        proxy_guards: bool = False,
    ) -> None:
        self.allow_private = allow_private
        self._resolve = resolve
        self._root_certificates_pem = root_certificates_pem
        self._way_out = WayOut(proxies=proxies)
        self._proxy_guards = proxy_guards
        self._kept = Kept()

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeout_seconds: float, asker: str = ""
    ) -> PostedAnswer:
        """Post, follow nothing; raises `UrlRefused` and `NoAnswerFromUrl`.

        It is sent again when a connection that was used before ends without a byte of an answer: so it may
        arrive twice. `asker` is for whom: each has few look-ups at a time.
        """
        async with contextlib.AsyncExitStack() as stack:
            request = await self._checked("POST", url, headers, timeout_seconds, body=body, asker=asker)
            answer = await self._sent(stack, request)
            read = b""
            async for chunk in _chunks(answer):
                read += chunk
                if len(read) >= ANSWER_BYTES_MAX:
                    break
            return PostedAnswer(answer.status, answer.headers, read)

    @contextlib.asynccontextmanager
    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_seconds: float,
        trusted: TrustedOrigin | None = None,
        body: bytes | None = None,
    ) -> AsyncIterator[StreamedAnswer]:
        """Get, following up to `REDIRECTS_MAX` redirects; the body streams within the `async with`.

        With a `body` that is posted, for services that are asked so, and no redirect is followed.

        `timeout_seconds` is for everything, to the last byte. Each hop is checked like the first URL.
        Raises `UrlRefused` and `NoAnswerFromUrl`.
        """
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(REDIRECTS_MAX + 1):
                method = "GET" if body is None else "POST"
                request = await self._checked(
                    method, url, headers, timeout_seconds, body=body, trusted=trusted
                )
                answer = await self._sent(stack, request)
                location = answer.headers.get("location") if 300 <= answer.status < 400 else None
                if location is None or answer.status == 304 or body is not None:
                    yield StreamedAnswer(answer.status, answer.headers, _chunks(answer))
                    return
                try:
                    url = str(Url(url).join(location))
                except ValueError:
                    raise NoAnswerFromUrl("redirected to what is no URL") from None
                await stack.aclose()
            raise NoAnswerFromUrl(f"more than {REDIRECTS_MAX} redirects")

    async def close(self) -> None:
        """Release the connections."""
        self._kept.close()

    # --- where it may go ----------------------------------------------------------------------------------

    async def _checked(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        timeout_seconds: float,
        *,
        body: bytes | None = None,
        trusted: TrustedOrigin | None = None,
        asker: str = "",
    ) -> _Request:
        """The request, once everything about its URL is known to be allowed."""
        until = asyncio.get_running_loop().time() + timeout_seconds
        is_trusted = trusted is not None and target_of(url, allow_private=True).origin == trusted.origin
        allow_private = self.allow_private or is_trusted
        target = target_of(url, allow_private=allow_private)
        if is_trusted and trusted is not None:
            headers = {**headers, **trusted.headers}
            url = with_query(url, trusted.query)
        try:
            data = encoded(method, Url(url), headers, body)
        except ValueError:
            raise NoAnswerFromUrl("not a URL that can be requested") from None
        addresses: Sequence[str]
        if (is_trusted or self._proxy_guards) and self._proxy_of(target) is not None:
            if not allow_private:
                refuse_local_name(target)
            addresses = [target.host]
        else:
            resolve = self._resolve or partial(self._way_out.lookups.addresses, asker=asker)
            addresses = await checked_addresses(target, allow_private=allow_private, resolve=resolve)
        return _Request(target, addresses, data, until)

    def _proxy_of(self, target: Target) -> object | None:
        return self._way_out.proxies.of(target.host, target.port, tls=target.is_tls)

    # --- sending ------------------------------------------------------------------------------------------

    async def _sent(self, stack: contextlib.AsyncExitStack, request: _Request) -> StreamedConnection:
        """The connection with the answer's head; it is kept or closed when the stack is."""
        place = Place(request.target.host, request.target.port, request.target.is_tls)
        kept = await self._kept.take(place, request.addresses)
        try:
            if kept is not None:
                try:
                    return await self._asked(stack, place, kept, request)
                except (BrokenAnswer, OSError) as error:
                    if kept.heard or isinstance(error, TimeoutError):
                        raise
            return await self._asked(stack, place, await self._connected(request), request)
        except TimeoutError:
            raise NoAnswerFromUrl("timed out") from None
        except BrokenAnswer as error:
            raise NoAnswerFromUrl("no complete answer") from error
        except ProxyRefused as error:  # its address and answer are the operator's: see `doctor --online`
            raise NoAnswerFromUrl("no connection: the proxy did not open a way") from error
        except (OSError, UnicodeError, ssl.CertificateError) as error:
            raise NoAnswerFromUrl("no connection") from error

    async def _asked(
        self,
        stack: contextlib.AsyncExitStack,
        place: Place,
        connection: StreamedConnection,
        request: _Request,
    ) -> StreamedConnection:
        try:
            await connection.ask(request.data, until=request.until)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise BrokenAnswer(str(error)) from error
            raise
        stack.callback(self._kept.give, place, connection)
        return connection

    async def _connected(self, request: _Request) -> StreamedConnection:
        """A new connection to one of the request's addresses."""
        target = request.target
        proxy = self._way_out.proxies.of(target.host, target.port, tls=target.is_tls)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout_at(min(request.until, loop.time() + CONNECT_TIMEOUT_SECONDS)):
            if proxy is None:
                finish = partial(self._finished, target, None)
                return await self._way_out.connect_to(target.host, target.port, request.addresses, finish)
            trouble: ProxyRefused | None = None
            for address in request.addresses[:ADDRESSES_TRIED_MAX]:
                try:
                    finish = partial(self._finished, target, address)
                    return await self._way_out.connect_through(proxy, address, target.port, finish)
                except ProxyRefused as error:
                    trouble = error
            raise trouble or OSError("the host has no address")

    async def _finished(
        self, target: Target, address: str | None, opened: socket.socket
    ) -> StreamedConnection:
        """HTTP over a connected socket, with TLS where the URL wants it."""
        address = str(opened.getpeername()[0]) if address is None else address
        reader, writer = await asyncio.open_connection(
            sock=opened,
            ssl=self._tls if target.is_tls else None,
            server_hostname=target.host if target.is_tls else None,
        )
        return StreamedConnection(reader, writer, address)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._root_certificates_pem is not None:
            context.load_verify_locations(cadata=self._root_certificates_pem.decode("ascii"))
        return context


async def _chunks(answer: StreamedConnection) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.chunks():
            yield chunk
    except TimeoutError:
        raise NoAnswerFromUrl("timed out") from None
    except (BrokenAnswer, OSError) as error:
        raise NoAnswerFromUrl("no complete answer") from error
