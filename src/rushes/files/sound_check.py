"""Sounds: how to know one, and how long it is."""

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

from rushes.files.video_check import BadFile

Sound: TypeAlias = Callable[[bytes], float | None]
"""The seconds of a sound, None where it does not say. Raises `BadFile` for one that is not whole."""

FRAMES_MIN: Final = 3
"""MP3 has no start of its own: several frames in a row, each where the one before ends, are one."""

_BITRATES_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAMPLE_RATES: Final = (44100, 48000, 32000)


def _wav(data: bytes) -> float | None:
    position, bytes_per_second = 12, 0
    while position + 8 <= len(data):
        kind, length = data[position : position + 4], struct.unpack_from("<I", data, position + 4)[0]
        if kind == b"fmt " and length >= 16 and position + 20 <= len(data):
            (bytes_per_second,) = struct.unpack_from("<I", data, position + 16)
        if kind == b"data":
            if position + 8 + length > len(data):
                raise BadFile("the sound breaks off")
            if not bytes_per_second or not length:
                raise BadFile("the sound has no samples")
            return float(length / bytes_per_second)
        position += 8 + length + length % 2
    raise BadFile("the sound breaks off")


def _flac(data: bytes) -> float | None:
    if len(data) < 42 or data[4] & 0x7F:
        raise BadFile("the sound breaks off")
    packed = int.from_bytes(data[18:26], "big")
    rate, samples = packed >> 44, packed & 0xFFFFFFFFF
    return samples / rate if rate and samples else None


def _ogg(data: bytes) -> float | None:
    """The pages of an Ogg file must follow each other up to the one that says that it is the last."""
    position, is_last = 0, False
    while position < len(data) and not is_last:
        if data[position : position + 4] != b"OggS" or position + 27 > len(data):
            raise BadFile("the sound is damaged: no page where one belongs")
        segments = data[position + 26]
        table = data[position + 27 : position + 27 + segments]
        is_last = bool(data[position + 5] & 4)
        position += 27 + segments + sum(table)
        if len(table) < segments or position > len(data):
            raise BadFile("the sound breaks off")
    if not is_last:
        raise BadFile("the sound breaks off")
    return None


def _mp3(data: bytes) -> float | None:
    position = 0
    if data.startswith(b"ID3"):
        if len(data) < 10:
            raise BadFile("the sound breaks off")
        length = 0
        for byte in data[6:10]:
            length = length << 7 | (byte & 0x7F)
        position = 10 + length
    frames, seconds = 0, 0.0
    while (frame := _frame(data, position)) is not None:
        length, duration = frame
        position += length
        frames, seconds = frames + 1, seconds + duration
    if frames < FRAMES_MIN:
        raise BadFile("the file is no MP3: it has no frames in a row")
    return seconds


def _frame(data: bytes, position: int) -> tuple[int, float] | None:
    """The bytes and the seconds of the Layer III frame there; None where there is none."""
    head = data[position : position + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, rate_index = head[1] >> 3 & 3, head[2] >> 2 & 3
    if version == 1 or rate_index == 3 or head[2] >> 4 in (0, 15):
        return None
    is_1 = version == 3
    bitrate = (_BITRATES_1 if is_1 else _BITRATES_2)[head[2] >> 4] * 1000
    rate = _SAMPLE_RATES[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    samples = 1152 if is_1 else 576
    length = samples // 8 * bitrate // rate + (head[2] >> 1 & 1)
    return length, samples / rate


SOUNDS: Final[tuple[tuple[Callable[[bytes], bool], str, Sound], ...]] = (
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE", "audio/wav", _wav),
    (lambda head: head.startswith(b"fLaC"), "audio/flac", _flac),
    (lambda head: head.startswith(b"OggS"), "audio/ogg", _ogg),
    (lambda head: head.startswith(b"ID3") or _looks_like_mp3(head), "audio/mpeg", _mp3),
)
"""How the kinds of sounds start, their content types, and how they are measured."""


def _looks_like_mp3(head: bytes) -> bool:
    return _frame(head, 0) is not None
