"""Our books against the provider's own count: what must be equal after any number of faults.

Each rule is a generator of differences. The provider's report is what it saw and said; our books are read
from the database. Rules that hold only when no process was killed, paused or cut off are marked.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from proofs.books import Books, OurTask
from rushes.domain.callback_tokens import callback_token
from rushes.domain.task import (
    CANCELLED,
    CHAIN_BROKEN,
    REMOTE_TASK_FAILED,
    SUBMIT_OUTCOME_UNKNOWN,
    SUCCEEDED_WITHOUT_VIDEO_URL,
    TIMEOUT,
    FailureType,
)
from rushes.simulator import Outcome, SimulatorReport, TaskReport, all_wires

_WIRES = {wire.name: wire for wire in all_wires()}
_GRSAI = frozenset({"grsai", "grsai-unified"})

CALLED_BACK = frozenset({"fal", "grsai"})
"""Providers whose submits carry a callback URL."""

_OURS = frozenset({SUBMIT_OUTCOME_UNKNOWN, TIMEOUT, CANCELLED})
"""Failures that are our decision, never the provider's verdict."""

Submission = tuple[str, str, str]
"""Provider, its name of the model, prompt: what tells submissions apart that carry no callback URL."""


ASKED_BY_KEY: Final = frozenset({"kling"})
"""Providers that can be asked by our own key, so that a lost answer need not leave a task unknown."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the proof knows of its run.

    `granted` are the credits that it gave, in all. `callback_base_url` and `callback_key` made the callback
    URLs that mark each attempt at some providers; None when submits carried none. `lossless` is True when no
    process was killed or paused and no connection cut.
    """

    granted: int
    service_url: str
    lossless: bool
    callback_base_url: str | None = None
    callback_key: bytes = b""

    def marker(self, task: OurTask, attempt: int) -> str:
        """What the provider's report calls the attempt's marker."""
        if self.callback_base_url is None or task.provider not in CALLED_BACK:
            return ""
        token = callback_token(self.callback_key, task_id=task.task_id, attempt=attempt)
        return f"{self.callback_base_url}/callbacks/{task.provider}/{token}"


@dataclass(frozen=True, slots=True)
class Accounting:
    """Where every task went. `unknown = broken + unrecorded + unclear + never_arrived` holds by itself;

    what is checked is that no part is negative, and in a lossless run that the parts that only a crash
    makes are zero. broken: accepted, the answer spoilt by the provider · unrecorded: accepted and answered,
    the answer lost with its reader · unclear: arrived, not accepted, and no honest answer · never_arrived:
    claimed, and then neither accepted nor met by a fault that leaves it unclear · told_in_vain: of the
    unrecorded, those whose verdict was told to a process that died before it could store the task's id.
    """

    tasks: int
    succeeded: int
    failed_remotely: int
    rejected: int
    unknown: int
    attempts: int
    submits: int
    accepted: int
    broken: int
    unrecorded: int
    unclear: int
    never_arrived: int
    told_in_vain: int


