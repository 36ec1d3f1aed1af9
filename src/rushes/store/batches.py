"""Batches: their rows, counters, reservations and events. Field names are those of the API."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from rushes.domain.credits import Part, Reservation, ReservationLine
from rushes.domain.errors import NotFound
from rushes.domain.task import BatchStatus, TaskStatus
from rushes.store.database import Rows, dictionaries, for_update, insert_rows, statement
from rushes.store.tables import schema

_IDS = Rows(id=int)
_RESERVED = Rows(batch_id=int, line=int, lot_id=int, reserved=int)
_LINES = Rows(batch_id=int, line=int, settled=int, refunded=int)
_LABELS = Rows(batch_id=int, name=str, value=str, account_id=int)
_EVENTS = Rows(batch_id=int, seq=int, type=str, task_id=int, created_at_ms=int)


@dataclass(slots=True)
class BatchCounters:
    """A batch's counters, credits and event number, locked and changed in memory until `write_counters`."""

    batch_id: int
    account_id: int
    status: str
    pending: int
    processing: int
    succeeded: int
    failed: int
    credits_reserved: int
    credits_settled: int
    credits_refunded: int
    event_seq: int
    cancelled_at_ms: int | None
    finalized_at_ms: int | None


def account_of(connection: Connection, batch_id: int) -> int:
    """The id of the batch's account."""
    return int(connection.execute(select(schema.batches.c.account_id).filter_by(id=batch_id)).scalar_one())


def request_scope(connection: Connection, batch_id: int) -> str:
    """Through which account or API key the batch was asked for."""
    c = schema.batches.c
    return str(connection.execute(select(c.request_scope).where(c.id == batch_id)).scalar_one())


def lock_account(connection: Connection, batch_id: int) -> None:
    """Lock the batch's account until the transaction ends."""
    connection.execute(
        statement(
            "SELECT 1 FROM accounts WHERE id = (SELECT account_id FROM batches WHERE id = :id)"
            f"{for_update(connection)}"
        ),
        {"id": batch_id},
    )


def lock_counters(connection: Connection, batch_ids: Iterable[int]) -> dict[int, BatchCounters]:
    """The counters of the batches, locked in a fixed order until the transaction ends."""
    rows = connection.execute(
        statement(
            "SELECT id, account_id, status, pending_count, processing_count, succeeded_count, failed_count,"
            " credits_reserved, credits_settled, credits_refunded, event_seq, cancelled_at_ms,"
            f" finalized_at_ms FROM batches WHERE id IN (SELECT v.id FROM {_IDS.sql(connection)})"
            f" ORDER BY id{for_update(connection)}"
        ),
        _IDS.parameters(connection, [(batch_id,) for batch_id in sorted(set(batch_ids))]),
    )
    return {row[0]: BatchCounters(*row) for row in rows}


_COUNTERS = Rows(
    id=int,
    status=str,
    pending=int,
    processing=int,
    succeeded=int,
    failed=int,
    credits_reserved=int,
    credits_settled=int,
    credits_refunded=int,
    event_seq=int,
)


def write_counters(connection: Connection, counters: Iterable[BatchCounters]) -> None:
    """Store locked counters."""
    connection.execute(
        statement(
            "UPDATE batches SET status = v.status, pending_count = v.pending,"
            " processing_count = v.processing, succeeded_count = v.succeeded, failed_count = v.failed,"
            " total_count = v.pending + v.processing + v.succeeded + v.failed,"
            " credits_reserved = v.credits_reserved, credits_settled = v.credits_settled,"
            " credits_refunded = v.credits_refunded, event_seq = v.event_seq"
            f" FROM {_COUNTERS.sql(connection)} WHERE batches.id = v.id"
        ),
        _COUNTERS.parameters(
            connection,
            [
                (
                    c.batch_id,
                    c.status,
                    c.pending,
                    c.processing,
                    c.succeeded,
                    c.failed,
                    c.credits_reserved,
                    c.credits_settled,
                    c.credits_refunded,
                    c.event_seq,
                )
                for c in counters
            ],
        ),
    )


