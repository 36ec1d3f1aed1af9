"""What the simulator saw, so that a test can compare it with what a client believes."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rushes.simulator.work import SimTask


@dataclass(slots=True)
class Counts:
    """Running counts; they survive the dropping of old tasks."""

    requests: int = 0
    submits: int = 0
    accepted: int = 0
    accepted_unanswered: int = 0
    submits_unclear: int = 0
    polls: int = 0
    polls_of_unknown_tasks: int = 0
    polls_after_final_answer: int = 0
    deliveries: int = 0
    downloads: int = 0
    tasks_dropped: int = 0
    cancels: int = 0
    cancelled_waiting: int = 0
    cancelled_running: int = 0
    finds: int = 0
    tokens: int = 0
    submits_refused: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    callbacks: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class PromptCounts:
    """Running counts of one prompt of one model."""

    submits: int = 0
    accepted: int = 0
    refusals: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One accepted task. `fate` is what the simulator drew, `final_answer` what it has sent to a client."""

    id: str
    wire: str
    model: str
    prompt: str
    marker: str
    ordinal: int
    submitted_at: float
    fate: str
    finished_at: float | None
    acceptance_answered: bool
    times_polled: int
    poll_gap_min_seconds: float | None
    final_answer: str | None
    final_answer_at: float | None
    downloads: int
    charged: float | None = None
    """What that verdict said that the task was charged, in the service's unit; None where it said nothing."""
    file_fault: str = ""
    """What was wrong with the last answer to a request for its file; empty for a whole file, or none."""
    dialect: tuple[str, ...] = ()
    """The shapes of a gateway in which it was reported so far (`last_word=success`, `content=json`, …)."""
    reason_told: str = ""
    """The reason that a failure gave in such a dialect; empty where it gave none."""

    @property
    def final_answer_seen(self) -> bool:
        """Whether a verdict was sent whole."""
        return self.final_answer is not None