class Comparison:
    """One comparison; `differences` are lines for people."""

    def __init__(self, books: Books, report: SimulatorReport, circumstances: Circumstances) -> None:
        if report.tasks is None or report.prompts is None or report.tasks_dropped:
            raise ValueError("the provider's report must list every task and prompt")
        self._books = books
        self._report = report
        self._circumstances = circumstances
        self._remote_tasks = {task.id: task for task in report.tasks}
        self._by_remote_id = {
            own_id(task.remote_task_id): task for task in books.tasks if task.remote_task_id
        }
        self._unknown = [task for task in books.tasks if task.error == SUBMIT_OUTCOME_UNKNOWN]
        self._orphans = [task for task in report.tasks if task.id not in self._by_remote_id]
        self.accounting = self._account()
        self.differences = [line for rule in RULES for line in rule(self)]

    def _account(self) -> Accounting:
        books, report = self._books, self._report
        named = [task for task in books.tasks if task.remote_task_id]
        rejected = sum(
            task.status == "failed" and task.remote_task_id is None and not _is_ours(task)
            for task in books.tasks
        )
        broken = sum(not task.acceptance_answered for task in self._orphans)
        unrecorded = len(self._orphans) - broken
        # over HTTP a refused connection is a reset, after which a client must assume the worst
        not_clear = report.submits_unclear + report.faults.get("submit_refused", 0)
        unclear = not_clear - report.accepted_unanswered
        return Accounting(
            tasks=len(books.tasks),
            succeeded=sum(task.status == "succeeded" for task in books.tasks),
            failed_remotely=sum(task.status == "failed" for task in named),
            rejected=rejected,
            unknown=len(self._unknown),
            attempts=sum(task.attempt for task in books.tasks),
            submits=sum(prompt.submits for prompt in report.prompts or ()),
            accepted=report.accepted,
            broken=broken,
            unrecorded=unrecorded,
            unclear=unclear,
            never_arrived=len(self._unknown) - broken - unrecorded - unclear,
            told_in_vain=sum(task.final_answer is not None for task in self._orphans),
        )

    # --- our books by themselves ------------------------------------------------------------------------

    def _every_task_is_final(self) -> Iterator[str]:
        for task in self._books.tasks:
            if task.status not in ("succeeded", "failed"):
                yield f"task {task.task_id} is {task.status}"

    def _every_batch_is_closed(self) -> Iterator[str]:
        for batch in self._books.batches:
            if batch.open or batch.status not in ("succeeded", "partial", "failed"):
                yield f"batch {batch.public_id} is {batch.status} with {batch.open} open tasks"
            if batch.reserved != batch.settled + batch.refunded:
                yield (
                    f"batch {batch.public_id}: {batch.reserved} reserved, {batch.settled} settled,"
                    f" {batch.refunded} refunded"
                )

    def _every_task_is_resolved_once(self) -> Iterator[str]:
        kinds = Counter(self._books.resolutions)
        for task in self._books.tasks:
            kind = "settle" if task.status == "succeeded" else "refund"
            if kinds.pop((task.task_id, kind, task.credits), 0) != 1:
                yield f"task {task.task_id} ({task.status}) has no {kind} of {task.credits} credits"
        for task_id, kind, amount in kinds:
            yield f"a {kind} of {amount} credits for task {task_id} stands beside its own"

    def _credits_add_up(self) -> Iterator[str]:
        books = self._books
        settled = sum(task.credits for task in books.tasks if task.status == "succeeded")
        if books.granted != self._circumstances.granted:
            yield f"{self._circumstances.granted} credits were granted, {books.granted} are in the books"
        if books.held or books.available != books.granted - settled:
            yield (
                f"of {books.granted} credits {settled} paid for videos, but {books.available} are left"
                f" and {books.held} held"
            )

    # --- task by task against the provider --------------------------------------------------------------

    def _every_remote_task_is_known_to_the_provider(self) -> Iterator[str]:
        named = Counter(own_id(task.remote_task_id) for task in self._books.tasks if task.remote_task_id)
        for remote_task_id, count in named.items():
            if count > 1:
                yield f"{count} tasks carry the remote id {remote_task_id}"
        for remote_task_id, task in self._by_remote_id.items():
            remote = self._remote_tasks.get(remote_task_id or "")
            if remote is None:
                yield f"task {task.task_id}: the provider has no task {remote_task_id}"
            elif _submission(remote) != _submission_of_ours(task):
                yield f"task {task.task_id}: the provider's {remote.id} is of another prompt or model"
            elif remote.marker != self._circumstances.marker(task, task.attempt):
                yield f"task {task.task_id}: the provider's {remote.id} is of another attempt"

    def _every_success_has_a_remote_id(self) -> Iterator[str]:
        for task in self._books.tasks:
            if task.status == "succeeded" and task.remote_task_id is None:
                yield f"task {task.task_id} succeeded, and its remote id is not in the books"

    def _every_verdict_is_the_providers(self) -> Iterator[str]:
        for remote_task_id, task in self._by_remote_id.items():
            remote = self._remote_tasks.get(remote_task_id or "")
            if remote is not None and not self._agrees(task, remote):
                yield (
                    f"task {task.task_id} is {task.status} ({task.error or task.video_url}), the provider"
                    f" said {remote.final_answer} of {remote.id}"
                )

    def _agrees(self, task: OurTask, remote: TaskReport) -> bool:
        if remote.final_answer is None or _is_ours(task):
            return False
        outcome = Outcome(remote.final_answer)
        if outcome is Outcome.SUCCEEDED:
            return task.status == "succeeded" and self._is_url_of(task.video_url or "", remote)
        if remote.dialect and outcome is Outcome.FAILED_WITHOUT_REASON:  # its status may be a reason
            return task.status == "failed"
        return task.status == "failed" and _TOLD[outcome](task)

    def _is_url_of(self, video_url: str, remote: TaskReport) -> bool:
        service = self._circumstances.service_url
        if remote.wire == "vertex":  # its files lie in a bucket, in a folder of the task's name
            return video_url.startswith(f"{service}/storage/") and f"%2F{remote.id}%2F" in video_url
        return video_url == service + _WIRES[remote.wire].video_path(remote.id)

    def _the_totals_are_equal(self) -> Iterator[str]:
        """Left out: verdicts told to a process that died before it could store the task's remote id."""
        counted, report = self.accounting, self._report
        told = Counter(task.final_answer for task in self._orphans if task.final_answer is not None)
        delivered = report.deliveries - told["succeeded"]
        failures = report.failures_total - told.total() + told["succeeded"]
        if counted.succeeded != delivered:
            yield f"{counted.succeeded} tasks succeeded, the provider delivered {delivered}"
        if counted.failed_remotely != failures:
            yield f"{counted.failed_remotely} tasks failed there, the provider says {failures}"
        if told and self._circumstances.lossless:
            yield f"{told.total()} verdicts were fetched of tasks that are not in the books"

    # --- no attempt twice -------------------------------------------------------------------------------

    def _no_attempt_was_accepted_twice(self) -> Iterator[str]:
        attempts: Counter[tuple[str, str]] = Counter()
        owner: dict[str, tuple[OurTask, int]] = {}
        for task in self._books.tasks:
            attempts[task.api_model, task.prompt] += task.attempt
            for attempt in range(1, task.attempt + 1):
                owner[self._circumstances.marker(task, attempt)] = (task, attempt)
        by_marker = Counter(task.marker for task in self._remote_tasks.values() if task.marker)
        for marker, count in by_marker.items():
            if count > 1:
                yield f"the provider accepted {count} tasks for the one attempt {marker}"
            if marker not in owner:
                yield f"the provider has a task for the attempt {marker}, which is none of ours"
        ended = set(self._books.ended_attempts)
        for marker in by_marker:
            if marker in owner:
                task, attempt = owner[marker]
                if attempt != task.attempt and (task.task_id, attempt) not in ended:
                    yield (
                        f"task {task.task_id}: attempt {attempt} was accepted and attempt {task.attempt} made"
                    )
        for prompt in self._report.prompts or ():
            ours = attempts[_model_of(prompt.model), prompt.prompt]
            if prompt.submits > ours:
                yield f"{ours} attempts were made, {prompt.submits} submits came of {prompt.prompt[:60]!r}"

    # --- submits of unknown outcome ---------------------------------------------------------------------

    def _every_accepted_task_is_accounted_for(self) -> Iterator[str]:
        """Accepted tasks that we do not know are, one to one, tasks refunded as of unknown outcome."""
        marker = self._circumstances.marker
        waiting = Counter((*_submission_of_ours(task), marker(task, task.attempt)) for task in self._unknown)
        for orphan in self._orphans:
            key = (*_submission(orphan), orphan.marker)
            waiting[key] -= 1
            if waiting[key] < 0:
                yield (
                    f"the provider accepted {orphan.id} (attempt {orphan.marker.rpartition('/')[2] or '?'}),"
                    " and no task of unknown outcome answers for it"
                )

    def _no_task_is_given_up_with_its_remote_id(self) -> Iterator[str]:
        for task in self._unknown:
            if task.remote_task_id is not None:
                yield f"task {task.task_id} was given up although its remote id was known"

    def _what_could_not_be_read_is_not_known(self) -> Iterator[str]:
        for remote_task_id, task in self._by_remote_id.items():
            remote = self._remote_tasks.get(remote_task_id or "")
            if remote is not None and not remote.acceptance_answered and remote.wire not in ASKED_BY_KEY:
                yield f"task {task.task_id} knows {remote.id}, whose acceptance was never answered"

    def _the_accounting_has_no_gap(self) -> Iterator[str]:
        counted, report = self.accounting, self._report
        refused = report.submits_refused.get("prompt", 0)
        found = sum(
            not remote.acceptance_answered
            for remote_task_id in self._by_remote_id
            if (remote := self._remote_tasks.get(remote_task_id or "")) and remote.wire in ASKED_BY_KEY
        )
        if counted.broken + found != report.accepted_unanswered:
            yield f"{report.accepted_unanswered} acceptances were spoilt, {counted.broken} are unknown here"
        if counted.rejected > refused:
            yield f"{counted.rejected} tasks were rejected, the provider refused {refused}"
        # an unclear submit that the service says it never took is sent again, as a new attempt
        sent_again = sum(task.attempt - 1 for task in self._books.tasks if task.provider in ASKED_BY_KEY)
        if counted.never_arrived < -sent_again:
            yield f"{-counted.never_arrived} submits of unclear outcome are missing among the unknown tasks"
        if counted.submits > counted.attempts:
            yield f"{counted.attempts} attempts were made, {counted.submits} submits arrived"
        if self._circumstances.lossless:
            if counted.unrecorded:
                yield f"{counted.unrecorded} answered acceptances were not recorded"
            if counted.never_arrived > 0:
                yield f"{counted.never_arrived} tasks are unknown without any fault of the provider"


