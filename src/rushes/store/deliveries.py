"""Outgoing webhooks: feeds of batches, and one delivery per event.

A batch that named a webhook has a *feed*: how far its events have been turned into deliveries. Events are
written by the transactions that settle, deliveries later from the events, so settling never waits for a
webhook, and an event whose commit was seen is delivered whatever crashes in between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select, text

from rushes.domain.errors import NotFound
from rushes.domain.input.event_filter import types_in
from rushes.store.batches import without_deleted
from rushes.store.database import Rows, skip_locked
from rushes.store.tables import schema

ERROR_CHARACTERS_MAX = 300

CLAIM_MS_MAX = 60_000
"""How long a claim lasts at most: a delivery that waits for longer is not being sent."""


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that this process sends now. `attempts` counts this try, and guards what is recorded."""

    delivery_id: int
    endpoint_id: int
    account_id: int
    batch_id: int
    seq: int
    type: str
    attempts: int
    first_attempt: int
    event_at_ms: int
    url: str
    endpoint: str | None = None
    """The public id of an endpoint that its account manages; None for an address that a batch named."""
    secret_version: int = 1
    previous_until_ms: int = 0

    @property
    def secret_facts(self) -> Mapping[str, int]:
        """The endpoint's columns about its secret."""
        return {"secret_version": self.secret_version, "previous_until_ms": self.previous_until_ms}

    @property
    def try_number(self) -> int:
        """1 for the first try since the event or since the last replay."""
        return self.attempts - self.first_attempt


# --- feeds ----------------------------------------------------------------------------------------------


def open_feed(
    connection: Connection,
    batch_id: int,
    *,
    account_id: int,
    url: str,
    events: str | None = None,
    now_ms: int,
) -> None:
    """Deliver this new batch's events to the URL: all, or those that the filter lets through.

    A URL that has answered 410 stays turned off, whichever batch names it.
    """
    endpoint_id = connection.scalar(
        text(
            "INSERT INTO webhook_endpoints (account_id, url, created_at_ms)"
            " VALUES (:account_id, :url, :now) ON CONFLICT (account_id, url) WHERE public_id IS NULL"
            " DO UPDATE SET url = excluded.url RETURNING id"
        ),
        {"account_id": account_id, "url": url, "now": now_ms},
    )
    types = None if events is None else ",".join(types_in(events))
    connection.execute(
        schema.webhook_feeds.insert().values(
            batch_id=batch_id, endpoint_id=endpoint_id, events=types, last_seq=0
        )
    )


def reopen_feed(connection: Connection, batch_id: int) -> None:
    """Open the finished batch's feed, if it has one: an item is retried."""
    c = schema.webhook_feeds.c
    connection.execute(schema.webhook_feeds.update().where(c.batch_id == batch_id).values(is_open=1))


_TYPES = Rows(name=str)

_FEEDS_WITH_NEWS = (
    " FROM webhook_feeds f JOIN batches b ON b.id = f.batch_id"
    " JOIN webhook_endpoints e ON e.id = f.endpoint_id"
    " WHERE f.is_open = 1 AND (b.event_seq > f.last_seq OR b.finalized_at_ms IS NOT NULL)"
)


def any_news(connection: Connection) -> bool:
    """Whether a feed has events without deliveries, or can be closed."""
    return connection.scalar(text(f"SELECT 1{_FEEDS_WITH_NEWS} LIMIT 1")) is not None


def fan_out(connection: Connection, *, feeds_max: int, events_max: int, now_ms: int) -> int:
    """Make deliveries of new events, at most `events_max` of each of `feeds_max` feeds; returns how many.

    Two processes never work on the same feed (SKIP LOCKED), and an event never gets two deliveries (a
    unique key).
    """
    lock = skip_locked(connection).replace("FOR UPDATE", "FOR UPDATE OF f")
    feeds = connection.execute(
        text(
            "SELECT f.batch_id, f.endpoint_id, f.last_seq, f.events, b.account_id, b.event_seq,"
            f" e.disabled_at_ms{_FEEDS_WITH_NEWS} ORDER BY f.batch_id LIMIT :feeds_max{lock}"
        ),
        {"feeds_max": feeds_max},
    ).all()
    return sum(_feed(connection, row, events_max=events_max, now_ms=now_ms) for row in feeds)


