"""Models that are chosen when a clip is bought: a batch's bounds, and why each task has its model."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, empty: no batch of before left a choice open."""
    op.add_column("batch_gates", sa.Column("auto", sa.Text()))
    op.add_column("video_tasks", sa.Column("choice", sa.Text()))


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
