"""Bugs at the provider's door: intents, unknown outcomes, limits, callbacks, poll times."""

import asyncio
from math import inf
from sys import maxsize
from typing import Any

import msgspec

from rushes.domain.callback_tokens import attempt_of_token
from rushes.domain.task import Failed, FailureType, NoAnswer, NotSent, Succeeded, Unknown
from rushes.providers.families import grsai, grsai_unified
from rushes.run.lane.claim import Claims
from rushes.run.lane.fairness import claim_fairly
from rushes.run.lane.lane import Lane
from rushes.run.lane.limits import RateLimit
from rushes.run.lane.poll import Poller
from rushes.run.nudges import Nudges
from rushes.run.unconfirmed import Unconfirmed
from rushes.store import tasks
from rushes.store.database import statement
from rushes.store.tasks import ClaimedTask, OwnedTask
from simulation.bugs.bug import Bug
from simulation.tempo import Patches
from simulation.world import callbacks
from simulation.world.process import Process
from simulation.world.slot import CALLBACK_KEY


def _commit_before_intent(patches: Patches) -> None:
    def peek(connection: Any, *, provider: str, limit: int, now_ms: int) -> list[ClaimedTask]:
        rows = connection.execute(
            statement(
                "SELECT id, batch_id, attempt + 1, provider, model, api_model, prompt, options"
                " FROM video_tasks WHERE status = 'pending' AND provider = :provider"
                " ORDER BY id LIMIT :limit"
            ),
            {"provider": provider, "limit": limit},
        )
        facts: list[Any] = [(*row[:7], msgspec.json.decode(row[7]), now_ms) for row in rows]
        return [ClaimedTask(*fact) for fact in facts]

    async def send_then_claim(self: Lane) -> list[ClaimedTask]:
        self.claims.start_looking()
        context, limit = self._context, self.claims.limit
        count = limit.reserve(asyncio.get_running_loop().time(), max(0, self.claims.room()))
        if count <= 0 or not context.lease.permits_sending():
            limit.give_back(count)
            return []
        wanted: dict[str, Any] = {"provider": self.provider.name, "limit": count, "now_ms": context.now_ms()}
        found = await context.database.read(peek, **wanted)
        limit.give_back(count - len(found))
        for task in found:
            self.attempts.claim(task)
            self._start(task)
        await context.database.transact(claim_fairly, worker_id=context.worker_id, **wanted)
        return []

    patches.set(Lane, "_claim", send_then_claim)


def _blind_resubmit(patches: Patches) -> None:
    act = Lane._act

    def act_blindly(self: Lane, task: ClaimedTask, outcome: Any) -> None:
        act(self, task, NotSent(outcome.reason) if isinstance(outcome, Unknown) else outcome)

    patches.set(Lane, "_act", act_blindly)


def _attempt_number_reused(patches: Patches) -> None:
    give_back = tasks.return_to_pending_if_unnamed

    def with_its_number(connection: Any, rows: Any, **more: Any) -> list[int]:
        returned = give_back(connection, rows, **more)
        for task_id, _attempt in rows:
            connection.execute(
                statement(
                    "UPDATE video_tasks SET attempt = attempt - 1 WHERE id = :id AND status = 'pending'"
                ),
                {"id": task_id},
            )
        return returned

    patches.set(tasks, "return_to_pending_if_unnamed", with_its_number)


def _grace_ignored(patches: Patches) -> None:
    follow_up = Unconfirmed.follow_up

    async def at_once(self: Unconfirmed) -> None:
        self._grace_ms = 0
        await follow_up(self)

    patches.set(Unconfirmed, "follow_up", at_once)


def _rate_ignored(patches: Patches) -> None:
    patches.set(RateLimit, "permitted_at", lambda _self, now: now)
    patches.set(RateLimit, "_free", lambda _self, _now: maxsize)


def _claims_ahead(patches: Patches) -> None:
    submit = Lane.submit

    async def wait_then_submit(self: Lane, task: ClaimedTask) -> None:
        await self.claims.limit.acquire()
        await submit(self, task)

    patches.set(RateLimit, "reserve", lambda _self, _now, count_max: min(count_max, 8))
    patches.set(RateLimit, "use", lambda _self, _now: None)
    patches.set(RateLimit, "give_back", lambda _self, _count: None)
    patches.set(Lane, "submit", wait_then_submit)


