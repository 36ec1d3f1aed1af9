"""Batches: their rows, counters, reservations and events. Field names are those of the API."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from rushes.domain.credits import Part, Reservation, ReservationLine
from rushes.domain.errors import NotFound
from rushes.domain.task import BatchStatus
from rushes.store import schema
from rushes.store.database import Rows, for_update, statement

_IDS = Rows(id=int)
_LINES = Rows(batch_id=int, line=int, settled=int, refunded=int)
_EVENTS = Rows(batch_id=int, seq=int, type=str, task_id=int, created_at_ms=int)
_TASKS = Rows(
    item_index=int,
    retry_number=int,
    custom_id=str,
    prompt=str,
    model=str,
    options=str,
    metadata=str,
    credits=int,
    provider=str,
    api_model=str,
    alias=str,
)


_NEXT_TRIES = Rows(id=int, credits=int, model=str, provider=str, api_model=str)


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


@dataclass(frozen=True, slots=True)
class NewTask:
    """What `insert_tasks` stores for one item. `options` and `metadata` are JSON objects."""

    item_index: int
    custom_id: str | None
    prompt: str
    model: str
    options: Mapping[str, Any]
    metadata: Mapping[str, Any] | None
    credits: int
    provider: str
    api_model: str
    retry_number: int = 0
    alias: str | None = None


def account_of(connection: Connection, batch_id: int) -> int:
    """The id of the batch's account."""
    return int(connection.execute(select(schema.batches.c.account_id).filter_by(id=batch_id)).scalar_one())


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


def close_batch(connection: Connection, batch_id: int, status: BatchStatus, now_ms: int) -> None:
    """Mark the batch finalized; the database refuses it while credits are held or tasks are open."""
    c = schema.batches.c
    connection.execute(
        schema.batches.update()
        .where(c.id == batch_id, c.finalized_at_ms.is_(None))
        .values(status=status.value, completed_at_ms=now_ms, finalized_at_ms=now_ms)
    )


def open_again(connection: Connection, batch_id: int) -> None:
    """The batch is not final any more: items of it are tried again."""
    connection.execute(
        statement("UPDATE batches SET finalized_at_ms = NULL, completed_at_ms = NULL WHERE id = :id"),
        {"id": batch_id},
    )


# --- reservations -------------------------------------------------------------------------------------


