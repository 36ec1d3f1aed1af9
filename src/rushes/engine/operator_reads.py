"""What an operator looks at, over all accounts: each function is one bounded read, for the dashboard.

Lists come a page at a time. A list that is filtered by something that no index knows looks at the newest
rows only, as many as its limit's name says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, func, select, text

from rushes.domain.catalogue import Catalogue
from rushes.domain.errors import NotFound
from rushes.engine import views
from rushes.engine.file_links import FileLinks, file_fields
from rushes.engine.gauges import Gauges, read_gauges
from rushes.engine.holding import held_reasons, held_tasks
from rushes.engine.tenant import EXPORT_PAGE_ROWS
from rushes.store import archive, batches, ledger, schema
from rushes.store.database import Database, Rows, begin_snapshot

P = ParamSpec("P")
T = TypeVar("T")

BATCHES_LOOKED_AT_MAX: Final = 10_000
"""Batches that a list with a filter looks through, from where it begins."""

ACCOUNTS_MAX: Final = 500
"""Accounts that the list of accounts shows."""

OUTCOMES_LOOKED_AT_MAX: Final = 20_000
"""The newest outcomes that the charts are made of."""

IN_FLIGHT_LOOKED_AT_MAX: Final = 20_000
"""Tasks in flight among which overdue and unconfirmed ones are looked for."""

TROUBLED_TASKS_MAX: Final = 20
"""Overdue or unconfirmed tasks that are named one by one."""

_DEADLINES = Rows(model=str, before_ms=int)


class ReadOnly:
    """Runs functions in transactions that cannot write and see one moment's state throughout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`function(connection, …)`."""

        def run(connection: Connection) -> T:
            begin_snapshot(connection)
            return function(connection, *args, **kwargs)

        return await self._database.read(run)


@dataclass(frozen=True, slots=True)
class Span:
    """A page of a list."""

    limit: int
    offset: int = 0


# --- batches --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BatchFilter:
    """Which batches are asked for; None for all."""

    status: str | None = None
    account: str | None = None
    search: str | None = None
    """The beginning of a batch's id or request id."""


def batch_page(
    connection: Connection, wanted: BatchFilter, *, limit: int, before: str | None, now_ms: int
) -> tuple[list[dict[str, Any]], bool]:
    """Batches with their `account`, newest first, from the one after `before` on; and are there more?

    Raises `NotFound` for an account or a batch `before` that does not exist.
    """
    b, a = schema.batches, schema.accounts
    query = (
        select(b, a.c.name.label("account"))
        .join_from(b, a, a.c.id == b.c.account_id)
        .order_by(b.c.id.desc())
        .limit(limit + 1)
    )
    newest = connection.scalar(select(func.max(b.c.id))) or 0
    if before is not None:
        newest = batches.batch_row_id(connection, before) - 1
        query = query.where(b.c.id <= newest)
    if wanted.account is not None:
        query = query.where(b.c.account_id == ledger.account_id(connection, wanted.account))
    if wanted.status is not None or wanted.search is not None:
        query = query.where(b.c.id > newest - BATCHES_LOOKED_AT_MAX)
    if wanted.status is not None:
        query = query.where(b.c.status == wanted.status)
    if wanted.search is not None:
        query = query.where(
            b.c.public_id.startswith(wanted.search, autoescape=True)
            | b.c.request_id.startswith(wanted.search, autoescape=True)
        )
    rows = connection.execute(query).mappings().all()
    found = [views.batch_view(row, now_ms=now_ms) | {"account": row["account"]} for row in rows[:limit]]  # type: ignore[arg-type]
    return found, len(rows) > limit


