"""A worker's lease: how it is renewed, and how far the worker trusts it, by every clock that it has."""

from collections.abc import Callable, Mapping, Sequence
from math import inf

from rushes.store import workers
from rushes.store.database import Database
from rushes.store.workers import Standing

RENEWAL_SECONDS_MIN = 1.0
"""What a renewal of the lease may take at least: else it may take a third of the lease."""


class OwnLease:
    """Whether the lease that was last written can still be valid.

    Each of `clocks` gives seconds. The lease is held only as long as it is by all of them: a monotonic
    clock may stand still while the machine is suspended, and the wall clock may be set back. A clock that
    jumps ahead costs no more than a pause until the next renewal; one that jumps back changes nothing, for
    the others went on.
    """

    def __init__(self, clocks: Sequence[Callable[[], float]], seconds: float) -> None:
        self._clocks = tuple(clocks)
        self._seconds = seconds
        self._since: tuple[float, ...] | None = None
        self._held_at = -inf
        self.is_ending = False

    def now(self) -> tuple[float, ...]:
        """What the clocks say: to be asked before a renewal leaves, and given to `renewed` after it."""
        return tuple(clock() for clock in self._clocks)

    def renewed(self, since: tuple[float, ...]) -> None:
        """It was written; its time runs from before that."""
        self._since = since

    def is_held(self) -> bool:
        """Whether no clock says that it may have run out."""
        if self._since is None:
            return False
        seconds = self._seconds
        return all(clock() - since < seconds for clock, since in zip(self._clocks, self._since, strict=True))

    def is_held_at(self, now: float) -> bool:
        """`is_held`, at `now` of the event loop: at one time of the loop the clocks are asked once.

        For polls, of which there are many at one time. A process that is stopped just then still makes those
        that were ready.
        """
        if now != self._held_at:
            if not self.is_held():
                return False
            self._held_at = now
        return True

    def end(self) -> None:
        """The worker stops: what was not sent so far is not sent under this lease."""
        self.is_ending = True

    def permits_sending(self) -> bool:
        """Whether a submit may leave now: the worker is not stopping, and nobody can have its tasks."""
        return not self.is_ending and self.is_held()


async def renew(
    database: Database,
    worker_id: str,
    *,
    seconds: float,
    report: str,
    holds: Mapping[str, int],
    now_ms: int,
) -> list[Standing]:
    """Extend the lease by `seconds` from now; returns who lives. Raises `LeaseLost` when it was lost.

    A renewal that comes after the lease's end is useless, so it is bounded.
    """
    standings = await database.within(max(seconds / 3, RENEWAL_SECONDS_MIN)).transact(
        workers.renew_lease_if_alive,
        worker_id,
        lease_expires_at_ms=now_ms + int(seconds * 1000),
        report=report,
        holds=holds,
        now_ms=now_ms,
    )
    if standings is None:
        raise workers.LeaseLost(f"worker {worker_id} was declared dead")
    return standings
