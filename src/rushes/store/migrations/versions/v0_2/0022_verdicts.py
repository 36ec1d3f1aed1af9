"""What an acceptable clip is in each batch that says so, and the verdict on each of their successes."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables, empty: batches of before asked for no gate."""
    op.create_table(
        "batch_gates",
        sa.Column("batch_id", Id, autoincrement=False, nullable=False),
        sa.Column("thresholds", sa.Text(), nullable=False),
        sa.Column("has_judge", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("clips_max", sa.BigInteger()),
        sa.Column("credits_max", sa.BigInteger()),
        sa.Column("score_min_ppm", sa.BigInteger()),
        sa.Column("repairs", sa.Text()),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_batch_gates_batch_id")),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batch_gates")),
        sa.CheckConstraint("clips_max BETWEEN 1 AND 10", name=op.f("ck_batch_gates_clips_max")),
    )
    op.create_table(
        "clip_verdicts",
        sa.Column("task_id", Id, autoincrement=False, nullable=False),
        sa.Column("batch_id", Id, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text()),
        sa.Column("reasons", sa.Text()),
        sa.Column("score_ppm", sa.BigInteger()),
        sa.Column("decided_by", sa.Text()),
        sa.Column("measures", sa.Text()),
        sa.Column("asked_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_ask_at_ms", sa.BigInteger()),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_at_ms", sa.BigInteger()),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name=op.f("fk_clip_verdicts_task_id")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_clip_verdicts_batch_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_clip_verdicts")),
        sa.CheckConstraint("state IN ('file', 'judge', 'decided')", name=op.f("ck_clip_verdicts_state")),
        sa.CheckConstraint(
            "verdict IS NULL OR verdict IN ('accepted', 'rejected', 'undecided')",
            name=op.f("ck_clip_verdicts_verdict"),
        ),
        sa.CheckConstraint(
            "(state = 'decided') = (verdict IS NOT NULL AND decided_at_ms IS NOT NULL)",
            name=op.f("ck_clip_verdicts_decided"),
        ),
    )
    op.create_index("ix_clip_verdicts_batch", "clip_verdicts", ["batch_id", "state"])
    op.create_index(
        "ix_clip_verdicts_to_judge",
        "clip_verdicts",
        ["next_ask_at_ms"],
        sqlite_where=sa.text("state = 'judge'"),
        postgresql_where=sa.text("state = 'judge'"),
    )
    op.create_table(
        "clip_judgements",
        sa.Column("task_id", Id, autoincrement=False, nullable=False),
        sa.Column("judge", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("score_ppm", sa.BigInteger()),
        sa.Column("judged_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name=op.f("fk_clip_judgements_task_id")),
        sa.PrimaryKeyConstraint("task_id", "judge", name=op.f("pk_clip_judgements")),
        sa.CheckConstraint(
            "verdict IN ('accepted', 'rejected', 'undecided')", name=op.f("ck_clip_judgements_verdict")
        ),
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
