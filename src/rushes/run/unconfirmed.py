"""Submits of unknown outcome: found through a callback, or given up after the grace period."""

from collections.abc import Mapping

from rushes.run.context import UnconfirmedPolicy, WorkerContext
from rushes.run.lane.lane import Lane
from rushes.store import tasks
from rushes.store.tasks import OwnedTask


class Unconfirmed:
    """Follows up the lanes' attempts of which nobody knows whether the provider took them."""

    def __init__(self, context: WorkerContext, lanes: Mapping[str, Lane]) -> None:
        self._context = context
        self._lanes = lanes
        self._grace_ms = int(context.config.unconfirmed_grace_seconds * 1000)

    async def follow_up(self) -> None:
        """Poll those whose remote id became known; give up those past their grace.

        Attempts that are not in flight any more, or not this worker's, are forgotten.
        """
        held = self._held()
        if not held:
            return
        remote_ids = await self._context.database.read(
            tasks.remote_ids_if_owned,
            [(task.task_id, task.attempt) for task in held],
            worker_id=self._context.worker_id,
        )
        for task in held:
            lane = self._lanes[task.provider]
            remote_task_id = remote_ids.get(task.task_id)
            is_still_unknown = task.task_id in remote_ids and remote_task_id is None
            if is_still_unknown or lane.attempts.unconfirmed.get(task.task_id) is not task:
                continue
            del lane.attempts.unconfirmed[task.task_id]
            if remote_task_id is not None:
                lane.poll_found(task, remote_task_id)
        self._give_up_late()

    def _held(self) -> list[OwnedTask]:
        return [task for lane in self._lanes.values() for task in lane.attempts.unconfirmed.values()]

    def _give_up_late(self) -> None:
        committer, now_ms = self._context.committer, self._context.now_ms()
        for task in self._held():
            since_ms = task.dispatched_at_ms if task.unconfirmed_at_ms is None else task.unconfirmed_at_ms
            if now_ms - since_ms < self._grace_ms:
                continue
            del self._lanes[task.provider].attempts.unconfirmed[task.task_id]
            if self._context.config.unconfirmed_policy is UnconfirmedPolicy.RESUBMIT:
                committer.resubmitted(task.task_id, task.attempt)
            else:
                committer.given_up(task.task_id, task.attempt)
