"""What an operator adds to every request to a provider: headers, and parts of the query."""

from collections.abc import Mapping
from urllib.parse import urlencode

from rushes.providers.http.transport import Response, Transport


def with_headers(headers: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """The headers, in lower case, and those added in the place of their like; one without a value goes."""
    found = {**{name.lower(): value for name, value in headers.items()}, **added}
    return {name: value for name, value in found.items() if value or name not in added}


def with_query(url: str, added: Mapping[str, str]) -> str:
    """The URL with these parts after what its query has."""
    if not added:
        return url
    start, hash_sign, fragment = url.partition("#")
    joint = "" if start.endswith(("?", "&")) else "&" if "?" in start else "?"
    return f"{start}{joint}{urlencode(added)}{hash_sign}{fragment}"


class AddingTransport:
    """A `Transport` that puts `headers` (names in lower case) and `query` into each request."""

    def __init__(self, transport: Transport, *, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        self._transport = transport
        self._headers = headers
        self._query = query

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
        """Send it with what is added. Raises `TransportError`."""
        return await self._transport.request(
            method,
            with_query(url, self._query),
            headers=with_headers(headers, self._headers),
            body=body,
            timeout_seconds=timeout_seconds,
            fresh=fresh,
        )

    async def prepare(self, url: str, count: int) -> int:
        """Open connections; what is added makes no difference to them."""
        return await self._transport.prepare(url, count)

    async def close(self) -> None:
        """Release the connections."""
        await self._transport.close()
