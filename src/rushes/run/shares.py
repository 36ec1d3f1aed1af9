"""Many machines: each worker's share of the tasks in flight and of the providers' limits.

There is no coordinator. With every renewal of its lease a worker says how many tasks it holds at each
provider, and reads the same of the others; all of them compute the same shares from that.

Why the limits hold: a worker that joins while others live, or that renews a lease which had run out, lets
nothing through for one whole lease. By then every other worker has either renewed its lease, and made its
share smaller, or lost it, and sends nothing. Shares grow only when a lease has run out, whose owner stopped
before by its own clock. So at any moment a worker counts at least those who send, and the shares of those
are at most the whole.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from rushes import telemetry
from rushes.domain.errors import DatabaseUnreachable, StoreError
from rushes.providers.base import ProviderLimits
from rushes.run.lane.lane import Lane
from rushes.store import workers
from rushes.store.database import Database
from rushes.store.workers import JOINING, Standing, Survey

UNEVEN_SHARE = 1.1
UNEVEN_TASKS = 8
"""A worker gives tasks away when it holds more than this many times its share and this many more."""

SHORT_SHARE = 0.5
"""While another holds less than this part of its share, `UNEVEN_TASKS` above its own are enough for that.

Of ten workers each holds only a tenth of what an eleventh lacks.
"""

RELEASE_TASKS_MAX = 1_000
"""Tasks given away in one transaction, in which they are not polled; a worker takes as many as it needs."""

TURN_SECONDS = 1.0
"""How often a pass looks whether it is the oldest, and how long after the one before it starts."""

PATIENCE_PASSES = 3
"""How often a worker sees as many tasks without an owner beyond its share before it takes them all the same.

