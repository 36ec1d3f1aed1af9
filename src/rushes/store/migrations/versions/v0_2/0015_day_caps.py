"""Day caps: what may be spent in a day, and an index of when tasks were made, to sum up what has been."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, empty: nothing is capped. The index covers the tasks that there are."""
    op.create_table(
        "day_caps",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "subject", "unit", name=op.f("pk_day_caps")),
        sa.CheckConstraint("scope IN ('all', 'account', 'key', 'model')", name=op.f("ck_day_caps_scope")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_day_caps_amount")),
    )
    op.create_index("ix_video_tasks_made", "video_tasks", ["created_at_ms"])


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
