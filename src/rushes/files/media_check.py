"""What a picture, video or sound is, as its bytes say: its kind, its size, and whether it is whole.

Nothing is decoded and nothing is changed: the file's own structure is walked from end to end, so that a text
page, a file of another kind under a picture's name, and one that breaks off are seen before anything is
bought. Names and announced content types are not looked at.
"""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rushes.domain.catalogue.media import MediaFacts
from rushes.files.sound_check import SOUNDS, Sound
from rushes.files.video_check import SIDE_PIXELS_MAX, BadFile, check_boxes, checked_mp4

PIXELS_MAX: Final = 100_000_000
"""Of a picture, width by height; services take a fraction of that."""

HEAD_BYTES: Final = 64
START_BYTES: Final = 4096
MEDIA_NAMES: Final = (
    "a PNG, JPEG, WebP or GIF picture, an MP4, MOV or WebM video, or an MP3, WAV, FLAC or Ogg sound"
)


def checked_media(path: Path) -> MediaFacts:
    """What the file is. Raises `BadFile` with a one-line reason, and `OSError`."""
    size = path.stat().st_size
    if size == 0:
        raise BadFile("the file is empty")
    with path.open("rb") as file:
        start = file.read(START_BYTES)
        head = start[:HEAD_BYTES]
    if head[4:8] == b"ftyp":
        return _boxed(path, size, head)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _webm(head, start, size)
    for magic, content_type, measure in _PICTURES:
        if head.startswith(magic) and not (magic == b"RIFF" and head[8:12] != b"WEBP"):
            width, height = measure(path.read_bytes())
            _check_pixels(width, height)
            return MediaFacts(content_type, size, width, height)
    for is_one, content_type, seconds_of in SOUNDS:
        if is_one(head):
            return _sound(content_type, seconds_of, path, size)
    raise BadFile(f"the file is not {MEDIA_NAMES}")


def _sound(content_type: str, seconds_of: Sound, path: Path, size: int) -> MediaFacts:
    return MediaFacts(content_type, size, duration_seconds=seconds_of(path.read_bytes()))


def _check_pixels(width: int, height: int) -> None:
    if not (0 < width <= SIDE_PIXELS_MAX and 0 < height <= SIDE_PIXELS_MAX) or width * height > PIXELS_MAX:
        raise BadFile(f"the picture's size is {width}x{height} pixels")


# --- video ----------------------------------------------------------------------------------------------


def _boxed(path: Path, size: int, head: bytes) -> MediaFacts:
    """An MP4, a QuickTime movie, or a sound in an MP4."""
    brand = head[8:12]
    if brand in (b"heic", b"heix", b"mif1", b"avif", b"avis"):
        raise BadFile("the file is a HEIC or AVIF picture; save it as PNG, JPEG or WebP")
    if brand in (b"M4A ", b"M4B "):
        check_boxes(path)
        return MediaFacts("audio/mp4", size)
    facts = checked_mp4(path)
    seconds = None if facts.duration_ms is None else facts.duration_ms / 1000
    content_type = "video/quicktime" if brand == b"qt  " else "video/mp4"
    return MediaFacts(content_type, size, facts.width, facts.height, seconds)


def _webm(head: bytes, start: bytes, size: int) -> MediaFacts:
    if b"webm" not in head:
        raise BadFile("the file is a Matroska video; save it as MP4 or WebM")
    if b"\x18\x53\x80\x67" not in start:
        raise BadFile("the file breaks off: it has no segment")
    return MediaFacts("video/webm", size)


# --- pictures -------------------------------------------------------------------------------------------


def _png(data: bytes) -> tuple[int, int]:
    """Every chunk's checksum is right, and the last one is there."""
    position, size, pixels = 8, (0, 0), 0
    while True:
        if position + 12 > len(data):
            raise BadFile("the picture breaks off")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise BadFile("the picture breaks off")
        body = data[position + 8 : end - 4]
        if zlib.crc32(kind + body) != struct.unpack_from(">I", data, end - 4)[0]:
            raise BadFile("the picture is damaged: a checksum is wrong")
        if kind == b"IHDR" and length == 13:
            size = struct.unpack_from(">II", body)
        pixels += length if kind == b"IDAT" else 0
        position = end
        if kind == b"IEND":
            break
    if not pixels:
        raise BadFile("the picture has no pixels")
    return size


_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})


def _jpeg(data: bytes) -> tuple[int, int]:
    """The segments up to the first scan, which has an end."""
    position, size = 2, (0, 0)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise BadFile("the picture is damaged: no marker where one belongs")
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _JPEG_BARE:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _JPEG_FRAMES and position + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, position + 5)
            size = (width, height)
        if marker == 0xDA:
            if data.find(b"\xff\xd9", position + 2 + length) < 0:
                raise BadFile("the picture breaks off")
            return size
        position += 2 + max(2, length)
    raise BadFile("the picture breaks off")


def _webp(data: bytes) -> tuple[int, int]:
    if len(data) < 30 or struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise BadFile("the picture breaks off")
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise BadFile("the picture is damaged: no WebP image in it")


def _gif(data: bytes) -> tuple[int, int]:
    if len(data) < 14 or b"\x3b" not in data[-16:]:
        raise BadFile("the picture breaks off")
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


_PICTURES: Final[tuple[tuple[bytes, str, Callable[[bytes], tuple[int, int]]], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "image/png", _png),
    (b"\xff\xd8\xff", "image/jpeg", _jpeg),
    (b"RIFF", "image/webp", _webp),
    (b"GIF8", "image/gif", _gif),
)
