"""What stored clips look like, and which earlier clip of its batch each looks most like."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, Row

from rushes.domain.acceptance.looks import near_bits
from rushes.store.database import Rows, statement

COMPARED_MAX: Final = 2_000
"""The newest clips of the batch that a clip is compared with."""

_IDS = Rows(id=int)


def record(connection: Connection, task_id: int, look: str) -> None:
    """Keep the look of a clip, and which clip of its batch is nearest to it, if one is near.

    Copies of another item's file are left out: they are alike on purpose.
    """
    is_copy = "SELECT 1 FROM reused_items r WHERE r.task_id = {task}"
    others = connection.execute(
        statement(
            "SELECT l.task_id, l.look FROM video_tasks t JOIN clip_looks l ON l.batch_id = t.batch_id"
            f" WHERE t.id = :task_id AND NOT EXISTS ({is_copy.format(task=':task_id')})"
            f" AND NOT EXISTS ({is_copy.format(task='l.task_id')}) ORDER BY l.task_id DESC LIMIT :limit"
        ),
        {"task_id": task_id, "limit": COMPARED_MAX},
    ).all()
    near = [(bits, row.task_id) for row in others if (bits := near_bits(look, row.look)) is not None]
    bits, near_task_id = min(near, default=(None, None))
    connection.execute(
        statement(
            "INSERT INTO clip_looks (task_id, batch_id, look, near_task_id, near_bits)"
            " SELECT id, batch_id, :look, CAST(:near AS bigint), CAST(:bits AS bigint) FROM video_tasks"
            " WHERE id = :task_id ON CONFLICT (task_id) DO NOTHING"
        ),
        {"task_id": task_id, "look": look, "near": near_task_id, "bits": bits},
    )


def near_of(connection: Connection, task_ids: Collection[int]) -> dict[int, Row[Any]]:
    """`item_index, near_bits, stills` of the clip that each of those tasks' looks like, if one does."""
    rows = connection.execute(
        statement(
            "SELECT l.task_id, n.item_index, l.near_bits, length(l.look) / 16 AS stills"
            f" FROM {_IDS.sql(connection)} JOIN clip_looks l ON l.task_id = v.id"
            " JOIN video_tasks n ON n.id = l.near_task_id"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in sorted(task_ids)]),
    )
    return {row.task_id: row for row in rows}
