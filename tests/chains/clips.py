"""Clips made here, of known pictures and sound."""

import math
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame


def make_clip(
    path: Path,
    *,
    size: tuple[int, int] = (320, 180),
    frames: int = 24,
    shade: int = 60,
    sound: bool = False,
    b_frames: int = 0,
    codec: str = "libx264",
) -> Path:
    """A clip at 24 frames a second, each frame brighter than the one before; with a tone if asked."""
    with av.open(str(path), mode="w", format="mp4") as output:
        video: Any = output.add_stream(
            codec, rate=24, options={"bf": str(b_frames)} if codec == "libx264" else {}
        )
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio: Any = output.add_stream("aac", rate=48_000, layout="stereo") if sound else None
        for number in range(frames):
            frame = VideoFrame(*size, "yuv420p")
            for plane, value in zip(frame.planes, (shade + 2 * number, 128, 128), strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 24)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if audio is not None:
            for block in range(frames * 2_000 // 1_000):
                wave = array("f", (0.3 * math.sin(2 * math.pi * 440 * n / 48_000) for n in range(1_000)))
                samples = av.AudioFrame(format="fltp", layout="stereo", samples=1_000)
                samples.rate = 48_000
                for channel in samples.planes:
                    channel.update(wave.tobytes().ljust(channel.buffer_size, b"\0"))
                samples.pts, samples.time_base = block * 1_000, Fraction(1, 48_000)
                output.mux(audio.encode(samples))
            output.mux(audio.encode(None))
    return path


def pictures(path: Path) -> list[tuple[float, int]]:
    """When each frame is shown, and how bright its first point is."""
    with av.open(str(path)) as container:
        return [
            (float(frame.time or 0.0), bytes(frame.reformat(format="yuv420p").planes[0])[0])
            for frame in container.decode(container.streams.video[0])
        ]


def sound_seconds(path: Path) -> float:
    """How long the track of sound is; 0 without one."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return 0.0
        return sum(frame.samples / frame.rate for frame in container.decode(container.streams.audio[0]))
