"""Group commit: a worker gathers what it learns and commits it in groups, one transaction at a time."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any

from rushes import telemetry
from rushes.domain.errors import StatementRefused, StoreError
from rushes.domain.task import ID_OF_ANOTHER_ATTEMPT, Failed, Verdict
from rushes.domain.trouble import TroubleRow
from rushes.money.settle import Applied, BeforeClosing, Group, apply_group
from rushes.store import tasks
from rushes.store.database import Database

GROUP_TASKS_MAX = 1000
"""Tasks whose outcomes one transaction carries."""

COMMIT_INTERVAL_SECONDS = 0.1
"""Under load a group gathers for so long: a transaction costs about as much as settling a hundred tasks."""

CALM_OUTCOMES_MAX = 6
"""With at most this many outcomes in an interval, each is committed at once: an acceptance that is not stored
yet would be unknown after a crash."""

COMMIT_RETRY_SECONDS_MAX = 5.0
"""The longest pause between tries while the database refuses."""

log = telemetry.logger()


class SettleOutcome(StrEnum):
    """How an end was taken: stored, another's business by now, not given up because it had become known, or
    refused by a constraint."""

    SETTLED = "settled"
    STALE = "stale"
    KNOWN = "known"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Committed:
    """What the database answered about a group of `size` outcomes; none when it refused the only one.

    `ends` has `(task_id, attempt, outcome)` of each verdict, refusal and attempt given up, and of those that
    the database does not take back; `unnamed` the `(task_id, attempt)` of acceptances whose remote id the
    attempt cannot carry: it is another's, or the database refuses it.
    """

    size: int = 0
    seconds: float = 0.0
    ends: list[tuple[int, int, SettleOutcome]] = field(default_factory=list)
    unnamed: list[tuple[int, int]] = field(default_factory=list)


class Committer:
    """Gathers a worker's outcomes and commits them in groups, one transaction at a time.

    While one group is being committed the next one gathers, so the group size follows the load. A group
    that the database refuses for a while is kept and retried: nothing learnt is dropped.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        now_ms: Callable[[], int],
        before_closing: BeforeClosing | None = None,
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._now_ms = now_ms
        self._before_closing = before_closing
        self._group = Group()
        self._in_hand: deque[Group] = deque()
        self._wake = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._interval_ends_at = 0.0
        self._outcomes_in_interval = 0
        self.settled_total = 0
        self.groups_total = 0
        self.closed_batches_total = 0

    @property
    def before_closing(self) -> BeforeClosing | None:
        """What happens in the transactions that end tasks."""
        return self._before_closing

    # --- what is handed over ----------------------------------------------------------------------------

    def accepted(self, task_id: int, attempt: int, remote_task_id: str) -> None:
        """The provider named the attempt. What no database stores of an id is left out of it, and logged."""
        stored = tasks.storable(remote_task_id, whole=True)
        if stored != remote_task_id:
            facts = {"task_id": task_id, "attempt": attempt, "remote_task_id": remote_task_id}
            log.error(telemetry.REMOTE_ID_CLEANED, stored=stored, **facts)
        self._group.accepted.append((task_id, attempt, stored))
        self._woken()

    def unconfirmed(self, task_id: int, attempt: int) -> None:
        """Nobody knows whether the provider took the attempt."""
        self._group.unconfirmed.append((task_id, attempt))
        self._woken()

    def returned(self, task_id: int, attempt: int) -> None:
        """The attempt certainly never reached the provider's queue."""
        self._group.returned.append((task_id, attempt))
        self._woken()

    def refused(self, task_id: int, attempt: int, refusal: Failed) -> None:
        """The provider read the attempt and did not take it: its task has ended."""
        self._group.refused.append((task_id, attempt, refusal))
        self._woken()

    def resubmitted(self, task_id: int, attempt: int) -> None:
        """The operator's policy gives an unconfirmed attempt up and makes a new one."""
        self._group.resubmitted.append((task_id, attempt))
        self._woken()

    def given_up(self, task_id: int, attempt: int) -> None:
        """The operator's policy gives an unconfirmed attempt up, and its task fails."""
        self._group.given_up.append((task_id, attempt))
        self._woken()

    def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
        """The task has ended."""
        self._group.verdicts.append((task_id, attempt, verdict))
        self._woken()

    def progress(self, rows: Sequence[tuple[int, int, int]]) -> None:
        """Progress of many tasks, for progress bars."""
        self._group.progress.extend(rows)
        self._woken()

    def troubled(self, rows: Sequence[TroubleRow]) -> None:
        """Why tasks wait, for people; see `TroubleRow`."""
        self._group.troubles.extend(rows)
        self._woken()

    @property
    def takes_troubles(self) -> bool:
        """Whether those handed over before are stored, by and large: while they are not, bring no more."""
        return len(self._group.troubles) < GROUP_TASKS_MAX

    def _woken(self) -> None:
        self._is_idle.clear()
        self._wake.set()

    async def flushed(self) -> None:
        """Wait until everything gathered so far is committed, and the answers have been acted on."""
        await self._is_idle.wait()

    # --- the commits ------------------------------------------------------------------------------------

    async def commit_next(self) -> Committed:
        """Commit the next group, as soon as there is one; the answers are acted on before the next call.

        Cancelled, it keeps the group, which the next call commits. The group may have been committed already:
        to commit it once more changes nothing.
        """
        while True:
            while not self._in_hand:
                await self._take_in_hand()
            group = self._in_hand[0]
            try:
                committed = await self._commit(group)
            except StatementRefused as error:
                if len(group) > 1:
                    # a constraint refused one of them: keep what is sound, name what is not
                    self._in_hand.popleft()
                    self._in_hand.extendleft(reversed(group.halves()))
                    continue
                committed = await self._refused(group, error)
            self._in_hand.popleft()
            return committed

    async def _take_in_hand(self) -> None:
        """Take the group that has gathered, or wait for what will gather."""
        if len(self._group):
            await self._gather()
            self._in_hand.append(self._take())
            return
        self._is_idle.set()
        await self._wake.wait()
        self._wake.clear()

    async def _gather(self) -> None:
        """Wait until the group is full or the interval is over; not at all while few outcomes come."""
        loop = asyncio.get_running_loop()
        few = self._outcomes_in_interval + len(self._group) <= CALM_OUTCOMES_MAX
        if loop.time() < self._interval_ends_at and not few and len(self._group) < GROUP_TASKS_MAX:
            await asyncio.sleep(self._interval_ends_at - loop.time())
        if loop.time() >= self._interval_ends_at:
            self._interval_ends_at = loop.time() + COMMIT_INTERVAL_SECONDS
            self._outcomes_in_interval = 0
        self._outcomes_in_interval += len(self._group)

    def _take(self) -> Group:
        """The oldest outcomes, at most GROUP_TASKS_MAX of each kind.

        A task's later outcome never goes out before its acceptance.
        """
        group, rest = self._group, Group()
        only_accepted = len(group.accepted) > GROUP_TASKS_MAX
        for rows, left in zip(group.lists(), rest.lists(), strict=True):
            taken = 0 if only_accepted and rows is not group.accepted else GROUP_TASKS_MAX
            left.extend(rows[taken:])
            del rows[taken:]
        self._group = rest
        return group

    async def _commit(self, group: Group) -> Committed:
        """Commit the group, as often as it takes. Raises `StatementRefused` when a constraint refuses it."""
        pause_seconds = 0.05
        while True:
            started = asyncio.get_running_loop().time()
            try:
                applied = await self._database.transact(
                    apply_group,
                    group,
                    worker_id=self._worker_id,
                    now_ms=self._now_ms(),
                    before_closing=self._before_closing,
                )
            except StatementRefused:
                raise
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, COMMIT_RETRY_SECONDS_MAX)
                continue
            return self._report(group, applied, asyncio.get_running_loop().time() - started)

    def _report(self, group: Group, applied: Applied, seconds: float) -> Committed:
        self.groups_total += 1
        self.settled_total += len(applied.settled)
        self.closed_batches_total += applied.closed_batches
        committed = Committed(len(group), seconds, unnamed=self._unnamed(group, applied))
        for task_id, attempt, _verdict in chain(group.refused, group.verdicts):
            committed.ends.append(_end(task_id, attempt, is_stored=task_id in applied.settled))
        given_up = ((group.given_up, applied.settled), (group.resubmitted, applied.resubmitted))
        for rows, stored in given_up:
            for task_id, attempt in rows:
                is_stored = task_id in stored
                committed.ends.append(
                    _end(task_id, attempt, is_stored=is_stored, otherwise=SettleOutcome.KNOWN)
                )
        return committed

    def _unnamed(self, group: Group, applied: Applied) -> list[tuple[int, int]]:
        """Attempts whose id is another's. An id that no row carries now is in no other place than the log."""
        unnamed: list[tuple[int, int]] = []
        if len(applied.named) == len(group.accepted):
            return unnamed
        for task_id, attempt, remote_task_id in group.accepted:
            facts = {"task_id": task_id, "attempt": attempt, "remote_task_id": remote_task_id}
            if (task_id, attempt) in applied.contested:
                log.error(telemetry.REMOTE_ID_CONTESTED, reason=ID_OF_ANOTHER_ATTEMPT, **facts)
                self._drop_heard(task_id, attempt)
                unnamed.append((task_id, attempt))
            elif (task_id, attempt) not in applied.named:
                log.warning(telemetry.SUBMIT_NAMED_LATE, **facts)
        return unnamed

    def _drop_heard(self, task_id: int, attempt: int) -> None:
        """What was asked under the id counts for nothing, also what was heard since it was handed over."""
        key = (task_id, attempt)
        for group in (self._group, *self._in_hand):
            group.verdicts = [row for row in group.verdicts if row[:2] != key]
            group.progress = [row for row in group.progress if row[:2] != key]

    async def _refused(self, group: Group, error: Exception) -> Committed:
        """The database refuses this one outcome."""
        for task_id, attempt, remote_task_id in group.accepted:
            return await self._keep_refused_id(task_id, attempt, remote_task_id, error)
        log.error(telemetry.SETTLE_REFUSED, group=repr(group), error=type(error).__name__)
        ended: tuple[list[Any], ...] = (group.refused, group.verdicts, group.given_up, group.resubmitted)
        unfollowed = [(row[0], row[1]) for row in chain(ended[0], group.returned)]
        if unfollowed:  # no lane has them any more: held, they are looked up again, and given up at last
            with contextlib.suppress(StatementRefused):
                await self._commit(Group(unconfirmed=unfollowed))
        rows = chain(*ended, group.returned)
        return Committed(ends=[(row[0], row[1], SettleOutcome.REFUSED) for row in rows])

    async def _keep_refused_id(
        self, task_id: int, attempt: int, remote_task_id: str, error: Exception
    ) -> Committed:
        """The database refuses a remote id, of which the log has the only copy then: hold the attempt."""
        log.error(
            telemetry.SETTLE_REFUSED,
            task_id=task_id,
            attempt=attempt,
            remote_task_id=remote_task_id,
            error=type(error).__name__,
        )
        held = Group(unconfirmed=[(task_id, attempt)])
        try:
            committed = await self._commit(held)
        except StatementRefused as refused:
            committed = await self._refused(held, refused)
        self._drop_heard(task_id, attempt)
        committed.unnamed.append((task_id, attempt))
        return committed


def _end(
    task_id: int, attempt: int, *, is_stored: bool, otherwise: SettleOutcome = SettleOutcome.STALE
) -> tuple[int, int, SettleOutcome]:
    if not is_stored:
        log.info(telemetry.SETTLE_STALE, task_id=task_id, attempt=attempt)
    return task_id, attempt, SettleOutcome.SETTLED if is_stored else otherwise
