"""Uploads: files of customers, checked, stored once by their content, and kept while a task may need them."""

import asyncio
import hashlib
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rushes.concurrency import at_once
from rushes.domain.catalogue.fields import OptionFields
from rushes.domain.catalogue.media import SUFFIX_OF, KnownUploads, MediaFacts, uploads_in
from rushes.domain.errors import InputError, NotFound
from rushes.domain.input.given_files import GivenFile, given_files, with_uploads
from rushes.domain.input.prompts import TaskDraft, collect
from rushes.domain.input.uploads import (
    UPLOAD_BYTES_MAX,
    UPLOAD_KEEP_DAYS,
    Upload,
    bytes_of_data_uri,
    upload_id_of,
    upload_key,
)
from rushes.domain.notation import iso_time
from rushes.files.media_check import checked_media
from rushes.files.objects import ObjectStore
from rushes.files.video_check import BadFile
from rushes.store.database import Database
from rushes.store.inputs import uploads

DAY_MS: Final = 86_400_000
KEPT_AT_ONCE_MAX: Final = 4
"""Uploads of one batch that are stored at the same time."""

PRUNED_AT_ONCE_MAX: Final = 200
REMOVED_AT_ONCE_MAX: Final = 8
PATH_CHARACTERS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that is a picture, video or sound: its content here, and what it is."""

    content: Path | bytes = field(repr=False)
    sha256: str
    facts: MediaFacts
    given: GivenFile | None = None

    def read(self) -> bytes:
        """The very bytes that were checked. Raises `InputError` when a file on disk is another one by now."""
        if isinstance(self.content, bytes):
            return self.content
        try:
            data = self.content.read_bytes()
        except OSError:
            data = b""
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise self._error("the file was changed or removed meanwhile")
        return data

    def _error(self, message: str) -> InputError:
        if self.given is None:
            return InputError(message)
        return self.given.origin.error(message, self.given.place)


@dataclass(frozen=True, slots=True)
class GivenUploads:
    """Drafts with upload ids in the places of files, and the files, by these ids; nothing is stored yet."""

    drafts: list[TaskDraft]
    files: Mapping[str, CheckedFile]

    @property
    def facts_of(self) -> dict[str, MediaFacts]:
        """What each file is, by its upload's id."""
        return {upload_id: file.facts for upload_id, file in self.files.items()}


# --- reading files here ---------------------------------------------------------------------------------