def _feed(connection: Connection, feed: Row[Any], *, events_max: int, now_ms: int) -> int:
    until = min(feed.event_seq, feed.last_seq + events_max)
    connection.execute(
        text(
            "INSERT INTO webhook_deliveries (account_id, endpoint_id, batch_id, seq, type, status,"
            " next_attempt_at_ms, created_at_ms) SELECT CAST(:account_id AS bigint),"
            " CAST(:endpoint_id AS bigint), batch_id, seq, type, :status, CAST(:now AS bigint), created_at_ms"
            " FROM batch_events WHERE batch_id = :batch_id AND seq > :after AND seq <= :until"
            f" AND type IN (SELECT v.name FROM {_TYPES.sql(connection)}) ORDER BY seq"
            " ON CONFLICT (batch_id, seq, endpoint_id) DO NOTHING"
        ),
        {
            **_TYPES.parameters(connection, [(name,) for name in types_in(feed.events)]),
            "account_id": feed.account_id,
            "endpoint_id": feed.endpoint_id,
            "status": "pending" if feed.disabled_at_ms is None else "disabled",
            "now": now_ms,
            "batch_id": feed.batch_id,
            "after": feed.last_seq,
            "until": until,
        },
    )
    # read anew, with the feed locked: a batch that was retried since the feeds were chosen stays open
    connection.execute(
        text(
            "UPDATE webhook_feeds SET last_seq = :until, is_open = CASE WHEN EXISTS (SELECT 1 FROM batches b"
            " WHERE b.id = webhook_feeds.batch_id AND b.finalized_at_ms IS NOT NULL AND b.event_seq = :until)"
            " THEN 0 ELSE 1 END WHERE batch_id = :batch_id"
        ),
        {"batch_id": feed.batch_id, "until": until},
    )
    return int(until - feed.last_seq)


# --- sending --------------------------------------------------------------------------------------------


_EXCEPT = Rows(endpoint_id=int, account_id=int)


def endpoints_with_due(
    connection: Connection,
    *,
    now_ms: int,
    limit: int,
    except_endpoints: Sequence[int] = (),
    except_accounts: Sequence[int] = (),
) -> list[tuple[int, int]]:
    """`(endpoint_id, account_id)` with deliveries that are due, the longest overdue first."""
    excepted = _EXCEPT.sql(connection)
    rows = connection.execute(
        text(
            "SELECT d.endpoint_id, e.account_id FROM"
            " (SELECT endpoint_id, MIN(next_attempt_at_ms) AS due_at_ms FROM webhook_deliveries"
            " WHERE status = 'pending' AND next_attempt_at_ms <= :now GROUP BY endpoint_id) d"
            " JOIN webhook_endpoints e ON e.id = d.endpoint_id WHERE e.id NOT IN"
            f" (SELECT v.endpoint_id FROM {excepted} WHERE v.endpoint_id IS NOT NULL) AND e.account_id NOT IN"
            f" (SELECT v.account_id FROM {excepted} WHERE v.account_id IS NOT NULL)"
            " ORDER BY d.due_at_ms, d.endpoint_id LIMIT :limit"
        ),
        {
            "now": now_ms,
            "limit": limit,
            **_EXCEPT.parameters(
                connection,
                [*((key, None) for key in except_endpoints), *((None, key) for key in except_accounts)],
            ),
        },
    )
    return [(row.endpoint_id, row.account_id) for row in rows]


