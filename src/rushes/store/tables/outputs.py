"""Files that successes bring besides their videos: last frames, further videos, sounds."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Table, Text, text

from rushes.domain.archive import ArchiveState
from rushes.domain.task import OutputKind
from rushes.store.tables.columns import Id, metadata, one_of

further_files = Table(
    "further_files",
    metadata,
    # written by the statement that ends the task; fetched and removed as `archived_files` are
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False, server_default=text("0")),
    Column("bad_files", BigInteger, nullable=False, server_default=text("0")),
    Column("next_attempt_at_ms", BigInteger, nullable=False),
    Column("reason", Text),
    Column("object_key", Text),
    Column("content_type", Text),
    Column("bytes", BigInteger),
    Column("sha256", Text),
    Column("stored_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    one_of("kind", OutputKind),
    one_of("state", ArchiveState),
    CheckConstraint("state <> 'stored' OR (object_key IS NOT NULL AND sha256 IS NOT NULL)", name="stored"),
    Index(
        "ix_further_files_due",
        "next_attempt_at_ms",
        sqlite_where=text("state = 'due'"),
        postgresql_where=text("state = 'due'"),
    ),
    Index(
        "ix_further_files_stored",
        "task_id",
        sqlite_where=text("state = 'stored'"),
        postgresql_where=text("state = 'stored'"),
    ),
)
