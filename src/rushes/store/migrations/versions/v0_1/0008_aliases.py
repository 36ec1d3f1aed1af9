"""Under which alias a task was asked for; the model of every attempt; held tasks are passed over in the index."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and indexes; attempts from before were all of their task's model."""
    op.add_column("video_tasks", sa.Column("alias", sa.Text()))
    pending = sa.text("status = 'pending'")
    op.drop_index("ix_video_tasks_pending", "video_tasks")
    op.create_index(
        "ix_video_tasks_pending",
        "video_tasks",
        ["provider", "batch_id", "item_index", "model"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    movable = sa.text("status = 'pending' AND alias IS NOT NULL")
    op.create_index(
        "ix_video_tasks_movable",
        "video_tasks",
        ["alias", "model", "id"],
        sqlite_where=movable,
        postgresql_where=movable,
    )
    op.add_column(
        "task_attempts", sa.Column("model", sa.Text(), nullable=False, server_default=sa.text("''"))
    )
    op.execute(
        "UPDATE task_attempts SET model ="
        " (SELECT t.model FROM video_tasks t WHERE t.id = task_attempts.task_id)"
    )
    with op.batch_alter_table("task_attempts") as table:
        table.alter_column("model", server_default=None)


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