def check_file(path: Path, *, bytes_max: int = UPLOAD_BYTES_MAX) -> CheckedFile:
    """What a file on disk is. For a thread. Raises `ValueError` with a one-line reason, and `OSError`."""
    facts = path.stat()
    if stat.S_ISDIR(facts.st_mode):
        raise ValueError("is a folder, not a file")
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("is not a regular file")
    if facts.st_size > bytes_max:
        raise ValueError(f"the file has {facts.st_size} bytes, more than {bytes_max}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        return CheckedFile(path, digest, checked_media(path))
    except BadFile as error:
        raise ValueError(error.message) from None


def check_bytes(data: bytes, *, bytes_max: int = UPLOAD_BYTES_MAX) -> CheckedFile:
    """What these bytes are; see `check_file`."""
    with tempfile.NamedTemporaryFile(prefix="rushes-upload-") as scratch:
        scratch.write(data)
        scratch.flush()
        checked = check_file(Path(scratch.name), bytes_max=bytes_max)
    return CheckedFile(data, checked.sha256, checked.facts)


def check_given_files(
    drafts: Sequence[TaskDraft],
    fields: OptionFields,
    *,
    account: str,
    folder: Path | None,
    bytes_max: int = UPLOAD_BYTES_MAX,
) -> GivenUploads:
    """Read and check the data URIs of drafts and, with a `folder`, the files whose paths they name.

    For a thread. Paths are relative to the folder, and lead nowhere else. Raises `InputError` for the
    first fault, with the others as `collect` has them.
    """
    found = given_files(drafts, fields, takes_paths=folder is not None)

    def check(given: GivenFile) -> CheckedFile:
        try:
            if given.text.startswith("data:"):
                checked = check_bytes(bytes_of_data_uri(given.text, bytes_max=bytes_max), bytes_max=bytes_max)
            else:
                assert folder is not None
                checked = check_file(local_file(given.text, folder), bytes_max=bytes_max)
        except ValueError as refused:
            raise given.origin.error(str(refused), given.place) from None
        except OSError as error:
            raise given.origin.error(f"cannot be read: {error.strerror}", given.place) from None
        return CheckedFile(checked.content, checked.sha256, checked.facts, given)

    checked = collect(found.values(), check)
    ids = [upload_id_of(account, file.sha256) for file in checked]
    drafts_with_ids = with_uploads(drafts, fields, dict(zip(found, ids, strict=True)))
    return GivenUploads(drafts_with_ids, dict(zip(ids, checked, strict=True)))


def local_file(text: str, folder: Path) -> Path:
    """The file that a path in a prompt file names. Raises `ValueError` for one that leads out of the folder.

    Whoever wrote the prompts must not choose which files of this machine go to a video service.
    """
    if len(text) > PATH_CHARACTERS_MAX or "\0" in text:
        raise ValueError("is not a path")
    if "://" in text:
        raise ValueError("must be an https URL, or a path relative to the prompt file")
    base = folder.resolve()
    try:
        path = (base / text).resolve()
    except (OSError, RuntimeError):
        raise ValueError("is not a path that can be followed") from None
    if not path.is_relative_to(base):
        raise ValueError("leads out of the folder of the prompt file; move the file there")
    if not path.exists():
        raise ValueError("there is no such file beside the prompt file")
    return path


def upload_view(upload: Upload) -> dict[str, Any]:
    """The upload as the API answers it, without `ok`."""
    facts = upload.facts
    return {
        "upload_id": upload.upload_id,
        "content_type": facts.content_type,
        "bytes": facts.bytes,
        "width": facts.width,
        "height": facts.height,
        "duration_seconds": facts.duration_seconds,
        "sha256": upload.sha256,
        "expires_at": iso_time(upload.expires_at_ms),
    }


# --- keeping them ---------------------------------------------------------------------------------------


class Uploads:
    """The uploads of all accounts. `new_nonce()` gives a text that is never given twice.

    `makes_links`: the operator has a public base URL, so that an upload can be handed on by its address.
    `no_last_frames` says why no last frame can be cut here, if so.
    """

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        *,
        now_ms: Callable[[], int],
        new_nonce: Callable[[], str],
        bytes_max: int = UPLOAD_BYTES_MAX,
        keep_days: float = UPLOAD_KEEP_DAYS,
        makes_links: bool = False,
        no_last_frames: str | None = None,
    ) -> None:
        self._database = database
        self._objects = objects
        self._now_ms = now_ms
        self._new_nonce = new_nonce
        self.keep_ms = int(keep_days * DAY_MS)
        self.bytes_max = bytes_max
        self.makes_links = makes_links
        self.no_last_frames = no_last_frames

    async def keep(self, account_id: int, account: str, file: CheckedFile) -> Upload:
        """Store the file for the account; the same content there already is only kept for longer.

        Raises `ArchiveUnavailable`, and `InputError` for a file that has changed since it was checked.
        """
        upload_id, now_ms = upload_id_of(account, file.sha256), self._now_ms()
        there = await self._database.read(uploads.live_uploads, account_id, [upload_id], now_ms=now_ms)
        key = upload_key(
            account=account,
            sha256=file.sha256,
            nonce=self._new_nonce(),
            suffix=SUFFIX_OF[file.facts.content_type],
        )
        if upload_id in there:
            key = there[upload_id].object_key
        else:
            data = await asyncio.to_thread(file.read)
            await self._objects.put_new(key, data, bytes_count=len(data), sha256=file.sha256)
        upload = Upload(upload_id, file.sha256, file.facts, key, now_ms, now_ms + self.keep_ms)
        kept = await self._database.transact(uploads.add_or_renew, account_id, upload)
        if kept.object_key != key:  # somebody else was first
            await self._objects.remove(key)
        return kept

    async def keep_all(self, account_id: int, account: str, files: Iterable[CheckedFile]) -> None:
        """Store several, a few at a time."""
        gate = asyncio.Semaphore(KEPT_AT_ONCE_MAX)

        async def keep(file: CheckedFile) -> None:
            async with gate:
                await self.keep(account_id, account, file)

        try:
            async with asyncio.TaskGroup() as group:
                for file in files:
                    group.create_task(keep(file))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def known(self, account_id: int | None, given: GivenUploads) -> KnownUploads:
        """What is known of the uploads that drafts name: the account's, and those that they bring along."""
        named = sorted({each for draft in given.drafts for each in uploads_in(draft.options)})
        facts = given.facts_of
        if account_id is not None and any(each not in facts for each in named):
            there = await self._database.read(uploads.live_uploads, account_id, named, now_ms=self._now_ms())
            facts = {upload_id: upload.facts for upload_id, upload in there.items()} | facts
        return KnownUploads(facts, self.makes_links, no_last_frames=self.no_last_frames)

    async def find(self, account_id: int, upload_id: str) -> Upload:
        """The account's upload; raises `NotFound`."""
        found = await self._database.read(
            uploads.live_uploads, account_id, [upload_id], now_ms=self._now_ms()
        )
        if upload_id not in found:
            raise NotFound("there is no such upload, or it has expired")
        return found[upload_id]

    async def kept(self, upload_id: str) -> Upload | None:
        """An upload that a task was accepted with; None when it is not kept any more."""
        return await self._database.read(uploads.kept_upload, upload_id)

    def chunks_of(self, upload: Upload) -> AsyncIterator[bytes]:
        """Its bytes as they come; raises `NotFound` and `ArchiveUnavailable`."""
        return self._objects.read(upload.object_key)

    async def bytes_of(self, upload: Upload) -> bytes:
        """Its bytes; raises `NotFound` and `ArchiveUnavailable`."""
        return b"".join([chunk async for chunk in self._objects.read(upload.object_key)])

    async def prune(self) -> int:
        """Remove what has expired and no open batch needs; returns how many. Raises `ArchiveUnavailable`."""
        count = 0
        while True:
            marked = await self._database.transact(
                uploads.mark_removed_if_expired, now_ms=self._now_ms(), limit=PRUNED_AT_ONCE_MAX
            )
            while removed := await self._database.read(uploads.removed_uploads, limit=PRUNED_AT_ONCE_MAX):
                await at_once(REMOVED_AT_ONCE_MAX, [key for _, key in removed], self._objects.remove)
                await self._database.transact(uploads.forget_bytes, removed)
            count += marked
            if marked < PRUNED_AT_ONCE_MAX:
                return count
