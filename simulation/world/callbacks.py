"""Callbacks of the simulated service, and the callback route of the workers' processes.

The route does what the HTTP route does: it checks the token, offers the callback to the worker of its own
process, and leaves it in the database when that is not the task's owner.
"""

from functools import partial

from rushes.domain.callback_tokens import attempt_of_token
from rushes.domain.errors import StoreError
from rushes.simulator import Callback
from rushes.store import nudges
from simulation.truth.witness import Attempt
from simulation.world.ground import Ground
from simulation.world.kinds import CallbackStorm
from simulation.world.process import Process
from simulation.world.slot import CALLBACK_KEY, Fleet, providers


class Postman:
    """Brings the service's callbacks to a worker's process, whichever the load balancer picks."""

    def __init__(self, world: Ground, fleet: Fleet) -> None:
        self._world, self._fleet = world, fleet
        self._planned_at: float | None = None
        self.delivered = 0

    def plan(self) -> None:
        """Look when the next callback is due."""
        due_at = self._world.service.next_callback_at()
        if due_at is not None and (self._planned_at is None or due_at < self._planned_at):
            self._planned_at = due_at
            self._world.at(due_at, self._deliver)

    def _deliver(self) -> None:
        self._planned_at = None
        world = self._world
        for callback in world.service.due_callbacks(world.loop.time()):
            process = self._fleet.some_process()
            if process is not None:
                self.delivered += 1
                world.log("callback", process.name, callback.kind.value, callback.task_id)
                storm = world.storm
                if storm is None or world.random.random() >= storm.share:
                    process.spawn(partial(receive, process, callback))
                else:
                    self._storm(process, callback, storm)
        self.plan()

    def _storm(self, process: Process, callback: Callback, storm: CallbackStorm) -> None:
        """It comes again and again, and may name another attempt's remote task first."""
        world = self._world
        provider_name, token = callback.url.rsplit("/", 2)[1:]
        foreign = None
        if world.random.random() < storm.foreign:
            foreign = self._another_at(provider_name, attempt_of_token(CALLBACK_KEY, token))
        process.spawn(partial(receive, process, callback, foreign=foreign))
        for number in range(1, storm.times):
            world.later(number * storm.seconds, process.spawn, partial(receive, process, callback))

    def _another_at(self, provider_name: str, attempt: Attempt | None) -> str | None:
        """A remote id that is stored of another task at the same provider and host."""
        submissions = self._world.witness.submissions
        if attempt not in submissions:
            return None
        ids = [
            task.remote_task_id
            for task in self._world.life.tasks.values()
            if task.remote_task_id is not None
            and task.provider == provider_name
            and submissions[task.id, task.attempt].host == submissions[attempt].host
        ]
        return self._world.random.choice(ids) if ids else None


async def receive(process: Process, callback: Callback, *, foreign: str | None = None) -> None:
    """The route `POST /callbacks/{provider}/{token}`, without HTTP; with `foreign` its body names that task."""
    provider_name, token = callback.url.rsplit("/", 2)[1:]
    attempt = attempt_of_token(CALLBACK_KEY, token)
    worker = process.worker
    if attempt is None or worker is None:
        return
    task_id, number = attempt
    process.world.witness.nudged(task_id)
    if process.receivers is None:
        process.receivers = providers(process, process.host)
    provider = process.receivers[provider_name]
    remote_task_id = foreign or provider.remote_task_id_of_callback(callback.body)
    if worker.nudges.offer(task_id, attempt=number, remote_task_id=remote_task_id):
        return
    try:
        await process.database.transact(
            nudges.put, task_id, attempt=number, remote_task_id=remote_task_id, now_ms=process.now_ms()
        )
    except StoreError:
        return  # the route answers 503; the service may call again