def claim_if_due(
    connection: Connection, endpoint_id: int, *, limit: int, now_ms: int, claimed_until_ms: int
) -> list[ClaimedDelivery]:
    """Take up to `limit` due deliveries of an endpoint, in the order of their events.

    Until `claimed_until_ms` no other process takes them; a claim that was never recorded, because its
    process died, is retried then.
    """
    claimed = connection.scalars(
        text(
            "WITH picked AS MATERIALIZED (SELECT id FROM webhook_deliveries WHERE endpoint_id = :endpoint_id"
            " AND status = 'pending' AND next_attempt_at_ms <= :now ORDER BY next_attempt_at_ms, id"
            f" LIMIT :limit{skip_locked(connection)}) UPDATE webhook_deliveries SET attempts = attempts + 1,"
            " next_attempt_at_ms = :until WHERE id IN (SELECT id FROM picked) AND status = 'pending'"
            " RETURNING id"
        ),
        {"endpoint_id": endpoint_id, "now": now_ms, "limit": limit, "until": claimed_until_ms},
    ).all()
    d, e = schema.webhook_deliveries, schema.webhook_endpoints
    rows = connection.execute(
        select(
            d.c.id,
            d.c.endpoint_id,
            d.c.account_id,
            d.c.batch_id,
            d.c.seq,
            d.c.type,
            d.c.attempts,
            d.c.first_attempt,
            d.c.created_at_ms,
            e.c.url,
            e.c.public_id,
            e.c.secret_version,
            e.c.previous_until_ms,
        )
        .join_from(d, e, e.c.id == d.c.endpoint_id)
        .where(d.c.id.in_(claimed))
        .order_by(d.c.id)
    )
    return [ClaimedDelivery(*tuple(row)) for row in rows]


def record_delivered_if_claimed(
    connection: Connection, delivery: ClaimedDelivery, *, http_status: int, now_ms: int
) -> None:
    """The receiver took it."""
    _update_if_claimed(
        connection, delivery, status="delivered", http_status=http_status, error=None, delivered_at_ms=now_ms
    )


def record_failure_if_claimed(
    connection: Connection,
    delivery: ClaimedDelivery,
    *,
    http_status: int | None,
    error: str,
    next_attempt_at_ms: int | None,
) -> None:
    """The receiver did not take it; None for the next attempt: it is given up."""
    values: dict[str, Any] = {"http_status": http_status, "error": error[:ERROR_CHARACTERS_MAX]}
    if next_attempt_at_ms is None:
        values["status"] = "failed"
    else:
        values["next_attempt_at_ms"] = next_attempt_at_ms
    _update_if_claimed(connection, delivery, **values)


def _update_if_claimed(connection: Connection, delivery: ClaimedDelivery, **values: Any) -> None:
    c = schema.webhook_deliveries.c
    connection.execute(
        schema.webhook_deliveries.update()
        .where(c.id == delivery.delivery_id, c.attempts == delivery.attempts, c.status == "pending")
        .values(**values)
    )


def disable_endpoint(connection: Connection, endpoint_id: int, *, now_ms: int) -> None:
    """The receiver is gone for good (HTTP 410): send it nothing more until its owner says so."""
    e, d = schema.webhook_endpoints.c, schema.webhook_deliveries.c
    connection.execute(
        schema.webhook_endpoints.update()
        .where(e.id == endpoint_id, e.disabled_at_ms.is_(None))
        .values(disabled_at_ms=now_ms, disabled_reason="gone")
    )
    connection.execute(
        schema.webhook_deliveries.update()
        .where(d.endpoint_id == endpoint_id, d.status == "pending")
        .values(status="disabled")
    )


def event_rows(
    connection: Connection, batch_id: int, seqs: Sequence[int]
) -> tuple[dict[str, Any], dict[int, Mapping[str, Any]]]:
    """A batch's row, and by event number the rows of the tasks that those events are about."""
    b, v, t = schema.batches, schema.batch_events, schema.video_tasks
    batch = connection.execute(select(b).where(b.c.id == batch_id)).one()
    rows = connection.execute(
        select(v.c.seq, t)
        .join_from(v, t, t.c.id == v.c.task_id)
        .where(v.c.batch_id == batch_id, v.c.seq.in_(list(seqs)))
    )
    tasks = without_deleted(connection, rows.mappings())
    return dict(batch._mapping), {task["seq"]: task for task in tasks}