def reservations(connection: Connection, batch_ids: Collection[int]) -> dict[int, Reservation]:
    """What is left of the reservations of locked batches: a line that is used up can change no more.

    Every re-roll adds a line, so that of a batch that is re-rolled often only few are left.
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
    c = schema.batch_reservations.c
    last = connection.scalar(select(c.line).where(c.batch_id == batch_id).order_by(c.line.desc()).limit(1))
    first = 0 if last is None else last + 1
    if parts:
        connection.execute(
            insert(schema.batch_reservations),
            [
                {"batch_id": batch_id, "line": first + i, "lot_id": part.lot_id, "reserved": part.amount}
                for i, part in enumerate(parts)
            ],
        )


def write_reservations(connection: Connection, changed: Mapping[int, Reservation]) -> None:
    """Store the settled and refunded amounts of the reservations' lines."""
    rows = [
        (batch_id, line.line, line.settled, line.refunded)
        for batch_id, reservation in changed.items()
        for line in reservation.lines
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
        connection.execute(
            statement(
                "INSERT INTO batch_events (batch_id, seq, type, task_id, created_at_ms)"
                f" SELECT batch_id, seq, type, task_id, created_at_ms FROM {_EVENTS.sql(connection)}"
            ),
            _EVENTS.parameters(connection, [(*item, now_ms) for item in events]),
        )


# --- new batches --------------------------------------------------------------------------------------


def insert_tasks(
    connection: Connection, *, batch_id: int, account_id: int, tasks: Sequence[NewTask], now_ms: int
) -> None:
    """Add pending tasks to a batch whose counters already count them."""
    columns = ", ".join(("item_index", "retry_number", "custom_id", "prompt", "model", "options"))
    columns += ", metadata, credits, provider, api_model, alias"
    encode = msgspec.json.Encoder().encode
    connection.execute(
        statement(
            f"INSERT INTO video_tasks (batch_id, account_id, status, created_at_ms, {columns})"
            f" SELECT CAST(:batch_id AS bigint), CAST(:account_id AS bigint), 'pending',"
            f" CAST(:now AS bigint), {columns} FROM {_TASKS.sql(connection)} ORDER BY item_index"
        ),
        {
            **_TASKS.parameters(
                connection,
                [
                    (
                        task.item_index,
                        task.retry_number,
                        task.custom_id,
                        task.prompt,
                        task.model,
                        encode(task.options).decode(),
                        None if task.metadata is None else encode(task.metadata).decode(),
                        task.credits,
                        task.provider,
                        task.api_model,
                        task.alias,
                    )
                    for task in tasks
                ],
            ),
            "batch_id": batch_id,
            "account_id": account_id,
            "now": now_ms,
        },
    )


def insert_next_tries(
    connection: Connection,
    rows: Sequence[tuple[int, int, str | None, str | None, str | None]],
    *,
    now_ms: int,
) -> list[int]:
    """A new pending task for the item of each given task, whose batch's counters already count it.

    Rows are `(task_id, credits, model, provider, api_model)`, the last three None for those of the task
    itself and of its alias. Returns the new ids, in the order of the rows.
    """
    parameters = _NEXT_TRIES.parameters(connection, rows)
    source = _NEXT_TRIES.sql(connection)
    connection.execute(
        statement(f"UPDATE video_tasks SET is_current = 0 FROM {source} WHERE video_tasks.id = v.id"),
        parameters,
    )
    copied = "batch_id, account_id, item_index, custom_id, prompt, options, metadata"
    connection.execute(
        statement(
            f"INSERT INTO video_tasks ({copied}, status, created_at_ms, retry_number, credits, model,"
            f" provider, api_model, alias) SELECT {', '.join(f't.{name}' for name in copied.split(', '))},"
            " 'pending', CAST(:now AS bigint), t.retry_number + 1, v.credits, COALESCE(v.model, t.model),"
            " COALESCE(v.provider, t.provider), COALESCE(v.api_model, t.api_model),"
            f" CASE WHEN v.model IS NULL THEN t.alias END FROM {source} JOIN video_tasks t ON t.id = v.id"
            " ORDER BY t.batch_id, t.item_index"
        ),
        {**parameters, "now": now_ms},
    )
    found = connection.execute(
        statement(
            f"SELECT v.id, n.id FROM {source} JOIN video_tasks t ON t.id = v.id JOIN video_tasks n"
            " ON n.batch_id = t.batch_id AND n.item_index = t.item_index AND n.is_current = 1"
        ),
        parameters,
    )
    new_ids = {row[0]: int(row[1]) for row in found}
    return [new_ids[row[0]] for row in rows]


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


def batch_row(connection: Connection, batch_id: int) -> dict[str, Any]:
    """The whole row of a batch."""
    row = connection.execute(select(schema.batches).where(schema.batches.c.id == batch_id)).one()
    return dict(row._mapping)


def list_batches(
    connection: Connection, *, account_id: int | None, limit: int, after: str | None = None
) -> list[dict[str, Any]]:
    """Batches, newest first, from the one after `after` (a public id) on."""
    c = schema.batches.c
    query = select(schema.batches).order_by(c.id.desc()).limit(limit)
    if account_id is not None:
        query = query.where(c.account_id == account_id)
    if after is not None:
        query = query.where(c.id < batch_row_id(connection, after, account_id=account_id))
    return [dict(row._mapping) for row in connection.execute(query)]


def list_items(
    connection: Connection,
    batch_id: int,
    *,
    status: str | None = None,
    failure_type: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """The batch's items in order, as `without_deleted`; of an item that was tried again, the newest row."""
    c = schema.video_tasks.c
    query = (
        select(schema.video_tasks)
        .where(c.batch_id == batch_id, c.is_current == 1)
        .order_by(c.item_index)
        .offset(offset)
    )
    if status is not None:
        query = query.where(c.status == status)
    if failure_type is not None:
        query = query.where(c.failure_type == failure_type)
    if limit is not None:
        query = query.limit(limit)
    return without_deleted(connection, connection.execute(query).mappings())


def without_deleted(connection: Connection, rows: Iterable[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """These rows of `video_tasks`; where the video was deleted, `is_deleted` is set and it has no URL."""
    tasks = [dict(row) for row in rows]
    with_video = sorted({task["batch_id"] for task in tasks if task["video_url"] is not None})
    d = schema.deleted_videos.c
    places = select(d.batch_id, d.item_index).where(d.batch_id.in_(with_video))
    deleted = {(row[0], row[1]) for row in connection.execute(places)} if with_video else set()
    for task in tasks:
        place = (task["batch_id"], task["item_index"])
        task["is_deleted"] = task["video_url"] is not None and place in deleted
        if task["is_deleted"]:
            task["video_url"] = None
    return tasks


def mark_dispatched(connection: Connection, batch_ids: Sequence[int], now_ms: int) -> None:
    """These batches were just served: others go first next time."""
    connection.execute(
        statement(
            f"UPDATE batches SET last_dispatched_at_ms = :now FROM {_IDS.sql(connection)}"
            " WHERE batches.id = v.id"
        ),
        {**_IDS.parameters(connection, [(batch_id,) for batch_id in sorted(batch_ids)]), "now": now_ms},
    )
