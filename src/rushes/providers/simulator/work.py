"""A task as the simulator keeps it, and what a wire may say of it."""

from dataclasses import dataclass

from rushes.providers.simulator.fate import Family, Fate, Outcome


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
    ordinal: int
    seed: int
    fate: Fate
    submitted_at: float
    answered: bool = False
    """Whether the acceptance was answered whole and honestly."""
    requests: int = 0
    """Polls that came, faulty ones included: numbers the draws."""
    polls: int = 0
    downloads: int = 0
    file_fault: str = ""
    """What was wrong with the last answer to a request for its file; empty for a whole file."""
    last_poll_at: float | None = None
    poll_gap_min_seconds: float | None = None
    progress_seen: int = 0
    final_answer: Outcome | None = None
    """The verdict of the first final answer that was sent whole."""
    final_answer_at: float | None = None

    @property
    def finished_at(self) -> float | None:
        """When its render ends, or None for a stuck one."""
        if self.fate.outcome is Outcome.STUCK:
            return None
        return self.submitted_at + self.fate.render_seconds

    def progress_at(self, now: float) -> int:
        """0..99 while it renders: linear in time."""
        if self.fate.render_seconds <= 0:
            return 99
        share = (now - self.submitted_at) / self.fate.render_seconds
        return max(0, min(99, int(100 * share)))


@dataclass(frozen=True, slots=True)
class TaskView:
    """What the service says of a task at one moment.

    `outcome` is None while it renders; `video_url` belongs to a success; `status` replaces the word of
    the protocol when a fault wants a word that the protocol does not have; `progress` is None when a
    fault leaves it out.
    """

    task: SimTask
    outcome: Outcome | None
    progress: int | None
    video_url: str | None = None
    status: str | None = None
