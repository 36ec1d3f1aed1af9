"""Which files are due (every success, from the transaction that settles it), and the limits of fetching."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import Connection

from rushes.domain.archive import RETRY_SECONDS, Retention
from rushes.files.fetch import DOWNLOAD_SECONDS_MAX, FILE_BYTES_MAX
from rushes.store import archive
from rushes.store.acceptance import verdicts
from rushes.store.tasks import FinishedTask

FILES_AT_ONCE_MAX: Final = 8
FILES_MEASURED_AT_ONCE_MAX: Final = 2
"""Files that one process decodes at the same time, whatever else it does."""

OnFinished: TypeAlias = Callable[[Connection, Sequence[FinishedTask], int], object]
"""What happens in the transaction that ends tasks, such as `recording_successes`."""


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
