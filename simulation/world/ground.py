"""What everything in the simulated world stands on: the clock, the log, the service, the database, the checks."""

import contextlib
import contextvars
import hashlib
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.polling.schedule import overdue_interval_seconds
from rushes.providers.http.transport import Response, TransportError
from rushes.run.lane.poll import GONE_SECONDS
from rushes.run.lane.remote_task import UNLISTED_SOFT_DEADLINE_SECONDS
from rushes.simulator import Outcome, SimulatorKnobs
from rushes.simulator.families.wire import Refusal
from simulation.truth.books import Books
from simulation.truth.broken import Broken, broken
from simulation.truth.committer import Committer
from simulation.truth.journal import Store
from simulation.truth.life import Life
from simulation.truth.model_rooms import ModelRooms
from simulation.truth.refusing import Refusing
from simulation.truth.seen import Seen
from simulation.truth.turns import Turns
from simulation.truth.witness import Attempt, Witness
from simulation.world import kinds
from simulation.world.kinds import Fault
from simulation.world.loop import GATE, VirtualLoop
from simulation.world.plan import (
    ALIAS,
    CATALOGUE,
    POLL_INTERVAL_MAX_SECONDS,
    POLL_INTERVAL_MIN_SECONDS,
    Plan,
)
from simulation.world.service import Service

EPOCH_MS = 1_790_000_000_000
"""The wall clock at virtual time 0: a day in 2026."""

LATE_SECONDS = (35.0, 300.0)
"""When a request arrives that was too late for its client."""

TAIL_LINES = 400

HOST, NEXT_HOST = "http://service.invalid", "http://next.invalid"
"""Where the service is, and where it is after a move."""

UNNOTICED_SECONDS = 150.0
"""How long after an outage a poll may still fail that was asked in it, or was put off by it."""

OVERDUE_INTERVAL_SECONDS = overdue_interval_seconds(POLL_INTERVAL_MIN_SECONDS, POLL_INTERVAL_MAX_SECONDS)
"""How often a task past its soft deadline is polled."""

_ROUNDING_SECONDS = 0.01
_ENCODER = msgspec.json.Encoder()


class Dead(BaseException):
    """A step of a dead process that is being cleared away after the run."""