def _in_flight_ignored(patches: Patches) -> None:
    def room(self: Claims) -> int:
        return self._limits.connections_max - self._attempts.submitting_count

    patches.set(Claims, "room", room)
    patches.set(tasks, "lock_and_count_in_flight", lambda *_arguments: 0)


def _remote_id_not_confirmed(patches: Patches) -> None:
    async def take(self: Nudges, task: OwnedTask, candidate: Any) -> None:
        self._drop(task.task_id, candidate)
        self._committer.accepted(task.task_id, task.attempt, candidate.remote_task_id)

    patches.set(Nudges, "_confirm", take)


def _callback_trusted(patches: Patches) -> None:
    receive = callbacks.receive

    async def settle_from_body(process: Process, callback: Any, *, foreign: str | None = None) -> None:
        body = msgspec.json.decode(callback.body)
        worker = process.worker
        attempt = attempt_of_token(CALLBACK_KEY, callback.url.rsplit("/", 1)[1])
        if worker is not None and attempt is not None and body["status"] == "succeeded":
            url = body.get("url") or body["results"][0]["url"]
            worker.committer.verdict(*attempt, Succeeded(url))
        elif worker is not None and attempt is not None and body["status"] == "failed":
            worker.committer.verdict(*attempt, Failed("failed", FailureType.MODEL_ERROR))
        else:
            await receive(process, callback, foreign=foreign)

    patches.set(callbacks, "receive", settle_from_body)


def _polled_before_its_time(patches: Patches) -> None:
    patches.set(Poller, "_delay_seconds", lambda *_arguments: 0.5)


class _Every(float):
    """A time that no other differs from."""

    def __ne__(self, other: object) -> bool:
        return False


def _old_plans_kept(patches: Patches) -> None:
    push = Poller._push

    def push_beside(self: Poller, task: Any, due: float) -> None:
        push(self, task, due)
        task.due = _Every()

    patches.set(Poller, "_push", push_beside)


def _last_poll_put_off(patches: Patches) -> None:
    apply = Poller.apply

    def apply_late(self: Poller, task: Any, result: Any, asked_at: float | None = None) -> None:
        times = task.times
        if isinstance(result, NoAnswer) and self._now() < task.hard_deadline:
            task.times = times._replace(hard_deadline_seconds=inf)
        apply(self, task, result, asked_at)
        task.times = times

    patches.set(Poller, "apply", apply_late)


def _ids_not_compared(patches: Patches) -> None:
    for family in (grsai, grsai_unified):
        patches.set(family, "require_same_task", lambda asked, named: None)


BUGS = (
    Bug("ids not compared", "an answer about another task is taken for this one's", _ids_not_compared),
    Bug("commit before intent", "a task is sent before its claim is committed", _commit_before_intent),
    Bug("blind resubmit", "a submit of unknown outcome is simply sent again", _blind_resubmit),
    Bug(
        "attempt number reused", "an attempt that was not taken gives its number back", _attempt_number_reused
    ),
    Bug("grace ignored", "an unconfirmed submit is given up at once", _grace_ignored),
    Bug("rate ignored", "submits and polls go as fast as they can", _rate_ignored),
    Bug("claims ahead", "more is claimed than can leave, and waits for the rate limit", _claims_ahead),
    Bug("in-flight limit ignored", "more tasks are sent than may be in flight", _in_flight_ignored),
    Bug(
        "callback's id not confirmed", "a remote id is taken from a callback unseen", _remote_id_not_confirmed
    ),
    Bug("callback trusted", "a task is settled from a callback's body", _callback_trusted),
    Bug(
        "old plans kept",
        "a task planned anew is polled at its old time as well (found here, 2026-11)",
        _old_plans_kept,
    ),
    Bug(
        "last poll put off",
        "an unanswered poll puts the last one off past the deadline (found here, 2026-11)",
        _last_poll_put_off,
    ),
    Bug("polled before its time", "the poll schedule is not kept", _polled_before_its_time),
)
