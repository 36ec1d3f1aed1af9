"""One connection pool to one service: requests with the key, repeated only where that is harmless."""

import asyncio
import atexit
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import ClientClosedError, PyreqwestError
from pyreqwest.response import Response

from rushes.client.errors import (
    ClientClosed,
    ServiceUnreachable,
    UnexpectedAnswer,
    error_from,
    retry_after_seconds,
)
from rushes.domain.errors import IdempotencyInProgress, InputError, RushesError

CONNECT_SECONDS_MAX: Final = 10.0
SILENCE_SECONDS_MAX: Final = 60.0
"""How long a stream or a file may say nothing; the service's streams say something every 15 seconds."""

CONNECTION_IDLE_SECONDS: Final = 20.0
"""Less than the 30 seconds after which the service closes a connection."""

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
REFUSAL_BYTES_MAX: Final = 64 * 1024
RETRY_SECONDS_FIRST: Final = 0.25
RETRY_SECONDS_MAX: Final = 60.0
"""The longest wait between two tries; a service that asks for a longer one is not asked again."""

REDIRECTS_MAX: Final = 3

EXIT_SECONDS: Final = 0.05
"""pyreqwest's thread lets go of Python objects a moment after a request; the process must not end before."""


class Http:
    """Requests to one service. The key goes to the service's own origin and nowhere else.

    `tries_max` counts the first try. `sleep` and `chance` (0 to 1) are for the waits between tries.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout_seconds: float,
        tries_max: int,
        root_certificates_pem: bytes | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("must start with https:// or http:// and name a host", field="base_url")
        if parts.query or parts.fragment or parts.username is not None:
            raise InputError("must be an address only, without user, query or fragment", field="base_url")
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise InputError("is no key: create one with `rushes keys create`", field="api_key")
        if tries_max < 1:
            raise InputError("must be at least 1", field="tries_max")
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        self.tries_max = tries_max
        self._origin = (parts.scheme, parts.netloc.lower())
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._sleep = sleep
        self._chance = chance
        builder = (
            ClientBuilder()
            .user_agent("rushes-client")
            .follow_redirects(False)
            .referer(False)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .connect_timeout(timedelta(seconds=CONNECT_SECONDS_MAX))
            .read_timeout(timedelta(seconds=max(SILENCE_SECONDS_MAX, timeout_seconds)))
            .pool_idle_timeout(timedelta(seconds=CONNECTION_IDLE_SECONDS))
        )
        if root_certificates_pem is not None:
            builder = builder.add_root_certificate_pem(root_certificates_pem)
        self._client = builder.build()
        self._closed = False
        atexit.unregister(_let_the_thread_rest)  # once, however many clients there are
        atexit.register(_let_the_thread_rest)

    async def close(self) -> None:
        """Release the connections."""
        self._closed = True
        await self._client.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool,
        query: Mapping[str, Any] | None = None,
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> dict[str, Any]:
        """The answer's JSON object, without its `ok`. `content` is sent as it is, in a document's place.

        A repeatable request is sent again when no answer came or the service asks to come back later.
        """
        url = f"{self.base_url}{path}{_query(query)}"
        body = content if document is None else _encoded(document)
        if content is not None:
            headers = {**(headers or {}), "content-type": "application/octet-stream"}
        for number in range(1, self.tries_max + 1):
            try:
                return await self._once(method, url, body, headers or {})
            except _ComeBackLater as later:
                wait = self._wait_seconds(number, later.after_seconds)
                if not repeatable or number == self.tries_max or wait is None:
                    raise later.error from later.__cause__
            await self._sleep(wait)
        raise AssertionError("unreachable")

    async def _once(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            async with self.open(method, url, body=body, headers=headers, bounded=True) as response:
                content = await response.body_reader.read(ANSWER_BYTES_MAX + 1)
                status, fields = response.status, headers_of(response)
        except (ServiceUnreachable, PyreqwestError) as error:
            raise _ComeBackLater(unreachable(error), None) from error
        raw = b"" if content is None else content.to_bytes()
        if status >= 400:
            raise _refusal(status, fields, raw)
        if len(raw) > ANSWER_BYTES_MAX:
            raise UnexpectedAnswer(f"an answer of more than {ANSWER_BYTES_MAX} bytes", status=status)
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = None
        if status >= 300 or not isinstance(answer, dict):
            raise UnexpectedAnswer(
                f"HTTP {status} without a JSON object: does base_url lead to a rushes service?", status=status
            )
        answer.pop("ok", None)
        return answer

    def _wait_seconds(self, number: int, asked_seconds: float | None) -> float | None:
        """How long to wait after try `number`; None when that is too long."""
        if asked_seconds is not None:
            wait = asked_seconds + RETRY_SECONDS_FIRST * self._chance()
            return wait if asked_seconds <= RETRY_SECONDS_MAX else None
        return self.backoff_seconds(number)

    def backoff_seconds(self, number: int) -> float:
        """A wait that doubles with each failure, spread so that clients do not come back together."""
        longest = min(RETRY_SECONDS_FIRST * 2.0 ** min(number - 1, 20), RETRY_SECONDS_MAX)
        return longest * (0.5 + 0.5 * self._chance())

    async def pause(self, seconds: float) -> None:
        """Sleep."""
        await self._sleep(seconds)

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        bounded: bool = False,
    ) -> AsyncIterator[Response]:
        """An answer whose body is read within the `async with`, whatever its status.

        `bounded` requests are given up after the client's time-out; others only when nothing comes.
        Raises `ServiceUnreachable` when no answer starts.
        """
        if self._closed:
            raise ClientClosed("the client is closed")
        async with contextlib.AsyncExitStack() as stack:
            try:
                builder = self._client.request(method, url).headers(dict(headers or {}))
                if self._is_ours(url):
                    builder = builder.header("x-api-key", self._api_key)
                if body is not None:
                    if "content-type" not in (headers or {}):
                        builder = builder.header("content-type", "application/json")
                    builder = builder.body_bytes(body)
                if bounded:
                    builder = builder.timeout(timedelta(seconds=self._timeout_seconds))
                else:  # what came before a break is not lost with a buffer
                    builder = builder.streamed_read_buffer_limit(0)
                response = await stack.enter_async_context(builder.build_streamed())
            except ClientClosedError:
                raise ClientClosed("the client is closed") from None
            except PyreqwestError as error:
                raise unreachable(error) from error
            except ValueError:  # its text may quote a header
                raise InputError("not a URL or header that can be sent") from None
            yield response

    @contextlib.asynccontextmanager
    async def open_file(self, url: str, *, headers: Mapping[str, str]) -> AsyncIterator[Response]:
        """A file's answer, after up to `REDIRECTS_MAX` redirects; the key stays with the service."""
        url = urljoin(f"{self.base_url}/", url)
        for _ in range(REDIRECTS_MAX + 1):
            if urlsplit(url).scheme not in ("http", "https"):
                raise UnexpectedAnswer("the file's place is no web address")
            async with self.open("GET", url, headers=headers) as response:
                location = response.get_header("location") if 300 <= response.status < 400 else None
                if location is None:
                    yield response
                    return
            url = urljoin(url, location)
        raise UnexpectedAnswer(f"more than {REDIRECTS_MAX} redirects")

    def _is_ours(self, url: str) -> bool:
        parts = urlsplit(url)
        return (parts.scheme, parts.netloc.lower()) == self._origin


