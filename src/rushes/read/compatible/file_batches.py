"""Batches that were made from a file, in the shapes of OpenAI's Batch API: the batch, and its two files."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, select

from rushes.domain.errors import NotFound
from rushes.read import videos, views
from rushes.read.scope import Scope
from rushes.store import batches
from rushes.store.tables import schema
from rushes.store.tables.request_files import file_batches

ENDPOINT: Final = "/v1/videos"
OUTPUT: Final = "output"
ERRORS: Final = "errors"
LINES_AT_ONCE: Final = 500

_encode = msgspec.json.Encoder().encode
_b = schema.batches.c


def file_id(batch_public_id: str, kind: str) -> str:
    """The id of a batch's file of outputs or of errors."""
    return f"file-{kind}-{batch_public_id}"


def place_of(public_file_id: str) -> tuple[str, str] | None:
    """The batch and the kind of such a file's id; None for a file that somebody uploaded."""
    for kind in (OUTPUT, ERRORS):
        if public_file_id.startswith(f"file-{kind}-"):
            return public_file_id.removeprefix(f"file-{kind}-"), kind
    return None


def find(connection: Connection, scope: Scope, public_id: str) -> dict[str, Any]:
    """The batch of that id that was made from a file. Raises `NotFound`."""
    row = connection.execute(
        select(schema.batches, file_batches)
        .join(file_batches, file_batches.c.batch_id == _b.id)
        .where(_b.public_id == public_id, scope.includes(_b.account_id))
    ).first()
    if row is None:
        raise NotFound("there is no batch with this id that was made from a file")
    return _view(connection, dict(row._mapping))


def page(
    connection: Connection, scope: Scope, *, limit: int, after: str | None
) -> tuple[list[dict[str, Any]], bool]:
    """Those batches, newest first, and whether there are more. Raises `NotFound` for the cursor."""
    query = (
        select(schema.batches, file_batches)
        .join(file_batches, file_batches.c.batch_id == _b.id)
        .where(scope.includes(_b.account_id))
        .order_by(_b.id.desc())
        .limit(limit + 1)
    )
    if after is not None:
        query = query.where(_b.id < scope.batch_id(connection, after))
    rows = connection.execute(query).all()
    return [_view(connection, dict(row._mapping)) for row in rows[:limit]], len(rows) > limit


def _view(connection: Connection, row: Mapping[str, Any]) -> dict[str, Any]:
    is_finished = row["completed_at_ms"] is not None
    is_cancelled = row["cancelled_at_ms"] is not None
    ended_at = _seconds(row["completed_at_ms"])
    public_id, metadata = row["public_id"], row["metadata"]
    t = schema.video_tasks.c
    deadline_ms = connection.scalar(
        select(t.deadline_at_ms).where(t.batch_id == row["id"], t.item_index == 0, t.is_current == 1)
    )
    return {
        "id": public_id,
        "object": "batch",
        "endpoint": ENDPOINT,
        "status": _status(is_finished, is_cancelled),
        "errors": None,
        "input_file_id": row["input_file_id"],
        "completion_window": row["completion_window"],
        "output_file_id": file_id(public_id, OUTPUT) if is_finished and row["succeeded_count"] else None,
        "error_file_id": file_id(public_id, ERRORS) if is_finished and row["failed_count"] else None,
        "created_at": _seconds(row["created_at_ms"]),
        "in_progress_at": _seconds(row["created_at_ms"]),
        "expires_at": _seconds(deadline_ms),
        "finalizing_at": None,
        "completed_at": None if is_cancelled else ended_at,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": _seconds(row["cancelled_at_ms"]),
        "cancelled_at": ended_at if is_cancelled else None,
        "request_counts": {
            "total": row["total_count"],
            "completed": row["succeeded_count"],
            "failed": row["failed_count"],
        },
        "metadata": None if metadata is None else msgspec.json.decode(metadata),
    }


def _status(is_finished: bool, is_cancelled: bool) -> str:
    if is_cancelled:
        return "cancelled" if is_finished else "cancelling"
    return "completed" if is_finished else "in_progress"


def _seconds(epoch_ms: int | None) -> int | None:
    return None if epoch_ms is None else epoch_ms // 1000


# --- files ----------------------------------------------------------------------------------------------


def lines_of(
    connection: Connection, scope: Scope, public_id: str, kind: str, *, from_index: int
) -> tuple[list[bytes], int | None]:
    """The next lines of a finished batch's file, and the index to go on from; None at its end.

    Raises `NotFound`, also while the batch has no such file.
    """
    if find(connection, scope, public_id)[f"{'output' if kind == OUTPUT else 'error'}_file_id"] is None:
        raise NotFound("there is no such file; a batch has its files when it has ended")
    tasks = batches.list_items(
        connection,
        scope.batch_id(connection, public_id),
        wanted={"status": "succeeded" if kind == OUTPUT else "failed"},
        from_index=from_index,
        limit=LINES_AT_ONCE,
    )
    following = tasks[-1]["item_index"] + 1 if len(tasks) == LINES_AT_ONCE else None
    return list(_lines(tasks, public_id)), following


def _lines(tasks: list[dict[str, Any]], public_id: str) -> Iterator[bytes]:
    for task in tasks:
        video_id = views.item_id(public_id, task["item_index"])
        body = videos.video_view(videos.VideoRow(video_id, task))
        is_made = body["error"] is None
        yield (
            _encode(
                {
                    "id": f"batch_req_{video_id}",
                    "custom_id": task["custom_id"],
                    "response": {"status_code": 200, "request_id": video_id, "body": body}
                    if is_made
                    else None,
                    "error": body["error"],
                }
            )
            + b"\n"
        )
