"""Files through `Rushes`: a folder of a batch's videos, the archive, and how long things are kept."""

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from rushes.database_wiring import wall_clock_ms
from rushes.domain.archive import Retention
from rushes.domain.downloads import DEFAULT_NAMES, DownloadedFile, Manifest, file_names
from rushes.domain.errors import (
    ArchiveUnavailable,
    InputError,
    NotFound,
    SettingsError,
)
from rushes.files import archive_upkeep
from rushes.files.chains.choosing import chosen_chain
from rushes.files.chains.joining import Clip, join
from rushes.files.chains.last_frame import copied
from rushes.files.objects import ObjectStore, local_folder
from rushes.library.opened import Opened
from rushes.read import views
from rushes.run import retention
from rushes.store import archive, batches, ledger
from rushes.store.inputs import chains, request_files, uploads
from rushes.store.outputs import further
from rushes.store.retention import erasure
from rushes.store.tasks import items
from rushes.video_folder import check_parallel, fill_folder, folder_at
from rushes.wiring import build_downloader, signing_key_of


class WithFiles(Opened):
    """Downloads, the archive, and what is removed for its age."""

    async def download(
        self,
        batch_id: str,
        folder: str | Path,
        *,
        names: str = DEFAULT_NAMES,
        parallel: int = 8,
        on_file: Callable[[DownloadedFile], None] = lambda _line: None,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> Manifest:
        """Copy the batch's videos into a folder, `parallel` at a time; see `domain.downloads.file_names`.

        Complete files are kept, partial ones resumed. Items without a file are in the manifest with
        the reason, and stop nothing; the manifest is written to `BATCH_ID.manifest.json`. `on_file` hears
        of each item, `on_bytes` of how many bytes came. Raises `InputError` for names that escape or
        collide, before anything is written, and when the folder cannot be written to.
        """
        check_parallel(parallel)

        def read(
            connection: Connection,
        ) -> tuple[list[dict[str, Any]], dict[int, Mapping[str, Any]], dict[int, list[Mapping[str, Any]]]]:
            rows = batches.list_items(connection, batches.batch_row_id(connection, batch_id))
            ids = [row["id"] for row in rows]
            return rows, archive.files_of(connection, ids), further.of_tasks(connection, ids)

        rows, archived, beside = await self.database.read(read)
        items = [row | views.item_view(row, batch_public_id=batch_id) for row in rows]
        named = list(zip(items, file_names(names, items), strict=True))
        target = folder_at(folder)
        downloader = build_downloader(self.settings, target, on_bytes=on_bytes)

        async def fetch(item: dict[str, Any], name: str) -> tuple[DownloadedFile, bool]:
            own_id = item["id"]
            return await downloader.download(item, archived.get(own_id), name, beside.get(own_id, ()))

        try:
            return await fill_folder(
                batch_id,
                named,
                fetch,
                parallel=parallel,
                on_file=on_file,
                manifest_at=target / f"{batch_id}.manifest.json",
            )
        finally:
            await downloader.close()

    async def join_chain(self, batch_id: str, out: str | Path, *, chain: str | None = None) -> dict[str, Any]:
        """Make one MP4 file of a chain's stored clips, of the chain that ends with the item `chain` if there
        are several: `batch_id, out, items, is_copied, reason, bytes`.

        Streams are copied where all clips fit each other; `reason` says why they were encoded anew. Raises
        `InputError`, also for a file that is there, `BadFile`, and `SettingsError` without the extra `video`.
        """
        target = Path(out)
        if await asyncio.to_thread(target.exists):
            raise InputError(f"{target} is there already; name another file")
        rows = await self.database.read(chains.items_of_batch, batch_id)
        if not rows:
            raise NotFound("there is no such batch")
        chosen = chosen_chain(rows, chain)
        objects = self.objects()
        with tempfile.TemporaryDirectory(prefix="rushes-join-", dir=folder_at(target.parent)) as folder:
            clips: list[Clip] = []
            for item in chosen:
                path = Path(folder) / f"{item.index}.mp4"
                if await copied(objects, str(item.video_key), path) != item.sha256:
                    raise ArchiveUnavailable(f"the stored clip of {item.custom_id} is not what was stored")
                clips.append(Clip(str(item.custom_id), path))
            joined = Path(folder) / "joined.mp4"
            reason = await asyncio.to_thread(join, clips, joined)
            bytes_count = await asyncio.to_thread(_moved, joined, target)
        return {
            "batch_id": batch_id,
            "out": str(target),
            "items": [item.custom_id for item in chosen],
            "is_copied": reason is None,
            "reason": reason,
            "bytes": bytes_count,
        }

    async def pictures(self, batch_id: str) -> AsyncIterator[tuple[int, bytes | None, Path | None]]:
        """Of each stored video of a batch its item's index, its thumbnail if it has one, and its file if the
        archive is a folder here.
        """

        def read(connection: Connection) -> list[tuple[int, Mapping[str, Any]]]:
            rows = batches.list_items(connection, batches.batch_row_id(connection, batch_id))
            found = archive.files_of(connection, [row["id"] for row in rows])
            return [(row["item_index"], found[row["id"]]) for row in rows if row["id"] in found]

        place = self.settings.archive_place
        if place is None:
            return
        objects, folder = self.objects(), local_folder(place)
        for index, stored in await self.database.read(read):
            if stored["video_key"] is None:
                continue
            thumbnail: bytes | None = None
            if stored["thumbnail_key"] is not None:
                with contextlib.suppress(NotFound):
                    thumbnail = b"".join([part async for part in objects.read(stored["thumbnail_key"])])
            yield index, thumbnail, None if folder is None else folder / stored["video_key"]

    def objects(self) -> ObjectStore:
        """The archive's place; raises `SettingsError` where none is kept."""
        if self.settings.archive_place is None:
            raise SettingsError(
                "RUSHES_ARCHIVE_URL is none: no videos are kept here", variable="RUSHES_ARCHIVE_URL"
            )
        return ObjectStore(self.settings.archive_place)

    async def check_archive(self) -> None:
        """Write, read and delete a small object there; nothing where no videos are kept.

        Raises `ArchiveUnavailable`, saying what is in the way.
        """
        if self.settings.archive_place is not None:
            try:
                await self.objects().check(secrets.token_bytes(16))
            except ArchiveUnavailable as error:
                error.message += "; see RUSHES_ARCHIVE_URL (none keeps no videos)"
                raise

    async def archive_status(self) -> dict[str, Any]:
        """The archive in numbers: files by state, bytes, files at risk, and why files are not stored."""
        found = await self.database.read(archive_upkeep.status, now_ms=wall_clock_ms())
        return {"place": self.settings.archive_place, **found}

    async def verify_archive(
        self,
        *,
        account: str | None = None,
        on_file: Callable[[int, int], None] = lambda _files, _bytes: None,
    ) -> archive_upkeep.Verification:
        """Hash every stored video again; `on_file(files, bytes)` hears how far it is."""
        return await archive_upkeep.verify(self.database, self.objects(), account=account, on_file=on_file)

    async def prune_archive(
        self, *, days: float | None = None, account: str | None = None, dry_run: bool = False
    ) -> archive_upkeep.Pruned:
        """Remove stored files older than `days`, or than the settings say; of one account or all."""
        retention = self.settings.archive_retention if days is None else Retention(days)
        if not retention:
            raise SettingsError(
                "nothing says how long videos are kept: name an age, or set RUSHES_ARCHIVE_KEEP_DAYS"
            )
        if account is not None:
            await self.database.read(ledger.account_id, account)
        now_ms = wall_clock_ms()

        def cut_off_ms(name: str) -> int | None:
            return retention.cut_off_ms(name, now_ms) if account in (None, name) else None

        if not dry_run:
            facts = {"days": days, "account": account}
            await self.database.transact(self.acted, "archive.prune", "videos", after=facts)
        return await archive_upkeep.prune(self.database, self.objects(), cut_off_ms, dry_run=dry_run)

    async def erase(
        self, *, batch: str | None = None, item: str | None = None, account: str | None = None
    ) -> tuple[int, int]:
        """Erase prompts, inputs, metadata and videos of a batch, an item (`BATCH-INDEX`) or an account.

        Returns how many tasks were erased, and how many are not finished and keep theirs. Raises `NotFound`,
        and `InputError` unless exactly one is named.
        """
        if [batch, item, account].count(None) != 2:
            raise InputError("name exactly one: a batch, an item or an account")
        scope = await self.database.read(self._erased_scope, batch, item, account)
        named = f"batch {batch}" if batch else f"item {item}" if item else f"account {account}"
        await self.database.transact(self.acted, "erase", named)
        erased = 0
        await self.database.transact(self._expire_uploads, scope, wall_clock_ms())  # tasks name them still
        if scope.item_index is None:
            await self.database.transact(request_files.remove_of_account, scope.account_id, scope.batch_id)
        while count := await self.database.transact(erasure.erase_some, scope, now_ms=wall_clock_ms()):
            erased += count
        if self.settings.archive_place is not None:
            await archive_upkeep.prune(self.database, self.objects(), lambda _account: None)
        await self.uploads.prune()
        return erased, await self.database.read(erasure.open_count, scope)

    @staticmethod
    def _expire_uploads(connection: Connection, scope: erasure.Scope, now_ms: int) -> None:
        """What only the erased tasks used goes with them, or when the last of their batches ends."""
        its = None
        if scope.batch_id is not None and scope.item_index is not None:
            its = uploads.uploads_of_item(connection, scope.batch_id, scope.item_index)
            if not its:
                return
        uploads.expire_uploads(connection, scope.account_id, scope.batch_id, its, now_ms=now_ms)

    @staticmethod
    def _erased_scope(
        connection: Connection, batch: str | None, item: str | None, account: str | None
    ) -> erasure.Scope:
        if account is not None:
            return erasure.Scope(ledger.account_id(connection, account))
        name, index = batch, None
        if item is not None:
            name, _, number = item.rpartition("-")
            if not number.isascii() or not number.isdecimal() or len(number) > 9:
                raise InputError(f'must be an item\'s id such as bat_…-3, not "{item[:100]}"', field="item")
            index = int(number)
        batch_id = batches.batch_row_id(connection, name or "")
        if index is not None and items.current_row(connection, batch_id, index) is None:
            raise NotFound(f"the batch has no item {index}")
        return erasure.Scope(batches.account_of(connection, batch_id), batch_id, index)

    async def prune(
        self,
        *,
        days: float | None = None,
        account: str | None = None,
        with_videos: bool = False,
        dry_run: bool = False,
        on_step: Callable[[retention.Pruned], None] = lambda _so_far: None,
    ) -> retention.Pruned:
        """Fold batches finished at least `days` ago (RUSHES_KEEP_DAYS by default) into signed summaries.

        Batches whose videos are in the archive stay, unless those go first, `with_videos`. Raises
        `BatchUnsound` at books that are wrong; what was folded before stays folded.
        """
        days = self.settings.keep_days if days is None else days
        if days is None:
            raise SettingsError(
                "nothing says how long batches are kept: name an age, or set RUSHES_KEEP_DAYS"
            )
        if account is not None:
            await self.database.read(ledger.account_id, account)
        before_ms = wall_clock_ms() - int(days * retention.DAY_MS)
        if dry_run:
            return await retention.would_prune(self.database, before_ms=before_ms, account=account)
        if with_videos:
            await self.prune_archive(days=days, account=account)
        facts = {"days": days, "account": account, "with_videos": with_videos}
        await self.database.transact(self.acted, "prune", "batches", after=facts)
        key = await asyncio.to_thread(signing_key_of, self.settings)
        return await retention.prune(
            self.database, key, before_ms=before_ms, now_ms=wall_clock_ms, account=account, on_step=on_step
        )


def _moved(made: Path, target: Path) -> int:
    """Move a file that is whole to its place; returns its size."""
    made.rename(target)
    return target.stat().st_size
