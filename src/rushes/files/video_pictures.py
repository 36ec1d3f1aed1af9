"""A thumbnail and a strip of stills of a video, decoded by PyAV (the extra `video`), as JPEG.

Decoding is also the better check: a file whose boxes are sound may still hold nothing that can be shown.
Without PyAV there are no pictures, and the walk over the boxes (`video_check`) is all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rushes.domain.acceptance.looks import LOOK_HEIGHT, LOOK_WIDTH, look_text, still_bits
from rushes.files.video_check import BadFile

if TYPE_CHECKING:
    import av

THUMBNAIL_PIXELS: Final = 480
"""The longer side of a thumbnail."""

POSTER_STILLS: Final = 5
POSTER_HEIGHT_PIXELS: Final = 120
FRAMES_PER_STILL_MAX: Final = 300
"""Frames that are decoded on the way to a still; a later one is given up for the last that was seen."""

DECODED_PIXELS_MAX: Final = 8192 * 8192


@dataclass(frozen=True, slots=True)
class Pictures:
    """JPEG files, and the perceptual hash of the stills, see `domain.acceptance.looks`."""

    thumbnail: bytes
    poster: bytes
    look: str


@cache
def can_decode() -> bool:
    """Whether PyAV is installed; it is imported only where there is something to decode."""
    return find_spec("av") is not None


def decoded_pictures(path: Path) -> Pictures | None:
    """A thumbnail from the middle and a strip of stills; None without PyAV. Raises `BadFile`.

    For a thread: it decodes.
    """
    if not can_decode():
        return None
    import av

    try:
        with av.open(str(path), mode="r", format="mp4") as container:
            if not container.streams.video:
                raise BadFile("the file has no video that can be decoded")
            stream = container.streams.video[0]
            if stream.codec_context.width * stream.codec_context.height > DECODED_PIXELS_MAX:
                raise BadFile("the video's pictures are too large")
            stream.thread_type = "NONE"
            stills = list(_stills(container, stream))
    except (av.FFmpegError, ValueError) as error:
        raise BadFile(f"the video cannot be decoded ({type(error).__name__})") from error
    if not stills:
        raise BadFile("the video has no picture that can be decoded")
    middle = stills[len(stills) // 2]
    scale = min(1.0, THUMBNAIL_PIXELS / max(middle.width, middle.height))
    thumbnail = middle.reformat(
        width=_even(middle.width * scale), height=_even(middle.height * scale), format="yuvj420p"
    )
    return Pictures(jpeg(thumbnail), jpeg(_strip(stills)), look_text([_bits(still) for still in stills]))


def frames_of(container: "av.container.InputContainer", stream: Any) -> Iterator[Any]:
    """The stream's frames, decoded from where the container stands.

    PyAV's own (`container.decode`, 18.1) never frees what it reads into when it is left before its end.
    """
    packets = container.demux(stream)
    try:
        for packet in packets:
            yield from packet.decode()
    finally:
        packets.close()  # type: ignore[attr-defined]  # a generator's


def averaged(frame: "av.VideoFrame", *, width: int, height: int, form: str) -> list[bytes]:
    """The frame's planes in this pixel format, averaged down to a few points: 16 is black whatever the file's
    range is. What pads the lines of a plane is left out.
    """
    from av.video.reformatter import ColorRange, Interpolation

    small = frame.reformat(
        width=width,
        height=height,
        format=form,
        interpolation=Interpolation.AREA,
        dst_color_range=ColorRange.MPEG,
    )
    return [_points(plane) for plane in small.planes]


def _points(plane: Any) -> bytes:
    content, width = bytes(plane), plane.width
    starts = range(0, plane.line_size * plane.height, plane.line_size)
    return b"".join(content[start : start + width] for start in starts)


def _bits(still: "av.VideoFrame") -> int:
    (points,) = averaged(still, width=LOOK_WIDTH, height=LOOK_HEIGHT, form="gray")
    return still_bits(points)


def _even(pixels: float) -> int:
    return max(2, round(pixels / 2) * 2)


def _stills(container: "av.container.InputContainer", stream: Any) -> Iterator["av.VideoFrame"]:
    """Frames spread over the video, the first one at its start."""
    span = float((stream.duration or 0) * stream.time_base) if stream.time_base else 0.0
    if not span and container.duration:
        span = container.duration / 1_000_000
    for number in range(POSTER_STILLS):
        wanted_seconds = span * number / POSTER_STILLS
        if number:
            container.seek(int(wanted_seconds / stream.time_base), stream=stream)
        found: av.VideoFrame | None = None
        for count, frame in enumerate(frames_of(container, stream)):
            found = frame
            if (frame.time or 0.0) >= wanted_seconds or count >= FRAMES_PER_STILL_MAX:
                break
        if found is not None:
            yield found
        if not span:
            return


def _strip(stills: Sequence["av.VideoFrame"]) -> "av.VideoFrame":
    """The stills side by side in one picture."""
    from av.filter import Graph

    first = stills[0]
    width = _even(first.width * POSTER_HEIGHT_PIXELS / first.height)
    small = [still.reformat(width=width, height=POSTER_HEIGHT_PIXELS, format="yuvj420p") for still in stills]
    graph = Graph()
    source = graph.add_buffer(
        width=width, height=POSTER_HEIGHT_PIXELS, format=small[0].format, time_base=first.time_base
    )
    tile, sink = graph.add("tile", f"{len(small)}x1"), graph.add("buffersink")
    source.link_to(tile)
    tile.link_to(sink)
    graph.configure()
    for number, still in enumerate(small):
        still.pts = number
        graph.push(still)
    graph.push(None)
    strip: av.VideoFrame = graph.pull()  # type: ignore[assignment]  # this graph has pictures only
    return strip.reformat(format="yuvj420p")


def jpeg(frame: "av.VideoFrame", *, pixel_format: str = "yuvj420p", coarseness: int | None = None) -> bytes:
    """The frame as a JPEG; `coarseness` is how it is quantised, 1 (finest) to 31."""
    from fractions import Fraction

    import av

    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height = frame.width, frame.height
    encoder.pix_fmt, encoder.time_base = pixel_format, Fraction(1, 1)
    if coarseness is not None:
        encoder.qmin = encoder.qmax = coarseness
    picture = frame.reformat(format=pixel_format)
    picture.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None)))
