"""The worker: one process's share of dispatching, polling and settling, under a lease.

`run` is the long-lived worker; `tick.tick` makes one bounded pass of the same parts, for cron and serverless
platforms. Whatever a worker holds in memory can be rebuilt from the database, so a crash, a lost lease and a
restart are the same thing. What happens to a task is in `lane/lane.py`.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from rushes import telemetry
from rushes.concurrency import until_stopped
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.errors import StoreError
from rushes.domain.polling.schedule import PollSchedule
from rushes.files.due import recording_successes
from rushes.money.retry import retry_failed
from rushes.money.settle import BeforeClosing
from rushes.providers.base import Provider
from rushes.providers.health import HealthState
from rushes.run import lease
from rushes.run.asking.cancelling import Cancelling
from rushes.run.asking.finding import Finding
from rushes.run.commit import Committed, Committer, SettleOutcome
from rushes.run.context import WorkerConfig, WorkerContext
from rushes.run.inputs.source import InputSource, UrlsOnly
from rushes.run.lane.lane import Lane, Place
from rushes.run.lease import OwnLease
from rushes.run.meters import Meters
from rushes.run.nudges import Nudges
from rushes.run.sent_record import NoRecord, NoRecords, SentRecord, SentRecords
from rushes.run.shares import Shares
from rushes.run.upkeep import Upkeep
from rushes.store import workers
from rushes.store.database import Database
from rushes.store.workers import LeaseLost

LAST_COMMIT_SECONDS = 5.0
"""What of the time to stop is kept for the last commit; half of it when the time is less than twice that."""

RENEWAL_RETRY_SECONDS = 1.0
"""How soon a renewal of the lease that failed is retried, at the latest."""

log = telemetry.logger()


class Worker:
    """Runs tasks of all configured providers to their end.

    `now_ms()` is the wall clock in epoch milliseconds, `new_id()` makes worker ids, `jitter` spreads
    retries: all of them are arguments, so that a simulation can replay a run. `clocks` are further ones, in
    seconds, by which the worker judges its own lease. `on_commit()` hears that outcomes were committed.
    `hosts` are the providers' as they are set; `provider_at(name, host)` is a provider at the host that it
    had before. `records` tell which attempts of a dead worker were never sent; `inputs` gives submits their
    files, of which there are only URLs without.
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
        clocks: Sequence[Callable[[], float]] = (),
        meters: Meters | None = None,
        on_commit: Callable[[], None] = lambda: None,
        hosts: Mapping[str, str] | None = None,
        provider_at: Callable[[str, str], Provider | None] = lambda _name, _host: None,
        records: SentRecords | None = None,
        inputs: InputSource | None = None,
    ) -> None:
        self.config = config
        self.meters = meters or Meters()
        self._database = database
        self._providers = providers
        self._catalogue = catalogue
        self._schedule = schedule
        self._now_ms = now_ms
        self._new_id = new_id
        self._jitter = jitter
        self._lease_clocks = (self._now, lambda: now_ms() / 1000, *clocks)
        self._tell_commit = on_commit
        self._hosts = hosts or {}
        self._provider_at = provider_at
        self._records = records or NoRecords()
        self._record: SentRecord = NoRecord()
        self._inputs: InputSource = inputs or UrlsOnly()
        self.start_anew()

    def start_anew(self) -> None:
        """Forget everything in memory and take a new identity."""
        self.worker_id = self._new_id()
        self._record.close(is_needed=True)
        self._record = self._records.of(self.worker_id)
        self.lease = OwnLease(self._lease_clocks, self.config.lease_seconds)
        self.committer = Committer(
            self._database,
            worker_id=self.worker_id,
            now_ms=self._now_ms,
            before_closing=self._before_closing(),
        )
        context = WorkerContext(
            worker_id=self.worker_id,
            database=self._database,
            catalogue=self._catalogue,
            schedule=self._schedule,
            config=self.config,
            lease=self.lease,
            committer=self.committer,
            meters=self.meters,
            inputs=self._inputs,
            records=self._records,
            record=self._record,
            now_ms=self._now_ms,
            jitter=self._jitter,
        )
        self.lanes = {
            name: Lane(provider, context, Place(self._hosts.get(name), partial(self._provider_at, name)))
            for name, provider in self._providers.items()
        }
        self.shares = Shares(self._database, worker_id=self.worker_id, now_ms=self._now_ms, lanes=self.lanes)
        self.upkeep = Upkeep(context, self.lanes, shares=self.shares)
        self.finding = Finding(context, self.lanes)
        self.cancelling = Cancelling(context, self.lanes)
        self.nudges = Nudges(
            self._database,
            worker_id=self.worker_id,
            lanes=self.lanes,
            committer=self.committer,
            not_found_grace_seconds=self.config.not_found_grace_seconds,
        )

    def _before_closing(self) -> BeforeClosing:
        retry = partial(retry_failed, reprice=self._catalogue.charge)
        if not self.config.archives:
            return retry
        links = {name: provider.result_files.link_seconds for name, provider in self._providers.items()}
        return recording_successes(links, then=retry)

    # --- a life -----------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish the commit in hand and give the lease back.

        A worker that lost its lease, because it was paused for too long, starts anew with empty memory.
        """
        while not stop.is_set():
            try:
                await self._run_under_one_lease(stop)
            except* LeaseLost:
                log.warning(telemetry.WORKER_LEASE_LOST, worker_id=self.worker_id)
                await self.salvage()
                self.start_anew()

    async def _run_under_one_lease(self, stop: asyncio.Event) -> None:
        if not await until_stopped(stop, self.register(stop)):
            return
        log.info(telemetry.WORKER_STARTED, worker_id=self.worker_id)
        lanes = self.lanes.values()
        async with asyncio.TaskGroup() as group:
            committing = group.create_task(self.commit())
            sending = [group.create_task(lane.claim_and_send()) for lane in lanes]
            polling = [group.create_task(lane.poll()) for lane in lanes]
            renewing = group.create_task(self.keep_lease())
            beside = [group.create_task(part.run()) for part in (self.upkeep, self.finding, self.cancelling)]
            beside.append(group.create_task(self.shares.give_away()))
            if self.config.takes_callbacks:
                beside.append(group.create_task(self.nudges.run()))
            await stop.wait()
            self.lease.end()
            for task in beside:
                task.cancel()
            await self.finish(sending)
            for task in (*sending, *polling, committing, renewing):
                task.cancel()
        log.info(telemetry.WORKER_STOPPED, worker_id=self.worker_id)

    async def register(self, stop: asyncio.Event, *, takes_share: bool = True) -> bool:
        """Take a lease, as soon as the database answers; False when it was stopped before."""
        pause_seconds = 0.1
        while not stop.is_set():
            self._record.open()
            since = self.lease.now()
            try:
                others_live = await self._database.transact(
                    workers.register,
                    self.worker_id,
                    host=self.config.host,
                    pid=self.config.pid,
                    now_ms=self._now_ms(),
                    lease_expires_at_ms=self._now_ms() + int(self.config.lease_seconds * 1000),
                    holds=self.shares.counts_at_first() if takes_share else None,
                )
            except StoreError as error:
                if not error.retryable:
                    raise
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
                self.start_anew()  # the first try may have been committed: its name is not used again
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 5.0)
                continue
            self.lease.renewed(since)
            self.shares.join(others_live=others_live, until=self._now() + self.config.lease_seconds)
            return True
        return False

    async def keep_lease(self, *, takes_share: bool = True) -> None:
        """Renew the one row that keeps all tasks of this worker its own, until cancelled."""
        interval = pause_seconds = self.config.lease_seconds / 3
        while True:
            await asyncio.sleep(pause_seconds)
            since = self.lease.now()
            try:
                standings = await lease.renew(
                    self._database,
                    self.worker_id,
                    seconds=self.config.lease_seconds,
                    report=self.report(),
                    holds=self.shares.counts() if takes_share else {},
                    now_ms=self._now_ms(),
                )
                if takes_share and not self.lease.is_held():
                    # it may have run out before, and others may use this worker's share of the limits
                    until = self._now() + self.config.lease_seconds
                    self.shares.join(others_live=len(standings) > 1, until=until)
                self.lease.renewed(since)
                pause_seconds = interval
                if takes_share:
                    self.shares.keep(standings, self._now())
            except StoreError as error:
                pause_seconds = min(interval, RENEWAL_RETRY_SECONDS)
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)

    async def commit(self) -> None:
        """Commit what the lanes hand over, and give the answers back to them, until cancelled."""
        while True:
            committed = await self.committer.commit_next()
            if committed.size:
                self.meters.committed(committed.size, committed.seconds)
                self._tell_commit()
            self._answer(committed)

    def _answer(self, committed: Committed) -> None:
        lanes = self.lanes.values()
        for task_id, attempt in committed.unnamed:
            for lane in lanes:
                lane.unname(task_id, attempt)
        for task_id, attempt, outcome in committed.ends:
            is_polled = any(lane.end(task_id, attempt, outcome) for lane in lanes)
            if outcome is SettleOutcome.REFUSED and not is_polled:
                for lane in lanes:
                    lane.attempts.adrift.add((task_id, attempt))
        # given up, but it became known just then; or lost, but adopted again before this answer was here
        if any(outcome is not SettleOutcome.SETTLED for _, _, outcome in committed.ends):
            for lane in lanes:
                lane.attempts.is_in_doubt = True

    async def finish(
        self, sending: Sequence[asyncio.Task[None]] = (), *, commit_seconds: float | None = None
    ) -> bool:
        """Let submissions under way end, store what is known, give the lease back; False when not all was.

        What has not left yet is given back. The last commit takes what is left of the time to stop, and no
        more than `commit_seconds`; half of these is what claims under way have for their answer.
        """
        lanes = self.lanes.values()
        ends_at = self._now() + self.config.stop_seconds
        until = claims_until = self._now() + self._submits_seconds
        if commit_seconds is not None:
            claims_until = min(until, self._now() + commit_seconds / 2)
        try:
            for lane in lanes:
                lane.claims.stop()
            for task in sending:
                task.add_done_callback(_look_at_end)
            if sending:
                await asyncio.wait(sending, timeout=claims_until - self._now())
            await asyncio.gather(
                *(lane.finish_submits(until=until, claims_until=claims_until) for lane in lanes)
            )
            if commit_seconds is not None:
                ends_at = min(ends_at, self._now() + commit_seconds)
            async with asyncio.timeout_at(ends_at):
                await asyncio.gather(*(lane.claims.return_lost() for lane in lanes))
                self.upkeep.store_progress()
                await self.committer.flushed()
                await self._database.transact(workers.release, self.worker_id)
                # what a claim under way still takes was never sent, and nothing else says so
                self._record.close(is_needed=any(lane.claims.is_under_way for lane in lanes))
                await self.upkeep.share_learned()  # last: others wait for the tasks, and nobody for this
        except (TimeoutError, StoreError) as error:
            why = str(error) or "the database did not answer in time"
            log.warning(telemetry.DATABASE_TROUBLE, error=f"stopped before all was stored: {why}")
            return False
        return True

    @property
    def _submits_seconds(self) -> float:
        """How long submissions under way are waited for, so that what they bring can still be stored."""
        stop_seconds = self.config.stop_seconds
        return max(stop_seconds - LAST_COMMIT_SECONDS, stop_seconds / 2)

    async def salvage(self) -> None:
        """After the lease was lost: store what submissions under way still bring.

        That an attempt was accepted, refused or never sent is a fact about it, whoever owns the task now;
        without it a bought video, or a task that nobody has, would stay unconfirmed. Everything else that is
        left is stale, and the guards refuse it.
        """
        committing = asyncio.create_task(self.commit())
        until = self._now() + self._submits_seconds
        try:
            async with asyncio.timeout(self.config.stop_seconds):
                await asyncio.gather(
                    *(lane.finish_submits(until=until, claims_until=until) for lane in self.lanes.values())
                )
                await self.committer.flushed()
        except TimeoutError:
            log.warning(telemetry.DATABASE_TROUBLE, error="not all was stored after the lease was lost")
        finally:
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)

    # --- for those who run or watch it ------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Tasks at providers that this worker polls, and those that may be there without its knowing."""
        return sum(lane.attempts.in_flight for lane in self.lanes.values())

    def wake(self) -> None:
        """A batch was accepted: look for pending tasks now."""
        for lane in self.lanes.values():
            lane.claims.wake()

    def report(self) -> str:
        """What the worker's row shows to operators: JSON of tasks in flight, providers' states and counts."""
        meters = self.meters.as_dict(
            {name: lane.poller.counts.as_dict() for name, lane in self.lanes.items()},
            {name: dict(lane.poller.unanswered.counts) for name, lane in self.lanes.items()},
        )
        report = {"in_flight": self.in_flight, "providers": self._states(), "meters": meters}
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

    def _states(self) -> dict[str, HealthState]:
        now = self._now()
        return {name: lane.health.state(now) for name, lane in self.lanes.items()}

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _look_at_end(sending: asyncio.Task[None]) -> None:
    """Of a lane that may end when nobody waits for it any more: its last claim may find the lease lost."""
    error = None if sending.cancelled() else sending.exception()
    if error is not None and not isinstance(error, LeaseLost):
        log.warning(telemetry.DATABASE_TROUBLE, error=f"a claim failed while the worker stopped: {error}")
