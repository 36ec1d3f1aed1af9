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
SUBMIT_THROTTLED: Final = "submit.throttled"
SUBMIT_UNKNOWN: Final = "submit.unknown"
SETTLE_STALE: Final = "settle.stale"
SETTLE_REFUSED: Final = "settle.refused"
PROVIDER_RAISED: Final = "provider.raised"
PROVIDER_STATE: Final = "provider.state"
DATABASE_TROUBLE: Final = "database.trouble"
CREDITS_EXPIRED: Final = "credits.expired"


def logger() -> structlog.stdlib.BoundLogger:
    """The logger of the engine; `wiring` configures where its lines go."""
    log: structlog.stdlib.BoundLogger = structlog.get_logger("rushes")
    return log
