"""A request to the simulator and its answer, as plain values: no socket, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

FILES_PREFIX: Final = "/files/"
"""Where the files of finished tasks are."""


class Delivery(Enum):
    """What happens to an answer on its way back."""

    WHOLE = "whole"
    """It arrives."""
    CUT = "cut"
    """The head announces the whole body, half of it is sent, the connection is closed."""
    RESET = "reset"
    """Nothing is sent: the connection is reset."""
    REFUSED = "refused"
    """The connection is refused. A listening socket cannot do that, so over real HTTP it is a reset."""


@dataclass(frozen=True, slots=True)
class SimRequest:
    """One complete HTTP request. Header names are lower case; `query` is what follows the `?`."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class SimResponse:
    """One HTTP answer and the way it travels.

    `padding_bytes` zero bytes follow `body` without being held in memory. `delay_seconds` pass before
    the first byte, `stall_seconds` after the first half of the body. With `again_seconds` the same bytes are
    written once more on the connection, that long after.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delivery: Delivery = Delivery.WHOLE
    delay_seconds: float = 0.0
    stall_seconds: float = 0.0
    padding_bytes: int = 0
    again_seconds: float | None = None


RESET = SimResponse(0, delivery=Delivery.RESET)
REFUSED = SimResponse(0, delivery=Delivery.REFUSED)
