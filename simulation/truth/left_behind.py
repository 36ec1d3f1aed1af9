"""What a worker leaves behind that stops in good order: nothing of which it alone knew."""

from collections.abc import Collection, Iterable

from simulation.truth.broken import broken
from simulation.truth.journal import TaskRow
from simulation.truth.witness import Attempt


def check_record_dropped(tasks: Iterable[TaskRow], worker_id: str, handed: Collection[Attempt]) -> None:
    """The worker says that nobody needs its record of what it handed over: then no claim of its own is left that
    is not in it."""
    for task in tasks:
        if task.worker_id != worker_id or task.status != "processing":
            continue
        is_unnamed = task.remote_task_id is None and task.unconfirmed_at_ms is None
        if is_unnamed and (task.id, task.attempt) not in handed:
            broken("RECORD_DROPPED", f"task {task.id} was never sent: {worker_id} leaves no record of that")
