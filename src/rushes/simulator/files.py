"""Result files: real small MP4s, one per task, with the asked-for aspect ratio and duration.

Two clips of two seconds lie in media/, and of each shape one that is black and one that stands still. Each
task gets a copy whose clock is stretched to its duration (ISO/IEC 14496-12: timescale and duration of mvhd,
mdhd; durations of tkhd and elst, the one delta of stts) and a `free` box that names the task, so that no two
files are equal.
"""

import re
import struct
import zlib
from functools import cache
from importlib.resources import files as package_files

from rushes.simulator.draws import Lane, uniform
from rushes.simulator.fate import Outcome
from rushes.simulator.faults import Fault, FaultTable, server_error
from rushes.simulator.knobs import SimulatorKnobs
from rushes.simulator.message import FILES_PREFIX, Delivery, SimRequest, SimResponse
from rushes.simulator.quality.laws import read_laws
from rushes.simulator.work import SimTask

VIDEO_TYPE = "video/mp4"
BROKEN_TRANSFERS = 2
CALM_KNOBS = SimulatorKnobs()
"""Every clip is sound."""

_NOT_FOUND = SimResponse(404, b"<html><h1>404 Not Found</h1></html>", content_type="text/html")
_HTML_BODY = b"<!DOCTYPE html><html><body><h1>Access verification</h1></body></html>"
_TRACK_TICKS_PER_SECOND = 24
_MOVIE_TICKS_PER_SECOND = 1000
_CLIP_SECONDS = 2
_FRAME_SIDE = 48
_NUMBER = re.compile(r"(?:/|sample_)(\d{1,2})\.mp4$")


def task_id_of_path(path: str) -> str | None:
    """The task whose file this path names: its video, one of several (`ID/1.mp4`), or a picture of it."""
    name, dot, ending = path.removeprefix(FILES_PREFIX).rpartition(".")
    if path.startswith(FILES_PREFIX) and dot and ending in ("mp4", "png"):
        return name.partition("/")[0]
    return None


def last_frame_url(video_url: str) -> str:
    """Where the last frame of the video at that URL is."""
    return video_url.removesuffix(".mp4") + ".png"


