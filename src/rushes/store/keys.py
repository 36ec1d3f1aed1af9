"""API keys and how many requests each has used of its minute. Of a key only its hash is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from sqlalchemy import Connection, func, insert, select, text

from rushes.domain.errors import InputError, NotFound
from rushes.store import ledger
from rushes.store.database import statement
from rushes.store.tables import schema

KeyScope: TypeAlias = Literal["read", "submit", "admin"]
KEY_SCOPES: Final[tuple[KeyScope, ...]] = get_args(KeyScope)
"""What a key may do, each with what the one before may: read; make, cancel and retry; keys and webhooks."""

KEY_NAME_CHARACTERS_MAX = 100
KEYS_MAX: Final = 100
"""Good keys of an account that its own keys may make."""

RATE_LIMIT_PER_MIN: Final = 600
"""The limit of a new key for which no other is named."""

RATE_LIMIT_PER_MIN_MAX = 10_000_000

WINDOW_KEPT_SECONDS: Final = 600
"""How long it is known what a key used of a minute. A process whose clock is not that far behind still counts
in the newest window."""

NEWEST_VALID_FIRST: Final = (schema.api_keys.c.revoked_at_ms.is_not(None), schema.api_keys.c.id.desc())
"""The order of lists of keys: however many were revoked, those that still open something are shown."""


def request_scope_of(key_id: int) -> str:
    """The `request_scope` of the batches that a key makes: their request ids are unique among them."""
    return f"key:{key_id}"


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Whose key it is, and what it may do. `rate_limit_per_min` is None for a key without a limit."""

    key_id: int
    account_id: int
    account: str
    rate_limit_per_min: int | None
    scope: KeyScope = "admin"

    def may(self, wanted: KeyScope) -> bool:
        """Whether the key's scope has this one in it."""
        return KEY_SCOPES.index(self.scope) >= KEY_SCOPES.index(wanted)


@dataclass(frozen=True, slots=True)
class Granted:
    """Requests that one statement was given, and the window they count in."""

    count: int
    used: int
    window_start_ms: int


def create(
    connection: Connection,
    account_id: int,
    *,
    name: str,
    shown: str,
    key_hash: str,
    rate_limit_per_min: int | None,
    scope: KeyScope = "admin",
    credits_per_day_max: int | None = None,
    made_by_key_id: int | None = None,
    now_ms: int,
) -> int:
    """Store a new key's hash; returns the key's id. Raises `InputError`."""
    if len(name) > KEY_NAME_CHARACTERS_MAX or not (name.isprintable() or not name):
        raise InputError(f"must be at most {KEY_NAME_CHARACTERS_MAX} printable characters", field="name")
    if rate_limit_per_min is not None and not 1 <= rate_limit_per_min <= RATE_LIMIT_PER_MIN_MAX:
        raise InputError(f"must be 1 to {RATE_LIMIT_PER_MIN_MAX}", field="rate_limit_per_min")
    key_id = connection.scalar(
        insert(schema.api_keys)
        .values(
            account_id=account_id,
            name=name,
            shown=shown,
            key_hash=key_hash,
            rate_limit_per_min=rate_limit_per_min,
            scope=scope,
            credits_per_day_max=credits_per_day_max,
            made_by_key_id=made_by_key_id,
            created_at_ms=now_ms,
        )
        .returning(schema.api_keys.c.id)
    )
    assert key_id is not None
    return int(key_id)


def owner_if_valid(connection: Connection, key_hash: str) -> KeyOwner | None:
    """The owner of the key with this hash, unless there is none or it was revoked."""
    row = connection.execute(
        text(
            "SELECT k.id, k.account_id, a.name, k.rate_limit_per_min, k.scope FROM api_keys k"
            " JOIN accounts a ON a.id = k.account_id WHERE k.key_hash = :hash AND k.revoked_at_ms IS NULL"
        ),
        {"hash": key_hash},
    ).first()
    return None if row is None else KeyOwner(*row)


def owner_by_id_if_valid(connection: Connection, key_id: int) -> KeyOwner | None:
    """The owner of the key with this number, unless there is none or it was revoked."""
    key_hash = connection.scalar(select(schema.api_keys.c.key_hash).filter_by(id=key_id))
    return None if key_hash is None else owner_if_valid(connection, key_hash)


