"""How long what a database is asked may take."""

import contextlib
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

TRANSACTION_SECONDS_MAX: Final = 20.0
"""How long a transaction may take on PostgreSQL, from the wait for a thread to the answer to its COMMIT."""

LONG_TRANSACTION_SECONDS_MAX: Final = 3600.0
"""The same for migrations, audits and other looks at everything."""

ANSWER_SECONDS: Final = 2.0
"""How much later than the server the client gives up: a server that can still answer says why."""

CONNECT_SECONDS_MAX: Final = 10.0
"""Name lookup aside (the resolver has its own bound), how long a new connection may take."""

POOL_SECONDS_MAX: Final = 5.0
"""How long a transaction waits for a connection of the pool."""

PING_SECONDS: Final = 1.0
"""After so long in the pool a connection is asked whether its server is still there, before it is used."""

KEEPALIVE_IDLE_SECONDS: Final = 10
KEEPALIVE_INTERVAL_SECONDS: Final = 5
KEEPALIVES_MAX: Final = 3
"""An idle connection whose peer has vanished is found out after 10 + 3 × 5 s."""

LEASES_BY_ITS_CLOCK: Final = "rushes_leases_by_its_clock"
"""The execution option of a database whose leases go by its own clock."""

CLOSE_SECONDS_MAX: Final = 2.0
"""How long closing a database waits for transactions and connects under way."""


@dataclass(slots=True)
class Closing:
    """The monotonic time at which everything that is asked of a database must have ended."""

    at: float = math.inf


_deadline: ContextVar[tuple[float, Closing] | None] = ContextVar("rushes_database_deadline", default=None)


@contextlib.contextmanager
def until(deadline: float, closing: Closing) -> Iterator[None]:
    """What this thread asks of PostgreSQL ends at `deadline` (monotonic), or when the database is closed."""
    token = _deadline.set((deadline, closing))
    try:
        yield
    finally:
        _deadline.reset(token)


def is_over() -> bool:
    """Whether the transaction under way must have ended by now."""
    deadline = deadline_of_this_thread()
    return deadline is not None and time.monotonic() >= deadline


def deadline_of_this_thread() -> float | None:
    """The monotonic time at which the transaction under way must have ended; None outside of one."""
    found = _deadline.get()
    return None if found is None else min(found[0], found[1].at)
