"""One simulated operating-system process: its gate, its clock, and its ways to the database and network.

A killed process runs no further step: nothing of it is cleaned up, as after `kill -9`. A paused one keeps
its steps for later, as under SIGSTOP. All that leaves or enters it passes here, so that it can be cut off
before and after each commit, send and receive.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.errors import DatabaseUnreachable, StatementRefused
from rushes.domain.task import Failed
from rushes.money.settle import Group, apply_group
from rushes.providers.base import Provider
from rushes.run.worker import Worker
from rushes.store.database import Database
from simulation.truth.broken import Broken
from simulation.truth.committer import Committer
from simulation.truth.left_behind import check_record_dropped
from simulation.truth.witness import Attempt
from simulation.world.ground import Dead, Ground
from simulation.world.loop import GATE, Step
from simulation.world.records import Machine

P = ParamSpec("P")
T = TypeVar("T")

POINTS = ("step", "commit.before", "commit.after", "send.before", "send.after", "receive.after")
"""Where a process can be killed: before any of its steps, or around its commits, requests and answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What befalls the database's answer to a commit: it takes `seconds` longer, and may then be lost."""

    seconds: float
    is_lost: bool


class Process:
    """One process. Those of a `group` keep the providers' limits together. Its name and the plan's seed feed its own
    randomness: waits and retry jitter."""

    def __init__(
        self,
        world: Ground,
        name: str,
        *,
        group: str,
        clock: Callable[[], float],
        machine: Machine,
        ticks: bool = False,
    ) -> None:
        self.world = world
        self.name, self.group, self.machine, self.ticks = name, group, machine, ticks
        self.random = random.Random(f"{world.plan.seed} {name}")
        self.worker: Worker | None = None
        self.catalogue: Catalogue | None = None
        self.receivers: dict[str, Provider] | None = None
        """What reads the callbacks that come to it; made for the first."""
        self.steps = 0
        self.is_dead = self.is_paused = self.is_buried = False
        self.host = world.host
        self.cut_until = -1.0
        self.cut_answers = False
        self.announced: Attempt | None = None
        self.was_paused = False
        self.next_answer: Answer | None = None
        self._clock = clock
        self._countdowns: dict[str, tuple[int, Callable[[], None]]] = {}
        self._step_limit: int | None = None
        self._kept: list[Step] = []
        self.database = ProcessDatabase(self)
        self.context = contextvars.copy_context()
        self.context.run(GATE.set, self)
        world.burials.append(self.bury)

    def spawn(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in the process; what it raises is a broken promise."""

        async def guarded() -> None:
            try:
                await main()
            except Dead:
                raise
            except BaseException as error:
                if self.is_buried:
                    raise
                cause = _innermost(error)
                code = "REFUSED" if isinstance(cause, StatementRefused) else "RAISED"
                self.world.fail(Broken(code, f"{self.name}: {cause!r}"), error)

        self.world.loop.create_task(guarded(), context=self.context)

    # --- life and death -----------------------------------------------------------------------------

    def admits(self, step: Step) -> bool:
        """See `Gate`."""
        if self.is_buried:
            return True
        if self.is_paused or self.is_dead:
            self._kept.append(step)
            return False
        self.steps += 1
        if self._step_limit is not None and self.steps >= self._step_limit:
            self._step_limit = None
            self._strike("step")
            if self.is_dead:
                self._kept.append(step)
                return False
        return True

    def arm(self, point: str, count: int, action: Callable[[], None]) -> None:
        """Call `action` the next `count`th time this process comes to `point`."""
        self._countdowns[point] = (count, action)
        if point == "step":
            self._step_limit = self.steps + count

    @property
    def is_armed(self) -> bool:
        """Whether something befalls it at one of its next points."""
        return bool(self._countdowns)

    def reach(self, point: str) -> bool:
        """The process comes to a point; False when it dies there."""
        armed = self._countdowns.get(point)
        if armed is not None:
            if armed[0] > 1:
                self._countdowns[point] = (armed[0] - 1, armed[1])
            else:
                self._strike(point)
        return not self.is_dead

    def _strike(self, point: str) -> None:
        _, action = self._countdowns.pop(point)
        action()

    def kill(self) -> None:
        """No further step."""
        self.is_dead = True

    def pause(self) -> None:
        """SIGSTOP."""
        self.is_paused = self.was_paused = True

    def resume(self) -> None:
        """SIGCONT; a process that was killed meanwhile stays dead."""
        self.is_paused = False
        if not self.is_dead:
            self._run_kept()

    def bury(self) -> None:
        """Let the steps run that were kept, after the run: they find themselves dead and end."""
        self.is_dead = self.is_buried = True
        self._run_kept()

    def _run_kept(self) -> None:
        kept, self._kept = self._kept, []
        self.world.loop.run_again(kept)

    def delay_answer(self, answer: "Answer") -> None:
        """The answer to the commit just made comes late, or not at all."""
        self.next_answer = answer

    def take_answer(self) -> Answer | None:
        """What befalls the answer to the commit that it has just made."""
        answer, self.next_answer = self.next_answer, None
        if answer is not None and self.world.in_chaos:
            return answer
        return Answer(0.0, is_lost=True) if self.world.loses_answers() else None

    def record_dropped(self, worker_id: str, handed: Collection[Attempt]) -> None:
        """See `Holder`."""
        tasks = self.world.life.tasks.values()
        self.world.checked(lambda: check_record_dropped(tasks, worker_id, handed))

    async def vanish(self) -> None:
        """Wait for ever: the process died here."""
        await self.world.loop.create_future()
        raise Dead

    def now_ms(self) -> int:
        """The wall clock of the process's machine."""
        return self.world.epoch_ms + int((self.world.loop.time() + self._clock()) * 1000)

    def committer(self) -> Committer:
        """Who commits, as the checks need to know it."""
        worker_id = self.worker.worker_id if self.worker else None
        return Committer(self.name, worker_id, self.catalogue, self.machine.never_handed)

    @property
    def worker_id(self) -> str:
        """The identity under which its worker acts now."""
        return self.worker.worker_id if self.worker else self.name


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def names_of(function: Callable[..., object], arguments: Sequence[object]) -> list[str]:
    """What faults call this transaction: its function's name, and what a group does to tasks."""
    names = [function.__name__]
    if arguments and isinstance(arguments[0], Group):
        group = arguments[0]
        if group.verdicts:
            names.append("settle")
        if group.given_up or any(isinstance(verdict, Failed) for _, _, verdict in group.verdicts):
            names.append("refund")
        if group.given_up:
            names.append("give_up")
        if group.returned or group.resubmitted:
            names.append("give_back")
        if group.resubmitted:
            names.append("resubmit")
    return names


class ProcessDatabase(Database):
    """The way of one process to the world's database. Waits before and after each transaction."""

    def __init__(self, process: Process) -> None:
        self._process = process
        shared = process.world.store.database
        self.dialect, self.url, self.engine = shared.dialect, shared.url, shared.engine
        self._checkpoints = None

    async def transact(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One transaction; the process may be cut off before it, or between the commit and its answer."""
        process, world = self._process, self._process.world
        await world.loop.pause(world.plan.commit_seconds * process.random.random())
        self._must_be_reachable()
        names = names_of(function, args)
        if process.is_armed:
            await self._come_to("commit.before", names)
        if args and isinstance(args[0], Group):
            try:
                world.refusing.look(args[0], world.loop.time(), self._remote_of)
            except StatementRefused:  # its rows are committed in ever smaller groups then, and others wait
                seconds = 2 * len(args[0]) * world.plan.commit_seconds
                world.stalled_until[process.worker_id] = world.loop.time() + seconds
                raise
        result = world.store.run(function, *args, **kwargs)
        world.committed(process.name, names[0], process.committer)
        if process.is_armed:
            await self._come_to("commit.after", names)
        answer = process.take_answer()
        if answer is not None:
            if names[0] == apply_group.__name__:
                world.stalled_until[process.worker_id] = world.loop.time() + answer.seconds
            await world.loop.pause(answer.seconds)
            if answer.is_lost:
                raise DatabaseUnreachable("the connection was lost after the commit was sent")
        await world.loop.pause(0.2 * world.plan.commit_seconds * process.random.random())
        return result

    def _remote_of(self, task_id: int) -> str | None:
        task = self._process.world.life.tasks.get(task_id)
        return None if task is None else task.remote_task_id

    async def _come_to(self, point: str, names: Sequence[str]) -> None:
        process = self._process
        for name in ("", *names):
            if not process.reach(f"{point}.{name}" if name else point):
                await process.vanish()
        if process.is_paused:
            await asyncio.sleep(0)  # it was stopped right here: the rest is kept until it goes on

    async def read(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One reading transaction."""
        process, world = self._process, self._process.world
        await world.loop.pause(0.2 * world.plan.commit_seconds * process.random.random())
        self._must_be_reachable()
        return world.store.run_reading(function, *args, **kwargs)

    def _must_be_reachable(self) -> None:
        if self._process.is_dead:
            raise Dead
        if self._process.world.database_is_away():
            raise DatabaseUnreachable("connection refused")
