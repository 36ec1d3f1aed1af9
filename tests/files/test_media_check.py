"""Pictures, videos and sounds are known by their bytes, and what breaks off is seen."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from rushes.domain.catalogue.media import MediaFacts
from rushes.files.uploads import check_bytes
from tests.files import media_samples as samples

SAMPLES: list[tuple[str, Callable[..., bytes], tuple[Any, ...], tuple[Any, ...]]] = [
    ("image/png", samples.png, (), (64, 48, None)),
    ("image/jpeg", samples.picture, ("mjpeg", "yuvj420p", "image2pipe"), (64, 48, None)),
    ("image/webp", samples.picture, ("libwebp", "yuv420p", "webp"), (64, 48, None)),
    ("image/gif", samples.picture, ("gif", "rgb8", "gif"), (64, 48, None)),
    ("video/mp4", samples.video, ("libx264", "mp4"), (64, 48, 2.0)),
    ("video/quicktime", samples.video, ("mpeg4", "mov"), (64, 48, 2.0)),
    ("video/webm", samples.video, ("libvpx", "webm"), (None, None, None)),
    ("audio/wav", samples.sound, ("pcm_s16le", "wav"), (None, None, 2.0)),
    ("audio/flac", samples.sound, ("flac", "flac"), (None, None, 2.0)),
    ("audio/mpeg", samples.sound, ("libmp3lame", "mp3"), (None, None, pytest.approx(2.0, abs=0.1))),
    ("audio/ogg", samples.sound, ("libopus", "ogg"), (None, None, None)),
    ("audio/mp4", samples.sound, ("aac", "ipod"), (None, None, None)),
]
BREAKING_OFF = [sample for sample in SAMPLES if sample[0] not in ("video/webm", "audio/flac", "audio/mpeg")]


@pytest.mark.parametrize(("content_type", "make", "arguments", "facts"), SAMPLES, ids=[s[0] for s in SAMPLES])
def test_a_file_is_what_its_bytes_say(
    content_type: str, make: Callable[..., bytes], arguments: tuple[Any, ...], facts: tuple[Any, ...]
) -> None:
    data = make(*arguments)
    checked = check_bytes(data)
    width, height, seconds = facts
    assert checked.facts == MediaFacts(content_type, len(data), width, height, seconds)
    assert checked.read() == data


@pytest.mark.parametrize(
    ("content_type", "make", "arguments", "facts"), BREAKING_OFF, ids=[s[0] for s in BREAKING_OFF]
)
def test_one_that_breaks_off_is_refused(
    content_type: str, make: Callable[..., bytes], arguments: tuple[Any, ...], facts: tuple[Any, ...]
) -> None:
    data = make(*arguments)
    with pytest.raises(ValueError, match=r"breaks off|empty|too large|smaller|no media data|moov|not a"):
        check_bytes(data[: len(data) * 2 // 3])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"<html>not here</html>", "the file is not a PNG, JPEG, WebP or GIF picture, an MP4"),
        (b"\x89PNG\r\n\x1a\n", "the picture breaks off"),
        (samples.png()[:-20] + b"X" + samples.png()[-19:], "the picture is damaged: a checksum is wrong"),
        (b"\xff\xd8\xff\xe0", "the picture breaks off"),
        (b"\xff\xfb\x90\x00" + b"\0" * 500, "the file is no MP3: it has no frames in a row"),
        (b"\0\0\0\x1cftypheic" + b"\0" * 60, "the file is a HEIC or AVIF picture; save it as PNG"),
        (b"\0\0\0\x1cftypM4A " + b"junk" * 60, "the file breaks off"),
        (b"RIFF\x10\0\0\0AVI " + b"\0" * 60, "the file is not a PNG"),
        (b"\x1a\x45\xdf\xa3" + b"matroska" * 9, "the file is a Matroska video; save it as MP4 or WebM"),
        (samples.png(1, 20_000), "the picture's size is 1x20000 pixels"),
    ],
)
def test_what_is_none_of_them_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}"):
        check_bytes(data)


def test_a_file_over_the_limit_is_refused() -> None:
    data = samples.png()
    with pytest.raises(ValueError, match=rf"^the file has {len(data)} bytes, more than 10$"):
        check_bytes(data, bytes_max=10)
