"""Gives items the last frame that they start from once it can be cut, or ends them where there will be none.

Its own loop in a worker's process, beside the archiver's. Any number of processes may run it: a try is
claimed by one of them, and a claim that was never recorded runs out. The frame is an upload, which is one by
its content, so cutting it again stores nothing twice; the transaction that hands it out does so once.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from rushes import telemetry
from rushes.domain.errors import ArchiveUnavailable, NotFound, StoreError
from rushes.files.chains.last_frame import last_frame_of
from rushes.files.due import Due
from rushes.files.objects import ObjectStore
from rushes.files.uploads import Uploads, check_bytes
from rushes.files.video_check import BadFile
from rushes.files.video_pictures import can_decode
from rushes.money.chains import end_without_frame, give_last_frame
from rushes.store.database import Database
from rushes.store.inputs import last_frames
from rushes.store.inputs.last_frames import EndedTry

TRIES_AT_ONCE_MAX: Final = 8
CUT_AT_ONCE_MAX: Final = 2
"""Clips that one process decodes at the same time."""

CLAIM_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 0.4
RETRY_SECONDS: Final = (2.0, 10.0, 60.0, 300.0)
"""Waits after a frame could not be cut because the archive is away, or nothing here decodes."""

log = telemetry.logger()


class LastFrames:
    """Cuts and gives until stopped. `on_given` hears that tasks may be claimed."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        uploads: Uploads,
        *,
        now_ms: Callable[[], int],
        on_given: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._objects = objects
        self._uploads = uploads
        self._now_ms = now_ms
        self._on_given = on_given
        self._cutting = asyncio.Semaphore(CUT_AT_ONCE_MAX)
        self.outcomes = {"given": 0, "ended": 0, "failed": 0}

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until `stop` is set; what is under way then is done again by the next process."""
        await self.due.pass_until(stop, idle_seconds=IDLE_SECONDS)

    async def tick(self, *, budget_seconds: float) -> int:
        """One bounded pass; returns how many tries it has dealt with. Raises `StoreError`."""
        return await self.due.pass_within(budget_seconds)

    @property
    def due(self) -> Due[EndedTry]:
        """The tries that are ready: each gives its frame, or ends who waits for it."""
        return Due(self._claim, self._decide)

    async def _claim(self) -> Sequence[EndedTry]:
        now_ms = self._now_ms()
        if not await self._database.read(last_frames.any_ready, now_ms):
            return []
        return await self._database.transact(
            last_frames.claim_if_ready,
            limit=TRIES_AT_ONCE_MAX,
            now_ms=now_ms,
            claimed_until_ms=now_ms + int(CLAIM_SECONDS * 1000),
        )

    async def _decide(self, ended: EndedTry) -> None:
        try:
            if not ended.is_current or ended.broken is not None:
                await self._end(ended)
            else:
                await self._give(ended)
        except (ArchiveUnavailable, LookupError, OSError) as error:  # OSError: a full disk
            await self._look_again(ended, str(error))

    async def _give(self, ended: EndedTry) -> None:
        if not can_decode():
            raise LookupError("the extra video is not installed: pip install 'rushes[video]'")
        assert ended.video_key is not None, "the file is stored"
        try:
            async with self._cutting:
                frame = await last_frame_of(self._objects, ended.video_key)
        except (BadFile, NotFound) as error:
            reason = error.message if isinstance(error, BadFile) else "has no file in the archive any more"
            await self._end(ended, reason)
            return
        checked = await asyncio.to_thread(check_bytes, frame)
        upload = await self._uploads.keep(ended.account_id, ended.account, checked)
        given: Sequence[int] = await self._database.transact(
            give_last_frame, ended.task_id, upload.upload_id, now_ms=self._now_ms()
        )
        if given:
            self.outcomes["given"] += len(given)
            self._on_given()

    async def _end(self, ended: EndedTry, reason: str | None = None) -> None:
        count = await self._database.transact(end_without_frame, ended.task_id, reason, now_ms=self._now_ms())
        if count:
            self.outcomes["ended"] += count
            log.warning(
                telemetry.CHAIN_BROKEN,
                batch_id=ended.batch_public_id,
                item_index=ended.item_index,
                items_ended=count,
                reason=ended.broken or reason,
            )

    async def _look_again(self, ended: EndedTry, reason: str) -> None:
        self.outcomes["failed"] += 1
        wait_seconds = RETRY_SECONDS[min(ended.attempts, len(RETRY_SECONDS)) - 1]
        log.error(
            telemetry.LAST_FRAME_FAILED,
            batch_id=ended.batch_public_id,
            item_index=ended.item_index,
            reason=reason,
            retry_in_seconds=wait_seconds,
        )
        at_ms = self._now_ms() + int(wait_seconds * 1000)
        with contextlib.suppress(StoreError):
            await self._database.transact(last_frames.look_again, ended.task_id, at_ms=at_ms)
