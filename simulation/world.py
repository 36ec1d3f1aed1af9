"""The simulated world: database, service, workers, users, and the faults that befall them."""

import asyncio
import contextlib
import contextvars
import hashlib
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from rushes.domain.catalogue import Catalogue
from rushes.domain.errors import StatementRefused
from rushes.engine import audit
from rushes.providers.simulator import SimulatorKnobs
from rushes.providers.transport import Response, TransportError
from simulation import faults as kinds
from simulation.books import Books
from simulation.broken import Broken, broken
from simulation.callbacks import Postman
from simulation.faults import Fault
from simulation.healing import check_ended_in_time, check_plans
from simulation.journal import Store
from simulation.life import Life
from simulation.loop import GATE, NumberedTask, VirtualLoop
from simulation.plan import ALIAS, CATALOGUE, Plan, without
from simulation.process import Answer, Dead, Process
from simulation.service import Service
from simulation.slot import POLL_INTERVAL_MIN_SECONDS, Slot
from simulation.users import Users
from simulation.witness import Attempt, Witness

EPOCH_MS = 1_790_000_000_000
"""The wall clock at virtual time 0: a day in 2026."""

LOOK_SECONDS = 5.0
"""How often the world looks whether everything has ended."""

HEALED_SECONDS_MAX = 4 * 3600.0
"""After the world has healed, everything must have ended by then; each task must long before, see below."""

LATE_SECONDS = (35.0, 300.0)
"""When a request arrives that was too late for its client."""

TAIL_LINES = 400


