"""Upkeep: what a worker does beside its tasks, a little at a time, for itself and for all workers."""

import asyncio
from collections.abc import Mapping, Sequence

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.domain.forecast import Pace
from rushes.domain.polling.learned_schedule import LearnedSchedule
from rushes.money.accept import fail_unfollowed, fail_waiting, sweep_cancelled
from rushes.money.rebuy import give_up_verdicts
from rushes.money.reuse import end_reused
from rushes.run.adopt import Adoption
from rushes.run.context import WorkerContext
from rushes.run.failover import Failover
from rushes.run.lane.choosing import Choosing
from rushes.run.lane.claim import IN_FLIGHT_TASKS_MAX
from rushes.run.lane.lane import Lane
from rushes.run.shares import Shares
from rushes.run.unconfirmed import Unconfirmed
from rushes.store import keys, ledger, render_times
from rushes.store.acceptance import reuse
from rushes.store.database import Database
from rushes.store.inputs import request_files

PASS_SECONDS_MAX = 1.0
"""The longest pause between two checks for dead workers and unconfirmed submits."""

CLEAN_UP_SECONDS = 5.0
"""How often expired credits and leftovers of cancelled batches are looked for."""

LEARNED_SECONDS = 30.0
"""How often learned render times are saved, and others' read."""

PROGRESS_SECONDS = 2.0
"""How often progress is written, for all tasks at once."""

log = telemetry.logger()


class Upkeep:
    """Adopts, follows up unconfirmed submits, moves what waits, stores progress, and cleans up."""

    def __init__(self, context: WorkerContext, lanes: Mapping[str, Lane], *, shares: Shares) -> None:
        self._context = context
        self._lanes = lanes
        self._shares = shares
        self.adoption = Adoption(context, lanes)
        self.unconfirmed = Unconfirmed(context, lanes)
        self.failover = Failover(
            context.database,
            catalogue=context.catalogue,
            queue_max=context.config.failover_queue_max,
            now_ms=context.now_ms,
            makes_links=context.config.takes_callbacks,  # both need a public base URL
        )
        self.choosing = Choosing(
            context.database,
            catalogue=context.catalogue,
            now_ms=context.now_ms,
            makes_links=context.config.takes_callbacks,
            paces={
                name: Pace(lane.limits.submits_per_second, lane.limits.in_flight_tasks_max)
                for name, lane in lanes.items()
            },
        )

    async def run(self) -> None:
        """Keep at it until cancelled."""
        interval = min(PASS_SECONDS_MAX, self._context.config.lease_seconds / 10)
        progress_at = clean_up_at = learned_at = self._now()
        while True:
            try:
                if self._now() >= learned_at:
                    learned_at = self._now() + LEARNED_SECONDS
                    await self.share_learned()
                in_flight = sum(lane.attempts.in_flight for lane in self._lanes.values())
                await self.adoption.adopt(tasks_max=IN_FLIGHT_TASKS_MAX - in_flight, shares=self._shares)
                await self.unconfirmed.follow_up()
                await self.end_reused()
                if await self.move_waiting():
                    for lane in self._lanes.values():
                        lane.claims.wake()
                if self._now() >= clean_up_at:
                    await self.clean_up()
                    clean_up_at = self._now() + CLEAN_UP_SECONDS
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
            if self._now() >= progress_at:
                self.store_progress()
                progress_at = self._now() + PROGRESS_SECONDS
            await asyncio.sleep(interval)

    async def move_waiting(self) -> int:
        """Choose models that are still to be chosen, and move what waits under an alias to a model that can
        take it; returns how many tasks."""
        now = self._now()
        states = {name: lane.health.state(now) for name, lane in self._lanes.items()}
        chosen = await self.choosing.choose(states)
        return chosen + await self.failover.move_waiting(states)

    async def end_reused(self) -> int:
        """End what waits for the file of an equal item whose source has ended; returns how many."""
        database = self._context.database
        if not await database.read(reuse.any_open):
            return 0
        return await database.transact(
            end_reused, now_ms=self._context.now_ms(), on_success=self._context.committer.before_closing
        )

    async def clean_up(self) -> None:
        """Clean up what any worker may for all."""
        context = self._context
        await clean_up(
            context.database,
            providers=list(self._lanes),
            wait_ms_max=int(context.config.wait_seconds_max * 1000),
            now_ms=context.now_ms(),
        )

    async def share_learned(self) -> None:
        """Save what was learned of render times and take over what other workers have learned."""
        context = self._context
        if isinstance(context.schedule, LearnedSchedule):
            learned = context.schedule.take_unsaved()
            stored = await context.database.transact(render_times.merge, learned, now_ms=context.now_ms())
            context.schedule.put_saved(stored)

    def store_progress(self) -> None:
        """Hand progress, and why polls brought none, over to be committed."""
        committer = self._context.committer
        for lane in self._lanes.values():
            rows = lane.poller.take_progress()
            if rows:
                committer.progress(rows)
            if committer.takes_troubles:  # while the database is away they wait in their pollers
                troubles = lane.poller.take_troubles(self._context.now_ms())
                if troubles:
                    committer.troubled(troubles)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def clean_up(database: Database, *, providers: Sequence[str], wait_ms_max: int, now_ms: int) -> None:
    """Empty expired lots, forget past minutes of keys, end leftovers of batches and what waited for too long.

    A transaction for each: in a single one accounts would be locked before tasks.
    """
    database.take_over_checkpoints()
    expired = await database.transact(ledger.expire_lots, now_ms)
    await database.transact(request_files.remove_expired, now_ms)
    await database.transact(keys.forget_windows, now_ms=now_ms)
    await database.transact(sweep_cancelled, now_ms=now_ms)
    await database.transact(give_up_verdicts, now_ms)
    late = await database.transact(fail_waiting, wait_ms_max=wait_ms_max, now_ms=now_ms)
    late += await database.transact(
        fail_unfollowed, providers=providers, wait_ms_max=wait_ms_max, now_ms=now_ms
    )
    if expired:
        log.info(telemetry.CREDITS_EXPIRED, lots=expired)
    if late:
        log.warning(telemetry.TASKS_WAITED_TOO_LONG, count=late)
