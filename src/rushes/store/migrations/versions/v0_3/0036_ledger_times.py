"""Ledger entries are found by their time: of a day or a month, without reading the account's whole ledger."""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index. Ten million entries take about a quarter of a minute."""
    op.create_index("ix_ledger_entries_time", "ledger_entries", ["account_id", "created_at_ms", "seq"])


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
