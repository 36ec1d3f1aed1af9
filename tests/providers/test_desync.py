"""Answers that are not to the question: written twice, late, before the question, or in another coding.

Over real sockets. No task may get another one's video or id, whatever a gateway writes when.
"""

import asyncio
import contextlib
import gzip
import json
import ssl
import zlib

import pytest

from rushes.domain.task import Accepted, NoAnswer, PollResult, Processing, Succeeded
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.families import grsai
from rushes.providers.http.client import HttpTransport
from rushes.providers.http.connection import Connection, Origin, decoded
from rushes.providers.http.transport import RESPONSE_BYTES_MAX, Response, TransportError
from tests.providers.local_http import AUTHORITY, Exchange, http1_server, server_tls

LATE_SECONDS = 0.002


def result(remote_task_id: str, status: str = "succeeded") -> bytes:
    data = {"id": remote_task_id, "status": status, "url": f"https://files.example/{remote_task_id}.mp4"}
    return json.dumps({"code": 0, "msg": "success", "data": data}).encode()


def client_of(connections_max: int = 4) -> HttpTransport:
    return HttpTransport(connections_max=connections_max, root_certificates_pem=AUTHORITY.cert_pem.bytes())


def provider_over(transport: HttpTransport, url: str) -> Provider:
    return grsai.build(ProviderConfig(host=url, api_key="key", transport=transport, timeout_seconds=5.0))


async def get(client: HttpTransport, url: str, *, fresh: bool = False) -> Response:
    return await client.request("GET", url, headers={}, body=None, timeout_seconds=5.0, fresh=fresh)


# --- answers written twice ----------------------------------------------------------------------------------


@pytest.mark.parametrize("late_seconds", [0.0, 0.0005, LATE_SECONDS, 0.02])
@pytest.mark.parametrize("tls", [None, server_tls()], ids=["plain", "tls"])
def test_no_task_gets_another_ones_video_from_a_gateway_that_writes_answers_twice(
    late_seconds: float, tls: ssl.SSLContext | None
) -> None:
    """The duplicate comes before the next question on that connection, or just after it."""
    later: set[asyncio.Task[None]] = set()
    count = 0

    async def answer(exchange: Exchange) -> None:
        nonlocal count
        count += 1
        body = result(json.loads(exchange.body)["id"])
        await exchange.answer(200, body)
        if count % 3 == 0:

            async def again() -> None:
                await asyncio.sleep(late_seconds)
                with contextlib.suppress(ConnectionError):
                    await exchange.answer(200, body)

            later.add(asyncio.create_task(again()))

    async def test() -> None:
        client = client_of()
        async with asyncio.timeout(30), http1_server(answer, tls=tls) as server:
            provider = provider_over(client, server.url)

            async def until_answered(name: str) -> PollResult:
                while isinstance(said := await provider.poll_remote_task(name), NoAnswer):
                    pass
                return said

            names = [f"task-{number}" for number in range(200)]
            results = await asyncio.gather(*map(until_answered, names))
            assert results == [Succeeded(f"https://files.example/{name}.mp4") for name in names]
            await client.close()
            await asyncio.gather(*later, return_exceptions=True)

    asyncio.run(test())


def test_no_submit_takes_the_late_answer_to_another_request() -> None:
    """A poll's answer has an id where a submit's has it, and another submit's answer is just like it."""
    later: set[asyncio.Task[None]] = set()

    async def answer(exchange: Exchange) -> None:
        asked = json.loads(exchange.body)
        body = result(asked.get("id") or f"id-of-{asked['prompt']}", "running")
        await exchange.answer(200, body)

        async def again() -> None:
            await asyncio.sleep(LATE_SECONDS)
            with contextlib.suppress(ConnectionError):
                await exchange.answer(200, body)

        later.add(asyncio.create_task(again()))

    async def test() -> None:
        client = client_of()
        async with asyncio.timeout(30), http1_server(answer) as server:
            provider = provider_over(client, server.url)

            async def submit(prompt: str) -> None:
                outcome = await provider.submit(SubmitRequest("veo3.1-fast", prompt))
                assert outcome == Accepted(f"id-of-{prompt}")
                said = await provider.poll_remote_task(f"id-of-{prompt}")
                assert isinstance(said, Processing | NoAnswer)

            await asyncio.gather(*(submit(f"p{number}") for number in range(100)))
            await client.close()
            await asyncio.gather(*later, return_exceptions=True)

    asyncio.run(test())


# --- connections --------------------------------------------------------------------------------------------


def test_a_byte_on_an_idle_connection_closes_it_before_the_next_request() -> None:
    """Also one that the event loop has not read yet when the request comes."""
    exchanges: list[Exchange] = []

    async def answer(exchange: Exchange) -> None:
        exchanges.append(exchange)
        await exchange.answer(200, exchange.path.encode())

    async def test() -> None:
        client = client_of()
        async with http1_server(answer) as server:
            assert (await get(client, server.url + "/1")).body == b"/1"
            await exchanges[0].answer(200, b"late")
            assert (await get(client, server.url + "/2")).body == b"/2"
            assert server.connections == 2
            await exchanges[1].answer(200, b"late")
            await asyncio.sleep(0.05)
            assert (await get(client, server.url + "/3")).body == b"/3"
            assert server.connections == 3
            await client.close()

    asyncio.run(test())


