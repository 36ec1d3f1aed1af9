"""Every event name of rushes, in one place. Logs carry these names; so do the batch's stored events."""

from typing import Final

import structlog

# --- stored with the batch, and sent to its webhook ----------------------------------------------------
BATCH_PROCESSING: Final = "batch.processing"
BATCH_SUCCEEDED: Final = "batch.succeeded"
BATCH_PARTIAL: Final = "batch.partial"
BATCH_FAILED: Final = "batch.failed"
BATCH_CANCELLED: Final = "batch.cancelled"
VIDEO_SUCCEEDED: Final = "video.succeeded"
VIDEO_FAILED: Final = "video.failed"

# --- logged ---------------------------------------------------------------------------------------------
WORKER_STARTED: Final = "worker.started"
WORKER_STOPPED: Final = "worker.stopped"
WORKER_LEASE_LOST: Final = "worker.lease_lost"
TASKS_ADOPTED: Final = "tasks.adopted"
TASKS_RELEASED: Final = "tasks.released"
SUBMIT_THROTTLED: Final = "submit.throttled"
SUBMIT_UNKNOWN: Final = "submit.unknown"
SETTLE_STALE: Final = "settle.stale"
SETTLE_REFUSED: Final = "settle.refused"
PROVIDER_RAISED: Final = "provider.raised"
PROVIDER_LEFT_OUT: Final = "provider.left_out"
PROVIDER_STATE: Final = "provider.state"
DATABASE_TROUBLE: Final = "database.trouble"
CREDITS_EXPIRED: Final = "credits.expired"
SUBMIT_FOUND: Final = "submit.found"
WEBHOOK_FAILED: Final = "webhook.failed"
WEBHOOK_DISABLED: Final = "webhook.disabled"
REQUEST: Final = "request"
REQUEST_FAILED: Final = "request.failed"
DOWNLOAD_BROKEN: Final = "download.broken"
ARCHIVE_FAILED: Final = "archive.failed"
ARCHIVE_REFUSED: Final = "archive.refused"
ARCHIVE_EXPIRED: Final = "archive.expired"
ARCHIVE_AT_RISK: Final = "archive.at_risk"
ARCHIVE_TROUBLE: Final = "archive.trouble"
SERVICE_STARTED: Final = "service.started"
SERVICE_STOPPED: Final = "service.stopped"

# --- metrics, in the names of Prometheus (counters get `_total` from its library) ----------------------
METRIC_TASKS: Final = "rushes_tasks"
METRIC_CREDITS: Final = "rushes_credits"
METRIC_CREDITS_AVAILABLE: Final = "rushes_credits_available"
METRIC_CREDITS_HELD: Final = "rushes_credits_held"
METRIC_UNCONFIRMED: Final = "rushes_unconfirmed_submits"
METRIC_QUEUE_AGE: Final = "rushes_queue_age_seconds"
METRIC_DELIVERIES: Final = "rushes_webhook_deliveries"
METRIC_ARCHIVE_FILES: Final = "rushes_archive_files"
METRIC_ARCHIVE_BYTES: Final = "rushes_archive_bytes"
METRIC_NUDGES: Final = "rushes_callback_nudges"
METRIC_WORKERS: Final = "rushes_live_workers"
METRIC_IN_FLIGHT: Final = "rushes_worker_tasks_in_flight"
METRIC_PROVIDER_STATE: Final = "rushes_provider_state"
METRIC_POLLS: Final = "rushes_polls"
METRIC_SUBMITS: Final = "rushes_submits"
METRIC_POLL_LATENESS: Final = "rushes_poll_lateness_seconds"
METRIC_SETTLE_GROUP: Final = "rushes_settle_group_size"
METRIC_SETTLE_SECONDS: Final = "rushes_settle_seconds"
METRIC_HTTP_REQUESTS: Final = "rushes_http_requests"
METRIC_HTTP_SECONDS: Final = "rushes_http_request_seconds"
METRIC_EVENT_LISTENERS: Final = "rushes_event_listeners"


def logger() -> structlog.stdlib.BoundLogger:
    """The logger of the engine; `wiring` configures where its lines go."""
    log: structlog.stdlib.BoundLogger = structlog.get_logger("rushes")
    return log