def last_frame_of(task: SimTask) -> bytes:
    """A small grey PNG, whose shade tells the task."""
    row = b"\0" + bytes([task.seed % 256]) * _FRAME_SIDE
    head = struct.pack(">IIBBBBB", _FRAME_SIDE, _FRAME_SIDE, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(row * _FRAME_SIDE)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


@cache
def _clip(portrait: bool, defect: str) -> bytes:
    shape = "portrait" if portrait else "landscape"
    name = f"{shape}-{defect}.mp4" if defect else f"{shape}.mp4"
    return package_files("rushes.simulator").joinpath("media", name).read_bytes()


@cache
def _stretched_clip(portrait: bool, duration_seconds: int, defect: str = "") -> bytes:
    clip = bytearray(_clip(portrait, defect))

    def put(box: bytes, offset: int, value: int) -> None:
        # each of these boxes occurs once; offsets count from after the box's type, version 0 boxes
        struct.pack_into(">I", clip, clip.index(box) + 4 + offset, value)

    movie_ticks = _MOVIE_TICKS_PER_SECOND * duration_seconds
    put(b"mvhd", 12, _MOVIE_TICKS_PER_SECOND)
    put(b"mvhd", 16, movie_ticks)
    put(b"tkhd", 20, movie_ticks)
    put(b"elst", 8, movie_ticks)
    # 48 frames, each `duration / 2` of the clip's 24th seconds long: exact for every whole duration
    put(b"mdhd", 12, _TRACK_TICKS_PER_SECOND * _CLIP_SECONDS)
    put(b"mdhd", 16, _TRACK_TICKS_PER_SECOND * _CLIP_SECONDS * duration_seconds)
    put(b"stts", 12, duration_seconds)
    return bytes(clip)


def defect_of(task: SimTask, knobs: SimulatorKnobs) -> str:
    """What is wrong with the picture of the task's video: `black`, `frozen`, or nothing."""
    drawn = uniform(task.seed, Lane.CLIP)
    law = read_laws(knobs.quality).get(task.model)
    if law is not None:
        return law.defect_of(task.duration_seconds, drawn)
    if drawn < knobs.clip_black:
        return "black"
    return "frozen" if drawn < knobs.clip_black + knobs.clip_frozen else ""


def video_of(task: SimTask, knobs: SimulatorKnobs = CALM_KNOBS, number: int = 0) -> bytes:
    """The task's MP4, or the one with that number of several."""
    label = f"rushes simulator, task {task.id}{f', video {number}' if number else ''}".encode()
    return (
        _stretched_clip(task.portrait, task.duration_seconds, defect_of(task, knobs))
        + _free_box(len(label))
        + label
    )


def _free_box(payload_bytes: int) -> bytes:
    return struct.pack(">I4s", 8 + payload_bytes, b"free")


class FileHost:
    """Serves the files of finished tasks with the faults of the knobs."""

    def __init__(self, knobs: SimulatorKnobs) -> None:
        self._knobs = knobs
        self._faults = FaultTable("file", knobs)

    def answer(self, task: SimTask | None, request: SimRequest, now: float) -> tuple[SimResponse, str]:
        """The answer and the name of the fault in it, empty for none. Notes both with the task."""
        response, fault = self._answer(task, request, now)
        if task is not None:
            task.file_fault = fault
        return response, fault

    def _answer(self, task: SimTask | None, request: SimRequest, now: float) -> tuple[SimResponse, str]:
        if task is None or task.fate.outcome is not Outcome.SUCCEEDED:
            return _NOT_FOUND, ""
        if task.finished_at is None or now < task.finished_at:
            return _NOT_FOUND, ""
        knobs, age_seconds = self._knobs, now - task.finished_at
        if knobs.file_expiry_seconds is not None and age_seconds >= knobs.file_expiry_seconds:
            body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
            return SimResponse(
                knobs.file_expired_status, body, content_type="application/xml"
            ), "file_expired"
        task.downloads += 1
        fault = self._faults.draw(task.seed, Lane.FILE_FAULT)
        if request.path.endswith(".png"):
            video, content_type = last_frame_of(task), "image/png"
        else:
            number = _NUMBER.search(request.path)
            video, content_type = video_of(task, self._knobs, int(number[1]) if number else 0), VIDEO_TYPE
        match fault:
            case Fault.SERVER_ERROR if age_seconds < knobs.file_server_error_seconds:
                response = server_error(0)
            case Fault.TRUNCATED:
                response = _file(video[: len(video) * 2 // 3], request)
            case Fault.CUT_BODY if task.downloads <= BROKEN_TRANSFERS:
                response = _file(video, request, delivery=Delivery.CUT)
            case Fault.HTML:
                response = _file(_HTML_BODY, request)
            case Fault.EMPTY:
                response = _file(b"", request)
            case Fault.OVERSIZE:
                padding = knobs.file_oversize_bytes - len(video) - 8
                body = video + _free_box(padding)
                response = SimResponse(200, body, content_type=VIDEO_TYPE, padding_bytes=padding)
            case Fault.SLOW:
                response = _file(video, request, stall_seconds=knobs.file_slow_seconds)
            case Fault.REDIRECT:
                response = SimResponse(302, headers=(("location", knobs.file_redirect_url),))
            case _:
                return _file(video, request, content_type=content_type), ""
        return response, f"file_{fault.value}"


def _file(
    content: bytes,
    request: SimRequest,
    *,
    delivery: Delivery = Delivery.WHOLE,
    stall_seconds: float = 0.0,
    content_type: str = VIDEO_TYPE,
) -> SimResponse:
    """The whole content or, for one satisfiable range, that part of it (RFC 9110, section 14)."""
    status, size = 200, len(content)
    headers: tuple[tuple[str, str], ...] = (("accept-ranges", "bytes"),)
    bounds = _range_of(request.headers.get("range", ""), size)
    if bounds is not None:
        first, last = bounds
        if first > last:
            return SimResponse(416, headers=(("content-range", f"bytes */{size}"),))
        status, content = 206, content[first : last + 1]
        headers += (("content-range", f"bytes {first}-{last}/{size}"),)
    return SimResponse(status, content, content_type, headers, delivery, stall_seconds=stall_seconds)


def _range_of(value: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range; `first > last`: not satisfiable; None: no range."""
    unit, _, spec = value.partition("=")
    start, dash, end = spec.partition("-")
    if unit.strip() != "bytes" or not dash or not all(part.isdecimal() or not part for part in (start, end)):
        return None
    if (not start and not end) or len(value) > 60:
        return None
    if not start:
        return max(0, size - int(end)) if int(end) else size, size - 1
    last = min(int(end), size - 1) if end else size - 1
    if end and int(end) < int(start):
        return None
    return int(start), last
