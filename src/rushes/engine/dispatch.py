"""Dispatch: claim pending tasks fairly, commit the intent, submit each attempt once.

One dispatcher per provider, so a provider that is down, paused or full holds up nobody else's tasks.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, assert_never

from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.domain.task import (
    Accepted,
    BatchStatus,
    Failed,
    NotSent,
    Rejected,
    SubmitOutcome,
    Throttled,
    Unknown,
    Verdict,
)
from rushes.engine.limits import RateLimit
from rushes.providers.base import Provider, SubmitRequest
from rushes.providers.health import ProviderHealth
from rushes.store import batches, tasks, workers
from rushes.store.database import Database
from rushes.store.tasks import CandidateBatch, ClaimedTask

CLAIM_TASKS_MAX = 64
"""Tasks of one claim: few enough that a crash leaves few attempts unconfirmed."""

IDLE_SECONDS = 0.5
"""How long a dispatcher with nothing to claim waits before it looks again."""

log = telemetry.logger()


def fair_shares(candidates: Sequence[CandidateBatch], limit: int) -> dict[int, int]:
    """How many tasks to claim from each batch (by id), at most `limit` in all.

    Accounts take turns, and within an account its batches do, each in the order given (least recently
    served first). So a batch of three that comes after one of ten thousand waits for one turn, not for
    ten thousand tasks.
    """
    queues: dict[int, list[list[int]]] = {}
    for candidate in candidates:
        queues.setdefault(candidate.account_id, []).append([candidate.batch_id, candidate.pending_count])
    shares: dict[int, int] = {}
    while limit > 0 and queues:
        for account_id in list(queues):
            queue = queues[account_id]
            turn = queue.pop(0)
            shares[turn[0]] = shares.get(turn[0], 0) + 1
            turn[1] -= 1
            if turn[1] > 0:
                queue.append(turn)
            if not queue:
                del queues[account_id]
            limit -= 1
            if limit == 0:
                break
    return shares


def claim_fairly(
    connection: Connection,
    *,
    provider: str,
    worker_id: str,
    limit: int,
    now_ms: int,
    in_flight_max: int | None = None,
    models: Sequence[str] | None = None,
    host: str | None = None,
) -> list[ClaimedTask]:
    """One transaction: commit the intent to submit up to `limit` tasks, shared fairly.

    With `in_flight_max` no more than that many tasks of the provider are in flight afterwards, whoever
    owns them; with `models` only tasks of these are claimed, and all others are held. `host` is where they
    will be sent. Raises `LeaseLost` when the worker was declared dead.
    """
    workers.require_lease(connection, worker_id, now_ms)
    if in_flight_max is not None:
        limit = min(
            limit, in_flight_max - tasks.lock_and_count_in_flight(connection, provider, in_flight_max)
        )
        if limit <= 0:
            return []
    candidates = tasks.dispatchable_batches(connection, provider, models)
    claimed: list[ClaimedTask] = []
    shares = fair_shares(candidates, limit)
    for batch_id, share in shares.items():
        claimed += tasks.claim_if_pending(
            connection,
            batch_id,
            provider=provider,
            worker_id=worker_id,
            limit=share,
            now_ms=now_ms,
            models=models,
            host=host,
        )
    if not claimed:
        return []
    counters = batches.lock_counters(connection, {task.batch_id for task in claimed})
    events: list[tuple[int, int, str, int | None]] = []
    for task in claimed:
        batch = counters[task.batch_id]
        batch.pending -= 1
        batch.processing += 1
        if batch.status == BatchStatus.PENDING:
            batch.status = BatchStatus.PROCESSING.value
            batch.event_seq += 1
            events.append((batch.batch_id, batch.event_seq, telemetry.BATCH_PROCESSING, None))
    batches.write_counters(connection, counters.values())
    batches.mark_dispatched(connection, list(counters), now_ms)
    batches.insert_events(connection, events, now_ms)
    return claimed


class OutcomeSink(Protocol):
    """Where a dispatcher's outcomes go: the worker's `Committer`."""

    def accepted(self, task_id: int, attempt: int, remote_task_id: str) -> None:
        """The provider named the attempt."""

    def unconfirmed(self, task_id: int, attempt: int) -> None:
        """Nobody knows whether the provider took the attempt."""

    def returned(self, task_id: int, attempt: int) -> None:
        """The attempt certainly never reached the provider's queue."""

    def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
        """The task has ended."""

    async def flushed(self) -> None:
        """Wait until everything handed over so far is committed."""


