"""Work until a stop: its result, its errors, its end."""

import asyncio
from typing import Any

import pytest

from rushes.concurrency import until_stopped


def test_work_that_ends_first_gives_its_result() -> None:
    async def scenario() -> int | None:
        return await until_stopped(asyncio.Event(), asyncio.sleep(0, 7))

    assert asyncio.run(scenario()) == 7


def test_what_the_work_raises_is_raised() -> None:
    async def broken() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError):
        asyncio.run(until_stopped(asyncio.Event(), broken()))


@pytest.mark.parametrize("grace_seconds", [0.0, 0.05])
def test_a_stop_ends_the_work_and_waits_for_its_end(grace_seconds: float) -> None:
    async def scenario() -> tuple[Any, list[str]]:
        seen: list[str] = []

        async def work() -> int:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                seen.append("ended")
            return 1

        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.02, stop.set)
        return await until_stopped(stop, work(), grace_seconds=grace_seconds), seen

    assert asyncio.run(scenario()) == (None, ["ended"])


def test_work_that_ends_within_its_grace_gives_its_result() -> None:
    async def scenario() -> int | None:
        stop = asyncio.Event()
        stop.set()
        return await until_stopped(stop, asyncio.sleep(0.01, 7), grace_seconds=5.0)

    assert asyncio.run(scenario()) == 7


def test_its_own_cancellation_ends_the_work_too() -> None:
    async def scenario() -> bool:
        ended = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        waiting = asyncio.create_task(until_stopped(asyncio.Event(), work()))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return waiting.cancelled() and ended.is_set()

    assert asyncio.run(scenario())
