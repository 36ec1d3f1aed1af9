"""Who is calling: API keys of tenants, and the operator's secrets."""

import asyncio
import hmac
from collections import OrderedDict
from typing import Annotated, Final

from fastapi import Depends, Request

from rushes.api.edge import response_headers
from rushes.api.parts import ApiParts
from rushes.api.problems import Refusal
from rushes.domain.api_key import api_key_hash, is_api_key
from rushes.store import keys
from rushes.store.database import Database
from rushes.store.keys import KeyOwner

REMEMBERED_SECONDS: Final = 2.0
"""How long a key's owner is known without asking the database: so soon a revoked key stops working."""

KEYS_REMEMBERED_MAX: Final = 10_000


class KeyRing:
    """Finds the owners of API keys; remembers each for a moment, by the key's hash."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, tuple[KeyOwner | None, float]] = OrderedDict()

    async def owner_of(self, key: str) -> KeyOwner | None:
        """The owner, unless the key is nobody's or was revoked."""
        key_hash = api_key_hash(key)
        now = asyncio.get_running_loop().time()
        known = self._known.get(key_hash)
        if known is not None and now < known[1]:
            return known[0]
        if not is_api_key(key):
            return None
        owner = await self._database.read(keys.owner_if_valid, key_hash)
        self._known[key_hash] = (owner, now + REMEMBERED_SECONDS)
        self._known.move_to_end(key_hash)
        while len(self._known) > KEYS_REMEMBERED_MAX:
            self._known.popitem(last=False)
        return owner


def _key_of(request: Request) -> str | None:
    """`x-api-key`, or the bearer token of `Authorization`."""
    given = request.headers.get("x-api-key")
    if given:
        return given.strip()
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def _authenticated(request: Request) -> KeyOwner:
    parts: ApiParts = request.app.state.parts
    key = _key_of(request)
    if key is None:
        raise Refusal(
            401,
            "MISSING_API_KEY",
            "send your key as x-api-key, or as Authorization: Bearer …",
            headers={"www-authenticate": "Bearer"},
        )
    owner = await parts.keys.owner_of(key)
    if owner is None:
        raise Refusal(
            401,
            "INVALID_API_KEY",
            "the key is wrong or was revoked",
            headers={"www-authenticate": 'Bearer error="invalid_token"'},
        )
    state = await parts.limits.admit(owner)
    if state is not None:
        response_headers(request.scope).update(state.headers())
    return owner


Caller = Annotated[KeyOwner, Depends(_authenticated)]
"""The account whose key came with the request. The request is counted against the key's rate limit."""


def same_secret(given: str, expected: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing of either."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
