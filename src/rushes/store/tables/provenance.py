"""What stored clips say of where they come from."""

from sqlalchemy import Column, ForeignKey, Table, Text

from rushes.store.tables.columns import Id, metadata

clip_manifests = Table(
    "clip_manifests",
    metadata,
    # what the C2PA manifest of the file says, as JSON; `state` is none, valid, invalid or unreadable
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("summary", Text, nullable=False),
)
