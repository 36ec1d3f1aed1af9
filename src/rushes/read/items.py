"""Items of a batch: of an item that was retried, its newest try."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.margin import NO_VALUATION, Valuation
from rushes.files.links import FileLinks, file_fields, further_fields
from rushes.read import views
from rushes.read.batches import batch_row
from rushes.read.holding import held_reasons
from rushes.read.scope import OPERATOR, Scope
from rushes.store import archive, batches
from rushes.store.acceptance import given_back
from rushes.store.outputs import further

EXPORT_PAGE_ROWS: Final = 1000
"""Items that one read of an export fetches."""


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items of a batch are asked for; None for any. `model` is that or the alias."""

    status: str | None = None
    failure_type: str | None = None
    custom_id: str | None = None
    model: str | None = None

    @property
    def columns(self) -> dict[str, str | None]:
        """The values by their columns."""
        return {
            "status": self.status,
            "failure_type": self.failure_type,
            "custom_id": self.custom_id,
            "model": self.model,
        }


def item_page(
    connection: Connection,
    scope: Scope,
    public_id: str,
    wanted: ItemFilter,
    *,
    limit: int,
    offset: int,
    catalogue: Catalogue,
    links: FileLinks,
    now_ms: int,
    ascending: bool = True,
) -> tuple[list[dict[str, Any]], int]:
    """Items in their order, each with what is kept of its video, and how many there are of those wanted.

    Operators see the `credits`, the `remote_task_id` and the `options` of each. Raises `NotFound`.
    """
    of_batch = batch_row(connection, scope, public_id)
    rows = batches.list_items(
        connection,
        of_batch["id"],
        wanted=wanted.columns,
        limit=limit,
        offset=offset,
        ascending=ascending,
    )
    total = _total(connection, of_batch, wanted)
    return _with_files(connection, scope, public_id, rows, catalogue, links, now_ms), total


def items_at(
    connection: Connection,
    scope: Scope,
    public_id: str,
    indexes: Sequence[int],
    *,
    catalogue: Catalogue,
    links: FileLinks,
    now_ms: int,
) -> list[dict[str, Any]]:
    """Those of the items that are there, as in a page of them. Raises `NotFound`."""
    tasks = batches.list_items(connection, scope.batch_id(connection, public_id), indexes=indexes)
    return _with_files(connection, scope, public_id, tasks, catalogue, links, now_ms)


def _with_files(
    connection: Connection,
    scope: Scope,
    public_id: str,
    rows: Sequence[dict[str, Any]],
    catalogue: Catalogue,
    links: FileLinks,
    now_ms: int,
) -> list[dict[str, Any]]:
    ids = [row["id"] for row in rows]
    kept, beside = archive.files_of(connection, ids), further.of_tasks(connection, ids)
    return [
        item
        | file_fields(row, kept.get(row["id"]), item_id=item["item_id"], links=links, now_ms=now_ms)
        | {
            "further_files": further_fields(
                beside.get(row["id"], ()),
                row,
                kept.get(row["id"]),
                item_id=item["item_id"],
                links=links,
                now_ms=now_ms,
            )
        }
        | _more(scope, row)
        for row, item in _viewed(connection, scope, public_id, rows, catalogue, now_ms)
    ]


def _total(connection: Connection, of_batch: Mapping[str, Any], wanted: ItemFilter) -> int:
    match wanted:
        case ItemFilter(failure_type=None, custom_id=None, model=None, status=status):
            return int(of_batch["total_count" if status is None else f"{status}_count"])
        case _:
            return batches.count_items(connection, of_batch["id"], wanted.columns)


def _more(scope: Scope, row: Mapping[str, Any]) -> dict[str, Any]:
    if not scope.is_operator:
        return {}
    return {
        "credits": row["credits"],
        "remote_task_id": row["remote_task_id"],
        "options": msgspec.json.decode(row["sent_options"] or row["options"]),
    }


def _viewed(
    connection: Connection,
    scope: Scope,
    public_id: str,
    rows: Sequence[dict[str, Any]],
    catalogue: Catalogue,
    now_ms: int,
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each row, and the item that it is."""
    held = held_reasons(connection, rows, catalogue, now_ms)
    return [
        (
            row,
            views.item_view(
                row,
                batch_public_id=public_id,
                held_reason=held.get(row["id"]),
                to_operator=scope.is_operator,
            )
            | {"options": msgspec.json.decode(row["options"])},
        )
        for row in rows
    ]


def items_in_full(
    connection: Connection,
    public_id: str,
    *,
    status: str | None,
    limit: int | None,
    offset: int,
    catalogue: Catalogue,
    valuation: Valuation,
    now_ms: int,
) -> list[dict[str, Any]]:
    """An operator's items with the columns of an export beside their own. Raises `NotFound`."""
    batch_id = OPERATOR.batch_id(connection, public_id)
    rows = batches.list_items(connection, batch_id, wanted={"status": status}, limit=limit, offset=offset)
    ids = [row["id"] for row in rows]
    kept, beside = archive.files_of(connection, ids), further.of_tasks(connection, ids)
    returned = given_back.of_tasks(connection, ids)
    return [
        item
        | views.operator_export_view(
            row,
            kept.get(row["id"]),
            beside.get(row["id"], ()),
            batch_public_id=public_id,
            valuation=valuation,
            given_back=returned,
        )
        for row, item in _viewed(connection, OPERATOR, public_id, rows, catalogue, now_ms)
    ]


def export_page(
    connection: Connection,
    scope: Scope,
    public_id: str,
    *,
    from_index: int,
    base: str = "",
    valuation: Valuation = NO_VALUATION,
) -> list[dict[str, Any]]:
    """The next items of an export, from that index on; empty at its end. Raises `NotFound`.

    `base` is put before the paths of their videos.
    """
    tasks = batches.list_items(
        connection,
        scope.batch_id(connection, public_id),
        from_index=from_index,
        limit=EXPORT_PAGE_ROWS,
        columns=() if scope.is_operator else views.EXPORT_COLUMNS,
        file_columns=views.EXPORT_FILE_COLUMNS,
    )
    ids = [task["id"] for task in tasks]
    beside = further.of_tasks(connection, ids)
    view: Callable[..., dict[str, Any]] = views.export_view
    if scope.is_operator:
        returned = given_back.of_tasks(connection, ids)
        view = partial(views.operator_export_view, valuation=valuation, given_back=returned)
    return [
        view(
            task,
            None if task["state"] is None else task,
            beside.get(task["id"], ()),
            batch_public_id=public_id,
            base=base,
        )
        for task in tasks
    ]
