"""Conditions that guard a change of tasks in flight; each joins `video_tasks` to a group's rows `v`."""

from sqlalchemy import Connection

from rushes.store.database import Rows, unindexed

ATTEMPTS = Rows(id=int, attempt=int)
"""`(task_id, attempt)`."""


NO_TROUBLE = (
    "trouble_kind = NULL, trouble_reason = NULL, trouble_count = NULL, trouble_since_ms = NULL,"
    " trouble_at_ms = NULL"
)
"""Assignments: an answer was understood, and the task's trouble is over."""


def still_at_attempt(connection: Connection) -> str:
    """Its attempt is the one of `v`, and has not ended."""
    status = unindexed(connection, "video_tasks.status")
    return f"video_tasks.id = v.id AND +video_tasks.attempt = v.attempt AND {status} = 'processing'"


def still_owned(connection: Connection) -> str:
    """And the task is still that of the worker `:worker_id`."""
    worker = unindexed(connection, "video_tasks.worker_id")
    return f"{still_at_attempt(connection)} AND {worker} = :worker_id"
