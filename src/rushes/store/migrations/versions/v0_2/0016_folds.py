"""Folds: signed summaries of finished batches, for which alone rows of the books may go; and erased tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

LEDGER_FOLDED = (
    "EXISTS (SELECT 1 FROM folds WHERE account_id = OLD.account_id AND ledger_through_seq >= OLD.seq)"
)
BATCH_FOLDED = "EXISTS (SELECT 1 FROM folded_batches WHERE batch_id = OLD.batch_id)"
BOOKS = {"ledger_entries": LEDGER_FOLDED, "task_resolutions": BATCH_FOLDED, "batch_events": BATCH_FOLDED}


def upgrade() -> None:
    """Add the tables, empty, and the column; history may go from now on where a fold stands for it."""
    _tables()
    op.add_column("video_tasks", sa.Column("erased_at_ms", sa.BigInteger()))
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_triggers()
    else:
        _postgresql_triggers()


def _tables() -> None:
    op.create_table(
        "folds",
        sa.Column("id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("ledger_through_seq", sa.BigInteger(), nullable=False),
        sa.Column("ledger_hash", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "length(public_key) = 64 AND length(signature) = 128", name=op.f("ck_folds_signed")
        ),
        sa.CheckConstraint("ledger_through_seq >= 0", name=op.f("ck_folds_ledger_through_seq")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_folds_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_folds")),
    )
    op.create_index("ix_folds_account", "folds", ["account_id", "ledger_through_seq"])
    op.create_table(
        "folded_batches",
        sa.Column("batch_id", Id, autoincrement=False, nullable=False),
        sa.Column("fold_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("total_count", sa.BigInteger(), nullable=False),
        sa.Column("entries_count", sa.BigInteger(), nullable=False),
        sa.Column("credits_reserved", sa.BigInteger(), nullable=False),
        sa.Column("credits_settled", sa.BigInteger(), nullable=False),
        sa.Column("credits_refunded", sa.BigInteger(), nullable=False),
        sa.Column("finalized_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("statement_hash", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "credits_settled + credits_refunded = credits_reserved", name=op.f("ck_folded_batches_credits")
        ),
        sa.ForeignKeyConstraint(["fold_id"], ["folds.id"], name=op.f("fk_folded_batches_fold_id")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_folded_batches_account_id")),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_folded_batches")),
        sa.UniqueConstraint("public_id", name=op.f("uq_folded_batches_public_id")),
    )
    op.create_index("ix_folded_batches_fold_id", "folded_batches", ["fold_id"])


def _sqlite_triggers() -> None:
    for table in (*BOOKS, "folds", "folded_batches"):
        refuse = f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        when = f" WHEN NOT {BOOKS[table]}" if table in BOOKS else ""
        if table in BOOKS:
            op.execute(f"DROP TRIGGER {table}_no_delete")
        else:
            op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}{refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}{when}{refuse}")


def _postgresql_triggers() -> None:
    functions = {
        "rushes_keep_unless_ledger_folded": LEDGER_FOLDED,
        "rushes_keep_unless_batch_folded": BATCH_FOLDED,
    }
    for function, is_folded in functions.items():
        op.execute(
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$"
            f" BEGIN IF NOT {is_folded} THEN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END IF;"
            " RETURN OLD; END $$"
        )
    statement_level = " FOR EACH STATEMENT EXECUTE FUNCTION rushes_append_only()"
    for table, is_folded in BOOKS.items():
        function = next(name for name, condition in functions.items() if condition == is_folded)
        op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR TRUNCATE ON {table}{statement_level}"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {function}()"
        )
    for table in ("folds", "folded_batches"):
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            f"{statement_level}"
        )


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
