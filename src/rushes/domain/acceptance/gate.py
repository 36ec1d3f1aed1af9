"""The technical gate: what was measured of a clip, against what its item asked for and a batch's thresholds.

Length, ratio, resolution and frame rate are judged only against what the item itself names or the thresholds
set, never against a model's default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from rushes.domain.acceptance.verdicts import GATE_REASONS, Reason, Verdict
from rushes.domain.archive import (
    ASPECT_TOLERANCE_SHARE,
    LENGTH_TOLERANCE_SECONDS,
    LENGTH_TOLERANCE_SHARE,
)
from rushes.domain.catalogue.options import nearest, quoted
from rushes.domain.errors import InputError

RESOLUTION_TOLERANCE_SHARE: Final = 0.05
"""How far below the lines that were asked for a picture may be: encoders round to whole blocks."""

FRAME_RATE_TOLERANCE_SHARE: Final = 0.02
"""How far below the frames per second: 23.976 counts as 24."""

SOUND_OPTIONS: Final = ("sound", "audio", "generate_audio", "with_audio")
"""Options by which an item asks for sound, when they are true."""

RESOLUTION_LINES: Final[Mapping[str, int]] = {
    name: int(name.removesuffix("p")) for name in ("360p", "480p", "540p", "720p", "768p", "1080p", "1440p")
} | {"4k": 2160}

PPM: Final = 1_000_000
"""Scores are compared as whole parts per million."""

SECONDS_MAX: Final = 3600
LINES_MAX: Final = 16_384
FRAMES_PER_SECOND_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Measures:
    """What was seen of a clip. Shares are parts of its length, from 0 to 1; None is what nobody can say.

    `broken` says why the clip does not play to its end. `clipped_share` is the part of the samples of sound
    that lie at full scale; it and `silent_share` are None without a track of sound.
    """

    width: int
    height: int
    seconds: float | None
    frames_per_second: float | None
    black_share: float | None
    frozen_share: float | None
    has_sound: bool
    silent_share: float | None
    clipped_share: float | None
    broken: str | None

    def as_dict(self) -> dict[str, Any]:
        """All fields, shares and times to three digits."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a batch says of an acceptable clip. None leaves to the item what only some items ask for.

    `judge` says whether the operator's judge is asked after the gate, None being: if there is one. A judge
    who gives a score below `score_min` has rejected the clip.
    """

    black_share_max: float = 0.3
    frozen_share_max: float = 0.5
    silent_share_max: float = 0.9
    clipped_share_max: float = 0.005
    sound: bool | None = None
    seconds: float | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    frames_per_second_min: float | None = None
    ignore: frozenset[Reason] = frozenset()
    judge: bool | None = None
    score_min: float | None = None

    def with_score_min(self, score_min: float) -> "Thresholds":
        """The same with another least score."""
        return replace(self, score_min=score_min)

    def as_dict(self) -> dict[str, Any]:
        """The object of the API, all fields."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return found | {"ignore": sorted(reason.value for reason in self.ignore)}


DEFAULT_THRESHOLDS: Final = Thresholds()


# --- reading --------------------------------------------------------------------------------------------


def read_gate(
    value: object, defaults: Thresholds = DEFAULT_THRESHOLDS, *, field: str = "gate"
) -> Thresholds | None:
    """The thresholds in a field `gate`: true, or an object whose fields replace the `defaults`.

    None for false and for nothing. Raises `InputError` with the path of the field at fault.
    """
    if value is None or value is False:
        return None
    if value is True:
        return defaults
    if not isinstance(value, Mapping):
        raise InputError(f"must be true, false or an object, not {quoted(value)}", field=field)
    changes: dict[str, Any] = {}
    for name, given in value.items():
        read = _READERS.get(name) if isinstance(name, str) else None
        if read is None:
            hint = nearest(str(name), tuple(_READERS))
            known = f"did you mean {quoted(hint)}?" if hint else f"known: {', '.join(_READERS)}"
            raise InputError(f"unknown field {quoted(name)}; {known}", field=field)
        if given is None:
            continue
        try:
            changes[name] = read(given)
        except ValueError as refused:
            raise InputError(str(refused), field=f"{field}.{name}") from None
    return replace(defaults, **changes)


def thresholds_of(document: Mapping[str, Any]) -> Thresholds:
    """The thresholds that were stored as `Thresholds.as_dict`."""
    found = read_gate(document)
    assert found is not None, "an object"
    return found


@dataclass(frozen=True, slots=True)
class GateRules:
    """Whether an installation's new batches have a gate, with which thresholds, and why none can have one."""

    thresholds: Thresholds = DEFAULT_THRESHOLDS
    is_on: bool = False
    refusal: str | None = None
    has_judge: bool = False

    def read(self, value: object) -> Thresholds | None:
        """The thresholds of a request's field `gate`; without one what the operator has set.

        Raises `InputError`, also where no clip can be judged.
        """
        found = read_gate(self.is_on if value is None else value, self.thresholds)
        if found is None:
            return None
        if self.refusal is not None:
            raise InputError(self.refusal, field="gate")
        if found.judge and not self.has_judge:
            raise InputError("there is no judge here: the operator has set none", field="gate.judge")
        return replace(found, judge=self.has_judge if found.judge is None else found.judge)


NO_GATE: Final = GateRules()


