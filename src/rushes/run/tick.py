"""One bounded pass of a worker: dispatch, poll, settle, and give everything back for the next pass."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from rushes import telemetry
from rushes.domain.errors import DatabaseUnreachable, StoreError
from rushes.run.worker import LAST_COMMIT_SECONDS, Worker
from rushes.store.workers import LeaseLost

log = telemetry.logger()

LAST_COMMIT_SECONDS_MIN = 1.0
"""Also a pass with a budget of less than four times that has so long to store what it learned last."""


@dataclass(slots=True)
class TickReport:
    """What one bounded pass did, as the API answers it."""

    ok: bool = True
    dispatch: dict[str, int] = field(default_factory=dict)
    poll: dict[str, int] = field(default_factory=dict)
    settle: dict[str, int] = field(default_factory=dict)
    archive: dict[str, int] = field(default_factory=dict)
    duration_ms: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


async def tick(
    worker: Worker,
    *,
    budget_seconds: float = 25.0,
    tasks_max: int = 200,
    stop: asyncio.Event | None = None,
) -> TickReport:
    """Dispatch, poll and settle once, then give everything back for the next pass.

    Submits at most about `tasks_max` tasks and polls at most as many, until `stop` is set or the budget
    is used up but for a last commit. What is waited for beyond it is a submit that is on the wire, for
    `stop_seconds` at most, and a claim under way, for half as long as a last commit. Raises a retryable
    `StoreError` when the database is away from the start; when it goes away later, `ok` is False.
    """
    started = _now()
    commit_seconds = min(LAST_COMMIT_SECONDS, budget_seconds / 4)
    until = started + budget_seconds - commit_seconds
    before = worker.committer.settled_total
    report = TickReport()
    stop = stop or asyncio.Event()
    if not await _register_by(worker, until, stop):
        return report
    try:
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(worker.commit()),
                group.create_task(worker.keep_lease(takes_share=False)),
            ]
            report.ok = await _pass_once(
                worker, tasks_max, until, stop, commit_seconds=max(commit_seconds, LAST_COMMIT_SECONDS_MIN)
            )
            for task in beside:
                task.cancel()
    except* LeaseLost:
        log.warning(telemetry.WORKER_LEASE_LOST, worker_id=worker.worker_id)
        await worker.salvage()
        report.ok = False
    _fill_in(report, worker, started=started, settled_before=before)
    worker.start_anew()
    return report


async def _register_by(worker: Worker, until: float, stop: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout_at(until):
            return await worker.register(stop, takes_share=False)
    except TimeoutError:
        raise DatabaseUnreachable(
            "the database did not answer within the pass's budget; nothing was done"
        ) from None


async def _pass_once(
    worker: Worker, tasks_max: int, until: float, stop: asyncio.Event, *, commit_seconds: float
) -> bool:
    """Adopt, poll and submit until all is done, `until`, or `stop`, and store what came of it.

    What can wait is done beside the polls: on a slow database a pass would else be over before it has polled.
    False when the database was away. A claim and a submit are never cancelled, see `Lane.claim_and_send`.
    """
    stopping = asyncio.create_task(stop.wait())
    adopting = asyncio.create_task(_adopt(worker, tasks_max))
    beside: list[asyncio.Task[None]] = []
    polling: list[asyncio.Task[None]] = []
    sending: list[asyncio.Task[None]] = []
    ok = False
    try:
        ok = await _worked_off([adopting], stopping, until)
        if ok:
            lanes = worker.lanes.values()
            beside = [
                asyncio.create_task(_clean_up(worker)),
                turn := asyncio.create_task(worker.shares.take_turn(until=until)),
            ]

            async def in_turn(per_second: float | None, work: Callable[[], Awaitable[None]]) -> None:
                if per_second is not None:
                    await asyncio.wait([turn])
                await work()

            for lane in lanes:
                send = partial(lane.claim_and_send_some, tasks_max=tasks_max, until=until)
                sending.append(asyncio.create_task(in_turn(lane.limits.submits_per_second, send)))
                poll = partial(lane.poll_each_once, until=until)
                polling.append(asyncio.create_task(in_turn(lane.limits.polls_per_second, poll)))
            ok = await _worked_off([*polling, *sending, *beside], stopping, until)
    finally:
        worker.lease.end()
        for task in (stopping, adopting, *polling, *beside):
            task.cancel()
        await asyncio.gather(stopping, adopting, *polling, *beside, return_exceptions=True)
        stored = await worker.finish(sending, commit_seconds=commit_seconds)
    return ok and stored


async def _worked_off(
    tasks: Sequence[asyncio.Task[None]], stopping: "asyncio.Task[Any]", until: float
) -> bool:
    """Wait for all of them, `until`, or a stop; False when the database was away."""
    left: set[asyncio.Task[Any]] = {*tasks}
    while left and not stopping.done() and _now() < until:
        seconds = until - _now()
        await asyncio.wait({*left, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        left = {task for task in left if not task.done()}
    is_away = False
    for task in tasks:
        error = task.exception() if task.done() else None
        if error is not None and not isinstance(error, StoreError):
            raise error
        if error is not None:
            log.warning(telemetry.DATABASE_TROUBLE, error=str(error))
            is_away = True
    return not is_away


async def _adopt(worker: Worker, tasks_max: int) -> None:
    upkeep = worker.upkeep
    await upkeep.adoption.adopt(tasks_max=tasks_max)
    if worker.config.takes_callbacks:
        await worker.nudges.check()
        await worker.committer.flushed()
    await worker.finding.check()
    await worker.cancelling.check()
    await worker.committer.flushed()
    await upkeep.unconfirmed.follow_up()
    await upkeep.move_waiting()


async def _clean_up(worker: Worker) -> None:
    await worker.upkeep.clean_up()
    await worker.upkeep.end_reused()


def _fill_in(report: TickReport, worker: Worker, *, started: float, settled_before: int) -> None:
    lanes = worker.lanes.values()
    counts = [lane.poller.counts for lane in lanes]
    report.dispatch = {
        "claimed": sum(lane.claims.claimed_total for lane in lanes),
        "submitted": sum(lane.submitted_total for lane in lanes),
    }
    report.poll = {
        name: sum(getattr(count, name) for count in counts)
        for name in ("scanned", "succeeded", "failed", "processing", "transient_errors")
    }
    report.settle = {
        "settled_tasks": worker.committer.settled_total - settled_before,
        "settled_batches": worker.committer.closed_batches_total,
    }
    report.duration_ms = int((_now() - started) * 1000)


def _now() -> float:
    return asyncio.get_running_loop().time()