class _ComeBackLater(Exception):
    """The same request may be sent again, after the given seconds if any."""

    def __init__(self, error: RushesError, after_seconds: float | None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_seconds = after_seconds


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> Exception:
    """The refusal as it is raised, or wrapped when the same request may be retried."""
    error = error_from(status, headers, body)
    wait = retry_after_seconds(headers)
    if error.retryable and (status in (429, 502, 503, 504) or isinstance(error, IdempotencyInProgress)):
        return _ComeBackLater(error, wait)
    return error


async def refusal_of(response: Response) -> RushesError:
    """The error that an open answer of 400 and above stands for."""
    content = await response.body_reader.read(REFUSAL_BYTES_MAX)
    raw = b"" if content is None else content.to_bytes()
    return error_from(response.status, headers_of(response), raw)


def headers_of(response: Response) -> dict[str, str]:
    """Header names in lower case; those that are not text are left out."""
    found: dict[str, str] = {}
    for name in response.headers:
        with contextlib.suppress(ValueError):
            found[name.lower()] = response.headers[name]
    return found


async def chunks_of(response: Response) -> AsyncIterator[bytes]:
    """The body as it comes. Raises `ServiceUnreachable` when it breaks off."""
    try:
        while (chunk := await response.body_reader.read_chunk()) is not None:
            yield chunk.to_bytes()
    except PyreqwestError as error:
        raise unreachable(error) from error


def unreachable(error: Exception) -> ServiceUnreachable:
    """What went wrong in words of our own: a library's message may repeat the URL and what it holds."""
    if isinstance(error, ServiceUnreachable):
        return error
    name = type(error).__name__.lower()
    if "timeout" in name:
        return ServiceUnreachable("the service did not answer in time")
    if "connect" in name:
        return ServiceUnreachable("the service cannot be connected to")
    return ServiceUnreachable("the connection broke before the answer was complete")


def _query(query: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _encoded(document: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the request cannot be written as JSON: {error}"[:300]) from None


def _let_the_thread_rest() -> None:
    time.sleep(EXIT_SECONDS)
