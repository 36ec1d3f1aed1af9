"""Requests to URLs of others on real sockets: kept connections, broken answers, what proxies are asked."""

import asyncio
import gc
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
import uvloop

from rushes.files.guard.addresses import UrlRefused
from rushes.files.guard.client import GuardedHttp, NoAnswerFromUrl, TrustedOrigin
from rushes.files.guard.exchange import HEAD_BYTES_MAX, StreamedConnection
from rushes.providers.http.lookups import Lookups
from rushes.providers.http.proxies import Proxies, Proxy
from tests.providers.local_http import (
    AUTHORITY,
    Exchange,
    alive,
    end_as_the_path_says,
    http1_server,
    server_tls,
)
from tests.providers.test_proxies import answers, port_of, proxying, works

HOST = "files.example.com"


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


async def body_of(http: GuardedHttp, url: str, *, timeout_seconds: float = 5.0) -> tuple[int, bytes]:
    async with http.get(url, headers={}, timeout_seconds=timeout_seconds) as answer:
        return answer.status, b"".join([chunk async for chunk in answer.chunks])


# --- answers ----------------------------------------------------------------------------------------------


def test_a_connection_is_used_again_and_one_that_ended_meanwhile_costs_nothing() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, exchange.path.encode())
        if exchange.path == "/last":
            await exchange.close()

    async def test() -> None:
        async with http1_server(answer) as server:
            http = GuardedHttp(allow_private=True)
            for path in ("/1", "/2", "/last", "/4"):
                assert await body_of(http, server.url + path) == (200, path.encode())
            assert (server.connections, len(server.requests)) == (2, 4)
            await http.close()

    run(test())


def test_what_a_server_says_unasked_is_no_answer_to_the_next_request() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, exchange.path.encode())
        if exchange.path == "/1":
            await asyncio.sleep(0.05)
            await exchange.answer(200, b"late")

    async def test() -> None:
        async with http1_server(answer) as server:
            http = GuardedHttp(allow_private=True)
            assert await body_of(http, server.url + "/1") == (200, b"/1")
            await asyncio.sleep(0.15)
            assert await body_of(http, server.url + "/2") == (200, b"/2")
            assert server.connections == 2
            await http.close()

    run(test())


def test_a_connection_that_ended_leaves_nothing_for_the_collector_of_circles() -> None:
    async def test() -> None:
        async with http1_server(end_as_the_path_says) as server:
            http = GuardedHttp(allow_private=True)
            before = alive(StreamedConnection)
            gc.disable()
            for path in ("/close", "/end", "/kept") * 5:
                assert await body_of(http, server.url + path) == (200, b"ok")
                await asyncio.sleep(0.02)
            assert alive(StreamedConnection) <= before + 1
            await http.close()

    try:
        run(test())
    finally:
        gc.enable()


def test_a_large_body_comes_in_parts_and_an_unread_one_closes_its_connection() -> None:
    size = 5_000_000

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"v" * size)

    async def test() -> None:
        async with http1_server(answer) as server:
            http = GuardedHttp(allow_private=True)
            assert await body_of(http, server.url) == (200, b"v" * size)
            async with http.get(server.url, headers={}, timeout_seconds=5) as opened:
                async for _ in opened.chunks:
                    break
            assert await body_of(http, server.url) == (200, b"v" * size)
            assert server.connections == 2
            await http.close()

    run(test())


@pytest.mark.parametrize(
    ("data", "status_and_body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", (200, b"to the end")),
        (
            b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
            (200, b"a"),
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
            (200, b"abc"),
        ),
        (b"HTTP/1.1 304 Not\r\ncontent-length: 9\r\n\r\n", (304, b"")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", None),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", None),
        (b"HTTP/1.1 200 OK\r\nx: y", None),
        (b"garbage\r\n\r\n", None),
        (b"", None),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * (HEAD_BYTES_MAX + 1000), None),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"a: b\r\n" * 60_000,
            None,
        ),
    ],
    ids=[
        "until the end",
        "interim",
        "chunked",
        "no body",
        "short",
        "no last chunk",
        "half a head",
        "garbage",
        "nothing",
        "endless head",
        "endless trailers",
    ],
)
def test_answers_whole_and_broken(data: bytes, status_and_body: tuple[int, bytes] | None) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.write(data)
        await exchange.close()

    async def test() -> None:
        async with http1_server(answer) as server:
            http = GuardedHttp(allow_private=True)
            if status_and_body is None:
                with pytest.raises(NoAnswerFromUrl):
                    await body_of(http, server.url)
            else:
                assert await body_of(http, server.url) == status_and_body
            await http.close()

    run(test())


