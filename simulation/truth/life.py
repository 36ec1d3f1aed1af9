"""The life of every task as the database shows it, checked after each commit against what really happened.

Promises 2 to 5 and 8: which status may follow which, who may change a task, that an end has a cause, and
that an end carries its resolution, its entry and its event in one transaction.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from rushes.domain.catalogue.aliases import Alias
from rushes.domain.task import CANCELLED, SUBMIT_OUTCOME_UNKNOWN, TIMEOUT, FailureType
from rushes.run.lane.limits import BURST_SHARE
from rushes.simulator.fate import Outcome
from rushes.store.workers import RELEASED
from simulation.truth.books import Books
from simulation.truth.broken import broken
from simulation.truth.committer import Committer
from simulation.truth.journal import DELETED, Change, TaskRow, without_taken_back
from simulation.truth.model_rooms import ModelRooms
from simulation.truth.rerolls import AllRerolls
from simulation.truth.turns import Turns
from simulation.truth.witness import Attempt, Witness

_ALLOWED = {
    ("pending", "processing"),
    ("pending", "failed"),
    ("processing", "succeeded"),
    ("processing", "failed"),
    ("processing", "pending"),
}
_OPEN = ("pending", "processing")
_ROUNDING_SECONDS = 0.01


class Life:
    """All tasks. `told` has the verdicts that left the service, by remote task id; `epoch_ms` is the wall clock at
    virtual time 0; `clock_error_seconds()` tells how far clocks have disagreed so far, so that checks which rest on
    wall clocks can allow for it; `was_gone_at(now)` whether the provider had been down for so long that it was gone."""

    def __init__(
        self,
        books: Books,
        witness: Witness,
        told: Mapping[str, set[Outcome]],
        *,
        epoch_ms: int,
        grace_seconds: float,
        wait_seconds_max: float,
        alias: Alias,
        resubmits: bool,
        archives: bool,
        hard_deadline_seconds: Callable[[str], float],
        in_flight_max: int | None,
        submits_per_second: float | None,
        clock_error_seconds: Callable[[], float],
        turns: Turns,
        rooms: ModelRooms,
        was_gone_at: Callable[[float], bool],
    ) -> None:
        self.tasks: dict[int, TaskRow] = {}
        self.claims: dict[Attempt, str] = {}
        self.claimed_at: dict[Attempt, float] = {}
        self.finished_at: dict[int, float] = {}
        self.were_unconfirmed: set[int] = set()
        self._never_handed, self._adopters = set[Attempt](), set[tuple[Attempt, str | None]]()
        self.open_count = self.moved = self.waited_too_long = 0
        self.adoptions = self.settled = self.refunded = 0
        self._books, self._witness, self._told = books, witness, told
        self._rerolls, self._turns, self._rooms = AllRerolls(), turns, rooms
        self._epoch_ms, self._grace_seconds = epoch_ms, grace_seconds
        self._wait_seconds_max, self._alias = wait_seconds_max, alias
        self._resubmits, self._archives = resubmits, archives
        self._hard_deadline_seconds, self._in_flight_max = hard_deadline_seconds, in_flight_max
        self._in_flight: Counter[str] = Counter()
        self._clock_error_seconds, self._was_gone_at = clock_error_seconds, was_gone_at
        self._leases, self._resolved = dict[str, int](), dict[int, str]()
        self._now, self._committer = 0.0, Committer("", None)
        self._ended: dict[int, TaskRow] = {}
        self._cancelled: list[TaskRow] = []
        self._claimed: list[TaskRow] = []
        self._claims_at_once_max = (
            inf if submits_per_second is None else max(1.0, submits_per_second / BURST_SHARE)
        )
        self._seen: dict[str, list[tuple[Any, ...]]] = {}
        self._handlers: Mapping[str, Callable[[tuple[Any, ...]], object]] = {
            "accounts": books.account_row,
            "credit_lots": books.lot_row,
            "batches": books.batch_row,
            "batch_reservations": books.line_row,
            "ledger_entries": self._entry_row,
            "video_tasks": self._task_row,
            "task_resolutions": self._resolution_row,
            "batch_events": self._event_row,
            "batch_retries": self._rerolls.row,
            "archived_files": self._file_row,
            "workers": self._worker_row,
            f"{DELETED}workers": self._worker_gone,
        }

    def committed(self, changes: list[Change], committer: Committer, now: float) -> None:
        """One transaction was committed; raises `Broken` when it breaks a promise."""
        self._now, self._committer = now, committer
        self._ended.clear()
        self._cancelled.clear()
        self._claimed.clear()
        self._seen = {"entries": [], "resolutions": [], "events": [], "files": []}
        kept, taken_back = without_taken_back(changes)
        for task in taken_back:
            if self._witness.attempt_of_remote.get(task.remote_task_id or "") == (task.id, task.attempt):
                broken(
                    "ID_TAKEN_BACK",
                    f"task {task.id}, attempt {task.attempt}: {task.remote_task_id} is its own",
                )
        for kind, row in kept:
            handler = self._handlers.get(kind)
            if handler is None:
                broken("ROW_DELETED", f"{kind}: {row}")
            handler(row)
        self._check_ends()
        self._check_claims()
        self._books.check_touched()
        self._rerolls.check_touched()
        self._turns.committed(committer.catalogue)

    # --- rows ---------------------------------------------------------------------------------------

    def _is_cancelled(self, batch_id: int) -> bool:
        """What comes back to a cancelled batch is not sent again: it waits for its end."""
        batch = self._books.batches.get(batch_id)
        return batch is not None and batch.row.cancelled_at_ms is not None

    def _task_row(self, values: tuple[Any, ...]) -> None:
        after = TaskRow(*values)
        before = self.tasks.get(after.id)
        self.tasks[after.id] = after
        if before is not None and before.status == "pending":
            self._turns.waits_no_more(before)
        if after.status == "pending" and not self._is_cancelled(after.batch_id):
            self._turns.waits(after)
        if after.unconfirmed_at_ms is not None:
            self.were_unconfirmed.add(after.id)
        if before is None:
            self._is_new(after)
            return
        if before.status not in _OPEN:
            if after != before._replace(is_current=0) or before.status != "failed" or not before.is_current:
                broken("FINAL_CHANGED", f"task {after.id} was {before}, is {after}")
            self._books.task_replaced(after.batch_id)
            return
        if before.status != after.status:
            if (before.status, after.status) not in _ALLOWED:
                broken("TRANSITION", f"task {after.id} went from {before.status} to {after.status}")
            self._books.task_counted(after.batch_id, before.status, after.status, after.credits)
            self._in_flight[after.provider] += (after.status == "processing") - (
                before.status == "processing"
            )
        if after[:7] != before[:7]:
            broken("TASK_CHANGED", f"task {after.id} was {before}, is {after}")
        if (before.model, before.provider) != (after.model, after.provider):
            self._is_moved(before, after)
            return
        self._rooms.changed(before, after)
        if after.status == "processing":
            if before.status == "pending":
                self._is_claimed(before, after)
            else:
                self._goes_on(before, after)
        elif after.status == "pending":
            self._is_returned(before, after)
        else:
            self._ends(before, after)

    def _is_new(self, task: TaskRow) -> None:
        if (task.status, task.attempt, task.is_current) != ("pending", 0, 1):
            broken("NEW_TASK_WRONG", str(task))
        if task.alias is not None and task.credits != self._alias.typical_credits:
            broken("ALIAS_PRICE", f"{task} costs not the {self._alias.typical_credits} of its alias")
        self._rerolls.try_made(task, by_itself=self._committer.worker_id is not None)
        self.open_count += 1
        self._books.task_counted(task.batch_id, None, task.status, task.credits)

    def _is_claimed(self, before: TaskRow, after: TaskRow) -> None:
        if after.attempt <= before.attempt:
            broken("ATTEMPT_REUSED", f"task {after.id}: attempt {before.attempt} → {after.attempt}")
        if after.worker_id is None or after.worker_id != self._committer.worker_id:
            broken("CLAIMED_FOR_ANOTHER", f"task {after.id} by {self._committer.name}: {after.worker_id}")
        if after.worker_id not in self._leases:
            broken("CLAIMED_WITHOUT_LEASE", f"task {after.id} by {after.worker_id}, which is not alive")
        if self._committer.catalogue is not None and self._committer.catalogue.find(after.model) is None:
            broken("CLAIMED_HELD", f"task {after.id}: {self._committer.name} does not know {after.model}")
        if self._books.batches[after.batch_id].row.cancelled_at_ms is not None:
            broken("CLAIMED_AFTER_CANCEL", f"task {after.id} of the cancelled batch {after.batch_id}")
        if self._in_flight_max is not None and self._in_flight[after.provider] > self._in_flight_max:
            broken("LIMIT", f"{self._in_flight[after.provider]} tasks in flight at {after.provider}")
        attempt = (after.id, after.attempt)
        self.claims[attempt] = after.worker_id
        self._turns.claimed(after)
        self.claimed_at[attempt] = self._now
        self._claimed.append(after)

    def _check_claims(self) -> None:
        """A claim takes no more than the rate lets go at once."""
        for provider in {task.provider for task in self._claimed}:
            claimed = [task for task in self._claimed if task.provider == provider]
            if len(claimed) > self._claims_at_once_max:
                broken("CLAIMED_AHEAD", f"{len(claimed)} tasks at once, {self._claims_at_once_max} can leave")

    def _is_moved(self, before: TaskRow, after: TaskRow) -> None:
        """Only what waits under an alias, only to another of its models, and nothing else of it changes."""
        target = next((model for model in self._alias.models if model.name == after.model), None)
        same = after._replace(model=before.model, provider=before.provider) == before
        if not same or before.status != "pending" or before.alias != self._alias.name or target is None:
            broken("MOVED_WRONG", f"task {before.id} was {before}, is {after}")
        if after.provider != target.provider or self._committer.worker_id is None:
            broken("MOVED_WRONG", f"task {before.id} by {self._committer.name}: {after}")
        self.moved += 1

    def _goes_on(self, before: TaskRow, after: TaskRow) -> None:
        if after.attempt != before.attempt or after.dispatched_at_ms != before.dispatched_at_ms:
            broken("ATTEMPT_CHANGED", f"task {after.id} was {before}, is {after}")
        if after.unconfirmed_at_ms is not None and before.unconfirmed_at_ms is None:
            submission = self._witness.submissions.get((after.id, after.attempt))
            if submission is not None and submission.named_to == self._committer.worker_id:
                remote = submission.remote
                broken(
                    "ID_THROWN_AWAY", f"task {after.id}: {submission.named_to} was told that it is {remote}"
                )
        if after.worker_id != before.worker_id:
            self._is_adopted(before, after)
        elif after.progress != before.progress:
            self._must_own(before, "progress")
        if after.remote_task_id != before.remote_task_id:
            real = self._witness.attempt_of_remote.get(after.remote_task_id or "")
            if before.remote_task_id is not None or real != (after.id, after.attempt):
                broken("NAMED_WRONG", f"task {after.id}, attempt {after.attempt}: {real} is its remote task")

    def _is_adopted(self, before: TaskRow, after: TaskRow) -> None:
        if after.worker_id == RELEASED:
            self._must_own(before, "release")
            self._witness.released(before.remote_task_id or "", before.worker_id or "")
            return
        self.adoptions += 1
        self._tell_from_the_record(before)
        if after.remote_task_id is not None:
            self._witness.adopted(after.remote_task_id, self._committer.worker_id, self._now)
        if after.worker_id is None or after.worker_id != self._committer.worker_id:
            broken("ADOPTED_FOR_ANOTHER", f"task {after.id} by {self._committer.name}: {after.worker_id}")
        if self._leases.get(before.worker_id or "", 0) > 0:
            broken("ADOPTED_FROM_THE_LIVING", f"task {after.id}: {before.worker_id} was not declared dead")

    def _tell_from_the_record(self, before: TaskRow) -> None:
        """A kill costs only what was handed over: what the dead worker's record does not have must come back.

        Whoever adopts the attempt then may die as well, before it has given it back: then nobody knows any more.
        """
        attempt = (before.id, before.attempt)
        self._never_handed.discard(attempt)
        is_claimed = before.remote_task_id is None and before.unconfirmed_at_ms is None
        if is_claimed:
            self._adopters.add((attempt, self._committer.worker_id))
        if is_claimed and self._committer.never_handed(before.worker_id or "", attempt):
            self._never_handed.add(attempt)

    def _is_returned(self, before: TaskRow, after: TaskRow) -> None:
        if after.attempt != before.attempt:
            broken("ATTEMPT_REUSED", f"task {after.id} gave attempt {before.attempt} back")
        if (before.id, before.attempt) in self._never_handed or self._has_read_of(before):
            if not self._tells_a_fact(before):
                self._must_own(before, "return")
            return
        was_bought = self._witness.was_bought((before.id, before.attempt))
        in_doubt = was_bought or before.unconfirmed_at_ms is not None
        if before.worker_id != self._committer.worker_id and self._tells_a_fact(before) and not was_bought:
            return  # not sent, or turned away: whoever owns the task by now
        self._must_own(before, "return")
        if in_doubt and (not self._resubmits or before.remote_task_id is not None):
            broken("RETURNED_IN_DOUBT", f"task {after.id}, attempt {after.attempt}; bought: {was_bought}")
        if in_doubt:
            self._must_have_waited(before, "resubmitted")

    def _has_read_of(self, before: TaskRow) -> bool:
        """Whether the committer has adopted the attempt and could read by now that it was never sent: the record
        of one that lost its lease and woke may have ended only after the adoption."""
        attempt, committer = (before.id, before.attempt), self._committer
        is_adopter = (attempt, committer.worker_id) in self._adopters
        return is_adopter and committer.never_handed(self.claims.get(attempt, ""), attempt)

    def _tells_a_fact(self, before: TaskRow) -> bool:
        """Whether the committer knows of the attempt's submit: it has claimed it, or read that it was never sent in
        the record of the dead worker that did, and may have lost the task since."""
        is_claimer = self.claims.get((before.id, before.attempt)) == self._committer.worker_id
        return is_claimer or self._has_read_of(before)

    def _must_own(self, before: TaskRow, what: str) -> None:
        """Promise 8: whoever lost a task changes nothing of it."""
        if before.worker_id != self._committer.worker_id:
            broken("STALE_WRITE", f"{what} of task {before.id} by {self._committer.name}, not its owner")

    def _must_have_waited(self, before: TaskRow, what: str) -> None:
        submission = self._witness.submissions.get((before.id, before.attempt))
        since = submission.left_at if submission else self.claimed_at[before.id, before.attempt]
        waited = self._now - since
        if waited < self._grace_seconds - self._clock_error_seconds() - _ROUNDING_SECONDS:
            broken("GRACE", f"task {before.id} was {what} {waited:.1f} s after its submission")

    def _must_have_waited_long(self, task: TaskRow) -> None:
        waited = self._now - (task.created_at_ms - self._epoch_ms) / 1000
        self.waited_too_long += 1
        if waited < self._wait_seconds_max - self._clock_error_seconds() - _ROUNDING_SECONDS:
            broken("TIMEOUT_EARLY", f"task {task.id} waited {waited:.1f} s: {task}")

    # --- ends ---------------------------------------------------------------------------------------

    def _ends(self, before: TaskRow, after: TaskRow) -> None:
        self._ended[after.id] = after
        self.finished_at[after.id] = self._now
        self._rerolls.try_ended(after)
        self.open_count -= 1
        if after.status == "succeeded":
            self.settled += 1
        else:
            self.refunded += 1
        if before.status == "pending":
            # the same transaction may store the batch's cancellation after the tasks' ends
            self._cancelled.append(after)
            return
        if not (self._tells_a_fact(before) and self._was_refused(before, after)):
            self._must_own(before, "end")
        if after.attempt != before.attempt:
            broken("ATTEMPT_CHANGED", f"task {after.id} was {before}, is {after}")
        if after.error == SUBMIT_OUTCOME_UNKNOWN and after.status == "failed":
            if before.remote_task_id is not None:
                broken("GAVE_UP_A_KNOWN_TASK", f"task {after.id} is {before.remote_task_id}")
            if (before.id, before.attempt) in self._never_handed:
                broken(
                    "UNKNOWN_BUT_NEVER_SENT", f"task {after.id}: its dead worker's record does not have it"
                )
            self._must_have_waited(before, "given up")
        elif after.error == TIMEOUT and after.status == "failed":
            self._must_be_late(before)
        else:
            self._must_be_the_verdict(after)

    def deadline(self, task: TaskRow) -> float:
        """The earliest time at which some clock may say that the task's hard deadline has come."""
        if task.dispatched_at_ms is None:
            return inf
        sent_at = (task.dispatched_at_ms - self._epoch_ms) / 1000
        seconds = self._hard_deadline_seconds(task.model)
        return sent_at + seconds - self._clock_error_seconds() - _ROUNDING_SECONDS

    def _must_be_late(self, before: TaskRow) -> None:
        deadline = self.deadline(before)
        if self._now < deadline:
            broken("TIMEOUT_EARLY", f"task {before.id} failed {deadline - self._now:.1f} s too early")
        last_poll_at = self._witness.last_poll_at.get(before.remote_task_id or "", -1.0)
        if last_poll_at < deadline and not self._was_gone_at(self._now):
            broken("TIMEOUT_WITHOUT_POLL", f"task {before.id}: last polled at {last_poll_at:.1f}")

    def _was_refused(self, before: TaskRow, after: TaskRow) -> bool:
        """Whether the provider has said why it does not take the attempt: a fact, whoever owns the task by now."""
        submission = self._witness.submissions.get((before.id, before.attempt))
        if submission is None or submission.remote is not None or submission.refusal is None:
            return False
        if after.status != "failed" or before.remote_task_id is not None:
            return False
        if submission.is_refusal_told and submission.refusal.value not in (after.error or ""):
            broken(
                "REASON_LOST", f"task {after.id} ended as {after.error}, it was {submission.refusal.value!r}"
            )
        return True

    def _must_be_the_verdict(self, task: TaskRow) -> None:
        attempt = (task.id, task.attempt)
        if task.remote_task_id is None:
            if not self._was_refused(task, task):
                broken("ENDED_WITHOUT_CAUSE", f"task {task.id} ended as {task.error} without a remote task")
            return
        remote = self._witness.remote_by_id.get(task.remote_task_id)
        if remote is None or self._witness.attempt_of_remote[remote.id] != attempt:
            broken("NAMED_WRONG", f"task {task.id} ended as {task.remote_task_id}")
        told = self._told.get(remote.id)
        if told is None:
            broken("ENDED_WITHOUT_CAUSE", f"task {task.id} is {task.status}, the provider said nothing yet")
        is_cancelled = task.failure_type == FailureType.CANCELLED
        if is_cancelled and not (self._is_cancelled(task.batch_id) and remote.id in self._witness.drop_asked):
            broken("CANCELLED_RENDERING", f"task {task.id}: nobody asked the provider to drop {remote.id}")
        if not any((outcome is Outcome.SUCCEEDED) == (task.status == "succeeded") for outcome in told):
            broken("VERDICT_WRONG", f"task {task.id} is {task.status}, the provider said {told}")
        if task.status == "succeeded" and not (task.video_url or "").endswith(f"/{remote.id}.mp4"):
            broken("VERDICT_WRONG", f"task {task.id} has the video {task.video_url}")

    def _entry_row(self, values: tuple[Any, ...]) -> None:
        entry = self._books.entry(values)
        if entry.task_id is not None:
            self._seen["entries"].append((entry.task_id, entry.type))

    def _resolution_row(self, row: tuple[Any, ...]) -> None:
        task_id, _batch_id, _attempt, kind, _credits = row
        if task_id in self._resolved:
            broken("RESOLVED_TWICE", f"task {task_id}: {self._resolved[task_id]}, then {kind}")
        self._resolved[task_id] = kind
        self._seen["resolutions"].append(row)

    def _event_row(self, row: tuple[Any, ...]) -> None:
        self._books.event_row(row)
        if row[3] is not None:
            self._seen["events"].append((row[3], row[2]))

    def _file_row(self, row: tuple[Any, ...]) -> None:
        self._seen["files"].append(row)

    def _worker_row(self, row: tuple[Any, ...]) -> None:
        worker_id, lease_ms = row
        if lease_ms == 0 and worker_id != self._committer.worker_id:
            left_seconds = (self._leases.get(worker_id, 0) - self._epoch_ms) / 1000 - self._now
            if left_seconds > self._clock_error_seconds() + _ROUNDING_SECONDS:
                broken("LEASE_IGNORED", f"{worker_id} was declared dead {left_seconds:.1f} s too early")
        self._leases[worker_id] = lease_ms

    def _worker_gone(self, row: tuple[Any, ...]) -> None:
        self._leases.pop(row[0], None)

    def _check_ends(self) -> None:
        """Promise 2: an end, its resolution, its entry and its event come together, once; and with an archive,
        a success comes with its file, which is to be fetched."""
        for task in self._cancelled:
            if task.error == TIMEOUT:
                self._must_have_waited_long(task)
            elif task.error != CANCELLED or self._books.batches[task.batch_id].row.cancelled_at_ms is None:
                broken("ENDED_WITHOUT_CAUSE", f"pending task {task.id} ended as {task.error}")
        resolutions, entries, events, files = [], [], [], []
        for task in self._ended.values():
            kind = "settle" if task.status == "succeeded" else "refund"
            resolutions.append((task.id, task.batch_id, task.attempt, kind, task.credits))
            entries.append((task.id, kind))
            events.append((task.id, f"video.{task.status}"))
            if self._archives and task.status == "succeeded":
                files.append((task.id, task.account_id, "due"))
        for what, expected in (
            ("resolutions", resolutions),
            ("entries", entries),
            ("events", events),
            ("files", files),
        ):
            if sorted(self._seen[what]) != sorted(expected):
                broken("END_INCOMPLETE", f"{what}: {self._seen[what]}, the tasks ended are {expected}")
