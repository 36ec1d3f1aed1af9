"""How a batch goes: a live display on a terminal, plain lines elsewhere. Both on stderr."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

from rushes.cli.show import duration, one_line, say
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

PLAIN_LINE_SECONDS = 3.0
"""Without a terminal at most one line in this time is written, and only when something changed."""

REFRESHES_PER_SECOND = 8


class Progress(Protocol):
    """Hears of a batch a few times a second, inside a `with`."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_error: object) -> None: ...

    def update(self, batch: Mapping[str, Any], troubles: Mapping[str, str]) -> None:
        """The batch as the API shows it, with `files` by state and `verdicts`; and what is in trouble."""


def progress_display() -> Progress:
    """The display that stderr is fit for."""
    return LiveProgress() if is_live_terminal() else PlainProgress()


def is_live_terminal() -> bool:
    """Whether stderr can be redrawn in place."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Pace:
    """Finished tasks a second since the display started."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        self._finished_before: int | None = None
        self.per_second = 0.0

    def update(self, batch: Mapping[str, Any]) -> None:
        """Count what has finished since the last look."""
        finished = batch["succeeded_count"] + batch["failed_count"]
        if self._finished_before is None:
            self._finished_before = finished
        elapsed_seconds = self._clock() - self._started_at
        done = finished - self._finished_before
        self.per_second = done / elapsed_seconds if elapsed_seconds > 0 else 0.0


def counts_line(batch: Mapping[str, Any], pace: Pace) -> str:
    """`40/946 done · 12 pending · …`."""
    finished = batch["succeeded_count"] + batch["failed_count"]
    parts = [
        f"{finished}/{batch['total_count']} done",
        f"{batch['pending_count']} pending",
        f"{batch['processing_count']} processing",
        f"{batch['succeeded_count']} succeeded",
        f"{batch['failed_count']} failed",
        f"{pace.per_second * 60:.1f}/min",
    ]
    if finished < batch["total_count"]:
        parts.append(eta_text(batch["eta_seconds"], batch["eta_reason"]))
    return " · ".join(parts)


def eta_text(seconds: float | None, reason: str | None) -> str:
    """`ETA 4 min (82 rendering)`; without a time, the reason alone."""
    said = "ETA unknown" if seconds is None else f"ETA {duration(seconds)}"
    return said if reason is None else f"{said} ({reason})"


def credits_line(batch: Mapping[str, Any]) -> str:
    """`credits: 460 reserved · …`."""
    reserved, settled, refunded = (batch[f"credits_{word}"] for word in ("reserved", "settled", "refunded"))
    held = reserved - settled - refunded
    return f"credits: {reserved} reserved · {settled} settled · {refunded} refunded · {held} held"


def files_line(files: Mapping[str, int]) -> str:
    """`files: 12 stored · 3 due`; empty while there is none."""
    parts = [f"{count} {state}" for state, count in files.items() if count]
    return f"files: {' · '.join(parts)}" if parts else ""


def verdicts_line(verdicts: Mapping[str, int]) -> str:
    """`verdicts: 9 accepted · 2 rejected · 1 open`; empty without a gate."""
    parts = [f"{count} {verdict}" for verdict, count in verdicts.items() if count]
    return f"verdicts: {' · '.join(parts)}" if parts else ""


def chains_line(chains: Mapping[str, int]) -> str:
    """`chains: 2, of 12 items; 5 wait for the one before them`."""
    waiting = f"; {chains['waiting']} wait for the one before them" if chains["waiting"] else ""
    return f"chains: {chains['chains']}, of {counted(chains['items'], 'item')}{waiting}"


class PlainProgress:
    """A line when something changed, at most one in `PLAIN_LINE_SECONDS`; the last state always."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pace = Pace(clock)
        self._said: object = None
        self._said_at = float("-inf")
        self._latest: tuple[Mapping[str, Any], Mapping[str, str]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._say()

    def update(self, batch: Mapping[str, Any], troubles: Mapping[str, str]) -> None:
        """Show the batch as it now is, and what is wrong with its providers."""
        self._latest = batch, dict(troubles)
        self._pace.update(batch)
        if self._clock() - self._said_at >= PLAIN_LINE_SECONDS:
            self._say()

    def _say(self) -> None:
        if self._latest is None:
            return
        batch, troubles = self._latest
        state = (
            [batch[name] for name in batch if name.endswith("_count")],
            batch["files"],
            batch["verdicts"],
            troubles,
        )
        if state == self._said:
            return
        self._said, self._said_at = state, self._clock()
        lines = [counts_line(batch, self._pace), credits_line(batch), files_line(batch["files"])]
        lines.append(verdicts_line(batch["verdicts"]))
        say(" · ".join(line for line in lines if line))
        for name, reason in sorted(troubles.items()):
            say(f"{name}: {reason}")


class LiveProgress:
    """A bar, the counts, the credits and the troubles, redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._pace = Pace()
        self._live = Live(
            console=Console(stderr=True, highlight=False),
            refresh_per_second=REFRESHES_PER_SECOND,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone; the work is done all the same
            self._live.stop()

    def update(self, batch: Mapping[str, Any], troubles: Mapping[str, str]) -> None:
        """Show the batch as it now is, and what is wrong with its providers."""
        self._pace.update(batch)
        self._live.update(self._drawn(batch, troubles))

    def _drawn(self, batch: Mapping[str, Any], troubles: Mapping[str, str]) -> "RenderableType":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        finished = batch["succeeded_count"] + batch["failed_count"]
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(batch["batch_id"], style="bold"),
            Text(batch["status"], style="cyan"),
            ProgressBar(
                total=max(1, batch["total_count"]), completed=finished, width=30, complete_style="green"
            ),
            Text(f"{100 * finished // max(1, batch['total_count'])} %"),
        )
        said = [counts_line(batch, self._pace), credits_line(batch), files_line(batch["files"])]
        said.append(verdicts_line(batch["verdicts"]))
        lines: list[RenderableType] = [head, *(Text(line) for line in said if line)]
        lines += [
            Text(one_line(f"{name}: {reason}"), style="yellow") for name, reason in sorted(troubles.items())
        ]
        return Group(*lines)
