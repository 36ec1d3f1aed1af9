"""One simulated operating-system process: its gate, its clock, and its ways to the database and network.

A killed process runs no further step: nothing of it is cleaned up, as after `kill -9`. A paused one keeps
its steps for later, as under SIGSTOP. All that leaves or enters it passes here, so that it can be cut off
before and after each commit, send and receive.
"""

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from sqlalchemy import Connection

from rushes.domain.catalogue import Catalogue
from rushes.domain.errors import DatabaseUnreachable
from rushes.domain.task import Failed
from rushes.engine.settle import Group
from rushes.engine.worker import Worker
from rushes.providers.simulator import SimulatorTransport
from rushes.providers.simulator.wire_grsai import RESULT_PATH, SORA_PATH, VEO_PATH
from rushes.providers.simulator.wire_unified import GENERATE_PATH
from rushes.providers.transport import Response, TransportError
from rushes.store.database import Database
from simulation.life import Committer
from simulation.loop import GATE
from simulation.plan import REQUEST_TIMEOUT_SECONDS
from simulation.witness import Attempt, Sender

if TYPE_CHECKING:
    from simulation.world import World

P = ParamSpec("P")
T = TypeVar("T")

POINTS = ("step", "commit.before", "commit.after", "send.before", "send.after", "receive.after")
"""Where a process can be killed: before any of its steps, or around its commits, requests and answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What befalls the database's answer to a commit: it takes `seconds` longer, and may then be lost."""

    seconds: float
    is_lost: bool


class Dead(BaseException):
    """A step of a dead process that is being cleared away after the run."""


class Process:
    """One process. Those of a `group` keep the providers' limits together. `seed` feeds its own randomness: waits and retry jitter."""

    def __init__(
        self, world: "World", name: str, *, group: str, seed: str, clock: Callable[[], float]
    ) -> None:
        self.world = world
        self.name, self.group = name, group
        self.random = random.Random(seed)
        self.worker: Worker | None = None
        self.catalogue: Catalogue | None = None
        self.steps = 0
        self.is_dead = self.is_paused = self.is_buried = False
        self.cut_until = -1.0
        self.cut_answers = False
        self.announced: Attempt | None = None
        self.was_paused = False
        self.next_answer: Answer | None = None
        self._clock = clock
        self._countdowns: dict[str, tuple[int, Callable[[], None]]] = {}
        self._step_limit: int | None = None
        self._kept: list[asyncio.Handle] = []
        self.database = ProcessDatabase(self)
        self.context = contextvars.copy_context()
        self.context.run(GATE.set, self)

    # --- life and death -----------------------------------------------------------------------------

    def admits(self, handle: asyncio.Handle) -> bool:
        """See `Gate`."""
        if self.is_buried:
            return True
        if self.is_paused or self.is_dead:
            self._kept.append(handle)
            return False
        self.steps += 1
        if self._step_limit is not None and self.steps >= self._step_limit:
            self._step_limit = None
            self._strike("step")
            if self.is_dead:
                self._kept.append(handle)
                return False
        return True

    def arm(self, point: str, count: int, action: Callable[[], None]) -> None:
        """Call `action` the next `count`th time this process comes to `point`."""
        self._countdowns[point] = (count, action)
        if point == "step":
            self._step_limit = self.steps + count

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

    async def vanish(self) -> None:
        """Wait for ever: the process died here."""
        await self.world.loop.create_future()
        raise Dead

    def now_ms(self) -> int:
        """The wall clock of the process's machine."""
        return self.world.epoch_ms + int((self.world.loop.time() + self._clock()) * 1000)

    def committer(self) -> Committer:
        """Who commits, as the checks need to know it."""
        return Committer(self.name, self.worker.worker_id if self.worker else None, self.catalogue)

    @property
    def worker_id(self) -> str:
        """The identity under which its worker acts now."""
        return self.worker.worker_id if self.worker else self.name


