"""Which stored videos a download of several holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from rushes.domain.archive import ArchiveState
from rushes.read.scope import OPERATOR
from rushes.store import archive, batches


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A video in the archive, under `key`; `name` is what a file of it is called."""

    key: str
    name: str


def stored_videos(
    connection: Connection, public_id: str, indexes: Sequence[int]
) -> tuple[list[StoredVideo], list[int]]:
    """The stored videos of these items of a batch, and the items that have none. Raises `NotFound`."""
    rows = batches.list_items(connection, OPERATOR.batch_id(connection, public_id), indexes=indexes)
    tasks = [task for task in rows if not task["is_deleted"]]
    files = archive.files_of(connection, [task["id"] for task in tasks])
    found, missing = [], set(indexes)
    for task in tasks:
        file = files.get(task["id"])
        if file is None or file["state"] != ArchiveState.STORED or file["video_key"] is None:
            continue
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in task["custom_id"] or "")
        suffix = f"-{name[:80]}" if name else ""
        found.append(StoredVideo(file["video_key"], f"{task['item_index']:05d}{suffix}.mp4"))
        missing.discard(task["item_index"])
    return found, sorted(missing)
