"""Branches that the simulation need not meet, and why; the tests in brackets meet them.

They are for speed or for reports alone, are about parts that a simulated world does not have (files, gates, HTTP's
own connections), or contain errors that would be defects.
"""

_LINES = "a fast way of HTTP alone, which the simulated network does not have (tests/run/test_line_polls.py)"
_FILES = "simulated tasks have no files to upload (tests/run/test_dispatcher.py)"
_DEFECT = "contains what only a defect raises (tests/run/test_dispatcher.py)"
_REUSE = "no simulated item takes an equal one's file (tests/api/test_reuse.py)"
_GONE = "met once for each worker and outage of a day (tests/run/test_poller.py)"
_REPORT = "for reports alone (tests/run/test_hosts.py)"

EXEMPT: dict[str, str] = {
    "Poller._poll_forever: if line is None: no": _LINES,
    "Poller._poll_forever: if (unasked := (await self._lines.poll(line, task, now))): yes": _LINES,
    "Poller._poll_forever: if (unasked := (await self._lines.poll(line, task, now))): no": _LINES,
    "Poller.next_task: if self._stopped: yes": _LINES,
    "Poller.take_progress: if len(rows) == PROGRESS_ROWS_MAX: yes": (
        "bounds the writes of a thousand tasks at once (tests/run/test_poller.py)"
    ),
    "Lane._send: except asyncio.CancelledError": _FILES,
    "Lane._send: if isinstance(inputs, Throttled | Rejected): yes": _FILES,
    "Lane.submit: except Exception": _DEFECT,
    "Lane._send_with: except Exception": _DEFECT,
    "Lane._send_with: if not context.record.leaves(task.task_id, task.attempt): yes": (
        "the simulated record ends with its worker's last submit (tests/run/test_dispatcher.py)"
    ),
    "Lane._act: if not self.attempts.take_submitting(task.task_id): yes": _DEFECT,
    "send: except Exception": _DEFECT,
    "Poller._ask_later: if self._health.polls_unanswered_seconds(now) >= GONE_SECONDS: yes": _GONE,
    "Poller._conclude_unanswered: called": _GONE,
    "Poller._conclude_unanswered: for task in list(self.tasks.values()): a turn": _GONE,
    "Poller._conclude_unanswered: if is_over and task.host is None and (not task.settling): yes": _GONE,
    "Poller._conclude_unanswered: if is_over and task.host is None and (not task.settling): no": _GONE,
    "Lane.end: if outcome is SettleOutcome.KNOWN: yes": (
        "what becomes known while it is being given up: a race of two commits (tests/run/test_cancelling.py)"
    ),
    "Worker.salvage: except TimeoutError": (
        "a database that is away for longer than a worker saves what it knows (tests/run/test_bounded_stops.py)"
    ),
    "_worked_off: if error is not None and (not isinstance(error, StoreError)): yes": (
        "a pass is over before another takes its lease, but for one that sleeps (tests/run/test_late_ends.py)"
    ),
    "Committer.accepted: if stored != remote_task_id: yes": (
        "simulated ids have no characters that databases refuse (tests/run/test_committer.py)"
    ),
    "finalize_batch_credits: if batch.cancelled_at_ms is None and gates.awaits_verdicts(connection, batch_id): yes": (
        "simulated batches have no gates (tests/money/test_judge.py)"
    ),
    "Committer.before_closing: called": _REUSE,
    "Nudges._nudge: if len(self._last_nudged) >= REMEMBERED_MAX: yes": (
        "bounds what is remembered of ten thousand callbacks (tests/run/test_nudges.py)"
    ),
    "Nudges._drop: if self._candidates.get(task_id) is candidate: no": (
        "simulated callbacks name no second id within one answer (tests/run/test_nudges.py)"
    ),
    "TickReport.as_dict: called": "for reports alone (tests/cli/test_operate.py)",
    "Upkeep.store_progress: if committer.takes_troubles: no": (
        "bounds what a database that is away costs with a thousand tasks in trouble (tests/run/test_unanswered.py)"
    ),
    "Upkeep.end_reused: if not await database.read(reuse.any_open): no": _REUSE,
    "Worker.register: if not error.retryable: yes": (
        "the simulated disk is never full (tests/run/test_full_disk.py)"
    ),
    "_look_at_end: if error is not None and (not isinstance(error, LeaseLost)): yes": (
        "a simulated claim that fails is looked at by who waits for it (tests/run/test_bounded_stops.py)"
    ),
    "Worker.provider_troubles: called": _REPORT,
    "Worker.key_refusals: called": _REPORT,
}
"""By `Branch.name`."""
