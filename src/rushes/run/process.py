"""A worker and the archiver beside it: what one process does for batches."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from rushes import telemetry
from rushes.concurrency import until_stopped
from rushes.domain.errors import ArchiveUnavailable, StoreError
from rushes.files.archive import Archiver
from rushes.files.due import now_and_then
from rushes.files.judge.asking import Asking
from rushes.files.uploads import Uploads
from rushes.run.inputs.last_frames import LastFrames
from rushes.run.retention import Keeper
from rushes.run.tick import TickReport, tick
from rushes.run.worker import Worker

TICK_ARCHIVE_SECONDS_MIN = 5.0
"""What a bounded pass keeps for files, or half of it when it is shorter than twice that."""

UPLOADS_SECONDS = 600.0
"""How often uploads that have expired are removed."""

BESIDE_SECONDS_MIN = 1.0
"""What a bounded pass has at least for expired uploads, and for last frames."""

log = telemetry.logger()


async def _prune(uploads: Uploads) -> None:
    """Remove uploads that have expired and that no open batch needs; what is interrupted, the next call ends.

    Raises `StoreError`.
    """
    try:
        removed = await uploads.prune()
    except ArchiveUnavailable as error:  # as long as it is away, nothing is removed
        log.error(telemetry.ARCHIVE_TROUBLE, error=error.message)
    else:
        if removed:
            log.info(telemetry.UPLOADS_PRUNED, uploads=removed)


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """`archiver` is None when the operator keeps no videos, `keeper` when batches are kept indefinitely, and
    `asking` without a judge of clips. `close_worker` releases connections that are the worker's alone;
    `frames` gives items the last frame that they start from."""

    worker: Worker
    archiver: Archiver | None
    keeper: Keeper | None = None
    uploads: Uploads | None = None
    asking: Asking | None = None
    close_worker: Callable[[], Awaitable[None]] | None = None
    frames: LastFrames | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.worker.run(stop))
                if self.archiver is not None:
                    group.create_task(self.archiver.run(stop))
                if self.keeper is not None:
                    group.create_task(self.keeper.run(stop))
                if self.uploads is not None:
                    keeping = now_and_then(partial(_prune, self.uploads), seconds=UPLOADS_SECONDS)
                    group.create_task(until_stopped(stop, keeping))
                if self.asking is not None:
                    group.create_task(self.asking.run(stop))
                if self.frames is not None:
                    group.create_task(self.frames.run(stop))
        finally:
            await self.close()

    async def tick(
        self, *, budget_seconds: float = 25.0, tasks_max: int = 200, stop: asyncio.Event | None = None
    ) -> TickReport:
        """One bounded pass of the worker, then one over due files, and so on.

        What is under way ends soon once `stop` is set, and nothing more is started.
        """
        now, stop = asyncio.get_running_loop().time, stop or asyncio.Event()
        started = now()
        files_seconds = 0.0 if self.archiver is None else min(TICK_ARCHIVE_SECONDS_MIN, budget_seconds / 2)
        try:
            report = await tick(
                self.worker, budget_seconds=budget_seconds - files_seconds, tasks_max=tasks_max, stop=stop
            )
            if report.ok and not stop.is_set():
                rest = self._rest_of_a_pass(report, started + budget_seconds, files_seconds, tasks_max)
                try:
                    await until_stopped(stop, rest)
                except StoreError as error:
                    log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
                    report.ok = False
            report.duration_ms = int((now() - started) * 1000)
        finally:
            await self.close()
        return report

    async def _rest_of_a_pass(
        self, report: TickReport, ends_at: float, files_seconds: float, files_max: int
    ) -> None:
        """Expired uploads, due files, the judge's questions, last frames. Raises `StoreError`."""

        def left() -> float:
            return ends_at - asyncio.get_running_loop().time()

        if self.uploads is not None:
            with contextlib.suppress(TimeoutError):  # the next pass removes the rest
                async with asyncio.timeout(max(left() - files_seconds, BESIDE_SECONDS_MIN)):
                    await _prune(self.uploads)
        if self.archiver is not None:
            seconds = max(left(), files_seconds)
            report.archive = await self.archiver.tick(budget_seconds=seconds, files_max=files_max)
        if self.asking is not None:
            await self.asking.tick(budget_seconds=left())
        if self.frames is not None:
            await self.frames.tick(budget_seconds=max(left(), BESIDE_SECONDS_MIN))

    async def close(self) -> None:
        """Release the connections to file hosts, to the judge, and to hosts that providers had before."""
        if self.archiver is not None:
            await self.archiver.close()
        if self.asking is not None:
            await self.asking.close()
        if self.close_worker is not None:
            await self.close_worker()
