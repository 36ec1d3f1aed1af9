"""The archive: each success is fetched, checked and stored before its link dies.

Its own loop beside everything else, as the notifier is: settling writes one row per success, in its own
transaction, and never waits for a file. Any number of processes may run it on one database; each file is
claimed by one of them, and a claim that was never recorded runs out and is taken again. The outcome of a
file changes no task's verdict and no credit.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from rushes import telemetry
from rushes.concurrency import until_stopped
from rushes.domain.archive import (
    ALERT_SECONDS,
    BAD_FILES_MAX,
    ArchiveState,
    Retention,
    retry_delay_seconds,
)
from rushes.domain.errors import ArchiveUnavailable, DatabaseUnreachable, StoreError
from rushes.files.archive_upkeep import prune_expired
from rushes.files.due import ArchiveLimits, now_and_then
from rushes.files.fetch import BadStatus, fetch_file
from rushes.files.further import FurtherFiles
from rushes.files.gate.deciding import (
    OnDecided,
    checked_file,
    nothing_more,
    record_failure,
    record_stored,
)
from rushes.files.guard.addresses import UrlRefused
from rushes.files.guard.client import GuardedHttp, NoAnswerFromUrl
from rushes.files.objects import NameTaken, ObjectStore
from rushes.files.storing import copied_file, put_in_archive
from rushes.files.video_check import BadFile
from rushes.providers.base import ResultFiles
from rushes.store import archive
from rushes.store.acceptance.verdicts import Decision
from rushes.store.archive import ClaimedFile, StoredFile
from rushes.store.database import Database

CLAIM_SECONDS: Final = 60.0
RENEW_SECONDS: Final = 20.0
"""How long a claim lasts, and how often it is renewed while its file is fetched."""

IDLE_SECONDS: Final = 0.4
"""How often the archiver looks for due files when nobody wakes it."""

UPKEEP_SECONDS: Final = 10.0
PRUNE_SECONDS: Final = 600.0
"""How often links that die soon are called out, and how often files that are past their retention,
or whose videos were deleted, are removed."""

ALERTS_MAX: Final = 100
CLAIM_ANSWER_SECONDS_MAX: Final = 1.0
STOP_SECONDS_MAX: Final = 5.0
GIVE_BACK_SECONDS_MAX: Final = 2.0
"""How long a stopping archiver waits for its claim, for files under way, and for giving back the others."""

LAST_TRY_SECONDS: Final = 5.0
"""A last try is made so long before a link dies, however long the ladder's wait would be."""

log = telemetry.logger()


