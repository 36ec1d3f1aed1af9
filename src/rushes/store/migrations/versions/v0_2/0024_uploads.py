"""Files that customers upload to go into videos, and the batches that need them."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables, empty: until now every file was somebody else's, at its URL."""
    op.create_table(
        "uploads",
        sa.Column("id", Id, nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.BigInteger()),
        sa.Column("height", sa.BigInteger()),
        sa.Column("duration_ms", sa.BigInteger()),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_at_ms", sa.BigInteger()),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("removed_at_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_uploads_account_id")),
        sa.UniqueConstraint("public_id", name=op.f("uq_uploads_public_id")),
    )
    op.create_index(op.f("ix_uploads_account_id"), "uploads", ["account_id"])
    _partial_index("ix_uploads_expiring", "expires_at_ms", "removed_at_ms IS NULL")
    _partial_index("ix_uploads_removed", "id", "removed_at_ms IS NOT NULL")
    op.create_table(
        "batch_uploads",
        sa.Column("batch_id", Id, autoincrement=False, nullable=False),
        sa.Column("upload_id", Id, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "upload_id", name=op.f("pk_batch_uploads")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_batch_uploads_batch_id")),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name=op.f("fk_batch_uploads_upload_id")),
    )
    op.create_index("ix_batch_uploads_upload", "batch_uploads", ["upload_id"])


def _partial_index(name: str, column: str, where: str) -> None:
    op.create_index(name, "uploads", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
