"""Bugs that only rare windows show: stops with work in hand, refused rows, mixed up ids, moved hosts, models' limits."""

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection

from rushes.domain.task import CANCELLED, CancelRefused, CancelResult, Failed, FailureType
from rushes.money.settle import Group
from rushes.run.asking.cancelling import Cancelling
from rushes.run.commit import Committed, Committer, SettleOutcome
from rushes.run.lane import poll
from rushes.run.lane.attempts import Attempts
from rushes.run.lane.claim import Claims
from rushes.run.lane.lane import Lane
from rushes.run.lane.remote_task import RemoteTask
from rushes.store import tasks
from rushes.store.tasks import remote_ids
from simulation.bugs.bug import Bug
from simulation.tempo import Patches


def _late_claim_forgotten(patches: Patches) -> None:
    async def give_back(self: Claims, *, timeout_seconds: float) -> None:
        claiming, self._claiming = self._claiming, None
        if claiming is None:
            return
        await asyncio.wait([claiming], timeout=timeout_seconds)
        if not claiming.done() or claiming.cancelled() or claiming.exception() is not None:
            return
        for task in claiming.result():
            self._context.committer.returned(task.task_id, task.attempt)

    patches.set(Claims, "return_unstarted", give_back)


def _refused_return_forgotten(patches: Patches) -> None:
    async def refused(self: Committer, group: Group, error: Exception) -> Committed:
        for task_id, attempt, remote_task_id in group.accepted:
            return await self._keep_refused_id(task_id, attempt, remote_task_id, error)
        rows: tuple[list[Any], ...] = (group.refused, group.verdicts, group.given_up, group.resubmitted)
        return Committed(ends=[(row[0], row[1], SettleOutcome.REFUSED) for row in chain(*rows)])

    patches.set(Committer, "_refused", refused)


def _refused_id_polled_on(patches: Patches) -> None:
    async def keep(
        self: Committer, task_id: int, attempt: int, remote_task_id: str, error: Exception
    ) -> Committed:
        return Committed()

    patches.set(Committer, "_keep_refused_id", keep)


def _id_of_another_kept(patches: Patches) -> None:
    def take_all(_connection: Connection, named: Sequence[remote_ids.NamedAttempt]) -> list[Any]:
        return []

    patches.set(remote_ids, "take_if_free", take_all)


def _asked_at_the_new_host(patches: Patches) -> None:
    patches.set(Lane, "_elsewhere", lambda _self, _task: None)


def _limits_of_models_ignored(patches: Patches) -> None:
    def count(
        _connection: Connection, _provider: str, models: Sequence[str], _since_ms: int
    ) -> dict[str, tuple[int, int]]:
        return dict.fromkeys(models, (0, 0))

    patches.set(tasks, "lock_and_count_of_models", count)


def _asked_is_dropped(patches: Patches) -> None:
    async def cancel_and_end(self: Cancelling, lane: Lane, task: RemoteTask) -> CancelResult:
        result: CancelResult = await cancel(self, lane, task)
        if isinstance(result, CancelRefused) and not task.settling:
            lane.poller._conclude(task, Failed(CANCELLED, FailureType.CANCELLED))
        return result

    cancel = patches.set(Cancelling, "_cancel", cancel_and_end)


def _gone_too_soon(patches: Patches) -> None:
    patches.set(poll, "GONE_SECONDS", 600.0)


def _held_is_given_back(patches: Patches) -> None:
    def submitting(self: Attempts) -> set[tuple[int, int]]:
        return {(task.task_id, task.attempt) for task in (*self.claimed.values(), *self.sending.values())}

    patches.set(Attempts, "known", submitting)


BUGS = (
    Bug(
        "late claim forgotten",
        "a worker stops before its claim is answered, and nobody knows that it sent none of that (found here, 2026-11)",
        _late_claim_forgotten,
    ),
    Bug(
        "refused return forgotten",
        "what the database does not take back is followed by nobody (found here, 2026-11)",
        _refused_return_forgotten,
    ),
    Bug(
        "refused id polled on",
        "a remote id that the database refuses is polled as if it were stored",
        _refused_id_polled_on,
    ),
    Bug(
        "held is given back",
        "a worker that has lost a claim gives back what it holds as well (found here, 2026-11)",
        _held_is_given_back,
    ),
    Bug("id of another kept", "a remote id that another attempt has is stored again", _id_of_another_kept),
    Bug("asked at the new host", "a task is asked for where its provider is now", _asked_at_the_new_host),
    Bug("limits of models ignored", "a model's own limits are not counted", _limits_of_models_ignored),
    Bug("asked is dropped", "what was asked to be dropped is ended while it renders", _asked_is_dropped),
    Bug("gone too soon", "a provider is gone after ten minutes", _gone_too_soon),
)
