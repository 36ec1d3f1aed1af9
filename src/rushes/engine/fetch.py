"""One result file from where its provider keeps it, through the guard, into a file here."""

import hashlib
from pathlib import Path
from typing import Final

from rushes.domain.errors import RushesError
from rushes.engine.guarded_http import GuardedHttp, TrustedOrigin
from rushes.engine.video_check import BadFile
from rushes.providers.base import ResultFiles, origin_of

FILE_BYTES_MAX: Final = 512 * 1024 * 1024
DOWNLOAD_SECONDS_MAX: Final = 300.0
"""For one file, to its last byte."""

GONE: Final = frozenset({401, 403, 404, 410})
"""What hosts answer for a link that is dead. Some say it of a file that is not there yet, so not at once."""


KEY_REFUSED: Final = frozenset({401, 403})
"""Of a link that needs the provider's key they speak of the key, which may be in the middle of a change."""


class BadStatus(RushesError):
    """The file's host answered with an error; `is_gone` when it says that there is no such file.

    `is_final` when another try is not likely to be answered otherwise, as it is once a key is put right.
    """

    code = "BAD_STATUS"
    retryable = True

    def __init__(self, status: int, *, needs_key: bool = False) -> None:
        super().__init__(f"the file's host answered HTTP {status}")
        self.is_gone = status in GONE
        of_key = needs_key and status in KEY_REFUSED
        self.is_final = 400 <= status < 500 and status not in (408, 425, 429) and not of_key


def trusted_origin(way: ResultFiles) -> TrustedOrigin | None:
    """The provider's own host and the key for its files there, if it has such a host."""
    return None if way.trusted_origin is None else TrustedOrigin(way.trusted_origin, way.headers)


async def fetch_file(
    http: GuardedHttp,
    url: str,
    into: Path,
    *,
    way: ResultFiles,
    bytes_max: int = FILE_BYTES_MAX,
    seconds_max: float = DOWNLOAD_SECONDS_MAX,
) -> tuple[int, str]:
    """Write the file's bytes; returns their count and SHA-256. What they are is the caller's to check.

    Raises `UrlRefused`, `NoAnswerFromUrl`, `BadStatus`, `BadFile` for one that is too large, and `OSError`;
    after `seconds_max` `NoAnswerFromUrl`.
    """
    trusted = trusted_origin(way)
    digest, received = hashlib.sha256(), 0
    async with http.get(
        url, headers={"accept": "video/*, */*;q=0.1"}, timeout_seconds=seconds_max, trusted=trusted
    ) as answer:
        if answer.status != 200:
            raise BadStatus(
                answer.status, needs_key=bool(way.headers) and origin_of(url) == way.trusted_origin
            )
        announced = answer.headers.get("content-length", "")
        if announced.isascii() and announced.isdecimal():
            _refuse_oversize(int(announced[:20]), bytes_max)
        with into.open("wb") as sink:
            async for chunk in answer.chunks:
                received += len(chunk)
                _refuse_oversize(received, bytes_max)
                digest.update(chunk)
                sink.write(chunk)
    return received, digest.hexdigest()


def _refuse_oversize(bytes_count: int, bytes_max: int) -> None:
    if bytes_count > bytes_max:
        raise BadFile(f"the file has more than {bytes_max} bytes")
