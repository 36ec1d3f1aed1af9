"""A success's verdict: whether the clip can be used, apart from its task's status and from its money."""

from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """Whether a clip is good enough. `undecided` says that nobody could tell."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNDECIDED = "undecided"


class Reason(StrEnum):
    """What the gate finds; the last two are reasons for `undecided`."""

    BLACK = "black"
    FROZEN = "frozen"
    SILENT = "silent"
    CLIPPED = "clipped"
    LENGTH = "length"
    RATIO = "ratio"
    RESOLUTION = "resolution"
    FRAME_RATE = "frame_rate"
    BROKEN = "broken"
    NO_FILE = "no_file"
    NOT_MEASURED = "not_measured"


GATE_REASONS: Final = frozenset(Reason) - {Reason.NO_FILE, Reason.NOT_MEASURED}
"""For these the gate rejects."""
