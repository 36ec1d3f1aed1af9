"""A task at its provider, as a worker holds it in memory, and the counts of its polls."""

from math import inf

from rushes.domain.polling.progress import ProgressMark

UNLISTED_SOFT_DEADLINE_SECONDS = 1800.0
UNLISTED_HARD_DEADLINE_SECONDS = 7200.0
"""Deadlines of tasks whose model has left the catalogue since they were sent."""


class RemoteTask:
    """A task in flight, as small as it can be: a hundred thousand of them live in memory."""

    __slots__ = (
        "attempt",
        "due",
        "entry",
        "errors",
        "hard_deadline",
        "host",
        "is_drop_asked",
        "is_dropped",
        "learned_at",
        "mark",
        "misses",
        "model",
        "not_found_from",
        "polls",
        "progress",
        "rate",
        "remote_task_id",
        "seen_running_at",
        "sent_at",
        "settling",
        "soft_deadline",
        "stored_progress",
        "task_id",
    )

    def __init__(
        self,
        *,
        task_id: int,
        attempt: int,
        model: str,
        remote_task_id: str,
        progress: int,
        sent_at: float,
        soft_deadline: float,
        hard_deadline: float,
        is_adopted: bool = False,
        host: str | None = None,
        not_found_from: float = -inf,
    ) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.model = model
        self.remote_task_id = remote_task_id
        self.host = host  # None: where the provider is now
        self.progress: int = progress
        self.stored_progress: int = progress
        self.sent_at = sent_at
        # from when on "there is no such task" counts: at once when the provider has been seen to know it
        self.not_found_from = not_found_from
        self.soft_deadline = soft_deadline
        self.hard_deadline = hard_deadline
        # when it was last known to render; an adopted task must first be seen doing so here
        self.seen_running_at: float | None = None if is_adopted else sent_at
        self.learned_at = sent_at  # up to when the schedule knows that it rendered
        self.mark: ProgressMark | None = None
        self.rate = 0.0
        self.due = 0.0
        self.entry = 0  # the number of its heap entry that counts
        self.polls = 0
        self.errors = 0
        self.settling = False
        # its provider was asked to drop it, and says that it did: from then on "no such task" counts at once
        self.is_drop_asked = self.is_dropped = False
        self.misses = 0  # answers in a row that said that there is no such task


class PollCounts:
    """What a worker's polls have come to, for reports.

    `about_another_task` is how many answers were to another question: those over lines are asked for again,
    all others are among the `transient_errors`. `lines_paused` is how often lines were given up for that.
    """

    __slots__ = (
        "about_another_task",
        "failed",
        "lines_paused",
        "processing",
        "scanned",
        "succeeded",
        "transient_errors",
    )

    def __init__(self) -> None:
        self.scanned = self.processing = self.succeeded = self.failed = self.transient_errors = 0
        self.about_another_task = self.lines_paused = 0

    def as_dict(self) -> dict[str, int]:
        """JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}
