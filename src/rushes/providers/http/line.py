"""A line: a kept connection with the place that it takes, for one question after the other.

What `HttpTransport.request` does with a coroutine and a future for each answer, a line does in the callback
in which the answer comes: the next question leaves on the same connection at once.
"""

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from rushes.providers.http.connection import Answer, Connection
from rushes.providers.http.places import Places

TURN_QUESTIONS_MAX: Final = 64
"""After this many questions a line ends when another poll waits for a place; for a submit it ends at once."""


class Line:
    """Asks over one connection until it is ended; then the connection and its place are free for others."""

    __slots__ = ("_asked", "_connection", "_end", "_is_ended", "_places")

    def __init__(self, connection: Connection, places: Places, *, end: Callable[[Connection], None]) -> None:
        self._connection = connection
        self._places = places
        self._end = end
        self._asked = 0
        self._is_ended = False

    def ask(self, question: bytes, answer: Answer, *, until: float) -> None:
        """Send; `answer` gets the response or a `TransportError`, from within the event loop's callback."""
        self._asked += 1
        self._connection.ask(question, answer, until=until)

    @property
    def was_good(self) -> bool:
        """Whether an earlier question was answered over it."""
        return self._asked > 1

    def may_go_on(self) -> bool:
        """Whether another question may follow: the connection is good, and it is nobody else's turn."""
        if not self._connection.may_be_reused():
            return False
        is_long = self._asked >= TURN_QUESTIONS_MAX
        return not self._places.are_waited_for(by_submits_alone=not is_long)

    def end(self) -> None:
        """Give connection and place back."""
        if not self._is_ended:
            self._is_ended = True
            self._end(self._connection)

    def cut(self, reason: str) -> None:
        """End the connection with what is under way on it, and give the place back."""
        if not self._is_ended:
            self._connection.fail(reason)
            self.end()


@runtime_checkable
class HasLines(Protocol):
    """A transport that gives lines."""

    @property
    def lines_max(self) -> int:
        """How many there can be at once: the rest of the places is for others."""
        ...

    def line(self, url: str) -> Line | None:
        """One to the URL's host; None while there is no unused connection or no place, or at the start."""
        ...
