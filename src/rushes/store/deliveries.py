"""Outgoing webhooks: feeds of batches, and one delivery per event.

A batch that named a webhook has a *feed*: how far its events have been turned into deliveries. Events are
written by the transactions that settle, deliveries later from the events, so settling never waits for a
webhook, and an event whose commit was seen is delivered whatever crashes in between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, text

from rushes.domain.errors import NotFound
from rushes.store import schema
from rushes.store.batches import without_deleted
from rushes.store.database import Rows, skip_locked

ERROR_CHARACTERS_MAX = 300


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

    @property
    def try_number(self) -> int:
        """1 for the first try since the event or since the last replay."""
        return self.attempts - self.first_attempt


# --- feeds ----------------------------------------------------------------------------------------------


def open_feed(connection: Connection, batch_id: int, *, account_id: int, url: str, now_ms: int) -> None:
    """Deliver this new batch's events to the URL. Naming a URL turns it on again if it was disabled."""
    endpoint_id = connection.scalar(
        text(
            "INSERT INTO webhook_endpoints (account_id, url, created_at_ms)"
            " VALUES (:account_id, :url, :now) ON CONFLICT (account_id, url)"
            " DO UPDATE SET disabled_at_ms = NULL RETURNING id"
        ),
        {"account_id": account_id, "url": url, "now": now_ms},
    )
    connection.execute(
        schema.webhook_feeds.insert().values(batch_id=batch_id, endpoint_id=endpoint_id, last_seq=0)
    )


def reopen_feed(connection: Connection, batch_id: int) -> None:
    """Open the finished batch's feed, if it has one: an item is tried again."""
    c = schema.webhook_feeds.c
    connection.execute(schema.webhook_feeds.update().where(c.batch_id == batch_id).values(is_open=1))


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
            "SELECT f.batch_id, f.endpoint_id, f.last_seq, b.account_id, b.event_seq,"
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
            " FROM batch_events WHERE batch_id = :batch_id AND seq > :after AND seq <= :until ORDER BY seq"
            " ON CONFLICT (batch_id, seq) DO NOTHING"
        ),
        {
            "account_id": feed.account_id,
            "endpoint_id": feed.endpoint_id,
            "status": "pending" if feed.disabled_at_ms is None else "disabled",
            "now": now_ms,
            "batch_id": feed.batch_id,
            "after": feed.last_seq,
            "until": until,
        },
    )
    # read anew, with the feed locked: a batch that was tried again since the feeds were chosen stays open
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
    process died, is tried again then.
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
        .values(disabled_at_ms=now_ms)
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


def list_deliveries(
    connection: Connection,
    account_id: int,
    *,
    limit: int,
    status: str | None = None,
    after: tuple[str, int] | None = None,
) -> list[dict[str, Any]]:
    """The account's deliveries, newest first, from the one after `after` (batch and event number) on."""
    d, e, b = schema.webhook_deliveries, schema.webhook_endpoints, schema.batches
    query = (
        select(d, e.c.url, b.c.public_id)
        .join_from(d, e, e.c.id == d.c.endpoint_id)
        .join(b, b.c.id == d.c.batch_id)
        .where(d.c.account_id == account_id)
        .order_by(d.c.id.desc())
        .limit(limit)
    )
    if status is not None:
        query = query.where(d.c.status == status)
    if after is not None:
        query = query.where(d.c.id < delivery_row_id(connection, account_id, *after))
    return [dict(row._mapping) for row in connection.execute(query)]


def delivery_row_id(connection: Connection, account_id: int, batch_public_id: str, seq: int) -> int:
    """The row id of the delivery of this event; raises `NotFound`."""
    d, b = schema.webhook_deliveries, schema.batches
    found = connection.scalar(
        select(d.c.id)
        .join_from(d, b, b.c.id == d.c.batch_id)
        .where(b.c.public_id == batch_public_id, d.c.seq == seq, d.c.account_id == account_id)
    )
    if found is None:
        raise NotFound("there is no such delivery")
    return int(found)


def replay(
    connection: Connection, account_id: int, batch_public_id: str, seq: int, *, now_ms: int
) -> dict[str, Any]:
    """Send a delivery again, from the ladder's beginning; turns its endpoint on. Raises `NotFound`."""
    row_id = delivery_row_id(connection, account_id, batch_public_id, seq)
    d, e = schema.webhook_deliveries, schema.webhook_endpoints
    # the count of attempts goes on: it tells a claim from an earlier one
    connection.execute(
        d.update()
        .where(d.c.id == row_id)
        .values(
            status="pending",
            next_attempt_at_ms=now_ms,
            first_attempt=d.c.attempts,
            delivered_at_ms=None,
        )
    )
    endpoint = select(d.c.endpoint_id).where(d.c.id == row_id).scalar_subquery()
    connection.execute(e.update().where(e.c.id == endpoint).values(disabled_at_ms=None))
    (row,) = [
        dict(row._mapping)
        for row in connection.execute(
            select(d, e.c.url, schema.batches.c.public_id)
            .join_from(d, e, e.c.id == d.c.endpoint_id)
            .join(schema.batches, schema.batches.c.id == d.c.batch_id)
            .where(d.c.id == row_id)
        )
    ]
    return row


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
