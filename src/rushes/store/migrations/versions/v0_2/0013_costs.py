"""What a task is sent with, and what its provider charges for it: expected, reported, and in which currency."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; tasks from before are sent with their options as they are, at no known cost.

    Until now only Runway's costs were stored, in its credits.
    """
    for name, kind in (
        ("sent_options", sa.Text()),
        ("expected_cost_micros", sa.BigInteger()),
        ("cost_currency", sa.Text()),
        ("cost_unit", sa.Text()),
        ("cost_unit_nanos", sa.BigInteger()),
        ("provider_cost_unit", sa.Text()),
        ("actual_cost_micros", sa.BigInteger()),
    ):
        op.add_column("video_tasks", sa.Column(name, kind))
    op.execute(
        "UPDATE video_tasks SET provider_cost_unit = 'credits'"
        " WHERE provider = 'runway' AND provider_cost IS NOT NULL"
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
