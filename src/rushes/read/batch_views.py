"""A batch as the world sees it. What is imported here slows the start of every look at the batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rushes.domain.notation import iso_time


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until a batch is done, half of the time sooner; None when it cannot be known. And why."""

    seconds: float | None
    reason: str | None


DONE: Final = Eta(0.0, None)


def batch_view(row: Mapping[str, Any], *, eta: Eta) -> dict[str, Any]:
    """A batch's row as `GET /v1/batches/{id}` answers it (without `ok`)."""
    return {
        "batch_id": row["public_id"],
        "request_id": row["request_id"],
        "name": row["name"],
        "metadata": None if row["metadata"] is None else msgspec.json.decode(row["metadata"]),
        "status": row["status"],
        "total_count": row["total_count"],
        "succeeded_count": row["succeeded_count"],
        "failed_count": row["failed_count"],
        "processing_count": row["processing_count"],
        "pending_count": row["pending_count"],
        "cost_per_video": row["cost_per_video"],
        "credits_reserved": row["credits_reserved"],
        "credits_settled": row["credits_settled"],
        "credits_refunded": row["credits_refunded"],
        "created_at": iso_time(row["created_at_ms"]),
        "completed_at": iso_time(row["completed_at_ms"]),
        "eta_seconds": eta.seconds,
        "eta_reason": eta.reason,
    }
