"""Whether a file is a whole MP4 with a video in it: a strict walk over its boxes (ISO/IEC 14496-12).

No decoder is needed, and nothing is read but the boxes' heads and the few that say what is in the file. Each
box must end within its parent, `ftyp` comes first, `moov` has a track of video, and every byte that `mdat`
announces is there: an HTML page, a file that breaks off and an empty one are seen at once.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from rushes.domain.archive import VideoFacts
from rushes.domain.errors import RushesError

TOP_BOXES_MAX: Final = 100_000
"""Boxes at the top of a file; a fragmented file has two for each fragment."""

MOOV_BYTES_MAX: Final = 64 * 1024 * 1024
CHILD_BOXES_MAX: Final = 1000
SIDE_PIXELS_MAX: Final = 16_384


class BadFile(RushesError):
    """The file is no video that can be kept, and why."""

    code = "BAD_FILE"


class _Box(NamedTuple):
    kind: bytes
    body: int
    end: int


def checked_mp4(path: Path) -> VideoFacts:
    """What the file says of its video; raises `BadFile`."""
    size = path.stat().st_size
    if size == 0:
        raise BadFile("the file is empty")
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
        if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<error", b"{")):
            raise BadFile("the file is a text page, not a video")
        boxes = list(_top_boxes(file, size))
        if not boxes or boxes[0].kind != b"ftyp":
            raise BadFile("the file is no MP4: it has no ftyp box at its start")
        moov = [box for box in boxes if box.kind == b"moov"]
        if len(moov) != 1:
            raise BadFile(f"the file has {len(moov)} moov boxes, not one")
        if not any(box.kind == b"mdat" and box.end > box.body for box in boxes):
            raise BadFile("the file has no media data")
        if moov[0].end - moov[0].body > MOOV_BYTES_MAX:
            raise BadFile("the file's moov box is too large")
        file.seek(moov[0].body)
        return _facts(file.read(moov[0].end - moov[0].body))


def check_boxes(path: Path) -> None:
    """Raise `BadFile` unless the file is whole boxes, with a `moov` and media data in an `mdat`."""
    with path.open("rb") as file:
        boxes = list(_top_boxes(file, path.stat().st_size))
    kinds = {box.kind for box in boxes if box.end > box.body}
    if not {b"ftyp", b"moov", b"mdat"} <= kinds:
        raise BadFile("the file has no media data")


def _top_boxes(file: BinaryIO, size: int) -> Iterator[_Box]:
    position = 0
    for _ in range(TOP_BOXES_MAX):
        if position == size:
            return
        file.seek(position)
        box = _box(file.read(16), position, size)
        yield box
        position = box.end
    raise BadFile("the file has too many boxes")


def _box(head: bytes, position: int, end_max: int) -> _Box:
    """The box whose first bytes these are, and which must end by `end_max`."""
    if len(head) < 8:
        raise BadFile("the file breaks off")
    length, kind = struct.unpack_from(">I4s", head)
    body = position + 8
    if length == 1:
        if len(head) < 16:
            raise BadFile("the file breaks off")
        (length,) = struct.unpack_from(">Q", head, 8)
        body += 8
    elif length == 0:  # to the end of what holds it
        length = end_max - position
    end = position + length
    if end < body:
        raise BadFile("the file has a box that is smaller than its own head")
    if end > end_max:
        raise BadFile(f"the file breaks off: {end - end_max} bytes are missing")
    return _Box(kind, body, end)


def _children(data: bytes, start: int, end: int) -> Iterator[_Box]:
    position = start
    for _ in range(CHILD_BOXES_MAX):
        if position >= end:
            return
        box = _box(data[position : position + 16], position, end)
        yield box
        position = box.end
    raise BadFile("the file has too many boxes")


def _find(data: bytes, kind: bytes, start: int, end: int) -> _Box:
    for box in _children(data, start, end):
        if box.kind == kind:
            return box
    raise BadFile(f"the file has no {kind.decode()} box where one belongs")


def _facts(moov: bytes) -> VideoFacts:
    movie_seconds = _seconds(moov, _find(moov, b"mvhd", 0, len(moov)))
    for box in _children(moov, 0, len(moov)):
        if box.kind != b"trak":
            continue
        mdia = _find(moov, b"mdia", box.body, box.end)
        handler = _find(moov, b"hdlr", mdia.body, mdia.end)
        if moov[handler.body + 8 : handler.body + 12] != b"vide":
            continue
        width, height = _size(moov, _find(moov, b"tkhd", box.body, box.end))
        if not (0 < width <= SIDE_PIXELS_MAX and 0 < height <= SIDE_PIXELS_MAX):
            raise BadFile(f"the video's size is {width}x{height}")
        seconds = movie_seconds or _seconds(moov, _find(moov, b"mdhd", mdia.body, mdia.end))
        return VideoFacts(width, height, round(seconds * 1000) if seconds else None)
    raise BadFile("the file has no track of video")


def _seconds(data: bytes, box: _Box) -> float:
    """The duration in a mvhd or mdhd box; 0 for one that is not known beforehand."""
    try:
        if data[box.body] == 1:
            ticks_per_second, ticks = struct.unpack_from(">IQ", data, box.body + 20)
            unknown = 0xFFFFFFFFFFFFFFFF
        else:
            ticks_per_second, ticks = struct.unpack_from(">II", data, box.body + 12)
            unknown = 0xFFFFFFFF
    except (struct.error, IndexError):
        raise BadFile("the file's header breaks off") from None
    if ticks in (0, unknown):
        return 0.0
    if ticks_per_second == 0:
        raise BadFile("the file's clock stands still")
    return float(ticks / ticks_per_second)


def _size(data: bytes, tkhd: _Box) -> tuple[int, int]:
    """Width and height as shown: a quarter turn in the track's matrix swaps them."""
    try:
        matrix = tkhd.body + (52 if data[tkhd.body] == 1 else 40)
        a, b = struct.unpack_from(">ii", data, matrix)
        width, height = struct.unpack_from(">II", data, matrix + 36)
    except (struct.error, IndexError):
        raise BadFile("the file's track header breaks off") from None
    sides = width >> 16, height >> 16
    return (sides[1], sides[0]) if a == 0 and b != 0 else sides
