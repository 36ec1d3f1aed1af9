"""Deliveries that are old enough to be forgotten are found in an index; no feed of a batch that goes on is closed."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index, and open once the feeds that upkeep would have opened: from now on a retry does it."""
    ended = sa.text("status <> 'pending'")
    op.create_index(
        "ix_webhook_deliveries_ended",
        "webhook_deliveries",
        ["created_at_ms"],
        sqlite_where=ended,
        postgresql_where=ended,
    )
    op.execute(
        "UPDATE webhook_feeds SET is_open = 1 WHERE is_open = 0 AND EXISTS (SELECT 1 FROM batches b WHERE"
        " b.id = webhook_feeds.batch_id AND (b.finalized_at_ms IS NULL OR b.event_seq > webhook_feeds.last_seq))"
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