def batch_with_account(connection: Connection, public_id: str, *, now_ms: int) -> dict[str, Any]:
    """One batch with its `account`, and whether it `is_cancelled`. Raises `NotFound`."""
    b, a = schema.batches, schema.accounts
    row = (
        connection.execute(
            select(b, a.c.name.label("account"))
            .join_from(b, a, a.c.id == b.c.account_id)
            .where(b.c.public_id == public_id)
        )
        .mappings()
        .first()
    )
    if row is None:
        raise NotFound(f'there is no batch "{public_id}"')
    more = {"account": row["account"], "is_cancelled": row["cancelled_at_ms"] is not None}
    return views.batch_view(row, now_ms=now_ms) | more  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items of a batch are asked for; a failure type asks for failed ones."""

    status: str | None = None
    failure_type: str | None = None


def item_page(
    connection: Connection,
    public_id: str,
    wanted: ItemFilter,
    *,
    limit: int,
    offset: int,
    catalogue: Catalogue,
    links: FileLinks,
    now_ms: int,
) -> list[dict[str, Any]]:
    """Items in their order, each with its `credits` and what is kept of its video. Raises `NotFound`."""
    rows = batches.list_items(
        connection,
        batches.batch_row_id(connection, public_id),
        status="failed" if wanted.failure_type else wanted.status,
        failure_type=wanted.failure_type,
        limit=limit,
        offset=offset,
    )
    held = held_reasons(connection, rows, catalogue, now_ms)
    kept = archive.files_of(connection, [row["id"] for row in rows])
    return [
        views.item_view(row, batch_public_id=public_id, held_reason=held.get(row["id"]))
        | file_fields(row, kept.get(row["id"]), links=links, now_ms=now_ms)
        | {"credits": row["credits"], "remote_task_id": row["remote_task_id"]}
        for row in rows
    ]


def export_page(connection: Connection, public_id: str, *, from_index: int) -> list[dict[str, Any]]:
    """The next items of an export, from that index on; empty at its end. Raises `NotFound`."""
    c = schema.video_tasks.c
    rows = connection.execute(
        select(schema.video_tasks)
        .where(
            c.batch_id == batches.batch_row_id(connection, public_id),
            c.is_current == 1,
            c.item_index >= from_index,
        )
        .order_by(c.item_index)
        .limit(EXPORT_PAGE_ROWS)
    )
    tasks = batches.without_deleted(connection, rows.mappings())
    return [views.export_view(task, batch_public_id=public_id) for task in tasks]


def failure_counts(connection: Connection, public_id: str) -> dict[str, int]:
    """Failed items of a batch by failure type, the most frequent first."""
    c = schema.video_tasks.c
    rows = connection.execute(
        select(c.failure_type, func.count())
        .where(
            c.batch_id == batches.batch_row_id(connection, public_id),
            c.is_current == 1,
            c.status == "failed",
        )
        .group_by(c.failure_type)
    )
    return dict(sorted(((row[0], int(row[1])) for row in rows), key=lambda pair: (-pair[1], pair[0])))


def credit_proof(connection: Connection, public_id: str) -> dict[str, Any]:
    """A batch's credits, told three times from three tables that must agree. Raises `NotFound`.

    `batch`, `ledger` and `lots` each have `reserved, settled, refunded`: what the batch's row says, what
    its ledger entries and its tasks' resolutions add up to, and what was taken from each lot (`lines`).
    `agrees` is whether they are the same, `held` what is neither settled nor refunded yet.
    """
    batch_id = batches.batch_row_id(connection, public_id)
    row = batches.batch_row(connection, batch_id)
    entry, resolution = schema.ledger_entries.c, schema.task_resolutions.c
    by_type = {
        name: (int(count), int(delta))
        for name, count, delta in connection.execute(
            select(entry.type, func.count(), func.coalesce(func.sum(entry.delta), 0))
            .where(entry.batch_id == batch_id)
            .group_by(entry.type)
        )
    }
    by_kind = {
        kind: (int(count), int(amount))
        for kind, count, amount in connection.execute(
            select(resolution.kind, func.count(), func.coalesce(func.sum(resolution.credits), 0))
            .where(resolution.batch_id == batch_id)
            .group_by(resolution.kind)
        )
    }
    r, lot = schema.batch_reservations, schema.credit_lots
    lines = [
        dict(line)
        for line in connection.execute(
            select(r.c.line, r.c.lot_id, lot.c.kind, r.c.reserved, r.c.settled, r.c.refunded)
            .join_from(r, lot, lot.c.id == r.c.lot_id)
            .where(r.c.batch_id == batch_id)
            .order_by(r.c.line)
        ).mappings()
    ]
    names = ("reserved", "settled", "refunded")
    of_batch = {name: int(row[f"credits_{name}"]) for name in names}
    of_ledger = {
        "reserved": -by_type.get("reserve", (0, 0))[1],
        # an entry that settles moves nothing that is available: its amount is its task's resolution
        "settled": by_kind.get("settle", (0, 0))[1],
        "refunded": by_type.get("refund", (0, 0))[1],
    }
    of_lots = {name: sum(line[name] for line in lines) for name in names}
    return {
        "batch": of_batch,
        "ledger": of_ledger,
        "lots": of_lots,
        "lines": lines,
        "held": of_batch["reserved"] - of_batch["settled"] - of_batch["refunded"],
        "is_final": row["finalized_at_ms"] is not None,
        "agrees": of_batch == of_ledger == of_lots
        and of_batch["refunded"] == by_kind.get("refund", (0, 0))[1],
        "entry_count": sum(count for count, _ in by_type.values()),
        "resolution_count": sum(count for count, _ in by_kind.values()),
    }


def batch_entries(connection: Connection, public_id: str, *, limit: int, offset: int) -> list[dict[str, Any]]:
    """The ledger entries of a batch, newest first."""
    of_batch = schema.ledger_entries.c.batch_id == batches.batch_row_id(connection, public_id)
    return views.ledger_rows(connection, [of_batch], limit=limit, offset=offset)


def batch_in_full(
    connection: Connection,
    public_id: str,
    wanted: ItemFilter,
    *,
    items: Span,
    entries: Span,
    catalogue: Catalogue,
    links: FileLinks,
    now_ms: int,
) -> dict[str, Any]:
    """All that a batch's page shows: `batch, items, failures, proof, entries`. Raises `NotFound`."""
    batch = batch_with_account(connection, public_id, now_ms=now_ms)
    return {
        "batch": batch,
        "items": item_page(
            connection,
            public_id,
            wanted,
            limit=items.limit,
            offset=items.offset,
            catalogue=catalogue,
            links=links,
            now_ms=now_ms,
        ),
        "failures": failure_counts(connection, public_id) if batch["failed_count"] else {},
        "proof": credit_proof(connection, public_id),
        "entries": batch_entries(connection, public_id, limit=entries.limit, offset=entries.offset),
    }


