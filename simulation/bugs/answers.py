"""Bugs of what an answer comes to: facts that are dropped, refusals and throttles that are mixed up, turns not kept."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rushes.domain.polling.learned_schedule import LearnedSchedule
from rushes.domain.polling.schedule import LadderSchedule
from rushes.domain.task import Accepted, FailureType, Rejected, SubmitOutcome, Throttled, Unknown
from rushes.run.lane import fairness
from rushes.run.lane.lane import Lane
from rushes.run.lane.unanswered import Unanswered
from simulation.bugs.bug import Bug
from simulation.tempo import Patches


def _id_thrown_away(patches: Patches) -> None:
    act = Lane._act

    def act_strictly(self: Lane, task: Any, outcome: SubmitOutcome) -> None:
        if isinstance(outcome, Accepted) and sum(outcome.remote_task_id.encode()) % 20 == 0:
            outcome = Unknown("a field is odd")
        act(self, task, outcome)

    patches.set(Lane, "_act", act_strictly)


def _reason_lost(patches: Patches) -> None:
    act = Lane._act

    def act_tersely(self: Lane, task: Any, outcome: SubmitOutcome) -> None:
        act(self, task, replace(outcome, reason="HTTP 400") if isinstance(outcome, Rejected) else outcome)

    patches.set(Lane, "_act", act_tersely)


def _throttled_task_failed(patches: Patches) -> None:
    act = Lane._act

    def act_harshly(self: Lane, task: Any, outcome: SubmitOutcome) -> None:
        if isinstance(outcome, Throttled):
            outcome = Rejected(outcome.reason, FailureType.MODEL_ERROR)
        act(self, task, outcome)

    patches.set(Lane, "_act", act_harshly)


def _overdue_polled_often(patches: Patches) -> None:
    for schedule in (LadderSchedule, LearnedSchedule):
        patches.set(schedule, "next_delay_seconds", _never_overdue(schedule))


def _never_overdue(schedule: Any) -> Any:
    next_delay_seconds = schedule.next_delay_seconds

    def next_delay(self: Any, *, overdue: bool, **more: Any) -> Any:
        return next_delay_seconds(self, overdue=False, **more)

    return next_delay


def _accounts_not_in_turns(patches: Patches) -> None:
    def by_age(candidates: Sequence[Any], limit: int) -> dict[int, int]:
        shares: dict[int, int] = {}
        for candidate in sorted(candidates, key=lambda each: each.batch_id):
            shares[candidate.batch_id] = min(limit, candidate.pending_count)
            limit -= shares[candidate.batch_id]
            if not limit:
                break
        return shares

    patches.set(fairness, "fair_shares", by_age)


def _trouble_not_stored(patches: Patches) -> None:
    patches.set(Unanswered, "take", lambda _self, *, now, now_ms: [])


BUGS = (
    Bug("trouble not stored", "a task without an answer does not say so in its row", _trouble_not_stored),
    Bug("id thrown away", "the id in a submit's answer is not kept when a field is odd", _id_thrown_away),
    Bug("reason lost", "a refused task does not say why", _reason_lost),
    Bug("throttled task failed", "a 429 at a submit fails the task", _throttled_task_failed),
    Bug("overdue polled often", "overdue tasks are never polled slowly", _overdue_polled_often),
    Bug("accounts not in turns", "the oldest batch is served first, whoever waits", _accounts_not_in_turns),
)
