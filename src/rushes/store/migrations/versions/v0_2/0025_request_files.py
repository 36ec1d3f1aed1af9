"""Files of requests, as OpenAI's Batch API takes them, and the batches that were made from one."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables, empty."""
    op.create_table(
        "request_files",
        sa.Column("id", Id, nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("bytes > 0", name=op.f("ck_request_files_bytes")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_request_files_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_files")),
        sa.UniqueConstraint("public_id", name=op.f("uq_request_files_public_id")),
    )
    op.create_index("ix_request_files_account", "request_files", ["account_id", "id"])
    op.create_index(op.f("ix_request_files_expires_at_ms"), "request_files", ["expires_at_ms"])
    op.create_table(
        "file_batches",
        sa.Column("batch_id", Id, autoincrement=False, nullable=False),
        sa.Column("input_file_id", sa.Text(), nullable=False),
        sa.Column("completion_window", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_file_batches_batch_id")),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_file_batches")),
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
