"""One video at a time, in OpenAI's shapes: a video is an item of a batch, made as a batch of one.

A video's id is its batch's (`video_…`); any other item is a video too, by its item id (`bat_…-3`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, select

from rushes.domain.archive import ArchiveState
from rushes.domain.catalogue.lengths import fitting_length, lengths_of
from rushes.domain.catalogue.media import own_name
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import quoted
from rushes.domain.catalogue.price import DURATION
from rushes.domain.errors import InputError, NotFound, RushesError
from rushes.domain.task import FINAL_STATUSES, TaskStatus
from rushes.read import views
from rushes.read.scope import Scope
from rushes.store import archive
from rushes.store.outputs import further
from rushes.store.tables import schema

VIDEO_PREFIX: Final = "video_"

STATUS_WORDS: Final[Mapping[str, str]] = {
    TaskStatus.PENDING: "queued",
    TaskStatus.PROCESSING: "in_progress",
    TaskStatus.SUCCEEDED: "completed",
    TaskStatus.FAILED: "failed",
}

SIZES: Final[Mapping[str, tuple[str, bool]]] = {
    "720x1280": ("9:16", False),
    "1280x720": ("16:9", False),
    "1024x1792": ("9:16", True),
    "1792x1024": ("16:9", True),
}
"""OpenAI's sizes: the aspect ratio, and whether it is the large one."""

DEFAULT_SIZE: Final = "720x1280"
DEFAULT_SECONDS: Final = 4


class VideoNotFinished(RushesError):
    """The video is still being made."""

    code = "VIDEO_NOT_FINISHED"
    retryable = True


class VideoFailed(RushesError):
    """The video failed, so there is no file."""

    code = "VIDEO_FAILED"


@dataclass(frozen=True, slots=True)
class VideoRow:
    """A task's row and the id under which it was asked for."""

    video_id: str
    row: Mapping[str, Any]


# --- OpenAI's parameters --------------------------------------------------------------------------------


def options_of(model: Model, *, seconds: object, size: object, reference_url: str | None) -> dict[str, Any]:
    """The model's options for OpenAI's parameters. Raises `InputError` naming the parameter.

    A length that the model does not have becomes the next longer one, so that clients which ask for
    OpenAI's 4, 8 or 12 seconds work; the video tells its own. Without one it is the shortest from 4 on. A
    model with one length makes that one, whatever is asked for. One without an aspect ratio has its own.
    """
    ratio, is_large = SIZES[_size(size)]
    options: dict[str, Any] = {}
    if "aspect_ratio" in model.options:
        options["aspect_ratio"] = ratio
    elif size is not None:
        raise InputError(f"{model.name} has no size {size}", field="size")
    if is_large:
        options.update(_large(model, str(size)))
    duration = _duration(model, seconds)
    if duration is not None:
        options["duration"] = duration
    if reference_url is not None:
        options[_reference_name(model)] = reference_url
    return options


def _reference_name(model: Model) -> str:
    """What the model calls OpenAI's `input_reference`."""
    for name in ("references", "first_frame"):
        own = own_name(name, model.options)
        if own in model.options:
            return own
    raise InputError(f"{model.name} takes no reference", field="input_reference")


def _size(size: object) -> str:
    if size is None:
        return DEFAULT_SIZE
    if not isinstance(size, str) or size not in SIZES:
        raise InputError(f"must be one of {', '.join(SIZES)}, not {quoted(size)}", field="size")
    return size


def _large(model: Model, size: str) -> dict[str, str]:
    if "size" in model.options:
        return {"size": "large"}
    if "resolution" in model.options:
        return {"resolution": "1080p"}
    raise InputError(f"{model.name} has no size {size}", field="size")


def _duration(model: Model, seconds: object) -> int | None:
    asked = DEFAULT_SECONDS if seconds is None else _whole_seconds(seconds)
    if DURATION not in model.options:
        return None  # it has one length
    lengths = lengths_of(model)
    if lengths is None:
        return asked
    length = lengths[0] if len(lengths) == 1 else fitting_length(lengths, asked)
    if length is None:
        raise InputError(f"{model.name} makes at most {lengths[-1]} seconds, not {asked}", field="seconds")
    return length


def _whole_seconds(seconds: object) -> int:
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdecimal() and len(seconds) <= 4:
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= 3600:
        raise InputError(f'must be seconds such as "8", not {quoted(seconds)}', field="seconds")
    return seconds


# --- rows -----------------------------------------------------------------------------------------------


def find(connection: Connection, scope: Scope, batch_public_id: str, item_index: int | None) -> VideoRow:
    """The newest try of a video; raises `NotFound`, also for a deleted one.

    Without an index the batch must have been made as a video, or have one item only.
    """
    b, t = schema.batches.c, schema.video_tasks.c
    batch = connection.execute(
        select(b.id, b.total_count).where(b.public_id == batch_public_id, scope.includes(b.account_id))
    ).first()
    if batch is None or (item_index is None and batch.total_count != 1):
        raise NotFound("there is no such video")
    row = connection.execute(
        select(schema.video_tasks).where(
            t.batch_id == batch.id, t.item_index == (item_index or 0), t.is_current == 1
        )
    ).first()
    if row is None or _is_deleted(connection, batch.id, item_index or 0):
        raise NotFound("there is no such video")
    video_id = batch_public_id if item_index is None else views.item_id(batch_public_id, item_index)
    return VideoRow(video_id, dict(row._mapping))


