"""Every event and metric name of rushes, in one place.

Logs carry these names, and so do the batch's stored events. What stands under an event's name explains it in
the reference.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    import structlog

# --- stored with the batch, and sent to its webhook ----------------------------------------------------
BATCH_PROCESSING: Final = "batch.processing"
"""The first task of the batch was sent to its provider."""
BATCH_SUCCEEDED: Final = "batch.succeeded"
"""Every task of the batch succeeded."""
BATCH_PARTIAL: Final = "batch.partial"
"""The batch has finished; some of its tasks succeeded and some failed."""
BATCH_FAILED: Final = "batch.failed"
"""The batch has finished; none of its tasks succeeded."""
BATCH_CANCELLED: Final = "batch.cancelled"
"""The batch was cancelled, and its last open task has ended."""
VIDEO_SUCCEEDED: Final = "video.succeeded"
"""A task succeeded; its credits are settled."""
VIDEO_FAILED: Final = "video.failed"
"""A task failed; its credits are refunded."""
VIDEO_STORED: Final = "video.stored"
"""A video is in the archive."""
VIDEO_LOST: Final = "video.lost"
"""A video is not to be had: its link died before it was stored, or what the provider gave was refused."""

# --- logged ---------------------------------------------------------------------------------------------
WORKER_STARTED: Final = "worker.started"
"""A worker has registered itself and takes tasks."""
WORKER_STOPPED: Final = "worker.stopped"
"""A worker has given its tasks and its lease back."""
WORKER_LEASE_LOST: Final = "worker.lease_lost"
"""A worker was silent for longer than its lease, so others may have its tasks; it restarts."""
TASKS_ADOPTED: Final = "tasks.adopted"
"""A worker adopted orphaned tasks."""
TASKS_RELEASED: Final = "tasks.released"
"""A worker gave tasks back, so that others have their share."""
TASKS_MOVED: Final = "tasks.moved"
"""Tasks that waited under an alias were given to another of its models, and why."""
MODELS_CHOSEN: Final = "models.chosen"
"""Tasks that left their model open were given one, by what accepted clips have cost."""
TASKS_WAITED_TOO_LONG: Final = "tasks.waited_too_long"
"""Tasks were not sent within RUSHES_WAIT_SECONDS_MAX, or by their deadline: they failed and are refunded."""
SUBMIT_THROTTLED: Final = "submit.throttled"
"""A provider asked to wait; the task is sent again later."""
SUBMIT_UNKNOWN: Final = "submit.unknown"
"""Nobody can know whether a submit arrived: the task is held, see RUSHES_UNCONFIRMED_POLICY."""
SUBMIT_RAISED: Final = "submit.raised"
"""Our own code failed around a submit: a defect, please report it. The attempt has an outcome anyhow."""
SUBMIT_NAMED_LATE: Final = "submit.named_late"
"""A provider named an attempt that had ended already, or had its id: the log keeps what it is called."""
REMOTE_ID_CLEANED: Final = "submit.id_cleaned"
"""A provider's id for a task has characters that no database stores; it is stored without them."""
REMOTE_ID_CONTESTED: Final = "submit.id_contested"
"""A provider gave an attempt the id of another one: its answers are mixed up. The attempt is unconfirmed."""
SETTLE_STALE: Final = "settle.stale"
"""A result came for an attempt that has ended already; it changed nothing."""
SETTLE_REFUSED: Final = "settle.refused"
"""The database refused a result that it should have taken: a defect, please report it."""
PROVIDER_RAISED: Final = "provider.raised"
"""A provider's code failed; the answer counts as not known."""
PROVIDER_LEFT_OUT: Final = "provider.left_out"
"""A provider of another package could not be used; the others can."""
DATABASE_TROUBLE: Final = "database.trouble"
"""The database is busy or away, or refused; the work is retried."""
CREDITS_EXPIRED: Final = "credits.expired"
"""Lots of bonus credits have passed their expiry."""
SUBMIT_FOUND: Final = "submit.found"
"""The task of a submit that was not confirmed is known: by a callback that a poll confirmed, or by asking."""
SUBMIT_NEVER_TAKEN: Final = "submit.never_taken"
"""The provider was asked about a submit that was not confirmed, and never took it: it is sent again."""
CANCEL_ASKED: Final = "task.cancel_asked"
"""The provider was asked to drop a task of a cancelled batch; `outcome` is what it said."""
SENT_RECORD_TROUBLE: Final = "submit.record_trouble"
"""A worker cannot note what it sends: should it be killed, more of its submits will be unconfirmed."""
SUBMITS_NEVER_SENT: Final = "submit.never_sent"
"""A dead worker had claimed tasks and certainly not sent them; they go back."""
POLL_UNANSWERED: Final = "poll.unanswered"
"""Polls of a provider brought no answer that is understood, for one reason; one line a minute for each."""
WEBHOOK_FAILED: Final = "webhook.failed"
"""A webhook's receiver did not take an event; it is retried, unless that was the last time."""
WEBHOOK_DISABLED: Final = "webhook.disabled"
"""A webhook's receiver answered 410 Gone and gets nothing more."""
REQUEST: Final = "request"
"""An HTTP request was answered."""
REQUEST_FAILED: Final = "request.failed"
"""An HTTP request ended in a defect of the service, and was answered with 500."""
WEAK_SECRET: Final = "secret.weak"  # noqa: S105  # an event's name
"""A secret of the operator could be guessed; a later version refuses to start with it."""
SECRETS_GUESSED: Final = "secrets.guessed"
"""Many wrong secrets of one kind came, from one address or in all; their answers are slowed down."""
DOWNLOAD_BROKEN: Final = "download.broken"
"""A result file's host ended a download before its end."""
JUDGE_FAILED: Final = "judge.failed"
"""The operator's judge gave no answer that counts; it is asked again, unless that was the last time."""
CHAIN_BROKEN: Final = "chain.broken"
"""An item of a chain has no last frame to start the next one from: those after it ended and are refunded."""
LAST_FRAME_FAILED: Final = "chain.frame_failed"
"""The last frame of a stored clip could not be cut for now; it is retried."""
ARCHIVE_FAILED: Final = "archive.failed"
"""A result file could not be fetched or stored; it is retried."""
ARCHIVE_REFUSED: Final = "archive.refused"
"""A result file is no sound video, and will not be stored."""
ARCHIVE_EXPIRED: Final = "archive.expired"
"""A result file's link died before the file was stored."""
ARCHIVE_AT_RISK: Final = "archive.at_risk"
"""A result file is still not stored, and its link dies soon."""
ARCHIVE_TROUBLE: Final = "archive.trouble"
"""The archive takes no files; all wait, and it is retried."""
ARCHIVE_PRUNED: Final = "archive.pruned"
"""Stored files were removed: their time of retention is over, or their videos were deleted."""
BAD_FILE: Final = "file.bad"
"""A success's file is broken, or not of the length or shape that was asked for: see RUSHES_BAD_FILES."""
CUT_SHORT: Final = "pass.cut_short"
"""A bounded pass was over before what it had taken was done: another does it once the claim has run out."""
UPLOADS_PRUNED: Final = "uploads.pruned"
"""Uploads have expired, and no open batch needs them: they were removed."""
BATCHES_FOLDED: Final = "batches.folded"
"""Finished batches past RUSHES_KEEP_DAYS became signed summaries; their rows are gone."""
FOLDING_TROUBLE: Final = "folding.trouble"
"""Finished batches cannot be folded: the database, the signing key, or books that do not add up."""
DASHBOARD_DEFECT: Final = "dashboard.defect"
"""A page of the dashboard could not be made, for a reason that is a defect: its traceback is in the line."""
SERVICE_STARTED: Final = "service.started"
"""The service listens."""
SERVICE_STOPPED: Final = "service.stopped"
"""The service has stopped."""