class World:
    """One run. `failure` is the first broken promise; everything after it is not looked at any more."""

    def __init__(self, plan: Plan, faults: Sequence[Fault], *, store: Store, loop: VirtualLoop) -> None:
        self.plan, self.faults, self.store, self.loop = plan, list(faults), store, loop
        self.epoch_ms = EPOCH_MS
        self.failure: Broken | None = None
        self.failed_at = 0.0
        self.in_chaos = True
        self.crashes: Counter[str] = Counter()
        self.pauses = self.commits = 0
        self.healed_at: float | None = None
        self.sender: Attempt | None = None
        self.catalogue: Catalogue = CATALOGUE
        self.tail: deque[tuple[float, str, tuple[object, ...]]] = deque(maxlen=TAIL_LINES)
        self._hash = hashlib.sha256()
        self._outside = contextvars.copy_context()
        self._outside.run(GATE.set, None)
        self._processes: list[Process] = []
        self._random = random.Random(f"world {plan.seed}")
        self._late_share = 0.0
        self._is_buried = False
        self._outages: list[kinds.DatabaseOutage] = []
        self._clock_errors = [0.0, 0.0]
        self.witness = Witness(
            limits=plan.limits,
            poll_gap_min_seconds=POLL_INTERVAL_MIN_SECONDS,
            resubmits=plan.resubmits,
            deadline_of=lambda task_id: self.life.deadline(self.life.tasks[task_id]),
            trusts_clocks=lambda: self.clock_spread() == 0.0,
        )
        alias = CATALOGUE.find_alias(ALIAS)
        assert alias is not None
        self.books = Books()
        self.service = Service(self._knobs(), on_accepted=self._accepted)
        self.life = Life(
            self.books,
            self.witness,
            self.service.told,
            epoch_ms=EPOCH_MS,
            grace_seconds=plan.grace_seconds,
            wait_seconds_max=plan.wait_seconds_max,
            alias=alias,
            resubmits=plan.resubmits,
            archives=plan.archives,
            hard_deadline_seconds=self.hard_deadline_seconds,
            in_flight_max=plan.limits.in_flight_tasks_max,
            clock_error_seconds=self.clock_spread,
        )
        self.postman = Postman(self)
        self.slots = [Slot(self, n, ticks=n < plan.tickers) for n in range(plan.slots)]
        self.users = Users(self)
        self.note_clocks()

    # --- running ------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Everything from the first process to the last check."""
        for fault in self.faults:
            self._plan_fault(fault)
        for slot in self.slots:
            self.later(self._random.random(), slot.start)
        self.users.start()
        while self.loop.time() < self._chaos_ends() and not self._is_over():
            await asyncio.sleep(LOOK_SECONDS)
        self.checked(lambda: check_plans(self))
        self._heal()
        deadline = self.loop.time() + HEALED_SECONDS_MAX + self.clock_spread()
        while not self._is_over():
            if self.loop.time() > deadline:
                self.checked(self._name_the_stuck)
                return
            await asyncio.sleep(LOOK_SECONDS)
        self.checked(self._check_everything)
        self.checked(lambda: check_ended_in_time(self))

    def _chaos_ends(self) -> float:
        outages = [f.at + f.seconds for f in self.faults if isinstance(f, kinds.ServiceOutage)]
        return max([self.plan.chaos_seconds, *outages])

    def _is_over(self) -> bool:
        return self.users.is_done and not self.life.open_count

    def _heal(self) -> None:
        """No more faults: every slot has a process, every clock is right, the service is friendly."""
        self.log("heal")
        self.in_chaos = False
        self.healed_at = self.loop.time()
        self._late_share = 0.0
        self._outages.clear()
        self.service.use(self.plan.knobs())
        for slot in self.slots:
            slot.clock_right()
            if slot.process is not None and slot.process.is_paused:
                slot.process.resume()
            slot.start()

    async def bury(self) -> None:
        """Clear away all processes: their steps run once more, to be cancelled, cut off from everything."""
        self._is_buried = True
        for process in self._processes:
            process.bury()
        while True:
            left = [
                task
                for task in asyncio.all_tasks(self.loop)
                if isinstance(task, NumberedTask) and task.gate is not None
            ]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.sleep(0)

    # --- what processes need ------------------------------------------------------------------------

    def process(self, name: str, *, group: str, clock: Callable[[], float]) -> Process:
        """A new process."""
        process = Process(self, name, group=group, seed=f"{self.plan.seed} {name}", clock=clock)
        self._processes.append(process)
        return process

    def spawn(self, process: Process, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in the process; what it raises is a broken promise."""

        async def guarded() -> None:
            try:
                await main()
            except Dead:
                raise
            except BaseException as error:
                if process.is_buried:
                    raise
                cause = _innermost(error)
                code = "REFUSED" if isinstance(cause, StatementRefused) else "RAISED"
                self.fail(Broken(code, f"{process.name}: {cause!r}"), error)

        self.loop.create_task(guarded(), context=process.context)

    def at(self, when: float, action: Callable[..., object], *arguments: Any) -> None:
        """Do something at a virtual time, in no process."""
        self.loop.call_at(max(when, self.loop.time()), action, *arguments, context=self._outside)

    def later(self, seconds: float, action: Callable[..., object], *arguments: Any) -> None:
        """Do something after so many virtual seconds, in no process."""
        self.at(self.loop.time() + seconds, action, *arguments)

    def tail_lines(self) -> tuple[str, ...]:
        """The end of the log, for people."""
        return tuple(f"{at:.6f} {event} {' '.join(map(str, facts))}" for at, event, facts in self.tail)

    def log(self, event: str, *facts: object) -> None:
        """Add a line to the log of the run, whose hash is the run's fingerprint."""
        line = (round(self.loop.time(), 6), event, facts)
        self._hash.update(msgspec.json.encode(line))
        self.tail.append(line)

    def fingerprint(self) -> str:
        """SHA-256 of the log so far."""
        return self._hash.hexdigest()

    def committed(self, process: Process, what: str) -> None:
        """A transaction of the process was committed: check it."""
        changes = self.store.take()
        if not changes:
            return
        self.commits += 1
        self.log("commit", process.name, what, changes)
        self.checked(lambda: self.life.committed(changes, process.committer(), self.loop.time()))

    def checked(self, check: Callable[[], Any]) -> Any:
        """The check's result; a broken promise ends the run."""
        if self.failure is not None or self._is_buried:
            raise Dead
        try:
            return check()
        except Broken as error:
            self.fail(error)
            raise Dead from None

    def fail(self, failure: Broken, cause: BaseException | None = None) -> None:
        """The run has failed; only the first failure counts."""
        if self.failure is None and not self._is_buried:
            self.failure = failure
            self.failure.__cause__ = cause
            self.failed_at = self.loop.time()
            self.loop.stop()

    def check_intent(self, worker_id: str, attempt: Attempt) -> None:
        """Promise 3: the intent was committed, and the sender still owns the task."""
        task_id, number = attempt
        claimed_by = self.life.claims.get(attempt)
        if claimed_by is None:
            broken("SENT_BEFORE_INTENT", f"task {task_id}, attempt {number} by {worker_id}")
        task = self.life.tasks[task_id]
        owns = (task.status, task.attempt, task.worker_id) == ("processing", number, claimed_by)
        if not owns and not self.clock_spread():
            broken("SENT_WITHOUT_OWNING", f"attempt {number} by {worker_id}, claimed by {claimed_by}: {task}")

    # --- the service --------------------------------------------------------------------------------

    def _knobs(self) -> SimulatorKnobs:
        weather = {f.knob: f.value for f in self.faults if isinstance(f, kinds.Weather)}
        return self.plan.knobs().replaced(weather)

    def _accepted(self, remote: Any) -> None:
        assert self.sender is not None
        self.log("accepted", *self.sender, remote.id)
        sender = self.sender
        self.checked(lambda: self.witness.accepted(sender, remote))
        self.later(0.0, self.postman.plan)

    def arrives_late(self, process: Process) -> bool:
        """Whether this submit comes too late for its client."""
        return bool(self._late_share) and process.random.random() < self._late_share

    def deliver_later(self, send: Callable[[], Awaitable[Response]], attempt: Attempt) -> None:
        """Hand a submit to the service when nobody waits for its answer any more."""

        async def deliver() -> None:
            self.sender = attempt
            with contextlib.suppress(TransportError, Dead):
                await send()

        self.later(self._random.uniform(*LATE_SECONDS), self._run_outside, deliver)

    def _run_outside(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.loop.create_task(main())

    def some_process(self) -> Process | None:
        """Some worker's process that is alive, as a load balancer picks one."""
        alive = [slot.process for slot in self.slots if slot.process is not None and slot.process.worker]
        return self._random.choice(alive) if alive else None

    def wake_workers(self) -> None:
        """Tell one worker that there is work, as the process does that takes the batch."""
        process = self.some_process()
        if process is not None and process.worker is not None:
            process.context.run(process.worker.wake)

    # --- faults -------------------------------------------------------------------------------------

    def _plan_fault(self, fault: Fault) -> None:
        match fault:
            case kinds.Weather():
                pass  # in force from the start
            case kinds.LateArrivals():
                self._late_share = fault.share
            case _:
                self.at(fault.at, self._apply, fault)

    def _apply(self, fault: Fault) -> None:
        if not self.in_chaos:
            return
        match fault:
            case kinds.Crash():
                self.slots[fault.slot].crash(fault)
            case kinds.Pause():
                self.slots[fault.slot].pause(fault)
            case kinds.Stop():
                self.slots[fault.slot].stop(fault)
            case kinds.ClockJump():
                self.slots[fault.slot].jump(fault)
            case kinds.LostCommit() | kinds.LateAnswer():
                self.slots[fault.slot].delay_answer(fault)
            case kinds.Cut():
                self.slots[fault.slot].cut(fault)
            case kinds.DatabaseOutage():
                self._outages.append(fault)
            case kinds.ServiceOutage():
                self.service.be_out(start=fault.at, seconds=fault.seconds, kind=fault.kind)
            case kinds.KeyDisabled():
                self.service.use(self.service.knobs.replaced({"key_disabled": True}))
                self.later(fault.seconds, self._enable_key)
            case kinds.Cancel():
                self.users.cancel(fault)
            case kinds.Retry():
                self.users.retry(fault)
            case kinds.Grant():
                self.users.grant(fault)
            case kinds.Retire():
                self.users.retire(fault)
                if fault.is_gone:
                    self.catalogue = without(self.catalogue, fault.model)
            case _:
                raise AssertionError(fault)

    def _enable_key(self) -> None:
        self.service.use(self.service.knobs.replaced({"key_disabled": False}))

    def database_is_away(self, process: Process) -> bool:
        """Whether the database refuses the process now."""
        return any(not outage.after_commit for outage in self._outages_now())

    def answer_of(self, process: Process) -> Answer | None:
        """What befalls the answer to the commit that the process has just made."""
        answer, process.next_answer = process.next_answer, None
        if answer is not None and self.in_chaos:
            return answer
        if any(outage.after_commit for outage in self._outages_now()):
            return Answer(0.0, is_lost=True)
        return None

    def _outages_now(self) -> list[kinds.DatabaseOutage]:
        now = self.loop.time()
        return [outage for outage in self._outages if now < outage.at + outage.seconds]

    def note_clocks(self) -> None:
        """Remember how far apart the clocks have been."""
        for slot in self.slots:
            error = slot.clock_error()
            self._clock_errors = [min(self._clock_errors[0], error), max(self._clock_errors[1], error)]

    def clock_spread(self) -> float:
        """By how many seconds two clocks have disagreed at most so far."""
        return self._clock_errors[1] - self._clock_errors[0]

    def draw_bonus_seconds(self) -> float | None:
        """Whether the credits that a user buys come as a bonus, and how long they last."""
        if self._random.random() < 0.6:
            return None
        return self._random.uniform(60, 2 * self.plan.chaos_seconds)

    # --- checks at the end --------------------------------------------------------------------------

    def hard_deadline_seconds(self, model: str) -> float:
        """After what time a task of the model fails, by the catalogue of the start."""
        return CATALOGUE.get(model).hard_deadline_seconds

    def _name_the_stuck(self) -> None:
        stuck = [task for task in self.life.tasks.values() if task.status in ("pending", "processing")]
        broken("NOT_FINAL", f"{len(stuck)} tasks are not final long after the world healed: {stuck[:3]}")

    def _check_everything(self) -> None:
        self.books.check_all()
        report = self.store.database.run_reading(audit.audit)
        if report.violations:
            broken("AUDIT", f"{len(report.violations)}: {[str(v) for v in report.violations[:3]]}")
        if report.tasks != len(self.life.tasks):
            broken("AUDIT", f"the audit saw {report.tasks} tasks, the journal {len(self.life.tasks)}")


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
