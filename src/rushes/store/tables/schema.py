"""The tables, once for SQLite and PostgreSQL. What must never happen is refused here, by the database.

Times are epoch milliseconds (`…_at_ms`), credits whole numbers, JSON is text.
"""

from rushes.store.tables.acceptance import batch_gates, clip_judgements, clip_verdicts
from rushes.store.tables.access import (
    action_log,
    installation_facts,
    operator_sessions,
    operators,
    provider_pauses,
    sent_forms,
    webhook_keys,
)
from rushes.store.tables.columns import metadata
from rushes.store.tables.folds import folded_batches, folds
from rushes.store.tables.money import (
    accounts,
    batch_reservations,
    credit_lots,
    day_caps,
    given_back,
    ledger_entries,
    task_resolutions,
)
from rushes.store.tables.outputs import further_files
from rushes.store.tables.provenance import clip_manifests
from rushes.store.tables.request_files import file_batches, request_files
from rushes.store.tables.reuse import clip_looks, reused_items
from rushes.store.tables.service import (
    DELIVERY_STATUSES,
    account_events,
    api_keys,
    archived_files,
    batch_uploads,
    callback_nudges,
    rate_windows,
    render_times,
    uploads,
    webhook_deliveries,
    webhook_endpoints,
    webhook_feeds,
)
from rushes.store.tables.tasks import (
    CLAIMABLE,
    LINKED,
    TROUBLED,
    batch_events,
    batch_labels,
    batch_retries,
    batches,
    contested_remote_ids,
    deleted_videos,
    dispatch_turns,
    last_frames,
    remote_ids,
    task_attempts,
    video_tasks,
    workers,
)
from rushes.store.tables.triggers import (
    APPEND_ONLY_TABLES,
    FOLD_TABLES,
    postgresql_triggers,
    sqlite_triggers,
)

__all__ = [
    "APPEND_ONLY_TABLES",
    "CLAIMABLE",
    "DELIVERY_STATUSES",
    "FOLD_TABLES",
    "LINKED",
    "TROUBLED",
    "account_events",
    "accounts",
    "action_log",
    "api_keys",
    "archived_files",
    "batch_events",
    "batch_gates",
    "batch_labels",
    "batch_reservations",
    "batch_retries",
    "batch_uploads",
    "batches",
    "callback_nudges",
    "clip_judgements",
    "clip_looks",
    "clip_manifests",
    "clip_verdicts",
    "contested_remote_ids",
    "credit_lots",
    "day_caps",
    "deleted_videos",
    "dispatch_turns",
    "file_batches",
    "folded_batches",
    "folds",
    "further_files",
    "given_back",
    "installation_facts",
    "last_frames",
    "ledger_entries",
    "metadata",
    "operator_sessions",
    "operators",
    "postgresql_triggers",
    "provider_pauses",
    "rate_windows",
    "remote_ids",
    "render_times",
    "request_files",
    "reused_items",
    "sent_forms",
    "sqlite_triggers",
    "task_attempts",
    "task_resolutions",
    "uploads",
    "video_tasks",
    "webhook_deliveries",
    "webhook_endpoints",
    "webhook_feeds",
    "webhook_keys",
    "workers",
]