class Archiver:
    """Fetches due files until stopped.

    `files_of` says by provider how its files are fetched; `now_ms()` is the wall clock in epoch
    milliseconds. `outcomes` counts the outcomes of tries. `on_decided` happens in the transaction that
    decides about a clip whose batch has a gate, `on_bad_file` in the one that records a file which is broken
    for good, or not of the length or shape that was asked for.
    """

    def __init__(
        self,
        database: Database,
        *,
        objects: ObjectStore,
        http: GuardedHttp,
        files_of: Mapping[str, ResultFiles],
        now_ms: Callable[[], int],
        limits: ArchiveLimits | None = None,
        on_decided: OnDecided = nothing_more,
        on_bad_file: OnDecided = nothing_more,
    ) -> None:
        self._database = database
        self._objects = objects
        self._http = http
        self._files_of = files_of
        self._now_ms = now_ms
        self._limits = limits or ArchiveLimits()
        self._on_decided = on_decided
        self._on_bad_file = on_bad_file
        self._further = FurtherFiles(
            database, objects=objects, http=http, files_of=files_of, now_ms=now_ms, limits=self._limits
        )
        self._measuring = asyncio.Semaphore(self._limits.files_measured_at_once_max)
        self._fetching: dict[asyncio.Task[None], ClaimedFile | None] = {}
        self._woken = asyncio.Event()
        self._store_failures = 0
        self._store_retry_at = 0.0
        self.trouble: str | None = None
        """Why nothing can be stored at the moment, if so."""
        self.outcomes: dict[str, int] = {"stored": 0, "failed": 0, "refused": 0, "expired": 0, "alerted": 0}

    async def close(self) -> None:
        """Release the connections."""
        await self._http.close()

    def wake(self) -> None:
        """Tell it that there may be due files."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Fetch until `stop` is set; what is under way then is ended soon, or given back."""
        retention = self._limits.retention or Retention()
        prune = partial(prune_expired, self._database, self._objects, retention, now_ms=self._now_ms)
        pruning = asyncio.create_task(now_and_then(prune, seconds=PRUNE_SECONDS))
        try:
            await until_stopped(stop, self._fetch_until(stop), grace_seconds=CLAIM_ANSWER_SECONDS_MAX)
        finally:
            pruning.cancel()
            await self._end_all(asyncio.get_running_loop().time() + STOP_SECONDS_MAX)

    async def _fetch_until(self, stop: asyncio.Event) -> None:
        now, upkeep_at = asyncio.get_running_loop().time, 0.0
        while not stop.is_set():
            self._woken.clear()
            try:
                if now() >= upkeep_at:
                    upkeep_at = now() + UPKEEP_SECONDS
                    await self.alert()
                busy = await self.start_due() > 0
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
                busy = False
            if not busy:
                await until_stopped(stop, self._pause())

    async def _pause(self) -> None:
        """Until it is woken, a file is done, or a while has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await self._woken.wait()

    async def tick(self, *, budget_seconds: float, files_max: int) -> dict[str, int]:
        """One bounded pass: what is due now, bounded in files and time; returns the outcomes.

        The last of the time is for files under way. Raises `StoreError` when the database is away.
        """
        now = asyncio.get_running_loop().time
        ends_at = now() + budget_seconds
        until = ends_at - min(STOP_SECONDS_MAX, budget_seconds / 2)
        before, left = dict(self.outcomes), files_max
        try:
            async with asyncio.timeout_at(ends_at):
                await self.alert()
                while left > 0 and now() < until:
                    started = await self.start_due(files_max=left)
                    left -= started
                    if not started and not self._fetching:
                        break
                    if not started:
                        seconds = min(1.0, until - now())
                        await asyncio.wait(
                            set(self._fetching), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                        )
        except TimeoutError:
            raise DatabaseUnreachable("the database did not answer within the pass over files") from None
        except asyncio.CancelledError:
            ends_at = min(ends_at, now() + STOP_SECONDS_MAX)
            raise
        finally:
            is_recorded = await self._end_all(ends_at)
        if not is_recorded:
            raise DatabaseUnreachable("the database did not take back files that were under way")
        return {name: count - before[name] for name, count in self.outcomes.items()}

    async def start_due(self, *, files_max: int | None = None) -> int:
        """Start to fetch what is due and has a place; returns how many."""
        room = self._limits.files_at_once_max - len(self._fetching)
        if self._store_failures:
            if asyncio.get_running_loop().time() < self._store_retry_at or self._fetching:
                return 0
            room = 1  # one file finds out whether the store is back
        room = room if files_max is None else min(room, files_max)
        if room <= 0:
            return 0
        started = 0
        if await self._database.read(archive.any_due, self._now_ms()):
            started = await self._start_videos(room)
        if room > started and not self._store_failures:
            for work in await self._further.due(room - started, self.outcomes):
                task = asyncio.get_running_loop().create_task(work)
                self._fetching[task] = None
                task.add_done_callback(self._ended)
                started += 1
        return started

    async def _start_videos(self, room: int) -> int:
        claimed = await self._database.transact(
            archive.claim_if_due,
            limit=room,
            now_ms=self._now_ms(),
            claimed_until_ms=self._now_ms() + int(CLAIM_SECONDS * 1000),
        )
        for file in claimed:
            task = asyncio.get_running_loop().create_task(self._keep(file))
            self._fetching[task] = file
            task.add_done_callback(self._ended)
        return len(claimed)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._fetching.pop(task, None)
        self._woken.set()

    async def finished(self) -> None:
        """Wait until nothing is under way."""
        while self._fetching:
            await asyncio.wait(set(self._fetching))

    async def alert(self) -> int:
        """Call out files whose links die soon and that are still not stored; each once. Returns how many."""
        rows = await self._database.transact(
            archive.alert_if_due,
            before_ms=self._now_ms() + int(ALERT_SECONDS * 1000),
            now_ms=self._now_ms(),
            limit=ALERTS_MAX,
        )
        for row in rows:
            self.outcomes["alerted"] += 1
            log.error(
                telemetry.ARCHIVE_AT_RISK,
                batch_id=row.public_id,
                item_index=row.item_index,
                seconds_left=(row.link_dies_at_ms - self._now_ms()) // 1000,
                attempts=row.attempts,
                reason=row.reason or "not tried yet",
            )
        return len(rows)

    async def _end_all(self, ends_at: float) -> bool:
        """Wait for what is under way; give the rest back, to be fetched again at once.

        False when that could not be stored: their claims run out.
        """
        if not self._fetching:
            return True
        seconds = max(0.0, ends_at - asyncio.get_running_loop().time())
        await asyncio.wait(set(self._fetching), timeout=seconds)
        given_back = dict(self._fetching)
        for task in given_back:
            task.cancel()
        await asyncio.gather(*given_back, return_exceptions=True)
        files, why = filter(None, given_back.values()), "stopped while it was fetched"
        records = [self._record(file, ArchiveState.DUE, why, file.bad_files, 0.0) for file in files]
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS_MAX):
                answers = await asyncio.gather(*records, return_exceptions=True)
        except TimeoutError:
            return False
        return not any(isinstance(answer, StoreError) for answer in answers)

    # --- one file ---------------------------------------------------------------------------------------

    async def _keep(self, file: ClaimedFile) -> None:
        """One try, and its record."""
        try:
            try:
                with tempfile.NamedTemporaryFile(
                    prefix="rushes-", suffix=".mp4", dir=self._limits.scratch_folder
                ) as scratch:
                    async with self._claim_renewed(file):
                        stored, decision = await self._fetched(file, Path(scratch.name))
            except ArchiveUnavailable as error:
                self._store_failed(error.message)
                await self._failed(file, error.message)
            except UrlRefused as error:
                if error.retryable:
                    await self._failed(file, error.message)
                else:
                    await self._over(file, ArchiveState.REFUSED, error.message, file.bad_files)
            except BadStatus as error:
                await self._failed(
                    file,
                    error.message,
                    counts=error.is_final,
                    at_last=ArchiveState.EXPIRED if error.is_gone else ArchiveState.REFUSED,
                )
            except BadFile as error:
                await self._failed(file, error.message, counts=True, is_broken=True)
            except NameTaken as error:
                await self._failed(file, error.message, counts=True)
            except NoAnswerFromUrl as error:
                await self._failed(file, error.message)
            except TimeoutError:
                await self._failed(file, "timed out")
            except OSError as error:  # the disk of the scratch file
                self._store_failed(f"no file can be written here: {error.strerror}")
                await self._failed(file, f"no file can be written here: {error.strerror}")
            except StoreError:
                raise
            except Exception as error:  # a decoder's bug, say: one file's trouble is not the others'
                await self._failed(file, f"{type(error).__name__} while it was fetched", counts=True)
            else:
                self._store_failures, self.trouble = 0, None
                if await self._database.transact(
                    record_stored,
                    file,
                    stored,
                    decision,
                    now_ms=self._now_ms(),
                    on_decided=self._on_decided,
                    on_bad_file=self._on_bad_file,
                ):
                    self.outcomes["stored"] += 1
        except StoreError as error:  # the claim runs out, and the file is fetched again
            log.warning(telemetry.DATABASE_TROUBLE, error=error.message)

    @contextlib.asynccontextmanager
    async def _claim_renewed(self, file: ClaimedFile) -> AsyncIterator[None]:
        """Keep the file this process's own while it is fetched."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_SECONDS)
                with contextlib.suppress(StoreError):
                    until_ms = self._now_ms() + int(CLAIM_SECONDS * 1000)
                    await self._database.transact(archive.renew_if_claimed, file, until_ms=until_ms)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()

    async def _fetched(self, file: ClaimedFile, scratch: Path) -> tuple[StoredFile, Decision | None]:
        async with asyncio.timeout(self._limits.download_seconds_max):
            copied = await copied_file(self._objects, file, scratch)
            bytes_count, sha256 = copied or await fetch_file(
                self._http,
                file.url,
                scratch,
                way=self._files_of.get(file.provider, ResultFiles()),
                bytes_max=self._limits.file_bytes_max,
                seconds_max=self._limits.download_seconds_max,
            )
        async with self._measuring:
            checked = await asyncio.to_thread(checked_file, scratch, file)
        stored = await put_in_archive(
            self._objects, file, scratch, checked, bytes_count=bytes_count, sha256=sha256
        )
        return stored, checked.decision

    # --- records ----------------------------------------------------------------------------------------

    def _store_failed(self, reason: str) -> None:
        """Nothing can be stored: say so, and let one file at a time find out when that is over."""
        self._store_failures += 1
        self.trouble = reason
        wait_seconds = self._wait_seconds(self._store_failures)
        self._store_retry_at = asyncio.get_running_loop().time() + wait_seconds
        log.error(telemetry.ARCHIVE_TROUBLE, error=reason, retry_in_seconds=wait_seconds)

    def _wait_seconds(self, failures: int) -> float:
        return retry_delay_seconds(failures, self._limits.retry_seconds)

    async def _failed(
        self,
        file: ClaimedFile,
        reason: str,
        *,
        counts: bool = False,
        at_last: ArchiveState = ArchiveState.REFUSED,
        is_broken: bool = False,
    ) -> None:
        """Try again later, unless its link is dead or it was no good too often (`counts`)."""
        bad_files = file.bad_files + counts
        if bad_files >= BAD_FILES_MAX:
            await self._over(file, at_last, reason, bad_files, is_broken)
            return
        left_seconds = (file.link_dies_at_ms - self._now_ms()) / 1000
        if left_seconds <= 0:
            state = (
                ArchiveState.REFUSED if counts and at_last is ArchiveState.REFUSED else ArchiveState.EXPIRED
            )
            await self._over(file, state, reason, bad_files, is_broken and state is ArchiveState.REFUSED)
            return
        wait_seconds = self._wait_seconds(file.attempts)
        if wait_seconds > left_seconds - LAST_TRY_SECONDS:
            wait_seconds = max(1.0, left_seconds - LAST_TRY_SECONDS)
        self.outcomes["failed"] += 1
        log.info(
            telemetry.ARCHIVE_FAILED,
            batch_id=file.batch_public_id,
            item_index=file.item_index,
            attempt=file.attempts,
            reason=reason,
            retry_in_seconds=round(wait_seconds, 1),
        )
        await self._record(file, ArchiveState.DUE, reason, bad_files, wait_seconds)

    async def _over(
        self,
        file: ClaimedFile,
        state: ArchiveState,
        reason: str,
        bad_files: int,
        is_broken: bool = False,
    ) -> None:
        self.outcomes[state.value] += 1
        log.error(
            telemetry.ARCHIVE_EXPIRED if state is ArchiveState.EXPIRED else telemetry.ARCHIVE_REFUSED,
            batch_id=file.batch_public_id,
            item_index=file.item_index,
            attempts=file.attempts,
            reason=reason,
        )
        await self._record(file, state, reason, bad_files, 0.0, is_broken)

    async def _record(
        self,
        file: ClaimedFile,
        state: ArchiveState,
        reason: str,
        bad_files: int,
        wait_seconds: float,
        is_broken: bool = False,
    ) -> None:
        await self._database.transact(
            record_failure,
            file,
            state=state,
            reason=reason,
            bad_files=bad_files,
            next_attempt_at_ms=self._now_ms() + int(wait_seconds * 1000),
            is_broken=is_broken,
            now_ms=self._now_ms(),
            on_decided=self._on_decided,
            on_bad_file=self._on_bad_file,
        )
