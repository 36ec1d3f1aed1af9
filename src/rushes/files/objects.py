"""Where finished videos are kept: a folder or a bucket, through obstore. Names are written once.

obstore's errors carry a driver's debug text of many lines; what leaves here is one line of our own.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, from_url

from rushes.domain.errors import ArchiveUnavailable, NotFound, RushesError, SettingsError

REMOTE_SCHEMES: Final = ("s3", "s3a", "gs", "az", "adl", "abfs", "abfss")

ONE_PUT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Larger objects go up in parts; a store's "only if it is new" is for objects that go up in one."""

READ_CHUNK_BYTES: Final = 1024 * 1024

READERS_MAX: Final = 8
"""Threads that read files of a folder: a disk that hangs keeps nobody waiting but who reads from it."""

REMOTE_RETRIES_MAX: Final = 2
REMOTE_RETRY_SECONDS: Final = 10.0
"""A store that is away is retried by the archiver, who also says so; the client tries only a little."""

PROBE_KEY: Final = ".rushes-probe"


class NameTaken(RushesError):
    """Other content has the name already. Nothing is ever written over."""

    code = "ARCHIVE_NAME_TAKEN"


class ObjectStore:
    """Files by name. Every method raises `ArchiveUnavailable` when the place cannot be used now.

    `url` is `s3://bucket/prefix`, `gs://…`, `az://…`, `file:///folder` or a folder's path. Credentials and
    region come from the environment variables that these services have (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
    Nothing is made or reached before the first use.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.folder = local_folder(url)
        self._opened: Any = None

    def _store(self) -> Any:
        if self.folder is not None:
            # a folder that was taken away is not made again by a store that still knows it
            if self._opened is None or not self.folder.is_dir():
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._opened = LocalStore(self.folder)
        elif self._opened is None:
            self._opened = from_url(
                self.url,
                client_options={"timeout": "120s", "connect_timeout": "10s", "allow_http": _allows_http()},
                retry_config={
                    "max_retries": REMOTE_RETRIES_MAX,
                    "retry_timeout": timedelta(seconds=REMOTE_RETRY_SECONDS),
                },
            )
        return self._opened

    async def put_new(self, key: str, content: Path | bytes, *, bytes_count: int, sha256: str) -> None:
        """Store an object under a name that nobody has; the same content there already is as good.

        Raises `NameTaken` when other content has the name.
        """
        try:
            store = self._store()
            if bytes_count > ONE_PUT_BYTES_MAX:
                if await self._has(store, key, bytes_count, sha256):
                    return
                await obstore.put_async(store, key, content, use_multipart=True)
            else:
                try:
                    await obstore.put_async(store, key, content, mode="create", use_multipart=False)
                except AlreadyExistsError:
                    if not await self._has(store, key, bytes_count, sha256):
                        raise NameTaken(f"another file has the name {key} in the archive") from None
            if self.folder is not None:
                await asyncio.to_thread(_sync, self.folder / key)
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    async def _has(self, store: Any, key: str, bytes_count: int, sha256: str) -> bool:
        """Whether that very content is there; raises `NameTaken` when other content is."""
        try:
            meta = await obstore.head_async(store, key)
        except FileNotFoundError:
            return False
        if meta["size"] == bytes_count and await self.sha256_of(key) == sha256:
            return True
        raise NameTaken(f"another file has the name {key} in the archive")

    def read(self, key: str, *, first: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """The object's bytes from `first` up to and without `end`; raises `NotFound`."""
        if self.folder is not None:
            return _read_local(self.folder, key, first, end)
        return self._read_remote(key, first, end)

    async def _read_remote(self, key: str, first: int, end: int | None) -> AsyncGenerator[bytes]:
        try:
            options: Any = {} if end is None else {"range": (first, end)}
            if end is None and first:
                options = {"range": {"offset": first}}
            result = await obstore.get_async(self._store(), key, options=options)
            async for chunk in result.stream(min_chunk_size=READ_CHUNK_BYTES):
                yield bytes(chunk)
        except FileNotFoundError:
            raise NotFound(f"{key} is not in the archive") from None
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    async def size_of(self, key: str) -> int:
        """The object's size in bytes; raises `NotFound`."""
        try:
            return int((await obstore.head_async(self._store(), key))["size"])
        except FileNotFoundError:
            raise NotFound(f"{key} is not in the archive") from None
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    async def sha256_of(self, key: str) -> str:
        """The hash of what lies there, in hexadecimal digits; raises `NotFound`."""
        digest = hashlib.sha256()
        async for chunk in self.read(key):
            digest.update(chunk)
        return digest.hexdigest()

    async def remove(self, key: str) -> None:
        """Delete the object; one that is not there is as good as deleted."""
        try:
            await obstore.delete_async(self._store(), key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    async def check(self, probe: bytes) -> None:
        """Write, read and delete a small object: whether all that the archiver needs can be done."""
        key = f"{PROBE_KEY}-{hashlib.sha256(probe).hexdigest()[:16]}"
        await self.put_new(key, probe, bytes_count=len(probe), sha256=hashlib.sha256(probe).hexdigest())
        found = b"".join([chunk async for chunk in self.read(key)])
        await self.remove(key)
        if found != probe:
            raise ArchiveUnavailable("the archive gave back other bytes than it was given")


_READERS: Final = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="rushes-file")


