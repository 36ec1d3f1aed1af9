"""A brake on guessing: wrong secrets are counted for each address and for all together.

The right secret is always taken, at once and from everywhere: with any other brake, one client could lock out
another. It makes wrong secrets slow and visible. That none is ever guessed depends on their strength.
"""

import ipaddress
from collections import OrderedDict
from functools import lru_cache
from typing import Final

FAILURES_MAX: Final = 5
FAILURES_SECONDS: Final = 60.0
"""Wrong secrets that one address may send in that time before they are slowed down."""

FAILURES_IN_ALL_MAX: Final = 200
"""The same for all addresses together."""

SLOW_SECONDS: Final = 1.0
"""How long the answer to a wrong secret then takes."""

ADDRESSES_MAX: Final = 10_000
"""Addresses whose failures are remembered; the one that failed longest ago is forgotten first."""

_ALL: Final = "all"


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address: who has one such network has all its addresses.

    Any other text stands for itself.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class Brake:
    """Counts wrong secrets of one kind: fixed windows that start with the first failure.

    With `in_all_max` None each address is counted by itself alone.
    """

    def __init__(
        self, *, failures_max: int = FAILURES_MAX, in_all_max: int | None = FAILURES_IN_ALL_MAX
    ) -> None:
        self._failures_max = failures_max
        self._in_all_max = in_all_max
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._all: tuple[float, int] = (0.0, 0)

    def wait_seconds(self, address: str, now: float) -> float:
        """How long it takes until wrong secrets from there are answered at once again; 0 when they are."""
        since, count = self._failures.get(network_of(address), (now, 0))
        waits = [since + FAILURES_SECONDS - now] if count > self._failures_max else []
        if self._in_all_max is not None and self._all[1] > self._in_all_max:
            waits.append(self._all[0] + FAILURES_SECONDS - now)
        return max(0.0, *waits) if waits else 0.0

    def failed(self, address: str, now: float) -> float:
        """A wrong secret came from there; returns `wait_seconds` as it is then."""
        network = network_of(address)
        self._failures[network] = _counted(self._failures.pop(network, (now, 0)), now)
        self._all = _counted(self._all, now)
        while len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)
        return self.wait_seconds(address, now)

    def succeeded(self, address: str) -> None:
        """The right secret came from there."""
        self._failures.pop(network_of(address), None)


def _counted(window: tuple[float, int], now: float) -> tuple[float, int]:
    since, count = window
    return (now, 1) if now - since >= FAILURES_SECONDS else (since, count + 1)
