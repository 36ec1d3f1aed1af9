"""Rate limits: requests a minute for each key, counted in the database for all processes together.

A process takes requests from the database's count in small lots and spends them from memory, so that most
requests cost no write. The limit is never passed, however many processes there are; what a process took
and did not need is lost at the end of the minute, which is at most a lot per process.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rushes.api.edge.problems import Refusal
from rushes.store import keys
from rushes.store.database import Database
from rushes.store.keys import KeyOwner

WINDOW_SECONDS: Final = 60
LOTS_PER_WINDOW: Final = 60
"""How many lots a key's minute is taken in: a limit of 600 is taken ten requests at a time."""

KEYS_REMEMBERED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class RateState:
    """How a key stands after a request: what the `RateLimit` headers say."""

    limit: int
    remaining: int
    reset_seconds: int

    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers)."""
        return {
            "ratelimit-policy": f'"default";q={self.limit};w={WINDOW_SECONDS}',
            "ratelimit": f'"default";r={self.remaining};t={self.reset_seconds}',
        }


class _Allowance:
    """What this process still has of a key's minute."""

    __slots__ = ("exhausted", "left", "lock", "used", "window_start_ms")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.window_start_ms = 0
        self.left = 0
        self.used = 0
        self.exhausted = False


class RateLimits:
    """Admits requests or refuses them with 429. `now_ms()` is the wall clock in epoch milliseconds."""

    def __init__(self, database: Database, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms
        self._allowances: OrderedDict[int, _Allowance] = OrderedDict()

    async def admit(self, owner: KeyOwner) -> RateState | None:
        """Count one request of this key; None when the key has no limit. Raises `Refusal` (429)."""
        limit = owner.rate_limit_per_min
        if limit is None:
            return None
        allowance = self._allowance(owner.key_id)
        window_ms = WINDOW_SECONDS * 1000
        now_ms = self._now_ms()
        if not (allowance.left > 0 and allowance.window_start_ms == now_ms - now_ms % window_ms):
            async with allowance.lock:
                await self._refill(owner.key_id, allowance, limit)
        now_ms = self._now_ms()
        reset_seconds = max(1, -(-(allowance.window_start_ms + window_ms - now_ms) // 1000))
        if allowance.left <= 0:
            state = RateState(limit, 0, reset_seconds)
            raise Refusal(
                429,
                "RATE_LIMIT_EXCEEDED",
                f"more than {limit} requests in a minute; wait {reset_seconds} s",
                headers={**state.headers(), "retry-after": str(reset_seconds)},
                limit=limit,
                retry_after_seconds=reset_seconds,
            )
        allowance.left -= 1
        return RateState(limit, max(0, limit - allowance.used) + allowance.left, reset_seconds)

    async def _refill(self, key_id: int, allowance: _Allowance, limit: int) -> None:
        """Take the next lot, unless another request has just done it or there is none left."""
        now_ms = self._now_ms()
        window_start_ms = now_ms - now_ms % (WINDOW_SECONDS * 1000)
        if allowance.window_start_ms >= window_start_ms and (allowance.left > 0 or allowance.exhausted):
            return
        granted = await self._database.transact(
            keys.take_requests,
            key_id,
            wanted=max(1, limit // LOTS_PER_WINDOW),
            limit=limit,
            window_start_ms=window_start_ms,
        )
        allowance.window_start_ms = granted.window_start_ms
        allowance.left = granted.count
        allowance.used = granted.used
        allowance.exhausted = granted.count == 0

    def _allowance(self, key_id: int) -> _Allowance:
        found = self._allowances.get(key_id)
        if found is None:
            found = self._allowances[key_id] = _Allowance()
            if len(self._allowances) > KEYS_REMEMBERED_MAX:
                self._allowances.popitem(last=False)
        return found
