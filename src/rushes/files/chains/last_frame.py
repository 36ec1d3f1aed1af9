"""The last frame of a stored clip as a JPEG, decoded by PyAV (the extra `video`)."""

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rushes.domain.errors import ArchiveUnavailable
from rushes.files.objects import ObjectStore
from rushes.files.video_check import BadFile
from rushes.files.video_pictures import DECODED_PIXELS_MAX, can_decode, frames_of, jpeg

if TYPE_CHECKING:
    import av

FRAMES_MAX: Final = 20_000
"""Frames that are decoded on the way to the last one; a clip with more after its last key frame has none."""

COARSENESS: Final = 2
"""Of 1 (finest) to 31 by which the JPEG is quantised: fine, and a 4k frame stays below 5 MB."""


def no_last_frames_here(*, keeps_files: bool) -> str | None:
    """Why no item of this installation can start from another's last frame; None where it can."""
    if not keeps_files:
        return "RUSHES_ARCHIVE_URL is none: last frames are cut from stored files"
    if not can_decode():
        return "last frames need the extra video: pip install 'rushes[video]'"
    return None


async def copied(objects: ObjectStore, key: str, path: Path) -> str:
    """Copy a stored file here; returns its SHA-256. Raises `NotFound`, `ArchiveUnavailable`."""
    digest = hashlib.sha256()
    try:
        with path.open("wb") as file:
            async for chunk in objects.read(key):
                digest.update(chunk)
                file.write(chunk)
    except OSError as error:
        raise ArchiveUnavailable(f"no file can be written here: {error.strerror}") from None
    return digest.hexdigest()


async def last_frame_of(objects: ObjectStore, key: str) -> bytes:
    """The last frame of the stored clip. Raises `BadFile`, `NotFound` and `ArchiveUnavailable`."""
    import asyncio

    with tempfile.TemporaryDirectory(prefix="rushes-frame-") as folder:
        path = Path(folder) / "clip.mp4"
        await copied(objects, key, path)
        return await asyncio.to_thread(cut_last_frame, path)


def cut_last_frame(path: Path) -> bytes:
    """The frame that is shown last. For a thread: it decodes. Raises `BadFile`."""
    import av

    try:
        with av.open(str(path), mode="r") as container:
            if not container.streams.video:
                raise BadFile("has no video that can be decoded")
            stream = container.streams.video[0]
            if stream.codec_context.width * stream.codec_context.height > DECODED_PIXELS_MAX:
                raise BadFile("has pictures that are too large")
            stream.thread_type = "NONE"
            if stream.duration:
                container.seek(stream.duration + (stream.start_time or 0), stream=stream)
            frame = _last(container, stream)
            if frame is None:  # nothing after the last key frame can be decoded
                container.seek(0)
                frame = _last(container, stream)
            if frame is None:
                raise BadFile("has no frame that can be decoded")
            return jpeg(frame, pixel_format="yuvj444p", coarseness=COARSENESS)
    except (av.FFmpegError, ArithmeticError, ValueError) as error:
        raise BadFile(f"cannot be decoded ({type(error).__name__})") from error


def _last(container: "av.container.InputContainer", stream: Any) -> "av.VideoFrame | None":
    """The frame with the latest time from here on; what cannot be decoded ends the clip there."""
    import av

    last: av.VideoFrame | None = None
    try:
        for number, frame in enumerate(frames_of(container, stream)):
            if number >= FRAMES_MAX:
                raise BadFile(f"has more than {FRAMES_MAX} frames after its last key frame")
            if last is None or (frame.time or 0.0) >= (last.time or 0.0):
                last = frame
    except av.FFmpegError:
        if last is None:
            return None
    return last
