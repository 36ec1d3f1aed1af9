"""Several stored videos as one ZIP that is made while it is sent: nothing of it is kept."""

import zipfile
from collections.abc import AsyncIterator, Sequence
from typing import Final

from rushes.domain.errors import RushesError
from rushes.files.objects import ObjectStore
from rushes.read.board.files import StoredVideo

MISSING_FILE: Final = "missing.txt"
_TIME: Final = (1980, 1, 1, 0, 0, 0)


class _Pipe:
    """What the ZIP writes, until it is taken."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep it."""
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing behind it."""

    def take(self) -> bytes:
        """All that was written since the last time."""
        taken, self._written = b"".join(self._written), []
        return taken


async def zip_of(
    objects: ObjectStore, videos: Sequence[StoredVideo], missing: Sequence[int]
) -> AsyncIterator[bytes]:
    """The ZIP's bytes. What cannot be read now, and items without a video, are named in `MISSING_FILE`."""
    pipe = _Pipe()
    said = [f"item {index} has no stored video" for index in missing]
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as made:  # type: ignore[call-overload]
        for video in videos:
            with made.open(zipfile.ZipInfo(video.name, _TIME), "w", force_zip64=True) as entry:
                try:
                    async for chunk in objects.read(video.key):
                        entry.write(chunk)
                        yield pipe.take()
                except RushesError as error:
                    said.append(f"{video.name} is not whole: {error.message}")
            yield pipe.take()
        if said:
            made.writestr(zipfile.ZipInfo(MISSING_FILE, _TIME), "\n".join(said) + "\n")
    yield pipe.take()
