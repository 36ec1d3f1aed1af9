"""Callbacks in, at the worker's side: each is a reason to look now, and never a fact.

A callback of a task that is followed moves its next poll to now. A callback of a submit whose outcome is
unknown names a remote id to look for; the id is taken only when a poll of it answers with a task, and no
other attempt goes by it. Nothing else of a callback's body is used.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.domain.schedule import backoff_seconds
from rushes.domain.task import Failed, FailureType, NoAnswer, Processing, Succeeded
from rushes.engine.limits import RateLimit
from rushes.engine.poll import ask
from rushes.providers.base import Provider
from rushes.store import nudges
from rushes.store.database import Database
from rushes.store.nudges import Nudge
from rushes.store.tasks import OwnedTask

LOOK_SECONDS: Final = 0.4
"""How often a worker looks for callbacks that other processes received."""

NUDGES_MAX: Final = 1000
"""Nudges that one look takes."""

NUDGE_INTERVAL_SECONDS: Final = 0.5
"""Callbacks make at most one poll of a task in this time; one that comes sooner is not lost but waits."""

REMEMBERED_MAX: Final = 10_000
CONFIRMATIONS_AT_ONCE_MAX: Final = 16
CONFIRM_BACKOFF_SECONDS_MAX: Final = 30.0
SWEEP_SECONDS: Final = 5.0
SWEEP_ROWS_MAX: Final = 1000

log = telemetry.logger()


class AcceptedSink(Protocol):
    """Where a remote id that was found goes: the worker's `Committer`."""

    def accepted(self, task_id: int, attempt: int, remote_task_id: str) -> None:
        """The provider named the attempt."""


@dataclass(slots=True)
class _Candidate:
    """A remote id that a callback named for a submit of unknown outcome."""

    remote_task_id: str
    due: float
    tries: int = 0


class Nudges:
    """What one worker does about callbacks.

    `provider_of(task)` is the provider at the host that the task was sent to, None when it cannot be asked.
    `poll_now(task_id)` makes the worker poll a task that it follows, and is False for all others;
    `is_submitting(task_id)` tells of those whose submit has no answer yet; `unconfirmed` are those whose
    submit's outcome is unknown; `poll_limits` are the providers' rates, which polls for remote ids share.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        provider_of: Callable[[OwnedTask], Provider | None],
        unconfirmed: Mapping[int, OwnedTask],
        poll_now: Callable[[int], bool],
        is_submitting: Callable[[int], bool],
        sink: AcceptedSink,
        poll_limits: Mapping[str, RateLimit],
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._provider_of = provider_of
        self._unconfirmed = unconfirmed
        self._poll_now = poll_now
        self._is_submitting = is_submitting
        self._sink = sink
        self._poll_limits = poll_limits
        self._candidates: dict[int, _Candidate] = {}
        self._last_nudged: dict[int, float] = {}
        self._waiting: set[int] = set()

    async def run(self) -> None:
        """Look for callbacks until cancelled."""
        sweep_at = self._now()
        while True:
            try:
                await self.look()
                if self._now() >= sweep_at:
                    sweep_at = self._now() + SWEEP_SECONDS
                    await self._sweep()
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Act once on what other processes received, and look for the remote ids that are due."""
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

    # --- tasks that are followed ------------------------------------------------------------------------

    def _act(self, nudge: Nudge) -> bool:
        """Whether the nudge has had its effect, and can be forgotten."""
        if self._poll_soon(nudge.task_id):
            return True
        if self._propose(nudge.task_id, nudge.attempt, nudge.remote_task_id):
            return True
        # the answer to its submit may come yet, or may never come: then the remote id is needed
        return not self._is_submitting(nudge.task_id)

    def _poll_soon(self, task_id: int) -> bool:
        """Poll a followed task now, or as soon as the interval permits; False when it is not followed."""
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
        if not self._poll_now(task_id):
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
        task = self._unconfirmed.get(task_id)
        if task is None or task.attempt != attempt or remote_task_id is None:
            return False
        known = self._candidates.get(task_id)
        if known is None or known.remote_task_id != remote_task_id:
            self._candidates[task_id] = _Candidate(remote_task_id, due=self._now())
        return True

    async def _confirm_candidates(self) -> None:
        for task_id in [task_id for task_id in self._candidates if task_id not in self._unconfirmed]:
            del self._candidates[task_id]
        now = self._now()
        due = [
            # picked here: by the time that one is polled, it may have been found or given up
            (self._unconfirmed[task_id], candidate)
            for task_id, candidate in self._candidates.items()
            if candidate.due <= now
        ]
        await asyncio.gather(*(self._confirm(*picked) for picked in due[:CONFIRMATIONS_AT_ONCE_MAX]))

    async def _confirm(self, task: OwnedTask, candidate: _Candidate) -> None:
        """Poll the remote id that a callback named; record it if there is such a task."""
        task_id, remote_task_id = task.task_id, candidate.remote_task_id
        limit = self._poll_limits[task.provider]
        now = self._now()
        if limit.permitted_at(now) > now:
            return  # it stays due, and all tasks are not searched for it in vain
        if await self._database.read(nudges.carries_remote_id, task.provider, remote_task_id):
            self._drop(task_id, candidate)
            return
        now = self._now()
        if limit.permitted_at(now) > now:
            return
        limit.take(now)
        result = await ask(self._provider_of(task), remote_task_id, name=task.provider, host=task.host)
        match result:
            case NoAnswer():
                candidate.tries += 1
                candidate.due = self._now() + backoff_seconds(
                    candidate.tries, jitter=0.5, max_seconds=CONFIRM_BACKOFF_SECONDS_MAX
                )
            case Failed(failure_type=FailureType.NOT_FOUND):
                self._drop(task_id, candidate)
            case Processing() | Succeeded() | Failed():
                self._drop(task_id, candidate)
                if task_id in self._unconfirmed:  # it may have been given up meanwhile
                    log.info(telemetry.SUBMIT_FOUND, task_id=task_id)
                    self._sink.accepted(task_id, task.attempt, remote_task_id)
            case other:
                assert_never(other)

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
