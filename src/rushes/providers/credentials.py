"""Credentials that renew themselves: tokens that we sign, and tokens that we fetch with a service account.

A provider hands its `Credentials` to `HttpProvider`, which asks for the headers of each request. A token is
renewed before it ends, by one request however many wait for it; meanwhile the old one still serves.
"""

import asyncio
import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rushes.providers.answers import UNDECODABLE, Words, amount_in, complaint_of
from rushes.providers.http.transport import Response, Transport, TransportError
from rushes.providers.odd_json import read_over_oddities

SIGNED_SECONDS: Final = 1800
"""How long a token that we sign is valid."""

SKEW_SECONDS: Final = 5
"""A token is valid from a little before it was made, for a service whose clock is behind."""

RENEW_AT: Final = 0.7
"""The share of its life after which a token is renewed, while it still serves."""

RETRY_SECONDS: Final = 5.0
"""How soon a renewal that failed is retried, while the old token still serves."""

UNKNOWN_LIFE_SECONDS: Final = 300.0
"""How long a token is used whose answer does not say how long it lives."""

CLOCK_SECONDS_MAX: Final = 60.0
"""A service's clock that differs by more is named as a likely reason for a refusal."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class NoCredentials(TransportError):
    """There is no token to send a request with: nothing was sent.

    `key_refused` tells that the key is the reason, so that waiting alone does not help.
    """

    def __init__(self, reason: str, *, key_refused: bool) -> None:
        super().__init__(reason, may_have_been_received=False)
        self.key_refused = key_refused


class Credentials(Protocol):
    """What goes with each request, renewed when that is due."""

    async def headers(self) -> Mapping[str, str]:
        """The headers now. Raises `NoCredentials`."""
        ...

    def refused(self, sent: Mapping[str, str]) -> bool:
        """The service refused these headers: whether it is worth asking again, with the next ones."""
        ...


class SignedToken:
    """`Authorization: Bearer` with a JSON Web Token (RFC 7519) of an access key, signed with a secret key.

    `now()` is the wall clock in seconds; `words` masks each token where the service repeats it.
    """

    def __init__(self, access_key: str, secret_key: str, now: Callable[[], float], words: Words) -> None:
        self._access_key, self._secret_key = access_key, secret_key
        self._now, self._words = now, words
        self._made_at: float | None = None
        self._headers: Mapping[str, str] = {}

    async def headers(self) -> Mapping[str, str]:
        """Those of the token in use, or of a new one."""
        now = self._now()
        # a clock that was set back makes a new one as well
        if self._made_at is None or not 0 <= now - self._made_at < RENEW_AT * SIGNED_SECONDS:
            claims = {
                "iss": self._access_key,
                "exp": int(now) + SIGNED_SECONDS,
                "nbf": int(now) - SKEW_SECONDS,
            }
            token = signed_token(claims, "HS256", lambda text: _hmac(self._secret_key, text))
            self._words.keep(token)
            self._made_at, self._headers = now, {"authorization": f"Bearer {token}"}
        return self._headers

    def refused(self, sent: Mapping[str, str]) -> bool:
        """Whether the token was an old one; one that was just made would be refused again."""
        is_old = sent is not self._headers or (
            self._made_at is not None and self._now() - self._made_at > SKEW_SECONDS
        )
        if sent is self._headers:
            self._made_at = None
        return is_old


class ServiceAccount(msgspec.Struct, frozen=True):
    """The key file of a service account, as far as it is needed (RFC 7523)."""

    client_email: str
    private_key: str
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    project_id: str = ""

    def rsa_key(self) -> RSAPrivateKey:
        """The private key; raises `ValueError` for one that cannot be used."""
        try:
            key = load_pem_private_key(self.private_key.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("its private_key is no PEM of an RSA key") from None
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("its private_key is no RSA key")
        return key


class _Granted(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: Any = None

    @property
    def life_seconds(self) -> float:
        """How long it serves; a short while where the answer says nothing readable of it."""
        return amount_in(self.expires_in) or UNKNOWN_LIFE_SECONDS


_decode_granted = msgspec.json.Decoder(_Granted).decode


class FetchedToken:
    """An access token that a service account is granted, asked for anew before it ends.

    `transport` leads to the token's service; `now()` is the wall clock in seconds.
    """

    def __init__(
        self,
        account: ServiceAccount,
        *,
        scope: str,
        transport: Transport,
        timeout_seconds: float,
        now: Callable[[], float],
        words: Words,
    ) -> None:
        self._account, self._scope, self._key = account, scope, account.rsa_key()
        self._transport, self._timeout_seconds = transport, timeout_seconds
        self._now, self._words = now, words
        self._headers: Mapping[str, str] = {}
        self._renew_at = self._ends_at = 0.0
        self._granted_at = 0.0
        self._renewing: asyncio.Task[None] | None = None

    async def headers(self) -> Mapping[str, str]:
        """Those of the token in use; waits for a new one only when there is none that still serves."""
        now = self._now()
        if now >= self._renew_at and self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
        if self._headers and now < self._ends_at:
            return self._headers
        if self._renewing is not None:
            await asyncio.shield(self._renewing)
        return self._headers

    def refused(self, sent: Mapping[str, str]) -> bool:
        """Whether another token may help: this one was replaced meanwhile, or was granted a while ago."""
        if sent is not self._headers:
            return True
        is_old = self._now() - self._granted_at > SKEW_SECONDS
        if is_old:
            self._renew_at = self._ends_at = 0.0
        return is_old

    async def _renew(self) -> None:
        try:
            granted = await self._ask()
        except NoCredentials:
            if self._now() >= self._ends_at:
                raise  # to those who wait; the next request asks again
            self._renew_at = self._now() + RETRY_SECONDS
        else:
            now = self._now()
            self._words.keep(granted.access_token)
            self._headers = {"authorization": f"Bearer {granted.access_token}"}
            self._granted_at, self._ends_at = now, now + granted.life_seconds
            self._renew_at = now + RENEW_AT * granted.life_seconds
        finally:
            self._renewing = None

    async def _ask(self) -> _Granted:
        account, now = self._account, int(self._now())
        claims = {
            "iss": account.client_email,
            "scope": self._scope,
            "aud": account.token_uri,
            "iat": now,
            "exp": now + 3600,
        }
        assertion = signed_token(claims, "RS256", lambda text: self._key.sign(text, PKCS1v15(), SHA256()))
        grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
        try:
            response = await self._transport.request(
                "POST",
                account.token_uri,
                headers={"content-type": "application/x-www-form-urlencoded"},
                body=f"grant_type={grant}&assertion={assertion}".encode(),
                timeout_seconds=self._timeout_seconds,
            )
        except TransportError as error:
            raise NoCredentials(f"no access token: {error.reason}", key_refused=False) from None
        if response.status != 200:
            raise self._refusal(response)
        try:
            granted = read_over_oddities(_decode_granted, response.body)
        except UNDECODABLE:
            granted = _Granted("")
        if not granted.access_token or not granted.access_token.isprintable():
            raise NoCredentials("no access token: the answer has none", key_refused=False)
        return granted

    def _refusal(self, response: Response) -> NoCredentials:
        said = complaint_of(response.body)
        text = self._words.clean(said.text if said else "")
        hint = clock_hint(response, self._now())
        reason = f"no access token: HTTP {response.status}{f': {text}' if text else ''}{hint}"
        return NoCredentials(reason, key_refused=400 <= response.status < 500 and response.status != 429)


def clock_hint(response: Response, now: float) -> str:
    """What to add to a refusal of a token when our clock and the service's differ; else nothing."""
    theirs = _seconds_of_date(response.headers.get("date", ""))
    if theirs is None or abs(now - theirs) <= CLOCK_SECONDS_MAX:
        return ""
    side = "ahead of" if now > theirs else "behind"
    return f" (this machine's clock is {abs(now - theirs):.0f} s {side} the service's: set it right)"


def _seconds_of_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def signed_token(claims: Mapping[str, Any], algorithm: str, sign: Callable[[bytes], bytes]) -> str:
    """A JSON Web Token of these claims; `sign` makes the signature of its text."""
    parts = (_encode({"alg": algorithm, "typ": "JWT"}), _encode(claims))
    text = b".".join(_base64(part) for part in parts)
    return (text + b"." + _base64(sign(text))).decode()


def _hmac(secret: str, text: bytes) -> bytes:
    return hmac.new(secret.encode(), text, hashlib.sha256).digest()


def _base64(part: bytes) -> bytes:
    return urlsafe_b64encode(part).rstrip(b"=")
