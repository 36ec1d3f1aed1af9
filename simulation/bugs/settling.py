"""Bugs of settling: final statuses, their guards, finalization, events, lost answers of the database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from rushes.domain.errors import StatementRefused, StoreError
from rushes.domain.task import CANCELLED, BatchStatus, Failed, FailureType, NoAnswer, TaskStatus
from rushes.money import accept, settle
from rushes.money.settle import Applied, BeforeClosing, Group
from rushes.run.commit import Committed, Committer
from rushes.run.lane.poll import Poller
from rushes.store import archive, batches, tasks
from rushes.store.database import statement
from rushes.store.tasks import FinishedTask, ends, guards, progress
from simulation.bugs.bug import Bug
from simulation.tempo import Patches


def _refund_without_guard(patches: Patches) -> None:
    finish = tasks.finish_if_owned

    def finish_always(connection: Connection, rows: Sequence[Any], **more: Any) -> list[FinishedTask]:
        finished = finish(connection, rows, **more)
        done = {task.task_id for task in finished}
        for task_id, _attempt, verdict in rows:
            if task_id not in done and isinstance(verdict, Failed):
                row = connection.execute(
                    statement(
                        f"SELECT {ends.FINISHED_COLUMNS}"
                        " FROM video_tasks WHERE id = :id AND status = 'failed'"
                    ),
                    {"id": task_id},
                ).first()
                if row is not None:
                    finished.append(ends._finished(row, TaskStatus.PROCESSING))
        return finished

    patches.set(tasks, "finish_if_owned", finish_always)


def _status_not_compared(patches: Patches) -> None:
    def at_attempt(_connection: Connection) -> str:
        return "video_tasks.id = v.id AND +video_tasks.attempt = v.attempt"

    patches.set(guards, "still_at_attempt", at_attempt)


def _progress_overwrites_final(patches: Patches) -> None:
    def record(connection: Connection, rows: Sequence[Any], **_more: Any) -> None:
        connection.execute(
            statement(
                f"UPDATE video_tasks SET progress = v.progress FROM {progress._PROGRESS.sql(connection)}"
                " WHERE video_tasks.id = v.id AND +video_tasks.attempt = v.attempt"
            ),
            progress._PROGRESS.parameters(connection, rows),
        )

    patches.set(tasks, "record_progress_if_owned", record)


def _finalized_before_the_last(patches: Patches) -> None:
    resolve = settle.resolve

    def resolve_early(
        connection: Connection,
        finished: Sequence[FinishedTask],
        now_ms: int,
        before_closing: BeforeClosing | None = None,
        **more: Any,
    ) -> int:
        closed = resolve(connection, finished, now_ms, before_closing, **more)
        for batch in batches.lock_counters(connection, {task.batch_id for task in finished}).values():
            if batch.finalized_at_ms is None and not batch.pending:
                batches.close_batch(connection, batch.batch_id, BatchStatus.SUCCEEDED, now_ms)
                closed += 1
        return closed

    patches.set(settle, "resolve", resolve_early)


def _last_batch_left_open(patches: Patches) -> None:
    patches.set(settle, "finalize_batch_credits", lambda _connection, _batch_id, _now_ms: False)
    patches.set(accept, "resolve", settle.resolve)


def _events_outside_the_transaction(patches: Patches) -> None:
    insert, report = batches.insert_events, Committer._report
    kept: list[tuple[Any, ...]] = []

    def keep(_connection: Connection, events: Any, now_ms: int) -> None:
        kept.append((events, now_ms))

    def report_then_insert(self: Committer, group: Group, applied: Applied, seconds: float) -> Committed:
        committed: Committed = report(self, group, applied, seconds)
        while kept:
            events, now_ms = kept.pop()
            self._database.run(insert, events, now_ms)
        return committed

    patches.set(batches, "insert_events", keep)
    patches.set(Committer, "_report", report_then_insert)


def _cancel_fails_processing(patches: Patches) -> None:
    fail_if_pending = tasks.fail_if_pending

    def cancel(
        connection: Connection, batch_id: int, *, error: str, now_ms: int, **more: Any
    ) -> list[FinishedTask]:
        if error != CANCELLED:
            return fail_if_pending(connection, batch_id, error=error, now_ms=now_ms, **more)
        rows = connection.execute(
            statement(
                "UPDATE video_tasks SET status = 'failed', error = :error, failure_type = 'cancelled',"
                " completed_at_ms = :now WHERE batch_id = :batch_id AND status IN ('pending', 'processing')"
                f" RETURNING {ends.FINISHED_COLUMNS}"
            ),
            {"error": error, "now": now_ms, "batch_id": batch_id},
        )
        return [ends._finished(row, TaskStatus.PENDING) for row in rows]

    patches.set(tasks, "fail_if_pending", cancel)


def _outcomes_dropped(patches: Patches) -> None:
    async def commit_once(self: Committer, group: Group) -> Committed:
        try:
            applied = await self._database.transact(
                settle.apply_group,
                group,
                worker_id=self._worker_id,
                now_ms=self._now_ms(),
                before_closing=self._before_closing,
            )
        except StatementRefused:
            raise
        except StoreError:
            return Committed()
        return self._report(group, applied, 0.0)

    patches.set(Committer, "_commit", commit_once)


def _failed_poll_ends_the_task(patches: Patches) -> None:
    apply = Poller.apply

    def apply_badly(self: Poller, task: Any, result: Any, asked_at: float | None = None) -> None:
        if isinstance(result, NoAnswer) and not task.settling:
            result = Failed(result.error, FailureType.NETWORK)
        apply(self, task, result, asked_at)

    patches.set(Poller, "apply", apply_badly)


def _hard_deadline_ignored(patches: Patches) -> None:
    add = Poller.add

    def add_for_ever(self: Poller, task: Any, **more: Any) -> None:
        task.times = task.times._replace(hard_deadline_seconds=1e12)
        add(self, task, **more)

    patches.set(Poller, "add", add_for_ever)


def _files_noted_later(patches: Patches) -> None:
    add_due, report = archive.add_due, Committer._report
    kept: list[tuple[Any, dict[str, Any]]] = []

    def keep(_connection: Connection, finished: Any, **more: Any) -> int:
        kept.append((finished, more))
        return len(finished)

    def report_then_note(self: Committer, group: Group, applied: Applied, seconds: float) -> Committed:
        committed: Committed = report(self, group, applied, seconds)
        while kept:
            finished, more = kept.pop()
            self._database.run(add_due, finished, **more)
        return committed

    patches.set(archive, "add_due", keep)
    patches.set(Committer, "_report", report_then_note)


BUGS = (
    Bug(
        "refund without guard", "a failure whose commit is repeated is refunded again", _refund_without_guard
    ),
    Bug(
        "status not compared", "a settling UPDATE does not ask whether the task is open", _status_not_compared
    ),
    Bug("progress overwrites final", "progress is stored whatever the status", _progress_overwrites_final),
    Bug("finalize before last", "a batch is closed once nothing is pending", _finalized_before_the_last),
    Bug("batch left open", "the last task does not close its batch", _last_batch_left_open),
    Bug("outbox outside", "events are stored after the commit", _events_outside_the_transaction),
    Bug("file noted later", "a success is noted for the archive after the commit", _files_noted_later),
    Bug("cancel fails processing", "a cancel ends tasks that are at the provider", _cancel_fails_processing),
    Bug("outcomes dropped", "what the database refused for a while is forgotten", _outcomes_dropped),
    Bug("failed poll ends task", "a poll without an answer fails the task", _failed_poll_ends_the_task),
    Bug("hard deadline ignored", "a task that never ends is polled endlessly", _hard_deadline_ignored),
)
