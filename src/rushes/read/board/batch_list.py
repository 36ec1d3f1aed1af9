"""The operators' list of batches: found by anything one may know of them, in any order."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from rushes.read import views
from rushes.read.batches import BATCHES_LOOKED_AT_MAX
from rushes.read.forecasts import Forecaster
from rushes.read.views import item_id
from rushes.store.database import statement
from rushes.store.tables import schema

ITEMS_LOOKED_AT_MAX: Final = 50_000
"""The newest items that a search looks through, for prompts, custom ids and remote ids."""

ITEMS_FOUND_MAX: Final = 50
"""Items that a search names."""

SORTS: Final = ("created", "name", "account", "status", "videos", "failed", "reserved", "settled")


@dataclass(frozen=True, slots=True)
class ListFilter:
    """Which batches are asked for, and in which order; None for all. Times are epoch milliseconds."""

    status: str | None = None
    account: str | None = None
    model: str | None = None
    search: str | None = None
    created_from_ms: int | None = None
    created_to_ms: int | None = None
    sort: str = "created"
    ascending: bool = False

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves any batch out."""
        return replace(self, sort="created", ascending=False) != ListFilter()


@dataclass(frozen=True, slots=True)
class FoundItem:
    """An item that a search found, and by what: `prompt`, `custom_id` or `remote_task_id`."""

    item_id: str
    batch_id: str
    index: int
    prompt: str
    status: str
    found_by: str
    text: str
    batch_name: str


@dataclass(frozen=True, slots=True)
class BatchList:
    """A page of batches, whether there are more, and the items that the search found."""

    batches: list[dict[str, Any]]
    has_more: bool
    items: list[FoundItem]


def batch_list(
    connection: Connection,
    wanted: ListFilter,
    *,
    limit: int,
    offset: int,
    forecaster: Forecaster,
    now_ms: int,
) -> BatchList:
    """The batches, and with a search the items that it found; of the newest `BATCHES_LOOKED_AT_MAX`."""
    b, a = schema.batches, schema.accounts
    newest = connection.scalar(select(func.max(b.c.id))) or 0
    items = [] if wanted.search is None else _items(connection, wanted.search)
    conditions = [b.c.id > newest - BATCHES_LOOKED_AT_MAX, *_conditions(wanted)]
    if wanted.search is not None:
        conditions.append(_by_text(wanted.search, {item.batch_id for item in items}))
    column = _sort_column(wanted.sort)
    order = column.asc() if wanted.ascending else column.desc()
    with_account = b.join(a, a.c.id == b.c.account_id)
    # all that are looked at are sorted by what is needed for it: whole rows take three times as long
    found_ids = select(b.c.id).select_from(with_account).where(*conditions).order_by(order, b.c.id.desc())
    query = (
        select(b, a.c.name.label("account"))
        .select_from(with_account)
        .where(b.c.id.in_(found_ids.limit(limit + 1).offset(offset)))
        .order_by(order, b.c.id.desc())
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    shown = rows[:limit]
    etas = forecaster.etas(connection, shown, now_ms)
    found = [
        views.batch_view(row, eta=(eta := etas[row["id"]])) | {"account": row["account"], "waits": eta.waits}
        for row in shown
    ]
    return BatchList(found, len(rows) > limit, items)


def _conditions(wanted: ListFilter) -> list[ColumnElement[bool]]:
    b, a, label = schema.batches.c, schema.accounts.c, schema.batch_labels.c
    found: list[ColumnElement[bool]] = []
    if wanted.status is not None:
        found.append(b.status == wanted.status)
    if wanted.account is not None:
        found.append(a.name == wanted.account)
    if wanted.model is not None:
        found.append(
            b.id.in_(select(label.batch_id).where(label.name == "model", label.value == wanted.model))
        )
    if wanted.created_from_ms is not None:
        found.append(b.created_at_ms >= wanted.created_from_ms)
    if wanted.created_to_ms is not None:
        found.append(b.created_at_ms < wanted.created_to_ms)
    return found


def _by_text(text: str, batch_ids: Collection[str]) -> ColumnElement[bool]:
    b, a = schema.batches.c, schema.accounts.c
    of_accounts = select(a.id).where(a.name.icontains(text, autoescape=True)).correlate(None)
    return (
        b.public_id.startswith(text, autoescape=True)
        | b.public_id.startswith(f"bat_{text}", autoescape=True)
        | b.request_id.icontains(text, autoescape=True)
        | b.name.icontains(text, autoescape=True)
        | b.account_id.in_(of_accounts)
        | b.public_id.in_(batch_ids)
    )


def _sort_column(sort: str) -> ColumnElement[Any]:
    b, a = schema.batches.c, schema.accounts.c
    match sort:
        case "name":
            return func.lower(func.coalesce(b.name, b.request_id))
        case "account":
            return func.lower(a.name)
        case "status":
            return b.status
        case "videos":
            return b.total_count
        case "failed":
            return b.failed_count
        case "reserved":
            return b.credits_reserved
        case "settled":
            return b.credits_settled
        case _:
            return b.id


def _items(connection: Connection, text: str) -> list[FoundItem]:
    batch, _, index = text.rpartition("-")
    pattern = "%" + text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    rows = connection.execute(
        statement(
            # batches are joined to what was found: planners would rather read all of either first
            "SELECT b.public_id, COALESCE(b.name, b.request_id) AS batch_name, f.* FROM (SELECT * FROM"
            " (SELECT id, batch_id, item_index, prompt, status, custom_id, remote_task_id FROM video_tasks"
            "  WHERE is_current = 1 AND erased_at_ms IS NULL ORDER BY id DESC LIMIT :looked_at) t"
            " WHERE t.custom_id = :text OR t.remote_task_id = :text OR (t.item_index = :index"
            "  AND t.batch_id = (SELECT id FROM batches WHERE public_id = :batch))"
            " OR LOWER(t.prompt) LIKE :pattern ESCAPE '\\' LIMIT :limit) f"
            " JOIN batches b ON b.id = f.batch_id ORDER BY f.id DESC"
        ),
        {
            "looked_at": ITEMS_LOOKED_AT_MAX,
            "text": text,
            "batch": batch,
            "index": int(index) if index.isascii() and index.isdigit() and len(index) < 9 else -1,
            "pattern": pattern,
            "limit": ITEMS_FOUND_MAX,
        },
    ).all()
    found = []
    for row in rows:
        by, shown = "prompt", row.prompt
        if row.remote_task_id == text:
            by, shown = "remote_task_id", text
        elif row.custom_id == text:
            by, shown = "custom_id", text
        found.append(
            FoundItem(
                item_id(row.public_id, row.item_index),
                row.public_id,
                row.item_index,
                row.prompt,
                row.status,
                by,
                shown,
                row.batch_name,
            )
        )
    return found
