"""Why an open task waits: the last answer about it that was not understood."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, empty, and the index of open tasks with trouble."""
    op.add_column("video_tasks", sa.Column("trouble_kind", sa.Text()))
    op.add_column("video_tasks", sa.Column("trouble_reason", sa.Text()))
    op.add_column("video_tasks", sa.Column("trouble_count", sa.BigInteger()))
    op.add_column("video_tasks", sa.Column("trouble_since_ms", sa.BigInteger()))
    op.add_column("video_tasks", sa.Column("trouble_at_ms", sa.BigInteger()))
    op.add_column("task_attempts", sa.Column("trouble_reason", sa.Text()))
    troubled = sa.text("status IN ('pending', 'processing') AND trouble_at_ms IS NOT NULL")
    op.create_index(
        "ix_video_tasks_troubled",
        "video_tasks",
        ["provider", "trouble_kind", "trouble_since_ms"],
        sqlite_where=troubled,
        postgresql_where=troubled,
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
