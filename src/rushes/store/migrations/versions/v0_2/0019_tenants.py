"""Batches' names, metadata and what they are found by; deadlines; scopes and own limits of keys."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

WAITS_FOR_DEADLINE = sa.text("status = 'pending' AND deadline_at_ms IS NOT NULL")


def upgrade() -> None:
    """Add the columns. Batches that are there are found by their models; keys may do what they could."""
    op.add_column("batches", sa.Column("name", sa.Text()))
    op.add_column("batches", sa.Column("metadata", sa.Text()))
    op.create_index("ix_batches_made", "batches", ["account_id", "created_at_ms"])
    op.create_table(
        "batch_labels",
        sa.Column("batch_id", Id, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_batch_labels_batch_id")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_batch_labels_account_id")),
        sa.PrimaryKeyConstraint("batch_id", "name", "value", name=op.f("pk_batch_labels")),
    )
    for column in ("model", "alias"):
        op.execute(
            "INSERT INTO batch_labels (batch_id, name, value, account_id)"
            f" SELECT DISTINCT batch_id, 'model', {column}, account_id FROM video_tasks t"
            f" WHERE {column} IS NOT NULL AND retry_number = 0 AND NOT EXISTS (SELECT 1 FROM batch_labels l"
            f" WHERE l.batch_id = t.batch_id AND l.name = 'model' AND l.value = t.{column})"
        )
    op.create_index(
        "ix_batch_labels_value", "batch_labels", ["account_id", "name", "value", "batch_id"], unique=False
    )
    op.add_column("video_tasks", sa.Column("deadline_at_ms", sa.BigInteger()))
    op.create_index(
        "ix_video_tasks_deadline",
        "video_tasks",
        ["deadline_at_ms"],
        sqlite_where=WAITS_FOR_DEADLINE,
        postgresql_where=WAITS_FOR_DEADLINE,
    )
    op.add_column(
        "api_keys", sa.Column("scope", sa.Text(), nullable=False, server_default=sa.text("'admin'"))
    )
    op.add_column("api_keys", sa.Column("credits_per_day_max", sa.BigInteger()))
    op.add_column("api_keys", sa.Column("last_used_at_ms", sa.BigInteger()))


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