def _is_ours(task: OurTask) -> bool:
    return task.error in _OURS or (task.error or "").startswith(CHAIN_BROKEN)


def own_id(remote_task_id: str) -> str:
    """The provider's own id in a remote task id that also says where to ask: what follows the last `/`."""
    return remote_task_id.rpartition("/")[2]


def _model_of(model: str) -> str:
    """Kling's older models are named with the kind of video after a space: it is part of the path there."""
    return model.partition(" ")[0]


def _submission(task: TaskReport) -> Submission:
    return (task.wire, _model_of(task.model), task.prompt)


def _submission_of_ours(task: OurTask) -> Submission:
    return (task.provider, task.api_model, task.prompt)


def _says(error: str) -> Callable[[OurTask], bool]:
    return lambda task: task.error == error


def _is_of(kind: FailureType) -> Callable[[OurTask], bool]:
    return lambda task: task.failure_type == kind


def _names(outcome: Outcome, *kinds: FailureType) -> Callable[[OurTask], bool]:
    """Grsai names the outcome; at others it is of one of these kinds."""
    return lambda task: task.error == outcome.value if task.provider in _GRSAI else task.failure_type in kinds


_MODERATIONS = (FailureType.INPUT_MODERATION, FailureType.OUTPUT_MODERATION)
"""Not every service says which of the two it was."""

