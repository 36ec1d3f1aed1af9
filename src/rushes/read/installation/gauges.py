"""Numbers about the whole installation, read from the database for the metrics page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from rushes.domain.archive import ALERT_SECONDS
from rushes.read.installation.troubles import TroubleGroup, trouble_groups
from rushes.store import archive, deliveries, nudges, workers

PROVIDER_STATES = ("closed", "held", "open", "half_open", "paused")


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a live worker last said of itself; see `Worker.report`."""

    worker_id: str
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gauges:
    """One look at the database. Ages are in seconds; None when the queue is empty."""

    tasks: dict[str, int]
    credits: dict[str, int]
    credits_available: int
    credits_held: int
    unconfirmed_count: int
    queue_age_seconds: dict[str, float]
    deliveries: dict[str, int]
    archive_due_count: int
    archive_at_risk_count: int
    nudge_count: int
    troubles: Sequence[TroubleGroup]
    workers: Sequence[WorkerReport]


def read_gauges(connection: Connection, now_ms: int) -> Gauges:
    """Everything at once. No sum runs over all tasks or over the ledger."""
    tasks, batch_credits = _of_batches(connection)
    available, held = (
        int(value)
        for value in connection.execute(
            text("SELECT COALESCE(SUM(available), 0), COALESCE(SUM(held), 0) FROM accounts")
        ).one()
    )
    lots = {
        row[0]: int(row[1])
        for row in connection.execute(text("SELECT kind, SUM(amount) FROM credit_lots GROUP BY kind"))
    }
    unconfirmed_count, unconfirmed_since_ms = connection.execute(
        text(
            "SELECT COUNT(*), MIN(unconfirmed_at_ms) FROM video_tasks"
            " WHERE status = 'processing' AND unconfirmed_at_ms IS NOT NULL"
        )
    ).one()
    delivery_counts, delivery_since_ms = deliveries.counts(connection)
    due_files = archive.due_files(connection, dies_before_ms=now_ms + int(ALERT_SECONDS * 1000))
    since_ms = {
        "pending_tasks": _pending_since_ms(connection),
        "unconfirmed_submits": unconfirmed_since_ms,
        "webhook_deliveries": delivery_since_ms,
        "archive_files": due_files.since_ms,
    }
    return Gauges(
        tasks=tasks,
        credits={
            "purchase": lots.get("permanent", 0),
            "bonus": lots.get("bonus", 0),
            **batch_credits,
            # what was granted and is neither there, nor held, nor spent has expired or was adjusted
            "expire": sum(lots.values()) - available - held - batch_credits["settle"],
        },
        credits_available=available,
        credits_held=held,
        unconfirmed_count=int(unconfirmed_count),
        queue_age_seconds={
            queue: 0.0 if at_ms is None else max(0, now_ms - at_ms) / 1000
            for queue, at_ms in since_ms.items()
        },
        deliveries=delivery_counts,
        archive_due_count=due_files.count,
        archive_at_risk_count=due_files.at_risk,
        nudge_count=nudges.count(connection),
        troubles=trouble_groups(connection, now_ms),
        workers=[
            WorkerReport(str(row["id"]), decoded_report(str(row["report"])))
            for row in workers.live_workers(connection, now_ms)
        ],
    )


def _of_batches(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    """All tasks by status, and the credits that their batches reserved, settled and refunded."""
    row = connection.execute(
        text(
            "SELECT COALESCE(SUM(pending_count), 0), COALESCE(SUM(processing_count), 0),"
            " COALESCE(SUM(succeeded_count), 0), COALESCE(SUM(failed_count), 0),"
            " COALESCE(SUM(credits_reserved), 0), COALESCE(SUM(credits_settled), 0),"
            " COALESCE(SUM(credits_refunded), 0) FROM batches"
        )
    ).one()
    sums = [int(value) for value in row]
    tasks = dict(zip(("pending", "processing", "succeeded", "failed"), sums[:4], strict=True))
    return tasks, dict(zip(("reserve", "settle", "refund"), sums[4:], strict=True))


def _pending_since_ms(connection: Connection) -> int | None:
    found: int | None = connection.scalar(
        text("SELECT MIN(created_at_ms) FROM batches WHERE pending_count > 0 AND cancelled_at_ms IS NULL")
    )
    return found


def decoded_report(report: str) -> dict[str, Any]:
    """A worker's report; nothing for one of a version that wrote something else."""
    try:
        decoded = msgspec.json.decode(report)
    except msgspec.DecodeError:
        return {}
    return decoded if isinstance(decoded, dict) else {}