def _number(value: object, minimum: float, maximum: float, unit: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and minimum <= value <= maximum:
        return float(value)
    raise ValueError(f"must be {unit} from {minimum:g} to {maximum:g}, not {quoted(value)}")


def _share(value: object) -> float:
    return _number(value, 0, 1, "a share")


def _seconds(value: object) -> float:
    return _number(value, 0.1, SECONDS_MAX, "seconds")


def _frames_per_second(value: object) -> float:
    return _number(value, 1, FRAMES_PER_SECOND_MAX, "frames per second")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be true or false, not {quoted(value)}")


def _ratio(value: object) -> str:
    if isinstance(value, str) and ratio_of(value) is not None:
        return value
    raise ValueError(f'must be a ratio such as "16:9", not {quoted(value)}')


def _resolution(value: object) -> str:
    if isinstance(value, str) and value in RESOLUTION_LINES:
        return value
    raise ValueError(f"must be one of {', '.join(RESOLUTION_LINES)}, not {quoted(value)}")


def _reasons(value: object) -> frozenset[Reason]:
    known = sorted(reason.value for reason in GATE_REASONS)
    if not isinstance(value, list):
        raise ValueError(f"must be a list of reasons, not {quoted(value)}")
    for name in value:
        if name not in known:
            raise ValueError(f"must be reasons among {', '.join(known)}, not {quoted(name)}")
    return frozenset(Reason(name) for name in value)


_READERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "black_share_max": _share,
    "frozen_share_max": _share,
    "silent_share_max": _share,
    "clipped_share_max": _share,
    "sound": _flag,
    "seconds": _seconds,
    "aspect_ratio": _ratio,
    "resolution": _resolution,
    "frames_per_second_min": _frames_per_second,
    "ignore": _reasons,
    "judge": _flag,
    "score_min": _share,
}


def ratio_of(text: object) -> float | None:
    """Width by height of `16:9`; None for what is no such ratio."""
    wide, colon, high = str(text).partition(":")
    digits = (wide + high).isascii() and wide.isdecimal() and high.isdecimal()
    if not colon or not digits or len(wide) > 5 or len(high) > 5 or not int(wide) or not int(high):
        return None
    return int(wide) / int(high)


# --- judging --------------------------------------------------------------------------------------------


def judged(
    measures: Measures, thresholds: Thresholds, options: Mapping[str, Any]
) -> tuple[Verdict, list[Reason]]:
    """The verdict on a clip whose item has these options, and every reason for it, in a fixed order."""
    found = [
        reason
        for reason, is_met in (
            (Reason.BROKEN, measures.broken is not None),
            (Reason.BLACK, _above(measures.black_share, thresholds.black_share_max)),
            (Reason.FROZEN, _above(measures.frozen_share, thresholds.frozen_share_max)),
            (Reason.SILENT, _is_silent(measures, thresholds, options)),
            (Reason.CLIPPED, _above(measures.clipped_share, thresholds.clipped_share_max)),
            (Reason.LENGTH, _is_other_length(measures, thresholds, options)),
            (Reason.RATIO, _is_other_ratio(measures, thresholds, options)),
            (Reason.RESOLUTION, _is_too_small(measures, thresholds, options)),
            (Reason.FRAME_RATE, _is_too_slow(measures, thresholds, options)),
        )
        if is_met and reason not in thresholds.ignore
    ]
    return (Verdict.REJECTED if found else Verdict.ACCEPTED), found


def _above(share: float | None, maximum: float) -> bool:
    return share is not None and share > maximum


def _is_silent(measures: Measures, thresholds: Thresholds, options: Mapping[str, Any]) -> bool:
    is_asked = thresholds.sound
    if is_asked is None:
        is_asked = any(options.get(name) is True for name in SOUND_OPTIONS)
    return is_asked and (not measures.has_sound or _above(measures.silent_share, thresholds.silent_share_max))


def _is_other_length(measures: Measures, thresholds: Thresholds, options: Mapping[str, Any]) -> bool:
    asked = thresholds.seconds
    if asked is None and type(options.get("duration")) is int:
        asked = float(options["duration"])
    if asked is None or measures.seconds is None or measures.broken is not None:
        return False
    return abs(measures.seconds - asked) > max(LENGTH_TOLERANCE_SECONDS, asked * LENGTH_TOLERANCE_SHARE)


def _is_other_ratio(measures: Measures, thresholds: Thresholds, options: Mapping[str, Any]) -> bool:
    asked = ratio_of(thresholds.aspect_ratio or options.get("aspect_ratio", ""))
    if asked is None:
        return False
    return abs(measures.width / measures.height / asked - 1) > ASPECT_TOLERANCE_SHARE


def _is_too_small(measures: Measures, thresholds: Thresholds, options: Mapping[str, Any]) -> bool:
    lines = RESOLUTION_LINES.get(str(thresholds.resolution or options.get("resolution", "")))
    if lines is None:
        return False
    return min(measures.width, measures.height) < lines * (1 - RESOLUTION_TOLERANCE_SHARE)


def _is_too_slow(measures: Measures, thresholds: Thresholds, options: Mapping[str, Any]) -> bool:
    asked = thresholds.frames_per_second_min
    named = options.get("fps", options.get("frame_rate"))
    if asked is None and isinstance(named, int | float) and not isinstance(named, bool):
        asked = float(named)
    if asked is None or measures.frames_per_second is None:
        return False
    return measures.frames_per_second < asked * (1 - FRAME_RATE_TOLERANCE_SHARE)
