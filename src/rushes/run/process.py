"""A worker and the archiver beside it: what one process does for batches."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rushes import telemetry
from rushes.domain.errors import ArchiveUnavailable, StoreError
from rushes.files.archive import Archiver
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


async def _prune(uploads: Uploads, seconds_max: float | None = None) -> None:
    try:
        async with asyncio.timeout(seconds_max):
            removed = await uploads.prune()
    except TimeoutError:
        log.info(telemetry.UPLOADS_PRUNED, error="ended before all that has expired was removed")
    except ArchiveUnavailable as error:  # as long as it is away, nothing is removed
        log.error(telemetry.ARCHIVE_TROUBLE, error=error.message)
    except StoreError as error:
        log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
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
                    group.create_task(self._keep_uploads_pruned(self.uploads, stop))
                if self.asking is not None:
                    group.create_task(self.asking.run(stop))
                if self.frames is not None:
                    group.create_task(self.frames.run(stop))
        finally:
            await self.close()

    async def _keep_uploads_pruned(self, uploads: Uploads, stop: asyncio.Event) -> None:
        """Remove expired uploads that no open batch needs, now and then."""
        while not stop.is_set():
            await _prune(uploads)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UPLOADS_SECONDS):
                    await stop.wait()

    async def tick(
        self, *, budget_seconds: float = 25.0, tasks_max: int = 200, stop: asyncio.Event | None = None
    ) -> TickReport:
        """One bounded pass of the worker, then one over due files; both end soon once `stop` is set."""
        files_seconds = 0.0 if self.archiver is None else min(TICK_ARCHIVE_SECONDS_MIN, budget_seconds / 2)
        started = asyncio.get_running_loop().time()

        def left_seconds() -> float:
            return budget_seconds - (asyncio.get_running_loop().time() - started)

        try:
            report = await tick(
                self.worker, budget_seconds=budget_seconds - files_seconds, tasks_max=tasks_max, stop=stop
            )
            if self.uploads is not None and report.ok:
                await _prune(self.uploads, max(left_seconds() - files_seconds, BESIDE_SECONDS_MIN))
            if self.archiver is not None and report.ok and not (stop is not None and stop.is_set()):
                await self._fetch_files(report, max(left_seconds(), files_seconds), tasks_max, stop)
            if self.asking is not None and report.ok:
                await self.asking.tick(budget_seconds=max(0.0, left_seconds()))
            if self.frames is not None and report.ok:
                await self.frames.tick(budget_seconds=max(left_seconds(), BESIDE_SECONDS_MIN))
            report.duration_ms = int((budget_seconds - left_seconds()) * 1000)
        finally:
            await self.close()
        return report

    async def _fetch_files(
        self, report: TickReport, seconds: float, files_max: int, stop: asyncio.Event | None
    ) -> None:
        assert self.archiver is not None
        fetching = asyncio.create_task(self.archiver.tick(budget_seconds=seconds, files_max=files_max))
        stopping = asyncio.create_task((stop or asyncio.Event()).wait())
        await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, fetching):  # what is being fetched then is ended by its own bounds
            task.cancel()
        try:
            report.archive = await fetching
        except (StoreError, asyncio.CancelledError) as error:
            log.warning(telemetry.DATABASE_TROUBLE, error=str(error) or "the pass over files was cut short")
            report.ok = False

    async def close(self) -> None:
        """Release the connections to file hosts, to the judge, and to hosts that providers had before."""
        if self.archiver is not None:
            await self.archiver.close()
        if self.asking is not None:
            await self.asking.close()
        if self.close_worker is not None:
            await self.close_worker()
