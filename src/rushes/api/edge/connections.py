"""How many connections, unfinished bodies and bytes one address and all of them may hold."""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from rushes.domain.brake import ADDRESSES_MAX, Brake, network_of

CONNECTIONS_MAX: Final = 4_000
CONNECTIONS_PER_ADDRESS_MAX: Final = 256
BODIES_MAX: Final = 512
"""Requests whose body is still coming, from all addresses."""

BODIES_PER_ADDRESS_MAX: Final = 64

SMALL_HEAD_BYTES: Final = 8 * 1024
"""Heads up to this size are always read; larger ones share `LARGE_HEADS_BYTES_MAX`."""

LARGE_HEADS_BYTES_MAX: Final = 16 * 1024 * 1024
BODIES_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of request bodies that are held at the same time: four of the largest batches."""

BODIES_BYTES_PER_ADDRESS_MAX: Final = 32 * 1024 * 1024
"""Of them from one address; a single body may be larger."""

CUTS_PER_ADDRESS_MAX: Final = 20
"""Requests over a limit that one address may send in a minute before its connections are slowed down."""

SLOWED_SECONDS_MIN: Final = 1.0
SLOWED_PER_SECOND: Final = 20
"""How many connections of such an address are accepted for reading in a second."""

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """What an operator sets. The bounds for each address do not count for `trusted_proxies`."""

    connections_max: int = CONNECTIONS_MAX
    connections_per_address_max: int = CONNECTIONS_PER_ADDRESS_MAX
    bodies_per_address_max: int = BODIES_PER_ADDRESS_MAX
    trusted_proxies: Sequence[Network] = ()

    def is_proxy(self, address: str) -> bool:
        """Whether this peer speaks for others, who are named in `X-Forwarded-For`."""
        if not self.trusted_proxies:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.trusted_proxies)


class Places:
    """Counts what the connections of one server hold. Not for several threads."""

    def __init__(self, limits: EdgeLimits, *, connections_max: int) -> None:
        self.limits = limits
        self.connections_max = min(limits.connections_max, connections_max)
        self.abuses = Brake(failures_max=CUTS_PER_ADDRESS_MAX, in_all_max=None)
        """Requests over a limit: their addresses' next connections are read slowly, one after another."""
        self._next_turns: dict[str, float] = {}
        self.waiting: dict[asyncio.Transport, None] = {}
        """Connections without a request under way, the one that waits longest first."""
        self._connections: Counter[str] = Counter()
        self._bodies: Counter[str] = Counter()
        self._bodies_in_all = 0
        self._body_bytes: Counter[str] = Counter()
        self._body_bytes_in_all = 0
        self._large_heads_bytes = 0

    def holder_of(self, address: str) -> str | None:
        """Under which name this peer's share is counted; None for a trusted proxy, which has none."""
        return None if self.limits.is_proxy(address) else network_of(address)

    def connect(self, holder: str | None) -> bool:
        """Count one more connection; False when its address has too many already."""
        if holder is not None and self._connections[holder] >= self.limits.connections_per_address_max:
            return False
        _add(self._connections, holder or "", 1)
        return True

    def disconnect(self, holder: str | None) -> None:
        """Give a connection's place back."""
        _add(self._connections, holder or "", -1)

    def slow_seconds(self, holder: str | None, now: float) -> float:
        """How long a new connection waits to be read: not at all, unless its address passed limits before."""
        if holder is None or self.abuses.wait_seconds(holder, now) <= 0:
            self._next_turns.pop(holder or "", None)
            return 0.0
        turn = max(now + SLOWED_SECONDS_MIN, self._next_turns.get(holder, 0.0) + 1 / SLOWED_PER_SECOND)
        if len(self._next_turns) >= ADDRESSES_MAX:
            self._next_turns.clear()
        self._next_turns[holder] = turn
        return turn - now

    def begin_body(self, holder: str | None) -> bool:
        """Count one more body that is not complete; False when there are too many."""
        bodies_max = BODIES_MAX if holder is None else self.limits.bodies_per_address_max
        if self._bodies[holder or ""] >= bodies_max or self._bodies_in_all >= BODIES_MAX:
            return False
        self._bodies_in_all += 1
        _add(self._bodies, holder or "", 1)
        return True

    def end_body(self, holder: str | None) -> None:
        """It is complete, or was given up."""
        self._bodies_in_all -= 1
        _add(self._bodies, holder or "", -1)

    def hold_head(self, head_bytes: int) -> bool:
        """Count bytes of large heads (negative: given back); False when that is too much."""
        if self._large_heads_bytes + head_bytes > LARGE_HEADS_BYTES_MAX:
            return False
        self._large_heads_bytes += head_bytes
        return True

    def hold_body(self, holder: str | None, body_bytes: int, *, held_bytes: int) -> bool:
        """Count bytes of bodies of unanswered requests; False when that is too much.

        `held_bytes` is what the same connection holds already.
        """
        of_address = self._body_bytes[holder or ""]
        is_single = of_address == held_bytes
        if holder is not None and not is_single and of_address + body_bytes > BODIES_BYTES_PER_ADDRESS_MAX:
            return False
        if self._body_bytes_in_all + body_bytes > BODIES_BYTES_MAX:
            return False
        self._body_bytes_in_all += body_bytes
        _add(self._body_bytes, holder or "", body_bytes)
        return True

    def release_body(self, holder: str | None, body_bytes: int) -> None:
        """The request was answered, or its connection is lost."""
        self._body_bytes_in_all -= body_bytes
        _add(self._body_bytes, holder or "", -body_bytes)


def _add(counter: Counter[str], name: str, count: int) -> None:
    """Count, and forget names that count nothing: addresses come and go."""
    counter[name] += count
    if counter[name] <= 0:
        del counter[name]
