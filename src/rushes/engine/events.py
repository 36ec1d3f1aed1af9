"""Events as the world sees them: the same document for a webhook's body and for a stream of events."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select, text

from rushes.engine import views
from rushes.store import schema
from rushes.store.batches import without_deleted
from rushes.store.database import Rows

EVENT_BYTES_MAX = 20_000
"""The largest webhook body: what Standard Webhooks advises receivers to expect."""

ERROR_CHARACTERS_MAX = 1000
"""How much of a provider's error message an event repeats; the item itself has all of it."""

_encode = msgspec.json.Encoder().encode
_IDS = Rows(id=int)


def event_document(
    event_type: str,
    at_ms: int,
    batch: Mapping[str, Any],
    task: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """`{type, timestamp, data}`. `data` is the batch, or for a `video.*` event the item without its prompt.

    The timestamp is the event's; the data is what is known when the document is made.
    """
    data: dict[str, Any]
    if task is None:
        data = views.batch_view(batch, now_ms=at_ms)
        del data["eta_seconds"]
    else:
        data = views.item_view(task, batch_public_id=batch["public_id"])
        del data["prompt"]
        if data["error"] is not None:
            data["error"] = data["error"][:ERROR_CHARACTERS_MAX]
        data["batch_id"] = batch["public_id"]
    return {"type": event_type, "timestamp": views.iso_time(at_ms), "data": data}


def encoded_event(document: dict[str, Any]) -> bytes:
    """The document as JSON of at most `EVENT_BYTES_MAX` bytes.

    What makes a larger one too large (long URLs, metadata) is left out: those fields are null, and
    `data.truncated` names them.
    """
    encoded = _encode(document)
    truncated: list[str] = []
    for name in ("video_url", "metadata", "error"):
        if len(encoded) <= EVENT_BYTES_MAX:
            break
        truncated.append(name)
        document["data"][name] = None
        document["data"]["truncated"] = truncated
        encoded = _encode(document)
    return encoded


def events_after(
    connection: Connection, batch_id: int, seq: int, *, limit: int
) -> Sequence[tuple[int, dict[str, Any]]]:
    """`(number, document)` of the batch's events after number `seq`, in order."""
    events, tasks, batches = schema.batch_events, schema.video_tasks, schema.batches
    batch = dict(connection.execute(select(batches).where(batches.c.id == batch_id)).one()._mapping)
    rows = connection.execute(
        select(
            events.c.seq,
            events.c.type.label("event_type"),
            events.c.created_at_ms.label("event_at_ms"),
            events.c.task_id.label("event_task_id"),
            tasks,
        )
        .join_from(events, tasks, tasks.c.id == events.c.task_id, isouter=True)
        .where(events.c.batch_id == batch_id, events.c.seq > seq)
        .order_by(events.c.seq)
        .limit(limit)
    )
    return [
        (
            row["seq"],
            event_document(
                row["event_type"],
                row["event_at_ms"],
                batch,
                None if row["event_task_id"] is None else row,
            ),
        )
        for row in without_deleted(connection, rows.mappings())
    ]


def event_heads(connection: Connection, batch_ids: Sequence[int]) -> list[tuple[int, int, bool]]:
    """`(id, number of the last event, finished)` of the batches."""
    rows = connection.execute(
        text(
            "SELECT b.id, b.event_seq, b.finalized_at_ms IS NOT NULL FROM batches b,"
            f" {_IDS.sql(connection)} WHERE b.id = v.id"
        ),
        _IDS.parameters(connection, [(batch_id,) for batch_id in batch_ids]),
    )
    return [(row[0], row[1], bool(row[2])) for row in rows]
