"""Webhook endpoints as their account manages them: each gets the events of all batches that it asks for."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from rushes.domain.errors import InputError, NotFound
from rushes.domain.input.event_filter import types_in
from rushes.store.database import Rows, for_update, lock_name, skip_locked, statement
from rushes.store.tables import schema
from rushes.store.webhook_keys import KeyVersions
from rushes.store.webhooks import event_log

ENDPOINTS_MAX: Final = 20
"""Endpoints of an account."""

REPLAYED_MAX: Final = 10_000
"""Deliveries that one request sends again."""

OWNER: Final = "owner"
GONE: Final = "gone"

EVENTS_AT_ONCE_MAX: Final = 1000

_TYPES = Rows(name=str)


def create(
    connection: Connection,
    account_id: int,
    *,
    public_id: str,
    url: str,
    events: str | None,
    description: str | None,
    is_enabled: bool,
    now_ms: int,
) -> dict[str, Any]:
    """A new endpoint, which gets what happens from now on; its row. Raises `InputError`."""
    lock_name(connection, f"webhook endpoints of account {account_id}")
    _require_free(connection, account_id, url)
    if len(of_account(connection, account_id)) >= ENDPOINTS_MAX:
        raise InputError(f"an account has at most {ENDPOINTS_MAX} endpoints; delete one first", field="url")
    connection.execute(
        schema.webhook_endpoints.insert().values(
            account_id=account_id,
            public_id=public_id,
            url=url,
            events=events,
            description=description,
            last_position=event_log.head(connection, account_id),
            created_at_ms=now_ms,
            **_enabled(is_enabled, now_ms),
        )
    )
    return find(connection, account_id, public_id)


def of_account(connection: Connection, account_id: int) -> list[dict[str, Any]]:
    """The rows of the account's endpoints, oldest first."""
    e = schema.webhook_endpoints
    query = select(e).where(
        e.c.account_id == account_id, e.c.public_id.is_not(None), e.c.deleted_at_ms.is_(None)
    )
    return [dict(row._mapping) for row in connection.execute(query.order_by(e.c.id))]


def find(connection: Connection, account_id: int, public_id: str) -> dict[str, Any]:
    """The row of one of them. Raises `NotFound`."""
    for row in of_account(connection, account_id):
        if row["public_id"] == public_id:
            return row
    raise NotFound("there is no endpoint with this id")


def require_ever(connection: Connection, account_id: int, public_id: str) -> None:
    """Raise `NotFound` unless the account has it, or had: a deleted one's deliveries stay."""
    e = schema.webhook_endpoints
    query = select(e.c.id).where(e.c.account_id == account_id, e.c.public_id == public_id)
    if connection.scalar(query) is None:
        raise NotFound("there is no endpoint with this id")


def change(
    connection: Connection, account_id: int, public_id: str, values: Mapping[str, Any], *, now_ms: int
) -> dict[str, Any]:
    """Change `url`, `events`, `description` or `is_enabled`; the row since. Raises `InputError`, `NotFound`.

    What waits for an endpoint that is turned off is kept as `disabled`, and can be replayed.
    """
    lock_name(connection, f"webhook endpoints of account {account_id}")
    row = find(connection, account_id, public_id)
    changed = {name: values[name] for name in ("url", "events", "description") if name in values}
    if changed.get("url", row["url"]) != row["url"]:
        _require_free(connection, account_id, changed["url"])
    wanted = values.get("is_enabled")
    if wanted is not None and wanted is not (row["disabled_at_ms"] is None):
        changed |= _enabled(wanted, now_ms)
    if changed:
        e = schema.webhook_endpoints
        connection.execute(e.update().where(e.c.id == row["id"]).values(**changed))
    if wanted is False:
        _hold_back(connection, row["id"])
    return find(connection, account_id, public_id)


def delete(connection: Connection, account_id: int, public_id: str, *, now_ms: int) -> None:
    """Send it nothing more; its deliveries stay listed. Raises `NotFound`."""
    lock_name(connection, f"webhook endpoints of account {account_id}")
    row = find(connection, account_id, public_id)
    e = schema.webhook_endpoints
    connection.execute(
        e.update().where(e.c.id == row["id"]).values(deleted_at_ms=now_ms, **_enabled(False, now_ms))
    )
    _hold_back(connection, row["id"])


def rotate(
    connection: Connection, account_id: int, public_id: str, *, overlap_seconds: int, now_ms: int
) -> dict[str, Any]:
    """A new secret from now on; the one before still signs for `overlap_seconds`. Raises `NotFound`."""
    row = find(connection, account_id, public_id)
    e = schema.webhook_endpoints
    connection.execute(
        e.update()
        .where(e.c.id == row["id"])
        .values(secret_version=e.c.secret_version + 1, previous_until_ms=now_ms + overlap_seconds * 1000)
    )
    return find(connection, account_id, public_id)


def versions_of(row: Mapping[str, Any], *, now_ms: int) -> KeyVersions:
    """The versions of the endpoint's secret that sign now."""
    version, until_ms = row["secret_version"], row["previous_until_ms"]
    return KeyVersions(version) if now_ms >= until_ms else KeyVersions(version, version - 1, until_ms)