def test_the_time_out_is_for_all_of_it() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        for _ in range(100):
            await asyncio.sleep(0.05)
            await exchange.write(b"a")

    async def test() -> None:
        async with http1_server(answer) as server:
            http = GuardedHttp(allow_private=True)
            started = time.monotonic()
            with pytest.raises(NoAnswerFromUrl, match="timed out"):
                await body_of(http, server.url, timeout_seconds=0.4)
            assert time.monotonic() - started < 2
            await http.close()

    run(test())


def test_a_certificate_for_another_name_is_refused() -> None:
    async def answer(exchange: Exchange) -> None:
        raise AssertionError("it was asked")

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async def test() -> None:
        async with http1_server(answer, tls=server_tls("other.example")) as server:
            http = GuardedHttp(
                allow_private=True, resolve=resolve, root_certificates_pem=AUTHORITY.cert_pem.bytes()
            )
            with pytest.raises(NoAnswerFromUrl, match="no connection"):
                await body_of(http, f"https://{HOST}:{port_of(server.url)}/")
            await http.close()

    run(test())


# --- proxies ----------------------------------------------------------------------------------------------


def through(port: int, *, proxy_guards: bool = False, found: Sequence[str] = ("203.0.114.9",)) -> GuardedHttp:
    """A guarded client behind that proxy; names have these addresses, and None are looked up when empty."""

    async def resolve(host: str, _port: int) -> Sequence[str]:
        assert found, f"{host} was looked up"
        return found

    return GuardedHttp(
        allow_private=False,
        resolve=resolve,
        root_certificates_pem=AUTHORITY.cert_pem.bytes(),
        proxies=Proxies(Proxy("127.0.0.1", port), Proxy("127.0.0.1", port)),
        proxy_guards=proxy_guards,
    )


async def ok(exchange: Exchange) -> None:
    await exchange.answer(200, b"ok")


def test_the_proxy_is_asked_for_the_checked_address_and_tls_is_for_the_name() -> None:
    async def test() -> None:
        async with (
            http1_server(ok, tls=server_tls(HOST)) as server,
            proxying(works, port_of(server.url)) as proxy,
        ):
            http = through(proxy.port)
            for _ in range(2):
                assert await body_of(http, f"https://{HOST}/video.mp4") == (200, b"ok")
            assert len(proxy.heads) == 1, "the tunnel is kept"
            assert proxy.heads[0].startswith(b"CONNECT 203.0.114.9:443 ")
            assert server.requests[0].headers["host"] == HOST
            await http.close()

    run(test())


@pytest.mark.parametrize("proxy_guards", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "https://0x7f.1/",
        "https://192.0.0.192/", "https://[64:ff9b::a9fe:a9fe]/", "http://files.example.com/",
        "https://user:pass@files.example.com/",
    ],
)  # fmt: skip
def test_the_proxy_is_never_asked_for_what_a_url_must_not_name(url: str, proxy_guards: bool) -> None:
    async def test() -> None:
        async with proxying(works) as proxy:
            http = through(proxy.port, proxy_guards=proxy_guards)
            with pytest.raises(UrlRefused):
                await body_of(http, url)
            assert proxy.heads == []
            await http.close()

    run(test())


def test_a_name_that_leads_to_a_private_address_is_refused_before_the_proxy_is_asked() -> None:
    async def test() -> None:
        async with proxying(works) as proxy:
            http = through(proxy.port, found=["8.8.8.8", "10.0.0.1"])
            with pytest.raises(UrlRefused):
                await body_of(http, f"https://{HOST}/")
            assert proxy.heads == []
            await http.close()

    run(test())


