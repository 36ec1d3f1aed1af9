"""The worker: one process's share of dispatching, polling and settling, under a lease.

`run` is the long-lived worker, `tick` one bounded pass for cron and serverless platforms; both are built
from the same parts. Whatever a worker holds in memory can be rebuilt from the database, so a crash, a
lost lease and a restart are the same thing.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import msgspec

from rushes import telemetry
from rushes.domain.catalogue import Catalogue
from rushes.domain.errors import StoreError
from rushes.domain.learned_schedule import LearnedSchedule
from rushes.domain.schedule import PollSchedule
from rushes.engine.archive import recording_successes
from rushes.engine.dispatch import Dispatcher
from rushes.engine.failover import Failover
from rushes.engine.meters import CountedSubmits, Meters
from rushes.engine.nudges import Nudges
from rushes.engine.poll import Poller, RemoteTask
from rushes.engine.retries import retry_failed
from rushes.engine.settle import BeforeClosing, Committer, SettleOutcome
from rushes.engine.shares import Share, Shares
from rushes.engine.steward import Steward, UnconfirmedPolicy
from rushes.providers.base import Provider, ProviderLimits
from rushes.providers.health import HealthState, ProviderHealth
from rushes.store import render_times, workers
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask, OwnedTask
from rushes.store.workers import LeaseLost

PROGRESS_SECONDS = 2.0
"""How often progress is written, for all tasks at once."""

STOP_SECONDS_MAX = 8.0
"""How long a stopping worker waits for submissions under way and for its last commit."""

IN_FLIGHT_TASKS_MAX = 200_000
"""Tasks in flight that one worker holds in memory."""

HOUSE_SECONDS_MAX = 1.0
"""The longest pause between two looks at dead workers and unconfirmed submits."""

UPKEEP_SECONDS = 5.0
"""How often expired credits and leftovers of cancelled batches are looked for."""

LEARNED_SECONDS = 30.0
"""How often learned render times are saved, and others' read."""

REFUSED_SECONDS = 60.0
"""How long a task whose verdict the database refused waits for its next poll."""

UNLISTED_SOFT_DEADLINE_SECONDS = 1800.0
UNLISTED_HARD_DEADLINE_SECONDS = 7200.0
"""Deadlines of tasks whose model has left the catalogue since they were sent."""

log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What an operator decides about a worker.

    The first polls of adopted tasks, which come all at once, are spread over `adopted_spread_seconds`, and
    longer when they would be more than `adopted_polls_per_second`. With `archives` each success is noted as
    a file to be fetched. A task that has waited `wait_seconds_max` to be sent fails; what waits under an
    alias at a provider with more than `failover_queue_max` waiting tasks goes to another one.
    """

    lease_seconds: float = 30.0
    unconfirmed_grace_seconds: float = 900.0
    unconfirmed_policy: UnconfirmedPolicy = UnconfirmedPolicy.REFUND
    wait_seconds_max: float = 7 * 86_400.0
    failover_queue_max: int | None = None
    poll_backoff_seconds_max: float = 30.0
    adopted_spread_seconds: float = 5.0
    adopted_polls_per_second: float = 4000.0
    callback_url: Callable[[str, int, int], str | None] = lambda _provider, _task_id, _attempt: None
    takes_callbacks: bool = False
    archives: bool = False
    host: str = "localhost"
    pid: int = 0


@dataclass(slots=True)
class TickReport:
    """What one bounded pass did, as the API answers it."""

    ok: bool = True
    dispatch: dict[str, int] = field(default_factory=dict)
    poll: dict[str, int] = field(default_factory=dict)
    settle: dict[str, int] = field(default_factory=dict)
    archive: dict[str, int] = field(default_factory=dict)
    duration_ms: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


class _Lane:
    """One provider's part of a worker."""

    def __init__(self, *, health: ProviderHealth, poller: Poller, dispatcher: Dispatcher) -> None:
        self.health, self.poller, self.dispatcher = health, poller, dispatcher

    @property
    def limits(self) -> ProviderLimits:
        """The provider's limits, for all workers together."""
        return self.poller.provider.limits

    @property
    def tasks(self) -> dict[int, RemoteTask]:
        """The tasks in flight, oldest first."""
        return self.poller.tasks

    def use(self, share: Share) -> None:
        """Keep to these rates from now on."""
        self.poller.use_rate(share.polls_per_second)
        self.dispatcher.use_rate(share.submits_per_second)

    def forget(self, task_id: int) -> None:
        """Stop polling a task."""
        self.poller.forget(task_id)