# --- metrics, in the names of Prometheus (counters get `_total` from its library) ----------------------
METRIC_DATABASE_UP: Final = "rushes_database_up"
METRIC_TASKS: Final = "rushes_tasks"
METRIC_CREDITS: Final = "rushes_credits"
METRIC_CREDITS_AVAILABLE: Final = "rushes_credits_available"
METRIC_CREDITS_HELD: Final = "rushes_credits_held"
METRIC_PROVIDER_COST: Final = "rushes_provider_cost_today"
METRIC_MARGIN: Final = "rushes_margin_today"
METRIC_COST_UNKNOWN: Final = "rushes_cost_unknown_tasks_today"
METRIC_UNCONFIRMED: Final = "rushes_unconfirmed_submits"
METRIC_QUEUE_AGE: Final = "rushes_queue_age_seconds"
METRIC_DELIVERIES: Final = "rushes_webhook_deliveries"
METRIC_ARCHIVE_FILES: Final = "rushes_archive_files"
METRIC_ARCHIVE_BYTES: Final = "rushes_archive_bytes"
METRIC_ARCHIVE_AT_RISK: Final = "rushes_archive_at_risk_files"
METRIC_NUDGES: Final = "rushes_callback_nudges"
METRIC_WORKERS: Final = "rushes_live_workers"
METRIC_IN_FLIGHT: Final = "rushes_worker_tasks_in_flight"
METRIC_PROVIDER_STATE: Final = "rushes_provider_state"
METRIC_POLLS: Final = "rushes_polls"
METRIC_ABOUT_ANOTHER_TASK: Final = "rushes_answers_about_another_task"
METRIC_LINES_PAUSED: Final = "rushes_poll_lines_paused"
METRIC_POLLS_UNANSWERED: Final = "rushes_polls_unanswered"
METRIC_TROUBLED_TASKS: Final = "rushes_troubled_tasks"
METRIC_SUBMITS: Final = "rushes_submits"
METRIC_POLL_LATENESS: Final = "rushes_poll_lateness_seconds"
METRIC_SETTLE_GROUP: Final = "rushes_settle_group_size"
METRIC_SETTLE_SECONDS: Final = "rushes_settle_seconds"
METRIC_HTTP_REQUESTS: Final = "rushes_http_requests"
METRIC_HTTP_SECONDS: Final = "rushes_http_request_seconds"
METRIC_EVENT_LISTENERS: Final = "rushes_event_listeners"


def logger() -> "structlog.stdlib.BoundLogger":
    """The logger of the engine; `wiring` configures where its lines go."""
    return cast("structlog.stdlib.BoundLogger", _LoggerWhenNeeded())


def before_the_first_line(configure: Callable[[], None]) -> None:
    """Run this before anything is logged: at once where structlog is there, otherwise when it comes.

    structlog takes a tenth of a short command's start, and most of them log nothing.
    """
    if "structlog" in sys.modules:
        configure()
    else:
        _waiting.append(configure)


_waiting: list[Callable[[], None]] = []


class _LoggerWhenNeeded:
    """Stands for structlog's logger, and imports structlog at the first line."""

    def __init__(self) -> None:
        self._logger: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._logger is None:
            import structlog

            while _waiting:
                _waiting.pop(0)()
            self._logger = structlog.get_logger("rushes")
        return getattr(self._logger, name)
