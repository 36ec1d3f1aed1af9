"""Credentials that renew themselves: nothing waits for a renewal, and no refusal of an old token counts."""

import asyncio
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rushes.providers.answers import Words
from rushes.providers.credentials import (
    SIGNED_SECONDS,
    FetchedToken,
    NoCredentials,
    ServiceAccount,
    SignedToken,
    clock_hint,
)
from rushes.providers.http.transport import Response, TransportError

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


ACCOUNT = ServiceAccount("robot@p.example", pem(KEY), "https://tokens.example/token", "p")


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, claims, signature and what was signed."""
    decoded = [urlsafe_b64decode(part + "==") for part in token.split(".")]
    signed = token.rpartition(".")[0].encode()
    return json.loads(decoded[0]), json.loads(decoded[1]), decoded[2], signed


class Clock:
    """Set by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_signed_token_names_its_times_and_is_made_anew_before_it_ends() -> None:
    async def scenario() -> None:
        clock, words = Clock(1_000_000.0), Words()
        credentials = SignedToken("access", "the-secret-key", clock, words)
        first = (await credentials.headers())["authorization"].removeprefix("Bearer ")
        head, claims, signature, signed = parts_of(first)
        assert head == {"alg": "HS256", "typ": "JWT"}
        assert claims == {"iss": "access", "exp": 1_001_800, "nbf": 999_995}
        assert signature == hmac.new(b"the-secret-key", signed, sha256).digest()
        assert words.clean(f"it says {first}") == "it says ***"
        clock.now += 0.69 * SIGNED_SECONDS
        assert first in (await credentials.headers())["authorization"]
        clock.now += 0.02 * SIGNED_SECONDS
        assert first not in (await credentials.headers())["authorization"]

    asyncio.run(scenario())


def test_a_refused_signed_token_is_made_anew_once() -> None:
    async def scenario() -> None:
        clock = Clock(1_000_000.0)
        credentials = SignedToken("access", "the-secret-key", clock, Words())
        sent = await credentials.headers()
        assert not credentials.refused(sent), "it was just made: the key is wrong, or the clock"
        clock.now += 100
        sent = await credentials.headers()
        clock.now += 100
        assert credentials.refused(sent)
        assert await credentials.headers() != sent

    asyncio.run(scenario())


class Tokens:
    """The token service: answers what `answer` gives, after everything that waits has had its turn."""

    def __init__(self, answer: Callable[[int], Response]) -> None:
        self.requests: list[dict[str, list[str]]] = []
        self._answer = answer

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
        fresh: bool = False,
    ) -> Response:
        assert (method, url) == ("POST", ACCOUNT.token_uri)
        self.requests.append(parse_qs((body or b"").decode()))
        await asyncio.sleep(0)
        return self._answer(len(self.requests))

    async def prepare(self, url: str, count: int) -> int:
        return count

    async def close(self) -> None:
        pass


def granted(number: int) -> Response:
    return Response(
        200, {}, json.dumps({"access_token": f"token-number-{number}", "expires_in": 20}).encode()
    )


