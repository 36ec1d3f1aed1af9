"""One file of several clips, by PyAV (the extra `video`): streams copied, or encoded where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rushes.domain.catalogue.options import quoted
from rushes.domain.errors import SettingsError
from rushes.files.chains.encoding import encode
from rushes.files.video_check import BadFile
from rushes.files.video_pictures import DECODED_PIXELS_MAX, can_decode

if TYPE_CHECKING:
    import av

OPTIONS: Final = {"movflags": "+faststart"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip on this disk, and its item's name."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class _Stream:
    """What of a stream must be equal for another to follow it in one track."""

    codec: str
    size: tuple[int, int]
    format: str
    rate: int
    setup: bytes

    def difference(self, other: "_Stream", first: str) -> str | None:
        """In what the other one differs, as the end of a sentence; None when it can follow the `first`."""
        if self.codec != other.codec:
            return f"is {other.codec}, {first} is {self.codec}"
        if self.size != other.size:
            return f"has {_pixels(other.size)} pixels, {first} has {_pixels(self.size)}"
        if self.rate != other.rate:
            return f"has {other.rate} samples a second, {first} has {self.rate}"
        if self.format != other.format:
            return f"is in {other.format}, {first} is in {self.format}"
        return None if self.setup == other.setup else f"was encoded with other parameters than {first}"


@dataclass(frozen=True, slots=True)
class _Facts:
    video: _Stream
    audio: _Stream | None

    def difference(self, other: "_Facts", first: str) -> str | None:
        """The same for a whole clip."""
        problem = self.video.difference(other.video, first)
        if problem is not None or self.audio == other.audio:
            return problem
        if self.audio is None or other.audio is None:
            return f"has sound, {first} has none" if self.audio is None else f"has no sound, {first} has"
        return f"has sound that {self.audio.difference(other.audio, f'that of {first}')}"


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def join(clips: Sequence[Clip], target: Path) -> str | None:
    """Write the clips, one after the other; returns why they were encoded anew, None where they were copied.

    For a thread. Raises `BadFile` for a clip that cannot be read, and `SettingsError` without PyAV.
    """
    if not can_decode():
        raise SettingsError("joining needs the extra video: pip install 'rushes[video]'")
    facts = [_facts_of(clip) for clip in clips]
    for clip, its in zip(clips, facts, strict=True):
        difference = facts[0].difference(its, quoted(clips[0].name))
        if difference is not None:
            reason = f"{quoted(clip.name)} {difference}"
            break
    else:
        problem = _copied([clip.path for clip in clips], target)
        if problem is None:
            return None
        reason = problem
    encode([clip.path for clip in clips], target, options=OPTIONS)
    return reason


def _facts_of(clip: Clip) -> _Facts:
    import av

    try:
        with av.open(str(clip.path), mode="r") as container:
            if not container.streams.video:
                raise BadFile(f"{quoted(clip.name)} has no video that can be decoded")
            video, sounds = container.streams.video[0], container.streams.audio
            context: Any = video.codec_context
            if context.width * context.height > DECODED_PIXELS_MAX:
                raise BadFile(f"{quoted(clip.name)} has pictures that are too large")
            picture = _Stream(
                context.name,
                (context.width, context.height),
                str(context.pix_fmt),
                0,
                bytes(context.extradata or b""),
            )
            if not sounds:
                return _Facts(picture, None)
            sound: Any = sounds[0].codec_context
            return _Facts(
                picture,
                _Stream(
                    sound.name, (0, 0), str(sound.layout.name), sound.rate, bytes(sound.extradata or b"")
                ),
            )
    except (av.FFmpegError, ValueError) as error:
        raise BadFile(f"{quoted(clip.name)} cannot be decoded ({type(error).__name__})") from error


def _copied(paths: Sequence[Path], target: Path) -> str | None:
    """Copy the streams; returns why they cannot be, if so."""
    import av

    try:
        with av.open(str(target), mode="w", format="mp4", options=OPTIONS) as output:
            copies = _Copies(output)
            for path in paths:
                with av.open(str(path), mode="r") as container:
                    copies.append(container)
    except (av.FFmpegError, ValueError) as error:
        return f"the streams cannot be copied one after the other ({type(error).__name__})"
    return None


class _Copies:
    """The output's tracks, and how far they have come."""

    def __init__(self, output: "av.container.OutputContainer") -> None:
        self._output = output
        self._tracks: list[Any] = []
        self._offset = Fraction(0)
        self._sound_until = Fraction(-1)

    def append(self, container: "av.container.InputContainer") -> None:
        """Copy a clip's packets to the end of what is there."""
        streams: list[Any] = [container.streams.video[0], *container.streams.audio[:1]]
        if not self._tracks:
            self._tracks = [self._output.add_stream_from_template(stream) for stream in streams]
        start = (streams[0].start_time or 0) * streams[0].time_base
        end = self._offset
        for packet in container.demux(streams):
            if packet.dts is None or packet.pts is None:
                continue  # the end of a stream
            shift = round((self._offset - start) / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            is_sound = packet.stream is not streams[0]
            if is_sound and packet.dts * packet.time_base <= self._sound_until:
                continue  # what sound starts with before its time, where the clip before still sounds
            if is_sound:
                self._sound_until = packet.dts * packet.time_base
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            packet.stream = self._tracks[is_sound]
            self._output.mux(packet)
        self._offset = end
