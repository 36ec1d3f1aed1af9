"""Webhook endpoints as their accounts manage them, several of them for an event, and accounts' event logs."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

KEPT = ("webhook_endpoints", "webhook_feeds", "webhook_deliveries")
UNLOGGED = sa.text("event_seq > logged_seq")
OF_BATCHES = sa.text("public_id IS NULL")


def upgrade() -> None:
    """Endpoints, feeds and deliveries that are there stay as they are. Events of finished batches are no news."""
    op.add_column(
        "batches", sa.Column("logged_seq", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    )
    op.execute("UPDATE batches SET logged_seq = event_seq WHERE finalized_at_ms IS NOT NULL")
    op.create_index(
        "ix_batches_unlogged",
        "batches",
        ["account_id", "id"],
        sqlite_where=UNLOGGED,
        postgresql_where=UNLOGGED,
    )
    op.create_table(
        "account_events",
        sa.Column("account_id", Id, autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_id", Id, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_account_events_account_id")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_account_events_batch_id")),
        sa.PrimaryKeyConstraint("account_id", "position", name=op.f("pk_account_events")),
        sa.UniqueConstraint("batch_id", "seq", name=op.f("uq_account_events_batch_id_seq")),
    )
    if op.get_bind().dialect.name == "sqlite":
        _rebuild()
    else:
        _alter()
    op.create_index(
        "uq_webhook_endpoints_of_batches",
        "webhook_endpoints",
        ["account_id", "url"],
        unique=True,
        sqlite_where=OF_BATCHES,
        postgresql_where=OF_BATCHES,
    )
    op.create_index("ix_webhook_endpoints_account", "webhook_endpoints", ["account_id"])


def _new_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("public_id", sa.Text()),
        sa.Column("events", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("last_position", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("secret_version", sa.BigInteger(), nullable=False, server_default=sa.text("1")),
        sa.Column("previous_until_ms", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("disabled_reason", sa.Text()),
        sa.Column("deleted_at_ms", sa.BigInteger()),
    ]


def _alter() -> None:
    for column in _new_columns():
        op.add_column("webhook_endpoints", column)
    op.execute("UPDATE webhook_endpoints SET disabled_reason = 'gone' WHERE disabled_at_ms IS NOT NULL")
    op.create_unique_constraint(op.f("uq_webhook_endpoints_public_id"), "webhook_endpoints", ["public_id"])
    op.drop_constraint(op.f("uq_webhook_endpoints_account_id_url"), "webhook_endpoints")
    op.add_column("webhook_feeds", sa.Column("events", sa.Text()))
    op.drop_constraint(op.f("uq_webhook_deliveries_batch_id_seq"), "webhook_deliveries")
    op.create_unique_constraint(
        op.f("uq_webhook_deliveries_batch_id_seq_endpoint_id"),
        "webhook_deliveries",
        ["batch_id", "seq", "endpoint_id"],
    )


def _rebuild() -> None:
    """SQLite changes no constraint: children first, the tables go and come back with their rows."""
    for name in KEPT:
        op.execute(f"CREATE TABLE kept_{name} AS SELECT * FROM {name}")
    for name in reversed(KEPT):
        op.drop_table(name)
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at_ms", sa.BigInteger()),
        *_new_columns(),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_webhook_endpoints_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
        sa.UniqueConstraint("public_id", name=op.f("uq_webhook_endpoints_public_id")),
    )
    op.create_table(
        "webhook_feeds",
        sa.Column("batch_id", Id, autoincrement=False, nullable=False),
        sa.Column("endpoint_id", Id, nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("is_open", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("events", sa.Text()),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_webhook_feeds_batch_id")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoints.id"], name=op.f("fk_webhook_feeds_endpoint_id")
        ),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_webhook_feeds")),
    )
    op.create_index(
        "ix_webhook_feeds_open", "webhook_feeds", ["batch_id"], sqlite_where=sa.text("is_open = 1")
    )
    _create_deliveries()
    op.execute(
        "INSERT INTO webhook_endpoints (id, account_id, url, created_at_ms, disabled_at_ms, disabled_reason)"
        " SELECT id, account_id, url, created_at_ms, disabled_at_ms,"
        " CASE WHEN disabled_at_ms IS NOT NULL THEN 'gone' END FROM kept_webhook_endpoints"
    )
    op.execute(
        "INSERT INTO webhook_feeds (batch_id, endpoint_id, last_seq, is_open)"
        " SELECT batch_id, endpoint_id, last_seq, is_open FROM kept_webhook_feeds"
    )
    columns = (
        "id, account_id, endpoint_id, batch_id, seq, type, status, attempts, first_attempt,"
        " next_attempt_at_ms, http_status, error, created_at_ms, delivered_at_ms"
    )
    op.execute(
        f"INSERT INTO webhook_deliveries ({columns}) SELECT {columns} FROM kept_webhook_deliveries ORDER BY id"
    )
    for name in KEPT:
        op.drop_table(f"kept_{name}")


def _create_deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("endpoint_id", Id, nullable=False),
        sa.Column("batch_id", Id, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("first_attempt", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("http_status", sa.BigInteger()),
        sa.Column("error", sa.Text()),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at_ms", sa.BigInteger()),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed', 'disabled')",
            name=op.f("ck_webhook_deliveries_status"),
        ),
        *(
            sa.ForeignKeyConstraint(
                [f"{name}_id"], [f"{table}.id"], name=op.f(f"fk_webhook_deliveries_{name}_id")
            )
            for name, table in (
                ("account", "accounts"),
                ("batch", "batches"),
                ("endpoint", "webhook_endpoints"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint(
            "batch_id", "seq", "endpoint_id", name=op.f("uq_webhook_deliveries_batch_id_seq_endpoint_id")
        ),
    )
    waits, ended = sa.text("status = 'pending'"), sa.text("status <> 'pending'")
    create, table = op.create_index, "webhook_deliveries"
    create("ix_webhook_deliveries_account", table, ["account_id", "id"])
    create("ix_webhook_deliveries_endpoint", table, ["endpoint_id", "next_attempt_at_ms"], sqlite_where=waits)
    create("ix_webhook_deliveries_due", table, ["next_attempt_at_ms"], sqlite_where=waits)
    create("ix_webhook_deliveries_ended", table, ["created_at_ms"], sqlite_where=ended)


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
