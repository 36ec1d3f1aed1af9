"""Look-ups on threads of their own: bounded for each asker, kept for a moment, with the last good ones."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest
import uvloop

from rushes.providers.http.lookups import (
    FRESH_SECONDS,
    LAST_GOOD_SECONDS_MAX,
    NEGATIVE_SECONDS,
    THREADS_PER_ASKER_MAX,
    Lookups,
)


class NameServer:
    """Answers, refuses, or says nothing until it is released; counts what it was asked."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.errors: dict[str, Exception] = {}
        self.answers: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.released = threading.Event()
        self.waiting = 0
        self.waiting_max = 0

    def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked[host] += 1
        if host in self.silent:
            self.waiting += 1
            self.waiting_max = max(self.waiting_max, self.waiting)
            self.released.wait(30)
            self.waiting -= 1
        if host in self.errors:
            raise self.errors[host]
        return self.answers.get(host, ["192.0.2.1"])


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.released.set()


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


def test_an_address_needs_no_look_up(server: NameServer) -> None:
    async def test() -> None:
        lookups = Lookups(look_up=server)
        assert list(await lookups.addresses("192.0.2.7", 1)) == ["192.0.2.7"]
        assert list(await lookups.addresses("::1", 1)) == ["::1"]
        assert not server.asked

    run(test)


def test_an_answer_is_kept_for_a_moment_and_asked_once_by_many(server: NameServer) -> None:
    async def test() -> None:
        clock = Clock()
        lookups = Lookups(look_up=server, now=clock)
        server.answers["a.test"] = ["192.0.2.1", "192.0.2.1", "192.0.2.2"]
        found = await asyncio.gather(*(lookups.addresses("a.test", 443) for _ in range(20)))
        assert all(list(each) == ["192.0.2.1", "192.0.2.2"] for each in found)
        assert server.asked["a.test"] == 1
        clock.seconds += FRESH_SECONDS + 1
        await lookups.addresses("a.test", 443)
        assert server.asked["a.test"] == 2

    run(test)


def test_a_failure_is_kept_for_a_moment(server: NameServer) -> None:
    async def test() -> None:
        clock = Clock()
        lookups = Lookups(look_up=server, now=clock)
        server.errors["a.test"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        for _ in range(3):
            with pytest.raises(OSError, match="not known"):
                await lookups.addresses("a.test", 443)
        assert server.asked["a.test"] == 1
        clock.seconds += NEGATIVE_SECONDS + 1
        del server.errors["a.test"]
        assert await lookups.addresses("a.test", 443)

    run(test)


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), OSError("no socket"), None]
)
def test_the_last_good_addresses_are_used_while_a_look_up_fails(
    server: NameServer, error: Exception | None
) -> None:
    """None stands for a name server that says nothing."""

    async def test() -> None:
        clock = Clock()
        lookups = Lookups(look_up=server, now=clock, seconds_max=0.2)
        good = await lookups.addresses("a.test", 443)
        if error is None:
            server.silent.add("a.test")
        else:
            server.errors["a.test"] = error
        clock.seconds += LAST_GOOD_SECONDS_MAX - 1
        assert await lookups.addresses("a.test", 443) == good
        clock.seconds += 2
        with pytest.raises(OSError, match=r"\w"):
            await lookups.addresses("a.test", 443)

    run(test)


def test_a_name_that_is_gone_has_no_last_good_address(server: NameServer) -> None:
    async def test() -> None:
        clock = Clock()
        lookups = Lookups(look_up=server, now=clock)
        await lookups.addresses("a.test", 443)
        server.errors["a.test"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        clock.seconds += FRESH_SECONDS + 1
        with pytest.raises(OSError, match="not known"):
            await lookups.addresses("a.test", 443)

    run(test)


def test_a_silent_name_server_costs_an_asker_its_own_threads_only(server: NameServer) -> None:
    async def test() -> None:
        lookups = Lookups(look_up=server, seconds_max=0.5)
        bad = [f"bad-{n}.test" for n in range(20)]
        server.silent.update(bad)
        hostile = [
            asyncio.create_task(lookups.addresses(bad[n], 443, asker=f"tenant-{n % 4}")) for n in range(20)
        ]
        await asyncio.sleep(0.1)
        assert server.waiting_max == 4 * THREADS_PER_ASKER_MAX
        started = time.monotonic()
        assert await lookups.addresses("good.test", 443, asker="another")
        assert time.monotonic() - started < 0.4, "nobody else's look-up was waited for"
        for each in hostile:
            with pytest.raises(TimeoutError):
                await each

    run(test)


def test_a_second_question_about_a_silent_name_fails_at_once(server: NameServer) -> None:
    async def test() -> None:
        clock = Clock()
        lookups = Lookups(look_up=server, seconds_max=0.2, now=clock)
        server.silent.add("bad.test")
        with pytest.raises(TimeoutError):
            await lookups.addresses("bad.test", 443)
        clock.seconds += 1
        async with asyncio.timeout(0.1):
            with pytest.raises(TimeoutError, match="did not answer"):
                await lookups.addresses("bad.test", 443)
        assert server.asked["bad.test"] == 1
        server.released.set()  # the answer that comes late is taken all the same
        while server.waiting:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert await lookups.addresses("bad.test", 443)

    run(test)


def test_slow_askers_leave_half_of_the_threads_to_the_others(server: NameServer) -> None:
    async def test() -> None:
        lookups = Lookups(look_up=server, threads_max=8, seconds_max=0.2)
        server.silent.update(f"bad-{n}-{m}.test" for n in range(10) for m in range(10))

        async def hostile(asker: int, name: int) -> None:
            with pytest.raises(TimeoutError):
                await lookups.addresses(f"bad-{asker}-{name}.test", 443, asker=f"tenant-{asker}")

        await asyncio.gather(*(hostile(n, 0) for n in range(4)))  # now these are known to be slow
        await asyncio.gather(*(hostile(n, m) for n in range(4) for m in range(1, 5)))
        assert server.waiting_max <= 4
        assert await lookups.addresses("good.test", 443, asker="another")

    run(test)


def test_an_asker_who_is_cancelled_leaves_the_answer_to_the_others(server: NameServer) -> None:
    async def test() -> None:
        lookups = Lookups(look_up=server)
        server.silent.add("a.test")
        asks = [asyncio.create_task(lookups.addresses("a.test", 443)) for _ in range(2)]
        await asyncio.sleep(0.05)
        asks[0].cancel()
        await asyncio.sleep(0)
        server.released.set()
        assert await asks[1]
        assert asks[0].cancelled()

    run(test)


def test_lookups_go_on_in_another_event_loop_while_one_is_under_way(server: NameServer) -> None:
    lookups = Lookups(look_up=server, seconds_max=0.1)
    server.silent.add("a.test")

    async def first() -> None:
        with pytest.raises(TimeoutError):
            await lookups.addresses("a.test", 443)

    async def second() -> None:
        server.released.set()
        while True:
            try:
                assert await lookups.addresses("a.test", 443)
                return
            except TimeoutError:
                await asyncio.sleep(0.05)

    run(first)
    run(second)
