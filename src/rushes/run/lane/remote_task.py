"""A task at its provider, as a worker holds it in memory, and the counts of its polls."""

from functools import lru_cache
from math import inf
from typing import NamedTuple

from rushes.domain.polling.queue import QueueMark
from rushes.domain.polling.reports import Mark

UNLISTED_SOFT_DEADLINE_SECONDS = 1800.0
UNLISTED_HARD_DEADLINE_SECONDS = 7200.0
"""Deadlines of tasks whose model has left the catalogue since they were sent."""


NEVER = -inf
"""One object for all tasks: each computed number takes 32 bytes."""


class ModelTimes(NamedTuple):
    """What the tasks of a model have in common: how long after they were sent they are late, and over."""

    model: str
    soft_deadline_seconds: float = UNLISTED_SOFT_DEADLINE_SECONDS
    hard_deadline_seconds: float = UNLISTED_HARD_DEADLINE_SECONDS


model_times = lru_cache(maxsize=1000)(ModelTimes)
"""The same object for the same numbers."""


class RemoteTask:
    """A task in flight, as small as it can be: a hundred thousand of them live in memory."""

    __slots__ = (
        "attempt",
        "due",
        "errors",
        "host",
        "is_drop_asked",
        "is_dropped",
        "learned_at",
        "mark",
        "misses",
        "not_found_from",
        "polls",
        "progress",
        "queue",
        "rate",
        "remote_task_id",
        "seen_running_at",
        "sent_at",
        "settling",
        "stored_progress",
        "task_id",
        "times",
    )

    def __init__(
        self,
        *,
        task_id: int,
        attempt: int,
        times: ModelTimes,
        remote_task_id: str,
        progress: int,
        sent_at: float,
        is_adopted: bool = False,
        host: str | None = None,
        not_found_from: float = NEVER,
    ) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.times = times
        self.remote_task_id = remote_task_id
        self.host = host  # None: where the provider is now
        self.progress: int = progress
        self.stored_progress: int = progress
        self.sent_at = sent_at
        # from when on "there is no such task" counts: at once when the provider has been seen to know it
        self.not_found_from = not_found_from
        # when it was last known to render; an adopted task must first be seen doing so here
        self.seen_running_at: float | None = None if is_adopted else sent_at
        self.learned_at = sent_at  # up to when the schedule knows that it rendered
        self.mark: Mark | None = None
        self.queue: QueueMark | None = None  # set once it was seen waiting at its provider
        self.rate = 0.0
        self.due = NEVER  # its heap entry of this time counts; none while it is asked about
        self.polls = 0
        self.errors = 0
        self.settling = False
        # its provider was asked to drop it, and says that it did: from then on "no such task" counts at once
        self.is_drop_asked = self.is_dropped = False
        self.misses = 0  # answers in a row that said that there is no such task

    def __lt__(self, _other: "RemoteTask") -> bool:
        """Heap entries of one time may come in any order, also one of the same task that counts no more."""
        return False

    @property
    def model(self) -> str:
        """The model's name."""
        return self.times.model

    @property
    def hard_deadline(self) -> float:
        """When it is over, by the event loop's clock."""
        return self.sent_at + self.times.hard_deadline_seconds


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
