"""Batches and their tasks: who does them, what was tried, under which remote ids, what happened."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from rushes.domain.task import BatchStatus, FailureType, TaskStatus
from rushes.store.tables.columns import Id, count, metadata, one_of

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
    count("pending_count"),
    count("processing_count"),
    count("succeeded_count"),
    count("failed_count"),
    count("credits_reserved"),
    count("credits_settled"),
    count("credits_refunded"),
    count("event_seq"),
    # events up to this one are in the account's log
    count("logged_seq"),
    Column("cost_per_video", BigInteger),
    Column("webhook_url", Text),
    # its author's own words about it; what of it can be searched for stands in `batch_labels`
    Column("name", Text),
    Column("metadata", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("last_dispatched_at_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("cancelled_at_ms", BigInteger),
    Column("completed_at_ms", BigInteger),
    Column("finalized_at_ms", BigInteger),
    UniqueConstraint("request_scope", "request_id"),
    one_of("status", BatchStatus),
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
    Index("ix_batches_made", "account_id", "created_at_ms"),
    Index(
        "ix_batches_unlogged",
        "account_id",
        "id",
        sqlite_where=text("event_seq > logged_seq"),
        postgresql_where=text("event_seq > logged_seq"),
    ),
    Index(
        "ix_batches_dispatchable",
        "last_dispatched_at_ms",
        "id",
        sqlite_where=text("pending_count > 0"),
        postgresql_where=text("pending_count > 0"),
    ),
    # batches whose tasks in flight are to be cancelled at their providers
    Index(
        "ix_batches_cancelled",
        "id",
        sqlite_where=text("cancelled_at_ms IS NOT NULL AND finalized_at_ms IS NULL"),
        postgresql_where=text("cancelled_at_ms IS NOT NULL AND finalized_at_ms IS NULL"),
    ),
)

batch_labels = Table(
    "batch_labels",
    metadata,
    # what lists of batches are filtered by: `model` for each model or alias asked for, `metadata.KEY`
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Index("ix_batch_labels_value", "account_id", "name", "value", "batch_id"),
)

batch_retries = Table(
    "batch_retries",
    metadata,
    # batches that asked for it: how often a failed item is retried by itself, and what ends that.
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
    # what the next try changes, by the reason of the failure or rejection, as JSON
    Column("repairs", Text),
    # tries after the first of their item, and what those of them that have not failed cost
    count("rerolls_count"),
    count("credits_used"),
    Column("stopped_at_ms", BigInteger),
    CheckConstraint("retries_max BETWEEN 1 AND 5", name="retries_max"),
    CheckConstraint("credits_used >= 0 AND rerolls_count >= 0", name="counters"),
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

FRAME_STATES = ("due", "given", "missing", "replaced")
"""The frame is still to be cut; the items that waited have it; they ended without it; another try came."""

CLAIMABLE = "status = 'pending' AND waits_for_frame = 0"
"""The condition of the indexes of tasks that may be sent; a query that is to use them says the same."""

LINKED = "status = 'pending' AND waits_for_frame = 1"
"""The condition of the index of tasks that wait for the last frame of another item."""

TROUBLED = "status IN ('pending', 'processing') AND trouble_at_ms IS NOT NULL"
"""The condition of the index of open tasks with trouble; a query that is to use it says the same."""

video_tasks = Table(
    "video_tasks",
    metadata,
    Column("id", Id, primary_key=True),
    Column("batch_id", Id, ForeignKey("batches.id"), nullable=False),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Column("item_index", BigInteger, nullable=False),
    # a failed item that is retried becomes a new row with the next number; the old row stays failed
    Column("retry_number", BigInteger, nullable=False, server_default=text("0")),
    # how many tries after the first count against `retries_max`, this one included: all but those that
    # best of n bought; NULL for first tries, and for those made before this was kept
    Column("rerolls", BigInteger),
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
    # why it has its model, as JSON, where that was chosen; until then model and provider are `auto`
    Column("choice", Text),
    # which repair this try has, or was left without to see what that gains; NULL of all others
    Column("repair", Text),
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
    # what is sent and was priced: the options with their defaults; NULL where that is `options`
    Column("sent_options", Text),
    # what the provider was expected to charge when the credits were reserved, in millionths, and what one
    # unit of what it reports costs, in billionths
    Column("expected_cost_micros", BigInteger),
    Column("cost_currency", Text),
    Column("cost_unit", Text),
    Column("cost_unit_nanos", BigInteger),
    # what the provider said that it charged, in its own unit, and the same in the currency
    Column("provider_cost", Double),
    Column("provider_cost_unit", Text),
    Column("actual_cost_micros", BigInteger),
    # why it waits: the last answer that was not understood, to a submit or (with a remote id) to polls;
    # all NULL once one is understood, and left as it was when the task ends
    Column("trouble_kind", Text),
    Column("trouble_reason", Text),
    Column("trouble_count", BigInteger),
    Column("trouble_since_ms", BigInteger),
    Column("trouble_at_ms", BigInteger),
    # what is not at a provider by then is cancelled
    Column("deadline_at_ms", BigInteger),
    # what it asks for, as a number that equal requests share; NULL before there was one
    Column("request_key", BigInteger),
    # the item of its batch from whose last frame it starts, and whether it still waits for that frame
    Column("follows_index", BigInteger),
    Column("follows_custom_id", Text),
    Column("waits_for_frame", Integer, nullable=False, server_default=text("0")),
    # its prompt, inputs and metadata were erased; hashes stand in their place
    Column("erased_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("batch_id", "item_index", "retry_number"),
    one_of("status", TaskStatus),
    one_of("failure_type", FailureType, nullable=True),
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
        sqlite_where=text(CLAIMABLE),
        postgresql_where=text(CLAIMABLE),
    ),
    # whose turn it is: held models are passed over, and accounts and batches found, by a seek each
    Index(
        "ix_video_tasks_turns",
        "provider",
        "model",
        "account_id",
        "batch_id",
        sqlite_where=text(CLAIMABLE),
        postgresql_where=text(CLAIMABLE),
    ),
    Index(
        "ix_video_tasks_movable",
        "alias",
        "model",
        "id",
        sqlite_where=text(f"{CLAIMABLE} AND alias IS NOT NULL"),
        postgresql_where=text(f"{CLAIMABLE} AND alias IS NOT NULL"),
    ),
    Index(
        "ix_video_tasks_linked",
        "batch_id",
        "follows_index",
        sqlite_where=text(LINKED),
        postgresql_where=text(LINKED),
    ),
    Index(
        "ix_video_tasks_owned",
        "worker_id",
        "provider",
        sqlite_where=text("status = 'processing'"),
        postgresql_where=text("status = 'processing'"),
    ),
    Index(
        "ix_video_tasks_troubled",
        "provider",
        "trouble_kind",
        "trouble_since_ms",
        sqlite_where=text(TROUBLED),
        postgresql_where=text(TROUBLED),
    ),
    Index(
        "ix_video_tasks_deadline",
        "deadline_at_ms",
        sqlite_where=text("status = 'pending' AND deadline_at_ms IS NOT NULL"),
        postgresql_where=text("status = 'pending' AND deadline_at_ms IS NOT NULL"),
    ),
    # submits of unknown outcome, few among all that renders
    Index(
        "ix_video_tasks_unconfirmed",
        "unconfirmed_at_ms",
        sqlite_where=text("status = 'processing' AND unconfirmed_at_ms IS NOT NULL"),
        postgresql_where=text("status = 'processing' AND unconfirmed_at_ms IS NOT NULL"),
    ),
    # what an account has bought already, by what it asked for
    Index(
        "ix_video_tasks_request",
        "account_id",
        "request_key",
        sqlite_where=text("request_key IS NOT NULL AND status = 'succeeded'"),
        postgresql_where=text("request_key IS NOT NULL AND status = 'succeeded'"),
    ),
    # what was made today, for the day's caps
    Index("ix_video_tasks_made", "created_at_ms"),
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

last_frames = Table(
    "last_frames",
    metadata,
    # tries that ended while other items waited for their last frame, written by the transaction that ended
    # them: `due` until those have the frame, or have ended without it
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("batch_id", Id, ForeignKey("batches.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("next_look_at_ms", BigInteger, nullable=False),
    count("attempts"),
    # the frame, as an upload of the account
    Column("upload_id", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    one_of("state", FRAME_STATES),
    Index(
        "ix_last_frames_due",
        "next_look_at_ms",
        sqlite_where=text("state = 'due'"),
        postgresql_where=text("state = 'due'"),
    ),
    Index("ix_last_frames_batch", "batch_id"),
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
    # the words behind the error: why nobody knew the submit's outcome
    Column("trouble_reason", Text),
    one_of("failure_type", FailureType),
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

dispatch_turns = Table(
    "dispatch_turns",
    metadata,
    # when an account was last served at a provider, as a number of turns, and how far its batches have come
    Column("provider", Text, primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("batch_id", BigInteger, nullable=False),
    Column("round_batch_id", BigInteger, nullable=False),
    Index("ix_dispatch_turns_newest", "provider", "number"),
)

remote_ids = Table(
    "remote_ids",
    metadata,
    # the primary key is the promise: a remote id belongs to one attempt; `tasks/remote_ids.py` makes the key.
    # Without foreign keys, which would cost every acceptance a look-up.
    Column("key", Id, primary_key=True, autoincrement=False),
    Column("task_id", Id, nullable=False),
    Column("attempt", BigInteger, nullable=False),
)

contested_remote_ids = Table(
    "contested_remote_ids",
    metadata,
    # ids that attempts were given and do not carry, as another attempt has them: evidence of mixed-up answers
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("attempt", BigInteger, primary_key=True, autoincrement=False),
    Column("remote_task_id", Text, primary_key=True),
    Column("created_at_ms", BigInteger, nullable=False),
)

deleted_videos = Table(
    "deleted_videos",
    metadata,
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("item_index", BigInteger, primary_key=True, autoincrement=False),
    Column("deleted_at_ms", BigInteger, nullable=False),
)
