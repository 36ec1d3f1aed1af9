"""Events as the world sees them: the same document for a webhook's body and for a stream of events."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select, text

from rushes.domain.notation import iso_time
from rushes.domain.task import BatchStatus
from rushes.files.links import lasting_fields
from rushes.read import views
from rushes.read.batch_views import DONE
from rushes.store import archive
from rushes.store.batches import without_deleted
from rushes.store.database import Rows
from rushes.store.tables import schema

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
    kept: Mapping[str, Any] | None = None,
    *,
    base: str = "",
) -> dict[str, Any]:
    """`{type, timestamp, data}`. `data` is the batch, or for a `video.*` event the item without its prompt.

    The timestamp is the event's, and so are a batch's `status` and `completed_at`: a replay says what was.
    All else is what is known when the document is made. `kept` is the row of the task's file, and `base` is
    put before the path of its content.
    """
    data: dict[str, Any]
    if task is None:
        data = views.batch_view(batch, eta=DONE)
        del data["eta_seconds"], data["eta_reason"]
        data["status"] = event_type.removeprefix("batch.")
        data["completed_at"] = None if data["status"] == BatchStatus.PROCESSING else iso_time(at_ms)
    else:
        data = views.item_view(task, batch_public_id=batch["public_id"])
        del data["last_submit"], data["last_poll"]
        del data["prompt"], data["reused_from"], data["near_equal"]
        if data["error"] is not None:
            data["error"] = data["error"][:ERROR_CHARACTERS_MAX]
        data["batch_id"] = batch["public_id"]
        data |= lasting_fields(task, kept, item_id=data["item_id"], base=base)
    return {"type": event_type, "timestamp": iso_time(at_ms), "data": data}


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
    connection: Connection, batch_id: int, seq: int, *, limit: int, base: str = ""
) -> Sequence[tuple[int, dict[str, Any]]]:
    """`(number, document)` of the batch's events after number `seq`, in order; see `event_document`."""
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
    found = without_deleted(connection, rows.mappings())
    kept = archive.files_of(connection, {row["id"] for row in found if row["event_task_id"] is not None})
    return [
        (
            row["seq"],
            event_document(
                row["event_type"],
                row["event_at_ms"],
                batch,
                None if row["event_task_id"] is None else row,
                kept.get(row["id"]),
                base=base,
            ),
        )
        for row in found
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
