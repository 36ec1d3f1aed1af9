"""Which attempts a worker has handed to their providers: a file that outlives its process.

When a process is killed, the database says of its last attempts only that they were claimed. Whoever takes
them over on the same machine finds in the file which of them were handed over; the others were never sent,
and go back. A missing or unreadable file says nothing, and then they stay unconfirmed.

The kernel keeps what was written when the process dies, and drops its lock then, not before. It does not
outlive the kernel: a file of another boot says nothing.
"""

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final, Protocol

from rushes import telemetry

KEPT_SECONDS: Final = 86_400.0
"""How long a dead worker's file is kept for those who take over its tasks."""

ENTRIES_MAX: Final = 200_000
"""Attempts in one file. Of more the newer half is kept: the outcomes of the older were stored long ago, as
nobody claims while outcomes cannot be stored."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_ENTRY: Final = struct.Struct("<qi")
_SUFFIX: Final = ".sent"
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC

log = telemetry.logger()


class SentRecord(Protocol):
    """What one worker has handed over."""

    def open(self) -> None:
        """Start; before the worker claims anything."""

    def leaves(self, task_id: int, attempt: int) -> bool:
        """Note the attempt, just before it is handed over; False when it must not be."""

    def close(self, *, is_needed: bool) -> None:
        """Note and hand over nothing more. It is needed unless all that was claimed has a stored outcome."""


class SentRecords(Protocol):
    """The records of all workers on this machine."""

    def of(self, worker_id: str) -> SentRecord:
        """The worker's own."""

    def never_sent(self, worker_id: str, claimed: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
        """Which `(task_id, attempt)` that a dead worker had claimed it certainly never handed over."""


class NoRecord:
    """Nothing is noted, and nothing is known."""

    def open(self) -> None:
        """Nothing to start."""

    def leaves(self, task_id: int, attempt: int) -> bool:
        """It may always be handed over."""
        return True

    def close(self, *, is_needed: bool) -> None:
        """Nothing to end."""


class NoRecords:
    """Every worker without a record."""

    def of(self, worker_id: str) -> SentRecord:
        """A record that notes nothing."""
        return NoRecord()

    def never_sent(self, worker_id: str, claimed: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
        """None: nothing is known."""
        return set()


class SentFile:
    """One worker's file, locked for as long as its process lives."""

    def __init__(self, path: Path, header: bytes) -> None:
        self._path, self._header = path, header
        self._file: int | None = None
        self._is_over = False
        self._entries = 0

    def open(self) -> None:
        """See `SentRecord`. A file that cannot be written is done without."""
        if self._file is not None or self._is_over:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, _FLAGS, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write(self._header)
        except OSError as error:
            log.warning(telemetry.SENT_RECORD_TROUBLE, error=error.strerror)
            self._give_up()

    def leaves(self, task_id: int, attempt: int) -> bool:
        """Write the attempt down; False once the record is over."""
        if self._is_over:
            return False
        if self._file is None:
            return True
        try:
            if self._entries >= ENTRIES_MAX:
                self._file = self._with_newer_half(self._file)
            self._write(_ENTRY.pack(task_id, attempt))
        except OSError as error:
            log.warning(telemetry.SENT_RECORD_TROUBLE, error=error.strerror or str(error))
            return self._give_up()
        self._entries += 1
        return True

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        _write_whole(self._file, data)

    def _with_newer_half(self, old: int) -> int:
        """A file in the place of the old one, whole from the moment when it is there."""
        kept = ENTRIES_MAX // 2
        newer = os.pread(old, kept * _ENTRY.size, os.fstat(old).st_size - kept * _ENTRY.size)
        path = self._path.with_suffix(".new")
        new = os.open(path, _FLAGS, 0o600)
        try:
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_whole(new, self._header + newer)
            os.replace(path, self._path)
            os.ftruncate(old, 0)  # who has opened it meanwhile reads nothing
        except OSError:
            os.close(new)
            raise
        os.close(old)
        self._entries = kept
        return new

    def _give_up(self) -> bool:
        """From now on the file says nothing. False while it would say that nothing was sent."""
        if self._file is None:
            return True
        try:
            os.ftruncate(self._file, 0)
        except OSError:
            return False
        os.close(self._file)
        self._file = None
        return True

    def close(self, *, is_needed: bool) -> None:
        """Hand over nothing more; remove the file when it is not needed."""
        self._is_over = True
        if self._file is None:
            return
        if not is_needed:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._file)
        self._file = None


def _write_whole(file: int, data: bytes) -> None:
    if os.write(file, data) != len(data):
        raise OSError("the disk is full")


class SentFiles:
    """A folder of them. `boot_id` names the run of this machine's kernel."""

    def __init__(self, folder: Path, *, boot_id: str) -> None:
        self._folder, self._boot_id = folder, boot_id

    def of(self, worker_id: str) -> SentRecord:
        """The worker's file, not opened yet."""
        return SentFile(self._path(worker_id), self._header(worker_id))

    def never_sent(self, worker_id: str, claimed: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
        """See `SentRecords`. Nothing is known while its process lives."""
        try:
            with self._path(worker_id).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                data = file.read()
        except OSError:
            return set()
        header = self._header(worker_id)
        entries = data.removeprefix(header)
        if not data.startswith(header) or len(entries) % _ENTRY.size:
            return set()
        return set(claimed).difference(_ENTRY.iter_unpack(entries))

    def tidy(self) -> None:
        """Remove the files of workers that have been dead for long."""
        with contextlib.suppress(OSError):
            for path in self._folder.glob(f"*{_SUFFIX}"):
                if time.time() - path.stat().st_mtime < KEPT_SECONDS:
                    continue
                with path.open("rb") as file, contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    path.unlink()

    def _path(self, worker_id: str) -> Path:
        return self._folder / f"{worker_id}{_SUFFIX}"

    def _header(self, worker_id: str) -> bytes:
        return f"rushes sent 1 {self._boot_id} {worker_id}\n".encode()


def sent_records(folder: Path) -> SentRecords:
    """Files in this folder; none where the kernel has no name for its run."""
    try:
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return NoRecords()
    files = SentFiles(folder, boot_id=boot_id)
    files.tidy()
    return files