def names_of(function: Callable[..., object], arguments: Sequence[object]) -> list[str]:
    """What faults call this transaction: its function's name, and what a group does to tasks."""
    names = [function.__name__]
    if arguments and isinstance(arguments[0], Group):
        group = arguments[0]
        if group.verdicts:
            names.append("settle")
        if group.given_up or any(isinstance(verdict, Failed) for _, _, verdict in group.verdicts):
            names.append("refund")
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
        self._checkpoint_lock = None

    async def transact(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One transaction; the process may be cut off before it, or between the commit and its answer."""
        process, world = self._process, self._process.world
        await world.loop.pause(world.plan.commit_seconds * process.random.random())
        self._must_be_reachable()
        names = names_of(function, args)
        await self._come_to("commit.before", names)
        result = world.store.run(function, *args, **kwargs)
        world.committed(process, names[0])
        await self._come_to("commit.after", names)
        answer = world.answer_of(process)
        if answer is not None:
            await world.loop.pause(answer.seconds)
            if answer.is_lost:
                raise DatabaseUnreachable("the connection was lost after the commit was sent")
        await world.loop.pause(0.2 * world.plan.commit_seconds * process.random.random())
        return result

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
        if self._process.world.database_is_away(self._process):
            raise DatabaseUnreachable("connection refused")


_SUBMIT_PATHS = (SORA_PATH, VEO_PATH, GENERATE_PATH)


class ProcessTransport:
    """The way of one process to one provider's host: the simulated service in process, and its witness."""

    def __init__(self, process: Process, provider: str) -> None:
        self._process, self._provider = process, provider
        world = process.world
        self._service = SimulatorTransport(world.service, clock=world.loop.time, sleep=self._answer_travels)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
    ) -> Response:
        """See `Transport`."""
        process, world = self._process, self._process.world
        if process.is_dead:
            raise Dead
        target = urlsplit(url)
        sender = Sender(process.worker_id, process.group)
        send = partial(
            self._service.request, method, url, headers=headers, body=body, timeout_seconds=timeout_seconds
        )
        if target.path in _SUBMIT_PATHS:
            return await self._submit(sender, send)
        if target.path == RESULT_PATH:
            remote_task_id = msgspec.json.decode(body or b"{}")["id"]
        else:
            remote_task_id = parse_qs(target.query)["id"][0]
        return await self._poll(sender, remote_task_id, send, world)

    async def _submit(self, sender: Sender, send: Callable[[], Awaitable[Response]]) -> Response:
        process, world = self._process, self._process.world
        witness = world.witness
        attempt, process.announced = process.announced, None
        assert attempt is not None, "every submit asks for its callback URL first"
        world.log("submit", process.name, *attempt)
        world.checked(lambda: world.check_intent(sender.worker_id, attempt))
        submission = world.checked(
            lambda: witness.submit_leaves(sender, self._provider, attempt, world.loop.time())
        )
        try:
            response = await self._exchange(send, attempt)
        finally:
            witness.submit_ends(sender, self._provider)
        submission.answered_status = response.status
        return response

    async def _poll(
        self, sender: Sender, remote_task_id: str, send: Callable[[], Awaitable[Response]], world: "World"
    ) -> Response:
        witness = world.witness
        world.checked(lambda: witness.poll_leaves(sender, self._provider, remote_task_id, world.loop.time()))
        try:
            return await self._exchange(send, None)
        finally:
            witness.poll_ends(sender, self._provider)

    async def _exchange(self, send: Callable[[], Awaitable[Response]], attempt: Attempt | None) -> Response:
        """The request's way to the service and the answer's way back, with all that can go wrong."""
        process, world = self._process, self._process.world
        await world.loop.pause(world.plan.wire_seconds * process.random.random())
        if not process.reach("send.before"):
            await process.vanish()
        if process.is_paused:
            await asyncio.sleep(0)  # it was stopped right here: the rest is kept until it goes on
        now = world.loop.time()
        if now < process.cut_until and not process.cut_answers:
            raise TransportError("no route to host", may_have_been_received=False)
        if attempt is not None and world.arrives_late(process):
            world.deliver_later(send, attempt)
            await world.loop.pause(REQUEST_TIMEOUT_SECONDS)
            raise TransportError("timed out waiting for the answer", may_have_been_received=True)
        world.sender = attempt
        try:
            response = await send()
        finally:
            world.log("answer", process.name)
        if world.loop.time() < process.cut_until:
            raise TransportError("connection reset by peer", may_have_been_received=True)
        if not process.reach("receive.after"):
            await process.vanish()
        return response

    async def _answer_travels(self, seconds: float) -> None:
        if not self._process.reach("send.after"):
            await self._process.vanish()
        await self._process.world.loop.pause(seconds)

    async def close(self) -> None:
        """Nothing is held."""
