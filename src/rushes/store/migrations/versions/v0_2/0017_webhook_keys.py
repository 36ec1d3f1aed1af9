"""Versions of accounts' webhook secrets, and whether this installation had weak secrets before they were refused."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables. All accounts keep their secrets; a database in use may keep weak ones of the operator."""
    op.create_table(
        "webhook_keys",
        sa.Column("account_id", Id, autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("rotated_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("previous_until_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_webhook_keys_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_webhook_keys")),
        sa.CheckConstraint("version > 1", name=op.f("ck_webhook_keys_version")),
    )
    op.create_table(
        "installation_facts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_installation_facts")),
    )
    op.execute(
        "INSERT INTO installation_facts (name, value)"
        " SELECT 'weak_secrets', 'until 0.3' WHERE EXISTS (SELECT 1 FROM accounts)"
    )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