# --- for tenants and operators --------------------------------------------------------------------------


class DeliveryName(NamedTuple):
    """What a `delivery_id` names: an event of a batch, and the endpoint if its account manages it."""

    batch_public_id: str
    seq: int
    endpoint: str | None = None


def delivery_row_id(connection: Connection, account_id: int | None, name: DeliveryName) -> int:
    """The row id of this delivery, of this account when one is given; raises `NotFound`."""
    d, b, e = schema.webhook_deliveries, schema.batches, schema.webhook_endpoints
    query = (
        select(d.c.id)
        .join_from(d, b, b.c.id == d.c.batch_id)
        .join(e, e.c.id == d.c.endpoint_id)
        .where(b.c.public_id == name.batch_public_id, d.c.seq == name.seq)
        .where(e.c.public_id.is_not_distinct_from(name.endpoint))
    )
    if account_id is not None:
        query = query.where(d.c.account_id == account_id)
    found = connection.scalar(query)
    if found is None:
        raise NotFound("there is no such delivery")
    return int(found)


def replay(
    connection: Connection, account_id: int, batch_public_id: str, seq: int, *, now_ms: int
) -> dict[str, Any]:
    """Send a batch's own delivery again, see `replay_row`. Raises `NotFound`."""
    row_id = delivery_row_id(connection, account_id, DeliveryName(batch_public_id, seq))
    return replay_row(connection, row_id, now_ms=now_ms)


def replay_row(connection: Connection, row_id: int, *, now_ms: int) -> dict[str, Any]:
    """Send a delivery again, from the ladder's start; turns its endpoint on. Raises `NotFound`.

    One that is to be sent now, or is being sent, is left as it is: doing this twice sends once.
    """
    d, e = schema.webhook_deliveries, schema.webhook_endpoints
    # the count of attempts goes on: it tells a claim from an earlier one
    connection.execute(
        d.update()
        .where(d.c.id == row_id, (d.c.status != "pending") | (d.c.next_attempt_at_ms > now_ms + CLAIM_MS_MAX))
        .values(
            status="pending",
            next_attempt_at_ms=now_ms,
            first_attempt=d.c.attempts,
            delivered_at_ms=None,
        )
    )
    endpoint = select(d.c.endpoint_id).where(d.c.id == row_id).scalar_subquery()
    connection.execute(
        e.update()
        .where(e.c.id == endpoint, e.c.deleted_at_ms.is_(None))
        .values(disabled_at_ms=None, disabled_reason=None)
    )
    row = connection.execute(
        select(d, e.c.url, e.c.public_id.label("endpoint"), schema.batches.c.public_id)
        .join_from(d, e, e.c.id == d.c.endpoint_id)
        .join(schema.batches, schema.batches.c.id == d.c.batch_id)
        .where(d.c.id == row_id)
    ).first()
    if row is None:
        raise NotFound("there is no such delivery")
    return dict(row._mapping)


def purge(connection: Connection, *, before_ms: int, limit: int) -> int:
    """Forget deliveries of events before that time that are not waiting; returns how many."""
    result = connection.execute(
        text(
            "DELETE FROM webhook_deliveries WHERE id IN (SELECT id FROM webhook_deliveries"
            " WHERE created_at_ms < :before AND status <> 'pending' ORDER BY created_at_ms LIMIT :limit)"
        ),
        {"before": before_ms, "limit": limit},
    )
    return result.rowcount


def counts(connection: Connection) -> tuple[dict[str, int], int | None]:
    """Deliveries by status, and the event time of the oldest one that waits."""
    d = schema.webhook_deliveries.c
    rows = connection.execute(text("SELECT status, COUNT(*) FROM webhook_deliveries GROUP BY status"))
    by_status = {row[0]: int(row[1]) for row in rows}
    oldest = connection.scalar(
        select(d.created_at_ms).where(d.status == "pending").order_by(d.created_at_ms).limit(1)
    )
    return by_status, oldest
