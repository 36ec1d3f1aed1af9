"""New tasks: the first tries of a batch's items, and their next ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection

from rushes.domain.catalogue.price import Charge
from rushes.domain.input.auto import AUTO
from rushes.store.database import Rows, as_given, statement
from rushes.store.reuse import sources
from rushes.store.reuse.sources import Source
from rushes.store.tasks.charges import CHARGE_COLUMNS, CHARGE_FIELDS, charge_row
from rushes.store.tasks.retries import REROLLS_OF_TASK

_ITEMS = Rows(
    item_index=int,
    kind=int,
    custom_id=str,
    prompt=str,
    metadata=str,
    request_key=int,
)

_KINDS = Rows(
    "k",
    number=int,
    retry_number=int,
    model=str,
    options=str,
    credits=int,
    provider=str,
    api_model=str,
    alias=str,
    deadline_at_ms=int,
    follows_index=int,
    follows_custom_id=str,
    waits_for_frame=int,
    **CHARGE_FIELDS,
)
"""What items of a batch mostly have in common: the database reads it once for all items of a kind."""

_NEXT_TRIES = Rows(
    id=int,
    credits=int,
    model=str,
    provider=str,
    api_model=str,
    is_priced=int,
    options=str,
    rerolls=int,
    repair=str,
    **CHARGE_FIELDS,
)


class Followed(NamedTuple):
    """The item from whose last frame another one starts."""

    item_index: int
    custom_id: str


@dataclass(slots=True)
class NewTask:
    """What `insert_tasks` stores for one item. `options` and `metadata` are JSON objects.

    `charge` says what is sent and what it is expected to cost; its credits are `credits`. Equal requests have
    equal `request_key`s; with a `source` the item takes that one's file.
    """

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
    charge: Charge | None = None
    deadline_at_ms: int | None = None
    request_key: int | None = None
    source: Source | None = None
    follows: Followed | None = None


_LINK_COLUMNS = "follows_index, follows_custom_id, waits_for_frame"


def insert_tasks(
    connection: Connection,
    *,
    batch_id: int,
    account_id: int,
    tasks: Sequence[NewTask],
    deadline_at_ms: int | None = None,
    now_ms: int,
) -> None:
    """Add pending tasks to a batch whose counters already count them.

    `deadline_at_ms` is the batch's: of it and an item's own the earlier one holds.
    """
    items, kinds = _items_and_kinds(tasks, deadline_at_ms)
    columns = "item_index, custom_id, prompt, metadata, request_key, retry_number, model, options, credits"
    columns += f", provider, api_model, alias, deadline_at_ms, {_LINK_COLUMNS}, {CHARGE_COLUMNS}"
    connection.execute(
        statement(
            # CROSS JOIN, as SQLite would else look through all items once for each kind
            f"WITH k AS MATERIALIZED (SELECT * FROM {_KINDS.sql(connection)})"
            f" INSERT INTO video_tasks (batch_id, account_id, status, created_at_ms, {columns})"
            f" SELECT CAST(:batch_id AS bigint), CAST(:account_id AS bigint), 'pending',"
            f" CAST(:now AS bigint), {columns}"
            f" FROM {_ITEMS.sql(connection)} CROSS JOIN k WHERE k.number = v.kind"
            f"{as_given(connection, 'item_index')}"
        ),
        {
            **_ITEMS.parameters(connection, items),
            **_KINDS.parameters(connection, kinds),
            "batch_id": batch_id,
            "account_id": account_id,
            "now": now_ms,
        },
    )
    sources.note(
        connection,
        batch_id,
        [(task.item_index, task.source) for task in tasks if task.source is not None],
    )


def _items_and_kinds(
    tasks: Sequence[NewTask], deadline_at_ms: int | None
) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Rows of `_ITEMS` and of `_KINDS`."""
    encode = msgspec.json.Encoder().encode
    items: list[tuple[object, ...]] = []
    kinds: dict[tuple[object, ...], int] = {}
    # by what tells kinds apart at a glance: the options and charges stay, so an id is one object's
    known: dict[tuple[object, ...], int] = {}
    for task in tasks:
        look = (
            id(task.options),
            id(task.charge),
            task.model,
            task.provider,
            task.api_model,
            task.alias,
            task.credits,
            task.retry_number,
            task.deadline_at_ms,
            task.follows,
        )
        kind = known.get(look)
        if kind is None:
            columns = (
                task.retry_number,
                task.model,
                encode(task.options).decode(),
                task.credits,
                task.provider,
                task.api_model,
                task.alias,
                _earlier(task.deadline_at_ms, deadline_at_ms),
                *(task.follows or (None, None)),
                int(task.follows is not None),
                *charge_row(task.charge, task.options),
            )
            kind = known[look] = kinds.setdefault(columns, len(kinds))
        metadata = None if task.metadata is None else encode(task.metadata).decode()
        items.append((task.item_index, kind, task.custom_id, task.prompt, metadata, task.request_key))
    return items, [(number, *columns) for columns, number in kinds.items()]


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((at for at in (one, other) if at is not None), default=None)


_COPIES = {"options": "COALESCE(v.options, t.options)"}
"""What a next try does not simply have from its task."""


def insert_next_tries(
    connection: Connection,
    rows: Sequence[tuple[object, ...]],
    *,
    now_ms: int,
) -> list[int]:
    """A new pending task for the item of each given task, whose batch's counters already count it.

    Rows are `(task_id, credits, model, provider, api_model, is_priced, options, rerolls, repair, …)`, the
    models None for those of the task itself and of its alias, the options (JSON) None for its own, `rerolls`
    how many of the item's re-rolls the try uses up, `repair` which one it has. What comes last is the charge
    of a row that `is_priced` (1), as `charge_row` gives it; others (0) keep their task's. Returns the new
    ids, in the order of the rows.
    """
    parameters = _NEXT_TRIES.parameters(connection, rows)
    source = _NEXT_TRIES.sql(connection)
    connection.execute(
        statement(f"UPDATE video_tasks SET is_current = 0 FROM {source} WHERE video_tasks.id = v.id"),
        parameters,
    )
    charge = ", ".join(f"CASE WHEN v.is_priced = 1 THEN v.{name} ELSE t.{name} END" for name in CHARGE_FIELDS)
    # one that has not been given its frame waits for that as its last try did
    copied = f"batch_id, account_id, item_index, custom_id, prompt, options, metadata, {_LINK_COLUMNS}"
    # what was to reuse a file is bought from here on
    bought_at = "(SELECT r.provider FROM reused_items r WHERE r.task_id = t.id)"
    # whoever retries an item after its deadline wants it all the same
    deadline = "CASE WHEN t.deadline_at_ms > :now THEN t.deadline_at_ms END"
    connection.execute(
        statement(
            f"INSERT INTO video_tasks ({copied}, status, created_at_ms, retry_number, rerolls, credits,"
            f" model, provider, api_model, alias, repair, deadline_at_ms, {CHARGE_COLUMNS})"
            f" SELECT {', '.join(_COPIES.get(name, f't.{name}') for name in copied.split(', '))},"
            " 'pending', CAST(:now AS bigint), t.retry_number + 1,"
            f" {REROLLS_OF_TASK} + v.rerolls, v.credits, COALESCE(v.model, t.model),"
            f" COALESCE(v.provider, {bought_at}, t.provider), COALESCE(v.api_model, t.api_model),"
            f" CASE WHEN v.model IS NULL OR v.model = '{AUTO}' THEN t.alias END, v.repair, {deadline},"
            f" {charge}"
            f" FROM {source} JOIN video_tasks t ON t.id = v.id"
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
