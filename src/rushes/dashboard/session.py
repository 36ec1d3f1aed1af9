"""Who is signed in: a cookie that only this secret can have signed, and a brake on guessing the secret."""

import base64
import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from typing import Final

SESSION_SECONDS: Final = 12 * 3600
"""How long one is signed in."""

FAILURES_MAX: Final = 5
FAILURES_SECONDS: Final = 60.0
"""Wrong secrets that one address may send in that time; then it waits for the rest of it."""

ADDRESSES_MAX: Final = 10_000
"""Addresses whose failures are remembered; the one that failed longest ago is forgotten first."""


class Sessions:
    """Makes and checks the cookies. They hold no secret: an expiry, random characters and a signature."""

    def __init__(self, secret: str) -> None:
        self._secret = hashlib.sha256(secret.encode()).digest()
        self._key = hmac.digest(secret.encode(), b"rushes dashboard session", "sha256")

    def is_secret(self, given: str) -> bool:
        """Whether it is the operator's secret, in a time that tells nothing of it, not even its length."""
        digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        return hmac.compare_digest(digest, self._secret)

    def new_cookie(self, *, nonce: str, now_ms: int) -> str:
        """A cookie for `SESSION_SECONDS` from now."""
        content = f"{now_ms + SESSION_SECONDS * 1000}.{nonce}"
        return f"{content}.{self._signature(content)}"

    def expiry_ms(self, cookie: str | None, *, now_ms: int) -> int | None:
        """Until when the cookie is good; None when it is not ours, was changed or is too old."""
        content, _, signature = (cookie or "").rpartition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._signature(content).encode()):
            return None
        expires_at_ms = int(content.partition(".")[0])
        return expires_at_ms if now_ms < expires_at_ms else None

    def _signature(self, content: str) -> str:
        digest = hmac.digest(self._key, content.encode("utf-8", "replace"), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Brake:
    """Counts wrong secrets by address: a fixed window that begins with the first failure."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_seconds(self, address: str, now: float) -> float:
        """How long this address has to wait before its next try; 0 when it may try now."""
        since, count = self._failures.get(_network(address), (now, 0))
        return max(0.0, since + FAILURES_SECONDS - now) if count >= FAILURES_MAX else 0.0

    def failed(self, address: str, now: float) -> None:
        """A wrong secret came from there."""
        network = _network(address)
        since, count = self._failures.pop(network, (now, 0))
        if now - since >= FAILURES_SECONDS:
            since, count = now, 0
        self._failures[network] = (since, count + 1)
        while len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """The right secret came from there."""
        self._failures.pop(_network(address), None)


def _network(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address: who has one such network has all its addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
