"""A batch's manifest: which videos there are, where, and how to check them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from rushes.domain.archive import ArchiveState
from rushes.files.links import lasting_fields
from rushes.read.batches import batch_row
from rushes.read.scope import Scope
from rushes.read.views import item_id
from rushes.store import archive, batches


def manifest(
    connection: Connection, scope: Scope, public_id: str, *, limit: int, offset: int, base: str
) -> dict[str, Any]:
    """`{batch_id, status, total_count, …, files}`, the files in the order of the items. Raises `NotFound`."""
    of_batch = batch_row(connection, scope, public_id)
    rows = batches.list_items(connection, of_batch["id"], limit=limit, offset=offset)
    kept = archive.files_of(connection, [row["id"] for row in rows])
    files = [_file(row, kept.get(row["id"]), public_id=public_id, base=base) for row in rows]
    return {
        "batch_id": public_id,
        "status": of_batch["status"],
        "total_count": of_batch["total_count"],
        "stored_count": sum(file["sha256"] is not None for file in files),
        "missing_count": sum(file["content_url"] is None for file in files),
        "limit": limit,
        "offset": offset,
        "files": files,
    }


def _file(
    row: Mapping[str, Any], kept: Mapping[str, Any] | None, *, public_id: str, base: str
) -> dict[str, Any]:
    own_id = item_id(public_id, row["item_index"])
    links = lasting_fields(row, kept, item_id=own_id, base=base)
    file = links["archive"] or {}
    is_stored = file.get("state") == ArchiveState.STORED
    has_video = links["content_url"] is not None
    return {
        "item_id": own_id,
        "index": row["item_index"],
        "custom_id": row["custom_id"],
        "status": row["status"],
        "file_name": f"{own_id}.mp4" if has_video else None,
        "content_url": links["content_url"],
        "archive_path": kept["video_key"] if kept is not None and is_stored else None,
        "content_type": "video/mp4" if has_video else None,
        **{
            name: file.get(name) if is_stored else None
            for name in ("sha256", "bytes", "width", "height", "duration_seconds")
        },
        "expires_at": links["expires_at"],
        "reason": None if has_video else row["error"] or file.get("reason") or f"the item is {row['status']}",
    }
