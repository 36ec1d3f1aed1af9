"""Bugs at the provider's door: intents, unknown outcomes, limits, callbacks, poll times."""

from math import inf
from typing import Any

import msgspec

from rushes.domain.task import Failed, FailureType, NoAnswer, NotSent, Succeeded, Unknown
from rushes.engine import dispatch
from rushes.engine.callbacks import attempt_of_token
from rushes.engine.dispatch import Dispatcher
from rushes.engine.limits import RateLimit
from rushes.engine.nudges import Nudges
from rushes.engine.poll import Poller
from rushes.engine.steward import Steward
from rushes.store import tasks
from rushes.store.database import statement
from rushes.store.tasks import ClaimedTask, OwnedTask
from simulation import callbacks
from simulation.bugs.bug import Bug
from simulation.process import Process
from simulation.slot import CALLBACK_KEY
from simulation.tempo import Patches


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

    async def send_then_claim(self: Dispatcher) -> list[ClaimedTask]:
        limit = self._room()
        if limit <= 0 or not self._may_send():
            return []
        wanted: dict[str, Any] = {"provider": self.provider.name, "limit": limit, "now_ms": self._now_ms()}
        found = await self._database.read(peek, **wanted)
        for task in found:
            self.submitting[task.task_id] = task
            self._start(task)
        await self._database.transact(dispatch.claim_fairly, worker_id=self._worker_id, **wanted)
        return []

    patches.set(Dispatcher, "claim", send_then_claim)


def _blind_resubmit(patches: Patches) -> None:
    act = Dispatcher._act

    def act_blindly(self: Dispatcher, task: ClaimedTask, outcome: Any) -> None:
        act(self, task, NotSent(outcome.reason) if isinstance(outcome, Unknown) else outcome)

    patches.set(Dispatcher, "_act", act_blindly)


def _attempt_number_reused(patches: Patches) -> None:
    give_back = tasks.return_to_pending_if_owned

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

    patches.set(tasks, "return_to_pending_if_owned", with_its_number)


def _grace_ignored(patches: Patches) -> None:
    look = Steward.look_after_unconfirmed

    async def at_once(self: Steward, on_found: Any) -> None:
        self._grace_ms = 0
        await look(self, on_found)

    patches.set(Steward, "look_after_unconfirmed", at_once)


def _rate_ignored(patches: Patches) -> None:
    patches.set(RateLimit, "permitted_at", lambda _self, now: now)


def _in_flight_ignored(patches: Patches) -> None:
    def room(self: Dispatcher) -> int:
        return self._submits_max - len(self.submitting)

    patches.set(Dispatcher, "_room", room)
    patches.set(tasks, "lock_and_count_in_flight", lambda *_arguments: 0)


def _remote_id_not_confirmed(patches: Patches) -> None:
    async def take(self: Nudges, task: OwnedTask, candidate: Any) -> None:
        self._drop(task.task_id, candidate)
        self._sink.accepted(task.task_id, task.attempt, candidate.remote_task_id)

    patches.set(Nudges, "_confirm", take)


def _callback_trusted(patches: Patches) -> None:
    receive = callbacks.receive

    async def settle_from_body(process: Process, callback: Any) -> None:
        body = msgspec.json.decode(callback.body)
        worker = process.worker
        attempt = attempt_of_token(CALLBACK_KEY, callback.url.rsplit("/", 1)[1])
        if worker is not None and attempt is not None and body["status"] == "succeeded":
            url = body.get("url") or body["results"][0]["url"]
            worker.committer.verdict(*attempt, Succeeded(url))
        elif worker is not None and attempt is not None and body["status"] == "failed":
            worker.committer.verdict(*attempt, Failed("failed", FailureType.MODEL_ERROR))
        else:
            await receive(process, callback)

    patches.set(callbacks, "receive", settle_from_body)


def _polled_before_its_time(patches: Patches) -> None:
    patches.set(Poller, "_delay_seconds", lambda *_arguments: 0.5)


class _Every(int):
    """A number that no other differs from."""

    def __ne__(self, other: object) -> bool:
        return False


def _old_plans_kept(patches: Patches) -> None:
    push = Poller._push

    def push_beside(self: Poller, task: Any, due: float) -> None:
        push(self, task, due)
        task.entry = _Every()

    patches.set(Poller, "_push", push_beside)


def _last_poll_put_off(patches: Patches) -> None:
    apply = Poller.apply

    def apply_late(self: Poller, task: Any, result: Any, **more: Any) -> None:
        deadline = task.hard_deadline
        if isinstance(result, NoAnswer) and self._now() < deadline:
            task.hard_deadline = inf
        apply(self, task, result, **more)
        task.hard_deadline = deadline

    patches.set(Poller, "apply", apply_late)


BUGS = (
    Bug("commit before intent", "a task is sent before its claim is committed", _commit_before_intent),
    Bug("blind resubmit", "a submit of unknown outcome is simply sent again", _blind_resubmit),
    Bug(
        "attempt number reused", "an attempt that was not taken gives its number back", _attempt_number_reused
    ),
    Bug("grace ignored", "an unconfirmed submit is given up at once", _grace_ignored),
    Bug("rate ignored", "submits and polls go as fast as they can", _rate_ignored),
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
