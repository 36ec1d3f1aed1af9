"""Several addresses of one host: a dead one costs a quarter of a second once, and nothing afterwards."""

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import uvloop

from rushes.providers.http.dialing import ATTEMPT_DELAY_SECONDS, WORKED_SECONDS, Dialer

HOST = "several.addresses.test"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    def run_on(test: Callable[[], Awaitable[None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await test()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())

    return run_on


@contextlib.asynccontextmanager
async def living(*addresses: str) -> AsyncIterator[tuple[int, list[str]]]:
    """A port at which these addresses accept, and which of them were connected to."""
    reached: list[str] = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(str(writer.get_extra_info("sockname")[0]))
        writer.close()

    async with contextlib.AsyncExitStack() as stack:
        port = 0
        for address in addresses:
            server = await stack.enter_async_context(await asyncio.start_server(accept, address, port))
            port = server.sockets[0].getsockname()[1]
        yield port, reached


@contextlib.contextmanager
def dead(address: str, port: int) -> Iterator[None]:
    """The address drops what comes: its backlog is full."""
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind((address, port))
        full.listen(0)
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield


async def peer_of(opened: socket.socket) -> str:
    with opened:
        return str(opened.getpeername()[0])


def test_a_dead_first_address_costs_a_quarter_of_a_second_once(
    run: Callable[[Callable[[], Awaitable[None]]], None],
) -> None:
    async def test() -> None:
        async with living("127.0.0.3") as (port, _):
            with dead("127.0.0.2", port):
                dialer, took = Dialer(), []
                for _ in range(3):
                    started = time.monotonic()
                    peer = await dialer.connect(HOST, port, ["127.0.0.2", "127.0.0.3"], peer_of)
                    assert peer == "127.0.0.3"
                    took.append(time.monotonic() - started)
                assert ATTEMPT_DELAY_SECONDS <= took[0] < 1.5
                assert max(took[1:]) < ATTEMPT_DELAY_SECONDS, "it is not asked again"

    run(test)


def test_what_worked_is_forgotten_after_a_while(
    run: Callable[[Callable[[], Awaitable[None]]], None],
) -> None:
    async def test() -> None:
        now = 0.0
        dialer = Dialer(now=lambda: now)
        async with living("127.0.0.3") as (port, _):
            assert await dialer.connect(HOST, port, ["127.0.0.2", "127.0.0.3"], peer_of) == "127.0.0.3"
            async with await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.2", port):
                assert await dialer.connect(HOST, port, ["127.0.0.2", "127.0.0.3"], peer_of) == "127.0.0.3"
                now = WORKED_SECONDS + 1
                assert await dialer.connect(HOST, port, ["127.0.0.2", "127.0.0.3"], peer_of) == "127.0.0.2"

    run(test)


def test_an_address_whose_handshake_fails_is_followed_by_the_next(
    run: Callable[[Callable[[], Awaitable[None]]], None],
) -> None:
    async def finish(opened: socket.socket) -> str:
        peer = await peer_of(opened)
        if peer == "127.0.0.2":
            raise ConnectionResetError(104, "Connection reset by peer")
        return peer

    async def test() -> None:
        async with living("127.0.0.2", "127.0.0.3") as (port, _):
            dialer = Dialer()
            assert await dialer.connect(HOST, port, ["127.0.0.2", "127.0.0.3"], finish) == "127.0.0.3"
            with pytest.raises(ConnectionResetError):
                await dialer.connect(HOST, port, ["127.0.0.2"], finish)

    run(test)


def test_families_take_turns_and_ipv6_without_a_route_costs_nothing(
    run: Callable[[Callable[[], Awaitable[None]]], None],
) -> None:
    async def test() -> None:
        async with living("127.0.0.1") as (port, _):
            addresses = ["2001:db8::1", "2001:db8::2", "127.0.0.1"]
            assert await Dialer().connect(HOST, port, addresses, peer_of) == "127.0.0.1"
        ordered = Dialer()._in_order(HOST, 1, ["::1", "::2", "::3", "127.0.0.1", "127.0.0.2"])
        assert ordered == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]

    run(test)


def test_of_several_attempts_only_the_first_connection_stays_open(
    run: Callable[[Callable[[], Awaitable[None]]], None],
) -> None:
    async def test() -> None:
        async with living("127.0.0.2", "127.0.0.3", "127.0.0.4") as (port, _):
            made = await asyncio.gather(
                *(
                    Dialer().connect(HOST, port, ["127.0.0.2", "127.0.0.3", "127.0.0.4"], peer_of)
                    for _ in range(10)
                )
            )
            assert set(made) == {"127.0.0.2"}

    run(test)


def test_when_no_address_works_the_last_trouble_is_told(
    run: Callable[[Callable[[], Awaitable[None]]], None],
) -> None:
    async def test() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            with pytest.raises(ConnectionRefusedError) as caught:
                await Dialer().connect(HOST, port, ["127.0.0.1", "127.0.0.2"], peer_of)
            assert caught.value.errno == errno.ECONNREFUSED
            with pytest.raises(OSError, match="no address"):
                await Dialer().connect(HOST, port, [], peer_of)

    run(test)
