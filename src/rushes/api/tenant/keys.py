"""An account's own keys: list, make, revoke."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from sqlalchemy import Connection
from starlette.responses import Response

from rushes.api.auth import Caller
from rushes.api.edge.answering import ok_answer
from rushes.api.edge.bodies import read_object
from rushes.api.edge.problems import unknown_field
from rushes.api.parts import Parts
from rushes.api.shapes import account as shapes
from rushes.api.shapes import requests
from rushes.api.shapes.batch_bodies import read_label
from rushes.api.shapes.documents import ACCOUNT, answers, json_body
from rushes.domain.api_key import api_key_hash, shown_part
from rushes.domain.catalogue.options import quoted
from rushes.domain.credits import CREDITS_MAX
from rushes.domain.errors import InputError
from rushes.domain.notation import iso_time
from rushes.store import keys
from rushes.store.keys import (
    KEY_NAME_CHARACTERS_MAX,
    RATE_LIMIT_PER_MIN,
    RATE_LIMIT_PER_MIN_MAX,
    KeyOwner,
    KeyScope,
)

FIELDS: Final = frozenset({"name", "scope", "rate_limit_per_min", "credits_per_day_max"})

router = APIRouter(prefix="/keys", tags=[ACCOUNT])


@router.get("", response_model=shapes.KeyList, summary="List keys", responses=answers())
async def list_keys(caller: Caller, parts: Parts) -> Response:
    """The newest 1,000, valid ones before revoked ones. Needs a key with the scope `admin`."""
    rows = await parts.database.read(keys.of_account, caller.account_id)
    return ok_answer({"data": [_view(row, caller) for row in rows]})


@router.post(
    "",
    status_code=201,
    response_model=shapes.NewKeyAnswer,
    summary="Create a key",
    responses=answers(400, 408, 413, 415, 422),
    openapi_extra=json_body(
        requests.NewKey, {"name": "the shop", "scope": "submit", "credits_per_day_max": 1000}
    ),
)
async def create_key(request: Request, caller: Caller, parts: Parts) -> Response:
    """`key` is shown this once. It may make no more requests a minute than the key that asks.

    What it spends in a day counts against that one's cap too.
    """
    document = await read_object(request)
    for name in document:
        if name not in FIELDS:
            raise unknown_field(name, FIELDS)
    limit = _number(document, "rate_limit_per_min", 1, RATE_LIMIT_PER_MIN_MAX)
    own = caller.rate_limit_per_min
    if own is not None and limit is not None and limit > own:
        raise InputError(f"at most {own}, the limit of the key that asks", field="rate_limit_per_min")
    key = parts.new_api_key()
    row = await parts.database.transact(
        _create,
        caller,
        name=read_label(document, "name", characters_max=KEY_NAME_CHARACTERS_MAX) or "",
        shown=shown_part(key),
        key_hash=api_key_hash(key),
        rate_limit_per_min=limit or own or RATE_LIMIT_PER_MIN,
        scope=_scope(document),
        credits_per_day_max=_number(document, "credits_per_day_max", 0, CREDITS_MAX),
        now_ms=parts.now_ms(),
    )
    return ok_answer({"key": key, **_view(row, caller)}, status=201)


@router.delete(
    "/{key_id}", response_model=shapes.RevokedKey, summary="Revoke a key", responses=answers(404, 422)
)
async def revoke_key(
    key_id: Annotated[int, Path(ge=1, lt=2**53, description="The key's number.", examples=[7])],
    caller: Caller,
    parts: Parts,
) -> Response:
    """For good; its requests and open streams end within two seconds. A key cannot revoke itself."""
    if key_id == caller.key_id:
        raise InputError("a key cannot revoke itself; use another one", field="key_id")
    await parts.database.transact(_revoke, caller.account_id, key_id, now_ms=parts.now_ms())
    return ok_answer({"key_id": key_id, "revoked": True})


def _create(
    connection: Connection, caller: KeyOwner, /, *, credits_per_day_max: int | None, **wanted: Any
) -> dict[str, Any]:
    account_id = caller.account_id
    own = keys.by_id(connection, caller.key_id)["credits_per_day_max"]
    if own is not None and credits_per_day_max is not None and credits_per_day_max > own:
        raise InputError(f"at most {own}, the cap of the key that asks", field="credits_per_day_max")
    wanted["credits_per_day_max"] = own if credits_per_day_max is None else credits_per_day_max
    if keys.good_count(connection, account_id) >= keys.KEYS_MAX:
        raise InputError(f"an account has at most {keys.KEYS_MAX} keys; revoke one first", field="name")
    key_id = keys.create(connection, account_id, made_by_key_id=caller.key_id, **wanted)
    return keys.by_id(connection, key_id)


def _revoke(connection: Connection, account_id: int, key_id: int, *, now_ms: int) -> None:
    keys.require_own(connection, account_id, key_id)
    keys.revoke(connection, key_id, now_ms=now_ms)


def _scope(document: Mapping[str, Any]) -> KeyScope:
    scope = document.get("scope")
    if scope is None:
        return "submit"
    for known in keys.KEY_SCOPES:
        if scope == known:
            return known
    raise InputError(f"must be one of {', '.join(keys.KEY_SCOPES)}, not {quoted(scope)}", field="scope")


def _number(document: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"must be a whole number from {least} to {most}, not {quoted(value)}", field=name)
    return value


def _view(row: Mapping[str, Any], caller: KeyOwner) -> dict[str, Any]:
    return {
        "key_id": row["id"],
        "name": row["name"],
        "shown": f"{row['shown']}…",
        "scope": row["scope"],
        "rate_limit_per_min": row["rate_limit_per_min"],
        "credits_per_day_max": row["credits_per_day_max"],
        "made_by_key_id": row["made_by_key_id"],
        "created_at": iso_time(row["created_at_ms"]),
        "last_used_at": iso_time(row["last_used_at_ms"]),
        "revoked_at": iso_time(row["revoked_at_ms"]),
        "is_this": row["id"] == caller.key_id,
    }