_TOLD: dict[Outcome, Callable[[OurTask], bool]] = {
    Outcome.OUTPUT_MODERATION: _names(Outcome.OUTPUT_MODERATION, *_MODERATIONS),
    Outcome.INPUT_MODERATION: _names(Outcome.INPUT_MODERATION, *_MODERATIONS),
    Outcome.ERROR: _names(Outcome.ERROR, *FailureType),
    Outcome.VIOLATION: _is_of(FailureType.OUTPUT_MODERATION),
    Outcome.BUSINESS_CODE: lambda task: bool(task.error),
    Outcome.FORGOTTEN: _is_of(FailureType.NOT_FOUND),
    Outcome.SUCCEEDED_WITHOUT_URL: _says(SUCCEEDED_WITHOUT_VIDEO_URL),
    Outcome.FAILED_WITHOUT_REASON: lambda task: (
        task.error == REMOTE_TASK_FAILED
        if task.provider in _GRSAI
        else task.failure_type == FailureType.MODEL_ERROR
    ),
    Outcome.STUCK: lambda _task: False,
}
"""How a failed task must look for each way in which the provider said so."""

RULES: tuple[Callable[[Comparison], Iterator[str]], ...] = (
    Comparison._every_task_is_final,
    Comparison._every_batch_is_closed,
    Comparison._every_task_is_resolved_once,
    Comparison._credits_add_up,
    Comparison._every_remote_task_is_known_to_the_provider,
    Comparison._every_success_has_a_remote_id,
    Comparison._every_verdict_is_the_providers,
    Comparison._the_totals_are_equal,
    Comparison._no_attempt_was_accepted_twice,
    Comparison._every_accepted_task_is_accounted_for,
    Comparison._no_task_is_given_up_with_its_remote_id,
    Comparison._what_could_not_be_read_is_not_known,
    Comparison._the_accounting_has_no_gap,
)
