"""Who is calling: API keys of tenants, and the operator's secrets."""

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from rushes import telemetry
from rushes.api.edge.outermost import KEY_REFUSED, response_headers
from rushes.api.edge.problems import Refusal
from rushes.api.parts import ApiParts
from rushes.domain import brake
from rushes.domain.catalogue.options import nearest, quoted
from rushes.domain.errors import InputError
from rushes.store.keys import KeyOwner, KeyScope

WRONG_KEYS_MAX: Final = 600
"""Wrong API keys that one address may send in a minute before they are slowed down: clients with an old key
go on for a while."""

WRONG_KEYS_IN_ALL_MAX: Final = 2_000

OPEN_PREFIXES: Final[Mapping[str, str]] = {"list_batches": "metadata."}
"""Routes whose parameters have names that only the caller knows, after this prefix."""

PARAMETER_CHARACTERS_MAX: Final = 64
"""A longer name of a query parameter is not repeated as the field at fault."""

FOR_READERS: Final = frozenset({"make_quote"})
"""Routes with another method than GET that change nothing."""

FOR_ADMINS: Final = frozenset(
    {
        *("list_keys", "create_key", "revoke_key", "get_secret", "rotate_secret"),
        *("create_endpoint", "get_endpoint", "change_endpoint", "delete_endpoint", "rotate_endpoint"),
    }
)
"""Routes that hand out secrets, or say who may do what."""

log = telemetry.logger()


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
        await slow_down(request, parts.key_brake, "api key")
        raise Refusal(
            401,
            "INVALID_API_KEY",
            KEY_REFUSED,
            headers={"www-authenticate": 'Bearer error="invalid_token"'},
        )
    if request.method == "GET":  # anything else is short, and is not to be cut within
        parts.open_answers.hold(owner.key_id, request.scope["rushes_key_revoked"])
    state = await parts.limits.admit(owner)
    if state is not None:
        response_headers(request.scope).update(state.headers())
    _refuse_unknown_parameters(request)
    parts.keys.used(owner.key_id, now_ms=parts.now_ms())
    _require_scope(request, owner)
    return owner


def _require_scope(request: Request, owner: KeyOwner) -> None:
    name = request.scope["route"].name
    wanted: KeyScope = "read" if request.method in ("GET", "HEAD") or name in FOR_READERS else "submit"
    if name in FOR_ADMINS:
        wanted = "admin"
    if not owner.may(wanted):
        raise Refusal(
            403,
            "SCOPE_MISSING",
            f"the key may {owner.scope}; this needs a key with the scope {wanted}",
            scope=owner.scope,
            required_scope=wanted,
        )


def _refuse_unknown_parameters(request: Request) -> None:
    """A filter with a typing error in its name would answer with everything."""
    route = request.scope["route"]
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = {field.alias for field in route.dependant.query_params}
    for name in request.query_params:
        prefix = OPEN_PREFIXES.get(route.name)
        if name in known:
            if len(request.query_params.getlist(name)) > 1:  # all but the last would be ignored
                raise InputError("given more than once; this path takes one value", field=name)
            continue
        if prefix is not None and name.startswith(prefix):
            continue
        suggestion = nearest(name, frozenset(known))
        takes = f"this path takes {', '.join(sorted(known))}" if known else "this path takes none"
        hint = f"did you mean {quoted(suggestion)}?" if suggestion else takes
        shown = name if name.isprintable() and len(name) <= PARAMETER_CHARACTERS_MAX else None
        raise InputError(f"unknown parameter {quoted(name)}; {hint}", field=shown)


Caller = Annotated[KeyOwner, Depends(_authenticated)]
"""The account whose key came with the request. The request is counted against the key's rate limit."""


async def slow_down(request: Request, counted: brake.Brake, kind: str) -> None:
    """A wrong secret of this kind came: count it, and wait before it is refused when there were too many."""
    address = request.client.host if request.client else ""
    now = asyncio.get_running_loop().time()
    was_free = counted.wait_seconds(address, now) == 0
    if counted.failed(address, now) == 0:
        return
    if was_free:
        log.warning(telemetry.SECRETS_GUESSED, kind=kind, address=brake.network_of(address))
    await asyncio.sleep(brake.SLOW_SECONDS)


def is_one_of(given: str, expected: Sequence[str]) -> bool:
    """Whether it is one of these secrets, in a time that tells nothing of them."""
    found = [
        hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode()) for secret in expected
    ]
    return any(found)
