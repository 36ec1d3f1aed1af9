"""The log of what operators did, append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table, empty: what was done before is not known. Triggers keep what is written."""
    op.create_table(
        "action_log",
        sa.Column("id", Id, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action_log")),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER action_log_no_{verb.lower()} BEFORE {verb} ON action_log"
                " BEGIN SELECT RAISE(ABORT, 'action_log is append-only'); END"
            )
    else:
        op.execute(
            "CREATE TRIGGER action_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON action_log"
            " FOR EACH STATEMENT EXECUTE FUNCTION rushes_append_only()"
        )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
