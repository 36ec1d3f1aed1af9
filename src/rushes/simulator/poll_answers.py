"""How a task stands, what polls leave on it, the faults that change the words of an answer, and mix-ups.

Of mix-ups: only an answer that names its task is given in another one's place. One that names none can be
recognised by no client, and so proves nothing of one.
"""

import dataclasses

from rushes.simulator.fate import Outcome
from rushes.simulator.faults import UNKNOWN_STATUS_WORD, Fault
from rushes.simulator.message import SimResponse
from rushes.simulator.work import SimTask, TaskView


def note_poll(task: SimTask, now: float) -> None:
    """Count the poll, and keep the shortest time between two."""
    task.polls += 1
    if task.last_poll_at is not None:
        gap = now - task.last_poll_at
        if task.poll_gap_min_seconds is None or gap < task.poll_gap_min_seconds:
            task.poll_gap_min_seconds = gap
    task.last_poll_at = now


def reworded(view: TaskView, fault: Fault) -> tuple[TaskView, Fault | None]:
    """The view as a fault of words tells it; such a fault that has nothing to change is None."""
    task = view.task
    match fault:
        case Fault.UNKNOWN_STATUS:
            if view.outcome in (Outcome.BUSINESS_CODE, Outcome.FORGOTTEN):
                return view, None  # these answers have no status to spoil
            return dataclasses.replace(view, status=UNKNOWN_STATUS_WORD), fault
        case Fault.BACKWARDS:
            if task.final_answer is not None:
                return view, None
            return TaskView(task, None, task.progress_seen // 2), fault
        case Fault.PROGRESS_MISSING:
            if view.outcome is not None:
                return view, None
            return dataclasses.replace(view, progress=None), fault
        case _:
            return view, fault


def honest_view(
    task: SimTask,
    now: float,
    forget_after_seconds: float | None,
    *,
    waits: bool,
    position: int,
    video_url: str,
) -> TaskView:
    """What an honest service says of the task at `now`; `video_url` is where its video is, if it has one."""
    finished_at = task.finished_at
    if task.cancelled_at is not None:
        return TaskView(task, Outcome.CANCELLED, task.progress_at(task.cancelled_at))
    if finished_at is None or now < finished_at:
        return TaskView(task, None, task.progress_at(now), waits=waits, position=position)
    outcome = task.fate.outcome
    if forget_after_seconds is not None and now >= finished_at + forget_after_seconds:
        outcome = Outcome.FORGOTTEN
    if outcome is Outcome.SUCCEEDED:
        return TaskView(task, outcome, 100, video_url=video_url)
    return TaskView(task, outcome, 100 if outcome is Outcome.SUCCEEDED_WITHOUT_URL else task.progress_at(now))


# --- a gateway that mixes up its answers ---------------------------------------------------------------

ACCEPTANCE_AGE_SECONDS_MIN = 2.0
"""An acceptance is given to another submit only when its own client has long had it."""

Question = tuple[str, bool]
"""The wire, and whether it is the first question of a poll."""


class MixUps:
    """The last honest answers by wire; of polls the last verdict, before there is one the last answer."""

    def __init__(self) -> None:
        self._polls: dict[Question, tuple[str, bool, SimResponse]] = {}
        self._acceptances: dict[str, list[tuple[float, SimResponse]]] = {}

    def note_poll(self, question: Question, task: SimTask, response: SimResponse, *, is_final: bool) -> None:
        """An honest answer about `task` was given."""
        had = self._polls.get(question)
        if _names(response, task) and (is_final or had is None or not had[1]):
            self._polls[question] = (task.id, is_final, response)

    def poll(self, question: Question, task: SimTask) -> SimResponse | None:
        """The answer about another task, if there is one."""
        had = self._polls.get(question)
        return None if had is None or had[0] == task.id else had[2]

    def note_acceptance(self, wire: str, response: SimResponse, now: float) -> None:
        """An honest acceptance was given."""
        kept = self._acceptances.setdefault(wire, [])
        if not kept or now - kept[-1][0] >= ACCEPTANCE_AGE_SECONDS_MIN:
            self._acceptances[wire] = [*kept[-1:], (now, response)]

    def acceptance(self, wire: str, now: float) -> SimResponse | None:
        """The acceptance of an earlier submit, if there is one that is old enough."""
        kept = self._acceptances.get(wire, [])
        return next((said for at, said in kept if now - at >= ACCEPTANCE_AGE_SECONDS_MIN), None)


def _names(response: SimResponse, task: SimTask) -> bool:
    return task.id.encode() in response.body or any(task.id in value for _, value in response.headers)
