"""A batch's videos copied out of the archive into a folder: a few at a time, resumable, never half there.

A file under its final name is whole and has the hash that was recorded when it was stored. Until then it is
`NAME.part`, from which the next run resumes. Nothing is overwritten.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rushes.domain.archive import VIDEO_DELETED, ArchiveState
from rushes.domain.downloads import DownloadedFile, further_name, line_without_file
from rushes.domain.errors import ArchiveUnavailable, InputError, RushesError
from rushes.files.fetch import fetch_file
from rushes.files.guard.client import GuardedHttp
from rushes.files.objects import ObjectStore
from rushes.files.video_check import BadFile, checked_mp4
from rushes.providers.base import ResultFiles
from rushes.video_folder import size_and_digest

TRIES_MAX: Final = 4
RETRY_SECONDS: Final = 0.5
"""Before the second try; twice as long before each further one."""

OnBytes = Callable[[int], None]


class ChangedInArchive(RushesError):
    """What lies in the archive is not what was stored."""

    code = "ARCHIVE_FILE_CHANGED"


class Downloader:
    """Copies files into `folder`, from the archive, or from their providers where there is none.

    `objects` is None without an archive; `files_of` then says by provider how its files are fetched.
    """

    def __init__(
        self,
        folder: Path,
        *,
        objects: ObjectStore | None,
        http: GuardedHttp,
        files_of: Mapping[str, ResultFiles],
        on_bytes: OnBytes = lambda _count: None,
    ) -> None:
        self._folder = folder
        self._objects = objects
        self._http = http
        self._files_of = files_of
        self._on_bytes = on_bytes
        self._tries_max = TRIES_MAX

    async def close(self) -> None:
        """Release the connections."""
        await self._http.close()

    async def download(
        self,
        item: Mapping[str, Any],
        archived: Mapping[str, Any] | None,
        name: str,
        beside: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[DownloadedFile, bool]:
        """The item's file under that name, and whether it was there before; what went wrong is in `error`.

        `item` has the fields of the API, its `provider` and whether it `is_deleted`, `archived` is its row of
        the archive, if any; the files `beside` it lie next to it, see `further_name`.
        Raises `InputError` when nothing can be written to the folder.
        """
        line = line_without_file(item)
        try:
            path = self._place_of(name)
            was_there, (size, digest) = await self._have(item, archived, path)
        except InputError:
            raise
        except RushesError as error:
            return {**line, "error": error.message}, False
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", source=str(self._folder)) from error
        found: DownloadedFile = {**line, "file": name, "bytes": size, "sha256": digest}
        if beside:
            found["further_files"] = [await self._further(item, row, path) for row in beside]
        return found, was_there

    async def _further(self, item: Mapping[str, Any], row: Mapping[str, Any], video: Path) -> dict[str, Any]:
        name = further_name(video.name, row["position"], row["kind"], row["content_type"])
        line: dict[str, Any] = {"kind": row["kind"], "file": None, "bytes": None, "sha256": None}
        as_item, archived = {**item, "video_url": row["url"]}, {**row, "video_key": row["object_key"]}
        try:
            _, (size, digest) = await self._have(as_item, archived, video.with_name(name), is_video=False)
        except InputError:
            raise
        except RushesError as error:
            return {**line, "error": error.message}
        file = str(video.with_name(name).relative_to(self._folder))
        return {**line, "file": file, "bytes": size, "sha256": digest, "error": None}

    def _place_of(self, name: str) -> Path:
        """The path, whose folder is made; a link in the folder leads no file out of it."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(self._folder.resolve()):
            raise InputError(f"{name} leads out of the folder, through a link", field="name")
        return path

    async def _have(
        self,
        item: Mapping[str, Any],
        archived: Mapping[str, Any] | None,
        path: Path,
        *,
        is_video: bool = True,
    ) -> tuple[bool, tuple[int, str]]:
        """Whether the file was there before, its size and hash; it is there afterwards."""
        if item["is_deleted"]:
            raise NoFile(VIDEO_DELETED)
        found = await asyncio.to_thread(size_and_digest, path)
        if archived is not None and archived["state"] == ArchiveState.STORED and self._objects is not None:
            if found is None:
                return False, await self._copied(self._objects, archived, path)
            if found != (archived["bytes"], archived["sha256"]):
                raise NoFile("another file has this name already; it is left as it is")
        if found is not None:
            return True, found
        if item["video_url"] is None:
            raise NoFile(item["error"] or f"the item is {item['status']}")
        if archived is None or (self._objects is None and archived["state"] == ArchiveState.DUE):
            return False, await self._fetched(item, path, is_video)
        raise NoFile(_why_not_stored(archived, self._objects))

    async def _copied(self, objects: ObjectStore, archived: Mapping[str, Any], path: Path) -> tuple[int, str]:
        """From the archive, resuming where an earlier try broke off."""
        part = path.with_name(f"{path.name}.part")
        is_anew, number = not part.exists(), 1
        while True:
            try:
                digest = await self._copied_part(objects, archived, part)
            except ArchiveUnavailable:
                if number >= self._tries_max:
                    self._tries_max = 1  # the next file finds out quickly whether that is over
                    raise
                await asyncio.sleep(RETRY_SECONDS * 2 ** (number - 1))
                number += 1
                continue
            self._tries_max = TRIES_MAX
            if digest == archived["sha256"]:
                part.replace(path)
                return archived["bytes"], archived["sha256"]
            part.unlink()
            if is_anew:
                raise ChangedInArchive("the file in the archive is not the one that was stored")
            is_anew = True  # the part that lay there was of something else

    async def _copied_part(self, objects: ObjectStore, archived: Mapping[str, Any], part: Path) -> str:
        """The rest of the file after what is there; returns the hash of all of it."""
        digest = hashlib.sha256()
        with part.open("a+b") as file:
            file.seek(0)
            while chunk := file.read(1024 * 1024):
                digest.update(chunk)
            if file.tell() < archived["bytes"]:
                async for chunk in objects.read(archived["video_key"], first=file.tell()):
                    file.write(chunk)
                    digest.update(chunk)
                    self._on_bytes(len(chunk))
        return digest.hexdigest()

    async def _fetched(self, item: Mapping[str, Any], path: Path, is_video: bool) -> tuple[int, str]:
        """From the provider, while its link lives: whole, or not at all."""
        part = path.with_name(f"{path.name}.part")
        way = self._files_of.get(item["provider"], ResultFiles())
        found = await fetch_file(self._http, item["video_url"], part, way=way)
        await asyncio.to_thread(checked_mp4 if is_video else not_empty, part)
        part.replace(path)
        self._on_bytes(found[0])
        return found


def not_empty(path: Path) -> None:
    """Raise `BadFile` for a file without a byte."""
    if not path.stat().st_size:
        raise BadFile("the file is empty")


class NoFile(RushesError):
    """There is no file of the item, and why."""

    code = "NO_FILE"


def _why_not_stored(archived: Mapping[str, Any], objects: ObjectStore | None) -> str:
    reason = archived["reason"] or "no try was made yet"
    match ArchiveState(archived["state"]):
        case ArchiveState.DUE:
            return f"the video is not stored yet ({reason}); a running worker does that"
        case ArchiveState.STORED if objects is None:
            return "the video is in an archive that RUSHES_ARCHIVE_URL does not name"
        case ArchiveState.REMOVED:
            return "the video was removed from the archive: its time of retention is over"
        case state:
            return f"the video is {state.value}: {reason}"
