"""Files that successes bring besides their videos."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KINDS = ("video", "last_frame", "image", "audio", "file")
_STATES = ("due", "stored", "expired", "refused", "removed")


def _one_of(name: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{name} IN ({listed})", name=op.f(f"ck_further_files_{name}"))


def upgrade() -> None:
    """Create the table, empty: of successes of before only the video was kept."""
    op.create_table(
        "further_files",
        sa.Column("task_id", Id, autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bad_files", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("object_key", sa.Text()),
        sa.Column("content_type", sa.Text()),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("sha256", sa.Text()),
        sa.Column("stored_at_ms", sa.BigInteger()),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        _one_of("kind", _KINDS),
        _one_of("state", _STATES),
        sa.CheckConstraint(
            "state <> 'stored' OR (object_key IS NOT NULL AND sha256 IS NOT NULL)",
            name=op.f("ck_further_files_stored"),
        ),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name=op.f("fk_further_files_task_id")),
        sa.PrimaryKeyConstraint("task_id", "position", name=op.f("pk_further_files")),
    )
    for name, column, state in (
        ("ix_further_files_due", "next_attempt_at_ms", "due"),
        ("ix_further_files_stored", "task_id", "stored"),
    ):
        where = sa.text(f"state = '{state}'")
        op.create_index(name, "further_files", [column], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
