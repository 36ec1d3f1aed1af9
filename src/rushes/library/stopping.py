"""Looks at the database that end with a stop: an answer that does not come is not waited for."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from rushes.domain.errors import StoreError

LAST_LOOK_SECONDS: Final = 3.0
"""How long the last look may take; what was seen before it counts when it brings nothing."""

T = TypeVar("T")


async def unless_stopped(look: Coroutine[Any, Any, T], stop: asyncio.Event) -> T | None:
    """What the look finds; None when `stop` is set before it has ended, which cancels it."""
    looking, stopping = asyncio.create_task(look), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return looking.result() if looking.done() else None
    finally:
        looking.cancel()
        stopping.cancel()


async def last_look(look: Coroutine[Any, Any, T], seen: T) -> T:
    """What the look finds; `seen` when it fails or takes longer than `LAST_LOOK_SECONDS`."""
    try:
        async with asyncio.timeout(LAST_LOOK_SECONDS):
            return await look
    except (StoreError, TimeoutError):
        return seen
