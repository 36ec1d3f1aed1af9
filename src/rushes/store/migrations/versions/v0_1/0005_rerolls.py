"""What a batch's re-rolls are asked for, what they may cost, what ends them, and their counters."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COUNTS = (("rerolls_count", "0"), ("credits_used", "0"))
_TEXTS = ("reasons", "last_model", "last_provider", "last_api_model")
_NUMBERS = ("credits_max", "pass_rate_min_ppm", "pass_rate_after", "last_credits", "stopped_at_ms")


def upgrade() -> None:
    """Add the columns; re-rolls made before are counted from their rows."""
    with op.batch_alter_table("batch_retries") as table:
        for name in _TEXTS:
            table.add_column(sa.Column(name, sa.Text()))
        for name in _NUMBERS:
            table.add_column(sa.Column(name, sa.BigInteger()))
        for name, default in _COUNTS:
            table.add_column(
                sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text(default))
            )
        table.create_check_constraint(
            op.f("ck_batch_retries_counters"), "credits_used >= 0 AND rerolls_count >= 0"
        )
    op.execute(
        "UPDATE batch_retries SET"
        " rerolls_count = (SELECT COUNT(*) FROM video_tasks t"
        " WHERE t.batch_id = batch_retries.batch_id AND t.retry_number > 0),"
        " credits_used = (SELECT COALESCE(SUM(t.credits), 0) FROM video_tasks t"
        " WHERE t.batch_id = batch_retries.batch_id AND t.retry_number > 0 AND t.status <> 'failed')"
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
