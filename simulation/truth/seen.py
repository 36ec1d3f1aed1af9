"""What is not understood is seen: a task whose polls bring no answer says so in its row within a minute."""

from collections.abc import Callable
from typing import Final

from simulation.truth.broken import broken

SEEN_SECONDS: Final = 60.0
"""From the first such answer to the row, and to all that read it."""


class Seen:
    """`is_written(task_id)` tells whether the task's row has a reason; `away_until(worker_id)` when the database
    was, or will be, last away, for all or for the worker's commits."""

    def __init__(self, *, is_written: Callable[[int], bool], away_until: Callable[[str], float]) -> None:
        self._is_written, self._away_until = is_written, away_until
        self._since: dict[tuple[str, int, str], float] = {}

    def heard(
        self,
        worker_id: str,
        remote_task_id: str,
        *,
        task_id: int,
        adoptions: int,
        is_answer: bool,
        now: float,
    ) -> None:
        """The worker has polled the task, which it follows since so many adoptions: one that was given away and
        taken back is followed anew."""
        key = (worker_id, adoptions, remote_task_id)
        if is_answer:
            self._since.pop(key, None)
            return
        since = max(self._since.setdefault(key, now), self._away_until(worker_id))
        if now - since < SEEN_SECONDS:
            return
        if not self._is_written(task_id):
            broken(
                "UNSEEN", f"task {task_id} has had no answer for {now - since:.0f} s: its row says nothing"
            )
