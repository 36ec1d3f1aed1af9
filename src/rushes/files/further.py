"""Files that came besides a video: fetched, checked and stored as it is. A lost one changes nothing else."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

from rushes import telemetry
from rushes.domain.archive import BAD_FILES_MAX, ArchiveState, object_key, retry_delay_seconds
from rushes.domain.catalogue.media import SUFFIX_OF
from rushes.domain.errors import RushesError, StoreError
from rushes.domain.task import OutputKind
from rushes.files.due import ArchiveLimits
from rushes.files.fetch import BadStatus, fetch_file
from rushes.files.guard.addresses import UrlRefused
from rushes.files.guard.client import GuardedHttp
from rushes.files.media_check import checked_media
from rushes.files.objects import NameTaken, ObjectStore
from rushes.files.storing import STORE_SECONDS_MAX
from rushes.files.video_check import BadFile
from rushes.providers.base import ResultFiles
from rushes.store.database import Database
from rushes.store.outputs import further
from rushes.store.outputs.further import ClaimedFurther, StoredFurther

UNKNOWN_TYPE: Final = "application/octet-stream"
CLAIM_MARGIN_SECONDS: Final = 10.0
"""A claim lasts as long as one try may take, and that much longer."""

log = telemetry.logger()


class FurtherFiles:
    """Claims them and keeps them; the parts are the archiver's own."""

    def __init__(
        self,
        database: Database,
        *,
        objects: ObjectStore,
        http: GuardedHttp,
        files_of: Mapping[str, ResultFiles],
        now_ms: Callable[[], int],
        limits: ArchiveLimits,
    ) -> None:
        self._database = database
        self._objects = objects
        self._http = http
        self._files_of = files_of
        self._now_ms = now_ms
        self._limits = limits

    async def due(self, room: int, outcomes: dict[str, int]) -> list[Coroutine[Any, Any, None]]:
        """One try for each of up to `room` files that are due; each is counted in `outcomes` as it ends."""
        now_ms = self._now_ms()
        if not await self._database.read(further.any_due, now_ms):
            return []
        limits = self._limits
        claim_seconds = limits.download_seconds_max + STORE_SECONDS_MAX + CLAIM_MARGIN_SECONDS
        claimed = await self._database.transact(
            further.claim_if_due,
            limit=room,
            now_ms=now_ms,
            claimed_until_ms=now_ms + int(claim_seconds * 1000),
        )
        return [self._keep(file, outcomes) for file in claimed]

    async def _keep(self, file: ClaimedFurther, outcomes: dict[str, int]) -> None:
        """One try, and its record."""
        try:
            try:
                with tempfile.NamedTemporaryFile(
                    prefix="rushes-", dir=self._limits.scratch_folder
                ) as scratch:
                    stored = await self._stored(file, Path(scratch.name))
            except StoreError:
                raise
            except (RushesError, TimeoutError, OSError) as error:
                outcomes[await self._failed(file, error)] += 1
                return
            await self._database.transact(
                further.record_stored_if_claimed, file, stored, now_ms=self._now_ms()
            )
            outcomes["stored"] += 1
        except StoreError as error:  # the claim runs out, and the file is fetched again
            log.warning(telemetry.DATABASE_TROUBLE, error=error.message)

    async def _stored(self, file: ClaimedFurther, scratch: Path) -> StoredFurther:
        async with asyncio.timeout(self._limits.download_seconds_max):
            bytes_count, sha256 = await fetch_file(
                self._http,
                file.url,
                scratch,
                way=self._way_of(file),
                bytes_max=self._limits.file_bytes_max,
                seconds_max=self._limits.download_seconds_max,
            )
        content_type = await asyncio.to_thread(checked_type, scratch, OutputKind(file.kind))
        key = object_key(
            account=file.account,
            batch_public_id=file.batch_public_id,
            item_index=file.item_index,
            task_id=file.task_id,
            sha256=sha256,
            suffix=f"-{file.position}-{file.kind}{suffix_of(content_type)}",
        )
        async with asyncio.timeout(STORE_SECONDS_MAX):
            await self._objects.put_new(key, scratch, bytes_count=bytes_count, sha256=sha256)
        return StoredFurther(key, content_type, bytes_count, sha256)

    def _way_of(self, file: ClaimedFurther) -> ResultFiles:
        return self._files_of.get(file.provider, ResultFiles())

    async def _failed(self, file: ClaimedFurther, error: RushesError | TimeoutError | OSError) -> str:
        """`failed` when it is to be retried, else `refused` or `expired`."""
        now_ms = self._now_ms()
        reason = error.message if isinstance(error, RushesError) else _words_of(error)
        bad_files = file.bad_files + _counts(error)
        if (isinstance(error, UrlRefused) and not error.retryable) or bad_files >= BAD_FILES_MAX:
            is_gone = isinstance(error, BadStatus) and error.is_gone
            state = ArchiveState.EXPIRED if is_gone else ArchiveState.REFUSED
        else:
            link_dies_at_ms = file.created_at_ms + int(self._way_of(file).link_seconds * 1000)
            state = ArchiveState.EXPIRED if now_ms >= link_dies_at_ms else ArchiveState.DUE
        wait_seconds = retry_delay_seconds(file.attempts, self._limits.retry_seconds)
        await self._database.transact(
            further.record_failure_if_claimed,
            file,
            state=state,
            reason=reason,
            bad_files=bad_files,
            next_attempt_at_ms=now_ms + int(wait_seconds * 1000),
        )
        _say(file, state, reason, wait_seconds)
        return "failed" if state is ArchiveState.DUE else state.value