# --- accounts -------------------------------------------------------------------------------------------


def account_list(connection: Connection) -> list[dict[str, Any]]:
    """Accounts by name: `account, available, held, entry_count`; at most `ACCOUNTS_MAX`."""
    c = schema.accounts.c
    rows = connection.execute(
        select(c.name, c.available, c.held, c.ledger_seq).order_by(c.name).limit(ACCOUNTS_MAX)
    )
    return [
        {"account": row.name, "available": row.available, "held": row.held, "entry_count": row.ledger_seq}
        for row in rows
    ]


def account_in_full(connection: Connection, account: str, *, entries: Span, now_ms: int) -> dict[str, Any]:
    """All that an account's page shows: `balance, entries, entry_count`. Raises `NotFound`."""
    c = schema.accounts.c
    count = connection.scalar(select(c.ledger_seq).where(c.name == account))
    return {
        "balance": views.balance(connection, account, now_ms=now_ms),
        "entries": views.ledger_entries(connection, account, limit=entries.limit, offset=entries.offset),
        "entry_count": int(count or 0),
    }


# --- deliveries -----------------------------------------------------------------------------------------


def delivery_page(
    connection: Connection, *, status: str | None, limit: int, before: int | None
) -> tuple[list[dict[str, Any]], bool]:
    """Webhook deliveries of all accounts, newest first, before the row `before`; and are there more?"""
    d, e = schema.webhook_deliveries, schema.webhook_endpoints
    query = (
        select(d, e.c.url, schema.batches.c.public_id, schema.accounts.c.name.label("account"))
        .join_from(d, e, e.c.id == d.c.endpoint_id)
        .join(schema.batches, schema.batches.c.id == d.c.batch_id)
        .join(schema.accounts, schema.accounts.c.id == d.c.account_id)
        .order_by(d.c.id.desc())
        .limit(limit + 1)
    )
    newest = connection.scalar(select(func.max(d.c.id))) or 0
    if before is not None:
        newest = before - 1
        query = query.where(d.c.id <= newest)
    if status is not None:
        query = query.where(d.c.status == status, d.c.id > newest - BATCHES_LOOKED_AT_MAX)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return rows[:limit], len(rows) > limit


# --- trouble and outcomes -------------------------------------------------------------------------------


