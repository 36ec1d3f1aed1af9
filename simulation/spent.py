"""What the processor time of a campaign goes into, by samples.

The innermost code that can be told counts: a statement that the engine runs is the database's time, asyncio's
own code is that of whoever called it. Sampling changes nothing in a run, which knows virtual time alone.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType

SAMPLE_SECONDS = 0.01
"""Processor seconds between two samples."""

PARTS = {
    "/simulation/truth/lean.py": "database",
    "/simulation/truth/journal.py": "database",
    "/simulation/truth/": "checks",
    "/simulation/": "world",
    "/src/rushes/money/audit/": "checks",
    "/src/rushes/simulator/": "world",
    "/src/rushes/store/": "database",
    "/sqlalchemy/": "database",
    "/src/rushes/": "engine",
}
"""Whose code a file is, by what its path contains; the first that fits counts."""


@cache
def part_of(path: str) -> str | None:
    """The part that the file belongs to; None for files of Python itself."""
    return next((part for piece, part in PARTS.items() if piece in path), None)


@contextmanager
def sampled() -> Iterator[Counter[str]]:
    """Samples by part, of what runs within; for the main thread alone."""
    samples: Counter[str] = Counter()

    def look(_signal: int, frame: FrameType | None) -> None:
        while frame is not None:
            part = part_of(frame.f_code.co_filename)
            if part is not None:
                samples[part] += 1
                return
            frame = frame.f_back

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    try:
        yield samples
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def shares_line(samples: Counter[str]) -> str:
    """The parts' shares in percent, the largest first."""
    total = max(1, samples.total())
    shares = ", ".join(f"{part} {100 * count / total:.0f} %" for part, count in samples.most_common())
    return f"processor time by {total} samples: {shares}"