def replay_since(
    connection: Connection, account_id: int, public_id: str, *, since_ms: int, now_ms: int
) -> int:
    """Send again what it has not taken of events since then, the oldest first; returns how many.

    Raises `NotFound`, and `InputError` while it is turned off.
    """
    row = find(connection, account_id, public_id)
    if row["disabled_at_ms"] is not None:
        raise InputError("the endpoint is turned off; enable it first", field="endpoint_id")
    result = connection.execute(
        statement(
            "UPDATE webhook_deliveries SET status = 'pending', next_attempt_at_ms = :now,"
            " first_attempt = attempts, delivered_at_ms = NULL WHERE id IN (SELECT id FROM webhook_deliveries"
            " WHERE endpoint_id = :endpoint_id AND account_id = :account_id AND created_at_ms >= :since"
            f" AND status IN ('failed', 'disabled') ORDER BY id LIMIT :limit{for_update(connection)})"
        ),
        {
            "now": now_ms,
            "endpoint_id": row["id"],
            "account_id": account_id,
            "since": since_ms,
            "limit": REPLAYED_MAX,
        },
    )
    return result.rowcount


def _require_free(connection: Connection, account_id: int, url: str) -> None:
    if any(row["url"] == url for row in of_account(connection, account_id)):
        raise InputError("another endpoint of the account has this URL", field="url")


def _enabled(is_enabled: bool, now_ms: int) -> dict[str, Any]:
    if is_enabled:
        return {"disabled_at_ms": None, "disabled_reason": None}
    return {"disabled_at_ms": now_ms, "disabled_reason": OWNER}


def _hold_back(connection: Connection, endpoint_id: int) -> None:
    d = schema.webhook_deliveries
    connection.execute(
        d.update().where(d.c.endpoint_id == endpoint_id, d.c.status == "pending").values(status="disabled")
    )


# --- from the log to deliveries -------------------------------------------------------------------------

_MANAGED = "e.public_id IS NOT NULL AND e.deleted_at_ms IS NULL"
_HEAD = "COALESCE((SELECT MAX(a.position) FROM account_events a WHERE a.account_id = e.account_id), 0)"
_BEHIND = (
    f"({_HEAD} > e.last_position OR EXISTS (SELECT 1 FROM batches b WHERE b.account_id = e.account_id"
    " AND b.event_seq > b.logged_seq))"
)


def any_behind(connection: Connection) -> bool:
    """Whether an endpoint has events without deliveries."""
    query = f"SELECT 1 FROM webhook_endpoints e WHERE {_MANAGED} AND {_BEHIND} LIMIT 1"
    return connection.scalar(statement(query)) is not None


def fan_out(connection: Connection, *, after_account_id: int, now_ms: int) -> tuple[int, int]:
    """Make deliveries of new events for the endpoints of one account that is behind, in turn after that one.

    Returns the account, 0 where there is none behind, and how many events were dealt with. One account at a
    time: its batches are locked in their order. Two processes never work on the same endpoint (SKIP LOCKED),
    and none gets an event twice (a unique key).
    """
    lock = skip_locked(connection).replace("FOR UPDATE", "FOR UPDATE OF e")
    rows = connection.execute(
        statement(
            "SELECT e.id, e.account_id, e.url, e.events, e.last_position, e.disabled_at_ms, e.created_at_ms"
            f" FROM webhook_endpoints e WHERE {_MANAGED} AND {_BEHIND} AND e.account_id ="
            f" (SELECT MIN(e.account_id) FROM webhook_endpoints e WHERE {_MANAGED} AND {_BEHIND}"
            f" AND e.account_id > :after) ORDER BY e.id{lock}"
        ),
        {"after": after_account_id},
    ).all()
    if not rows:
        return fan_out(connection, after_account_id=0, now_ms=now_ms) if after_account_id else (0, 0)
    account_id = rows[0].account_id
    numbered = event_log.number_new(connection, account_id, now_ms=now_ms)
    return account_id, numbered + sum(_deliver(connection, row, now_ms) for row in rows)


def _deliver(connection: Connection, endpoint: Row[Any], now_ms: int) -> int:
    until = min(event_log.head(connection, endpoint.account_id), endpoint.last_position + EVENTS_AT_ONCE_MAX)
    connection.execute(
        statement(
            "INSERT INTO webhook_deliveries (account_id, endpoint_id, batch_id, seq, type, status,"
            " next_attempt_at_ms, created_at_ms) SELECT a.account_id, CAST(:endpoint_id AS bigint),"
            " a.batch_id, a.seq, e.type, :status, CAST(:now AS bigint), e.created_at_ms"
            " FROM account_events a JOIN batch_events e ON e.batch_id = a.batch_id AND e.seq = a.seq"
            " WHERE a.account_id = :account_id AND a.position > :after AND a.position <= :until"
            f" AND e.type IN (SELECT v.name FROM {_TYPES.sql(connection)}) AND e.created_at_ms >= :since"
            # what the batch itself sends to the same address comes from there
            " AND NOT EXISTS (SELECT 1 FROM webhook_feeds f JOIN webhook_endpoints o ON o.id = f.endpoint_id"
            " WHERE f.batch_id = a.batch_id AND o.url = :url AND o.disabled_at_ms IS NULL"
            " AND (f.events IS NULL OR ',' || f.events || ',' LIKE '%,' || e.type || ',%'))"
            " ORDER BY a.position ON CONFLICT (batch_id, seq, endpoint_id) DO NOTHING"
        ),
        {
            **_TYPES.parameters(connection, [(name,) for name in types_in(endpoint.events)]),
            "endpoint_id": endpoint.id,
            "account_id": endpoint.account_id,
            "status": "pending" if endpoint.disabled_at_ms is None else "disabled",
            "now": now_ms,
            "after": endpoint.last_position,
            "until": until,
            "since": endpoint.created_at_ms,
            "url": endpoint.url,
        },
    )
    connection.execute(
        statement("UPDATE webhook_endpoints SET last_position = :until WHERE id = :id"),
        {"until": until, "id": endpoint.id},
    )
    return int(until - endpoint.last_position)
