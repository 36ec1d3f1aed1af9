"""The service around the tasks: keys, limits, callbacks in, webhooks out, files, what was learned."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from rushes.domain.archive import ArchiveState
from rushes.store.tables.columns import Id, count, metadata, one_of

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
    # what it may do, and the limit that its own account sets; operators' caps stand in `day_caps`
    Column("scope", Text, nullable=False, server_default=text("'admin'")),
    Column("credits_per_day_max", BigInteger),
    # the key by which its account made it; None for an operator's. A cap holds for a key and all below it
    Column("made_by_key_id", BigInteger, index=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("last_used_at_ms", BigInteger),
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
    # where webhooks go: with a public id an endpoint that its account manages, which gets the events of all
    # batches; without one the address that batches named, which gets theirs
    Column("id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Column("public_id", Text, unique=True),
    Column("url", Text, nullable=False),
    # event types and groups of them (`video.*`), separated by commas; NULL for all
    Column("events", Text),
    Column("description", Text),
    # how far the account's event log has been turned into deliveries
    count("last_position"),
    # the version of its own secret, and until when deliveries carry the signature of the one before too
    Column("secret_version", BigInteger, nullable=False, server_default=text("1")),
    Column("previous_until_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("disabled_at_ms", BigInteger),
    # `gone`: the receiver answered 410; `owner`: its account did it
    Column("disabled_reason", Text),
    Column("deleted_at_ms", BigInteger),
    Index(
        "uq_webhook_endpoints_of_batches",
        "account_id",
        "url",
        unique=True,
        sqlite_where=text("public_id IS NULL"),
        postgresql_where=text("public_id IS NULL"),
    ),
    Index("ix_webhook_endpoints_account", "account_id"),
)

account_events = Table(
    "account_events",
    metadata,
    # the account's log: its events over all batches, numbered when somebody asks for them
    Column("account_id", Id, ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("batch_id", Id, ForeignKey("batches.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    UniqueConstraint("batch_id", "seq"),
)

webhook_feeds = Table(
    "webhook_feeds",
    metadata,
    # a batch that named a webhook; its events up to `last_seq` have their deliveries
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("endpoint_id", Id, ForeignKey("webhook_endpoints.id"), nullable=False),
    count("last_seq"),
    # as in `webhook_endpoints`
    Column("events", Text),
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
    count("attempts"),
    count("first_attempt"),
    # while a process is at it, the time from which another may try
    Column("next_attempt_at_ms", BigInteger, nullable=False),
    Column("http_status", BigInteger),
    Column("error", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("delivered_at_ms", BigInteger),
    UniqueConstraint("batch_id", "seq", "endpoint_id"),
    one_of("status", DELIVERY_STATUSES),
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
    one_of("state", ArchiveState),
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

uploads = Table(
    "uploads",
    metadata,
    # files that customers gave to go into videos: one row for the same content of an account
    Column("id", Id, primary_key=True),
    Column("public_id", Text, nullable=False, unique=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("sha256", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("width", BigInteger),
    Column("height", BigInteger),
    Column("duration_ms", BigInteger),
    # empty once the bytes of a removed one are deleted
    Column("object_key", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("used_at_ms", BigInteger),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("removed_at_ms", BigInteger),
    Index(
        "ix_uploads_expiring",
        "expires_at_ms",
        sqlite_where=text("removed_at_ms IS NULL"),
        postgresql_where=text("removed_at_ms IS NULL"),
    ),
    Index(
        "ix_uploads_removed",
        "id",
        sqlite_where=text("removed_at_ms IS NOT NULL"),
        postgresql_where=text("removed_at_ms IS NOT NULL"),
    ),
)

batch_uploads = Table(
    "batch_uploads",
    metadata,
    # what a batch's items need: kept until the batch is finished, whatever expires
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("upload_id", Id, ForeignKey("uploads.id"), primary_key=True, autoincrement=False),
    Index("ix_batch_uploads_upload", "upload_id"),
)
