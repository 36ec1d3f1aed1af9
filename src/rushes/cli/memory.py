"""What a process that runs for long does with memory that it has freed: it goes back to the system.

glibc keeps it, in up to eight heaps for each core, wherever a living byte lies above it. A service that holds
no more than an hour ago grew by a third in an hour and a half. Other C libraries are left alone.
"""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

HEAPS_MAX: Final = 2
"""Heaps of all threads together: of them only one at a time runs Python."""

GIVE_BACK_SECONDS: Final = 60.0

_M_ARENA_MAX: Final = -8


async def long_lived(work: Coroutine[Any, Any, T], *, every_seconds: float = GIVE_BACK_SECONDS) -> T:
    """Do the work; meanwhile memory that was freed is given back again and again."""
    bound_heaps()
    giving = asyncio.create_task(_keep_giving_back(every_seconds))
    try:
        return await work
    finally:
        giving.cancel()


def bound_heaps() -> None:
    """Have `HEAPS_MAX`, unless the operator has said how many. For a process without threads as yet."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, HEAPS_MAX)


def give_back() -> None:
    """Give back what is free now: some milliseconds, in which other threads run."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def _keep_giving_back(every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        await asyncio.to_thread(give_back)
