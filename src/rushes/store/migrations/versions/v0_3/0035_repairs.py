"""Repairs: what a batch's next tries change, by reason, and which rule each try had or was left without."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, empty: no batch of before asked for repairs."""
    op.add_column("batch_retries", sa.Column("repairs", sa.Text()))
    op.add_column("video_tasks", sa.Column("repair", sa.Text()))


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