def troubled_tasks(
    connection: Connection, *, soft_deadline_seconds: Mapping[str, float], now_ms: int
) -> dict[str, Any]:
    """Tasks in flight past their model's soft deadline, and submits of unknown outcome.

    `overdue_count, unconfirmed_count`, and `tasks`: the oldest of them, at most `TROUBLED_TASKS_MAX`.
    """
    in_flight = (
        "(SELECT id, batch_id, item_index, model, dispatched_at_ms, unconfirmed_at_ms FROM video_tasks"
        " WHERE status = 'processing' LIMIT :looked_at)"
    )
    rows = connection.execute(
        text(
            "SELECT t.item_index, t.model, t.dispatched_at_ms, t.unconfirmed_at_ms, b.public_id"
            f" FROM {in_flight} t LEFT JOIN {_DEADLINES.sql(connection)} ON v.model = t.model"
            " JOIN batches b ON b.id = t.batch_id"
            " WHERE t.unconfirmed_at_ms IS NOT NULL OR t.dispatched_at_ms < COALESCE(v.before_ms, 0)"
            " ORDER BY t.dispatched_at_ms"
        ),
        {
            **_DEADLINES.parameters(
                connection,
                [(model, now_ms - int(s * 1000)) for model, s in sorted(soft_deadline_seconds.items())],
            ),
            "looked_at": IN_FLIGHT_LOOKED_AT_MAX,
        },
    ).all()
    return {
        "overdue_count": sum(row.unconfirmed_at_ms is None for row in rows),
        "unconfirmed_count": sum(row.unconfirmed_at_ms is not None for row in rows),
        "tasks": [
            {
                "batch_id": row.public_id,
                "index": row.item_index,
                "model": row.model,
                "kind": "overdue" if row.unconfirmed_at_ms is None else "unconfirmed",
                "since_ms": row.dispatched_at_ms if row.unconfirmed_at_ms is None else row.unconfirmed_at_ms,
            }
            for row in rows[:TROUBLED_TASKS_MAX]
        ],
    }


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """Tasks of a model that ended in one span of time; `bucket` 0 is the oldest span."""

    bucket: int
    model: str
    succeeded: int
    failed: int


def outcomes_over_time(
    connection: Connection, *, since_ms: int, bucket_ms: int
) -> tuple[Sequence[OutcomeCount], bool]:
    """Outcomes since then by span and model, oldest first; and are they all?

    At most `OUTCOMES_LOOKED_AT_MAX` outcomes are read, the newest. What was cancelled is not counted: it
    says nothing of a model.
    """
    rows = connection.execute(
        text(
            "SELECT (completed_at_ms - :since) / :bucket AS bucket, model,"
            " SUM(CASE WHEN status = 'succeeded' THEN 1 ELSE 0 END) AS succeeded,"
            " SUM(CASE WHEN status = 'failed' AND failure_type <> 'cancelled' THEN 1 ELSE 0 END) AS failed,"
            " COUNT(*) AS looked_at FROM (SELECT completed_at_ms, model, status, failure_type"
            " FROM video_tasks WHERE completed_at_ms >= :since ORDER BY completed_at_ms DESC"
            " LIMIT :looked_at) AS newest GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        {"since": since_ms, "bucket": bucket_ms, "looked_at": OUTCOMES_LOOKED_AT_MAX},
    ).all()
    counts = [OutcomeCount(int(row[0]), row[1], int(row[2]), int(row[3])) for row in rows]
    return counts, sum(int(row.looked_at) for row in rows) < OUTCOMES_LOOKED_AT_MAX


@dataclass(frozen=True, slots=True)
class Look:
    """What the overview shows, but for the charts."""

    gauges: Gauges
    trouble: Mapping[str, Any]
    held: Sequence[Mapping[str, Any]]
    recent: Sequence[Mapping[str, Any]]
    now_ms: int


def look(connection: Connection, *, catalogue: Catalogue, batches_max: int, now_ms: int) -> Look:
    """The whole installation at one moment."""
    recent, _ = batch_page(connection, BatchFilter(), limit=batches_max, before=None, now_ms=now_ms)
    return Look(
        read_gauges(connection, now_ms),
        troubled_tasks(
            connection,
            soft_deadline_seconds={model.name: model.soft_deadline_seconds for model in catalogue},
            now_ms=now_ms,
        ),
        held_tasks(connection, catalogue, now_ms),
        recent,
        now_ms,
    )
