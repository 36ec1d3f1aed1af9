"""HTTP for providers: one request, one answer, and the truth about how far a failed request got."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

import msgspec

RESPONSE_BYTES_MAX: Final = 1024 * 1024
"""The largest answer that is read; a provider's answers have about a kilobyte."""

RETRY_AFTER_SECONDS_MAX: Final = 3600.0
"""The longest wait that a server can ask for; a longer one is cut to this."""


TOO_LARGE: Final = "an answer of more than"
"""How the reason starts of an answer that is not read for its size."""

_answer_bytes_max: ContextVar[int] = ContextVar("rushes_answer_bytes_max", default=RESPONSE_BYTES_MAX)


@contextlib.contextmanager
def answers_up_to(bytes_max: int) -> Iterator[None]:
    """Answers to what is asked within may have up to `bytes_max`: for those that hold a file."""
    token = _answer_bytes_max.set(bytes_max)
    try:
        yield
    finally:
        _answer_bytes_max.reset(token)


def answer_bytes_max() -> int:
    """How large the answer may be to what is asked now."""
    return _answer_bytes_max.get()


def _nothing() -> None:
    return


class Response(msgspec.Struct, frozen=True):
    """A complete answer. Header names are lower case.

    `is_first` says that nothing was asked over its connection before: whatever a server writes late, or
    twice, is no answer to an earlier request there. `drop_connection()` is for an answer to another
    question: it closes the connection and whatever else arrives on it. Call it before the next `await`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_first: bool = True
    drop_connection: Callable[[], None] = _nothing


class TransportError(Exception):
    """No complete answer came.

    `may_have_been_received` is False only when the request certainly never left; when in doubt it is
    True, because a wrong False would buy a video twice.
    """

    def __init__(self, reason: str, *, may_have_been_received: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_have_been_received = may_have_been_received


class Departure:
    """One submission on its way out. The transport asks `may_leave()` just before it writes the first byte.

    The time between a decision to send and the writing may be long: a name lookup, a handshake, a wait for a
    free connection, or a process that was stopped in between while others took over what it was to send.
    """

    __slots__ = ("_may_leave", "has_left", "is_in_transport")

    def __init__(self, may_leave: Callable[[], bool]) -> None:
        self._may_leave = may_leave
        self.is_in_transport = False
        self.has_left = False

    @property
    def is_waiting(self) -> bool:
        """Whether the transport has it and certainly wrote nothing of it yet."""
        return self.is_in_transport and not self.has_left

    def leave(self) -> bool:
        """Whether it may be written now; from then on it counts as sent."""
        if not self._may_leave():
            return False
        self.has_left = True
        return True


_departure: ContextVar[Departure | None] = ContextVar("rushes_departure", default=None)


@contextlib.contextmanager
def departing(departure: Departure) -> Iterator[None]:
    """What is sent within is this submission, whichever provider's code lies between."""
    token = _departure.set(departure)
    try:
        yield
    finally:
        _departure.reset(token)


def departure_under_way() -> Departure | None:
    """The submission that the code which asks is sending; None for everything else."""
    departure = _departure.get()
    if departure is not None:
        departure.is_in_transport = True
    return departure


HELD_BACK: Final = "held back: the worker is stopping, or its lease may have run out"


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
        fresh: bool = False,
    ) -> Response:
        """The whole answer of any HTTP status; redirects are not followed; the body is bounded.

        `fresh` asks over a connection that carried no request before, so that the answer to one cannot be
        taken for the answer to this. Submits need it: their answer names an id that nobody knows yet.
        """
        ...

    async def prepare(self, url: str, count: int) -> int:
        """Open connections to the URL's host for up to `count` submits; how many may be sent now.

        Those are sent without a wait for a connection. It is 0 while none is ready. What cannot be opened
        counts as 1 submit, which fails with the reason.
        """
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
