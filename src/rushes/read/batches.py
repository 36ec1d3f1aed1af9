"""Batches: lists of them, one of them, and what accepting one answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select, text

from rushes.domain.errors import InputError, NotFound
from rushes.read.batch_views import Eta, batch_view
from rushes.read.scope import Scope
from rushes.store import ledger
from rushes.store.tables import schema

if TYPE_CHECKING:
    from rushes.money.accept import AcceptedBatch


class Forecasting(Protocol):
    """Who knows when batches are done: a `Forecaster`, or who asks one only where a batch is open."""

    def etas(self, connection: Connection, rows: Sequence[Mapping[str, Any]], now_ms: int) -> dict[int, Eta]:
        """The time left of each batch, by row id."""


LAST: Final = "last"
"""Instead of a batch's id: the newest."""

ID_START: Final = "bat_"
"""Of a batch's id; it may be left out where a start is enough."""

BATCHES_LOOKED_AT_MAX: Final = 10_000
"""Batches that a list with a filter looks through, from where it starts."""


@dataclass(frozen=True, slots=True)
class BatchFilter:
    """Which batches are asked for; None for all."""

    status: str | None = None
    account: str | None = None
    search: str | None = None
    """The start of a batch's id or request id."""
    request_id: str | None = None
    created_after_ms: int | None = None
    created_before_ms: int | None = None
    labels: tuple[tuple[str, str], ...] = ()
    """Names and values of its metadata (`metadata.KEY`), and its `model`, or alias: it has all of them."""

    @property
    def looks_through(self) -> bool:
        """Whether no index of all accounts' batches knows what is asked for."""
        return self.status is not None or self.search is not None


ALL: Final = BatchFilter()


def batch_page(
    connection: Connection,
    scope: Scope,
    wanted: BatchFilter = ALL,
    *,
    limit: int,
    after: str | None,
    forecaster: Forecasting,
    now_ms: int,
    ascending: bool = False,
) -> tuple[list[dict[str, Any]], bool]:
    """Batches, newest first unless `ascending`, from the one after `after` on, and whether there are more.

    Operators see the `account` of each. Their lists that are filtered by something that no index knows look
    at the newest `BATCHES_LOOKED_AT_MAX` only; an account's are looked through whole. Raises `NotFound` for
    an account or a batch `after` that does not exist.
    """
    b = schema.batches.c
    query = _batches(scope).order_by(b.id if ascending else b.id.desc()).limit(limit + 1)
    before = None if after is None else scope.batch_id(connection, after)
    if before is not None:
        query = query.where(b.id > before if ascending else b.id < before)
    if wanted.account is not None:
        query = query.where(b.account_id == ledger.account_id(connection, wanted.account))
    if wanted.looks_through and scope.is_operator and not ascending:
        if before is None:
            before = (connection.scalar(select(func.max(b.id))) or 0) + 1
        query = query.where(b.id >= before - BATCHES_LOOKED_AT_MAX)
    if wanted.status is not None:
        query = query.where(b.status == wanted.status)
    if wanted.search is not None:
        query = query.where(
            b.public_id.startswith(wanted.search, autoescape=True)
            | b.request_id.startswith(wanted.search, autoescape=True)
        )
    rows = [dict(row) for row in connection.execute(query.where(*_found_by(wanted))).mappings()]
    shown = rows[:limit]
    etas = forecaster.etas(connection, shown, now_ms)
    found = [batch_view(row, eta=etas[row["id"]]) | _account(scope, row) for row in shown]
    return found, len(rows) > limit


def _found_by(wanted: BatchFilter) -> Iterator[ColumnElement[bool]]:
    b, label = schema.batches.c, schema.batch_labels.c
    if wanted.request_id is not None:
        yield b.request_id == wanted.request_id
    if wanted.created_after_ms is not None:
        yield b.created_at_ms > wanted.created_after_ms
    if wanted.created_before_ms is not None:
        yield b.created_at_ms < wanted.created_before_ms
    for name, value in wanted.labels:
        yield b.id.in_(
            select(label.batch_id).where(
                label.account_id == b.account_id, label.name == name, label.value == value
            )
        )


def _batches(scope: Scope) -> Select[Any]:
    """The rows of the scope's batches; for operators with the name of their `account`."""
    b, a = schema.batches, schema.accounts
    if scope.is_operator:
        return select(b, a.c.name.label("account")).join_from(b, a, a.c.id == b.c.account_id)
    return select(b).where(b.c.account_id == scope.account_id)


def _account(scope: Scope, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"account": row["account"]} if scope.is_operator else {}


_OF_ACCOUNT: Final = select(schema.batches).where(
    schema.batches.c.public_id == bindparam("public_id"),
    schema.batches.c.account_id == bindparam("account_id"),
)
"""Kept, as it is the statement that is asked most often of all."""


def batch_row(connection: Connection, scope: Scope, public_id: str) -> dict[str, Any]:
    """The row of one batch. Raises `NotFound`."""
    query, of_batch = _OF_ACCOUNT, {"public_id": public_id, "account_id": scope.account_id}
    if scope.is_operator:
        query, of_batch = _batches(scope).where(schema.batches.c.public_id == public_id), {}
    row = connection.execute(query, of_batch).first()
    if row is None:
        raise NotFound(f'there is no batch "{public_id}"')
    return dict(row._mapping)


