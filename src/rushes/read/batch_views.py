"""A batch as the world sees it. What is imported here slows the start of every look at the batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, assert_never

import msgspec

from rushes.domain.notation import iso_time

if TYPE_CHECKING:
    from rushes.read.holding import Hold


class WaitKind(StrEnum):
    """What items of a batch wait for."""

    RENDERING = "rendering"
    CANCELLED = "cancelled"
    EQUAL_ITEMS = "equal items"
    PLACE = "place"
    TO_BE_SENT = "to be sent"
    UNCONFIRMED = "unconfirmed"
    NOT_KNOWN = "not known"
    LAST_ANSWER = "last answer"
    NO_WORKER = "no worker"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Wait:
    """What `count` items wait for; what holds up a whole batch (`NO_WORKER`, `HELD`) is not counted.

    `limit` is how many are at the provider at a time, or are sent to it in a second; `decided_at` the minute
    in UTC by which it is over.
    """

    kind: WaitKind
    count: int = 0
    provider: str = ""
    limit: float | None = None
    decided_at: str = ""
    hold: "Hold | None" = None

    @property
    def words(self) -> str:
        """It in English."""
        match self.kind:
            case WaitKind.RENDERING | WaitKind.CANCELLED:
                return f"{self.count:,} {self.kind}"
            case WaitKind.EQUAL_ITEMS:
                return f"{self.count:,} waiting for equal items"
            case WaitKind.PLACE:
                return (
                    f"{self.count:,} waiting for a place at {self.provider} ({self.limit or 0:.0f} at a time)"
                )
            case WaitKind.TO_BE_SENT:
                pace = f" ({self.limit:g} a second)" if self.limit else ""
                return f"{self.count:,} to be sent to {self.provider}{pace}"
            case WaitKind.UNCONFIRMED:
                return f"{self.count:,} unconfirmed, decided by {self.decided_at}"
            case WaitKind.NOT_KNOWN:
                return f"{self.count:,} not known to {self.provider} yet, decided by {self.decided_at}"
            case WaitKind.LAST_ANSWER:
                return f"{self.count:,} past the deadline, waiting for a last answer"
            case WaitKind.NO_WORKER:
                return f"no worker polls {self.provider}"
            case WaitKind.HELD:
                return f"held: {self.hold.words if self.hold else ''}"
            case other:
                assert_never(other)


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until a batch is done, half of the time sooner; None when it cannot be known. And what for."""

    seconds: float | None
    waits: tuple[Wait, ...] = ()

    @property
    def reason(self) -> str | None:
        """What the batch waits for, in English: `82 rendering; 1 unconfirmed, decided by 21:40 UTC`."""
        return "; ".join(wait.words for wait in self.waits) or None


DONE: Final = Eta(0.0)


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