@dataclass(frozen=True, slots=True)
class PromptReport:
    """How often one prompt came for one model, and how often it was accepted."""

    model: str
    prompt: str
    submits: int
    accepted: int
    refusals: tuple[str, ...] = ()
    """The reasons given, in order, of refusals in a gateway's dialect."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """Seconds from the end of a render to its first final answer, over the tasks still held."""

    count: int
    mean_seconds: float
    p50_seconds: float
    p99_seconds: float
    max_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorReport:
    """A snapshot. Times are seconds on the simulator's clock since its start.

    submits: submits received (those reset before reading are not) · accepted: tasks made ·
    accepted_unanswered: of these, the ones whose acceptance the client could not read ·
    submits_unclear: submits whose client cannot know whether they were accepted ·
    submits_refused: by reason · deliveries: tasks whose success, with its URL, was sent ·
    failures: tasks whose failure was sent, by kind · outcomes: what was drawn for the accepted tasks ·
    cancels, finds: such requests read · tokens: granted ·
    cancelled_waiting, cancelled_running: tasks that a cancel ended ·
    tasks_started: accepted ones that started to render, which is what a service bills ·
    polls: polls read · faults: injected, by knob · callbacks: handed out, by kind, and how their POSTs ended.
    """

    seed: int
    uptime_seconds: float
    requests: int
    submits: int
    accepted: int
    accepted_unanswered: int
    submits_unclear: int
    submits_refused: Mapping[str, int]
    polls: int
    polls_of_unknown_tasks: int
    polls_after_final_answer: int
    deliveries: int
    failures: Mapping[str, int]
    outcomes: Mapping[str, int]
    faults: Mapping[str, int]
    callbacks: Mapping[str, int]
    downloads: int
    cancels: int = 0
    cancelled_waiting: int = 0
    cancelled_running: int = 0
    finds: int = 0
    tokens: int = 0
    tasks_started: int = 0
    tasks_running: int
    tasks_unseen: int
    tasks_held: int
    tasks_dropped: int
    lateness: Lateness | None
    prompts: tuple[PromptReport, ...] | None = None
    tasks: tuple[TaskReport, ...] | None = None

    @property
    def failures_total(self) -> int:
        """Tasks whose failure was sent."""
        return sum(self.failures.values())

    def accepted_by_submission(self) -> Counter[tuple[str, str, str]]:
        """Accepted tasks by (model, prompt, marker); needs a report with tasks.

        The marker is the callback URL, which rushes makes per task: with callbacks on, a count above
        the task's attempts is a double submit, even among equal prompts.
        """
        return Counter((task.model, task.prompt, task.marker) for task in self.tasks or ())


def snapshot(
    counts: Counts,
    *,
    seed: int,
    origin: float,
    now: float,
    held: Sequence[SimTask],
    prompts: Mapping[tuple[str, str], PromptCounts],
    with_lists: bool,
) -> SimulatorReport:
    """The report at `now`; `origin` is the zero of its times, `held` the tasks in memory."""
    return SimulatorReport(
        seed=seed,
        uptime_seconds=now - origin,
        requests=counts.requests,
        submits=counts.submits,
        accepted=counts.accepted,
        accepted_unanswered=counts.accepted_unanswered,
        submits_unclear=counts.submits_unclear,
        submits_refused=dict(sorted(counts.submits_refused.items())),
        polls=counts.polls,
        polls_of_unknown_tasks=counts.polls_of_unknown_tasks,
        polls_after_final_answer=counts.polls_after_final_answer,
        deliveries=counts.deliveries,
        failures=dict(sorted(counts.failures.items())),
        outcomes=dict(sorted(counts.outcomes.items())),
        faults=dict(sorted(counts.faults.items())),
        callbacks=dict(sorted(counts.callbacks.items())),
        downloads=counts.downloads,
        cancels=counts.cancels,
        cancelled_waiting=counts.cancelled_waiting,
        cancelled_running=counts.cancelled_running,
        finds=counts.finds,
        tokens=counts.tokens,
        tasks_started=(
            counts.accepted
            - counts.cancelled_waiting
            - sum(task.started_at is None and task.cancelled_at is None for task in held)
        ),
        tasks_running=sum(task.finished_at is None or now < task.finished_at for task in held),
        tasks_unseen=sum(task.final_answer is None for task in held),
        tasks_held=len(held),
        tasks_dropped=counts.tasks_dropped,
        lateness=_lateness_of(held),
        prompts=_prompt_reports(prompts) if with_lists else None,
        tasks=tuple(_task_report(task, origin) for task in held) if with_lists else None,
    )


def _prompt_reports(prompts: Mapping[tuple[str, str], PromptCounts]) -> tuple[PromptReport, ...]:
    return tuple(
        PromptReport(model, prompt, count.submits, count.accepted, tuple(count.refusals))
        for (model, prompt), count in prompts.items()
    )


def _task_report(task: SimTask, origin: float) -> TaskReport:
    finished_at, final_answer_at = task.finished_at, task.final_answer_at
    return TaskReport(
        id=task.id,
        wire=task.wire,
        model=task.model,
        prompt=task.prompt,
        marker=task.marker,
        ordinal=task.ordinal,
        submitted_at=task.submitted_at - origin,
        fate=task.fate.outcome.value,
        finished_at=None if finished_at is None else finished_at - origin,
        acceptance_answered=task.answered,
        times_polled=task.polls,
        poll_gap_min_seconds=task.poll_gap_min_seconds,
        final_answer=None if task.final_answer is None else task.final_answer.value,
        final_answer_at=None if final_answer_at is None else final_answer_at - origin,
        downloads=task.downloads,
        charged=task.charged,
        file_fault=task.file_fault,
        dialect=() if task.dialect is None else tuple(task.dialect.names),
        reason_told=task.reason_told,
    )


def _lateness_of(tasks: Sequence[SimTask]) -> Lateness | None:
    lags = sorted(
        task.final_answer_at - task.finished_at
        for task in tasks
        if task.final_answer_at is not None and task.finished_at is not None
    )
    if not lags:
        return None

    def percentile(share: float) -> float:
        return lags[max(0, math.ceil(share * len(lags)) - 1)]

    return Lateness(
        count=len(lags),
        mean_seconds=sum(lags) / len(lags),
        p50_seconds=percentile(0.5),
        p99_seconds=percentile(0.99),
        max_seconds=lags[-1],
    )
