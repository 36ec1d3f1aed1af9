"""What a provider said that a task cost, in its own money."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; nothing is known of tasks that have ended."""
    op.add_column("video_tasks", sa.Column("provider_cost", sa.Double()))


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