def insert_batch_if_new(
    connection: Connection,
    *,
    public_id: str,
    account_id: int,
    request_scope: str,
    request_id: str,
    request_hash: str,
    total_count: int,
    credits_reserved: int,
    cost_per_video: int | None,
    webhook_url: str | None,
    name: str | None = None,
    metadata: str | None = None,
    now_ms: int,
) -> int | None:
    """Add a batch whose tasks all wait; its row id, or None when this request made one before."""
    made: int | None = connection.scalar(
        statement(
            "INSERT INTO batches (public_id, account_id, request_scope, request_id, request_hash, status,"
            " total_count, pending_count, credits_reserved, cost_per_video, webhook_url, name, metadata,"
            " created_at_ms)"
            " VALUES (:public_id, :account_id, :scope, :request_id, :hash, 'pending', :total, :total,"
            " :credits, :cost, :webhook_url, :name, :metadata, :now)"
            " ON CONFLICT (request_scope, request_id) DO NOTHING RETURNING id"
        ),
        {
            "public_id": public_id,
            "account_id": account_id,
            "scope": request_scope,
            "request_id": request_id,
            "hash": request_hash,
            "total": total_count,
            "credits": credits_reserved,
            "cost": cost_per_video,
            "webhook_url": webhook_url,
            "name": name,
            "metadata": metadata,
            "now": now_ms,
        },
    )
    return made


def add_labels(
    connection: Connection, batch_id: int, *, account_id: int, labels: Iterable[tuple[str, str]]
) -> None:
    """What the new batch is found by: `(name, value)`."""
    rows = [(batch_id, name, value, account_id) for name, value in sorted(set(labels))]
    if rows:
        insert_rows(connection, "batch_labels", _LABELS, rows)


def mark_cancelled_if_open(connection: Connection, batch_id: int, *, now_ms: int) -> None:
    """The batch is cancelled, since the first time that somebody said so."""
    connection.execute(
        statement(
            "UPDATE batches SET cancelled_at_ms = COALESCE(cancelled_at_ms, :now), status = :status"
            " WHERE id = :id AND finalized_at_ms IS NULL"
        ),
        {"now": now_ms, "status": BatchStatus.CANCELLED.value, "id": batch_id},
    )


def cancelled_with_pending(connection: Connection, *, limit: int) -> list[int]:
    """Cancelled batches with tasks that wait: they came back from a worker since."""
    found = connection.scalars(
        statement(
            "SELECT id FROM batches WHERE pending_count > 0 AND cancelled_at_ms IS NOT NULL"
            " ORDER BY last_dispatched_at_ms, id LIMIT :limit"
        ),
        {"limit": limit},
    )
    return list(found)


def close_batch(connection: Connection, batch_id: int, status: BatchStatus, now_ms: int) -> None:
    """Mark the batch finalized; the database refuses it while credits are held or tasks are open."""
    close = statement(
        "UPDATE batches SET status = :status, completed_at_ms = :now, finalized_at_ms = :now"
        " WHERE id = :id AND finalized_at_ms IS NULL"
    )
    connection.execute(close, {"id": batch_id, "status": status.value, "now": now_ms})


def open_again(connection: Connection, batch_id: int) -> None:
    """The batch is no longer final: items of it are retried."""
    connection.execute(
        statement("UPDATE batches SET finalized_at_ms = NULL, completed_at_ms = NULL WHERE id = :id"),
        {"id": batch_id},
    )


# --- reservations -------------------------------------------------------------------------------------


def reservations(connection: Connection, batch_ids: Collection[int]) -> dict[int, Reservation]:
    """What is left of the reservations of locked batches: a line that is used up can change no more.

    Every retry adds lines, so that of a batch that is retried often only few are left.
    """
    rows = connection.execute(
        statement(
            "SELECT r.batch_id, r.line, r.lot_id, r.reserved, r.settled, r.refunded"
            f" FROM batch_reservations r, {_IDS.sql(connection)} WHERE r.batch_id = v.id"
            " AND r.settled + r.refunded < r.reserved ORDER BY r.batch_id, r.line"
        ),
        _IDS.parameters(connection, [(batch_id,) for batch_id in sorted(set(batch_ids))]),
    )
    lines: dict[int, list[ReservationLine]] = {batch_id: [] for batch_id in batch_ids}
    for row in rows:
        lines.setdefault(row[0], []).append(ReservationLine(row[1], row[2], row[3], row[4], row[5]))
    return {batch_id: Reservation(its_lines) for batch_id, its_lines in lines.items()}


