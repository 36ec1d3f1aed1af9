"""The archive: where the file of each success stands."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table. Successes from before it have no row: their links are dead by now."""
    op.create_table(
        "archived_files",
        sa.Column("task_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bad_files", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("link_dies_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("alerted_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("video_key", sa.Text(), nullable=True),
        sa.Column("thumbnail_key", sa.Text(), nullable=True),
        sa.Column("poster_key", sa.Text(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("width", sa.BigInteger(), nullable=True),
        sa.Column("height", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("stored_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('due', 'stored', 'expired', 'refused', 'removed')",
            name=op.f("ck_archived_files_state"),
        ),
        sa.CheckConstraint(
            "state <> 'stored' OR (video_key IS NOT NULL AND sha256 IS NOT NULL AND stored_at_ms IS NOT NULL)",
            name=op.f("ck_archived_files_stored"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_archived_files_account_id")),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name=op.f("fk_archived_files_task_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_archived_files")),
    )
    op.create_index(
        "ix_archived_files_due",
        "archived_files",
        ["next_attempt_at_ms"],
        unique=False,
        sqlite_where=sa.text("state = 'due'"),
        postgresql_where=sa.text("state = 'due'"),
    )
    op.create_index(
        "ix_archived_files_kept",
        "archived_files",
        ["account_id", "state", "stored_at_ms"],
        unique=False,
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
