"""An event loop in a thread of its own, for callers without asyncio."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Self, TypeVar

from rushes.client.errors import ClientClosed

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other threads. May be used by many at once."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; an interrupt of the calling thread cancels it. Raises `ClientClosed`."""
        if self._loop.is_closed():
            coroutine.close()
            raise ClientClosed("the client is closed")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def each(self, iterator: AsyncIterator[T]) -> "Stepped[T]":
        """The asynchronous iterator, stepped from the calling thread."""
        return Stepped(self, iterator)

    def close(self) -> None:
        """End the loop and its thread; again does nothing."""
        if self._loop.is_closed():
            return
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Stepped(Iterator[T]):
    """An asynchronous iterator, stepped from the calling thread."""

    def __init__(self, loop: LoopThread, iterator: AsyncIterator[T]) -> None:
        self._loop = loop
        self._iterator = iterator

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._loop.run(_step(self._iterator))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Let go of what the iterator holds open."""
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            self._loop.run(_await(close()))


async def _step(iterator: AsyncIterator[T]) -> T:
    return await anext(iterator)


async def _await(awaitable: Any) -> None:
    await awaitable