class Worker:
    """Runs tasks of all configured providers to their end.

    `now_ms()` is the wall clock in epoch milliseconds, `new_id()` makes worker ids, `jitter` spreads
    retries: all of them are arguments, so that a simulation can replay a run. `on_late(seconds)` hears
    how late each poll was started, and `on_commit()` that outcomes were committed. `hosts` are the
    providers' as they are set; `provider_at(name, host)` is a provider at the host that it had before.
    """

    def __init__(
        self,
        database: Database,
        providers: Mapping[str, Provider],
        *,
        catalogue: Catalogue,
        schedule: PollSchedule,
        config: WorkerConfig,
        now_ms: Callable[[], int],
        new_id: Callable[[], str],
        jitter: random.Random,
        on_late: Callable[[float], None] | None = None,
        on_commit: Callable[[], None] = lambda: None,
        hosts: Mapping[str, str] | None = None,
        provider_at: Callable[[str, str], Provider | None] = lambda _name, _host: None,
    ) -> None:
        self._database = database
        self._providers = providers
        self._catalogue = catalogue
        self._schedule = schedule
        self._config = config
        self._now_ms = now_ms
        self._new_id = new_id
        self._jitter = jitter
        self._on_late = on_late
        self._tell_commit = on_commit
        self._hosts = hosts or {}
        self._provider_at = provider_at
        self.meters = Meters()
        self._start_anew()

    def _start_anew(self) -> None:
        """Forget everything in memory and take a new identity."""
        self.worker_id = self._new_id()
        self._lease_valid_until = 0.0
        self._stopping = False
        self.committer = Committer(
            self._database,
            worker_id=self.worker_id,
            now_ms=self._now_ms,
            on_settled=self._on_settled,
            on_commit=self._on_commit,
            before_closing=self._before_closing(),
        )
        self.steward = Steward(
            self._database,
            worker_id=self.worker_id,
            now_ms=self._now_ms,
            lease_seconds=self._config.lease_seconds,
            unconfirmed_grace_seconds=self._config.unconfirmed_grace_seconds,
            unconfirmed_policy=self._config.unconfirmed_policy,
            wait_seconds_max=self._config.wait_seconds_max,
            sink=self.committer,
            providers=list(self._providers),
            on_adopted=self._on_adopted,
            holds=self._holds,
        )
        self.lanes = {name: self._lane(provider) for name, provider in self._providers.items()}
        self.failover = Failover(
            self._database,
            catalogue=self._catalogue,
            states=self._states,
            queue_max=self._config.failover_queue_max,
            now_ms=self._now_ms,
        )
        self.shares = Shares(self._database, worker_id=self.worker_id, now_ms=self._now_ms, lanes=self.lanes)
        self.nudges = Nudges(
            self._database,
            worker_id=self.worker_id,
            provider_of=self._provider_of,
            unconfirmed=self.steward.unconfirmed,
            poll_now=self.nudge,
            is_submitting=lambda task_id: any(
                task_id in lane.dispatcher.submitting for lane in self.lanes.values()
            ),
            sink=self.committer,
            poll_limits={name: lane.poller.limit for name, lane in self.lanes.items()},
        )

    def _lane(self, provider: Provider) -> _Lane:
        limits = provider.limits
        health = ProviderHealth()
        poller = Poller(
            provider,
            health=health,
            schedule=self._schedule,
            sink=self.committer,
            jitter=self._jitter,
            polls_per_second=limits.polls_per_second,
            backoff_seconds_max=self._config.poll_backoff_seconds_max,
            on_late=self._late,
            may_poll=self._holds_lease,
            provider_at=partial(self._provider_at, provider.name),
        )
        dispatcher = Dispatcher(
            CountedSubmits(provider, self.meters),
            database=self._database,
            health=health,
            sink=self.committer,
            worker_id=self.worker_id,
            now_ms=self._now_ms,
            may_send=self._may_send,
            in_flight=lambda: len(poller.tasks),
            in_flight_max=min(limits.in_flight_tasks_max or IN_FLIGHT_TASKS_MAX, IN_FLIGHT_TASKS_MAX),
            submits_per_second=limits.submits_per_second,
            models=lambda: self._sendable(provider.name),
            host=self._hosts.get(provider.name),
            callback_url=lambda task: self._config.callback_url(provider.name, task.task_id, task.attempt),
            on_accepted=self._on_accepted,
            on_unconfirmed=self._on_unconfirmed,
        )
        return _Lane(health=health, poller=poller, dispatcher=dispatcher)

    # --- the long-lived worker --------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish the commit in hand and give the lease back.

        A worker that lost its lease, because it was paused for too long, starts anew with empty memory.
        """
        while not stop.is_set():
            try:
                await self._run_under_one_lease(stop)
            except* LeaseLost:
                log.warning(telemetry.WORKER_LEASE_LOST, worker_id=self.worker_id)
                await self._salvage()
                self._start_anew()

    async def _run_under_one_lease(self, stop: asyncio.Event) -> None:
        if not await self._register(stop):
            return
        log.info(telemetry.WORKER_STARTED, worker_id=self.worker_id)
        async with asyncio.TaskGroup() as group:
            committing = group.create_task(self.committer.run())
            dispatching = [group.create_task(lane.dispatcher.run()) for lane in self.lanes.values()]
            polling = [group.create_task(lane.poller.run()) for lane in self.lanes.values()]
            keeping = group.create_task(self._keep_lease())
            housekeeping = [group.create_task(self._keep_house())]
            if self._config.takes_callbacks:
                housekeeping.append(group.create_task(self.nudges.run()))
            await stop.wait()
            self._stopping = True
            for task in housekeeping:
                task.cancel()
            await self._finish(dispatching)
            for task in (*dispatching, *polling, committing, keeping):
                task.cancel()
        log.info(telemetry.WORKER_STOPPED, worker_id=self.worker_id)

    async def _register(self, stop: asyncio.Event, *, takes_share: bool = True) -> bool:
        pause_seconds = 0.1
        while not stop.is_set():
            started = self._now()
            try:
                others_live = await self._database.transact(
                    workers.register,
                    self.worker_id,
                    host=self._config.host,
                    pid=self._config.pid,
                    now_ms=self._now_ms(),
                    lease_expires_at_ms=self._now_ms() + int(self._config.lease_seconds * 1000),
                    holds=self.shares.holds_at_first() if takes_share else None,
                )
            except StoreError as error:
                if not error.retryable:
                    raise
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
                self._start_anew()  # the first try may have been committed: its name is not used again
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 5.0)
                continue
            self._lease_valid_until = started + self._config.lease_seconds
            self.shares.begin(others_live=others_live, until=self._now() + self._config.lease_seconds)
            return True
        return False

    async def _finish(self, dispatching: Sequence[asyncio.Task[None]] = ()) -> None:
        """Let submissions under way end, store what is known, give the lease back."""
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                for lane in self.lanes.values():
                    lane.dispatcher.stop()
                if dispatching:
                    await asyncio.wait(dispatching)
                await asyncio.gather(
                    *(
                        lane.dispatcher.finish(timeout_seconds=STOP_SECONDS_MAX / 2)
                        for lane in self.lanes.values()
                    )
                )
                self._store_progress()
                await self.committer.flushed()
                await self._share_learned()
                await self._database.transact(workers.release, self.worker_id)
        except (TimeoutError, StoreError) as error:
            log.warning(telemetry.DATABASE_TROUBLE, error=f"stopped before all was stored: {error}")

    async def _salvage(self) -> None:
        """After the lease was lost: store the remote ids that submissions under way still bring.

        They are facts about their attempts, whoever owns the tasks now; without them a bought video would
        stay unconfirmed. Everything else that is left is stale, and the guards refuse it.
        """
        committing = asyncio.create_task(self.committer.run())
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                for lane in self.lanes.values():
                    await lane.dispatcher.finish(timeout_seconds=STOP_SECONDS_MAX / 2)
                await self.committer.flushed()
        except TimeoutError:
            log.warning(telemetry.DATABASE_TROUBLE, error="not all was stored after the lease was lost")
        finally:
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)

    async def _keep_lease(self) -> None:
        """Renew the one row that keeps all tasks of this worker its own."""
        interval = self._config.lease_seconds / 3
        while True:
            await asyncio.sleep(interval)
            started = self._now()
            try:
                standings = await self.steward.renew_lease(self.report(), self.shares.holds())
                if not self._holds_lease(self._now()):
                    # it may have run out before, and others may use this worker's share of the limits
                    until = self._now() + self._config.lease_seconds
                    self.shares.begin(others_live=len(standings) > 1, until=until)
                self._lease_valid_until = started + self._config.lease_seconds
                await self.shares.keep(standings, self._now())
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)

    async def _keep_house(self) -> None:
        """Adopt, follow up unconfirmed submits, store progress, and the rest of the upkeep."""
        interval = min(HOUSE_SECONDS_MAX, self._config.lease_seconds / 10)
        progress_at = upkeep_at = learned_at = self._now()
        while True:
            try:
                if self._now() >= learned_at:
                    learned_at = self._now() + LEARNED_SECONDS
                    await self._share_learned()
                await self.steward.adopt(
                    limit=IN_FLIGHT_TASKS_MAX - self.in_flight, adoptable=self.shares.adoptable
                )
                await self.steward.look_after_unconfirmed(self._on_found)
                if await self.failover.look():
                    self.wake()
                if self._now() >= upkeep_at:
                    await self.steward.keep_house()
                    upkeep_at = self._now() + UPKEEP_SECONDS
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
            if self._now() >= progress_at:
                self._store_progress()
                progress_at = self._now() + PROGRESS_SECONDS
            await asyncio.sleep(interval)

    # --- one bounded pass ---------------------------------------------------------------------------------

    async def tick(self, *, budget_seconds: float = 25.0, tasks_max: int = 200) -> TickReport:
        """Dispatch, poll and settle once, then give everything back for the next pass.

        Submits at most about `tasks_max` tasks and polls at most as many. Nothing is started after
        `budget_seconds`; what is under way then is still waited for.
        """
        started = self._now()
        before = self.committer.settled_total
        report = TickReport()
        stop = asyncio.Event()
        if not await self._register(stop, takes_share=False):
            return report
        async with asyncio.TaskGroup() as group:
            committing = group.create_task(self.committer.run())
            await self.steward.keep_house()
            await self.steward.adopt(limit=tasks_max)
            if self._config.takes_callbacks:
                await self.nudges.look()
                await self.committer.flushed()
            await self.steward.look_after_unconfirmed(self._on_found)
            await self.failover.look()
            until = started + budget_seconds
            await asyncio.gather(
                *(self._poll_all(lane, until) for lane in self.lanes.values()),
                *(self._submit_some(lane, tasks_max, until) for lane in self.lanes.values()),
            )
            self._stopping = True
            await self._finish()
            committing.cancel()
        counts = [lane.poller.counts for lane in self.lanes.values()]
        report.dispatch = {
            "claimed": sum(lane.dispatcher.claimed_total for lane in self.lanes.values()),
            "submitted": sum(lane.dispatcher.submitted_total for lane in self.lanes.values()),
        }
        report.poll = {
            name: sum(getattr(count, name) for count in counts)
            for name in ("scanned", "succeeded", "failed", "processing", "transient_errors")
        }
        report.settle = {
            "settled_tasks": self.committer.settled_total - before,
            "settled_batches": self.committer.closed_batches_total,
        }
        report.duration_ms = int((self._now() - started) * 1000)
        self._start_anew()
        return report

    async def _poll_all(self, lane: _Lane, until: float) -> None:
        """Poll every adopted task once, as many at a time as the provider allows connections."""
        waiting = list(lane.poller.tasks.values())

        async def poll_in_turn() -> None:
            while waiting and await lane.poller.limit.acquire(until=until):
                if waiting:
                    await lane.poller.poll_once(waiting.pop())

        await asyncio.gather(*(poll_in_turn() for _ in range(lane.poller.provider.limits.connections_max)))

    async def _submit_some(self, lane: _Lane, tasks_max: int, until: float) -> None:
        dispatcher = lane.dispatcher
        while dispatcher.claimed_total < tasks_max and self._now() < until:
            claimed = await dispatcher.claim()
            if not claimed:
                return
            await asyncio.gather(*(dispatcher.submit(task) for task in claimed))

    # --- what the parts report ----------------------------------------------------------------------------

    def _on_accepted(self, task: ClaimedTask, remote_task_id: str) -> None:
        self._follow(task, remote_task_id, progress=0)

    def _on_adopted(self, task: OwnedTask) -> None:
        if task.remote_task_id is None:
            self.steward.hold_unconfirmed(task)
            return
        # adopted tasks come all at once; their first polls are spread out
        config = self._config
        spread_seconds = max(config.adopted_spread_seconds, self.in_flight / config.adopted_polls_per_second)
        delay = self._jitter.random() * spread_seconds
        self._follow(
            task, task.remote_task_id, progress=task.progress, first_delay_seconds=delay, is_adopted=True
        )

    def _holds(self, task: OwnedTask) -> bool:
        lane = self.lanes[task.provider]
        return (
            task.task_id in lane.poller.tasks
            or task.task_id in lane.dispatcher.submitting
            or task.task_id in self.steward.unconfirmed
        )

    def _on_unconfirmed(self, task: ClaimedTask) -> None:
        self.steward.hold_unconfirmed(
            OwnedTask(
                task_id=task.task_id,
                batch_id=task.batch_id,
                attempt=task.attempt,
                provider=task.provider,
                model=task.model,
                remote_task_id=None,
                progress=0,
                dispatched_at_ms=task.dispatched_at_ms,
                unconfirmed_at_ms=self._now_ms(),
                host=self._hosts.get(task.provider),
            )
        )

    def _on_found(self, task: OwnedTask, remote_task_id: str) -> None:
        """An unconfirmed attempt became known through its callback: a poll has to confirm it, now."""
        self._follow(task, remote_task_id, progress=0, first_delay_seconds=0.0, is_adopted=True)

    def _on_commit(self, size: int, seconds: float) -> None:
        self.meters.committed(size, seconds)
        self._tell_commit()

    def _before_closing(self) -> BeforeClosing:
        if not self._config.archives:
            return retry_failed
        links = {name: provider.result_files.link_seconds for name, provider in self._providers.items()}
        return recording_successes(links, then=retry_failed)

    def _on_settled(self, task_id: int, attempt: int, outcome: SettleOutcome) -> None:
        if outcome is not SettleOutcome.SETTLED:
            # given up, but it became known just then; or lost, but adopted again before this answer was here
            self.steward.doubt_memory()
        for lane in self.lanes.values():
            followed = lane.poller.tasks.get(task_id)
            if followed is not None and followed.attempt == attempt:
                if outcome is SettleOutcome.REFUSED:
                    lane.poller.look_again(task_id, delay_seconds=REFUSED_SECONDS)
                else:
                    lane.poller.forget(task_id)
                    lane.dispatcher.freed()
                return

    def _follow(
        self,
        task: ClaimedTask | OwnedTask,
        remote_task_id: str,
        *,
        progress: int,
        first_delay_seconds: float | None = None,
        is_adopted: bool = False,
    ) -> None:
        sent_at = self._now() - max(0, self._now_ms() - task.dispatched_at_ms) / 1000
        model = self._catalogue.find(task.model)
        soft_seconds = model.soft_deadline_seconds if model else UNLISTED_SOFT_DEADLINE_SECONDS
        hard_seconds = model.hard_deadline_seconds if model else UNLISTED_HARD_DEADLINE_SECONDS
        self.lanes[task.provider].poller.add(
            RemoteTask(
                task_id=task.task_id,
                attempt=task.attempt,
                model=task.model,
                remote_task_id=remote_task_id,
                progress=progress,
                sent_at=sent_at,
                soft_deadline=sent_at + soft_seconds,
                hard_deadline=sent_at + hard_seconds,
                is_adopted=is_adopted,
                host=self._elsewhere(task) if isinstance(task, OwnedTask) else None,
            ),
            first_delay_seconds=first_delay_seconds,
        )

    # --- small parts ----------------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Tasks at providers that this worker follows."""
        return sum(len(lane.poller.tasks) for lane in self.lanes.values())

    def nudge(self, task_id: int) -> bool:
        """Poll a task now; False when this worker does not follow it."""
        return any(lane.poller.nudge(task_id) for lane in self.lanes.values())

    def wake(self) -> None:
        """Tell the dispatchers that a batch was accepted."""
        for lane in self.lanes.values():
            lane.dispatcher.wake()

    def report(self) -> str:
        """What the worker's row shows to operators: JSON of tasks in flight, providers' states and counts."""
        states = self._states()
        meters = self.meters.as_dict(
            {name: lane.poller.counts.as_dict() for name, lane in self.lanes.items()}
        )
        report = {"in_flight": self.in_flight, "providers": states, "meters": meters}
        return msgspec.json.encode(report).decode()

    def provider_troubles(self) -> dict[str, str]:
        """Why providers are held or paused at the moment, by provider."""
        states = self._states()
        return {
            name: state.reason or state.state for name, state in states.items() if state.state != "closed"
        }

    def key_refusals(self) -> dict[str, str]:
        """Why providers refuse the operator's key, by provider; empty when none does."""
        states = self._states()
        return {name: state.reason or "" for name, state in states.items() if state.key_refused}

    def _elsewhere(self, task: OwnedTask) -> str | None:
        """The host that the task was sent to, where that is not the provider's host now."""
        return None if task.host == self._hosts.get(task.provider) else task.host

    def _provider_of(self, task: OwnedTask) -> Provider | None:
        """The provider at the host that the task was sent to; None when it cannot be asked there."""
        host = self._elsewhere(task)
        return self._providers[task.provider] if host is None else self._provider_at(task.provider, host)

    def _states(self) -> dict[str, HealthState]:
        """The providers as they stand at the moment."""
        now = self._now()
        return {name: lane.health.state(now) for name, lane in self.lanes.items()}

    def _sendable(self, provider: str) -> list[str]:
        """The provider's models whose waiting tasks may be sent now; those of all others are held."""
        now_seconds = self._now_ms() / 1000
        return [
            model.name
            for model in self._catalogue
            if model.provider == provider and model.takes_new_tasks(now_seconds)
        ]

    def _late(self, seconds: float) -> None:
        self.meters.poll_lateness_seconds.observe(seconds)
        if self._on_late is not None:
            self._on_late(seconds)

    def _may_send(self) -> bool:
        return not self._stopping and self._holds_lease(self._now())

    def _holds_lease(self, now: float) -> bool:
        return now < self._lease_valid_until

    async def _share_learned(self) -> None:
        """Save what was learned of render times and take over what other workers have learned."""
        if isinstance(self._schedule, LearnedSchedule):
            learned = self._schedule.take_unsaved()
            stored = await self._database.transact(render_times.merge, learned, now_ms=self._now_ms())
            self._schedule.put_saved(stored)

    def _store_progress(self) -> None:
        for lane in self.lanes.values():
            rows = lane.poller.take_progress()
            if rows:
                self.committer.progress(rows)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
