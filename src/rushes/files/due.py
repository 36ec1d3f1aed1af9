"""Which files are due (every success, from the transaction that settles it), the limits of fetching, and
how loops over what is due go on until they are stopped or their time is over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar

from sqlalchemy import Connection

from rushes import telemetry
from rushes.concurrency import until_stopped
from rushes.domain.archive import RETRY_SECONDS, Retention
from rushes.domain.errors import DatabaseUnreachable, StoreError
from rushes.files.fetch import DOWNLOAD_SECONDS_MAX, FILE_BYTES_MAX
from rushes.store import archive
from rushes.store.acceptance import verdicts
from rushes.store.tasks import FinishedTask

FILES_AT_ONCE_MAX: Final = 8
FILES_MEASURED_AT_ONCE_MAX: Final = 2
"""Files that one process decodes at the same time, whatever else it does."""

OnFinished: TypeAlias = Callable[[Connection, Sequence[FinishedTask], int], object]
"""What happens in the transaction that ends tasks, such as `recording_successes`."""

R = TypeVar("R")

log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an operator decides about the archive."""

    file_bytes_max: int = FILE_BYTES_MAX
    files_at_once_max: int = FILES_AT_ONCE_MAX
    files_measured_at_once_max: int = FILES_MEASURED_AT_ONCE_MAX
    download_seconds_max: float = DOWNLOAD_SECONDS_MAX
    retry_seconds: Sequence[float] = RETRY_SECONDS
    scratch_folder: Path | None = None
    retention: Retention | None = None


def recording_successes(link_seconds: Mapping[str, float], then: OnFinished) -> OnFinished:
    """For `settle.resolve`: successes become due files in the transaction that settles them; then `then`.

    Those of batches with a gate also wait for a verdict from then on.
    """

    def before_closing(connection: Connection, finished: Sequence[FinishedTask], now_ms: int) -> None:
        archive.add_due(connection, finished, link_seconds=link_seconds, now_ms=now_ms)
        verdicts.expect(connection, finished, now_ms=now_ms)
        then(connection, finished, now_ms)

    return before_closing


async def now_and_then(work: Callable[[], Awaitable[object]], *, seconds: float) -> None:
    """Do it, and again after `seconds`, until cancelled, also after the database was away for it."""
    while True:
        try:
            await work()
        except StoreError as error:
            log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Due(Generic[R]):
    """What a loop does: `claim` gives rows that are due, `deal_with` does what is to be done with one."""

    claim: Callable[[], Awaitable[Sequence[R]]]
    deal_with: Callable[[R], Awaitable[None]]

    async def pass_once(self) -> int:
        """Deal with some of what is due, at the same time; returns how many rows that were."""
        return await self._with(await self.claim())

    async def pass_until(self, stop: asyncio.Event, *, idle_seconds: float) -> None:
        """Pass after pass until `stop` is set, with a rest of `idle_seconds` where nothing is due.

        What is under way then is cancelled: its claim runs out, and the next process does it again.
        """
        await until_stopped(stop, self._pass_forever(idle_seconds))

    async def pass_within(self, seconds: float) -> int:
        """One pass that may take so long; what is under way then is cancelled. Raises `StoreError`."""
        claimed: Sequence[R] | None = None
        try:
            async with asyncio.timeout(seconds):
                claimed = await self.claim()
                return await self._with(claimed)
        except TimeoutError:
            if claimed is None:
                raise DatabaseUnreachable("the database did not say in time what is due") from None
            log.warning(telemetry.CUT_SHORT, rows=len(claimed))
            return 0

    async def _with(self, rows: Sequence[R]) -> int:
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(self._in_peace(row))
        return len(rows)

    async def _in_peace(self, row: R) -> None:
        try:
            await self.deal_with(row)
        except StoreError as error:  # its claim runs out
            log.warning(telemetry.DATABASE_TROUBLE, error=error.message)

    async def _pass_forever(self, idle_seconds: float) -> None:
        while True:
            try:
                busy = await self.pass_once() > 0
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
                busy = False
            if not busy:
                await asyncio.sleep(idle_seconds)
