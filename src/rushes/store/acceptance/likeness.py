"""What is said of items that take another's file, or whose clips look alike."""

from typing import Any

from sqlalchemy import Connection, Row

from rushes.store.acceptance import looks, reuse
from rushes.store.database import statement


def add_likeness(connection: Connection, tasks: list[dict[str, Any]]) -> None:
    """Set `reused_from` and `near_equal` of these rows where there is something to say, which is seldom.

    `reused_from` names the item whose file it takes: `{"item_id", "index"}`, the id None while the source, an
    item of the same batch, has not ended. `near_equal` is `{"index", "bits"}` of an earlier clip.
    """
    ids = [task["id"] for task in tasks if task["status"] in ("pending", "succeeded", "failed")]
    sources, near = reuse.sources_of(connection, ids), looks.near_of(connection, ids)
    for task in tasks if sources or near else ():
        source, like = sources.get(task["id"]), near.get(task["id"])
        if source is not None:
            named = None if source.public_id is None else f"{source.public_id}-{source.item_index}"
            task["reused_from"] = {"item_id": named, "index": source.source_index}
        if like is not None:
            task["near_equal"] = {"index": like.item_index, "bits": like.near_bits}


def of_batch(connection: Connection, batch_id: int) -> tuple[int, int, list[Row[Any]]]:
    """How many items of the batch reuse a file, what they would have cost, and `item_index, like, near_bits`
    of clips that look like an earlier one.
    """
    count, saved = connection.execute(
        statement(
            "SELECT COUNT(*), COALESCE(SUM(r.credits), 0) FROM video_tasks t JOIN reused_items r"
            " ON r.task_id = t.id WHERE t.batch_id = :id AND t.is_current = 1 AND t.status <> 'failed'"
        ),
        {"id": batch_id},
    ).one()
    rows = connection.execute(
        statement(
            "SELECT t.item_index, n.item_index AS like_index, l.near_bits FROM clip_looks l"
            " JOIN video_tasks t ON t.id = l.task_id AND t.is_current = 1"
            " JOIN video_tasks n ON n.id = l.near_task_id"
            " WHERE l.batch_id = :id AND l.near_task_id IS NOT NULL ORDER BY t.item_index"
        ),
        {"id": batch_id},
    ).all()
    return int(count), int(saved), list(rows)
