"""What is not understood is seen: a task whose polls bring no answer says so in its row within a minute."""

from collections.abc import Callable
from typing import Final

from simulation.truth.broken import broken

SEEN_SECONDS: Final = 60.0
"""From the first such answer to the row, and to all that read it."""


class Seen:
    """`is_written(task_id)` tells whether the task's row has a reason; `was_away(since)` whether the database has
    been since then, at least for a moment."""

    def __init__(self, *, is_written: Callable[[int], bool], was_away: Callable[[float], bool]) -> None:
        self._is_written, self._was_away = is_written, was_away
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
        since = self._since.setdefault(key, now)
        if now - since < SEEN_SECONDS or self._was_away(since):
            return
        if not self._is_written(task_id):
            broken(
                "UNSEEN", f"task {task_id} has had no answer for {now - since:.0f} s: its row says nothing"
            )
