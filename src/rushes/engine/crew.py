"""A worker and the archiver beside it: what one process does for batches."""

import asyncio
from dataclasses import dataclass

from rushes.engine.archive import Archiver
from rushes.engine.worker import TickReport, Worker

TICK_ARCHIVE_SECONDS_MIN = 5.0
"""What a bounded pass has for files, however long the worker took."""


@dataclass(frozen=True, slots=True)
class Crew:
    """`archiver` is None when the operator keeps no videos."""

    worker: Worker
    archiver: Archiver | None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.worker.run(stop))
                if self.archiver is not None:
                    group.create_task(self.archiver.run(stop))
        finally:
            await self.close()

    async def tick(self, *, budget_seconds: float = 25.0, tasks_max: int = 200) -> TickReport:
        """One bounded pass of the worker, then one over due files."""
        try:
            report = await self.worker.tick(budget_seconds=budget_seconds, tasks_max=tasks_max)
            if self.archiver is not None:
                left_seconds = budget_seconds - report.duration_ms / 1000
                started = asyncio.get_running_loop().time()
                report.archive = await self.archiver.tick(
                    budget_seconds=max(left_seconds, TICK_ARCHIVE_SECONDS_MIN), files_max=tasks_max
                )
                report.duration_ms += int((asyncio.get_running_loop().time() - started) * 1000)
        finally:
            await self.close()
        return report

    async def close(self) -> None:
        """Release the connections to file hosts."""
        if self.archiver is not None:
            await self.archiver.close()
