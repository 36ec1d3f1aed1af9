"""The chains of a batch as they are: which item starts from which, and the clip of each."""

from dataclasses import dataclass

from sqlalchemy import Connection

from rushes.store.database import statement


def counts_of_batch(connection: Connection, batch_public_id: str) -> dict[str, int]:
    """`chains`, the `items` in them, and how many of those are `waiting` for a last frame."""
    row = connection.execute(
        statement(
            "SELECT COUNT(CASE WHEN t.follows_index IS NOT NULL AND n.item_index IS NULL THEN 1 END) AS ends,"
            " COUNT(CASE WHEN t.follows_index IS NOT NULL OR n.item_index IS NOT NULL THEN 1 END) AS items,"
            " COUNT(CASE WHEN t.status = 'pending' AND t.waits_for_frame = 1 THEN 1 END) AS waiting"
            " FROM batches b JOIN video_tasks t ON t.batch_id = b.id AND t.is_current = 1"
            " LEFT JOIN (SELECT DISTINCT batch_id, follows_index AS item_index FROM video_tasks"
            " WHERE is_current = 1 AND follows_index IS NOT NULL AND batch_id ="
            " (SELECT id FROM batches WHERE public_id = :public_id)) n"
            " ON n.batch_id = t.batch_id AND n.item_index = t.item_index WHERE b.public_id = :public_id"
        ),
        {"public_id": batch_public_id},
    ).one()
    return {"chains": int(row.ends), "items": int(row.items), "waiting": int(row.waiting)}


@dataclass(frozen=True, slots=True)
class ChainItem:
    """An item of a batch, which item it starts from, and its stored clip if it has one."""

    index: int
    custom_id: str | None
    follows_index: int | None
    status: str
    file_state: str | None
    video_key: str | None
    sha256: str | None


def items_of_batch(connection: Connection, batch_public_id: str) -> list[ChainItem]:
    """All items of the batch, each as after its newest try."""
    rows = connection.execute(
        statement(
            "SELECT t.item_index, t.custom_id, t.follows_index, t.status, x.state, x.video_key, x.sha256"
            " FROM batches b JOIN video_tasks t ON t.batch_id = b.id AND t.is_current = 1"
            " LEFT JOIN archived_files x ON x.task_id = t.id WHERE b.public_id = :public_id"
            " ORDER BY t.item_index"
        ),
        {"public_id": batch_public_id},
    )
    return [ChainItem(*row) for row in rows]