def test_a_proxy_that_guards_gets_the_name_and_nothing_is_looked_up_here() -> None:
    async def test() -> None:
        async with (
            http1_server(ok, tls=server_tls(HOST)) as server,
            proxying(works, port_of(server.url)) as proxy,
        ):
            http = through(proxy.port, proxy_guards=True, found=())
            assert await body_of(http, f"https://{HOST}/video.mp4") == (200, b"ok")
            assert proxy.heads[0].startswith(f"CONNECT {HOST}:443 ".encode())
            await http.close()

    run(test())


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost.", "intranet", "db.internal", "printer.local", "a.localhost", "x.home.arpa"],
)
def test_a_name_of_a_network_is_refused_though_the_proxy_guards(host: str) -> None:
    async def test() -> None:
        async with proxying(works) as proxy:
            http = through(proxy.port, proxy_guards=True, found=["127.0.0.1"])
            with pytest.raises(UrlRefused):
                await body_of(http, f"https://{host}/")
            assert proxy.heads == []
            await http.close()

    run(test())


def test_the_providers_own_host_goes_by_name_with_its_key() -> None:
    async def test() -> None:
        async with (
            http1_server(ok, tls=server_tls("media.internal")) as server,
            proxying(works, port_of(server.url)) as proxy,
        ):
            http = through(proxy.port, found=())
            trusted = TrustedOrigin("https://media.internal:443", {"authorization": "Bearer key"})
            url = "https://media.internal/1.mp4"
            async with http.get(url, headers={}, timeout_seconds=5, trusted=trusted) as answer:
                assert answer.status == 200
            assert proxy.heads[0].startswith(b"CONNECT media.internal:443 ")
            assert b"Bearer" not in proxy.heads[0]
            assert server.requests[0].headers["authorization"] == "Bearer key"
            await http.close()

    run(test())


def test_a_proxy_that_refuses_is_no_connection_and_is_not_named() -> None:
    """The error is shown to the tenant whose webhook it is."""

    async def test() -> None:
        async with proxying(answers(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
            http = through(proxy.port, found=["203.0.114.9", "203.0.114.10"])
            with pytest.raises(NoAnswerFromUrl, match="the proxy did not open a way") as caught:
                await http.post(f"https://{HOST}/", headers={}, body=b"{}", timeout_seconds=5)
            assert str(proxy.port) not in caught.value.message
            assert [head.split(b" ")[1] for head in proxy.heads] == [b"203.0.114.9:443", b"203.0.114.10:443"]
            await http.close()

    run(test())


# --- look-ups ---------------------------------------------------------------------------------------------


def test_silent_name_servers_of_some_accounts_delay_no_other() -> None:
    def look_up(host: str, _port: int) -> Sequence[str]:
        if host.startswith("silent"):
            time.sleep(1.5)
            raise OSError("no answer")
        return ["127.0.0.1"]

    async def test() -> None:
        async with http1_server(ok) as server:
            http = GuardedHttp(allow_private=True)
            http._way_out.lookups = Lookups(look_up=look_up)

            async def hostile(account: int, number: int) -> None:
                with pytest.raises((UrlRefused, NoAnswerFromUrl)):
                    await http.post(
                        f"http://silent-{account}-{number}.example/",
                        headers={},
                        body=b"{}",
                        timeout_seconds=1,
                        asker=f"account {account}",
                    )

            hostiles = [asyncio.create_task(hostile(n % 8, n)) for n in range(64)]
            await asyncio.sleep(0.1)
            started = time.monotonic()
            url = f"http://good.example:{port_of(server.url)}/"
            answer = await http.post(url, headers={}, body=b"{}", timeout_seconds=5, asker="account 99")
            assert answer.status == 200
            assert time.monotonic() - started < 1
            for task in hostiles:
                task.cancel()
            await asyncio.gather(*hostiles, return_exceptions=True)
            await http.close()

    run(test())