def _say(file: ClaimedFurther, state: ArchiveState, reason: str, wait_seconds: float) -> None:
    facts = {"batch_id": file.batch_public_id, "item_index": file.item_index, "file": file.kind}
    if state is ArchiveState.DUE:
        wait = round(wait_seconds, 1)
        log.info(
            telemetry.ARCHIVE_FAILED, attempt=file.attempts, reason=reason, retry_in_seconds=wait, **facts
        )
        return
    event = telemetry.ARCHIVE_EXPIRED if state is ArchiveState.EXPIRED else telemetry.ARCHIVE_REFUSED
    log.error(event, attempts=file.attempts, reason=reason, **facts)


def checked_type(path: Path, kind: OutputKind) -> str:
    """What the file is, by its bytes. Raises `BadFile` for one that is not whole, or not of its kind."""
    try:
        found = checked_media(path).content_type
    except BadFile:
        if kind is OutputKind.FILE and path.stat().st_size:
            return UNKNOWN_TYPE
        raise
    wanted = "image" if kind is OutputKind.LAST_FRAME else kind.value
    if kind is not OutputKind.FILE and not found.startswith(f"{wanted}/"):
        raise BadFile(f"the file is {found}, the service calls it {kind.value}")
    return found


def suffix_of(content_type: str | None) -> str:
    """What the name of such a file ends with."""
    return SUFFIX_OF.get(content_type or "", ".bin")


def _counts(error: Exception) -> bool:
    """Whether the file came and was no good, or another try is not likely to be answered otherwise."""
    return isinstance(error, BadFile | NameTaken) or (isinstance(error, BadStatus) and error.is_final)


def _words_of(error: TimeoutError | OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return f"no file can be written here: {error.strerror}"


async def remove_those_of_removed_videos(database: Database, objects: ObjectStore, *, page: int) -> int:
    """Delete the files whose videos are gone; returns how many. Raises `ArchiveUnavailable`."""
    count = 0
    while rows := await database.read(further.of_removed_videos, limit=page):
        count += await _remove(database, objects, rows)
    return count


async def remove_before(
    database: Database, objects: ObjectStore, account_id: int, *, before_ms: int, page: int
) -> int:
    """Delete the account's older files whose videos were never stored; returns how many."""
    count = 0
    while rows := await database.read(further.stored_before, account_id, before_ms=before_ms, limit=page):
        count += await _remove(database, objects, rows)
    return count


async def _remove(database: Database, objects: ObjectStore, rows: further.FoundRows) -> int:
    """Objects first: what is interrupted in between is found again."""
    for row in rows:
        await objects.remove(row.object_key)
    await database.transact(further.mark_removed, rows)
    return len(rows)
