"""How far a failed request got, told right for every way to fail, against real sockets."""

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import trustme

from rushes.providers.http import PyreqwestTransport
from rushes.providers.transport import (
    RESPONSE_BYTES_MAX,
    RETRY_AFTER_SECONDS_MAX,
    Response,
    TransportError,
    retry_after_seconds,
)
from tests.providers.local_http import (
    AUTHORITY,
    HANG_SECONDS,
    Exchange,
    LocalServer,
    http1_server,
    http2_server,
    listening,
    reset,
    server_tls,
)

SECRET = "sk-canary-5f2b"
HEADERS = {"authorization": f"Bearer {SECRET}", "content-type": "application/json"}


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test

    asyncio.run(bounded())


@contextlib.asynccontextmanager
async def transport(
    *, http2: bool = False, connections_max: int = 64, connect_timeout_seconds: float = 0.3
) -> AsyncIterator[PyreqwestTransport]:
    client = PyreqwestTransport(
        http2=http2,
        connections_max=connections_max,
        connect_timeout_seconds=connect_timeout_seconds,
        root_certificates_pem=AUTHORITY.cert_pem.bytes(),
    )
    try:
        yield client
    finally:
        await client.close()


async def post(
    client: PyreqwestTransport, url: str, *, body: bytes = b'{"id":"1"}', timeout_seconds: float = 1.0
) -> Response:
    return await client.request("POST", url, headers=HEADERS, body=body, timeout_seconds=timeout_seconds)


async def failure(client: PyreqwestTransport, url: str, **options: Any) -> TransportError:
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
@pytest.mark.parametrize("http2", [False, True])
def test_a_refused_connection_is_never_received(scheme: str, http2: bool) -> None:
    async def test() -> None:
        async with transport(http2=http2) as client:
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
            async with transport() as client:
                url = f"{scheme}://127.0.0.1:{full.getsockname()[1]}/"
                assert not (await failure(client, url)).may_have_been_received
                # cut off by the request's own time-out, nothing is certain
                assert (await failure(client, url, timeout_seconds=0.1)).may_have_been_received

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


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("peer", [silent, closes, resets, speaks_plain])
def test_a_failed_tls_handshake_is_never_received(
    peer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], http2: bool
) -> None:
    async def serve(seen: LocalServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer(reader, writer)

    async def test() -> None:
        async with listening(serve, None) as server, transport(http2=http2) as client:
            error = await failure(client, server.url.replace("http://", "https://"))
            assert not error.may_have_been_received

    run(test())


def test_a_tls_handshake_cut_off_by_the_whole_time_out_is_uncertain() -> None:
    async def serve(seen: LocalServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent(reader, writer)

    async def test() -> None:
        async with listening(serve, None) as server, transport() as client:
            url = server.url.replace("http://", "https://")
            assert (await failure(client, url, timeout_seconds=0.1)).may_have_been_received

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
            assert (await failure(client, server.url, timeout_seconds=0.3)).may_have_been_received

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
            seconds = 0.3 if answer in (hang_after, hang_in_body) else 5.0
            assert (await failure(client, server.url, timeout_seconds=seconds)).may_have_been_received
            await asyncio.sleep(0.05)
            assert len(server.requests) == 1

    run(test())


@pytest.mark.parametrize(
    "behaviour",
    [
        "refuse the stream",
        "fail the stream",
        "leave, stream unprocessed",
        "leave, stream processed",
        "reset",
        "close",
        "hang",
        "cut the body",
        "reset in the body",
        "refuse the stream in the body",
        "end the body early",
        "garbage",
    ],
)
def test_a_request_that_was_read_over_http2_may_have_been_received_and_is_sent_once(behaviour: str) -> None:
    async def test() -> None:
        # successes come first: they earn the client library the right to a retry, were it to make one
        behaviours = ["answer"] * 20 + [behaviour, "answer"]
        async with http2_server(behaviours) as server, transport(http2=True) as client:
            for _ in range(20):
                await post(client, server.url)
            error = await failure(client, server.url + "/last", timeout_seconds=0.4)
            assert error.may_have_been_received
            await asyncio.sleep(0.05)
            assert [exchange.path for exchange in server.requests].count("/last") == 1

    run(test())


def test_garbage_instead_of_http2_is_uncertain() -> None:
    async def test() -> None:
        async with http2_server(["garbage at once"]) as server, transport(http2=True) as client:
            assert (await failure(client, server.url)).may_have_been_received

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


def test_an_http2_connection_that_left_while_idle_costs_nothing() -> None:
    async def test() -> None:
        async with http2_server(["answer, then leave", "answer"]) as server, transport(http2=True) as client:
            await post(client, server.url + "/1")
            await asyncio.sleep(0.15)
            assert (await post(client, server.url + "/2")).body == b"ok"
            assert [exchange.path for exchange in server.requests] == ["/1", "/2"]

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


@pytest.mark.parametrize("http2", [False, True])
def test_the_request_arrives_as_given(http2: bool) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    body = '{"prompt":"雨夜的城市"}'.encode() * 1000

    async def test() -> None:
        serving = http2_server(["answer"]) if http2 else http1_server(answer, tls=server_tls())
        async with serving as server, transport(http2=http2) as client:
            assert (await post(client, server.url + "/v1?x=%20", body=body)).body == b"ok"
            await client.request("GET", server.url + "/g", headers={}, body=None, timeout_seconds=1)
            first, second = server.requests
            assert (first.method, first.path, first.body) == ("POST", "/v1?x=%20", body)
            assert first.headers["authorization"] == HEADERS["authorization"]
            assert first.headers["content-length"] == str(len(body))
            assert "accept-encoding" not in first.headers
            assert (second.method, second.path, second.body) == ("GET", "/g", b"")

    run(test())


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


PROGRAM = """
import asyncio, sys
from rushes.providers.http import PyreqwestTransport

async def main():
    transport = PyreqwestTransport()
    async def ask():
        for _ in range(10):
            await transport.request("POST", sys.argv[1], headers={}, body=b"{}", timeout_seconds=5)
    await asyncio.gather(*(ask() for _ in range(32)))

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_process_that_ends_right_after_a_request_does_not_abort() -> None:
    """Without the wait at exit about one in ten of these runs ends with SIGABRT."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with http1_server(answer) as server:
            for _ in range(20):
                process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, server.url)
                assert await process.wait() == 0

    asyncio.run(test())


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
