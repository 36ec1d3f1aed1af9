"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table, and the triggers that refuse to rewrite history."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("available", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("held", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("ledger_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("ledger_hash", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("available >= 0", name=op.f("ck_accounts_available")),
        sa.CheckConstraint("held >= 0", name=op.f("ck_accounts_held")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.Text(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("holds", sa.Text(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_index(op.f("ix_workers_lease_expires_at_ms"), "workers", ["lease_expires_at_ms"], unique=False)
    op.create_table(
        "batches",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("request_scope", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("total_count", sa.BigInteger(), nullable=False),
        sa.Column("pending_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("processing_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("succeeded_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("credits_reserved", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("credits_settled", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("credits_refunded", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cost_per_video", sa.BigInteger(), nullable=True),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_dispatched_at_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cancelled_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("completed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("finalized_at_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'succeeded', 'partial', 'failed', 'cancelled')",
            name=op.f("ck_batches_status"),
        ),
        sa.CheckConstraint(
            "credits_settled >= 0 AND credits_refunded >= 0 AND credits_settled + credits_refunded <= credits_reserved",
            name=op.f("ck_batches_credits"),
        ),
        sa.CheckConstraint(
            "finalized_at_ms IS NULL OR (credits_settled + credits_refunded = credits_reserved AND pending_count + processing_count = 0)",
            name=op.f("ck_batches_finalized"),
        ),
        sa.CheckConstraint(
            "pending_count >= 0 AND processing_count >= 0 AND succeeded_count >= 0 AND failed_count >= 0 AND pending_count + processing_count + succeeded_count + failed_count = total_count",
            name=op.f("ck_batches_counts"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_batches_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("public_id", name=op.f("uq_batches_public_id")),
        sa.UniqueConstraint("request_scope", "request_id", name=op.f("uq_batches_request_scope_request_id")),
    )
    op.create_index("ix_batches_account", "batches", ["account_id", "id"], unique=False)
    op.create_index(
        "ix_batches_dispatchable",
        "batches",
        ["last_dispatched_at_ms", "id"],
        unique=False,
        sqlite_where=sa.text("pending_count > 0"),
        postgresql_where=sa.text("pending_count > 0"),
    )
    op.create_table(
        "credit_lots",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(kind = 'bonus') = (expires_at_ms IS NOT NULL)", name=op.f("ck_credit_lots_expiry")
        ),
        sa.CheckConstraint("kind IN ('permanent', 'bonus')", name=op.f("ck_credit_lots_kind")),
        sa.CheckConstraint("remaining >= 0 AND remaining <= amount", name=op.f("ck_credit_lots_remaining")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_credit_lots_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_lots")),
    )
    op.create_index(op.f("ix_credit_lots_account_id"), "credit_lots", ["account_id"], unique=False)
    op.create_index(
        "ix_credit_lots_expiring",
        "credit_lots",
        ["expires_at_ms"],
        unique=False,
        sqlite_where=sa.text("remaining > 0 AND expires_at_ms IS NOT NULL"),
        postgresql_where=sa.text("remaining > 0 AND expires_at_ms IS NOT NULL"),
    )
    op.create_table(
        "ledger_entries",
        sa.Column(
            "account_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("delta", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("task_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("parts", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "type IN ('reserve', 'settle', 'refund', 'purchase', 'bonus', 'expire', 'adjust')",
            name=op.f("ck_ledger_entries_type"),
        ),
        sa.CheckConstraint("balance_after >= 0", name=op.f("ck_ledger_entries_balance_after")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_ledger_entries_account_id")),
        sa.PrimaryKeyConstraint("account_id", "seq", name=op.f("pk_ledger_entries")),
    )
    op.create_index("ix_ledger_entries_batch", "ledger_entries", ["batch_id", "seq"], unique=False)
    op.create_table(
        "batch_events",
        sa.Column(
            "batch_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("task_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_batch_events_batch_id")),
        sa.PrimaryKeyConstraint("batch_id", "seq", name=op.f("pk_batch_events")),
    )
    op.create_table(
        "batch_reservations",
        sa.Column(
            "batch_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lot_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("refunded", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "settled >= 0 AND refunded >= 0 AND settled + refunded <= reserved",
            name=op.f("ck_batch_reservations_held"),
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_batch_reservations_batch_id")),
        sa.ForeignKeyConstraint(["lot_id"], ["credit_lots.id"], name=op.f("fk_batch_reservations_lot_id")),
        sa.PrimaryKeyConstraint("batch_id", "line", name=op.f("pk_batch_reservations")),
    )
    op.create_table(
        "video_tasks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("item_index", sa.BigInteger(), nullable=False),
        sa.Column("retry_number", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_current", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("custom_id", sa.Text(), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("api_model", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("remote_task_id", sa.Text(), nullable=True),
        sa.Column("progress", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("dispatched_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("unconfirmed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("completed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("video_url", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failure_type", sa.Text(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "failure_type IS NULL OR failure_type IN ('input_moderation', 'output_moderation', 'model_error', 'param_error', 'timeout', 'network', 'not_found', 'cancelled', 'unknown')",
            name=op.f("ck_video_tasks_failure_type"),
        ),
        sa.CheckConstraint(
            "status <> 'failed' OR (error IS NOT NULL AND failure_type IS NOT NULL)",
            name=op.f("ck_video_tasks_failed"),
        ),
        sa.CheckConstraint(
            "status <> 'processing' OR worker_id IS NOT NULL", name=op.f("ck_video_tasks_owned")
        ),
        sa.CheckConstraint(
            "status <> 'succeeded' OR video_url IS NOT NULL", name=op.f("ck_video_tasks_succeeded")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'succeeded', 'failed')", name=op.f("ck_video_tasks_status")
        ),
        sa.CheckConstraint("credits >= 0", name=op.f("ck_video_tasks_credits")),
        sa.CheckConstraint("progress BETWEEN 0 AND 100", name=op.f("ck_video_tasks_progress")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_video_tasks_account_id")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_video_tasks_batch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_video_tasks")),
        sa.UniqueConstraint(
            "batch_id",
            "item_index",
            "retry_number",
            name=op.f("uq_video_tasks_batch_id_item_index_retry_number"),
        ),
    )
    op.create_index(
        "ix_video_tasks_owned",
        "video_tasks",
        ["worker_id", "provider"],
        unique=False,
        sqlite_where=sa.text("status = 'processing'"),
        postgresql_where=sa.text("status = 'processing'"),
    )
    op.create_index(
        "ix_video_tasks_pending",
        "video_tasks",
        ["provider", "batch_id", "item_index"],
        unique=False,
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "task_attempts",
        sa.Column(
            "task_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("api_model", sa.Text(), nullable=False),
        sa.Column("remote_task_id", sa.Text(), nullable=True),
        sa.Column("dispatched_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failure_type", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "failure_type IN ('input_moderation', 'output_moderation', 'model_error', 'param_error', 'timeout', 'network', 'not_found', 'cancelled', 'unknown')",
            name=op.f("ck_task_attempts_failure_type"),
        ),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name=op.f("fk_task_attempts_task_id")),
        sa.PrimaryKeyConstraint("task_id", "attempt", name=op.f("pk_task_attempts")),
    )
    op.create_table(
        "task_resolutions",
        sa.Column(
            "task_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('settle', 'refund')", name=op.f("ck_task_resolutions_kind")),
        sa.CheckConstraint("credits >= 0", name=op.f("ck_task_resolutions_credits")),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name=op.f("fk_task_resolutions_task_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_task_resolutions")),
    )
    op.create_index(op.f("ix_task_resolutions_batch_id"), "task_resolutions", ["batch_id"], unique=False)
    triggers = _postgresql_triggers if op.get_bind().dialect.name == "postgresql" else _sqlite_triggers
    for statement in triggers():
        op.execute(statement)


_APPEND_ONLY_TABLES = ("ledger_entries", "task_resolutions", "batch_events")

_FINAL_STATUS = "OLD.status IN ('failed', 'succeeded') AND NEW.status <> OLD.status"


def _sqlite_triggers() -> list[str]:
    """As they were when this was written; later migrations change them."""
    return [
        *(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for table in _APPEND_ONLY_TABLES
            for verb in ("UPDATE", "DELETE")
        ),
        f"CREATE TRIGGER video_tasks_final BEFORE UPDATE OF status ON video_tasks WHEN {_FINAL_STATUS}"
        " BEGIN SELECT RAISE(ABORT, 'a final status never changes'); END",
    ]


def _postgresql_triggers() -> list[str]:
    """The same."""
    return [
        "CREATE FUNCTION rushes_append_only() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
        "CREATE FUNCTION rushes_final_status() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION 'a final status never changes'; END $$",
        *(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION rushes_append_only()"
            for table in _APPEND_ONLY_TABLES
        ),
        "CREATE TRIGGER video_tasks_final BEFORE UPDATE OF status ON video_tasks FOR EACH ROW"
        f" WHEN ({_FINAL_STATUS}) EXECUTE FUNCTION rushes_final_status()",
    ]


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