def add_reservation(connection: Connection, batch_id: int, parts: Sequence[Part]) -> None:
    """Append the parts of a new reservation to the batch's lines."""
    if not parts:
        return
    last = connection.scalar(
        statement("SELECT max(line) FROM batch_reservations WHERE batch_id = :batch_id"),
        {"batch_id": batch_id},
    )
    first = 0 if last is None else last + 1
    rows = [(batch_id, first + i, part.lot_id, part.amount) for i, part in enumerate(parts)]
    insert_rows(connection, "batch_reservations", _RESERVED, rows)


def write_reservations(connection: Connection, changed: Mapping[int, Reservation]) -> None:
    """Store the settled and refunded amounts of the lines that changed."""
    rows = [
        (batch_id, line.line, line.settled, line.refunded)
        for batch_id, reservation in changed.items()
        for line in reservation.lines
        if line.is_changed
    ]
    connection.execute(
        statement(
            "UPDATE batch_reservations SET settled = v.settled, refunded = v.refunded"
            f" FROM {_LINES.sql(connection)}"
            " WHERE batch_reservations.batch_id = v.batch_id AND batch_reservations.line = v.line"
        ),
        _LINES.parameters(connection, rows),
    )


# --- events -------------------------------------------------------------------------------------------


def insert_events(
    connection: Connection, events: Sequence[tuple[int, int, str, int | None]], now_ms: int
) -> None:
    """Append `(batch_id, seq, type, task_id)`; `seq` comes from the locked batch's `event_seq`."""
    if events:
        insert_rows(connection, "batch_events", _EVENTS, [(*item, now_ms) for item in events])


def append_event_of_task(connection: Connection, task_id: int, event: str, *, now_ms: int) -> None:
    """An event about a task that has ended, after its batch may have been closed: its webhook is fed again.

    The batch's row is locked, as by all who write its events; no account may be locked after this.
    """
    row = connection.execute(
        statement(
            "UPDATE batches SET event_seq = event_seq + 1"
            " WHERE id = (SELECT batch_id FROM video_tasks WHERE id = :task_id) RETURNING id, event_seq"
        ),
        {"task_id": task_id},
    ).one()
    insert_events(connection, [(row[0], row[1], event, task_id)], now_ms)
    connection.execute(
        statement("UPDATE webhook_feeds SET is_open = 1 WHERE batch_id = :batch_id"), {"batch_id": row[0]}
    )


# --- reading ------------------------------------------------------------------------------------------


def batch_row_id(connection: Connection, public_id: str, *, account_id: int | None = None) -> int:
    """The row id of a batch, of this account when one is given; raises `NotFound`."""
    c = schema.batches.c
    query = select(c.id).where(c.public_id == public_id)
    if account_id is not None:
        query = query.where(c.account_id == account_id)
    found = connection.scalar(query)
    if found is None:
        raise NotFound(f'there is no batch "{public_id}"')
    return int(found)


def find_by_request(connection: Connection, scope: str, request_id: str) -> dict[str, Any] | None:
    """The batch that this request id made, for replays."""
    c = schema.batches.c
    row = connection.execute(
        select(schema.batches).where(c.request_scope == scope, c.request_id == request_id)
    ).first()
    return None if row is None else dict(row._mapping)


def requests_like(connection: Connection, scope: str, start: str) -> list[dict[str, Any]]:
    """The batches whose request ids start like this, the newest first."""
    c = schema.batches.c
    rows = connection.execute(
        select(schema.batches)
        .where(c.request_scope == scope, c.request_id.startswith(start, autoescape=True))
        .order_by(c.id.desc())
    )
    return [dict(row._mapping) for row in rows]


def batch_row(connection: Connection, batch_id: int) -> dict[str, Any]:
    """The whole row of a batch."""
    names = schema.batches.c.keys()
    query = statement(f"SELECT {', '.join(names)} FROM batches WHERE id = :id")
    return dict(zip(names, connection.execute(query, {"id": batch_id}).one(), strict=True))


