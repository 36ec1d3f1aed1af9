"""How far a failed request got, told right for every way to fail, against real sockets."""

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import trustme
import uvloop

from rushes.providers.http.client import HttpTransport
from rushes.providers.http.connection import Connection
from rushes.providers.http.lookups import Lookups
from rushes.providers.http.transport import (
    RESPONSE_BYTES_MAX,
    RETRY_AFTER_SECONDS_MAX,
    Departure,
    Response,
    TransportError,
    departing,
    retry_after_seconds,
)
from rushes.providers.http.way_out import WayOut
from tests.providers.local_http import (
    AUTHORITY,
    HANG_SECONDS,
    Exchange,
    LocalServer,
    alive,
    end_as_the_path_says,
    http1_server,
    listening,
    reset,
    server_tls,
)

TCP_CLOSE_WAIT = 8
"""The state of a connection that the other side has closed, in Linux's `TCP_INFO`."""

SECRET = "sk-canary-5f2b"
HEADERS = {"authorization": f"Bearer {SECRET}", "content-type": "application/json"}


new_event_loop: Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(
    autouse=True, params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def _event_loop(request: pytest.FixtureRequest) -> None:
    global new_event_loop
    new_event_loop = request.param


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(bounded())


@contextlib.asynccontextmanager
async def transport(
    *, connections_max: int = 64, connect_timeout_seconds: float = 5.0
) -> AsyncIterator[HttpTransport]:
    client = HttpTransport(
        connections_max=connections_max,
        connect_timeout_seconds=connect_timeout_seconds,
        root_certificates_pem=AUTHORITY.cert_pem.bytes(),
    )
    try:
        yield client
    finally:
        await client.close()


async def post(
    client: HttpTransport, url: str, *, body: bytes = b'{"id":"1"}', timeout_seconds: float = 5.0
) -> Response:
    return await client.request("POST", url, headers=HEADERS, body=body, timeout_seconds=timeout_seconds)


async def failure(client: HttpTransport, url: str, **options: Any) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await post(client, url, **options)
    assert SECRET not in repr(caught.value)
    assert caught.value.reason
    return caught.value


async def never(exchange: Exchange) -> None:
    raise AssertionError(f"the server read {exchange.method} {exchange.path}")


# --- the request certainly never left ---------------------------------------------------------------------


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_connection_is_never_received(scheme: str) -> None:
    async def test() -> None:
        async with transport() as client:
            error = await failure(client, f"{scheme}://127.0.0.1:{unused_port()}/v1")
            assert not error.may_have_been_received
            assert "refused" in error.reason.lower()

    run(test())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_unknown_host_is_never_received(scheme: str) -> None:
    async def test() -> None:
        async with transport() as client:
            # a name that no resolver even asks for: one of its labels is empty
            assert not (await failure(client, f"{scheme}://no..host/")).may_have_been_received

    run(test())


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops connections on Linux")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connect_time_out_is_never_received(scheme: str) -> None:
    async def test() -> None:
        with contextlib.ExitStack() as sockets:
            full = sockets.enter_context(socket.socket())
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for _ in range(4):
                waiting = sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            await asyncio.sleep(0.05)
            async with transport(connect_timeout_seconds=0.3) as client:
                url = f"{scheme}://127.0.0.1:{full.getsockname()[1]}/"
                assert not (await failure(client, url)).may_have_been_received
                # nor when the request's own time is out first
                assert not (await failure(client, url, timeout_seconds=0.1)).may_have_been_received

    run(test())


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(HANG_SECONDS)


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    reset(writer)


async def speaks_plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("peer", [silent, closes, resets, speaks_plain])
def test_a_failed_tls_handshake_is_never_received(
    peer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    async def serve(seen: LocalServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer(reader, writer)

    async def test() -> None:
        seconds = 0.3 if peer is silent else 5.0
        async with listening(serve, None) as server, transport(connect_timeout_seconds=seconds) as client:
            error = await failure(client, server.url.replace("http://", "https://"), timeout_seconds=5.0)
            assert not error.may_have_been_received

    run(test())


def test_a_tls_handshake_cut_off_by_the_whole_time_out_is_never_received() -> None:
    async def serve(seen: LocalServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent(reader, writer)

    async def test() -> None:
        async with listening(serve, None) as server, transport() as client:
            url = server.url.replace("http://", "https://")
            assert not (await failure(client, url, timeout_seconds=0.1)).may_have_been_received
            await asyncio.sleep(0.05)  # uvloop takes a few turns to end a cancelled handshake

    run(test())


@pytest.mark.parametrize(
    "tls",
    [
        pytest.param(lambda: server_tls(authority=trustme.CA()), id="unknown authority"),
        pytest.param(lambda: server_tls("elsewhere.example"), id="another name"),
    ],
)
def test_a_refused_certificate_is_never_received(tls: Callable[[], ssl.SSLContext]) -> None:
    async def test() -> None:
        async with http1_server(never, tls=tls()) as server, transport() as client:
            error = await failure(client, server.url)
            assert not error.may_have_been_received
            assert "certificate" in error.reason
            assert server.requests == []

    run(test())


def test_a_request_that_found_no_free_connection_is_never_received() -> None:
    async def hang(exchange: Exchange) -> None:
        await asyncio.sleep(HANG_SECONDS)

    async def test() -> None:
        async with http1_server(hang) as server, transport(connections_max=1) as client:
            first = asyncio.create_task(failure(client, server.url + "/first", timeout_seconds=0.6))
            await asyncio.sleep(0.1)
            waiting = await failure(client, server.url + "/second", timeout_seconds=0.2)
            assert not waiting.may_have_been_received
            assert (await first).may_have_been_received
            assert [exchange.path for exchange in server.requests] == ["/first"]

    run(test())


@pytest.mark.parametrize("url", ["http://", "relative", "http://127.0.0.1:99999/", "ftp://127.0.0.1/"])
def test_a_bad_url_is_never_received(url: str) -> None:
    async def test() -> None:
        async with transport() as client:
            assert not (await failure(client, url)).may_have_been_received

    run(test())


def test_a_bad_header_is_never_received_and_not_quoted() -> None:
    async def test() -> None:
        async with http1_server(never) as server, transport() as client:
            with pytest.raises(TransportError) as caught:
                await client.request(
                    "POST",
                    server.url,
                    headers={"authorization": f"Bearer {SECRET}\n"},
                    body=b"",
                    timeout_seconds=1,
                )
            assert not caught.value.may_have_been_received
            error: BaseException | None = caught.value
            while error is not None:
                assert SECRET not in str(error)
                error = error.__cause__

    run(test())


# --- the request may have been received -------------------------------------------------------------------


async def reset_unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(0.05)  # the client's connect has ended by now, and it is writing
    reset(writer)
    return False


async def close_unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(0.05)
    return False


async def hang_unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(HANG_SECONDS)
    return False


@pytest.mark.parametrize("with_tls", [False, True])
@pytest.mark.parametrize("peer", [reset_unread, close_unread, hang_unread])
def test_a_connection_that_fails_before_the_request_is_read_is_uncertain(
    peer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]], with_tls: bool
) -> None:
    async def test() -> None:
        tls = server_tls() if with_tls else None
        async with http1_server(never, tls=tls, on_connection=peer) as server, transport() as client:
            in_time = 2.0 if with_tls else 0.5
            seconds = in_time if peer is hang_unread else 5.0
            assert (await failure(client, server.url, timeout_seconds=seconds)).may_have_been_received

    run(test())


async def close_after(exchange: Exchange) -> None:
    await exchange.close()


async def reset_after(exchange: Exchange) -> None:
    await exchange.reset()


async def hang_after(exchange: Exchange) -> None:
    await asyncio.sleep(HANG_SECONDS)


async def cut_body(exchange: Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    await exchange.close()


async def cut_chunk(exchange: Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc")
    await exchange.close()


async def reset_in_body(exchange: Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    await asyncio.sleep(0.02)
    await exchange.reset()


async def hang_in_body(exchange: Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    await asyncio.sleep(HANG_SECONDS)


async def cut_head(exchange: Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await exchange.close()


async def garbage(exchange: Exchange) -> None:
    await exchange.write(b"\x00\xff not HTTP\r\n\r\n")
    await exchange.close()


async def endless_head(exchange: Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 2_000_000)
    await exchange.close()


async def oversize(exchange: Exchange) -> None:
    await exchange.answer(200, b"a" * (RESPONSE_BYTES_MAX + 1))


async def endless_body(exchange: Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    for _ in range(1000):
        await exchange.write(chunk)
        await asyncio.sleep(0)  # over TLS, Python 3.11's drain() may never let the loop run


async def says_connect(exchange: Exchange) -> None:
    await exchange.write(b"client error (Connect)\r\n\r\n")
    await exchange.close()


@pytest.mark.parametrize("with_tls", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        close_after,
        reset_after,
        hang_after,
        cut_head,
        cut_body,
        cut_chunk,
        reset_in_body,
        hang_in_body,
        garbage,
        endless_head,
        oversize,
        endless_body,
        says_connect,
    ],
)
def test_a_request_that_was_read_over_http1_may_have_been_received_and_is_sent_once(
    answer: Callable[[Exchange], Awaitable[None]], with_tls: bool
) -> None:
    async def test() -> None:
        tls = server_tls() if with_tls else None
        async with http1_server(answer, tls=tls) as server, transport() as client:
            in_time = 2.0 if with_tls else 0.5  # for the connection, on a busy machine
            seconds = in_time if answer in (hang_after, hang_in_body) else 5.0
            assert (await failure(client, server.url, timeout_seconds=seconds)).may_have_been_received
            await asyncio.sleep(0.05)
            assert len(server.requests) == 1

    run(test())


# --- kept-alive connections -------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_connection_that_ended_while_idle_costs_nothing(ending: str) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")
        if exchange.connection_number == 1:
            await asyncio.sleep(0.02)
            await (exchange.close() if ending == "close" else exchange.reset())

    async def test() -> None:
        async with http1_server(answer) as server, transport() as client:
            await post(client, server.url + "/1")
            await asyncio.sleep(0.1)
            assert (await post(client, server.url + "/2")).body == b"ok"
            assert [exchange.path for exchange in server.requests] == ["/1", "/2"]
            assert server.connections == 2

    run(test())


@pytest.mark.parametrize("answer", [close_after, reset_after])
def test_a_request_read_on_a_kept_connection_is_not_sent_again(
    answer: Callable[[Exchange], Awaitable[None]],
) -> None:
    async def first_well(exchange: Exchange) -> None:
        await (exchange.answer(200, b"ok") if exchange.path == "/1" else answer(exchange))

    async def test() -> None:
        async with http1_server(first_well) as server, transport() as client:
            await post(client, server.url + "/1")
            assert (await failure(client, server.url + "/2")).may_have_been_received
            await asyncio.sleep(0.05)
            assert server.connections == 1
            assert [exchange.path for exchange in server.requests] == ["/1", "/2"]

    run(test())


def test_no_request_is_sent_twice_while_a_server_closes_under_it() -> None:
    """The race itself: each answer is followed at once by a close, and the next request is on its way."""

    async def answer_and_close(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")
        await exchange.close()

    async def test() -> None:
        async with http1_server(answer_and_close) as server, transport() as client:
            errors: dict[int, TransportError] = {}
            for number in range(500):
                try:
                    await post(client, server.url, body=b"%d" % number)
                except TransportError as error:
                    errors[number] = error
            assert all(error.may_have_been_received for error in errors.values())
            bodies = [int(exchange.body) for exchange in server.requests]
            assert len(bodies) == len(set(bodies))
            assert set(range(500)) - set(bodies) <= set(errors)

    run(test())


# --- ordinary answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 301, 307, 404, 429, 500])
def test_any_status_is_an_answer_and_no_redirect_is_followed(status: int) -> None:
    async def answer(exchange: Exchange) -> None:
        body = b"" if status == 204 else b'{"a":1}'
        await exchange.answer(status, body, {"Location": "/elsewhere", "X-Mixed-Case": "Kept"})

    async def test() -> None:
        async with http1_server(answer) as server, transport() as client:
            response = await post(client, server.url + "/here")
            assert response.status == status
            assert response.body == (b"" if status == 204 else b'{"a":1}')
            assert response.headers["x-mixed-case"] == "Kept"
            assert all(name == name.lower() for name in response.headers)
            assert [exchange.path for exchange in server.requests] == ["/here"]

    run(test())


def test_the_request_arrives_as_given() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    body = '{"prompt":"雨夜的城市"}'.encode() * 1000

    async def test() -> None:
        async with http1_server(answer, tls=server_tls()) as server, transport() as client:
            assert (await post(client, server.url + "/v1?x=%20", body=body)).body == b"ok"
            await client.request("GET", server.url + "/g", headers={}, body=None, timeout_seconds=1)
            first, second = server.requests
            assert (first.method, first.path, first.body) == ("POST", "/v1?x=%20", body)
            assert first.headers["authorization"] == HEADERS["authorization"]
            assert first.headers["content-length"] == str(len(body))
            assert "accept-encoding" not in first.headers
            assert (second.method, second.path, second.body) == ("GET", "/g", b"")

    run(test())


ANSWERS = {
    "with its length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\nok",
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"
    b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
    "after interim ones": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_may_come_in_any_pieces(kind: str) -> None:
    whole = ANSWERS[kind]

    async def answer(exchange: Exchange) -> None:
        at = int(exchange.body)
        await exchange.write(whole[:at])
        await asyncio.sleep(0.001)
        await exchange.write(whole[at:])

    async def test() -> None:
        async with http1_server(answer) as server, transport() as client:
            for at in range(len(whole)):
                response = await post(client, server.url, body=b"%d" % at)
                assert (response.status, response.body) == (200, b"ok")
                assert response.headers["x-a"] == "1"
            assert server.connections == 1

    run(test())


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\n\r\nso ")
        await asyncio.sleep(0.01)
        await exchange.write(b"far")
        await exchange.close()

    async def test() -> None:
        async with http1_server(answer) as server, transport() as client:
            assert (await post(client, server.url)).body == b"so far"
            assert (await post(client, server.url)).body == b"so far"
            assert server.connections == 2

    run(test())


def test_a_connection_that_says_it_closes_or_says_too_much_is_not_used_again() -> None:
    async def answer(exchange: Exchange) -> None:
        if exchange.path == "/close":
            await exchange.answer(200, b"ok", {"Connection": "close"})
        elif exchange.path == "/twice":
            await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * 2)
        else:
            await exchange.answer(200, b"ok")
            await exchange.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 3\r\n\r\nbye")

    async def test() -> None:
        async with http1_server(answer) as server, transport() as client:
            for number, path in enumerate(("/close", "/twice", "/bye", "/bye"), 1):
                assert (await post(client, server.url + path)).body == b"ok"
                await asyncio.sleep(0.02)
                assert server.connections == number

    run(test())


def test_a_connection_that_ended_leaves_nothing_for_the_collector_of_circles() -> None:
    async def test() -> None:
        async with http1_server(end_as_the_path_says) as server, transport() as client:
            before = alive(Connection)
            gc.disable()
            for path in ("/close", "/end", "/kept") * 5:
                assert (await post(client, server.url + path)).body == b"ok"
                await asyncio.sleep(0.02)
            assert alive(Connection) <= before + 1

    try:
        run(test())
    finally:
        gc.enable()


def test_no_cookie_is_kept() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"", {"Set-Cookie": "session=1"})

    async def test() -> None:
        async with http1_server(answer) as server, transport() as client:
            await post(client, server.url)
            await post(client, server.url)
            assert "cookie" not in server.requests[1].headers

    run(test())


def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"direct")

    async def test() -> None:
        async with http1_server(never) as proxy, http1_server(answer) as server:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv("no_proxy", "")
            monkeypatch.setenv("NO_PROXY", "")
            async with transport() as client:
                assert (await post(client, server.url)).body == b"direct"

    run(test())


def test_a_header_that_is_not_text_is_left_out() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.write(
            b"HTTP/1.1 200 OK\r\nX-Raw: \xe4\xbd\xa0\r\nX-Good: yes\r\nContent-Length: 2\r\n\r\nok"
        )

    async def test() -> None:
        async with http1_server(answer) as server, transport() as client:
            response = await post(client, server.url)
            assert response.body == b"ok"
            assert response.headers["x-good"] == "yes"
            assert "x-raw" not in response.headers

    run(test())


def test_the_largest_answer_is_read_whole() -> None:
    body = bytes(range(256)) * (RESPONSE_BYTES_MAX // 256)

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, body)

    async def test() -> None:
        async with http1_server(answer) as server, transport() as client:
            assert (await post(client, server.url, timeout_seconds=10)).body == body

    run(test())


def test_no_more_requests_are_under_way_than_connections_allow() -> None:
    async def answer(exchange: Exchange) -> None:
        await asyncio.sleep(0.01)
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with http1_server(answer) as server, transport(connections_max=3) as client:
            await asyncio.gather(*(post(client, server.url, timeout_seconds=5) for _ in range(30)))
            assert len(server.requests) == 30
            assert server.under_way_max == 3
            assert server.connections == 3

    run(test())


def test_cancelling_raises_cancelled_error_at_once_and_the_place_is_free_after_the_time_out() -> None:
    async def answer(exchange: Exchange) -> None:
        if exchange.path == "/slow":
            await asyncio.sleep(HANG_SECONDS)
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with http1_server(answer) as server, transport(connections_max=1) as client:
            slow = asyncio.create_task(post(client, server.url + "/slow", timeout_seconds=0.5))
            await server.arrived.wait()
            slow.cancel()
            async with asyncio.timeout(0.2):
                with pytest.raises(asyncio.CancelledError):
                    await slow
            assert (await post(client, server.url + "/quick", timeout_seconds=5)).body == b"ok"

    run(test())


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the state of a connection")
def test_a_cancelled_request_closes_its_connection_and_a_cancelled_wait_takes_no_place() -> None:
    async def answer(exchange: Exchange) -> None:
        if exchange.path == "/slow":
            await asyncio.sleep(HANG_SECONDS)
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with http1_server(answer) as server, transport(connections_max=1) as client:
            slow = asyncio.create_task(post(client, server.url + "/slow", timeout_seconds=HANG_SECONDS))
            await server.arrived.wait()
            waits = [asyncio.create_task(post(client, server.url + "/waits")) for _ in range(3)]
            await asyncio.sleep(0.01)
            slow.cancel()
            waits[0].cancel()
            await asyncio.sleep(0)
            waits[1].cancel()  # in the moment in which it is its turn
            ended = await asyncio.gather(slow, *waits, return_exceptions=True)
            assert [type(each) for each in ended[:3]] == [asyncio.CancelledError] * 3
            assert isinstance(ended[3], Response)
            descriptor = server.requests[0].writer.get_extra_info("socket").fileno()
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
                assert state == TCP_CLOSE_WAIT
            assert (await post(client, server.url + "/quick")).body == b"ok"
            assert server.connections == 2

    run(test())


def test_a_server_that_left_while_the_loop_was_busy_is_noticed_before_the_request_is_sent() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with http1_server(answer) as server, transport() as client:
            await post(client, server.url)
            descriptor = server.requests[0].writer.get_extra_info("socket").fileno()
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                connection.shutdown(socket.SHUT_RDWR)  # and no turn of the loop since
            assert (await post(client, server.url)).body == b"ok"
            assert [len(server.requests), server.connections] == [2, 2]

    run(test())


@pytest.mark.parametrize("with_tls", [False, True])
def test_the_next_of_a_hosts_addresses_is_tried(with_tls: bool) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def test() -> None:
        tls = server_tls("two.addresses.test") if with_tls else None
        async with http1_server(answer, tls=tls) as server:
            scheme, _, port = server.url.rpartition(":")
            url = f"{scheme.partition(':')[0]}://two.addresses.test:{port}/"
            lookups = Lookups(look_up=lambda _host, _port: ["127.0.0.2", "127.0.0.1"])
            client = HttpTransport(
                root_certificates_pem=AUTHORITY.cert_pem.bytes(), way_out=WayOut(lookups=lookups)
            )
            with socket.socket() as dead:
                dead.bind(("127.0.0.2", int(port)))  # refuses: it does not listen
                assert (await post(client, url)).body == b"ok"
                assert server.requests[0].headers["host"] == f"two.addresses.test:{port}"
            await client.close()

    run(test())


def test_a_transport_goes_on_in_the_event_loop_that_comes_after_its_first() -> None:
    client = HttpTransport(connections_max=1)

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with http1_server(answer) as server:
            assert (await post(client, server.url)).body == b"ok"

    run(test())
    run(test())


def test_a_connection_that_is_still_open_ends_with_its_event_loop() -> None:
    heard: list[bytes] = []

    def serve(door: socket.socket) -> None:
        connection, _ = door.accept()
        with connection:
            connection.settimeout(5)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            heard.append(connection.recv(1))

    async def test() -> None:
        port = door.getsockname()[1]
        assert (await post(HttpTransport(), f"http://127.0.0.1:{port}/")).body == b"ok"

    with socket.create_server(("127.0.0.1", 0)) as door:
        server = threading.Thread(target=serve, args=(door,))
        server.start()
        run(test())
        server.join()
    assert heard == [b""]


def test_a_closed_transport_sends_nothing() -> None:
    async def test() -> None:
        async with http1_server(never) as server, transport() as client:
            await client.close()
            assert not (await failure(client, server.url)).may_have_been_received

    run(test())


def test_closing_fails_what_is_under_way_as_uncertain() -> None:
    async def hang(exchange: Exchange) -> None:
        await asyncio.sleep(HANG_SECONDS)

    async def test() -> None:
        async with http1_server(hang) as server, transport() as client:
            slow = asyncio.create_task(failure(client, server.url, timeout_seconds=10))
            await server.arrived.wait()
            await client.close()
            assert (await slow).may_have_been_received

    run(test())


# --- Retry-After -----------------------------------------------------------------------------------------

DATE = "Tue, 28 Jul 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "9" * 5000}, RETRY_AFTER_SECONDS_MAX),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Tue, 28 Jul 2026 10:00:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Tue, 28 Jul 2026 09:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Wed, 28 Jul 2027 10:00:00 GMT", "date": DATE}, RETRY_AFTER_SECONDS_MAX),
        ({"retry-after": "Tue, 28 Jul 2026 10:00:30 GMT"}, None),
        ({"retry-after": "Tue, 28 Jul 2026 10:00:30 GMT", "date": "yesterday"}, None),
        ({"retry-after": "Tue, 28 Jul 2026 10:00:30", "date": DATE}, None),
        ({"retry-after": "Tue, 99 Jul 99999 10:00:30 GMT", "date": DATE}, None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_seconds(Response(429, headers, b"")) == seconds


# --- the last question before the first byte ----------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_may_not_leave_any_more_is_never_received(scheme: str) -> None:
    """The worker loses its right to send while the connection is being made."""

    async def test() -> None:
        received: list[bytes] = []

        async def answer(exchange: Exchange) -> None:
            received.append(exchange.body)
            await exchange.answer(body=b"{}")

        async with (
            http1_server(answer, tls=server_tls() if scheme == "https" else None) as server,
            transport() as client,
        ):
            may_leave = True
            departure = Departure(lambda: may_leave)
            with departing(departure):
                sending = asyncio.create_task(post(client, server.url))
            await asyncio.sleep(0)  # it has begun: the connection is not there yet
            may_leave = False
            with pytest.raises(TransportError) as raised:
                await sending
            assert not raised.value.may_have_been_received
            assert "held back" in raised.value.reason
            assert departure.is_waiting
            may_leave = True
            with departing(departure):
                await post(client, server.url, body=b"later")
            assert departure.has_left
            assert not departure.is_waiting
            await post(client, server.url, body=b"a poll")
            assert received == [b"later", b"a poll"]
            if scheme == "http":  # over TLS its tickets may have been in the way
                assert server.connections == 1, "the connection that was made is used by the next request"

    run(test())


def test_a_submission_that_is_cancelled_while_it_waits_for_a_connection_has_not_left() -> None:
    async def test() -> None:
        async def hang(_exchange: Exchange) -> None:
            await asyncio.sleep(HANG_SECONDS)

        async with http1_server(hang) as server, transport(connections_max=1) as client:
            first = asyncio.create_task(post(client, server.url))
            await asyncio.sleep(0.05)
            departure = Departure(lambda: True)
            with departing(departure):
                second = asyncio.create_task(post(client, server.url))
            await asyncio.sleep(0.05)
            for task in (second, first):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            assert departure.is_waiting

    run(test())


# --- connections that are opened before there is anything to send ------------------------------------------


async def submit(client: HttpTransport, url: str, **options: Any) -> Response:
    with departing(Departure(lambda: True)):
        return await client.request(
            "POST", url, headers=HEADERS, body=b"{}", timeout_seconds=5.0, fresh=True, **options
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_submit_goes_over_a_connection_that_was_opened_before_it(scheme: str) -> None:
    async def test() -> None:
        tls = server_tls() if scheme == "https" else None

        async def answer(exchange: Exchange) -> None:
            await exchange.answer(200, str(exchange.connection_number).encode())

        async with http1_server(answer, tls=tls) as server, transport() as client:
            assert await until_prepared(client, server.url, 2) == 2
            while server.connections < 2:
                await asyncio.sleep(0.01)
            assert server.requests == []
            first, second = await asyncio.gather(submit(client, server.url), submit(client, server.url))
            assert {first.body, second.body} == {b"1", b"2"}
            assert first.is_first
            assert server.connections == 2
            assert (await submit(client, server.url)).body == b"3", "one that was used before is not fresh"

    run(test())


async def until_prepared(client: HttpTransport, url: str, count: int) -> int:
    while (ready := await client.prepare(url, count)) < count:
        await asyncio.sleep(0.01)
    return ready


def test_prepared_connections_that_nobody_uses_are_closed_and_give_their_places_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rushes.providers.http.client.CONNECTION_IDLE_SECONDS", 0.2)

    async def test() -> None:
        async with http1_server(Exchange.answer) as server, transport(connections_max=2) as client:
            assert await until_prepared(client, server.url, 2) == 2
            with pytest.raises(TransportError, match="free in time"):
                await post(client, server.url, timeout_seconds=0.1)
            await asyncio.sleep(0.3)
            assert (await post(client, server.url)).status == 200
            assert (await submit(client, server.url)).status == 200

    run(test())


@pytest.mark.parametrize("ending", [asyncio.StreamWriter.close, reset])
def test_a_prepared_connection_that_the_server_ended_is_not_used(
    ending: Callable[[asyncio.StreamWriter], None],
) -> None:
    async def test() -> None:
        writers: list[asyncio.StreamWriter] = []

        async def noted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            writers.append(writer)
            return True

        async with (
            http1_server(Exchange.answer, on_connection=noted) as server,
            transport(connections_max=1) as client,
        ):
            assert await until_prepared(client, server.url, 1) == 1
            while not writers:
                await asyncio.sleep(0.01)
            ending(writers[0])
            await asyncio.sleep(0.1)
            assert (await submit(client, server.url)).status == 200
            assert [exchange.connection_number for exchange in server.requests] == [2]

    run(test())


def test_a_connection_that_cannot_be_prepared_is_the_next_submits_answer() -> None:
    async def test() -> None:
        async with transport(connections_max=1) as client:
            url = f"http://127.0.0.1:{unused_port()}"
            assert await client.prepare(url, 5) == 1
            with pytest.raises(TransportError, match="refused") as caught:
                await submit(client, url)
            assert not caught.value.may_have_been_received
        async with http1_server(Exchange.answer) as server, transport(connections_max=1) as client:
            assert (await submit(client, server.url)).status == 200

    run(test())


@pytest.mark.parametrize(("holds", "other"), [(post, submit), (submit, post)])
def test_polls_that_hold_their_places_leave_some_for_submits_and_submits_some_for_polls(
    holds: Callable[..., Awaitable[Response]], other: Callable[..., Awaitable[Response]]
) -> None:
    async def test() -> None:
        async def hold(exchange: Exchange) -> None:
            if exchange.path == "/hold":
                await asyncio.sleep(HANG_SECONDS)
            await exchange.answer(200)

        async with http1_server(hold) as server, transport(connections_max=16) as client:
            held = [asyncio.ensure_future(holds(client, f"{server.url}/hold")) for _ in range(20)]
            while server.under_way < 14:
                await asyncio.sleep(0.01)
            assert (await other(client, server.url)).status == 200
            assert server.under_way_max <= 15
            for each in held:
                each.cancel()
            await asyncio.gather(*held, return_exceptions=True)

    run(test())