def test_two_answers_in_one_packet_are_one_answer_and_the_end_of_the_connection() -> None:
    async def answer(exchange: Exchange) -> None:
        body = exchange.path.encode()
        await exchange.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) * 2)

    async def test() -> None:
        client = client_of()
        async with http1_server(answer) as server:
            for number in range(1, 4):
                assert (await get(client, f"{server.url}/{number}")).body == b"/%d" % number
                assert server.connections == number
            await client.close()

    asyncio.run(test())


class SlowToAsk(HttpTransport):
    """Has its connection a moment before it asks, so that what the server says first is there."""

    async def _connect(self, origin: Origin, until: float) -> Connection:
        connection = await super()._connect(origin, until)
        await asyncio.sleep(0.05)
        return connection


def test_a_server_that_speaks_first_is_not_asked() -> None:
    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\nlate")
        await writer.drain()
        return True

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"honest")

    async def test() -> None:
        client = SlowToAsk()
        async with http1_server(answer, on_connection=speak) as server:
            for fresh in (True, False):
                with pytest.raises(TransportError) as caught:
                    await get(client, server.url, fresh=fresh)
                assert not caught.value.may_have_been_received
            assert server.requests == []
            await client.close()

    asyncio.run(test())


@pytest.mark.parametrize("tls", [None, server_tls()], ids=["plain", "tls"])
def test_a_fresh_request_has_a_connection_of_its_own_within_the_bound(tls: ssl.SSLContext | None) -> None:
    open_now: set[int] = set()
    open_max = 0

    async def answer(exchange: Exchange) -> None:
        nonlocal open_max
        open_now.add(exchange.connection_number)
        await exchange.answer(200, b"%d" % exchange.connection_number)

    async def test() -> None:
        client = client_of(connections_max=2)
        async with http1_server(answer, tls=tls) as server:
            for number in range(1, 6):
                response = await get(client, server.url, fresh=True)
                assert (response.body, response.is_first) == (b"%d" % number, True)
                assert len(client._connections) <= 2
                assert not (await get(client, server.url)).is_first  # others may use it afterwards
            assert server.connections == 5
            await asyncio.gather(*(get(client, server.url, fresh=True) for _ in range(10)))
            assert server.connections == 15
            assert len(client._connections) <= 2
            await client.close()

    asyncio.run(test())


def test_a_connection_that_is_dropped_is_not_used_again() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"x")

    async def test() -> None:
        client = client_of()
        async with http1_server(answer) as server:
            response = await get(client, server.url)
            response.drop_connection()
            response.drop_connection()  # a second time says nothing new
            assert not client._connections
            await get(client, server.url)
            assert server.connections == 2
            await client.close()

    asyncio.run(test())


# --- codings that were not asked for ------------------------------------------------------------------------

PLAIN = b'{"code":0,"data":{"id":"14-ab"}}'
BARE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
CODED = {
    "gzip": gzip.compress(PLAIN),
    "GZIP": gzip.compress(PLAIN),
    "x-gzip": gzip.compress(PLAIN),
    "deflate": zlib.compress(PLAIN),
    "identity": PLAIN,
}


@pytest.mark.parametrize("coding", CODED)
def test_a_coding_that_was_not_asked_for_is_decoded(coding: str) -> None:
    async def answer(exchange: Exchange) -> None:
        assert "accept-encoding" not in exchange.headers
        await exchange.answer(200, CODED[coding], {"Content-Encoding": coding})

    async def test() -> None:
        client = client_of()
        async with http1_server(answer) as server:
            outcome = await provider_over(client, server.url).submit(SubmitRequest("sora-2", "a fox"))
            assert outcome == Accepted("14-ab")
            await get(client, server.url)  # the coding of one answer is not the next one's
            assert server.connections == 1
            await client.close()

    asyncio.run(test())


def test_a_bare_deflate_is_read_too() -> None:
    assert decoded(BARE.compress(PLAIN) + BARE.flush(), b"deflate") == PLAIN


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(bytes(50 * RESPONSE_BYTES_MAX)), "gzip"),
        (gzip.compress(bytes(RESPONSE_BYTES_MAX + 1)), "gzip"),
        (gzip.compress(PLAIN)[:-4], "gzip"),
        (gzip.compress(PLAIN) + b"more", "gzip"),
        (PLAIN, "gzip"),
        (PLAIN, "deflate"),
        (PLAIN, "br"),
        (gzip.compress(gzip.compress(PLAIN)), "gzip, gzip"),
    ],
    # the bytes hold the time at which they were compressed, and every process must collect the same names
    ids=["a bomb", "a byte too many", "cut", "more behind it", "plain", "no deflate", "brotli", "twice"],
)
def test_what_cannot_be_decoded_within_the_bound_is_an_unknown_outcome(body: bytes, coding: str) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, body, {"Content-Encoding": coding})

    async def test() -> None:
        client = client_of()
        async with http1_server(answer) as server:
            with pytest.raises(TransportError) as caught:
                await get(client, server.url)
            assert caught.value.may_have_been_received
            assert "answer" in caught.value.reason
            await client.close()

    asyncio.run(test())


def test_a_body_of_just_the_bound_is_decoded() -> None:
    assert decoded(gzip.compress(bytes(RESPONSE_BYTES_MAX)), b"gzip") == bytes(RESPONSE_BYTES_MAX)
