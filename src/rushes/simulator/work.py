"""A task as the simulator keeps it, and what a wire may say of it."""

from dataclasses import dataclass

from rushes.simulator.fate import Family, Fate, Outcome
from rushes.simulator.gateways import Dialect


@dataclass(slots=True, kw_only=True)
class SimTask:
    """One accepted task. Times are seconds on the caller's clock; `seed` drives its faults."""

    id: str
    wire: str
    model: str
    family: Family
    prompt: str
    marker: str
    callback_url: str | None
    portrait: bool
    duration_seconds: int
    resolution: str = ""
    input_images: int = 0
    ordinal: int
    seed: int
    fate: Fate
    submitted_at: float
    submit_key: str = ""
    videos: int = 1
    """How many it makes, each a file of its own."""
    wants_last_frame: bool = False
    is_inline: bool = False
    """Whether its files come in its last answer."""
    callback_progress: bool = True
    place: int = 0
    """Its number in its model's queue, from 1; 0 where there is none."""
    started_at: float | None = None
    """When it started to render; None while it waits in its model's queue."""
    cancelled_at: float | None = None
    dialect: Dialect | None = None
    """The shapes in which its answers come, where the protocol has dialects."""
    reason_told: str = ""
    """The reason of its failure, in the last answer that gave one in a dialect."""
    answered: bool = False
    """Whether the acceptance was answered whole and honestly."""
    requests: int = 0
    """Polls that came, faulty ones included: numbers the draws."""
    polls: int = 0
    cancels: int = 0
    finds: int = 0
    downloads: int = 0
    content_requests: int = 0
    file_fault: str = ""
    """What was wrong with the last answer to a request for its file; empty for a whole file."""
    last_poll_at: float | None = None
    poll_gap_min_seconds: float | None = None
    progress_seen: int = 0
    final_answer: Outcome | None = None
    """The verdict of the first final answer that was sent whole."""
    final_answer_at: float | None = None
    charged: float | None = None
    """What that verdict said that the task was charged."""

    @property
    def finished_at(self) -> float | None:
        """When its render ends, or None for a stuck one and while that is not known."""
        if self.cancelled_at is not None:
            return self.cancelled_at
        if self.fate.outcome is Outcome.STUCK or self.started_at is None:
            return None
        return self.started_at + self.fate.render_seconds

    def progress_at(self, now: float) -> int:
        """0..99 while it renders: linear in time."""
        if self.started_at is None:
            return 0
        if self.fate.render_seconds <= 0:
            return 99
        share = (now - self.started_at) / self.fate.render_seconds
        return max(0, min(99, int(100 * share)))


@dataclass(frozen=True, slots=True)
class TaskView:
    """What the service says of a task at one moment.

    `outcome` is None while it renders; `video_url` belongs to a success; `status` replaces the word of
    the protocol when a fault wants a word that the protocol does not have; `progress` is None when a
    fault leaves it out. `waits` says that it has not started to render, and `position` then
    how many wait before it.
    """

    task: SimTask
    outcome: Outcome | None
    progress: int | None
    video_url: str | None = None
    status: str | None = None
    waits: bool = False
    position: int = 0
