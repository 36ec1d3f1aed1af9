"""Through a proxy: which one, what it is asked, and what is known of a request that fails; real sockets."""

import asyncio
import base64
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from rushes.providers.http.client import HttpTransport
from rushes.providers.http.lookups import Lookups
from rushes.providers.http.proxies import HEAD_BYTES_MAX, Proxies, Proxy, read_proxies, read_proxy
from rushes.providers.http.transport import TransportError
from rushes.providers.http.way_out import WayOut
from tests.providers.local_http import AUTHORITY, HANG_SECONDS, Exchange, http1_server, reset, server_tls

NAME = "provider.example"
SECRET = "canary-proxy-91c"


# --- which proxy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_direct"),
    [
        ("", "api.example", False),
        ("*", "api.example", True),
        ("api.example", "api.example", True),
        ("api.example", "API.Example.", True),
        ("api.example", "a.api.example", True),
        (".example", "api.example", True),
        ("*.example", "api.example", True),
        ("example", "notexample", False),
        ("pi.example", "api.example", False),
        ("other.example, api.example", "api.example", True),
        ("other.example api.example", "api.example", True),
        ("api.example:443", "api.example", True),
        ("api.example:8443", "api.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("[2001:db8::1]:443", "2001:db8::1", True),
        ("2001:db8::/32", "[2001:db8::1]", True),
        ("10.0.0.0/8", "ten.example", False),
        ("", "localhost", True),
        ("", "a.localhost", True),
        ("", "127.0.0.9", True),
        ("", "::1", True),
        (",, ,", "api.example", False),
    ],
)
def test_hosts_that_are_reached_directly(no_proxy: str, host: str, is_direct: bool) -> None:
    proxies = read_proxies({"RUSHES_PROXY": "http://proxy.example:3128", "NO_PROXY": no_proxy})
    assert (proxies.of(host, 443, tls=True) is None) is is_direct


def test_a_proxys_name_and_password_may_be_quoted() -> None:
    proxy = read_proxy("http://us%40er:p%3Aw%2F@proxy.example:3128/")
    assert (proxy.host, proxy.port) == ("proxy.example", 3128)
    assert proxy.authorization == "Basic " + base64.b64encode(b"us@er:p:w/").decode()
    assert read_proxy("[::1]:3128") == Proxy("::1", 3128)
    assert str(Proxy("::1", 3128)) == "[::1]:3128"


# --- through it -------------------------------------------------------------------------------------------


