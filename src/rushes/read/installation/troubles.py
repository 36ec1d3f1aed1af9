"""Which answers of providers were not understood, over all open tasks: for doctor, metrics and alerts."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from rushes.domain.notation import iso_time
from rushes.domain.trouble import ALERT_SECONDS, is_alert
from rushes.store.tasks import waiting

TROUBLES_LOOKED_AT_MAX: Final = 20_000
"""Open tasks with trouble that are counted; where there are more, the counts are too low."""


@dataclass(frozen=True, slots=True)
class TroubleGroup:
    """Open tasks of one provider with trouble of one kind; `question` is `submit` or `poll`.

    `reason` are one task's words. `lasted_seconds` is for how long one task has had it at most, from its
    first such answer to its last. An alert is more than `ALERT_TASKS` tasks, or one for `ALERT_SECONDS`;
    a task that waits to be sent counts for it only for so long after its last submit.
    """

    provider: str
    question: str
    kind: str
    reason: str
    task_count: int
    since_ms: int
    at_ms: int
    lasted_seconds: float
    is_alert: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "provider": self.provider,
            "question": self.question,
            "kind": self.kind,
            "reason": self.reason,
            "task_count": self.task_count,
            "since": iso_time(self.since_ms),
            "at": iso_time(self.at_ms),
            "lasted_seconds": self.lasted_seconds,
            "is_alert": self.is_alert,
        }

    @property
    def text(self) -> str:
        """The group in one sentence."""
        tasks = "1 task" if self.task_count == 1 else f"{self.task_count:,} tasks"
        return (
            f"{self.provider}: {self.question}s of {tasks} get no answer that is understood, since"
            f" {iso_time(self.since_ms)}: {self.reason} ({self.kind})"
        )


def trouble_groups(connection: Connection, now_ms: int, *, batch_id: int | None = None) -> list[TroubleGroup]:
    """The groups of all batches, or of one, the largest first."""
    recent_ms = now_ms - int(ALERT_SECONDS * 1000)
    groups = [
        TroubleGroup(
            provider=row.provider,
            question="poll" if row.is_polled else "submit",
            kind=row.trouble_kind,
            reason=row.reason,
            task_count=int(row.task_count),
            since_ms=int(row.since_ms),
            at_ms=int(row.at_ms),
            lasted_seconds=int(row.lasted_ms) / 1000,
            is_alert=is_alert(tasks=int(row.current_count), lasted_seconds=int(row.current_ms) / 1000),
        )
        for row in waiting.troubled(
            connection, batch_id=batch_id, recent_ms=recent_ms, looked_at=TROUBLES_LOOKED_AT_MAX
        )
    ]
    return sorted(groups, key=lambda group: (-group.task_count, group.provider, group.kind, group.question))
