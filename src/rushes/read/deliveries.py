"""Deliveries of webhooks."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, func, select

from rushes.read.scope import Scope
from rushes.store import deliveries
from rushes.store.deliveries import DeliveryName
from rushes.store.tables import schema

DELIVERIES_LOOKED_AT_MAX: Final = 10_000
"""Deliveries of all accounts that a list with a filter looks through, from where it starts."""

ITEM_DELIVERIES_MAX: Final = 100
"""Deliveries about one item that are shown."""

Cursor: TypeAlias = int | DeliveryName
"""A delivery's row id, or what its `delivery_id` names."""


def delivery_page(
    connection: Connection,
    scope: Scope,
    *,
    status: str | None,
    limit: int,
    after: Cursor | None,
    batch_id: str | None = None,
    event: str | None = None,
    endpoint: str | None = None,
) -> tuple[list[dict[str, Any]], bool]:
    """Rows of deliveries, newest first, from the one after `after` on; and whether there are more.

    Operators see the `account` of each. Raises `NotFound`.
    """
    d, e, b, a = schema.webhook_deliveries, schema.webhook_endpoints, schema.batches, schema.accounts
    columns = (d, e.c.url, e.c.public_id.label("endpoint"), b.c.public_id)
    query = (
        (select(*columns, a.c.name.label("account")) if scope.is_operator else select(*columns))
        .join_from(d, e, e.c.id == d.c.endpoint_id)
        .join(b, b.c.id == d.c.batch_id)
        .where(scope.includes(d.c.account_id))
        .order_by(d.c.id.desc())
        .limit(limit + 1)
    )
    if scope.is_operator:
        query = query.join(a, a.c.id == d.c.account_id)
    before = _row_id(connection, scope, after)
    if before is not None:
        query = query.where(d.c.id < before)
    if status is not None:
        query = query.where(d.c.status == status)
    if endpoint is not None:
        query = query.where(e.c.public_id == endpoint)
    if event is not None:
        query = query.where(d.c.type == event)
    if batch_id is not None:
        query = query.where(d.c.batch_id == scope.batch_id(connection, batch_id))
    if status is not None and scope.is_operator:
        if before is None:
            before = (connection.scalar(select(func.max(d.c.id))) or 0) + 1
        query = query.where(d.c.id >= before - DELIVERIES_LOOKED_AT_MAX)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return rows[:limit], len(rows) > limit


def deliveries_of_item(
    connection: Connection, batch_id: int, task_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Rows of the deliveries about these tasks of a batch, oldest first."""
    d, e, v = schema.webhook_deliveries, schema.webhook_endpoints, schema.batch_events
    rows = connection.execute(
        select(d, e.c.url)
        .join_from(v, d, (d.c.batch_id == v.c.batch_id) & (d.c.seq == v.c.seq))
        .join(e, e.c.id == d.c.endpoint_id)
        .where(v.c.batch_id == batch_id, v.c.task_id.in_(task_ids))
        .order_by(d.c.id)
        .limit(ITEM_DELIVERIES_MAX)
    )
    return [dict(row) for row in rows.mappings()]


def _row_id(connection: Connection, scope: Scope, cursor: Cursor | None) -> int | None:
    if isinstance(cursor, DeliveryName):
        return deliveries.delivery_row_id(connection, scope.account_id, cursor)
    return cursor