def batch(
    connection: Connection, scope: Scope, public_id: str, *, forecaster: Forecasting, now_ms: int
) -> dict[str, Any]:
    """One batch; for operators with its `account`, and whether it `is_cancelled`. Raises `NotFound`."""
    return batch_and_eta(connection, scope, public_id, forecaster=forecaster, now_ms=now_ms)[0]


def batch_and_eta(
    connection: Connection, scope: Scope, public_id: str, *, forecaster: Forecasting, now_ms: int
) -> tuple[dict[str, Any], Eta]:
    """The same, and its time left with what it waits for. Raises `NotFound`."""
    row = batch_row(connection, scope, public_id)
    eta = forecaster.etas(connection, [row], now_ms)[row["id"]]
    found = batch_view(row, eta=eta)
    if scope.is_operator:
        found |= _account(scope, row) | {"is_cancelled": row["cancelled_at_ms"] is not None}
    return found, eta


def public_id_like(connection: Connection, scope: Scope, text: str) -> str:
    """The id that is meant by an id, by the start of one that no other batch has, or by `last`, the newest.

    Raises `NotFound` when no batch has it, and `InputError` for a start that several have.
    """
    b = schema.batches.c
    query = select(b.public_id).where(scope.includes(b.account_id)).order_by(b.id.desc()).limit(2)
    if text == LAST:
        newest: str | None = connection.scalar(query)
        if newest is None:
            raise NotFound("there is no batch yet")
        return newest
    if connection.scalar(query.where(b.public_id == text)) is not None:
        return text
    written = text if text.startswith(ID_START) else ID_START + text
    found = list(connection.scalars(query.where(b.public_id.startswith(written, autoescape=True))))
    if len(found) > 1 and text:
        shown = " and ".join(sorted(found))
        raise InputError(f'"{text}" is the start of {shown}; write more of it')
    if not found or not text:
        raise NotFound(f'there is no batch "{text}"; `rushes batch list` shows them')
    public_id: str = found[0]
    return public_id


def open_batch_id(connection: Connection, scope: Scope) -> str | None:
    """The newest batch that has not finished, or whose files or verdicts are still to come."""
    b, t, f, c = schema.batches, schema.video_tasks, schema.archived_files, schema.clip_verdicts
    mine = scope.includes(b.c.account_id)
    newest = select(b.c.id, b.c.public_id).where(mine).order_by(b.c.id.desc()).limit(1)
    with_due_files = (
        newest.join_from(f, t, t.c.id == f.c.task_id)
        .join(b, b.c.id == t.c.batch_id)
        .where(f.c.state == "due")
    )
    with_open_verdicts = (
        newest.join_from(c, t, t.c.id == c.c.task_id)
        .join(b, b.c.id == t.c.batch_id)
        .where(text("clip_verdicts.state <> 'decided'"), t.c.is_current == 1)
    )
    found = [
        *connection.execute(newest.where(b.c.finalized_at_ms.is_(None))),
        *connection.execute(with_due_files),
        *connection.execute(with_open_verdicts),
    ]
    newest_id: str | None = max(found)[1] if found else None
    return newest_id


def event_head(connection: Connection, scope: Scope, public_id: str) -> tuple[int, int, bool]:
    """`(row id, number of the last event, finished)` of a batch. Raises `NotFound`."""
    from rushes.read.events import event_heads

    return event_heads(connection, [scope.batch_id(connection, public_id)])[0]


def failure_counts(connection: Connection, scope: Scope, public_id: str) -> dict[str, int]:
    """Failed items of a batch by failure type, the most frequent first. Raises `NotFound`."""
    c = schema.video_tasks.c
    rows = connection.execute(
        select(c.failure_type, func.count())
        .where(
            c.batch_id == scope.batch_id(connection, public_id),
            c.is_current == 1,
            c.status == "failed",
        )
        .group_by(c.failure_type)
    )
    return dict(sorted(((row[0], int(row[1])) for row in rows), key=lambda pair: (-pair[1], pair[0])))


def accepted_view(connection: Connection, accepted: "AcceptedBatch", *, now_ms: int) -> dict[str, Any]:
    """What the request that made the batch is answered, and each repetition of it."""
    row = accepted.row
    is_replay = accepted.idempotent_replay
    return {
        "batch_id": row["public_id"],
        "request_id": row["request_id"],
        "status": row["status"],
        "total_count": row["total_count"],
        "cost_per_video": row["cost_per_video"],
        "required_credits": _credits_at_first(connection, row["id"])
        if is_replay
        else row["credits_reserved"],
        "available_credits": ledger.available_credits(connection, row["account_id"], now_ms),
        "idempotent_replay": is_replay,
    }


def _credits_at_first(connection: Connection, batch_id: int) -> int:
    """What accepting the batch reserved; what its re-rolls cost is not in it."""
    task = schema.video_tasks.c
    total = connection.scalar(
        select(func.coalesce(func.sum(task.credits), 0)).where(
            task.batch_id == batch_id, task.retry_number == 0
        )
    )
    return int(total or 0)
