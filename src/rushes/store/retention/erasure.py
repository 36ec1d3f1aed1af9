"""Erasing what customers wrote and got: prompts, inputs, metadata and links become hashes."""

import hashlib
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from rushes.store.database import Rows, for_update, statement
from rushes.store.outputs import further

TASKS_AT_ONCE_MAX = 1_000
"""What one transaction erases."""

_ERASED = Rows(
    id=int, prompt=str, options=str, sent_options=str, metadata=str, video_url=str, trouble_reason=str
)
_IDS = Rows(id=int)


class Scope(NamedTuple):
    """All tasks of an account, of one of its batches, or of an item of that: every try of it."""

    account_id: int
    batch_id: int | None = None
    item_index: int | None = None


def _where(scope: Scope) -> tuple[str, dict[str, Any]]:
    names = {"account_id": scope.account_id, "batch_id": scope.batch_id, "item_index": scope.item_index}
    given = {name: value for name, value in names.items() if value is not None}
    return " AND ".join(f"{name} = :{name}" for name in given), given


def erase_some(connection: Connection, scope: Scope, *, now_ms: int) -> int:
    """Erase the next finished tasks of the scope that are not yet; returns how many, 0 when none are left.

    Their videos are hidden for good, and their files are the archive's next to remove. The books need
    nothing of what goes: statements and the audit are as before.
    """
    where, parameters = _where(scope)
    rows = connection.execute(
        statement(
            "SELECT id, batch_id, item_index, status, prompt, options, sent_options, metadata, video_url,"
            f" trouble_reason FROM video_tasks WHERE {where} AND status IN ('succeeded', 'failed')"
            f" AND erased_at_ms IS NULL ORDER BY id LIMIT :limit{for_update(connection)}"
        ),
        {**parameters, "limit": TASKS_AT_ONCE_MAX},
    ).all()
    if not rows:
        _forget_words(connection, scope)
        return 0
    changed = [(row.id, *_hashes(row)) for row in rows]
    connection.execute(
        statement(
            "UPDATE video_tasks SET prompt = v.prompt, options = v.options, sent_options = v.sent_options,"
            " metadata = v.metadata, video_url = v.video_url, trouble_reason = v.trouble_reason,"
            f" erased_at_ms = :now FROM {_ERASED.sql(connection)} WHERE video_tasks.id = v.id"
        ),
        {**_ERASED.parameters(connection, changed), "now": now_ms},
    )
    further.erase(connection, [row.id for row in rows])
    ids = _IDS.parameters(connection, [(row.id,) for row in rows])
    connection.execute(
        statement(
            "UPDATE task_attempts SET trouble_reason = 'erased' WHERE trouble_reason IS NOT NULL"
            f" AND task_id IN (SELECT v.id FROM {_IDS.sql(connection)})"
        ),
        ids,
    )
    connection.execute(
        statement(
            "INSERT INTO deleted_videos (batch_id, item_index, deleted_at_ms)"
            " SELECT batch_id, item_index, :now FROM video_tasks"
            f" WHERE id IN (SELECT v.id FROM {_IDS.sql(connection)})"
            " AND status = 'succeeded' ON CONFLICT (batch_id, item_index) DO NOTHING"
        ),
        {**ids, "now": now_ms},
    )
    return len(rows)


def _forget_words(connection: Connection, scope: Scope) -> None:
    """The names and metadata of the scope's batches go once nothing of them is open; an item has none."""
    if scope.item_index is not None:
        return
    of_batch = "" if scope.batch_id is None else " AND id = :batch_id"
    parameters = {"account_id": scope.account_id}
    parameters |= {} if scope.batch_id is None else {"batch_id": scope.batch_id}
    ended = (
        f"SELECT id FROM batches WHERE account_id = :account_id{of_batch}"
        " AND pending_count + processing_count = 0 AND (name IS NOT NULL OR metadata IS NOT NULL)"
    )
    connection.execute(
        statement(f"DELETE FROM batch_labels WHERE name LIKE 'metadata.%' AND batch_id IN ({ended})"),
        parameters,
    )
    connection.execute(
        statement(
            "UPDATE batches SET name = NULL, metadata = NULL"
            f" WHERE id IN ({ended} ORDER BY id{for_update(connection)})"
        ),
        parameters,
    )


def open_count(connection: Connection, scope: Scope) -> int:
    """Tasks of the scope that are not finished, which keep what they need."""
    where, parameters = _where(scope)
    found = connection.scalar(
        statement(f"SELECT COUNT(*) FROM video_tasks WHERE {where} AND status IN ('pending', 'processing')"),
        parameters,
    )
    return found or 0


def _hashes(row: Row[Any]) -> tuple[str, str, str | None, str | None, str | None, str | None]:
    return (
        _hash(row.prompt),
        _as_json(row.options) or "{}",
        _as_json(row.sent_options),
        _as_json(row.metadata),
        None if row.video_url is None else _hash(row.video_url),
        None if row.trouble_reason is None else "erased",
    )


def _hash(text: str) -> str:
    return f"erased:sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _as_json(text: str | None) -> str | None:
    """What stands in the place of an object; an empty one stays."""
    return text if text in (None, "{}") else f'{{"erased":"{_hash(text)}"}}'
