"""One item with everything that happened to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.errors import NotFound
from rushes.files.links import FileLinks
from rushes.read.batches import batch_row
from rushes.read.board.batch_tabs import with_holds
from rushes.read.deliveries import deliveries_of_item
from rushes.read.items import items_at
from rushes.read.ledger import entries_of_item
from rushes.read.scope import OPERATOR
from rushes.read.tries import attempts_of_items
from rushes.store.acceptance import given_back
from rushes.store.tables import schema

ENTRIES_MAX: Final = 50
"""Ledger entries of an item that are shown."""

EVENTS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class ItemInFull:
    """An item, its batch's name and state, its attempts oldest first, and its ledger entries.

    `given_back`: when, why and how many credits of its video came back. `events`: what was published of the
    item, and when, oldest first.
    """

    item: Mapping[str, Any]
    batch: Mapping[str, Any]
    attempts: Sequence[Mapping[str, Any]]
    entries: Sequence[Mapping[str, Any]]
    deliveries: Sequence[Mapping[str, Any]]
    given_back: Mapping[str, Any] | None
    events: Sequence[tuple[str, int]]
    previous_index: int | None
    next_index: int | None


def item_in_full(
    connection: Connection,
    public_id: str,
    index: int,
    *,
    catalogue: Catalogue,
    links: FileLinks,
    now_ms: int,
) -> ItemInFull:
    """All of one item. Raises `NotFound`."""
    row = batch_row(connection, OPERATOR, public_id)
    found = items_at(
        connection, OPERATOR, public_id, [index], catalogue=catalogue, links=links, now_ms=now_ms
    )
    if not found:
        raise NotFound(f"the batch has no item {index}")
    c = schema.video_tasks.c
    of_item = select(c.id).where(c.batch_id == row["id"], c.item_index == index).order_by(c.id)
    tasks = list(connection.scalars(of_item))
    return ItemInFull(
        with_holds(connection, found, catalogue, now_ms)[0],
        {
            "batch_id": public_id,
            "request_id": row["request_id"],
            "name": row["name"],
            "account": row["account"],
            "is_cancelled": row["cancelled_at_ms"] is not None,
        },
        attempts_of_items(connection, row["id"], [index], to_operator=True),
        entries_of_item(connection, row["id"], tasks, limit=ENTRIES_MAX),
        deliveries_of_item(connection, row["id"], tasks),
        given_back.found(connection, tasks[-1]),
        _events(connection, row["id"], tasks),
        index - 1 if index > 0 else None,
        index + 1 if index + 1 < row["total_count"] else None,
    )


def _events(connection: Connection, batch_id: int, task_ids: Sequence[int]) -> list[tuple[str, int]]:
    c = schema.batch_events.c
    rows = connection.execute(
        select(c.type, c.created_at_ms)
        .where(c.batch_id == batch_id, c.task_id.in_(task_ids))
        .order_by(c.seq)
        .limit(EVENTS_MAX)
    )
    return [(row.type, int(row.created_at_ms)) for row in rows]
