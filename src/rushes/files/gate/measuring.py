"""Everything that the gate measures of a clip, in one pass over the file.

For a thread: it decodes. Every frame of a clip of up to `FRAMES_MAX` is decoded, of a longer one its key
frames only, so that the work is bounded whatever comes.
"""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rushes.domain.acceptance.gate import Measures
from rushes.files.gate.pictures import GRID_HEIGHT, GRID_WIDTH, Pictures, step_seconds
from rushes.files.gate.sounds import Sounds
from rushes.files.video_pictures import averaged, frames_of

if TYPE_CHECKING:
    import av

FRAMES_MAX: Final = 1_500
"""A clip with more frames is judged by its key frames."""

KEY_FRAMES_MAX: Final = 2_000
SOUND_SECONDS_MAX: Final = 120.0
"""Sound after that is not listened to."""

END_MISSING_SECONDS: Final = 0.5
"""How much earlier than it says a clip may end."""

CORRUPT_FRAMES_MAX: Final = 3
"""Frames that may have been decoded with faults: a whole clip has none."""


def measured(path: Path) -> Measures | None:
    """What is seen of the clip; None without PyAV. A file that cannot be decoded at all is `broken`."""
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(path), mode="r") as container:
            if not container.streams.video:
                return _nothing("the file has no video that can be decoded")
            return _measured(container, container.streams.video[0])
    except (av.FFmpegError, ValueError) as error:
        return _nothing(f"the clip cannot be decoded ({type(error).__name__})")


def _nothing(broken: str) -> Measures:
    return Measures(1, 1, None, None, None, None, False, None, None, broken)


def _measured(container: "av.container.InputContainer", stream: Any) -> Measures:
    announced_seconds = _announced_seconds(container, stream)
    rate = float(stream.average_rate or stream.guessed_rate or 0) or None
    is_long = bool((stream.frames or (rate or 0) * announced_seconds) > FRAMES_MAX)
    pictures, broken, end_seconds = _look(container, stream, announced_seconds, is_long)
    length_seconds = announced_seconds or end_seconds
    if broken is None and not pictures.times:
        broken = "the clip has no frame that can be decoded"
    if broken is None and not is_long and announced_seconds - end_seconds > END_MISSING_SECONDS:
        broken = f"the picture ends at {end_seconds:.1f} of {announced_seconds:.1f} seconds"
    black_share, frozen_share = pictures.shares(length_seconds)
    has_sound = bool(container.streams.audio)
    silent_share = clipped_share = None
    if has_sound:
        silent_share, clipped_share = _listen(container)
    turned = int(getattr(stream, "rotation", 0) or 0) % 180 != 0
    width, height = stream.codec_context.width, stream.codec_context.height
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    sides = (max(1, round(width * aspect)), max(1, height))
    return Measures(
        *(sides[::-1] if turned else sides),
        length_seconds or None,
        rate,
        black_share,
        frozen_share,
        has_sound,
        silent_share,
        clipped_share,
        broken,
    )


def _announced_seconds(container: "av.container.InputContainer", stream: Any) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else 0.0


def _look(
    container: "av.container.InputContainer", stream: Any, length_seconds: float, is_long: bool
) -> tuple[Pictures, str | None, float]:
    """The samples of the picture, why it breaks off if it does, and when its last frame ends."""
    import av

    stream.thread_type = "NONE"
    stream.codec_context.skip_frame = "NONKEY" if is_long else "DEFAULT"
    pictures, corrupt, next_seconds, end_seconds = Pictures(), 0, 0.0, 0.0
    step, first_seconds = step_seconds(length_seconds), None
    try:
        for number, frame in enumerate(frames_of(container, stream)):
            if number >= (KEY_FRAMES_MAX if is_long else 2 * FRAMES_MAX):
                break
            at_seconds = float(frame.time or 0.0)
            first_seconds = at_seconds if first_seconds is None else first_seconds
            at_seconds -= first_seconds
            end_seconds = max(end_seconds, at_seconds + _frame_seconds(frame, stream))
            corrupt += bool(frame.is_corrupt)
            if at_seconds + 1e-6 >= next_seconds:
                next_seconds = at_seconds + step
                pictures.add(*_grid(frame), at_seconds)
    except av.FFmpegError as error:
        return pictures, f"the picture breaks off ({type(error).__name__})", end_seconds
    if corrupt > CORRUPT_FRAMES_MAX:
        return pictures, f"{corrupt} frames are damaged", end_seconds
    return pictures, None, end_seconds


def _frame_seconds(frame: "av.VideoFrame", stream: Any) -> float:
    if frame.duration and frame.time_base:
        return float(frame.duration * frame.time_base)
    return 1 / float(stream.average_rate) if stream.average_rate else 0.0


def _grid(frame: "av.VideoFrame") -> tuple[bytes, bytes]:
    """The luma and the colour of the frame."""
    luma, *colours = averaged(frame, width=GRID_WIDTH, height=GRID_HEIGHT, form="yuv420p")
    return luma, b"".join(colours)


def _listen(container: "av.container.InputContainer") -> tuple[float | None, float | None]:
    """How much of the first track of sound is silent, and how much is cut off."""
    import av

    container.seek(0)
    stream = container.streams.audio[0]
    sounds = Sounds()
    try:
        for block in _blocks(container, stream):
            sounds.add(block)
    except av.FFmpegError:
        pass  # what was heard until then is judged; a broken end shows in the picture
    return sounds.shares()


def _blocks(container: "av.container.InputContainer", stream: Any) -> Iterator["array[int]"]:
    from av import AudioResampler

    resampler = AudioResampler(format="s16", layout=stream.layout, rate=stream.rate)
    for frame in frames_of(container, stream):
        if (frame.time or 0.0) > SOUND_SECONDS_MAX:
            return
        for converted in resampler.resample(frame):
            channels = converted.layout.nb_channels
            content = bytes(converted.planes[0])[: converted.samples * channels * 2]
            yield array("h", content)
