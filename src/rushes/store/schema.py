"""The tables, once for SQLite and PostgreSQL. What must never happen is refused here, by the database.

Times are epoch milliseconds (`…_at_ms`), credits whole numbers, JSON is text.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from rushes.domain.archive import ArchiveState
from rushes.domain.credits import EntryType, LotKind, ResolutionKind
from rushes.domain.task import FINAL_STATUSES, BatchStatus, FailureType, TaskStatus

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite only numbers rows by itself in a column declared INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")


def _one_of(column: str, values: Any, *, nullable: bool = False) -> CheckConstraint:
    names = ", ".join(f"'{value}'" for value in values)
    condition = f"{column} IN ({names})"
    return CheckConstraint(f"{column} IS NULL OR {condition}" if nullable else condition, name=column)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


accounts = Table(
    "accounts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _count("available"),
    _count("held"),
    _count("ledger_seq"),
    Column("ledger_hash", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    CheckConstraint("available >= 0", name="available"),
    CheckConstraint("held >= 0", name="held"),
)

credit_lots = Table(
    "credit_lots",
    metadata,
    Column("id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    _one_of("kind", LotKind),
    CheckConstraint("(kind = 'bonus') = (expires_at_ms IS NOT NULL)", name="expiry"),
    CheckConstraint("remaining >= 0 AND remaining <= amount", name="remaining"),
    Index(
        "ix_credit_lots_expiring",
        "expires_at_ms",
        sqlite_where=text("remaining > 0 AND expires_at_ms IS NOT NULL"),
        postgresql_where=text("remaining > 0 AND expires_at_ms IS NOT NULL"),
    ),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Id, primary_key=True),
    Column("public_id", Text, nullable=False, unique=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Column("request_scope", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("request_hash", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("total_count", BigInteger, nullable=False),
    _count("pending_count"),
    _count("processing_count"),
    _count("succeeded_count"),
    _count("failed_count"),
    _count("credits_reserved"),
    _count("credits_settled"),
    _count("credits_refunded"),
    _count("event_seq"),
    Column("cost_per_video", BigInteger),
    Column("webhook_url", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("last_dispatched_at_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("cancelled_at_ms", BigInteger),
    Column("completed_at_ms", BigInteger),
    Column("finalized_at_ms", BigInteger),
    UniqueConstraint("request_scope", "request_id"),
    _one_of("status", BatchStatus),
    CheckConstraint(
        "pending_count >= 0 AND processing_count >= 0 AND succeeded_count >= 0 AND failed_count >= 0"
        " AND pending_count + processing_count + succeeded_count + failed_count = total_count",
        name="counts",
    ),
    CheckConstraint(
        "credits_settled >= 0 AND credits_refunded >= 0"
        " AND credits_settled + credits_refunded <= credits_reserved",
        name="credits",
    ),
    CheckConstraint(
        "finalized_at_ms IS NULL OR (credits_settled + credits_refunded = credits_reserved"
        " AND pending_count + processing_count = 0)",
        name="finalized",
    ),
    Index("ix_batches_account", "account_id", "id"),
    Index(
        "ix_batches_dispatchable",
        "last_dispatched_at_ms",
        "id",
        sqlite_where=text("pending_count > 0"),
        postgresql_where=text("pending_count > 0"),
    ),
)

batch_reservations = Table(
    "batch_reservations",
    metadata,
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("lot_id", Id, ForeignKey("credit_lots.id"), nullable=False),
    Column("reserved", BigInteger, nullable=False),
    _count("settled"),
    _count("refunded"),
    CheckConstraint(
        "settled >= 0 AND refunded >= 0 AND settled + refunded <= reserved",
        name="held",
    ),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("lease_expires_at_ms", BigInteger, nullable=False, index=True),
    Column("report", Text, nullable=False, server_default=text("'{}'")),
    # tasks in flight by provider when the lease was renewed: what the workers' shares follow from
    Column("holds", Text, nullable=False, server_default=text("'{}'")),
)

video_tasks = Table(
    "video_tasks",
    metadata,
    Column("id", Id, primary_key=True),
    Column("batch_id", Id, ForeignKey("batches.id"), nullable=False),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Column("item_index", BigInteger, nullable=False),
    # a failed item that is tried again becomes a new row with the next number; the old row stays failed
    Column("retry_number", BigInteger, nullable=False, server_default=text("0")),
    Column("is_current", Integer, nullable=False, server_default=text("1")),
    Column("custom_id", Text),
    Column("prompt", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("metadata", Text),
    Column("credits", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("api_model", Text, nullable=False),
    # asked for under this alias: until the task is sent, its model may become another one of the alias's
    Column("alias", Text),
    # where the attempt was sent: it is polled there, though the provider's host be changed
    Column("host", Text),
    Column("attempt", BigInteger, nullable=False, server_default=text("0")),
    # the worker that owns the attempt; no foreign key, so that dead workers can be forgotten
    Column("worker_id", Text),
    Column("remote_task_id", Text),
    Column("progress", BigInteger, nullable=False, server_default=text("0")),
    Column("dispatched_at_ms", BigInteger),
    Column("unconfirmed_at_ms", BigInteger),
    Column("completed_at_ms", BigInteger),
    Column("video_url", Text),
    Column("error", Text),
    Column("failure_type", Text),
    # what the provider said that it charged, in its own money
    Column("provider_cost", Double),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("batch_id", "item_index", "retry_number"),
    _one_of("status", TaskStatus),
    _one_of("failure_type", FailureType, nullable=True),
    CheckConstraint("credits >= 0", name="credits"),
    CheckConstraint("progress BETWEEN 0 AND 100", name="progress"),
    CheckConstraint("status <> 'succeeded' OR video_url IS NOT NULL", name="succeeded"),
    CheckConstraint("status <> 'failed' OR (error IS NOT NULL AND failure_type IS NOT NULL)", name="failed"),
    CheckConstraint("status <> 'processing' OR worker_id IS NOT NULL", name="owned"),
    Index(
        "ix_video_tasks_pending",
        "provider",
        "batch_id",
        "item_index",
        "model",  # so that tasks which are held are passed over within the index
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_video_tasks_movable",
        "alias",
        "model",
        "id",
        sqlite_where=text("status = 'pending' AND alias IS NOT NULL"),
        postgresql_where=text("status = 'pending' AND alias IS NOT NULL"),
    ),
    Index(
        "ix_video_tasks_owned",
        "worker_id",
        "provider",
        sqlite_where=text("status = 'processing'"),
        postgresql_where=text("status = 'processing'"),
    ),
    # what ended lately, for the operators' charts: all that they ask for stands in the index
    Index(
        "ix_video_tasks_completed",
        "completed_at_ms",
        "model",
        "status",
        "failure_type",
        sqlite_where=text("completed_at_ms IS NOT NULL"),
        postgresql_where=text("completed_at_ms IS NOT NULL"),
    ),
)

task_attempts = Table(
    "task_attempts",
    metadata,
    # attempts that ended without ending their task; the last attempt of a task stands in its own row
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("attempt", BigInteger, primary_key=True, autoincrement=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("api_model", Text, nullable=False),
    Column("host", Text),
    Column("remote_task_id", Text),
    Column("dispatched_at_ms", BigInteger),
    Column("ended_at_ms", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("failure_type", Text, nullable=False),
    _one_of("failure_type", FailureType),
)

task_resolutions = Table(
    "task_resolutions",
    metadata,
    # the primary key is the promise: a task's credits are settled or refunded once
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("batch_id", Id, nullable=False, index=True),
    Column("attempt", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("credits", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    _one_of("kind", ResolutionKind),
    CheckConstraint("credits >= 0", name="credits"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("account_id", Id, ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("delta", BigInteger, nullable=False),
    Column("balance_after", BigInteger, nullable=False),
    Column("batch_id", Id),
    Column("task_id", Id),
    Column("parts", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    _one_of("type", EntryType),
    CheckConstraint("balance_after >= 0", name="balance_after"),
    Index("ix_ledger_entries_batch", "batch_id", "seq"),
)

batch_events = Table(
    "batch_events",
    metadata,
    # numbered per batch under the batch's row lock, so a reader that has seen n misses nothing below n
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("task_id", Id),
    Column("created_at_ms", BigInteger, nullable=False),
)

# --- the service: keys, limits, callbacks in, webhooks out -------------------------------------------------

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    # the key's first characters, for people; the key itself is nowhere
    Column("shown", Text, nullable=False),
    Column("key_hash", Text, nullable=False, unique=True),
    Column("rate_limit_per_min", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    CheckConstraint("rate_limit_per_min > 0", name="rate_limit_per_min"),
)

rate_windows = Table(
    "rate_windows",
    metadata,
    # one row per key, used again for every window; `granted` is what the last statement was given
    Column("key_id", Id, ForeignKey("api_keys.id"), primary_key=True, autoincrement=False),
    Column("window_start_ms", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("granted", BigInteger, nullable=False),
)

callback_nudges = Table(
    "callback_nudges",
    metadata,
    # at most one per task: what its owner should look at now; nothing of a callback but the id it names
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("attempt", BigInteger, nullable=False),
    Column("remote_task_id", Text),
    Column("received_count", BigInteger, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("disabled_at_ms", BigInteger),
    UniqueConstraint("account_id", "url"),
)

webhook_feeds = Table(
    "webhook_feeds",
    metadata,
    # a batch that named a webhook; its events up to `last_seq` have their deliveries
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("endpoint_id", Id, ForeignKey("webhook_endpoints.id"), nullable=False),
    _count("last_seq"),
    Column("is_open", Integer, nullable=False, server_default=text("1")),
    Index(
        "ix_webhook_feeds_open",
        "batch_id",
        sqlite_where=text("is_open = 1"),
        postgresql_where=text("is_open = 1"),
    ),
)

DELIVERY_STATUSES = ("pending", "delivered", "failed", "disabled")

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Column("endpoint_id", Id, ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("batch_id", Id, ForeignKey("batches.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),
    # `attempts` only grows; those before `first_attempt` were of earlier replays
    _count("attempts"),
    _count("first_attempt"),
    # while a process is at it, the time from which another may try
    Column("next_attempt_at_ms", BigInteger, nullable=False),
    Column("http_status", BigInteger),
    Column("error", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("delivered_at_ms", BigInteger),
    UniqueConstraint("batch_id", "seq"),
    _one_of("status", DELIVERY_STATUSES),
    Index("ix_webhook_deliveries_account", "account_id", "id"),
    Index(
        "ix_webhook_deliveries_endpoint",
        "endpoint_id",
        "next_attempt_at_ms",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_webhook_deliveries_due",
        "next_attempt_at_ms",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    # what is old enough to be forgotten
    Index(
        "ix_webhook_deliveries_ended",
        "created_at_ms",
        sqlite_where=text("status <> 'pending'"),
        postgresql_where=text("status <> 'pending'"),
    ),
)

deleted_videos = Table(
    "deleted_videos",
    metadata,
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("item_index", BigInteger, primary_key=True, autoincrement=False),
    Column("deleted_at_ms", BigInteger, nullable=False),
)

batch_retries = Table(
    "batch_retries",
    metadata,
    # batches that asked for it: how often a failed item is tried again by itself, and what ends that.
    # What is counted here is written under the batch's row lock, as its other counters are.
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("retries_max", BigInteger, nullable=False),
    # failure types, separated by commas; NULL are those of a batch that named none
    Column("reasons", Text),
    Column("credits_max", BigInteger),
    Column("pass_rate_min_ppm", BigInteger),
    Column("pass_rate_after", BigInteger),
    # the model of the last try, at its price when the batch was accepted
    Column("last_model", Text),
    Column("last_provider", Text),
    Column("last_api_model", Text),
    Column("last_credits", BigInteger),
    # tries after the first of their item, and what those of them that have not failed cost
    _count("rerolls_count"),
    _count("credits_used"),
    Column("stopped_at_ms", BigInteger),
    CheckConstraint("retries_max BETWEEN 1 AND 5", name="retries_max"),
    CheckConstraint("credits_used >= 0 AND rerolls_count >= 0", name="counters"),
)

render_times = Table(
    "render_times",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    # histories with other bins stand in rows of their own, so that versions can run side by side
    Column("layout", Integer, primary_key=True, autoincrement=False),
    Column("tasks", BigInteger, nullable=False),
    Column("exposed", Text, nullable=False),
    Column("ended", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
)

archived_files = Table(
    "archived_files",
    metadata,
    # one row per success, written by the transaction that settled it
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Column("state", Text, nullable=False),
    # tries so far, and those of them in which the file came and was no good
    Column("attempts", BigInteger, nullable=False, server_default=text("0")),
    Column("bad_files", BigInteger, nullable=False, server_default=text("0")),
    # when it is to be tried; a worker that tries it moves this on, so its claim runs out by itself
    Column("next_attempt_at_ms", BigInteger, nullable=False),
    Column("link_dies_at_ms", BigInteger, nullable=False),
    Column("alerted_at_ms", BigInteger),
    Column("reason", Text),
    Column("video_key", Text),
    Column("thumbnail_key", Text),
    Column("poster_key", Text),
    Column("bytes", BigInteger),
    Column("sha256", Text),
    Column("width", BigInteger),
    Column("height", BigInteger),
    Column("duration_ms", BigInteger),
    Column("stored_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    _one_of("state", ArchiveState),
    CheckConstraint(
        "state <> 'stored' OR (video_key IS NOT NULL AND sha256 IS NOT NULL AND stored_at_ms IS NOT NULL)",
        name="stored",
    ),
    Index(
        "ix_archived_files_due",
        "next_attempt_at_ms",
        sqlite_where=text("state = 'due'"),
        postgresql_where=text("state = 'due'"),
    ),
    Index("ix_archived_files_kept", "account_id", "state", "stored_at_ms"),
)

APPEND_ONLY_TABLES = ("ledger_entries", "task_resolutions", "batch_events")

_FINAL = ", ".join(f"'{status}'" for status in sorted(FINAL_STATUSES))


def sqlite_triggers() -> list[str]:
    """Triggers that refuse to rewrite history, in SQLite's words."""
    statements = [
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table in APPEND_ONLY_TABLES
        for verb in ("UPDATE", "DELETE")
    ]
    statements.append(
        "CREATE TRIGGER video_tasks_final BEFORE UPDATE OF status ON video_tasks"
        f" WHEN OLD.status IN ({_FINAL}) AND NEW.status <> OLD.status"
        " BEGIN SELECT RAISE(ABORT, 'a final status never changes'); END"
    )
    return statements


def postgresql_triggers() -> list[str]:
    """Triggers that refuse to rewrite history, in PostgreSQL's words."""
    statements = [
        "CREATE FUNCTION rushes_append_only() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
        "CREATE FUNCTION rushes_final_status() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION 'a final status never changes'; END $$",
    ]
    statements += [
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION rushes_append_only()"
        for table in APPEND_ONLY_TABLES
    ]
    statements.append(
        "CREATE TRIGGER video_tasks_final BEFORE UPDATE OF status ON video_tasks FOR EACH ROW"
        f" WHEN (OLD.status IN ({_FINAL}) AND NEW.status <> OLD.status)"
        " EXECUTE FUNCTION rushes_final_status()"
    )
    return statements
