"""How much of a clip is black, and how long its picture stands still, from small grey samples of it.

A sample is a frame averaged down to a small grid, so that noise of encoders fades and a slow
pan still moves. A run of unchanged samples is compared with its first one: slow movement adds up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from operator import sub
from typing import Final

GRID_WIDTH: Final = 96
GRID_HEIGHT: Final = 54

BLACK_LUMA_MAX: Final = 26
"""The brightest luma of black, where 16 is none and 235 white."""

BLACK_POINTS_BRIGHTER_MAX: Final = 12
"""Points of the grid that may be brighter in a black frame."""

MOVED_POINTS: Final = 24
MOVED_LEVELS_MIN: Final = 5.0
"""The picture has changed when these many points, the most changed ones, have changed by that on average."""

STEP_SECONDS: Final = 0.2
"""How far apart samples are at least."""

SAMPLES_MAX: Final = 150


def step_seconds(length_seconds: float) -> float:
    """How far apart the samples of a clip of that length are."""
    return max(STEP_SECONDS, length_seconds / SAMPLES_MAX)


@dataclass(slots=True)
class Pictures:
    """Takes a clip's samples in their order."""

    times: list[float] = field(default_factory=list)
    is_black: list[bool] = field(default_factory=list)
    _anchor: bytes | None = None
    _anchor_at: float = 0.0
    _longest_seconds: float = 0.0

    def add(self, luma: bytes, colour: bytes, seconds: float) -> None:
        """The grids of a frame that is shown at that time."""
        brighter = len(luma) - sum(map(luma.count, range(BLACK_LUMA_MAX + 1)))
        black = brighter <= BLACK_POINTS_BRIGHTER_MAX
        self.times.append(seconds)
        self.is_black.append(black)
        if black:  # its own fault, not that of standing still
            self._anchor = None
        elif self._anchor is None or is_moved(self._anchor, luma + colour):
            self._anchor, self._anchor_at = luma + colour, seconds
        else:
            self._longest_seconds = max(self._longest_seconds, seconds - self._anchor_at)

    def shares(self, length_seconds: float) -> tuple[float | None, float | None]:
        """The black share of the clip, and that of its longest standstill; None of too few samples."""
        if not self.times:
            return None, None
        black_share = sum(self.is_black) / len(self.is_black)
        if len(self.times) < 3 or length_seconds <= 0:
            return black_share, None
        # the last sample's frames last until the next one would have come
        spacing = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
        still_seconds = self._longest_seconds + spacing if self._longest_seconds else 0.0
        return black_share, min(1.0, still_seconds / length_seconds)


def is_moved(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether the second grid shows something else than the first one."""
    most = nlargest(MOVED_POINTS, map(abs, map(sub, before, after)))
    return bool(sum(most) >= MOVED_LEVELS_MIN * len(most))
