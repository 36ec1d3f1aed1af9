"""The host that an attempt was sent to: it is polled there, though the provider's host be changed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; attempts from before are polled at the provider's host as it is set."""
    op.add_column("video_tasks", sa.Column("host", sa.Text()))
    op.add_column("task_attempts", sa.Column("host", sa.Text()))


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
