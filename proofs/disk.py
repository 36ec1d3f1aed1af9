"""`disk-full`: SQLite on a disk that is full again and again, also when a worker is killed meanwhile."""

import argparse
import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from proofs.processes import Process, wait_until
from proofs.result import ProofResult
from proofs.stage import START_SECONDS_MAX, Pace, Stage, stage

TASKS = 946
DISK_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 64 * 1024

TROUBLE_SECONDS_MAX = 30.0
"""How long a full disk may go unnoticed: SQLite first uses up what its files already have."""

FULL_SECONDS_MAX = 4.0
"""How long a disk stays full after it was noticed; often past the lease."""

KILL_SHARE = 0.3
"""Share of times that the worker is killed while the disk is full, and one started into it."""

NO_SPACE = "no space is left"


class SmallDisk(Protocol):
    """A disk that can be filled and emptied."""

    def fill(self, worker: Process) -> None:
        """Leave no space to the worker."""

    def free(self, worker: Process) -> None:
        """Give it back."""


class SmallFileSystem:
    """A file system of its own in memory, filled by a ballast file."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self, worker: Process) -> None:
        """Write the ballast until the disk takes no more."""
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            size = CHUNK_BYTES
            while size:
                try:
                    ballast.write(b"\0" * size)
                except OSError:
                    size //= 2

    def free(self, worker: Process) -> None:
        """Remove the ballast."""
        self._ballast.unlink()


class SmallFiles:
    """Without the right to mount: the worker's files may not grow beyond what they are (RLIMIT_FSIZE)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fill(self, worker: Process) -> None:
        """Limit the size of the worker's files to that of its largest."""
        import resource

        size = max(path.stat().st_size for path in self._folder.glob("proof.db*"))
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def free(self, worker: Process) -> None:
        """Lift the limit."""
        import resource

        if worker.running:
            resource.prlimit(
                worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )


def add_options(parser: argparse.ArgumentParser) -> None:
    """How often."""
    parser.add_argument("--fills", type=int, default=12, help="default: %(default)s")
    parser.add_argument(
        "--rlimit",
        action="store_true",
        help="limit file sizes, even where a file system can be mounted",
    )


def run(options: argparse.Namespace) -> ProofResult:
    """Fill and free until done, let the worker finish, compare."""
    with (
        small_disk(mounted=not options.rlimit) as (folder, disk),
        stage(
            "disk-full",
            options,
            database_url=f"sqlite:///{folder / 'proof.db'}",
            pace=Pace(in_flight_max=60),
        ) as on,
    ):
        _fill_and_free(on, disk, options.fills)
        on.finish_with_a_last_worker()
        on.compare(lossless=False)
        kind = "file system" if isinstance(disk, SmallFileSystem) else "limit on file sizes"
        on.result.headline = f"{options.fills} times full ({kind}), {on.peek.finished()} tasks"
        return on.result


def _fill_and_free(on: Stage, disk: SmallDisk, fills: int) -> None:
    kills = refused = 0
    full_seconds = 0.0
    for _ in range(fills):
        on.feed()
        worker = _started(on)  # the one before ended in order, so the write-ahead log is new and small
        before = time.monotonic()
        disk.fill(worker)
        try:
            _wait_for_trouble(worker)
            time.sleep(on.random.uniform(0.0, FULL_SECONDS_MAX))
            if on.random.random() < KILL_SHARE and worker.kill():
                kills += 1
                worker = on.site.start("worker")
                time.sleep(on.random.uniform(0.5, FULL_SECONDS_MAX))
        finally:
            disk.free(worker)
        full_seconds += time.monotonic() - before
        _wait_for_progress(on, worker)  # or for its end: it may have been starting while the disk was full
        if not worker.running and NO_SPACE in worker.said():
            worker.codes_expected = frozenset({1})  # started into a full disk: one clear line, exit code 1
            refused += 1
        else:
            worker.stop()
    on.result.fact("times full", fills)
    on.result.fact("seconds full, in all", full_seconds)
    on.result.fact("kills while full", kills)
    on.result.fact("workers that refused to start on a full disk", refused)


def _started(on: Stage) -> Process:
    worker = on.site.start("worker")
    wait_until(
        lambda: on.peek.owned(worker.pid) > 0 or not worker.running,
        "a worker with tasks in flight",
        seconds_max=START_SECONDS_MAX,
    )
    return worker


def _wait_for_trouble(worker: Process) -> None:
    wait_until(
        lambda: "database.trouble" in worker.said() or not worker.running,
        "the worker to notice that the disk is full",
        seconds_max=TROUBLE_SECONDS_MAX,
    )


def _wait_for_progress(on: Stage, worker: Process) -> None:
    before = on.peek.finished()
    wait_until(
        lambda: on.peek.finished() > before or on.peek.open_tasks() == 0 or not worker.running,
        "progress after the disk was freed",
        seconds_max=START_SECONDS_MAX,
    )


@contextlib.contextmanager
def small_disk(*, mounted: bool) -> Iterator[tuple[Path, SmallDisk]]:
    """A folder on a small disk: a file system of its own where this process may mount one, else limits."""
    with tempfile.TemporaryDirectory(prefix="rushes-proof-disk-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if not (mounted and os.geteuid() == 0 and _mount(folder)):
            yield folder, SmallFiles(folder)
            return
        try:
            yield folder, SmallFileSystem(folder)
        finally:
            subprocess.run(["umount", "--lazy", name], check=False)


def _mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
