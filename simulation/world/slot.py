"""Slots: the places of worker processes, their machines' clocks, and what happens to them."""

import asyncio
from functools import cache, partial
from typing import Any

from rushes.domain.callback_tokens import callback_token
from rushes.domain.errors import StoreError
from rushes.domain.polling.learned_schedule import LearnedSchedule
from rushes.domain.polling.schedule import LadderSchedule, PollSchedule
from rushes.domain.task import CancelResult, PollResult
from rushes.providers.base import Provider, ProviderConfig
from rushes.providers.families.grsai import GrsaiProvider
from rushes.providers.families.grsai_unified import GrsaiUnifiedProvider
from rushes.run.context import WorkerConfig
from rushes.run.meters import Meters
from rushes.run.tick import tick
from rushes.run.worker import Worker
from rushes.store.workers import LeaseLost
from simulation.truth.broken import broken
from simulation.world.ground import Ground
from simulation.world.kinds import ClockJump, Crash, Cut, LateAnswer, LostCommit, Pause, Stop
from simulation.world.plan import (
    POLL_INTERVAL_MAX_SECONDS,
    POLL_INTERVAL_MIN_SECONDS,
    REQUEST_TIMEOUT_SECONDS,
)
from simulation.world.process import Answer, Process
from simulation.world.records import Machine, Records
from simulation.world.wire import ProcessTransport

CALLBACK_KEY = b"the simulation's callback key"
TICK_PAUSE_SECONDS = 20.0
TICK_BUDGET_SECONDS = 40.0

STOP_SECONDS_MAX = 10.0
"""How long a worker that was asked to stop may take (issue 2, item 5)."""

STOP_SPARE_SECONDS = 2.0
"""How much sooner it is set to stop: a commit in hand is waited for."""

_ROUNDING_SECONDS = 1e-6


def providers(process: Process, host: str) -> dict[str, Provider]:
    """The real providers, over the process's way to the network."""
    made: dict[str, Provider] = {}
    for provider_class in (GrsaiProvider, GrsaiUnifiedProvider):
        transport = ProcessTransport(process, provider_class.name)
        provider = _kind(provider_class, can_drop=process.world.plan.can_drop)(
            ProviderConfig(
                host=host,
                api_key="simulated-key",
                transport=transport,
                timeout_seconds=REQUEST_TIMEOUT_SECONDS,
                limits=process.world.plan.limits,
            )
        )
        provider.process, provider.wire = process, transport
        made[provider.name] = provider
    return made


@cache
def _kind(provider_class: type[Any], *, can_drop: bool) -> type[Any]:
    heard = _heard(provider_class)
    return _dropping(heard) if can_drop else heard


def _heard(provider_class: type[Any]) -> type[Any]:
    """The provider, of a `process`; whether its polls bring answers is noted."""

    class Heard(provider_class):  # type: ignore[misc]
        process: Process

        async def poll_remote_task(self, remote_task_id: str) -> PollResult:
            process, world = self.process, self.process.world
            result: PollResult = await super().poll_remote_task(remote_task_id)
            attempt = world.witness.attempt_of_remote.get(remote_task_id)
            task = None if attempt is None else world.life.tasks.get(attempt[0])
            follows = task is not None and (task.remote_task_id, task.worker_id) == (
                remote_task_id,
                process.worker_id,
            )
            is_known = follows and not world.witness.may_be_followed_anew(remote_task_id, world.loop.time())
            if task is not None and is_known and not process.was_paused and not process.ticks:
                hear = partial(
                    world.seen.heard,
                    process.worker_id,
                    remote_task_id,
                    task_id=task.id,
                    adoptions=world.witness.adoptions[remote_task_id],
                    is_answer=result.ok,
                    now=world.loop.time(),
                )
                world.checked(hear)
            return result

    return Heard


def _dropping(provider_class: type[Any]) -> type[Any]:
    """The provider, of a service that can be asked over its `wire` to drop what waits."""

    class Dropping(provider_class):  # type: ignore[misc]
        wire: ProcessTransport

        async def cancel(self, remote_task_id: str) -> CancelResult:
            return await self.wire.drop(remote_task_id)

    return Dropping


