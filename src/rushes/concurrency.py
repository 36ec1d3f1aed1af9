"""Work beside other work: by several at once, and until a stop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


async def at_once(count: int, things: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do `work` with each of the things, `count` at a time; the first error ends all, and is raised."""
    waiting: Iterator[T] = iter(things)

    async def one_after_the_other() -> None:
        for thing in waiting:
            await work(thing)

    tasks = [asyncio.create_task(one_after_the_other()) for _ in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until_stopped(
    stop: asyncio.Event, work: Coroutine[Any, Any, T], *, grace_seconds: float = 0.0
) -> T | None:
    """What the work gives; None when it was cancelled, `grace_seconds` after `stop` was set.

    Whatever it raises is raised. It has ended when this returns, also when this is cancelled.
    """
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and grace_seconds > 0:
            await asyncio.wait((working,), timeout=grace_seconds)
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.wait((working,))
    return None if working.cancelled() else working.result()