@dataclass
class SeenByProxy:
    """What a proxy was asked, and where names lead that it knows."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    leads_to: int = 0


Behave = Callable[[SeenByProxy, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def works(proxy: SeenByProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", proxy.leads_to)
    writer.write(b"HTTP/1.1 200 Connection established\r\nvia: 1.1 test\r\n\r\n")
    await passed_on(reader, writer, far_reader, far_writer)


async def passed_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    async def one_way(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    try:
        await asyncio.gather(one_way(reader, far_writer), one_way(far_reader, writer))
    finally:
        far_writer.transport.abort()
        writer.transport.abort()


@contextlib.asynccontextmanager
async def proxying(behave: Behave, leads_to: int = 0) -> AsyncIterator[SeenByProxy]:
    seen = SeenByProxy(leads_to=leads_to)
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                seen.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await behave(seen, reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def no_lookup(host: str, _port: int) -> Sequence[str]:
    raise AssertionError(f"{host} was looked up")


@contextlib.asynccontextmanager
async def transport_through(
    proxy: SeenByProxy, *, userinfo: str = "", lookup: Callable[[str, int], Sequence[str]] = no_lookup
) -> AsyncIterator[HttpTransport]:
    way_out = WayOut(
        lookups=Lookups(look_up=lookup),
        proxies=read_proxies({"RUSHES_PROXY": f"http://{userinfo}127.0.0.1:{proxy.port}"}),
    )
    client = HttpTransport(
        connect_timeout_seconds=1.0, root_certificates_pem=AUTHORITY.cert_pem.bytes(), way_out=way_out
    )
    try:
        yield client
    finally:
        await client.close()


async def post(client: HttpTransport, url: str) -> bytes:
    headers = {"authorization": "Bearer the-providers-key"}
    response = await client.request("POST", url, headers=headers, body=b"{}", timeout_seconds=5)
    return response.body


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    def run_on(test: Coroutine[Any, Any, None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await test

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())

    return run_on


Run = Callable[[Coroutine[Any, Any, None]], None]


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_a_request_goes_through_a_tunnel_tls_from_end_to_end_and_the_name_is_not_looked_up(run: Run) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with (
            http1_server(answer, tls=server_tls(NAME)) as server,
            proxying(works, port_of(server.url)) as proxy,
            transport_through(proxy, userinfo=f"user:{SECRET}@") as client,
        ):
            assert await post(client, f"https://{NAME}/v1") == b"ok"
            assert await post(client, f"https://{NAME}/v1") == b"ok"
            assert len(proxy.heads) == 1, "the tunnel is kept"
            lines = proxy.heads[0].decode().split("\r\n")
            assert lines[:2] == [f"CONNECT {NAME}:443 HTTP/1.1", f"host: {NAME}:443"]
            pair = base64.b64encode(f"user:{SECRET}".encode()).decode()
            assert f"proxy-authorization: Basic {pair}" in lines
            assert "the-providers-key" not in proxy.heads[0].decode()
            assert server.requests[0].headers["host"] == NAME
            assert "proxy-authorization" not in server.requests[0].headers
            # the port is carried as configured
            with pytest.raises(TransportError):
                await post(client, f"https://other.{NAME}:8443/")
            assert proxy.heads[1].startswith(f"CONNECT other.{NAME}:8443 ".encode())

    run(test())


def test_plain_http_goes_through_a_tunnel_too(run: Run) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with (
            http1_server(answer) as server,
            proxying(works, port_of(server.url)) as proxy,
            transport_through(proxy) as client,
        ):
            assert await post(client, f"http://{NAME}/v1") == b"ok"
            assert proxy.heads[0].startswith(f"CONNECT {NAME}:80 ".encode())

    run(test())


def test_this_machine_is_reached_directly(run: Run) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with (
            http1_server(answer) as server,
            proxying(works) as proxy,
            transport_through(proxy) as client,
        ):
            assert await post(client, server.url) == b"ok"
            assert proxy.heads == []

    run(test())


def answers(data: bytes) -> Behave:
    async def behave(_proxy: SeenByProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await reader.read(1)

    return behave


async def stalls(_proxy: SeenByProxy, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def closes(_proxy: SeenByProxy, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


async def resets(_proxy: SeenByProxy, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def closes_in_the_handshake(
    _proxy: SeenByProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await reader.read(100)


async def stalls_in_the_handshake(
    _proxy: SeenByProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while await reader.read(4096):
        pass


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        pytest.param(answers(b"HTTP/1.1 407 Auth\r\n\r\n"), "HTTP 407: it wants another user", id="407"),
        pytest.param(answers(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"), "HTTP 403", id="403"),
        pytest.param(answers(b"HTTP/1.0 502 Bad Gateway\r\n\r\n"), "HTTP 502", id="502"),
        pytest.param(answers(b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n"), "HTTP 302", id="302"),
        pytest.param(answers(b"SSH-2.0-x\r\n\r\n"), "no HTTP answer", id="garbage"),
        pytest.param(answers(b"HTTP/1.1 200 OK\r\n\r\nmore"), "more than an answer", id="too much"),
        pytest.param(answers(b"HTTP/1.1 200 " + b"x" * (HEAD_BYTES_MAX + 5000)), "too long", id="endless"),
        pytest.param(answers(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), "too long", id="endless interim"),
        pytest.param(closes, "closed the connection", id="closes"),
        pytest.param(resets, "", id="resets"),
        pytest.param(stalls, "timed out", id="stalls"),
        pytest.param(closes_in_the_handshake, "", id="closes in the handshake"),
        pytest.param(stalls_in_the_handshake, "timed out", id="stalls in the handshake"),
    ],
)
def test_what_fails_before_the_tunnel_is_there_was_never_sent(run: Run, behave: Behave, reason: str) -> None:
    async def test() -> None:
        async with (
            proxying(behave) as proxy,
            transport_through(proxy, userinfo=f"user:{SECRET}@") as client,
        ):
            with pytest.raises(TransportError) as caught:
                await post(client, f"https://{NAME}/v1")
            assert not caught.value.may_have_been_received
            assert reason in caught.value.reason
            assert SECRET not in caught.value.reason
            assert base64.b64encode(f"user:{SECRET}".encode()).decode() not in repr(caught.value)

    run(test())


def test_an_interim_answer_of_the_proxy_is_passed_over(run: Run) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def slowly(proxy: SeenByProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2")
        await asyncio.sleep(0.01)
        far = await asyncio.open_connection("127.0.0.1", proxy.leads_to)
        writer.write(b"01 Created\r\nx-a: b\r\n\r\n")
        await passed_on(reader, writer, *far)

    async def test() -> None:
        async with (
            http1_server(answer, tls=server_tls(NAME)) as server,
            proxying(slowly, port_of(server.url)) as proxy,
            transport_through(proxy) as client,
        ):
            assert await post(client, f"https://{NAME}/v1") == b"ok"

    run(test())


def test_a_proxy_that_cannot_be_reached_is_named(run: Run) -> None:
    async def test() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            seen = SeenByProxy(port=unused.getsockname()[1])
            async with transport_through(seen) as client:
                with pytest.raises(TransportError) as caught:
                    await post(client, f"https://{NAME}/v1")
            assert not caught.value.may_have_been_received
            assert f"the proxy 127.0.0.1:{seen.port} cannot be reached" in caught.value.reason

    run(test())


def test_what_fails_once_the_request_was_written_may_have_been_received(run: Run) -> None:
    has_begun = asyncio.Event()

    async def hangs(_exchange: Exchange) -> None:
        has_begun.set()
        await asyncio.sleep(HANG_SECONDS)

    async def cuts(proxy: SeenByProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", proxy.leads_to)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        passing = asyncio.create_task(passed_on(reader, writer, far_reader, far_writer))
        await has_begun.wait()
        passing.cancel()
        writer.transport.abort()
        far_writer.close()

    async def test() -> None:
        async with (
            http1_server(hangs, tls=server_tls(NAME)) as server,
            proxying(cuts, port_of(server.url)) as proxy,
            transport_through(proxy) as client,
        ):
            with pytest.raises(TransportError) as caught:
                await post(client, f"https://{NAME}/v1")
            assert caught.value.may_have_been_received
            assert len(server.requests) == 1

    run(test())


def test_a_certificate_of_the_proxys_own_is_refused(run: Run) -> None:
    """A proxy that would look into the tunnel has no certificate for the provider's name."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with (
            http1_server(answer, tls=server_tls("proxy.example")) as server,
            proxying(works, port_of(server.url)) as proxy,
            transport_through(proxy) as client,
        ):
            with pytest.raises(TransportError, match="certificate") as caught:
                await post(client, f"https://{NAME}/v1")
            assert not caught.value.may_have_been_received
            assert server.requests == []

    run(test())


def test_the_proxys_own_name_is_looked_up(run: Run) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def test() -> None:
        asked: list[str] = []

        def lookup(host: str, _port: int) -> Sequence[str]:
            asked.append(host)
            return ["127.0.0.1"]

        async with (
            http1_server(answer, tls=server_tls(NAME)) as server,
            proxying(works, port_of(server.url)) as proxy,
        ):
            way_out = WayOut(
                lookups=Lookups(look_up=lookup), proxies=Proxies(Proxy("proxy.test", proxy.port))
            )
            client = HttpTransport(root_certificates_pem=AUTHORITY.cert_pem.bytes(), way_out=way_out)
            assert await post(client, f"https://{NAME}/v1") == b"ok"
            await client.close()
        assert asked == ["proxy.test"]

    run(test())
