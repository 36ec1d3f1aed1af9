"""An index of cancelled batches that are still open: their tasks are cancelled at the provider, too."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_OPEN = "cancelled_at_ms IS NOT NULL AND finalized_at_ms IS NULL"


def upgrade() -> None:
    """Create the index; it holds a row for each cancelled batch until that is finished."""
    op.create_index(
        "ix_batches_cancelled",
        "batches",
        ["id"],
        sqlite_where=sa.text(_OPEN),
        postgresql_where=sa.text(_OPEN),
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
