"""The way of one process to a provider's host and back, with all that can go wrong on it, and its witness."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from urllib.parse import parse_qs, urlsplit

import msgspec

from rushes.domain.task import CancelRefused, CancelResult, CancelTaken, NoAnswer
from rushes.providers.http.transport import (
    HELD_BACK,
    Departure,
    Response,
    TransportError,
    departure_under_way,
)
from rushes.simulator import Outcome, SimulatorTransport
from rushes.simulator.families.grsai import GENERATE_PATH, RESULT_PATH, SORA_PATH, VEO_PATH
from simulation.truth.witness import Attempt, Sender
from simulation.world.ground import Dead
from simulation.world.plan import REQUEST_TIMEOUT_SECONDS
from simulation.world.process import Process
from simulation.world.service import Heard

_ODD = re.compile(rb'"progress":\s*(\d+)')
_NO_SUCH_TASK = b"does not exist"
_SUBMIT_PATHS = (SORA_PATH, VEO_PATH, GENERATE_PATH)


class ProcessTransport:
    """The way of one process to one provider's host: the simulated service in process, and its witness."""

    def __init__(self, process: Process, provider: str) -> None:
        self._process, self._provider = process, provider
        self._last_answer: tuple[str, Response] | None = None
        self._last_acceptance: tuple[Attempt, Response] | None = None
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
        fresh: bool = False,
    ) -> Response:
        """See `Transport`."""
        process = self._process
        if process.is_dead:
            raise Dead
        target = urlsplit(url)
        sender, departure = Sender(process.worker_id, process.group), departure_under_way()
        send = partial(
            self._service.request, method, url, headers=headers, body=body, timeout_seconds=timeout_seconds
        )
        if target.path in _SUBMIT_PATHS:
            return await self._submit(sender, target.netloc, send, departure)
        if target.path == RESULT_PATH:
            remote_task_id = msgspec.json.decode(body or b"{}")["id"]
        else:
            remote_task_id = parse_qs(target.query)["id"][0]
        return await self._poll(sender, remote_task_id, send, host=target.netloc, is_fresh=fresh)

    async def prepare(self, url: str, count: int) -> int:
        """See `Transport`: there is nothing to open."""
        return count

    async def drop(self, remote_task_id: str) -> CancelResult:
        """Ask the service to drop the task if it has not started to render."""
        world = self._process.world
        world.witness.drop_asked.add(remote_task_id)  # whether it arrives or not

        async def send() -> Response:
            is_dropped = world.service.drop(remote_task_id, world.loop.time())
            await self._answer_travels(world.plan.wire_seconds * self._process.random.random())
            return Response(200 if is_dropped else 409, {}, b"")

        try:
            response = await self._exchange(send, None, Heard())
        except TransportError as error:
            return NoAnswer(error.reason)
        if response.status != 200:
            return CancelRefused("it renders")
        # that it is dropped has been told: from then on any "no such task" counts, and it is asked for at once
        world.service.told.setdefault(remote_task_id, set()).add(Outcome.FORGOTTEN)
        world.witness.nudged(world.witness.attempt_of_remote[remote_task_id][0])
        return CancelTaken()

    async def _submit(
        self,
        sender: Sender,
        host: str,
        send: Callable[[], Awaitable[Response]],
        departure: Departure | None,
    ) -> Response:
        process, world = self._process, self._process.world
        witness = world.witness
        attempt, process.announced = process.announced, None
        assert attempt is not None, "every submit asks for its callback URL first"
        world.log("submit", process.name, *attempt)
        world.checked(lambda: world.check_intent(sender.worker_id, attempt))
        submission = world.checked(
            lambda: witness.submit_leaves(sender, self._provider, attempt, world.loop.time())
        )
        submission.host = host
        try:
            response = await self._exchange(send, attempt, Heard(), departure)
        finally:
            witness.submit_ends(sender, self._provider)
        before, self._last_acceptance = self._last_acceptance, None
        if submission.remote is not None and response.status == 200 and submission.remote.answered:
            self._last_acceptance = (attempt, response)
        if before is not None and self._is_swapped(before[0]):
            world.log("swapped", *attempt, *before[0])
            self._last_acceptance = None  # nobody gets its own answer any more
            return before[1]
        if submission.remote is not None and response.status == 200 and submission.remote.answered:
            submission.named_to = sender.worker_id
        refusal = submission.refusal
        submission.is_refusal_told = refusal is not None and refusal.value.encode() in response.body
        return response

    def _is_swapped(self, earlier: Attempt) -> bool:
        """Whether the answer to an earlier submit comes once more, while its task is still at that attempt."""
        world = self._process.world
        share = world.swapped_submits_share
        if not share or self._process.random.random() >= share:
            return False
        task, remote = world.life.tasks[earlier[0]], world.witness.submissions[earlier].remote
        if remote is None or (task.attempt, task.status) != (earlier[1], "processing"):
            return False
        world.witness.mixed_up.add(remote.id)
        return True

    async def _poll(
        self,
        sender: Sender,
        remote_task_id: str,
        send: Callable[[], Awaitable[Response]],
        *,
        host: str,
        is_fresh: bool,
    ) -> Response:
        world, heard = self._process.world, Heard()
        witness = world.witness
        follows = self._follows(sender, remote_task_id)  # or asks whether a callback has named the right one
        now, provider = world.loop.time(), self._provider
        world.checked(
            lambda: witness.poll_leaves(
                sender, provider, remote_task_id, now, host=host, is_asked_again=is_fresh
            )
        )
        try:
            response = await self._exchange(send, None, heard)
        finally:
            witness.poll_ends(sender, self._provider)
        share = self._process.random.random()
        before, self._last_answer = self._last_answer, (remote_task_id, response)
        is_late = not is_fresh and share < world.swapped_share
        if is_late and before is not None and before[0] != remote_task_id:
            witness.answered_over_used(remote_task_id)
            return msgspec.structs.replace(before[1], is_first=False)
        if _NO_SUCH_TASK in response.body:  # also when the service has mixed up two answers
            witness.missed(remote_task_id)
        is_end = heard.is_clear_end and remote_task_id not in witness.mixed_up
        if is_end and follows and self._follows(sender, remote_task_id):
            witness.verdict_reached(sender, remote_task_id)  # nothing more to ask
        if share < world.odd_share:
            return msgspec.structs.replace(response, body=_ODD.sub(rb'"progress":"\1%"', response.body))
        return response

    def _follows(self, sender: Sender, remote_task_id: str) -> bool:
        """Whether the remote task is, as the database has it, that of a task of the sender's."""
        world = self._process.world
        named = world.witness.attempt_of_remote.get(remote_task_id)
        task = None if named is None else world.life.tasks[named[0]]
        known = None if task is None else (task.remote_task_id, task.worker_id)
        return known == (remote_task_id, sender.worker_id)

    async def _exchange(
        self,
        send: Callable[[], Awaitable[Response]],
        attempt: Attempt | None,
        heard: Heard,
        departure: Departure | None = None,
    ) -> Response:
        """The request's way to the service and the answer's way back, with all that can go wrong."""
        process, world = self._process, self._process.world
        await world.loop.pause(world.plan.wire_seconds * process.random.random())
        slow = world.slow_connects
        if departure is not None and slow is not None and process.random.random() < slow.share:
            await world.loop.pause(slow.seconds)
        if not process.reach("send.before"):
            await process.vanish()
        if process.is_paused:
            await asyncio.sleep(0)  # it was stopped right here: the rest is kept until it goes on
        now = world.loop.time()
        if now < process.cut_until and not process.cut_answers:
            raise TransportError("no route to host", may_have_been_received=False)
        if departure is not None and not departure.leave():
            raise TransportError(HELD_BACK, may_have_been_received=False)
        if attempt is not None:
            world.witness.submissions[attempt].has_left = True
        if attempt is not None and world.arrives_late(process.random):
            world.deliver_later(send, attempt)
            await world.loop.pause(REQUEST_TIMEOUT_SECONDS)
            raise TransportError("timed out waiting for the answer", may_have_been_received=True)
        # the service sees the request before any wait
        world.sender, world.sending_worker, world.service.heard = attempt, process.worker_id, heard
        try:
            response = await send()
        finally:
            world.log("answer", process.name)
        if world.loop.time() < process.cut_until:
            raise TransportError("connection reset by peer", may_have_been_received=True)
        for point in ("receive.after", "receive.after.submit") if attempt is not None else ("receive.after",):
            if not process.reach(point):
                await process.vanish()
        return response

    async def _answer_travels(self, seconds: float) -> None:
        if not self._process.reach("send.after"):
            await self._process.vanish()
        await self._process.world.loop.pause(seconds)

    async def close(self) -> None:
        """Nothing is held."""
