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

HEAPS_MAX: Final = 1
"""Heaps of all threads together: of them only one at a time runs Python."""

PART_OF_A_HEAP_MAX_BYTES: Final = 64 * 1024
"""What is larger (frames of videos, whole bodies) is memory of its own, and given back when it is freed.

Left alone, glibc raises this to what is freed, up to 32 MB; such buffers then leave holes in its heaps."""

GIVE_BACK_SECONDS: Final = 60.0

_M_ARENA_MAX: Final = -8
_M_MMAP_THRESHOLD: Final = -3


async def long_lived(work: Coroutine[Any, Any, T], *, every_seconds: float = GIVE_BACK_SECONDS) -> T:
    """Do the work; meanwhile memory that was freed is given back again and again."""
    bound_heaps()
    giving = asyncio.create_task(_keep_giving_back(every_seconds))
    try:
        return await work
    finally:
        giving.cancel()


def bound_heaps() -> None:
    """One heap, and nothing large in it, unless the operator has said so.

    For a process without threads as yet.
    """
    for name, option, value in (
        ("MALLOC_ARENA_MAX", _M_ARENA_MAX, HEAPS_MAX),
        ("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, PART_OF_A_HEAP_MAX_BYTES),
    ):
        if name not in os.environ:
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).mallopt(option, value)


def give_back() -> None:
    """Give back what is free now: some milliseconds, in which other threads run."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def _keep_giving_back(every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        await asyncio.to_thread(give_back)
