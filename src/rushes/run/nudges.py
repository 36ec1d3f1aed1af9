"""Callbacks in, at the worker's side: each is a reason to look now, and never a fact.

A callback of a task that is polled moves its next poll to now. A callback of a submit whose outcome is
unknown names a remote id to look for; the id is taken only when a poll of it answers with a task, and no
other attempt goes by it. Nothing else of a callback's body is used.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.domain.polling.schedule import backoff_seconds
from rushes.domain.task import Failed, FailureType, NoAnswer, Processing, Succeeded
from rushes.run.commit import Committer
from rushes.run.lane.asking_once import ask
from rushes.run.lane.lane import Lane
from rushes.store import nudges
from rushes.store.database import Database
from rushes.store.nudges import Nudge
from rushes.store.tasks import OwnedTask, remote_ids

CHECK_SECONDS: Final = 0.2
"""How often a worker looks for callbacks that other processes received."""

NUDGES_MAX: Final = 1000
"""Nudges that one check takes."""

NUDGE_INTERVAL_SECONDS: Final = 0.5
"""Callbacks make at most one poll of a task in this time; one that comes sooner is not lost but waits."""

REMEMBERED_MAX: Final = 10_000
CONFIRMATIONS_AT_ONCE_MAX: Final = 16
CONFIRM_BACKOFF_SECONDS_MAX: Final = 30.0
SWEEP_SECONDS: Final = 5.0
SWEEP_ROWS_MAX: Final = 1000

log = telemetry.logger()


@dataclass(slots=True)
class _Candidate:
    """A remote id that a callback named for a submit of unknown outcome."""

    attempt: int
    remote_task_id: str
    due: float
    named_at: float
    tries: int = 0


class Nudges:
    """What one worker does about callbacks. Polls for remote ids share the lanes' rates."""

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        lanes: Mapping[str, Lane],
        committer: Committer,
        not_found_grace_seconds: float = 0.0,
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._lanes = lanes
        self._committer = committer
        self._grace = not_found_grace_seconds
        self._candidates: dict[int, _Candidate] = {}
        self._last_nudged: dict[int, float] = {}
        self._waiting: set[int] = set()

    async def run(self) -> None:
        """Check for callbacks until cancelled."""
        sweep_at = self._now()
        while True:
            try:
                await self.check()
                if self._now() >= sweep_at:
                    sweep_at = self._now() + SWEEP_SECONDS
                    await self._sweep()
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Act once on what other processes received, and ask for the remote ids that are due."""
        found = await self._database.read(nudges.of_worker, self._worker_id, limit=NUDGES_MAX)
        taken = [nudge for nudge in found if self._act(nudge)]
        if taken:
            await self._database.transact(nudges.delete_unless_newer, taken)
        await self._confirm_candidates()

    def offer(self, task_id: int, *, attempt: int, remote_task_id: str | None) -> bool:
        """A callback that this very process received; False when it must wait in the database.

        Call it on the worker's event loop.
        """
        if self._poll_soon(task_id):
            return True
        return self._propose(task_id, attempt, remote_task_id)

    # --- tasks that are polled --------------------------------------------------------------------------

    def _act(self, nudge: Nudge) -> bool:
        """Whether the nudge has had its effect, and can be forgotten."""
        if self._poll_soon(nudge.task_id):
            return True
        if self._propose(nudge.task_id, nudge.attempt, nudge.remote_task_id):
            return True
        # all others wait: the answer to its submit may come yet, or it changes hands
        task = self._unconfirmed(nudge.task_id)
        return task is not None and task.attempt == nudge.attempt

    def _poll_soon(self, task_id: int) -> bool:
        """Poll a task now, or as soon as the interval permits; False when it is not polled here."""
        if task_id in self._waiting:
            return True
        now = self._now()
        wait_seconds = self._last_nudged.get(task_id, -NUDGE_INTERVAL_SECONDS) + NUDGE_INTERVAL_SECONDS - now
        if wait_seconds <= 0:
            return self._nudge(task_id)
        self._waiting.add(task_id)
        asyncio.get_running_loop().call_later(wait_seconds, self._nudge, task_id)
        return True

    def _nudge(self, task_id: int) -> bool:
        self._waiting.discard(task_id)
        if not any(lane.poller.nudge(task_id) for lane in self._lanes.values()):
            self._last_nudged.pop(task_id, None)
            return False
        now = self._now()
        if len(self._last_nudged) >= REMEMBERED_MAX:
            since = now - NUDGE_INTERVAL_SECONDS
            self._last_nudged = {task: at for task, at in self._last_nudged.items() if at > since}
        self._last_nudged[task_id] = now
        return True

    # --- submits of unknown outcome ---------------------------------------------------------------------

    def _propose(self, task_id: int, attempt: int, remote_task_id: str | None) -> bool:
        task = self._unconfirmed(task_id)
        if task is None or task.attempt != attempt or remote_task_id is None:
            return False
        known = self._candidates.get(task_id)
        if known is None or (known.attempt, known.remote_task_id) != (attempt, remote_task_id):
            now = self._now()
            self._candidates[task_id] = _Candidate(attempt, remote_task_id, due=now, named_at=now)
        return True

    def _unconfirmed(self, task_id: int) -> OwnedTask | None:
        for lane in self._lanes.values():
            if task_id in lane.attempts.unconfirmed:
                return lane.attempts.unconfirmed[task_id]
        return None

    async def _confirm_candidates(self) -> None:
        now = self._now()
        due: list[tuple[OwnedTask, _Candidate]] = []
        for task_id, candidate in list(self._candidates.items()):
            # picked here: by the time that one is polled, it may have been found or given up
            task = self._unconfirmed(task_id)
            if task is None or task.attempt != candidate.attempt:
                del self._candidates[task_id]
            elif candidate.due <= now:
                due.append((task, candidate))
        await asyncio.gather(*(self._confirm(*picked) for picked in due[:CONFIRMATIONS_AT_ONCE_MAX]))

    async def _confirm(self, task: OwnedTask, candidate: _Candidate) -> None:
        """Poll the remote id that a callback named; record it if there is such a task."""
        task_id, remote_task_id = task.task_id, candidate.remote_task_id
        lane = self._lanes[task.provider]
        limit = lane.poller.limit
        now = self._now()
        if limit.permitted_at(now) > now:
            return  # it stays due
        if await self._database.read(remote_ids.holder_of, task.provider, task.host, remote_task_id):
            self._drop(task_id, candidate)
            return
        now = self._now()
        if limit.permitted_at(now) > now:
            return
        limit.take(now)
        result = await ask(lane.provider_of(task), remote_task_id, name=task.provider, host=task.host)
        match result:
            case NoAnswer():
                self._ask_again(candidate)
            case Failed(failure_type=FailureType.NOT_FOUND) if self._now() < candidate.named_at + self._grace:
                # it may have been named just before the service knows it everywhere
                self._ask_again(candidate)
            case Failed(failure_type=FailureType.NOT_FOUND):
                self._drop(task_id, candidate)
            case Processing() | Succeeded() | Failed():
                self._drop(task_id, candidate)
                if self._unconfirmed(task_id) is not None:  # it may have been given up meanwhile
                    log.info(telemetry.SUBMIT_FOUND, task_id=task_id)
                    self._committer.accepted(task_id, task.attempt, remote_task_id)
            case other:
                assert_never(other)

    def _ask_again(self, candidate: _Candidate) -> None:
        candidate.tries += 1
        candidate.due = self._now() + backoff_seconds(
            candidate.tries, jitter=0.5, max_seconds=CONFIRM_BACKOFF_SECONDS_MAX
        )

    def _drop(self, task_id: int, candidate: _Candidate) -> None:
        """Forget it, unless a further callback has named another id meanwhile."""
        if self._candidates.get(task_id) is candidate:
            del self._candidates[task_id]

    async def _sweep(self) -> None:
        if await self._database.read(nudges.count):
            await self._database.transact(nudges.sweep, limit=SWEEP_ROWS_MAX)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
