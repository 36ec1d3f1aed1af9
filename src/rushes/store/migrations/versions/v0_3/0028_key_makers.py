"""Which key made a key: what a key may spend in a day holds for it and those that it made together."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; keys of before were made by nobody, and keep caps of their own."""
    op.add_column("api_keys", sa.Column("made_by_key_id", sa.BigInteger()))
    op.create_index("ix_api_keys_made_by_key_id", "api_keys", ["made_by_key_id"])


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
