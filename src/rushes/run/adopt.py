"""Adoption: the tasks of dead workers, and those of this worker's own that it does not know of."""

import contextlib
from collections.abc import Mapping, Sequence

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.run.context import WorkerContext
from rushes.run.lane.lane import Lane
from rushes.run.shares import Shares
from rushes.store import workers
from rushes.store.tasks import OwnedTask

ADOPT_TASKS_MAX = 10_000
"""Tasks adopted in one transaction; a worker takes as many transactions as it needs."""

log = telemetry.logger()


class Adoption:
    """Gives the lanes tasks that nobody works on."""

    def __init__(self, context: WorkerContext, lanes: Mapping[str, Lane]) -> None:
        self._context = context
        self._lanes = lanes
        self._claimed_by: Mapping[tuple[int, int], str] = {}

    async def adopt(self, *, tasks_max: int, shares: Shares | None = None) -> int:
        """Take over tasks of dead workers, at most `tasks_max`; returns how many.

        With `shares` no more of each provider than is this worker's share.
        """
        database, now_ms = self._context.database, self._context.now_ms
        if any(lane.attempts.is_in_doubt for lane in self._lanes.values()):
            async with contextlib.nullcontext() if shares is None else shares.ownership_lock:
                await self._recall()
        if not await database.read(workers.any_dead, self._context.worker_id, now_ms=now_ms()):
            if shares is not None:
                shares.nothing_is_free()
            return 0
        rooms: Mapping[str, int] = dict.fromkeys(self._lanes, tasks_max)
        if shares is not None:
            rooms = shares.adoptable(await database.read(workers.survey, now_ms()))
        if tasks_max > 0 and any(rooms.values()):
            me = self._context.worker_id
            self._claimed_by = await database.read(workers.unanswered_of_dead, me, now_ms=now_ms())
        total = 0
        for provider, room in rooms.items():
            total += await self._adopt(provider, min(room, tasks_max - total))
        if total:
            log.info(telemetry.TASKS_ADOPTED, count=total)
        return total

    async def _adopt(self, provider: str, tasks_max: int) -> int:
        total = 0
        while total < tasks_max:
            room = min(ADOPT_TASKS_MAX, tasks_max - total)
            try:
                adopted = await self._context.database.transact(
                    workers.adopt,
                    self._context.worker_id,
                    providers=[provider],
                    now_ms=self._context.now_ms(),
                    limit=room,
                )
            except StoreError:
                self._lanes[provider].attempts.is_in_doubt = True
                raise
            self._give(adopted)
            self._return_never_sent(adopted)
            total += len(adopted)
            if len(adopted) < room:
                break
        return total

    def _return_never_sent(self, adopted: Sequence[OwnedTask]) -> None:
        """Give back what dead workers had claimed and certainly not sent; the rest stays unconfirmed."""
        claimed: dict[str, list[tuple[int, int]]] = {}
        lane_of = {task.task_id: self._lanes[task.provider] for task in adopted}
        for task in adopted:
            claimer = self._claimed_by.get((task.task_id, task.attempt))
            if task.remote_task_id is None and claimer is not None:
                claimed.setdefault(claimer, []).append((task.task_id, task.attempt))
        for worker_id, attempts in claimed.items():
            never_sent = self._context.records.never_sent(worker_id, attempts)
            for task_id, attempt in sorted(never_sent):
                # not held any more: its grace may be over by now
                lane_of[task_id].attempts.unconfirmed.pop(task_id, None)
                self._context.committer.returned(task_id, attempt)
            if never_sent:
                log.info(telemetry.SUBMITS_NEVER_SENT, count=len(never_sent), worker_id=worker_id)

    async def _recall(self) -> None:
        """Work on the tasks that are this worker's and that it does not know of.

        Their adoption was committed although the database's answer was lost, they became known at the moment
        when they were given up, the database refused their ends, or the answer to their release was lost,
        and it was not committed. Nobody else would ever look after them.
        """
        self._set_doubt(False)
        adrift = set[tuple[int, int]]().union(*(lane.attempts.adrift for lane in self._lanes.values()))
        try:
            owned = await self._context.database.read(
                workers.owned_in_flight,
                self._context.worker_id,
                providers=list(self._lanes),
                adrift=sorted(adrift),
            )
        except StoreError:
            self._set_doubt(True)
            raise
        for lane in self._lanes.values():
            lane.attempts.adrift -= adrift
        unknown = [task for task in owned if task.task_id not in self._lanes[task.provider].attempts]
        now_ms = self._context.now_ms()
        for number, task in enumerate(unknown):
            # of what is adrift the database does not say since when: its grace starts now
            if task.is_unanswered:
                unknown[number] = task._replace(unconfirmed_at_ms=now_ms)
        self._give(unknown)
        self._return_never_sent(unknown)

    def _set_doubt(self, is_in_doubt: bool) -> None:
        for lane in self._lanes.values():
            lane.attempts.is_in_doubt = is_in_doubt

    def _give(self, tasks: Sequence[OwnedTask]) -> None:
        # adopted tasks come all at once; their first polls are spread out
        config, draw = self._context.config, self._context.jitter.random
        in_flight = len(tasks) + sum(lane.attempts.in_flight for lane in self._lanes.values())
        spread_seconds = max(config.adopted_spread_seconds, in_flight / config.adopted_polls_per_second)
        for task in tasks:
            self._lanes[task.provider].adopt(task, first_delay_seconds=draw() * spread_seconds)