def list_items(
    connection: Connection,
    batch_id: int,
    *,
    wanted: Mapping[str, str | None] = MappingProxyType({}),
    indexes: Collection[int] | None = None,
    from_index: int | None = None,
    limit: int | None = None,
    offset: int = 0,
    ascending: bool = True,
    columns: Sequence[str] = (),
    file_columns: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The batch's items in order, as `without_deleted`; of an item that was retried, the newest row.

    `wanted` are the values of columns, None for any; `model` is that or the alias. With `indexes` only those
    items, with `from_index` only those from there on. With `columns` the rows have only these, and nothing
    is asked about what they are like. `file_columns` are of the row of the item's file, None without one.
    """
    c, f = schema.video_tasks.c, schema.archived_files.c
    query = (
        select(*(c[name] for name in columns or c.keys()), *(f[name] for name in file_columns))
        .where(*_items_wanted(batch_id, wanted))
        .order_by(c.item_index if ascending else c.item_index.desc())
    )
    if file_columns:
        query = query.outerjoin_from(schema.video_tasks, schema.archived_files, f.task_id == c.id)
    if indexes is not None:
        query = query.where(c.item_index.in_(indexes))
    if from_index is not None:
        query = query.where(c.item_index >= from_index)
    if offset:
        query = query.offset(offset)
    if limit is not None:
        query = query.limit(limit)
    return without_deleted(connection, dictionaries(connection.execute(query)), likeness=not columns)


def count_items(connection: Connection, batch_id: int, wanted: Mapping[str, str | None]) -> int:
    """How many there are of these."""
    query = select(func.count()).select_from(schema.video_tasks).where(*_items_wanted(batch_id, wanted))
    return int(connection.scalar(query) or 0)


def _items_wanted(batch_id: int, wanted: Mapping[str, str | None]) -> Iterable[ColumnElement[bool]]:
    c = schema.video_tasks.c
    yield c.batch_id == batch_id
    yield c.is_current == 1
    for name, value in wanted.items():
        if value is not None:
            yield (c.model == value) | (c.alias == value) if name == "model" else c[name] == value


_NOTHING_KNOWN = {"is_deleted": False} | dict.fromkeys(
    ("verdict", "verdict_reasons", "verdict_score", "verdict_by", "reused_from", "near_equal")
)


def without_deleted(
    connection: Connection, rows: Iterable[Mapping[Any, Any]], *, likeness: bool = True
) -> list[dict[str, Any]]:
    """These rows of `video_tasks`, each with its `verdict`, `verdict_reasons`, `verdict_score`, `verdict_by`,
    `reused_from` and `near_equal`; the last two are None without `likeness`.

    Where the video was deleted, `is_deleted` is set and it has no URL.
    """
    tasks = [{**row, **_NOTHING_KNOWN} for row in rows]
    with_video = sorted({task["batch_id"] for task in tasks if task["video_url"] is not None})
    d = schema.deleted_videos.c
    places = select(d.batch_id, d.item_index).where(d.batch_id.in_(with_video))
    deleted = {(row[0], row[1]) for row in connection.execute(places)} if with_video else set()
    for task in tasks if deleted else ():
        if task["video_url"] is not None and (task["batch_id"], task["item_index"]) in deleted:
            task["is_deleted"], task["video_url"] = True, None
    from rushes.store.acceptance.likeness import add_likeness  # not for those who only look at batches

    if likeness:
        add_likeness(connection, tasks)
    _add_verdicts(connection, tasks)
    return tasks


def _add_verdicts(connection: Connection, tasks: list[dict[str, Any]]) -> None:
    from rushes.store.acceptance import verdicts  # not for those who only look at batches

    succeeded = TaskStatus.SUCCEEDED.value
    found = verdicts.of_tasks(connection, [task["id"] for task in tasks if task["status"] == succeeded])
    for task in tasks if found else ():
        row = found.get(task["id"])
        if row is not None:
            score_ppm, reasons = row["score_ppm"], row["reasons"]
            task["verdict"], task["verdict_by"] = row["verdict"], row["decided_by"]
            task["verdict_score"] = None if score_ppm is None else score_ppm / 1_000_000
            if reasons is not None:
                task["verdict_reasons"] = [each for each in reasons.split(",") if each]


def mark_dispatched(connection: Connection, batch_ids: Sequence[int], now_ms: int) -> None:
    """These batches were just served: others go first next time."""
    connection.execute(
        statement(
            f"UPDATE batches SET last_dispatched_at_ms = :now FROM {_IDS.sql(connection)}"
            " WHERE batches.id = v.id"
        ),
        {**_IDS.parameters(connection, [(batch_id,) for batch_id in sorted(batch_ids)]), "now": now_ms},
    )
