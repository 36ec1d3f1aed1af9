"""Bugs of leases, adoption and attempts."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from rushes.domain.task import Failed, FailureType
from rushes.engine.dispatch import Dispatcher
from rushes.engine.steward import Steward
from rushes.engine.worker import Worker
from rushes.store import tasks, workers
from rushes.store.database import statement
from simulation.bugs.bug import Bug
from simulation.tempo import Patches


def _lease_not_checked_at_claim(patches: Patches) -> None:
    patches.set(workers, "require_lease", lambda _connection, _worker_id, _now_ms: None)
    patches.set(Worker, "_may_send", lambda self: not self._stopping)


def _lease_not_checked_at_send(patches: Patches) -> None:
    patches.set(Worker, "_may_send", lambda self: not self._stopping)


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
        return f"{tasks._still_at_attempt(connection)} AND :worker_id IS NOT NULL"

    patches.set(tasks, "_still_owned", still_owned)


def _attempt_not_compared(patches: Patches) -> None:
    def still_processing(_connection: Connection) -> str:
        return "video_tasks.id = v.id AND +video_tasks.status = 'processing'"

    patches.set(tasks, "_still_at_attempt", still_processing)


def _double_adoption(patches: Patches) -> None:
    def look_only(connection: Connection, worker_id: str, dead_id: str, **_more: Any) -> list[Any]:
        rows = connection.execute(
            statement(
                f"SELECT {workers._ADOPTED_COLUMNS} FROM video_tasks"
                " WHERE worker_id = :dead AND status = 'processing' ORDER BY id"
            ),
            {"dead": dead_id},
        )
        return [workers.owned_task_from_row(row) for row in rows]

    patches.set(workers, "_take_over", look_only)


def _lost_adoptions_forgotten(patches: Patches) -> None:
    async def forget(self: Steward) -> None:
        self._memory_in_doubt = False

    patches.set(Steward, "_remember", forget)


def _lost_claims_forgotten(patches: Patches) -> None:
    async def forget(self: Dispatcher) -> None:
        self._claim_in_doubt = False

    patches.set(Dispatcher, "_return_lost_claims", forget)


def _known_task_given_up(patches: Patches) -> None:
    def give_up(
        connection: Connection,
        rows: Sequence[tuple[int, int]],
        *,
        error: str,
        failure_type: FailureType,
        **more: Any,
    ) -> Any:
        verdicts = [(task_id, attempt, Failed(error, failure_type)) for task_id, attempt in rows]
        return tasks.finish_if_owned(connection, verdicts, **more)

    patches.set(tasks, "give_up_if_unnamed", give_up)


def _found_for_another_attempt(patches: Patches) -> None:
    def by_task_only(connection: Connection, rows: Any, **_more: Any) -> dict[int, str | None]:
        found = connection.execute(
            statement(
                f"SELECT video_tasks.id, remote_task_id FROM video_tasks, {tasks._GUARD.sql(connection)}"
                " WHERE video_tasks.id = v.id"
            ),
            tasks._GUARD.parameters(connection, rows),
        )
        return {row[0]: row[1] for row in found}

    patches.set(tasks, "remote_ids_if_owned", by_task_only)


BUGS = (
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
        "found for another attempt",
        "a remote id is taken for an attempt given up",
        _found_for_another_attempt,
    ),
)
