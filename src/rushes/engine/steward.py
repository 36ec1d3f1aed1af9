"""The steward: leases, adoption, unconfirmed submits, expiring credits and leftovers of cancelled batches."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.engine.accept import fail_unfollowed, fail_waiting, sweep_cancelled
from rushes.store import ledger, tasks, workers
from rushes.store.database import Database
from rushes.store.tasks import OwnedTask
from rushes.store.workers import Standing, Survey

ADOPT_TASKS_MAX = 10_000
"""Tasks adopted in one transaction; a worker takes as many transactions as it needs."""

log = telemetry.logger()


class UnconfirmedPolicy(StrEnum):
    """What happens to a submit that is still unconfirmed after the grace period."""

    REFUND = "refund"
    RESUBMIT = "resubmit"


class ResolutionSink(Protocol):
    """Where the steward's decisions go: the worker's `Committer`."""

    def given_up(self, task_id: int, attempt: int) -> None:
        """The attempt is given up, and its task fails."""

    def resubmitted(self, task_id: int, attempt: int) -> None:
        """The attempt is given up, the task tried again."""


class Steward:
    """Looks after what a worker holds and what other workers have lost.

    `on_adopted(task)` makes the worker follow a task; `holds(task)` tells whether it does already.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        now_ms: Callable[[], int],
        lease_seconds: float,
        unconfirmed_grace_seconds: float,
        unconfirmed_policy: UnconfirmedPolicy,
        wait_seconds_max: float,
        sink: ResolutionSink,
        providers: Sequence[str],
        on_adopted: Callable[[OwnedTask], None],
        holds: Callable[[OwnedTask], bool],
    ) -> None:
        self.unconfirmed: dict[int, OwnedTask] = {}
        self._database = database
        self._worker_id = worker_id
        self._now_ms = now_ms
        self._lease_ms = int(lease_seconds * 1000)
        self._grace_ms = int(unconfirmed_grace_seconds * 1000)
        self._policy = unconfirmed_policy
        self._wait_ms_max = int(wait_seconds_max * 1000)
        self._sink = sink
        self._providers = list(providers)
        self._on_adopted = on_adopted
        self._holds = holds
        self._memory_in_doubt = False

    async def renew_lease(self, report: str, holds: Mapping[str, int]) -> list[Standing]:
        """Extend the worker's lease; returns who lives. Raises `LeaseLost` when it was declared dead."""
        now_ms = self._now_ms()
        standings = await self._database.transact(
            workers.renew_lease_if_alive,
            self._worker_id,
            lease_expires_at_ms=now_ms + self._lease_ms,
            report=report,
            holds=holds,
            now_ms=now_ms,
        )
        if standings is None:
            raise workers.LeaseLost(f"worker {self._worker_id} was declared dead")
        return standings

    async def adopt(
        self, *, limit: int, adoptable: Callable[[Survey], Mapping[str, int]] | None = None
    ) -> int:
        """Take over tasks of dead workers, at most `limit`; returns how many.

        `adoptable(survey)` says how many of each provider are this worker's; without it all are.
        """
        if self._memory_in_doubt:
            await self._remember()
        if not await self._database.read(workers.any_dead, self._worker_id, now_ms=self._now_ms()):
            return 0
        rooms: Mapping[str, int] = dict.fromkeys(self._providers, limit)
        if adoptable is not None:
            rooms = adoptable(await self._database.read(workers.survey, self._now_ms()))
        total = 0
        for provider, room in rooms.items():
            total += await self._adopt(provider, min(room, limit - total))
        if total:
            log.info(telemetry.TASKS_ADOPTED, count=total)
        return total

    async def _adopt(self, provider: str, limit: int) -> int:
        total = 0
        while total < limit:
            room = min(ADOPT_TASKS_MAX, limit - total)
            try:
                adopted = await self._database.transact(
                    workers.adopt,
                    self._worker_id,
                    providers=[provider],
                    now_ms=self._now_ms(),
                    limit=room,
                )
            except StoreError:
                self._memory_in_doubt = True
                raise
            for task in adopted:
                self._on_adopted(task)
            total += len(adopted)
            if len(adopted) < room:
                break
        return total

    async def _remember(self) -> None:
        """Follow the tasks that are this worker's and that it does not know of.

        Their adoption was committed although the database's answer was lost, or they became known at the
        moment when they were given up. Nobody else would ever look after them.
        """
        self._memory_in_doubt = False
        try:
            owned = await self._database.read(
                workers.owned_in_flight, self._worker_id, providers=self._providers
            )
        except StoreError:
            self._memory_in_doubt = True
            raise
        for task in owned:
            if not self._holds(task):
                self._on_adopted(task)

    def doubt_memory(self) -> None:
        """A task may be this worker's without its knowing: look at the next opportunity."""
        self._memory_in_doubt = True

    def hold_unconfirmed(self, task: OwnedTask) -> None:
        """Keep an attempt whose outcome is unknown; it stays reserved until it is found or given up."""
        self.unconfirmed[task.task_id] = task

    async def look_after_unconfirmed(self, on_found: Callable[[OwnedTask, str], None]) -> None:
        """Follow unconfirmed attempts whose remote id became known; give up those past their grace.

        `on_found(task, remote_task_id)` hears of the former. Attempts that are not in flight any more, or not
        this worker's, are forgotten.
        """
        if not self.unconfirmed:
            return
        looked_for = list(self.unconfirmed.values())
        standing = await self._database.read(
            tasks.remote_ids_if_owned,
            [(task.task_id, task.attempt) for task in looked_for],
            worker_id=self._worker_id,
        )
        for task in looked_for:
            remote_task_id = standing.get(task.task_id)
            is_still_unknown = task.task_id in standing and remote_task_id is None
            if is_still_unknown or self.unconfirmed.get(task.task_id) is not task:
                continue
            del self.unconfirmed[task.task_id]
            if remote_task_id is not None:
                on_found(task, remote_task_id)
        now_ms = self._now_ms()
        for task in list(self.unconfirmed.values()):
            since_ms = task.dispatched_at_ms if task.unconfirmed_at_ms is None else task.unconfirmed_at_ms
            if now_ms - since_ms < self._grace_ms:
                continue
            del self.unconfirmed[task.task_id]
            if self._policy is UnconfirmedPolicy.RESUBMIT:
                self._sink.resubmitted(task.task_id, task.attempt)
            else:
                self._sink.given_up(task.task_id, task.attempt)

    async def keep_house(self) -> None:
        """Upkeep that any worker may do for all: expired lots are emptied, cancelled leftovers ended, and
        what has waited for too long.

        A transaction for each: in a single one accounts would be locked before tasks.
        """
        self._database.take_over_checkpoints()
        transact, now_ms, wait_ms_max = self._database.transact, self._now_ms(), self._wait_ms_max
        expired = await transact(ledger.expire_lots, now_ms)
        await transact(sweep_cancelled, now_ms=now_ms)
        late = await transact(fail_waiting, wait_ms_max=wait_ms_max, now_ms=now_ms)
        late += await transact(
            fail_unfollowed, providers=self._providers, wait_ms_max=wait_ms_max, now_ms=now_ms
        )
        if expired:
            log.info(telemetry.CREDITS_EXPIRED, lots=expired)
        if late:
            log.warning(telemetry.TASKS_WAITED_TOO_LONG, count=late)
