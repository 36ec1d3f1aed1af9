"""Bugs of leases, adoption and attempts."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from rushes.domain.task import Failed, FailureType
from rushes.run.adopt import Adoption
from rushes.run.commit import SettleOutcome
from rushes.run.lane.claim import Claims
from rushes.run.lane.lane import Lane
from rushes.run.lease import OwnLease
from rushes.run.shares import Shares
from rushes.store import tasks, workers
from rushes.store.database import statement
from rushes.store.tasks import guards, owned_task_from_row
from simulation.bugs.bug import Bug
from simulation.tempo import Patches


def _lease_not_checked_at_claim(patches: Patches) -> None:
    patches.set(workers, "require_lease", lambda _connection, _worker_id, _now_ms: None)
    patches.set(OwnLease, "permits_sending", lambda self: not self.is_ending)


def _lease_not_checked_at_send(patches: Patches) -> None:
    patches.set(OwnLease, "permits_sending", lambda self: not self.is_ending)


def _lease_not_checked_at_adoption(patches: Patches) -> None:
    adopt = workers.adopt

    def adopt_anyone(connection: Connection, worker_id: str, *, now_ms: int, **more: Any) -> Any:
        return adopt(connection, worker_id, now_ms=now_ms + 20_000, **more)

    def any_other(connection: Connection, worker_id: str, *, now_ms: int) -> bool:
        return True

    patches.set(workers, "adopt", adopt_anyone)
    patches.set(workers, "any_dead", any_other)


def _owner_not_compared(patches: Patches) -> None:
    def still_owned(connection: Connection) -> str:
        return f"{guards.still_at_attempt(connection)} AND :worker_id IS NOT NULL"

    patches.set(guards, "still_owned", still_owned)


def _attempt_not_compared(patches: Patches) -> None:
    def still_processing(_connection: Connection) -> str:
        return "video_tasks.id = v.id AND +video_tasks.status = 'processing'"

    patches.set(guards, "still_at_attempt", still_processing)


def _double_adoption(patches: Patches) -> None:
    def look_only(connection: Connection, worker_id: str, dead_id: str, **_more: Any) -> list[Any]:
        rows = connection.execute(
            statement(
                f"SELECT {workers._OWNED_COLUMNS} FROM video_tasks"
                " WHERE worker_id = :dead AND status = 'processing' ORDER BY id"
            ),
            {"dead": dead_id},
        )
        return [owned_task_from_row(row) for row in rows]

    patches.set(workers, "_take_over", look_only)


def _lost_adoptions_forgotten(patches: Patches) -> None:
    async def forget(self: Adoption) -> None:
        self._set_doubt(False)

    patches.set(Adoption, "_recall", forget)


def _lost_claims_forgotten(patches: Patches) -> None:
    async def forget(self: Claims) -> None:
        self._is_in_doubt = False

    patches.set(Claims, "_return_lost_claims", forget)


def _known_task_given_up(patches: Patches) -> None:
    def give_up(
        connection: Connection,
        rows: Sequence[tuple[int, int]],
        *,
        error: str,
        failure_type: FailureType,
        **more: Any,
    ) -> Any:
        unnamed = give_up_unnamed(connection, rows, error=error, failure_type=failure_type, **more)
        verdicts = [(task_id, attempt, Failed(error, failure_type)) for task_id, attempt in rows]
        return [*unnamed, *tasks.finish_if_owned(connection, verdicts, **more)]

    give_up_unnamed = tasks.give_up_if_unnamed
    patches.set(tasks, "give_up_if_unnamed", give_up)


def _own_task_forgotten(patches: Patches) -> None:
    async def release(self: Shares, lane: Any, count: int) -> int:
        newest = (task for task in reversed(lane.attempts.polled.values()) if not task.settling)
        rows = [(task.task_id, task.attempt) for task in islice(newest, count)]
        released = await self._database.transact(
            workers.release_share_if_owned,
            rows,
            provider=lane.provider.name,
            worker_id=self._worker_id,
            now_ms=self._now_ms(),
        )
        for task_id in released:
            lane.poller.forget(task_id)
        return count

    patches.set(Shares, "_release", release)


def _end_forgets_the_next_attempt(patches: Patches) -> None:
    def end(self: Lane, task_id: int, _attempt: int, _outcome: SettleOutcome) -> bool:
        self.poller.forget(task_id)
        return False

    patches.set(Lane, "end", end)


def _record_not_read(patches: Patches) -> None:
    patches.set(Adoption, "_return_never_sent", lambda _self, _adopted: None)


BUGS = (
    Bug(
        "record not read",
        "what a dead worker never sent is of unknown outcome, as if it had",
        _record_not_read,
    ),
    Bug("lease not checked at claim", "a worker claims without a lease", _lease_not_checked_at_claim),
    Bug(
        "lease not checked at send",
        "a worker that slept sends what it had claimed",
        _lease_not_checked_at_send,
    ),
    Bug(
        "lease not checked at adoption",
        "workers are declared dead 20 s early",
        _lease_not_checked_at_adoption,
    ),
    Bug("owner not compared", "whoever lost a task may still change it", _owner_not_compared),
    Bug("attempt not compared", "an old attempt's outcome is taken for the new one", _attempt_not_compared),
    Bug("double adoption", "an adopted task keeps its dead owner", _double_adoption),
    Bug(
        "lost adoption forgotten", "an adoption whose answer was lost is forgotten", _lost_adoptions_forgotten
    ),
    Bug("lost claim forgotten", "a claim whose answer was lost is forgotten", _lost_claims_forgotten),
    Bug("known task given up", "a submit is refunded although its task was found", _known_task_given_up),
    Bug(
        "own task forgotten",
        "a task given away and adopted again at once is not followed (found here, 2026-11)",
        _own_task_forgotten,
    ),
    Bug(
        "end forgets the next attempt",
        "the end of an attempt makes a worker forget the task's next one (found here, 2026-11)",
        _end_forgets_the_next_attempt,
    ),
)
