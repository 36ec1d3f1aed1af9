"""Indexes for large installations: ledger entries by their time, and submits of unknown outcome.

A day or a month of an account is found without its whole ledger, and the few submits without all that renders.
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_UNCONFIRMED = "status = 'processing' AND unconfirmed_at_ms IS NOT NULL"


def upgrade() -> None:
    """Add the indexes. Ten million entries take about ten seconds."""
    op.create_index("ix_ledger_entries_time", "ledger_entries", ["account_id", "created_at_ms", "seq"])
    op.create_index(
        "ix_video_tasks_unconfirmed",
        "video_tasks",
        ["unconfirmed_at_ms"],
        sqlite_where=sa.text(_UNCONFIRMED),
        postgresql_where=sa.text(_UNCONFIRMED),
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
