"""What the polls of a task teach the schedule: how long it rendered, and what was reported of it."""

from rushes.domain.polling.queue import next_queue_mark
from rushes.domain.polling.reports import next_mark
from rushes.domain.polling.schedule import PollSchedule
from rushes.domain.task import Processing
from rushes.run.lane.remote_task import RemoteTask

LEARNED_SHARE = 1 / 16
"""Of a task's age: shorter stretches of rendering are learned together. Its bins are wider."""


def learn_running(schedule: PollSchedule, task: RemoteTask, now: float, said: Processing) -> None:
    """The task was seen rendering, or waiting for it."""
    sent_at = task.sent_at
    seen, task.seen_running_at = task.seen_running_at, now
    if seen is None:
        task.learned_at = now
    elif now - task.learned_at >= LEARNED_SHARE * (now - sent_at):
        _tell_running(schedule, task, until=now)
    progress = said.progress
    if progress is not None and 0 < progress < 100:
        task.mark = next_mark(task.mark, task_number=task.task_id, age_seconds=now - sent_at, value=progress)
    if said.is_queued or task.queue is not None:
        task.queue = next_queue_mark(
            task.queue,
            task_number=task.task_id,
            age_seconds=now - sent_at,
            is_queued=said.is_queued,
            position=said.queue_position,
        )


def learn_end(schedule: PollSchedule, task: RemoteTask, now: float) -> None:
    """The provider said how the task ended, some time since it was last seen rendering."""
    seen = task.seen_running_at
    if seen is None:  # adopted, and not seen rendering here
        return
    if task.learned_at < seen:
        _tell_running(schedule, task, until=seen)
    schedule.saw_end(
        model=task.model,
        after_seconds=seen - task.sent_at,
        by_seconds=now - task.sent_at,
        mark=task.mark,
        queue=task.queue,
    )


def _tell_running(schedule: PollSchedule, task: RemoteTask, *, until: float) -> None:
    sent_at, learned_at = task.sent_at, task.learned_at
    task.learned_at = until
    schedule.saw_running(model=task.model, after_seconds=learned_at - sent_at, by_seconds=until - sent_at)
