"""A slot: the place of one worker process, its machine's clock, and what happens to it."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from rushes.domain.errors import StoreError
from rushes.domain.learned_schedule import LearnedSchedule
from rushes.domain.schedule import LadderSchedule, PollSchedule
from rushes.engine.callbacks import callback_token
from rushes.engine.worker import Worker, WorkerConfig
from rushes.providers.base import Provider, ProviderConfig
from rushes.providers.grsai import GrsaiProvider
from rushes.providers.grsai_unified import GrsaiUnifiedProvider
from rushes.store.workers import LeaseLost
from simulation.broken import broken
from simulation.faults import ClockJump, Crash, Cut, LateAnswer, LostCommit, Pause, Stop
from simulation.plan import REQUEST_TIMEOUT_SECONDS
from simulation.process import Answer, Process, ProcessTransport

if TYPE_CHECKING:
    from simulation.world import World

HOST = "http://service.invalid"
CALLBACK_KEY = b"the simulation's callback key"
POLL_INTERVAL_MIN_SECONDS, POLL_INTERVAL_MAX_SECONDS = 2.0, 30.0
TICK_PAUSE_SECONDS = 20.0
TICK_BUDGET_SECONDS = 40.0

STOP_SECONDS_MAX = 10.0
"""How long a worker that was asked to stop may take (issue 2, item 5)."""

_ROUNDING_SECONDS = 1e-6


def providers(process: Process) -> dict[str, Provider]:
    """The real providers, over the process's way to the network."""
    made: dict[str, Provider] = {}
    for provider_class in (GrsaiProvider, GrsaiUnifiedProvider):
        provider = provider_class(
            ProviderConfig(
                host=HOST,
                api_key="simulated-key",
                transport=ProcessTransport(process, provider_class.name),
                timeout_seconds=REQUEST_TIMEOUT_SECONDS,
                limits=process.world.plan.limits,
            )
        )
        made[provider.name] = provider
    return made


class Slot:
    """Starts a process whenever there is none."""

    def __init__(self, world: "World", number: int, *, ticks: bool) -> None:
        self.world, self.number, self.ticks = world, number, ticks
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
        self.process = self.world.process(name, group=group, clock=self.clock_error)
        self._stop = asyncio.Event()
        self.world.log("start", name)
        self.world.spawn(self.process, partial(self._tick if self.ticks else self._work, self.process))

    async def _work(self, process: Process) -> None:
        process.worker = self._worker(process)
        await process.worker.run(self._stop)
        self._gone(process)

    async def _tick(self, process: Process) -> None:
        while not self._stop.is_set():
            process.worker = self._worker(process)
            try:
                await process.worker.tick(budget_seconds=TICK_BUDGET_SECONDS)
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
            return f"{HOST}/callbacks/{provider}/{token}"

        def on_late(seconds: float) -> None:
            if seconds < -_ROUNDING_SECONDS and not self.ticks:
                world.checked(lambda: broken("POLLED_EARLY", f"{process.name} polled {-seconds:.3f} s early"))

        return Worker(
            process.database,
            providers(process),
            catalogue=world.catalogue,
            schedule=self._schedule(),
            config=WorkerConfig(
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
            on_late=on_late,
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
        self.world.log("stop", process.name)
        self._stop.set()
        if not self.ticks:
            self.world.later(STOP_SECONDS_MAX, self._must_be_gone, process)
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
