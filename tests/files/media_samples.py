"""Real pictures, videos and sounds, made on the spot."""

import io
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av


def png(width: int = 64, height: int = 48, shade: int = 90) -> bytes:
    """A grey PNG."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes([shade]) * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _grey(shade: int) -> Any:
    frame: Any = av.VideoFrame(64, 48, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([shade % 255]) * plane.buffer_size)
    return frame


@lru_cache
def picture(codec: str, pixel_format: str, container: str) -> bytes:
    """One encoded picture of 64x48 pixels."""
    sink = io.BytesIO()
    with av.open(sink, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        frame = _grey(120).reformat(format=pixel_format)
        for packet in (*stream.encode(frame), *stream.encode(None)):
            out.mux(packet)
    return sink.getvalue()


@lru_cache
def video(codec: str, container: str, seconds: int = 2) -> bytes:
    """A video of 64x48 pixels, ten pictures a second."""
    sink = io.BytesIO()
    with av.open(sink, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(10 * seconds):
            frame = _grey(number)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(list(stream.encode(frame)))
        out.mux(list(stream.encode(None)))
    return sink.getvalue()


@lru_cache
def sound(codec: str, container: str, seconds: int = 2) -> bytes:
    """A silent sound."""
    sink = io.BytesIO()
    with av.open(sink, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=48000)
        stream.layout = "mono"
        for frame in _silence(stream.format.name, seconds):
            out.mux(list(stream.encode(frame)))
        out.mux(list(stream.encode(None)))
    return sink.getvalue()


def _silence(sample_format: str, seconds: int) -> Iterator[Any]:
    size = 960
    for number in range(48000 * seconds // size):
        frame: Any = av.AudioFrame(format=sample_format, layout="mono", samples=size)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts, frame.time_base = 48000, number * size, Fraction(1, 48000)
        yield frame
