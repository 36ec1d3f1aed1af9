"""What the C2PA manifests of stored clips say."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection

from rushes.store.database import Rows, statement
from rushes.store.tasks import storable

_IDS = Rows(id=int)


def record(connection: Connection, task_id: int, manifest: Mapping[str, Any]) -> None:
    """Keep it, once."""
    connection.execute(
        statement(
            "INSERT INTO clip_manifests (task_id, state, summary) VALUES (:task_id, :state, :summary)"
            " ON CONFLICT (task_id) DO NOTHING"
        ),
        {
            "task_id": task_id,
            "state": manifest["state"],
            "summary": storable(msgspec.json.encode(manifest).decode()),
        },
    )


def of_tasks(connection: Connection, task_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """Those that were read, by task; `state` is none where the file has none."""
    rows = connection.execute(
        statement(
            f"SELECT m.task_id, m.summary FROM {_IDS.sql(connection)} JOIN clip_manifests m"
            " ON m.task_id = v.id"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in sorted(task_ids)]),
    )
    return {row.task_id: msgspec.json.decode(row.summary) for row in rows}
