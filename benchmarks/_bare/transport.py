"""HTTP for providers: one request, one answer, and the truth about how far a failed request got."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

import msgspec

RESPONSE_BYTES_MAX: Final = 1024 * 1024
"""The largest answer that is read; a provider's answers have about a kilobyte."""

RETRY_AFTER_SECONDS_MAX: Final = 3600.0
"""The longest wait that a server can ask for; a longer one is cut to this."""


class Response(msgspec.Struct, frozen=True):
    """A complete answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TransportError(Exception):
    """No complete answer came.

    `may_have_been_received` is False only when the request certainly never left; when in doubt it is
    True, because a wrong False would buy a video twice.
    """

    def __init__(self, reason: str, *, may_have_been_received: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_have_been_received = may_have_been_received


class Transport(Protocol):
    """Sends one request; raises `TransportError` and nothing else for what the network does."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
    ) -> Response:
        """The whole answer of any HTTP status; redirects are not followed; the body is bounded."""
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...


def retry_after_seconds(response: Response) -> float | None:
    """The wait that the answer's `Retry-After` asks for, 0 to `RETRY_AFTER_SECONDS_MAX`; None without one.

    A date is measured against the answer's own `Date` header, never against the local clock; without one
    it says nothing. Both forms: RFC 9110, section 10.2.3.
    """
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), RETRY_AFTER_SECONDS_MAX)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):  # not a date, or only one of the two has a time zone
        return None
    return min(max(wait.total_seconds(), 0.0), RETRY_AFTER_SECONDS_MAX)
