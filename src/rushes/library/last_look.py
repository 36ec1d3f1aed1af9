"""The last look at a batch as a command or `Rushes.run` ends: a silent database holds neither up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from rushes.domain.errors import StoreError

LAST_LOOK_SECONDS: Final = 3.0
"""How long the last look may take; what was seen before it counts when it brings nothing."""

T = TypeVar("T")


async def last_look(look: Coroutine[Any, Any, T], seen: T) -> T:
    """What the look finds; `seen` when it fails or takes longer than `LAST_LOOK_SECONDS`."""
    try:
        async with asyncio.timeout(LAST_LOOK_SECONDS):
            return await look
    except (StoreError, TimeoutError):
        return seen