def fetched(service: Tokens, clock: Clock, words: Words | None = None) -> FetchedToken:
    return FetchedToken(
        ACCOUNT, scope="s", transport=service, timeout_seconds=1.0, now=clock, words=words or Words()
    )


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_request_fetches_the_token_for_all_that_wait_and_it_proves_who_asks() -> None:
    async def scenario() -> None:
        service, words = Tokens(granted), Words()
        credentials = fetched(service, Clock(1_000_000.0), words)
        found = await asyncio.gather(*(credentials.headers() for _ in range(50)))
        assert {headers["authorization"] for headers in found} == {"Bearer token-number-1"}
        (asked,) = service.requests
        assert asked["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        head, claims, signature, signed = parts_of(asked["assertion"][0])
        assert head["alg"] == "RS256"
        assert claims == {
            "iss": "robot@p.example",
            "scope": "s",
            "aud": ACCOUNT.token_uri,
            "iat": 1_000_000,
            "exp": 1_003_600,
        }
        KEY.public_key().verify(signature, signed, PKCS1v15(), SHA256())
        assert words.clean("token-number-1") == "***"

    asyncio.run(scenario())


def test_a_renewal_keeps_no_request_waiting() -> None:
    async def scenario() -> None:
        service, clock = Tokens(granted), Clock(0.0)
        credentials = fetched(service, clock)
        await credentials.headers()
        clock.now = 15.0  # of 20
        assert (await credentials.headers())["authorization"] == "Bearer token-number-1"
        await settled()
        assert (await credentials.headers())["authorization"] == "Bearer token-number-2"
        assert len(service.requests) == 2

    asyncio.run(scenario())


def test_a_renewal_that_fails_is_tried_again_while_the_old_token_serves() -> None:
    async def scenario() -> None:
        service, clock = Tokens(lambda n: granted(n) if n in (1, 3) else Response(503, {}, b"")), Clock(0.0)
        credentials = fetched(service, clock)
        await credentials.headers()
        for now, token in ((15.0, 1), (16.0, 1), (18.0, 1), (20.5, 3)):
            clock.now = now
            assert (await credentials.headers())["authorization"] == f"Bearer token-number-{token}"
            await settled()
        assert len(service.requests) == 3

    asyncio.run(scenario())


REFUSALS = [
    (
        Response(400, {}, b'{"error":"invalid_grant","error_description":"Invalid JWT"}'),
        True,
        "invalid_grant",
    ),
    (Response(401, {}, b"{}"), True, "HTTP 401"),
    (Response(429, {}, b""), False, "HTTP 429"),
    (Response(503, {}, b"<html>"), False, "HTTP 503"),
    (Response(200, {}, b"{}"), False, "the answer has none"),
    (Response(200, {}, b'{"access_token":""}'), False, "the answer has none"),
    (Response(200, {}, b'{"access_token":5,"expires_in":3600}'), False, "the answer has none"),
    (Response(200, {}, b"\xff"), False, "the answer has none"),
    (
        Response(400, {"date": "Thu, 01 Jan 1970 01:00:00 GMT"}, b'{"error":"invalid_grant"}'),
        True,
        "this machine's clock is 3600 s behind the service's",
    ),
]


@pytest.mark.parametrize(("answer", "key_refused", "words"), REFUSALS)
def test_without_a_token_nothing_is_sent_and_the_reason_is_told(
    answer: Response, key_refused: bool, words: str
) -> None:
    async def scenario() -> None:
        credentials = fetched(Tokens(lambda _n: answer), Clock(0.0))
        with pytest.raises(NoCredentials) as caught:
            await credentials.headers()
        assert caught.value.key_refused is key_refused
        assert not caught.value.may_have_been_received
        assert words in caught.value.reason

    asyncio.run(scenario())


@pytest.mark.parametrize("life", [b"-1", b"null", b"NaN", b"1e999", b'"3600"', b"1" + b"0" * 400])
def test_a_token_of_an_odd_life_serves(life: bytes) -> None:
    async def scenario() -> None:
        answer = Response(200, {}, b'{"access_token":"granted-one","expires_in":%b}' % life)
        credentials = fetched(Tokens(lambda _n: answer), Clock(0.0))
        assert await credentials.headers() == {"authorization": "Bearer granted-one"}

    asyncio.run(scenario())


def test_a_token_service_that_cannot_be_reached_is_no_refusal() -> None:
    def lost(_number: int) -> Response:
        raise TransportError("reset", may_have_been_received=True)

    async def scenario() -> None:
        credentials = fetched(Tokens(lost), Clock(0.0))
        with pytest.raises(NoCredentials, match="reset") as caught:
            await credentials.headers()
        assert not caught.value.key_refused
        assert not caught.value.may_have_been_received, "the request that needs the token was never sent"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "key", ["", "nothing", pem(ec.generate_private_key(ec.SECP256R1())), pem(KEY).replace("A", "?")]
)
def test_a_broken_private_key_is_named_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="its private_key is no") as caught:
        ServiceAccount("a", key).rsa_key()
    assert not key or key not in str(caught.value)


def test_clocks_that_agree_are_no_reason() -> None:
    date = {"date": "Thu, 01 Jan 1970 01:00:00 GMT"}
    assert clock_hint(Response(401, date, b""), 3_630.0) == ""
    assert clock_hint(Response(401, {}, b""), 0.0) == ""
    assert clock_hint(Response(401, {"date": "soon"}, b""), 0.0) == ""
    assert "100 s ahead of" in clock_hint(Response(401, date, b""), 3_700.0)
