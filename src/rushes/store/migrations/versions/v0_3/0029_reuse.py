"""What a task asks for as a number, items that take the file of an equal one, and what clips look like."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_REUSABLE = "request_key IS NOT NULL AND status = 'succeeded'"
_OPEN = "is_open = 1"


def upgrade() -> None:
    """Add the column, empty: tasks of before are nobody's duplicates; and the tables, empty."""
    op.add_column("video_tasks", sa.Column("request_key", sa.BigInteger()))
    op.create_index(
        "ix_video_tasks_request",
        "video_tasks",
        ["account_id", "request_key"],
        sqlite_where=sa.text(_REUSABLE),
        postgresql_where=sa.text(_REUSABLE),
    )
    op.create_table(
        "reused_items",
        sa.Column("task_id", Id, autoincrement=False, nullable=False),
        sa.Column("source_task_id", Id),
        sa.Column("source_index", sa.BigInteger()),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("is_open", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name=op.f("fk_reused_items_task_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_reused_items")),
        sa.CheckConstraint(
            "source_task_id IS NOT NULL OR source_index IS NOT NULL", name=op.f("ck_reused_items_source")
        ),
    )
    op.create_index("ix_reused_items_source", "reused_items", ["source_task_id"])
    op.create_index(
        "ix_reused_items_open",
        "reused_items",
        ["task_id"],
        sqlite_where=sa.text(_OPEN),
        postgresql_where=sa.text(_OPEN),
    )
    op.create_table(
        "clip_looks",
        sa.Column("task_id", Id, autoincrement=False, nullable=False),
        sa.Column("batch_id", Id, nullable=False),
        sa.Column("look", sa.Text(), nullable=False),
        sa.Column("near_task_id", Id),
        sa.Column("near_bits", sa.BigInteger()),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name=op.f("fk_clip_looks_task_id")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_clip_looks_batch_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_clip_looks")),
    )
    op.create_index("ix_clip_looks_batch", "clip_looks", ["batch_id", "task_id"])


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
