"""The states of a success's file, apart from its task: a lost file changes no verdict and no money."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


class ArchiveState(StrEnum):
    """Where the file of a success stands. All but `due` are final, but for retention."""

    DUE = "due"
    STORED = "stored"
    EXPIRED = "expired"
    REFUSED = "refused"
    REMOVED = "removed"


ARCHIVE_TRANSITIONS: Mapping[ArchiveState, frozenset[ArchiveState]] = MappingProxyType(
    {
        # downloaded, checked and stored · its link died first · it is no video, or lies where we do not go
        ArchiveState.DUE: frozenset({ArchiveState.STORED, ArchiveState.EXPIRED, ArchiveState.REFUSED}),
        # its time of retention is over, or the video was deleted
        ArchiveState.STORED: frozenset({ArchiveState.REMOVED}),
        ArchiveState.EXPIRED: frozenset(),
        ArchiveState.REFUSED: frozenset(),
        ArchiveState.REMOVED: frozenset(),
    }
)

VIDEO_DELETED: Final = "the video was deleted"
"""Why there is no file of a success, for whoever asks."""

ALERT_SECONDS = 1800.0
"""How long before its link dies a file that is still not stored is called out."""

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""Waits after failures; the last one repeats until the link dies. File hosts answer 500 for minutes."""

BAD_FILES_MAX = 6
"""How often a file may come and be no good before it is refused: a host's error page passes."""

LENGTH_TOLERANCE_SECONDS = 1.0
LENGTH_TOLERANCE_SHARE = 0.15
"""How far a video may be from the length that was asked for: the larger of the two."""

ASPECT_TOLERANCE_SHARE = 0.08
"""How far width by height may be from the aspect ratio that was asked for: encoders round to whole blocks."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What is known of a video file that was checked; `duration_ms` is None when the file does not say."""

    width: int
    height: int
    duration_ms: int | None


def disagreement(facts: VideoFacts, options: Mapping[str, Any]) -> str | None:
    """In what the video is not what the task's options asked for; None when it is.

    Looked at are `duration` (whole seconds) and `aspect_ratio` (`16:9`); what an option does not say, or says
    in another way, is not checked.
    """
    seconds = options.get("duration")
    if isinstance(seconds, int) and facts.duration_ms is not None:
        tolerance = max(LENGTH_TOLERANCE_SECONDS, seconds * LENGTH_TOLERANCE_SHARE)
        if abs(facts.duration_ms / 1000 - seconds) > tolerance:
            return f"the video is {facts.duration_ms / 1000:.1f} s long, {seconds} s were asked for"
    wide, colon, high = str(options.get("aspect_ratio", "")).partition(":")
    if colon and wide.isdecimal() and high.isdecimal() and int(wide) and int(high):
        asked = int(wide) / int(high)
        if abs(facts.width / facts.height / asked - 1) > ASPECT_TOLERANCE_SHARE:
            return f"the video is {facts.width}x{facts.height}, {wide}:{high} was asked for"
    return None


DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days stored files are kept, None being indefinitely; `by_account` goes before `days`."""

    days: float | None = None
    by_account: Mapping[str, float | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.days is not None or any(days is not None for days in self.by_account.values())

    def cut_off_ms(self, account: str, now_ms: int) -> int | None:
        """The account's files that were stored before then are to go; None when all are kept."""
        days = self.by_account.get(account, self.days)
        return None if days is None else now_ms - int(days * DAY_MS)


_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def object_key(
    *, account: str, batch_public_id: str, item_index: int, task_id: int, sha256: str, suffix: str
) -> str:
    """The name of a file in the archive: it cannot climb out of a folder, and no two files share one."""
    owner = _UNSAFE.sub("_", account)[:60] or "_"
    return f"{owner}/{batch_public_id}/{item_index:05d}-{task_id}-{sha256[:16]}{suffix}"


def retry_delay_seconds(tries: int, ladder: Sequence[float] = RETRY_SECONDS) -> float:
    """The wait after that many tries (1 or more)."""
    return ladder[min(tries, len(ladder)) - 1]