def list_keys(
    connection: Connection, *, account: str | None = None, limit: int = 1000
) -> list[dict[str, Any]]:
    """Keys of one account or of all, as `NEWEST_VALID_FIRST`: rows of `api_keys` with the account's name.

    Raises `NotFound` for an account that does not exist.
    """
    keys, accounts = schema.api_keys, schema.accounts
    query = (
        select(keys, accounts.c.name.label("account"))
        .join_from(keys, accounts, accounts.c.id == keys.c.account_id)
        .order_by(*NEWEST_VALID_FIRST)
        .limit(limit)
    )
    if account is not None:
        query = query.where(keys.c.account_id == ledger.account_id(connection, account))
    return [dict(row._mapping) for row in connection.execute(query)]


def of_account(connection: Connection, account_id: int, *, limit: int = 1000) -> list[dict[str, Any]]:
    """The rows of the account's keys, as `NEWEST_VALID_FIRST`."""
    of_account = select(schema.api_keys).where(schema.api_keys.c.account_id == account_id)
    query = of_account.order_by(*NEWEST_VALID_FIRST).limit(limit)
    return [dict(row._mapping) for row in connection.execute(query)]


def by_id(connection: Connection, key_id: int) -> dict[str, Any]:
    """The row of a key that is there."""
    query = select(schema.api_keys).filter_by(id=key_id)
    return dict(connection.execute(query).one()._mapping)


def good_count(connection: Connection, account_id: int) -> int:
    """How many keys of the account were not revoked."""
    c = schema.api_keys.c
    query = select(func.count()).where(c.account_id == account_id, c.revoked_at_ms.is_(None))
    return int(connection.scalar(query) or 0)


def require_own(connection: Connection, account_id: int, key_id: int) -> None:
    """Raise `NotFound` unless the account has this key."""
    c = schema.api_keys.c
    if connection.scalar(select(c.id).where(c.id == key_id, c.account_id == account_id)) is None:
        raise NotFound("there is no such key")


def mark_used(connection: Connection, key_id: int, *, now_ms: int) -> None:
    """The key was used about now."""
    c = schema.api_keys.c
    connection.execute(schema.api_keys.update().where(c.id == key_id).values(last_used_at_ms=now_ms))


def revoke(connection: Connection, key_id: int, *, now_ms: int) -> bool:
    """Revoke a key permanently; doing it again changes nothing. Raises `NotFound`.

    Returns whether it was good until now.
    """
    c = schema.api_keys.c
    if connection.scalar(select(c.id).where(c.id == key_id)) is None:
        raise NotFound(f"there is no key {key_id}; see `rushes keys list`")
    revoked = connection.execute(
        schema.api_keys.update().where(c.id == key_id, c.revoked_at_ms.is_(None)).values(revoked_at_ms=now_ms)
    )
    return revoked.rowcount == 1


def revoked_among(connection: Connection, key_ids: Sequence[int]) -> list[int]:
    """Those of these keys that were revoked."""
    c = schema.api_keys.c
    return list(connection.scalars(select(c.id).where(c.id.in_(key_ids), c.revoked_at_ms.is_not(None))))


def take_requests(
    connection: Connection, key_id: int, *, wanted: int, limit: int, window_start_ms: int
) -> Granted:
    """Take up to `wanted` of the requests that the key's window has left: one statement, no lock held.

    A window is named by its start; a process whose clock is behind takes from the newer window.
    """
    row = connection.execute(
        text(
            "INSERT INTO rate_windows (key_id, window_start_ms, used, granted)"
            " VALUES (:key_id, :window, :first, :first) ON CONFLICT (key_id) DO UPDATE SET"
            f" granted = CASE WHEN {_IS_NEWER} THEN excluded.used ELSE {_LEFT} END,"
            f" used = CASE WHEN {_IS_NEWER} THEN excluded.used ELSE rate_windows.used + {_LEFT} END,"
            f" window_start_ms = CASE WHEN {_IS_NEWER} THEN excluded.window_start_ms"
            " ELSE rate_windows.window_start_ms END"
            " RETURNING granted, used, window_start_ms"
        ),
        {
            "key_id": key_id,
            "window": window_start_ms,
            "first": min(wanted, limit),
            "wanted": wanted,
            "limit": limit,
        },
    ).one()
    return Granted(*row)


def forget_windows(connection: Connection, *, now_ms: int) -> int:
    """Forget how much the keys used of minutes that are long over; returns of how many keys."""
    long_over = statement("DELETE FROM rate_windows WHERE window_start_ms < :before")
    return connection.execute(long_over, {"before": now_ms - WINDOW_KEPT_SECONDS * 1000}).rowcount


_IS_NEWER = "excluded.window_start_ms > rate_windows.window_start_ms"
_LEFT = (
    "(CASE WHEN rate_windows.used + :wanted <= :limit THEN :wanted"
    " WHEN rate_windows.used < :limit THEN :limit - rate_windows.used ELSE 0 END)"
)