class _OpenFile:
    """A file that threads read part by part. It is closed once none of them reads, though nobody may wait."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()  # by then its number may be another file's
        self._file = path.open("rb", buffering=0)

    def read(self, at: int, bytes_max: int) -> bytes:
        """The part that starts there, empty at the end."""
        with self._lock:
            return os.pread(self._file.fileno(), bytes_max, at)

    def close(self) -> None:
        """Close it; nothing is read after that."""
        with self._lock:
            self._file.close()


async def _read_local(folder: Path, key: str, at: int, end: int | None) -> AsyncGenerator[bytes]:
    """`ObjectStore.read` of a folder. (obstore reads files by 8 KB, which takes half as much time again.)"""
    if ".." in Path(key).parts or Path(key).is_absolute():
        raise NotFound(f"{key} is not in the archive")
    on_thread = partial(asyncio.get_running_loop().run_in_executor, _READERS)
    try:
        file = await on_thread(_OpenFile, folder / key)
        try:
            while end is None or at < end:
                bytes_max = READ_CHUNK_BYTES if end is None else min(READ_CHUNK_BYTES, end - at)
                part = await on_thread(file.read, at, bytes_max)
                if not part:
                    return
                yield part
                at += len(part)
        finally:
            await on_thread(file.close)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        if not await on_thread(folder.is_dir):
            raise _unavailable(error) from error
        raise NotFound(f"{key} is not in the archive") from None
    except OSError as error:
        raise _unavailable(error) from error


def local_folder(url: str) -> Path | None:
    """The folder of a path or a `file:` URL; None for a bucket. Raises `SettingsError` for neither."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        return Path(url).expanduser()
    if scheme == "file":
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise SettingsError("RUSHES_ARCHIVE_URL: a file: URL needs three slashes and a full path")
        return Path(unquote(parts.path))
    if scheme not in REMOTE_SCHEMES:
        raise SettingsError(
            "RUSHES_ARCHIVE_URL: must be a folder, or s3://bucket/…, gs://bucket/… or az://container/…"
        )
    return None


def _allows_http() -> bool:
    """Whether the operator lets the key and the files travel in clear, to a server of their own, say.

    The client would read the variable by itself, were it not for the other options.
    """
    names = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes") for name in names)


def _sync(path: Path) -> None:
    """To the disk itself, the file and its name: `stored` is also true after a power cut."""
    for place in (path, path.parent):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unavailable(error: Exception) -> ArchiveUnavailable:
    if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError):
        return ArchiveUnavailable("the archive refuses access; check the rights and credentials")
    text = " ".join(str(error).partition("\n")[0].split())
    if "No space left" in str(error) or "os error 28" in str(error):
        return ArchiveUnavailable("no space is left for the archive; free some")
    if "NoSuchBucket" in str(error):
        return ArchiveUnavailable("the archive's bucket does not exist")
    return ArchiveUnavailable(f"the archive cannot be used ({text[:200]})")
