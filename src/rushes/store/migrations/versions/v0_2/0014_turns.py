"""Turns: when each account was last served at a provider, and an index that finds whose turn it is by a seek."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table, empty: the first turns go by account and batch. The index covers what is pending now."""
    op.create_table(
        "dispatch_turns",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("account_id", Id, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("round_batch_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_dispatch_turns_account_id")),
        sa.PrimaryKeyConstraint("provider", "account_id", name=op.f("pk_dispatch_turns")),
    )
    op.create_index("ix_dispatch_turns_newest", "dispatch_turns", ["provider", "number"])
    pending = sa.text("status = 'pending'")
    op.create_index(
        "ix_video_tasks_turns",
        "video_tasks",
        ["provider", "model", "account_id", "batch_id"],
        sqlite_where=pending,
        postgresql_where=pending,
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