class Dispatcher:
    """Claims and submits the pending tasks of one provider.

    `may_send()` is asked before every request: False once the worker's lease may have run out or it is
    stopping, so a paused worker does not send what another may have taken over. `models()` are those whose
    tasks may be sent now: all others are held. `host` is where the provider is. `callback_url(task)` is the
    attempt's callback address or None. `on_accepted` and `on_unconfirmed` tell the worker what it now has to
    follow.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        database: Database,
        health: ProviderHealth,
        sink: OutcomeSink,
        worker_id: str,
        now_ms: Callable[[], int],
        may_send: Callable[[], bool],
        in_flight: Callable[[], int],
        in_flight_max: int,
        submits_per_second: float | None,
        models: Callable[[], Sequence[str] | None] = lambda: None,
        host: str | None = None,
        callback_url: Callable[[ClaimedTask], str | None],
        on_accepted: Callable[[ClaimedTask, str], None],
        on_unconfirmed: Callable[[ClaimedTask], None],
    ) -> None:
        self.provider = provider
        self.submitting: dict[int, ClaimedTask] = {}
        self.claimed_total = 0
        self.submitted_total = 0
        self._database = database
        self._health = health
        self._sink = sink
        self._worker_id = worker_id
        self._now_ms = now_ms
        self._may_send = may_send
        self._in_flight = in_flight
        self._in_flight_max = in_flight_max
        self.limit = RateLimit(None)
        self.use_rate(submits_per_second)
        self._models = models
        self._host = host
        self._callback_url = callback_url
        self._on_accepted = on_accepted
        self._on_unconfirmed = on_unconfirmed
        self._claim_in_doubt = False
        self._may_be_more = True
        self._stopped = False
        self._wake = asyncio.Event()
        self._submits: set[asyncio.Task[None]] = set()

    def use_rate(self, submits_per_second: float | None) -> None:
        """A new limit from now on: None for no limit, 0 to claim nothing."""
        self.limit.change(submits_per_second)
        self._submits_max = min(self.provider.limits.connections_max, CLAIM_TASKS_MAX)
        if submits_per_second is not None:
            # claim no more than can be sent within about a second, so that a crash leaves little in doubt
            sendable = max(1, int(submits_per_second)) if submits_per_second > 0 else 0
            self._submits_max = min(self._submits_max, sendable)

    def wake(self) -> None:
        """Look for pending tasks now: there are new ones."""
        self._wake.set()

    def freed(self) -> None:
        """Look for pending tasks now, as there is room again; not when the last look left none behind."""
        if self._may_be_more:
            self._wake.set()

    def stop(self) -> None:
        """Claim no more; `run` returns after the claim in hand."""
        self._stopped = True
        self._wake.set()

    async def run(self) -> None:
        """Claim and submit until stopped.

        Stop it rather than cancel it: a claim whose answer nobody waits for leaves attempts in doubt that
        were never sent.
        """
        while not self._stopped:
            self._wake.clear()  # before looking: a batch that comes meanwhile is looked for again
            claimed = await self.claim()
            for task in claimed:
                self._start(task)
            if claimed and self._room() > 0:
                continue
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def claim(self) -> list[ClaimedTask]:
        """Commit the intent to submit as many tasks as may be sent now; none while the provider is held."""
        limit = self._room()
        if limit <= 0 or not self._may_send():
            self._may_be_more = True
            return []
        try:
            if self._claim_in_doubt:
                await self._return_lost_claims()
            claimed = await self._database.transact(
                claim_fairly,
                provider=self.provider.name,
                worker_id=self._worker_id,
                limit=limit,
                in_flight_max=self.provider.limits.in_flight_tasks_max,
                models=self._models(),
                host=self._host,
                now_ms=self._now_ms(),
            )
        except StoreError as error:
            # the claim may have been committed all the same
            log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
            self._claim_in_doubt = self._may_be_more = True
            return []
        for task in claimed:
            self.submitting[task.task_id] = task
        self.claimed_total += len(claimed)
        # a claim that the provider's limit for all workers cut short may have left tasks behind as well
        self._may_be_more = len(claimed) == limit or self.provider.limits.in_flight_tasks_max is not None
        return claimed

    async def _return_lost_claims(self) -> None:
        """Give back tasks whose claim was committed although the database's answer was lost.

        They were never sent: a claim's tasks are only sent once the answer is here.
        """
        known = set(self.submitting)
        await self._sink.flushed()
        rows = await self._database.read(
            tasks.owned_without_remote_id, provider=self.provider.name, worker_id=self._worker_id
        )
        for task_id, attempt in rows:
            if task_id not in known:
                self._sink.returned(task_id, attempt)
        self._claim_in_doubt = False

    def _room(self) -> int:
        permitted = self._health.submits_permitted(asyncio.get_running_loop().time())
        under_way = len(self.submitting)
        free_places = self._in_flight_max - self._in_flight()
        return min(self._submits_max, permitted, free_places) - under_way

    def _start(self, task: ClaimedTask) -> None:
        submit = asyncio.get_running_loop().create_task(self.submit(task))
        self._submits.add(submit)
        submit.add_done_callback(self._submits.discard)

    async def finish(self, *, timeout_seconds: float) -> None:
        """Wait for the submissions under way; those that do not end in time stay unconfirmed."""
        if self._submits:
            _, late = await asyncio.wait(set(self._submits), timeout=timeout_seconds)
            for submit in late:
                submit.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def submit(self, task: ClaimedTask) -> None:
        """Send one claimed attempt, once, and hand on what became of it."""
        try:
            outcome = await self._send(task)
            self._act(task, outcome)
        except asyncio.CancelledError:
            self._act(task, Unknown("the worker stopped before the answer came"))
            raise
        finally:
            self.submitting.pop(task.task_id, None)
            self.freed()

    async def _send(self, task: ClaimedTask) -> SubmitOutcome:
        loop = asyncio.get_running_loop()
        try:
            permitted = await self.limit.acquire()
        except asyncio.CancelledError:
            self._act(task, NotSent("the worker stopped before it was sent"))
            raise
        if not permitted or not self._may_send() or self._health.submits_permitted(loop.time()) <= 0:
            return NotSent("held back")
        request = SubmitRequest(
            api_model=task.api_model,
            prompt=task.prompt,
            options=task.options,
            callback_url=self._callback_url(task),
        )
        self.submitted_total += 1
        try:
            outcome = await self.provider.submit(request)
        except Exception as error:  # a provider must not raise; one that does may have sent the task
            log.error(telemetry.PROVIDER_RAISED, provider=self.provider.name, error=type(error).__name__)
            outcome = Unknown(f"the provider raised {type(error).__name__}")
        return self._health.on_submit(outcome, loop.time())

    def _act(self, task: ClaimedTask, outcome: SubmitOutcome) -> None:
        if self.submitting.pop(task.task_id, None) is None:
            return  # acted on already
        match outcome:
            case Accepted(remote_task_id=remote_task_id):
                self._sink.accepted(task.task_id, task.attempt, remote_task_id)
                self._on_accepted(task, remote_task_id)
            case Rejected(reason=reason, failure_type=failure_type):
                self._sink.verdict(task.task_id, task.attempt, Failed(reason, failure_type))
            case Throttled(reason=reason) | NotSent(reason=reason):
                log.info(telemetry.SUBMIT_THROTTLED, task_id=task.task_id, reason=reason)
                self._sink.returned(task.task_id, task.attempt)
            case Unknown(reason=reason):
                log.warning(telemetry.SUBMIT_UNKNOWN, task_id=task.task_id, reason=reason)
                self._sink.unconfirmed(task.task_id, task.attempt)
                self._on_unconfirmed(task)
            case other:
                assert_never(other)
