"""Items that take the file of an equal one, and what stored clips look like."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, text

from rushes.store.tables.columns import Id, metadata

reused_items = Table(
    "reused_items",
    metadata,
    # tries that are bought nowhere: they end as their source does, and take its file
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    # a success bought before, or an item of the same batch; the latter's task stands here once it has ended
    Column("source_task_id", Id),
    Column("source_index", BigInteger),
    # where a next try of the item is bought, and what it would have cost
    Column("provider", Text, nullable=False),
    Column("credits", BigInteger, nullable=False),
    Column("is_open", Integer, nullable=False, server_default=text("1")),
    CheckConstraint("source_task_id IS NOT NULL OR source_index IS NOT NULL", name="source"),
    Index("ix_reused_items_source", "source_task_id"),
    Index(
        "ix_reused_items_open",
        "task_id",
        sqlite_where=text("is_open = 1"),
        postgresql_where=text("is_open = 1"),
    ),
)

clip_looks = Table(
    "clip_looks",
    metadata,
    # the perceptual hash of each stored clip, and the clip of its batch that it looks most like, if near
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("batch_id", Id, ForeignKey("batches.id"), nullable=False),
    Column("look", Text, nullable=False),
    Column("near_task_id", Id),
    Column("near_bits", BigInteger),
    Index("ix_clip_looks_batch", "batch_id", "task_id"),
)
