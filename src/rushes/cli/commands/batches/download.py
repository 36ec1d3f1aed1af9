"""`rushes batch download`: a batch's videos as files of a folder."""

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

from cyclopts import Parameter
from cyclopts.validators import Number

from rushes.cli.exits import ExitCode
from rushes.cli.named import BatchId
from rushes.cli.options import Json, Whole
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.cli.session import Stop
    from rushes.domain.downloads import DownloadedFile, Manifest
    from rushes.library import Rushes

PARALLEL_MAX = 32
ERRORS_SHOWN_MAX = 10
PLAIN_LINE_SECONDS = 3.0
"""Without a terminal at most one line in this time is written."""


def download(
    batch_id: BatchId,
    /,
    *,
    out: Annotated[Path, Parameter(help="The folder; created if missing.")],
    name: Annotated[
        str,
        Parameter(
            help="Names, from {index}, {index:04d}, {custom_id}, {slug}, {model}, {item_id}; / makes folders."
        ),
    ] = "{index:04d}-{custom_id}-{slug}.mp4",
    parallel: Annotated[
        Whole, Parameter(validator=Number(gte=1, lte=PARALLEL_MAX), help="Files at the same time.")
    ] = 8,
    json: Json = False,
) -> int:
    """Copy a batch's videos out of the archive; run again, it resumes where it left off.

    Every file is checked against the hash that was recorded when it was stored. Nothing is overwritten.
    A manifest (BATCH_ID.manifest.json) lists each item with its file, or with the reason why there is
    none; then the exit code is 5.
    """
    from rushes.cli.session import opened, run_async, stop_on_signals
    from rushes.cli.show import print_json

    async def copy() -> int:
        async with opened() as rushes:
            named = await rushes.batch_id_like(batch_id)
            with stop_on_signals() as stop:
                manifest = await copy_videos(rushes, named, out, stop=stop, names=name, parallel=parallel)
        if manifest is None:
            return stop.exit_code
        if json:
            print_json(manifest)
        else:
            _print_manifest(manifest, out)
        return ExitCode.SOME_FAILED if manifest["failed"] else ExitCode.DONE

    return run_async(copy())


async def copy_videos(
    rushes: "Rushes",
    batch_id: str,
    out: Path,
    *,
    stop: "Stop",
    names: str | None = None,
    parallel: int = 8,
) -> "Manifest | None":
    """Copy the batch's videos into the folder and show how far it is; None when a signal came first."""
    import asyncio

    from rushes.concurrency import until_stopped
    from rushes.domain.downloads import DEFAULT_NAMES

    batch = await until_stopped(stop.event, rushes.batch(batch_id))
    if batch is None:
        return None
    with _display(batch["total_count"]) as display:
        copying = asyncio.create_task(
            rushes.download(
                batch_id,
                out,
                names=names or DEFAULT_NAMES,
                parallel=parallel,
                on_file=display.on_file,
                on_bytes=display.on_bytes,
            )
        )
        stopping = asyncio.create_task(stop.event.wait())
        await asyncio.wait({copying, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not copying.done():
            copying.cancel()
            await asyncio.wait({copying})
            return None
        return copying.result()


def _print_manifest(manifest: "Manifest", out: Path) -> None:
    from rushes.cli.show import print_line

    without = [line for line in manifest["files"] if line["file"] is None]
    for line in without[:ERRORS_SHOWN_MAX]:
        print_line(f"item {line['index']}: {line['error']}")
    if len(without) > ERRORS_SHOWN_MAX:
        print_line(f"… and {len(without) - ERRORS_SHOWN_MAX} more, see the manifest")
    print_line(
        f"{counted(manifest['downloaded'], 'video')} written to {out}, {manifest['present']} already there,"
        f" {counted(manifest['failed'], 'item')} without one"
    )


class _Display:
    """How far it is: a bar on a terminal, a line now and then elsewhere. On stderr."""

    def __init__(self, total: int) -> None:
        self._total, self._files, self._bytes = total, 0, 0
        self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def on_file(self, _line: "DownloadedFile") -> None:
        """One more item is done."""
        self._files += 1
        self._show()

    def on_bytes(self, count: int) -> None:
        """`count` more bytes came."""
        self._bytes += count
        self._show()

    def _show(self) -> None:
        from rushes.cli.show import say

        now = time.monotonic()
        if now - self._said_at >= PLAIN_LINE_SECONDS:
            self._said_at = now
            say(f"{self._files}/{counted(self._total, 'item')} · {self._bytes / 1e6:.1f} MB")


class _Bar(_Display):
    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(total)
        self._progress = Progress(
            TextColumn("videos"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            redirect_stdout=False,
        )
        self._began_at = time.monotonic()
        self._task = self._progress.add_task("videos", total=total, said="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def _show(self) -> None:
        seconds = max(time.monotonic() - self._began_at, 0.001)
        said = f"{self._bytes / 1e6:.1f} MB · {self._bytes / 1e6 / seconds:.1f} MB/s"
        self._progress.update(self._task, completed=self._files, said=said)


def _display(total: int) -> _Display:
    from rushes.cli.progress import is_live_terminal

    return _Bar(total) if is_live_terminal() else _Display(total)
