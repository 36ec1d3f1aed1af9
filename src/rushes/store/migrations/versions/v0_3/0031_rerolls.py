"""How many of an item's tries count against `retries.max`: what best of n bought does not.

NULL for all that is there: of those tries it follows from their verdicts.
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("video_tasks", sa.Column("rerolls", sa.BigInteger()))


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
