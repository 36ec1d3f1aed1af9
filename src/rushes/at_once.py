"""The same work by several at once, each taking the next thing from what they share."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

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