While their number changes, others take some, or give more away.
"""

log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class Share:
    """One worker's part of one provider: one of `parts` equal ones, or none when `has_part` is False.

    Rates are requests a second: None for no limit, 0 for none at all.
    """

    has_part: bool
    parts: int
    submits_per_second: float | None
    polls_per_second: float | None

    def tasks_of(self, total: int) -> int:
        """How many of all tasks in flight at the provider are this worker's."""
        return -(-total // self.parts) if self.has_part else 0


def share_of(limits: ProviderLimits, *, rank: int, workers: int) -> Share:
    """The share of the worker with that rank (0 is the oldest) among the provider's workers.

    No rate is cut into parts below one a second, for each part may be used in the same moment: of a
    provider that takes two polls a second, two workers hold tasks, and the others none.
    """
    parts = _parts(limits.polls_per_second, workers)
    senders = _parts(limits.submits_per_second, parts)
    return Share(
        has_part=rank < parts,
        parts=parts,
        submits_per_second=_part(limits.submits_per_second, senders, rank),
        polls_per_second=_part(limits.polls_per_second, parts, rank),
    )


def excess_of(mine: int, *, share: int, whole: int, takers: Sequence[int]) -> int:
    """How many of its tasks a worker gives away. `share` is how many are its own, 0 or a `whole` share.

    `takers` are how many each of those holds that has a whole share and takes tasks.
    """
    is_any_short = any(held < whole * SHORT_SHARE for held in takers)
    if mine <= share * (1 if is_any_short else UNEVEN_SHARE) + UNEVEN_TASKS:
        return 0
    return min(mine - share, sum(max(0, whole - held) for held in takers))


def _parts(per_second: float | None, workers: int) -> int:
    return workers if per_second is None else max(1, min(workers, int(per_second)))


def _part(per_second: float | None, parts: int, rank: int) -> float | None:
    if per_second is None and rank < parts:
        return None
    return 0.0 if per_second is None or rank >= parts else per_second / parts


class Shares:
    """Keeps one worker to its shares.

    Whoever reads which tasks are this worker's holds `ownership_lock`, as giving some away does: of an answer
    that is older than a release, the released tasks would be followed again.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        now_ms: Callable[[], int],
        lanes: Mapping[str, Lane],
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._now_ms = now_ms
        self._lanes = lanes
        self.ownership_lock = asyncio.Lock()
        self._waits_until: float | None = None
        self._standings: list[Standing] = []
        self._renewed = asyncio.Event()
        self._left_over: dict[str, tuple[int, int]] = {}

    def counts(self) -> dict[str, int]:
        """Tasks in flight by provider, as the other workers read them; `JOINING` while it takes none.

        While tasks change hands their number is left out: what is released is subtracted in its transaction.
        """
        counts = {}
        for name, lane in self._lanes.items():
            if self._waits(lane):
                counts[name] = JOINING
            elif not self.ownership_lock.locked() and not lane.attempts.is_in_doubt:
                counts[name] = len(lane.attempts.polled)
        return counts

    def counts_at_first(self) -> dict[str, int]:
        """What the worker registers with, before it knows whether others live."""
        return {name: JOINING if _is_limited(lane.limits) else 0 for name, lane in self._lanes.items()}

    def join(self, *, others_live: bool, until: float) -> None:
        """The worker has registered, or is back after its lease had run out.

        When others live, nothing of a limited rate is used before `until`.
        """
        if not others_live:
            return
        self._waits_until = until
        for lane in self._lanes.values():
            submits, polls = lane.limits.submits_per_second, lane.limits.polls_per_second
            lane.use_rates(
                submits_per_second=None if submits is None else 0.0,
                polls_per_second=None if polls is None else 0.0,
            )

    async def take_turn(self, *, until: float) -> None:
        """Wait: of passes that overlap the oldest uses the limits, and when it has ended the next.

        No longer than `until`, and not at all where a worker lives, which uses them. Raises `StoreError`.
        """
        loop = asyncio.get_running_loop()
        while self._waits_until is not None and loop.time() < until - TURN_SECONDS:
            standings = await self._database.read(workers.standings, self._now_ms())
            if any(standing.holds for standing in standings):
                return
            await asyncio.sleep(TURN_SECONDS)
            if standings and standings[0].worker_id == self._worker_id:
                self._waits_until = None
                for lane in self._lanes.values():
                    lane.use_rates(
                        submits_per_second=lane.limits.submits_per_second,
                        polls_per_second=lane.limits.polls_per_second,
                    )

    def keep(self, standings: list[Standing], now: float) -> None:
        """The lease was renewed: keep to the shares that follow."""
        if self._waits_until is not None and now >= self._waits_until:
            self._waits_until = None
        for _name, lane, share in self._taking_part(standings):
            lane.use_rates(
                submits_per_second=share.submits_per_second, polls_per_second=share.polls_per_second
            )
        self._standings = standings
        self._renewed.set()

    async def give_away(self) -> None:
        """After renewals, give away what is above this worker's shares, until cancelled.

        Apart from the renewals: they must not wait for it.
        """
        while True:
            await self._next_renewal()
            async with self.ownership_lock:
                is_any_given = await self._give_away_now(self._standings)
            if is_any_given:
                await self._next_renewal()  # those who take it say so first

    async def _next_renewal(self) -> None:
        self._renewed.clear()
        await self._renewed.wait()

    async def _give_away_now(self, standings: list[Standing]) -> bool:
        is_any_given = False
        for name, lane, share in self._taking_part(standings):
            is_any_given |= await self._give_away(name, lane, share, standings)
        return is_any_given

    def _taking_part(self, standings: list[Standing]) -> Iterator[tuple[str, Lane, Share]]:
        """The providers whose tasks this worker takes now, each with its share."""
        for name, lane in self._lanes.items():
            share = self._share(name, standings)
            if share is not None and not self._waits(lane):
                yield name, lane, share

    def nothing_is_free(self) -> None:
        """No task is without an owner: what is seen next was not left over before."""
        self._left_over.clear()

    def adoptable(self, survey: Survey) -> dict[str, int]:
        """How many of the tasks without an owner this worker takes now, by provider."""
        rooms = {}
        for name, lane in self._lanes.items():
            free = survey.free.get(name, 0)
            share = self._share(name, survey.standings)
            if free == 0:
                self._left_over.pop(name, None)
            elif share is not None and not self._waits(lane):
                rooms[name] = self._room(name, lane, share, survey)
        return rooms

    def _room(self, name: str, lane: Lane, share: Share, survey: Survey) -> int:
        mine, free = len(lane.attempts.polled), survey.free[name]
        others = sum(
            max(0, standing.holds.get(name, 0))
            for standing in survey.standings
            if standing.worker_id != self._worker_id
        )
        room = min(free, share.tasks_of(mine + others + free) - mine)
        if room >= free:
            return free
        # the rest is for others; but tasks that nobody takes are worse than an uneven share
        seen, passes = self._left_over.get(name, (free, 0))
        passes = passes + 1 if seen == free else 0
        self._left_over[name] = (free, passes)
        return free if passes > PATIENCE_PASSES else max(0, room)

    def _share(self, provider: str, standings: list[Standing]) -> Share | None:
        """This worker's share, or None when it is not among those who serve the provider."""
        serving = [standing.worker_id for standing in standings if provider in standing.holds]
        if self._worker_id not in serving:
            return None
        rank = serving.index(self._worker_id)
        return share_of(self._lanes[provider].limits, rank=rank, workers=len(serving))

    def _waits(self, lane: Lane) -> bool:
        return self._waits_until is not None and _is_limited(lane.limits)

    async def _give_away(self, name: str, lane: Lane, share: Share, standings: list[Standing]) -> bool:
        """Release what is above this worker's share and below the others', the newest tasks first.

        Tells whether there was any; with an error some of it may be given.
        """
        serving = [standing for standing in standings if name in standing.holds]
        held = {standing.worker_id: max(0, standing.holds[name]) for standing in serving}
        mine = held[self._worker_id] = len(lane.attempts.polled)
        total = sum(held.values())
        takers = [standing for standing in serving[: share.parts] if standing.holds[name] != JOINING]
        excess = excess_of(
            mine,
            share=share.tasks_of(total),
            whole=-(-total // share.parts),
            takers=[held[taker.worker_id] for taker in takers],
        )
        released = 0
        try:
            for first in range(0, excess, RELEASE_TASKS_MAX):
                released += await self._release(lane, min(excess - first, RELEASE_TASKS_MAX))
        except StoreError as error:
            log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
        if released:
            log.info(telemetry.TASKS_RELEASED, provider=name, count=released)
        return excess > 0

    async def _release(self, lane: Lane, count: int) -> int:
        """Give the newest tasks away; returns how many went. Raises `StoreError`.

        Whether a release whose answer was lost was committed, only the database knows: its tasks are
        forgotten here, and those that are still this worker's are recalled (`run/adopt.py`).
        """
        attempts, poller, name = lane.attempts, lane.poller, lane.provider.name
        newest = (task for task in reversed(attempts.polled.values()) if poller.may_pause(task))
        given = {task.task_id: task for task in islice(newest, count)}
        rows = [(task.task_id, task.attempt) for task in given.values()]
        for task in given.values():
            poller.pause(task)  # what it came to now would be stored by nobody
        gone = set[int]()
        try:
            gone = set(
                await self._database.transact(
                    workers.release_share_if_owned,
                    rows,
                    provider=name,
                    worker_id=self._worker_id,
                    now_ms=self._now_ms(),
                )
            )
        except (DatabaseUnreachable, asyncio.CancelledError):
            gone = set(given)
            attempts.adrift.update(rows)  # also where the database does not know the remote id yet
            attempts.is_in_doubt = True
            raise
        finally:
            for task_id, task in given.items():
                # this worker may have adopted it again before the database's answer to the release was here
                if attempts.polled.get(task_id) is not task:
                    continue
                if task_id in gone:
                    poller.forget(task_id)
                else:
                    poller.resume(task)
        return len(gone)


def _is_limited(limits: ProviderLimits) -> bool:
    return limits.submits_per_second is not None or limits.polls_per_second is not None