class _PunctualMeters(Meters):
    """A worker's meters, and a check that no poll comes before its time. A pass polls whenever it runs."""

    def __init__(self, process: Process, *, ticks: bool) -> None:
        super().__init__()
        self._process, self._ticks = process, ticks

    def polled(self, *, late_seconds: float) -> None:
        """As all meters do."""
        super().polled(late_seconds=late_seconds)
        early_seconds = -late_seconds
        if early_seconds > _ROUNDING_SECONDS and not self._ticks:
            process = self._process
            process.world.checked(
                lambda: broken("POLLED_EARLY", f"{process.name} polled {early_seconds:.3f} s early")
            )


class Slot:
    """Starts a process whenever there is none."""

    def __init__(self, world: Ground, number: int, *, ticks: bool, machine: Machine) -> None:
        self.world, self.number, self.ticks, self.machine = world, number, ticks, machine
        self.process: Process | None = None
        self.clock_jump = 0.0
        self._started = 0
        self._stop = asyncio.Event()

    def clock_error(self) -> float:
        """By how many seconds the machine's wall clock is wrong."""
        return self.world.plan.skew_seconds[self.number] + self.clock_jump

    # --- the process --------------------------------------------------------------------------------

    def start(self) -> None:
        """A new process, unless one is alive."""
        if self.process is not None:
            return
        self._started += 1
        name = f"{'ticker' if self.ticks else 'worker'}-{self.number}.{self._started}"
        # passes that cron starts hold the limits each for itself, workers together
        group = name if self.ticks else "workers"
        self.process = Process(
            self.world, name, group=group, clock=self.clock_error, machine=self.machine, ticks=self.ticks
        )
        self._stop = asyncio.Event()
        self.world.log("start", name)
        self.process.spawn(partial(self._tick if self.ticks else self._work, self.process))

    async def _work(self, process: Process) -> None:
        process.worker = self._worker(process)
        await process.worker.run(self._stop)
        self._gone(process)

    async def _tick(self, process: Process) -> None:
        while not self._stop.is_set():
            process.worker = self._worker(process)
            try:
                await tick(process.worker, budget_seconds=TICK_BUDGET_SECONDS, stop=self._stop)
            except* (StoreError, LeaseLost):
                pass  # what a cron job logs; the next pass goes on
            await asyncio.sleep(TICK_PAUSE_SECONDS * (0.5 + process.random.random()))
        self._gone(process)

    def _gone(self, process: Process) -> None:
        self.world.log("gone", process.name)
        process.kill()
        self.process = None

    def _worker(self, process: Process) -> Worker:
        world, plan = self.world, self.world.plan
        process.catalogue = world.catalogue
        numbers = iter(range(1, 1_000_000))

        def announce(provider: str, task_id: int, attempt: int) -> str | None:
            # asked for right before each submit: tells which attempt the next request is
            process.announced = (task_id, attempt)
            if not plan.has_callbacks:
                return None
            token = callback_token(CALLBACK_KEY, task_id=task_id, attempt=attempt)
            return f"{process.host}/callbacks/{provider}/{token}"

        at = cache(partial(providers, process))
        own = at(process.host)
        return Worker(
            process.database,
            own,
            hosts=dict.fromkeys(own, process.host) if world.moves else None,
            provider_at=lambda name, host: at(host)[name],
            catalogue=world.catalogue,
            schedule=self._schedule(),
            config=WorkerConfig(
                stop_seconds=STOP_SECONDS_MAX - STOP_SPARE_SECONDS,
                lease_seconds=plan.lease_seconds,
                unconfirmed_grace_seconds=plan.grace_seconds,
                unconfirmed_policy=plan.policy,
                wait_seconds_max=plan.wait_seconds_max,
                failover_queue_max=plan.failover_queue_max,
                poll_backoff_seconds_max=POLL_INTERVAL_MAX_SECONDS,
                callback_url=announce,
                takes_callbacks=plan.has_callbacks,
                archives=plan.archives,
                host=process.name,
                pid=1,
            ),
            now_ms=process.now_ms,
            new_id=lambda: f"{process.name}:{process.random.getrandbits(24):06x}-{next(numbers)}",
            jitter=process.random,
            meters=_PunctualMeters(process, ticks=self.ticks),
            records=Records(self.machine, process),
        )

    def _schedule(self) -> PollSchedule:
        if self.world.plan.learns:
            return LearnedSchedule(
                POLL_INTERVAL_MIN_SECONDS, POLL_INTERVAL_MAX_SECONDS, catalogue=self.world.catalogue
            )
        return LadderSchedule(POLL_INTERVAL_MIN_SECONDS, POLL_INTERVAL_MAX_SECONDS)

    # --- faults -------------------------------------------------------------------------------------

    def crash(self, fault: Crash) -> None:
        """Arm a kill."""
        process = self.process
        if process is not None:
            process.arm(fault.point, fault.count, lambda: self._killed(process, fault))

    def _killed(self, process: Process, fault: Crash) -> None:
        if not self.world.in_chaos or process.is_dead:
            return
        self.world.crashes[fault.point] += 1
        self.world.log("kill", process.name, fault.point)
        process.kill()
        self.process = None
        self.world.later(fault.restart_seconds, self.start)

    def pause(self, fault: Pause) -> None:
        """SIGSTOP, and SIGCONT later."""
        process = self.process
        if process is None:
            return
        if fault.point:
            process.arm(fault.point, fault.count, lambda: self._paused(process, fault))
        else:
            self._paused(process, fault)

    def _paused(self, process: Process, fault: Pause) -> None:
        if self.world.in_chaos and not process.is_paused and not process.is_dead:
            self.world.log("pause", process.name)
            self.world.pauses += 1
            process.pause()
            self.world.later(fault.seconds, process.resume)

    def stop(self, fault: Stop) -> None:
        """SIGTERM, and a start later."""
        process = self.process
        if process is None or self._stop.is_set():
            return
        if fault.point:
            process.arm(fault.point, fault.count, lambda: self._stopped(process, fault))
        else:
            self._stopped(process, fault)

    def _stopped(self, process: Process, fault: Stop) -> None:
        if not self.world.in_chaos or self._stop.is_set() or process.is_dead:
            return
        self.world.log("stop", process.name)
        self._stop.set()
        if not self.ticks:
            in_hand_seconds = self.world.plan.commit_seconds  # a transaction that is under way is not cut
            self.world.later(STOP_SECONDS_MAX + in_hand_seconds, self._must_be_gone, process)
        self.world.later(STOP_SECONDS_MAX + fault.restart_seconds, self.start_again, process)

    def _must_be_gone(self, process: Process) -> None:
        if self.process is process and not process.was_paused:
            self.world.checked(lambda: broken("STOP_LATE", f"{process.name} did not stop in time"))

    def start_again(self, process: Process) -> None:
        """Start, once the stopped process is gone."""
        if self.process is process:
            self.world.later(STOP_SECONDS_MAX, self.start_again, process)
        else:
            self.start()

    def delay_answer(self, fault: LateAnswer | LostCommit) -> None:
        """Arm the delay or the loss of a commit's answer."""
        process = self.process
        if process is not None:
            point = f"commit.after.{fault.what}" if fault.what else "commit.after"
            answer = Answer(fault.seconds, is_lost=isinstance(fault, LostCommit))
            process.arm(point, fault.count, lambda: process.delay_answer(answer))

    def cut(self, fault: Cut) -> None:
        """No provider is reached."""
        if self.process is not None:
            self.process.cut_until = self.world.loop.time() + fault.seconds
            self.process.cut_answers = fault.answers

    def jump(self, fault: ClockJump) -> None:
        """The clock is wrong, and put right later."""
        self.clock_jump = fault.seconds
        self.world.note_clocks()
        self.world.later(fault.duration_seconds, self.clock_right)

    def clock_right(self) -> None:
        """The clock shows the time again."""
        self.clock_jump = 0.0


class Fleet:
    """All slots."""

    def __init__(self, world: Ground) -> None:
        self._world = world
        one = Machine()
        self.slots = [
            Slot(world, n, ticks=n < world.plan.tickers, machine=Machine() if skew else one)
            for n, skew in enumerate(world.plan.skew_seconds)
        ]
        world.clocks += [slot.clock_error for slot in self.slots]

    def some_process(self) -> Process | None:
        """Some worker's process that is alive, as a load balancer picks one."""
        alive = [slot.process for slot in self.slots if slot.process is not None and slot.process.worker]
        return self._world.random.choice(alive) if alive else None

    def wake_workers(self) -> None:
        """Tell one worker that there is work, as the process does that takes the batch."""
        process = self.some_process()
        if process is not None and process.worker is not None:
            process.context.run(process.worker.wake)
