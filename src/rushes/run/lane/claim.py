"""Claiming: how many pending tasks a lane takes now, and when it looks again."""

import asyncio
from math import inf

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.providers.base import Provider, prepare_submits
from rushes.providers.health import ProviderHealth
from rushes.run.context import WorkerContext
from rushes.run.lane.attempts import Attempts
from rushes.run.lane.fairness import claim_fairly
from rushes.run.lane.limits import RateLimit
from rushes.store import tasks
from rushes.store.tasks import ClaimedTask, turns

CLAIM_TASKS_MAX = 64
"""Tasks of one claim, each of which leaves as soon as it is committed."""

CLAIM_INTERVAL_SECONDS = 0.02
"""With a rate limit, the shortest time between two claims: at a thousand submits a second, each claim takes
what may go by then, and not one task at a time."""

IDLE_SECONDS = 0.5
"""How long a lane with nothing to claim waits before it looks again."""

IN_FLIGHT_TASKS_MAX = 200_000
"""Tasks in flight that one worker holds in memory."""

log = telemetry.logger()


class Claims:
    """Claims pending tasks of one provider, each when it can leave at once.

    `host` is where the provider is, as the tasks' rows will have it.
    """

    def __init__(
        self,
        context: WorkerContext,
        attempts: Attempts,
        *,
        provider: Provider,
        health: ProviderHealth,
        host: str | None = None,
    ) -> None:
        self.claimed_total = 0
        self.is_stopped = False
        self.found_nothing = False
        self.limit = RateLimit(provider.limits.submits_per_second)
        self._context = context
        self._attempts = attempts
        self._provider = provider
        self._limits = limits = provider.limits
        self._in_flight_max = min(limits.in_flight_tasks_max or IN_FLIGHT_TASKS_MAX, IN_FLIGHT_TASKS_MAX)
        self._limits_of_models = {
            model.name: model.limits
            for model in context.catalogue
            if model.provider == provider.name and model.limits is not None
        }
        self._health = health
        self._host = host
        self._is_in_doubt = False
        self._claiming: asyncio.Future[list[ClaimedTask]] | None = None
        self._may_be_more = True
        self._claimed_at = -inf
        self._wake = asyncio.Event()

    # --- when to look -----------------------------------------------------------------------------------

    def use_rate(self, submits_per_second: float | None) -> None:
        """A new limit from now on: None for no limit, 0 to claim nothing. Once stopped it stays 0."""
        self.limit.change(0.0 if self.is_stopped else submits_per_second)
        self._wake.set()

    def wake(self) -> None:
        """Look for pending tasks now: there are new ones."""
        self._wake.set()

    def wake_if_more(self) -> None:
        """There is room again: look now, unless the last look left nothing behind."""
        if self._may_be_more:
            self._wake.set()

    def stop(self) -> None:
        """Claim no more after the claim in hand."""
        self.is_stopped = True
        self.use_rate(0.0)

    def start_looking(self) -> None:
        """Before a claim: a batch that comes meanwhile is looked for again."""
        self._wake.clear()

    async def pause(self) -> None:
        """Until something may have come, or become free: when notified, or by the next token's time."""
        now = asyncio.get_running_loop().time()
        seconds = IDLE_SECONDS
        if self._may_be_more and self.room() > 0:
            # a time that has come is not what stopped the claim: looking again at once would spin
            wait_seconds = self.next_claim_at() - now
            seconds = min(wait_seconds, IDLE_SECONDS) if wait_seconds > 0 else IDLE_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def is_held(self) -> bool:
        """Whether nothing may be sent for a while, so that no submit's end would change it."""
        now = asyncio.get_running_loop().time()
        if not self._context.lease.permits_sending() or self._health.submits_permitted(now) <= 0:
            return True
        return self.room() <= 0 and not self._attempts.submitting_count

    def next_claim_at(self) -> float:
        """When the rate limit lets the next claim go."""
        if self.limit.sustained_per_second is None:
            return 0.0
        return max(self.limit.permitted_at(0.0), self._claimed_at + CLAIM_INTERVAL_SECONDS)

    def room(self) -> int:
        """How many more may be under way now, whatever the rate."""
        permitted = self._health.submits_permitted(asyncio.get_running_loop().time())
        free_places = self._in_flight_max - self._attempts.in_flight
        return min(self._limits.connections_max, permitted, free_places) - self._attempts.submitting_count

    # --- the claim --------------------------------------------------------------------------------------

    async def claim(self) -> list[ClaimedTask]:
        """Commit the intent to submit as many tasks as can leave at this moment.

        That is for how many there is a place, an open connection, and the rate limit's leave, which is kept
        for them; none while the provider is held. Each returned task must be sent at once.
        """
        loop = asyncio.get_running_loop()
        self.found_nothing = False
        room = min(self.room(), CLAIM_TASKS_MAX)
        may_claim = room > 0 and self._context.lease.permits_sending() and loop.time() >= self.next_claim_at()
        count_max = self.limit.reserve(loop.time(), room) if may_claim else 0
        if count_max <= 0:
            self._may_be_more = True
            return []
        claimed: list[ClaimedTask] = []
        waiting = ready = 0
        try:
            await self.return_lost()
            waiting = await self._count_waiting(count_max)
            ready = await prepare_submits(self._provider, waiting) if waiting > 0 else 0
            if ready > 0 and not self.is_stopped and self._context.lease.permits_sending():
                claimed = await self._commit_intents(ready)
        except StoreError as error:
            # the claim may have been committed all the same
            log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
            self._is_in_doubt = self._may_be_more = True
            return []
        finally:
            self.limit.give_back(count_max - len(claimed))
        for task in claimed:
            self._attempts.claim(task)
        self.claimed_total += len(claimed)
        if claimed:
            self._claimed_at = loop.time()
        # one that the provider's limit for all workers cut short may have left tasks behind as well
        self.found_nothing = not claimed and (waiting <= 0 or ready > 0)
        has_limits = self._limits.in_flight_tasks_max is not None or bool(self._limits_of_models)
        self._may_be_more = not self.found_nothing or has_limits
        return claimed

    async def _count_waiting(self, count_max: int) -> int:
        """How many tasks a claim would find. Only then are connections opened and locks taken for it."""
        return await self._context.database.read(
            turns.count_waiting,
            self._provider.name,
            self._models_to_send(),
            count_max=count_max,
            in_flight_max=self._limits.in_flight_tasks_max,
        )

    async def _commit_intents(self, count_max: int) -> list[ClaimedTask]:
        self._claiming = asyncio.ensure_future(
            self._context.database.transact(
                claim_fairly,
                provider=self._provider.name,
                worker_id=self._context.worker_id,
                limit=count_max,
                in_flight_max=self._limits.in_flight_tasks_max,
                models=self._models_to_send(),
                limits_of=self._limits_of_models,
                host=self._host,
                now_ms=self._context.now_ms(),
            )
        )
        try:
            claimed = await asyncio.shield(self._claiming)
        except asyncio.CancelledError:
            raise  # because the lease was lost, say; the claim itself goes on: see `return_unstarted`
        except BaseException:
            self._claiming = None
            raise
        self._claiming = None
        return claimed

    async def return_unstarted(self, *, timeout_seconds: float) -> None:
        """Give back what a claim took that nobody waited for: none of it was sent.

        One that is not answered in time may have been committed all the same: see `return_lost`.
        """
        claiming = self._claiming
        if claiming is None:
            return
        await asyncio.wait([claiming], timeout=timeout_seconds)
        if not claiming.done() or claiming.cancelled() or claiming.exception() is not None:
            self._is_in_doubt = True
            return
        self._claiming = None
        for task in claiming.result():
            self._context.committer.returned(task.task_id, task.attempt)

    @property
    def is_under_way(self) -> bool:
        """Whether a claim has not been answered: what it takes is neither sent nor given back."""
        return self._claiming is not None and not self._claiming.done()

    def _models_to_send(self) -> list[str]:
        """The provider's models whose waiting tasks may be sent now; those of all others are held."""
        now_seconds = self._context.now_ms() / 1000
        return [
            model.name
            for model in self._context.catalogue
            if model.provider == self._provider.name and model.takes_new_tasks(now_seconds)
        ]

    async def return_lost(self) -> None:
        """Give back what a claim took whose answer was lost, if there was one. Raises `StoreError`.

        Those tasks were never sent: a claim's tasks are only sent once the answer is here. All others of
        this worker are in its table, also those whose hold the database has refused.
        """
        if self._is_in_doubt:
            await self._return_lost_claims()

    async def _return_lost_claims(self) -> None:
        known = self._attempts.known()
        await self._context.committer.flushed()
        known |= self._attempts.known()  # what the database has refused meanwhile is adrift
        rows = await self._context.database.read(
            tasks.owned_without_remote_id, provider=self._provider.name, worker_id=self._context.worker_id
        )
        for task_id, attempt in set(rows) - known:
            self._context.committer.returned(task_id, attempt)
        self._is_in_doubt = False