class Ground:
    """The state of one run. `failure` is the first broken promise; what comes after it is not looked at.

    Each process puts its `bury` into `burials`, each machine the error of its clock into `clocks`.
    """

    def __init__(self, plan: Plan, faults: Sequence[Fault], *, store: Store, loop: VirtualLoop) -> None:
        self.plan, self.faults, self.store, self.loop = plan, list(faults), store, loop
        self.epoch_ms = EPOCH_MS
        self.failure: Broken | None = None
        self.failed_at, self.in_chaos = 0.0, True
        self.crashes: Counter[str] = Counter()
        self.pauses = self.commits = 0
        self.healed_at: float | None = None
        self.sender: Attempt | None = None
        self.sending_worker: str | None = None
        """Who writes the request that the service is about to see; None for one that comes late."""
        self.catalogue: Catalogue = plan.catalogue
        self.host = HOST
        self.moves = any(isinstance(fault, kinds.MovedHost) for fault in self.faults)
        self.tail: deque[tuple[float, str, tuple[object, ...]]] = deque(maxlen=TAIL_LINES)
        self._hash = hashlib.sha256()
        self._outside = contextvars.copy_context()
        self._outside.run(GATE.set, None)
        self.burials: list[Callable[[], None]] = []
        self.clocks: list[Callable[[], float]] = []
        self.random = random.Random(f"world {plan.seed}")
        self.late_share = self.swapped_share = self.odd_share = self.swapped_submits_share = 0.0
        self.storm: kinds.CallbackStorm | None = None
        self.slow_connects: kinds.SlowConnects | None = None
        self.is_buried = False
        self.outages: list[kinds.DatabaseOutage] = []
        self.stalled_until: dict[str, float] = {}  # by worker: when the last late answer to a group is here
        self._clock_errors = [0.0, 0.0]
        self.witness = Witness(
            limits=plan.limits,
            poll_gap_min_seconds=POLL_INTERVAL_MIN_SECONDS,
            resubmits=plan.resubmits,
            deadline_of=lambda task_id: self.life.deadline(self.life.tasks[task_id]),
            gap_of=self.least_poll_gap_seconds,
            trusts_clocks=lambda: self.clock_spread() == 0.0,
        )
        alias = CATALOGUE.find_alias(ALIAS)
        assert alias is not None
        self.books = Books()
        self.service = Service(self._knobs(), on_accepted=self._accepted, on_refused=self._refused)
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
            submits_per_second=plan.limits.submits_per_second,
            clock_error_seconds=self.clock_spread,
            turns=Turns(plan.accounts, [name for name, _ in plan.model_limits]),
            rooms=ModelRooms(dict(plan.model_limits)),
            was_gone_at=self._was_gone_at,
        )
        self.refusing = Refusing(self.witness)
        self.seen = Seen(is_written=self._has_trouble, away_until=self._away_until)

    # --- the log and the checks ---------------------------------------------------------------------

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
        self._hash.update(_ENCODER.encode(line))
        self.tail.append(line)

    def fingerprint(self) -> str:
        """SHA-256 of the log so far."""
        return self._hash.hexdigest()

    def committed(self, name: str, what: str, committer: Callable[[], Committer]) -> None:
        """A transaction of the process of that name was committed: check it."""
        changes = self.store.take()
        if not changes:
            return
        self.commits += 1
        self.log("commit", name, what, changes)
        self.checked(lambda: self.life.committed(changes, committer(), self.loop.time()))

    def checked(self, check: Callable[[], Any]) -> Any:
        """The check's result; a broken promise ends the run."""
        if self.failure is not None or self.is_buried:
            raise Dead
        try:
            return check()
        except Broken as error:
            self.fail(error)
            raise Dead from None

    def fail(self, failure: Broken, cause: BaseException | None = None) -> None:
        """The run has failed; only the first failure counts."""
        if self.failure is None and not self.is_buried:
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

    def least_poll_gap_seconds(self, task_id: int, polled_at: float) -> float:
        """The least time to the next poll of a task that was polled at `polled_at`, whatever the clocks say."""
        task = self.life.tasks[task_id]
        if (
            task.remote_task_id is None
        ):  # a callback has named it: it is asked for until an answer confirms it
            return POLL_INTERVAL_MIN_SECONDS
        was_forgotten = Outcome.FORGOTTEN in self.service.told.get(task.remote_task_id, ())
        if task.dispatched_at_ms is None or was_forgotten:  # "no such task" is asked again within its grace
            return POLL_INTERVAL_MIN_SECONDS
        soft_seconds = CATALOGUE.get(task.model).soft_deadline_seconds
        if self.catalogue.find(task.model) is None:
            soft_seconds = max(soft_seconds, UNLISTED_SOFT_DEADLINE_SECONDS)
        sent_at = (task.dispatched_at_ms - self.epoch_ms) / 1000
        overdue_at = sent_at + soft_seconds + self.clock_spread() + _ROUNDING_SECONDS
        return OVERDUE_INTERVAL_SECONDS if polled_at >= overdue_at else POLL_INTERVAL_MIN_SECONDS

    # --- the service --------------------------------------------------------------------------------

    def _knobs(self) -> SimulatorKnobs:
        weather = {f.knob: f.value for f in self.faults if isinstance(f, kinds.Weather)}
        return self.plan.knobs().replaced(weather)

    def _accepted(self, remote: Any) -> None:
        assert self.sender is not None
        self.log("accepted", *self.sender, remote.id)
        sender, worker_id = self.sender, self.sending_worker
        self.checked(lambda: self.witness.accepted(sender, remote))
        if worker_id is not None:
            self.checked(lambda: self.check_intent(worker_id, sender))

    def _refused(self, refusal: Refusal) -> None:
        assert self.sender is not None
        self.witness.refused(self.sender, refusal)

    def arrives_late(self, draw: random.Random) -> bool:
        """Whether this submit comes too late for its client."""
        return bool(self.late_share) and draw.random() < self.late_share

    def deliver_later(self, send: Callable[[], Awaitable[Response]], attempt: Attempt) -> None:
        """Hand a submit to the service when nobody waits for its answer any more."""

        async def deliver() -> None:
            self.sender, self.sending_worker = attempt, None
            with contextlib.suppress(TransportError, Dead):
                await send()

        self.later(self.random.uniform(*LATE_SECONDS), self._run_outside, deliver)

    def _run_outside(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.loop.create_task(main())

    # --- the database and the clocks ----------------------------------------------------------------

    def loses_answers(self) -> bool:
        """Whether commits are made now, and their answers lost."""
        return bool(self.outages) and any(outage.after_commit for outage in self._outages_now())

    def database_is_away(self) -> bool:
        """Whether the database refuses everybody now."""
        return bool(self.outages) and any(not outage.after_commit for outage in self._outages_now())

    def _outages_now(self) -> list[kinds.DatabaseOutage]:
        now = self.loop.time()
        return [outage for outage in self.outages if now < outage.at + outage.seconds]

    def _away_until(self, worker_id: str) -> float:
        now = self.loop.time()
        ends = [outage.at + outage.seconds for outage in self.outages if outage.at <= now]
        return max(self.stalled_until.get(worker_id, 0.0), *ends, 0.0)

    def _was_gone_at(self, now: float) -> bool:
        """Whether the provider had been down for so long at that time that it was gone: an outage that has just
        ended may not have been noticed yet."""
        gone_seconds = GONE_SECONDS if self.plan.gone_seconds is None else self.plan.gone_seconds
        outages = [f for f in self.faults if isinstance(f, kinds.ServiceOutage)]
        return any(f.at + gone_seconds <= now <= f.at + f.seconds + UNNOTICED_SECONDS for f in outages)

    def _has_trouble(self, task_id: int) -> bool:
        def read(connection: Connection) -> bool:
            query = text("SELECT trouble_kind FROM video_tasks WHERE id = :id")
            return connection.scalar(query, {"id": task_id}) is not None

        return self.store.run_reading(read)

    def note_clocks(self) -> None:
        """Remember how far apart the clocks have been."""
        for clock_error in self.clocks:
            error = clock_error()
            self._clock_errors = [min(self._clock_errors[0], error), max(self._clock_errors[1], error)]

    def clock_spread(self) -> float:
        """By how many seconds two clocks have disagreed at most so far."""
        return self._clock_errors[1] - self._clock_errors[0]

    def draw_bonus_seconds(self) -> float | None:
        """Whether the credits that a user buys come as a bonus, and how long they last."""
        if self.random.random() < 0.6:
            return None
        return self.random.uniform(60, 2 * self.plan.chaos_seconds)

    def hard_deadline_seconds(self, model: str) -> float:
        """After what time a task of the model fails, by the catalogue of the start."""
        return CATALOGUE.get(model).hard_deadline_seconds
