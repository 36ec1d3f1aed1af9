"""An index of the lots that have credits left, in the order in which they are spent.

An account that has been granted credits for years has many lots, most of them spent.
"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index(
        "ix_credit_lots_left",
        "credit_lots",
        ["account_id", "expires_at_ms", "id", "remaining"],
        sqlite_where=sa.text("remaining > 0"),
        postgresql_where=sa.text("remaining > 0"),
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
