"""What the C2PA manifest of each stored clip says."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table, empty: files of before were not read."""
    op.create_table(
        "clip_manifests",
        sa.Column("task_id", Id, autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name=op.f("fk_clip_manifests_task_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_clip_manifests")),
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
