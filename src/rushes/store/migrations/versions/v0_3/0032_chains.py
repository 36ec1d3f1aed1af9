"""Items that start from the last frame of another: whose, whether they still wait, and the frames to cut.

What waits for a frame is left out of the indexes by which tasks are claimed, so that it costs a claim nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_CLAIMABLE = "status = 'pending' AND waits_for_frame = 0"
_CLAIMED_BY = {
    "ix_video_tasks_pending": (["provider", "batch_id", "item_index", "model"], _CLAIMABLE),
    "ix_video_tasks_turns": (["provider", "model", "account_id", "batch_id"], _CLAIMABLE),
    "ix_video_tasks_movable": (["alias", "model", "id"], f"{_CLAIMABLE} AND alias IS NOT NULL"),
}


def _index(name: str, columns: list[str], where: str, table: str = "video_tasks") -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def upgrade() -> None:
    """Add the columns and the table, and make the indexes of what may be claimed anew."""
    op.add_column("video_tasks", sa.Column("follows_index", sa.BigInteger))
    op.add_column("video_tasks", sa.Column("follows_custom_id", sa.Text))
    op.add_column(
        "video_tasks", sa.Column("waits_for_frame", sa.Integer, nullable=False, server_default=sa.text("0"))
    )
    for name, (columns, where) in _CLAIMED_BY.items():
        op.drop_index(name, table_name="video_tasks")
        _index(name, columns, where)
    _index(
        "ix_video_tasks_linked", ["batch_id", "follows_index"], "status = 'pending' AND waits_for_frame = 1"
    )
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "last_frames",
        sa.Column("task_id", key, autoincrement=False, nullable=False),
        sa.Column("batch_id", key, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("next_look_at_ms", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("upload_id", sa.Text),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.CheckConstraint(
            "state IN ('due', 'given', 'missing', 'replaced')", name=op.f("ck_last_frames_state")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name=op.f("fk_last_frames_task_id")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_last_frames_batch_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_last_frames")),
    )
    _index("ix_last_frames_due", ["next_look_at_ms"], "state = 'due'", "last_frames")
    op.create_index("ix_last_frames_batch", "last_frames", ["batch_id"])


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
