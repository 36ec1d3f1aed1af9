"""Which files are due (every success, from the transaction that settles it), the limits of fetching, and
how loops over what is due go on until they are stopped or their time is over.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.archive import RETRY_SECONDS, Retention
from rushes.domain.errors import StoreError
from rushes.files.fetch import DOWNLOAD_SECONDS_MAX, FILE_BYTES_MAX
from rushes.store import archive
from rushes.store.acceptance import verdicts
from rushes.store.tasks import FinishedTask

FILES_AT_ONCE_MAX: Final = 8
FILES_MEASURED_AT_ONCE_MAX: Final = 2
"""Files that one process decodes at the same time, whatever else it does."""

OnFinished: TypeAlias = Callable[[Connection, Sequence[FinishedTask], int], object]
"""What happens in the transaction that ends tasks, such as `recording_successes`."""

Pass: TypeAlias = Callable[[], Awaitable[int]]
"""Deals with some of what is due; returns how many rows that were."""

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


async def pass_until(stop: asyncio.Event, one_pass: Pass, *, idle_seconds: float) -> None:
    """Pass after pass until `stop` is set, with a rest of `idle_seconds` where nothing is due.

    What is under way then is cancelled: its claim runs out, and the next process does it again.
    """
    going = asyncio.create_task(_pass_forever(one_pass, idle_seconds))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((going, stopping), return_when=asyncio.FIRST_COMPLETED)
        going.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await going  # raises what ended it, if something did
    finally:
        going.cancel()
        stopping.cancel()


async def _pass_forever(one_pass: Pass, idle_seconds: float) -> None:
    while True:
        try:
            busy = await one_pass() > 0
        except StoreError as error:
            log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
            busy = False
        if not busy:
            await asyncio.sleep(idle_seconds)


async def pass_within(budget_seconds: float, one_pass: Pass) -> int:
    """One pass that may take so long; returns how many rows it has dealt with."""
    with contextlib.suppress(TimeoutError, StoreError):
        async with asyncio.timeout(budget_seconds):
            return await one_pass()
    return 0
