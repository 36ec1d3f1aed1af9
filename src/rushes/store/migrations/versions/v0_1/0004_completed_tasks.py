"""An index of tasks by the time they ended, for the dashboard's charts."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index(
        "ix_video_tasks_completed",
        "video_tasks",
        ["completed_at_ms", "model", "status", "failure_type"],
        sqlite_where=sa.text("completed_at_ms IS NOT NULL"),
        postgresql_where=sa.text("completed_at_ms IS NOT NULL"),
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
