"""One delivery with the document that it carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from rushes.domain.errors import NotFound
from rushes.read.deliveries import delivery_page
from rushes.read.events import events_after
from rushes.read.scope import OPERATOR


@dataclass(frozen=True, slots=True)
class DeliveryInFull:
    """A delivery's row, and what it carries; None for an event that is there no more."""

    row: Mapping[str, Any]
    document: Mapping[str, Any] | None


def delivery_in_full(connection: Connection, delivery_id: int) -> DeliveryInFull:
    """The delivery of this row id. Raises `NotFound`."""
    found, _ = delivery_page(connection, OPERATOR, status=None, limit=1, after=delivery_id + 1)
    if not found or found[0]["id"] != delivery_id:
        raise NotFound(f"there is no delivery {delivery_id}")
    row = found[0]
    events = events_after(connection, row["batch_id"], row["seq"] - 1, limit=1)
    document = events[0][1] if events and events[0][0] == row["seq"] else None
    return DeliveryInFull(row, document)
