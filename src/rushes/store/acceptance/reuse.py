"""Items that take the file of an equal one instead of being bought: which there are, and how they end."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from rushes.domain.input.auto import AUTO
from rushes.domain.input.duplicates import REUSED_PROVIDER
from rushes.domain.task import TaskStatus
from rushes.store.database import Rows, for_update, statement
from rushes.store.tasks.rows import FinishedTask

_KEYS = Rows(key=int)
_ENDS = Rows(id=int, source_id=int, status=str, video_url=str, error=str, failure_type=str)
_IDS = Rows(id=int)

_NOT_DELETED = (
    "NOT EXISTS (SELECT 1 FROM deleted_videos d WHERE d.batch_id = {t}.batch_id"
    " AND d.item_index = {t}.item_index)"
)


def bought_lately(
    connection: Connection, account_id: int, keys: Collection[int], *, since_ms: int
) -> list[Row[Any]]:
    """The newest success of each of these requests, completed since then, that nobody deleted or rejected.

    `request_key, task_id, public_id, item_index, completed_at_ms, is_stored` (1 or 0).
    """
    rows = connection.execute(
        statement(
            "SELECT t.request_key, t.id AS task_id, b.public_id, t.item_index, t.completed_at_ms,"
            " CASE WHEN f.state = 'stored' THEN 1 ELSE 0 END AS is_stored"
            f" FROM {_KEYS.sql(connection)} JOIN video_tasks t ON t.account_id = :account_id"
            " AND t.request_key = v.key AND t.status = 'succeeded' AND t.request_key IS NOT NULL"
            " JOIN batches b ON b.id = t.batch_id LEFT JOIN archived_files f ON f.task_id = t.id"
            " WHERE t.completed_at_ms >= :since AND t.is_current = 1 AND t.erased_at_ms IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM clip_verdicts c WHERE c.task_id = t.id"
            f" AND c.verdict = 'rejected') AND {_NOT_DELETED.format(t='t')} ORDER BY is_stored, t.id"
        ),
        {
            **_KEYS.parameters(connection, [(key,) for key in sorted(keys)]),
            "account_id": account_id,
            "since": since_ms,
        },
    )
    return list({row.request_key: row for row in rows}.values())  # stored ones first, of these the newest


def any_open(connection: Connection) -> bool:
    """Whether an item waits for the file of another."""
    return connection.scalar(statement("SELECT 1 FROM reused_items WHERE is_open = 1 LIMIT 1")) is not None


def ended_sources(connection: Connection, *, limit: int) -> list[Row[Any]]:
    """Waiting items whose source has ended: `task_id, source_id, status, video_url, error, failure_type,
    is_gone`.

    The last is 1 for a source that is not there, or was erased or deleted.
    """
    current = (
        "SELECT c.id FROM video_tasks c WHERE c.batch_id = t.batch_id AND c.item_index = r.source_index"
        " AND c.is_current = 1"
    )
    return list(
        connection.execute(
            statement(
                "SELECT r.task_id, s.id AS source_id, s.status, s.video_url, s.error, s.failure_type,"
                " CASE WHEN s.id IS NULL OR s.erased_at_ms IS NOT NULL OR NOT"
                f" ({_NOT_DELETED.format(t='s')}) THEN 1 ELSE 0 END AS is_gone"
                " FROM reused_items r JOIN video_tasks t ON t.id = r.task_id AND t.status = 'pending'"
                f" LEFT JOIN video_tasks s ON s.id = COALESCE(r.source_task_id, ({current}))"
                " WHERE r.is_open = 1 AND (s.id IS NULL OR s.status IN ('succeeded', 'failed'))"
                " ORDER BY r.task_id LIMIT :limit"
            ),
            {"limit": limit},
        )
    )


def finish_if_pending(
    connection: Connection, rows: Sequence[tuple[object, ...]], *, now_ms: int
) -> list[FinishedTask]:
    """End `(task_id, source_id, status, video_url, error, failure_type)` that still wait for their files."""
    ids = _IDS.parameters(connection, [(row[0],) for row in rows])
    locked = connection.execute(
        statement(
            "SELECT id, batch_id, account_id, attempt, credits, retry_number FROM video_tasks"
            f" WHERE status = 'pending' AND provider = :provider AND id IN (SELECT v.id FROM"
            f" {_IDS.sql(connection)}) ORDER BY id{for_update(connection)}"
        ),
        {**ids, "provider": REUSED_PROVIDER},
    ).all()
    mine = {row.id for row in locked}
    ending = [row for row in rows if row[0] in mine]
    parameters = {**_ENDS.parameters(connection, ending), "now": now_ms}
    connection.execute(
        statement(
            "UPDATE video_tasks SET status = v.status, video_url = v.video_url, error = v.error,"
            " failure_type = v.failure_type, completed_at_ms = :now,"
            # it has the model that was chosen for its source, if one was
            f" model = CASE WHEN model = '{AUTO}' THEN COALESCE((SELECT s.model FROM video_tasks s"
            " WHERE s.id = v.source_id), model) ELSE model END,"
            " progress = CASE WHEN v.status = 'succeeded' THEN 100 ELSE progress END"
            f" FROM {_ENDS.sql(connection)} WHERE video_tasks.id = v.id"
        ),
        parameters,
    )
    connection.execute(
        statement(
            f"UPDATE reused_items SET source_task_id = v.source_id FROM {_ENDS.sql(connection)}"
            " WHERE reused_items.task_id = v.id AND v.source_id IS NOT NULL"
        ),
        _ENDS.parameters(connection, ending),
    )
    status_of = {row[0]: TaskStatus(str(row[2])) for row in ending}
    return [
        FinishedTask(
            row.id,
            row.batch_id,
            row.account_id,
            row.attempt,
            row.credits,
            status_of[row.id],
            TaskStatus.PENDING,
            REUSED_PROVIDER,
            row.retry_number,
        )
        for row in locked
    ]


def close_ended(connection: Connection) -> None:
    """Those that have ended, by their source or because they were cancelled, wait no more."""
    connection.execute(
        statement(
            "UPDATE reused_items SET is_open = 0 WHERE is_open = 1 AND task_id IN (SELECT r.task_id"
            " FROM reused_items r JOIN video_tasks t ON t.id = r.task_id"
            " WHERE r.is_open = 1 AND t.status <> 'pending')"
        )
    )


def keep_trying(connection: Connection, task_ids: Collection[int], *, until_ms: int) -> None:
    """Their files are copied until then at least, though the provider's link is dead."""
    connection.execute(
        statement(
            "UPDATE archived_files SET link_dies_at_ms = :until WHERE state = 'due'"
            f" AND link_dies_at_ms < :until AND task_id IN (SELECT v.id FROM {_IDS.sql(connection)})"
        ),
        {**_IDS.parameters(connection, [(task_id,) for task_id in task_ids]), "until": until_ms},
    )


def sources_of(connection: Connection, task_ids: Collection[int]) -> dict[int, Row[Any]]:
    """By task that reuses a file: `source_index, public_id, item_index, credits` of its source.

    `source_index` is None for a source of another batch; `public_id` and `item_index` name the source, None
    while it has not ended.
    """
    rows = connection.execute(
        statement(
            "SELECT r.task_id, r.source_index, r.credits, b.public_id, s.item_index"
            f" FROM {_IDS.sql(connection)} JOIN reused_items r ON r.task_id = v.id"
            " LEFT JOIN video_tasks s ON s.id = r.source_task_id LEFT JOIN batches b ON b.id = s.batch_id"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in sorted(task_ids)]),
    )
    return {row.task_id: row for row in rows}
