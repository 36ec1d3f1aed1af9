"""Putting a checked video and its pictures into the archive."""

import asyncio
import hashlib
from pathlib import Path
from typing import Final

from rushes.domain.archive import ArchiveState, object_key
from rushes.domain.errors import ArchiveUnavailable, NotFound
from rushes.files.gate.deciding import CheckedFile
from rushes.files.guard.client import NoAnswerFromUrl
from rushes.files.objects import ObjectStore
from rushes.store.archive import ClaimedFile, StoredFile

STORE_SECONDS_MAX: Final = 240.0
"""How long storing one file may take."""


async def put_in_archive(
    objects: ObjectStore,
    file: ClaimedFile,
    scratch: Path,
    checked: CheckedFile,
    *,
    bytes_count: int,
    sha256: str,
) -> StoredFile:
    """Store the video in `scratch`, its pictures first. Raises `ArchiveUnavailable` and `NameTaken`."""

    def key(suffix: str) -> str:
        return object_key(
            account=file.account,
            batch_public_id=file.batch_public_id,
            item_index=file.item_index,
            task_id=file.task_id,
            sha256=sha256,
            suffix=suffix,
        )

    thumbnail_key = poster_key = None
    try:
        async with asyncio.timeout(STORE_SECONDS_MAX):
            if checked.pictures is not None:
                thumbnail_key, poster_key = key("-thumbnail.jpg"), key("-poster.jpg")
                await _put_picture(objects, checked.pictures.thumbnail, thumbnail_key)
                await _put_picture(objects, checked.pictures.poster, poster_key)
            await objects.put_new(key(".mp4"), scratch, bytes_count=bytes_count, sha256=sha256)
    except TimeoutError:
        raise ArchiveUnavailable("the archive takes too long to store a file") from None
    return StoredFile(
        video_key=key(".mp4"),
        thumbnail_key=thumbnail_key,
        poster_key=poster_key,
        bytes=bytes_count,
        sha256=sha256,
        width=checked.facts.width,
        height=checked.facts.height,
        duration_ms=checked.facts.duration_ms,
        reason=checked.reason,
        look=None if checked.pictures is None else checked.pictures.look,
        manifest=checked.manifest,
    )


async def copied_file(objects: ObjectStore, file: ClaimedFile, into: Path) -> tuple[int, str] | None:
    """Write the file that this one is a copy of; its size and SHA-256. None where there is none to copy.

    Raises `NoAnswerFromUrl` while that one is still to be stored.
    """
    if file.source_state == ArchiveState.DUE:
        raise NoAnswerFromUrl("the file that it is a copy of is not stored yet")
    if file.source_key is None:
        return None
    digest, size = hashlib.sha256(), 0
    try:
        with into.open("wb") as sink:
            async for chunk in objects.read(file.source_key):
                digest.update(chunk)
                size += len(chunk)
                sink.write(chunk)
    except NotFound:
        return None
    return size, digest.hexdigest()


async def _put_picture(objects: ObjectStore, picture: bytes, key: str) -> None:
    digest = hashlib.sha256(picture).hexdigest()
    await objects.put_new(key, picture, bytes_count=len(picture), sha256=digest)