def _is_deleted(connection: Connection, batch_id: int, item_index: int) -> bool:
    c = schema.deleted_videos.c
    found = connection.scalar(
        select(c.deleted_at_ms).where(c.batch_id == batch_id, c.item_index == item_index)
    )
    return found is not None


def page(
    connection: Connection, scope: Scope, *, limit: int, after: str | None, ascending: bool
) -> tuple[list[VideoRow], bool]:
    """Videos that were made as such, and whether there are more. Raises `NotFound` for the cursor."""
    b, t, d = schema.batches, schema.video_tasks, schema.deleted_videos
    query = (
        select(b.c.public_id, t)
        .join_from(b, t, (t.c.batch_id == b.c.id) & (t.c.item_index == 0) & (t.c.is_current == 1))
        .join(d, (d.c.batch_id == b.c.id) & (d.c.item_index == 0), isouter=True)
        .where(
            scope.includes(b.c.account_id),
            b.c.public_id.startswith(VIDEO_PREFIX, autoescape=True),
            d.c.batch_id.is_(None),
        )
        .order_by(b.c.id if ascending else b.c.id.desc())
        .limit(limit + 1)
    )
    if after is not None:
        cursor = connection.scalar(
            select(b.c.id).where(b.c.public_id == after, scope.includes(b.c.account_id))
        )
        if cursor is None:
            raise NotFound("there is no such video")
        query = query.where(b.c.id > cursor if ascending else b.c.id < cursor)
    rows = [VideoRow(row.public_id, dict(row._mapping)) for row in connection.execute(query)]
    return rows[:limit], len(rows) > limit


def find_finished(
    connection: Connection, scope: Scope, batch_public_id: str, item_index: int | None
) -> VideoRow:
    """The same for a video that is made, or has failed. Raises `NotFound` and `VideoNotFinished`."""
    video = find(connection, scope, batch_public_id, item_index)
    if video.row["status"] not in FINAL_STATUSES:
        raise VideoNotFinished("the video is still being made; cancel its batch, or wait for its end")
    return video


def file_of_video(
    connection: Connection, scope: Scope, batch_public_id: str, item_index: int | None
) -> tuple[str, str, Mapping[str, Any] | None]:
    """The video's provider and its URL there, and what is kept of it, if anything is or will be.

    Raises `NotFound`, `VideoNotFinished` and `VideoFailed`.
    """
    row = find(connection, scope, batch_public_id, item_index).row
    if row["status"] not in FINAL_STATUSES:
        raise VideoNotFinished("the video is still being made")
    if row["video_url"] is None:
        raise VideoFailed(f"the video failed: {row['error']}")
    return row["provider"], row["video_url"], archive.files_of(connection, [row["id"]]).get(row["id"])


def further_of_video(
    connection: Connection, scope: Scope, batch_public_id: str, item_index: int | None, number: int
) -> tuple[str, str, Mapping[str, Any]]:
    """As `file_of_video`, of the file with that number that came besides the video."""
    provider, _url, kept = file_of_video(connection, scope, batch_public_id, item_index)
    row = find(connection, scope, batch_public_id, item_index).row
    found = _further_file(connection, row["id"], number, kept)
    return provider, found["url"], found


def _further_file(
    connection: Connection, task_id: int, number: int, kept: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """In the words of the archive's rows: `state, reason, video_key, content_type, sha256, bytes`."""
    rows = further.of_tasks(connection, [task_id]).get(task_id, ())
    found = next((row for row in rows if row["position"] == number), None)
    if found is None or (kept is not None and kept["state"] == ArchiveState.REMOVED):
        raise NotFound(f"there is no file {number} besides the video")
    return {**found, "video_key": found["object_key"]}


def kept_further_file(connection: Connection, task_id: int, number: int) -> Mapping[str, Any]:
    """The same for whoever has a link to it. Raises `NotFound`."""
    return _further_file(connection, task_id, number, kept_file(connection, task_id))


def kept_file(connection: Connection, task_id: int) -> Mapping[str, Any]:
    """What is kept of a task's video, for whoever has a link to it. Raises `NotFound`."""
    kept = archive.files_of(connection, [task_id]).get(task_id)
    t = schema.video_tasks.c
    place = connection.execute(select(t.batch_id, t.item_index).where(t.id == task_id)).first()
    if kept is None or place is None or _is_deleted(connection, place.batch_id, place.item_index):
        raise NotFound("there is no such file")
    return kept


def video_view(video: VideoRow) -> dict[str, Any]:
    """A video in OpenAI's shape; times are whole epoch seconds."""
    row = video.row
    options = msgspec.json.decode(row["options"])
    status = STATUS_WORDS[row["status"]]
    error = None
    if row["error"] is not None:
        error = {"code": row["failure_type"], "message": row["error"]}
    completed_at_ms = row["completed_at_ms"]
    return {
        "id": video.video_id,
        "object": "video",
        "status": status,
        "progress": row["progress"],
        "model": row["model"],
        "prompt": row["prompt"],
        "seconds": None if options.get("duration") is None else str(options["duration"]),
        "size": _size_of(options),
        "created_at": row["created_at_ms"] // 1000,
        "completed_at": None if completed_at_ms is None else completed_at_ms // 1000,
        "expires_at": None,
        "remixed_from_video_id": None,
        "error": error,
    }


def _size_of(options: Mapping[str, Any]) -> str:
    is_large = options.get("size") == "large" or options.get("resolution") == "1080p"
    wanted = (options.get("aspect_ratio", "9:16"), is_large)
    return next((size for size, shape in SIZES.items() if shape == wanted), DEFAULT_SIZE)
