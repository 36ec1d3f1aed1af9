"""One result file from where its provider keeps it, through the guard, into a file here."""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from rushes.domain.errors import RushesError
from rushes.files.guard.client import GuardedHttp, NoAnswerFromUrl, StreamedAnswer, TrustedOrigin
from rushes.files.video_check import BadFile
from rushes.providers.base import INLINE_ANSWER_BYTES_MAX, InlineFile, ResultFiles, origin_of
from rushes.providers.http.transport import TransportError

FILE_BYTES_MAX: Final = 512 * 1024 * 1024
DOWNLOAD_SECONDS_MAX: Final = 300.0
"""For one file, to its last byte."""

GONE: Final = frozenset({401, 403, 404, 410})
"""What hosts answer for a link that is dead. Some say it of a file that is not there yet, so not at once."""


NO_FILE_HERE: Final = frozenset({400, 404, 405, 410, 501})
"""What servers without a path for files answer there; the file's description may name another place."""

DESCRIPTION_BYTES_MAX: Final = 1024 * 1024

KEY_REFUSED: Final = frozenset({401, 403})
"""Of a link that needs the provider's key they speak of the key, which may be in the middle of a change."""


class BadStatus(RushesError):
    """The file's host answered with an error; `is_gone` when it says that there is no such file.

    `is_final` when another try is not likely to be answered otherwise, as it is once a key is put right.
    """

    code = "BAD_STATUS"
    retryable = True

    def __init__(self, status: int, *, needs_key: bool = False) -> None:
        not_yet = ": the file is not ready" if status == 202 else ""
        super().__init__(f"the file's host answered HTTP {status}{not_yet}")
        self.is_gone = status in GONE
        of_key = needs_key and status in KEY_REFUSED
        self.is_final = 400 <= status < 500 and status not in (408, 425, 429) and not of_key


def trusted_origin(way: ResultFiles) -> TrustedOrigin | None:
    """The provider's own host and the key for its files there, if it has such a host."""
    return None if way.trusted_origin is None else TrustedOrigin(way.trusted_origin, way.headers, way.query)


@contextlib.asynccontextmanager
async def open_file(
    http: GuardedHttp,
    url: str,
    *,
    way: ResultFiles,
    headers: Mapping[str, str],
    timeout_seconds: float,
) -> AsyncIterator[StreamedAnswer]:
    """The answer that has the file's bytes, or says that there are none.

    A file at the provider's own host may be answered with JSON that names its place, or be missing there and
    be named by the JSON that describes it (see `ResultFiles`). Such a place is asked once, through the guard
    as every other. Raises `UrlRefused` and `NoAnswerFromUrl`.
    """
    inline = None if way.inline is None else way.inline(url)
    if inline is not None:
        yield await _file_in_answer(http, inline, way=way, timeout_seconds=timeout_seconds)
        return
    way = await _with_fresh_headers(way, url)
    trusted = trusted_origin(way)
    may_name = way.url_in_json is not None and origin_of(url) == way.trusted_origin
    async with contextlib.AsyncExitStack() as stack:
        answer = await stack.enter_async_context(
            http.get(url, headers=headers, timeout_seconds=timeout_seconds, trusted=trusted)
        )
        named_in = _named_in(answer, url, way) if may_name else None
        if named_in is not None:
            named = await _url_named_at(http, named_in, way=way, timeout_seconds=timeout_seconds)
            if named is None and answer.status in (200, 206):
                raise NoAnswerFromUrl("answered with JSON that names no file")
            if named is not None:
                await stack.aclose()
                answer = await stack.enter_async_context(
                    http.get(named, headers=headers, timeout_seconds=timeout_seconds, trusted=trusted)
                )
        yield answer


async def _file_in_answer(
    http: GuardedHttp, file: InlineFile, *, way: ResultFiles, timeout_seconds: float
) -> StreamedAnswer:
    """The whole file, taken out of an answer of the service's."""
    way = await _with_fresh_headers(replace(way, trusted_origin=origin_of(file.url)), file.url)
    headers = {"accept": "application/json", "content-type": "application/json"}
    body = bytearray()
    async with http.get(
        file.url,
        headers=headers,
        timeout_seconds=timeout_seconds,
        trusted=trusted_origin(way),
        body=file.body,
    ) as answer:
        if answer.status != 200:
            return StreamedAnswer(answer.status, {}, _whole(b""))
        async for chunk in answer.chunks:
            body += chunk
            if len(body) > INLINE_ANSWER_BYTES_MAX:
                raise BadFile(f"the answer with the file has more than {INLINE_ANSWER_BYTES_MAX} bytes")
    try:
        content = await asyncio.to_thread(file.read, bytes(body))
    except ValueError:
        raise NoAnswerFromUrl("answered without the file") from None
    return StreamedAnswer(
        200, {"content-type": "video/mp4", "content-length": str(len(content))}, _whole(content)
    )


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _with_fresh_headers(way: ResultFiles, url: str) -> ResultFiles:
    if way.fresh_headers is None or origin_of(url) != way.trusted_origin:
        return way
    try:
        return replace(way, headers={**way.headers, **await way.fresh_headers()})
    except TransportError as error:
        raise NoAnswerFromUrl(error.reason) from None


def _named_in(answer: StreamedAnswer, url: str, way: ResultFiles) -> str | None:
    """The address of JSON that may name the file; None where the answer stands as it is."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if answer.status in (200, 206):
        return url if kind == "application/json" or kind.endswith("+json") else None
    if answer.status in NO_FILE_HERE and way.described_at is not None:
        return way.described_at(url)
    return None


async def _url_named_at(
    http: GuardedHttp, url: str, *, way: ResultFiles, timeout_seconds: float
) -> str | None:
    """The URL in the JSON at this address, asked for whole; None when it names none."""
    assert way.url_in_json is not None
    body = bytearray()
    async with http.get(
        url,
        headers={"accept": "application/json"},
        timeout_seconds=timeout_seconds,
        trusted=trusted_origin(way),
    ) as answer:
        if answer.status != 200:
            return None
        async for chunk in answer.chunks:
            body += chunk
            if len(body) > DESCRIPTION_BYTES_MAX:
                return None
    return way.url_in_json(bytes(body))


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
    digest, received = hashlib.sha256(), 0
    async with open_file(
        http, url, way=way, headers={"accept": "video/*, */*;q=0.1"}, timeout_seconds=seconds_max
    ) as answer:
        if answer.status != 200 and not _is_whole(answer):
            has_key = bool(way.headers or way.fresh_headers)
            raise BadStatus(answer.status, needs_key=has_key and origin_of(url) == way.trusted_origin)
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


_WHOLE_RANGE: Final = re.compile(r"bytes 0-([0-9]{1,18})/([0-9]{1,18})")


def _is_whole(answer: StreamedAnswer) -> bool:
    """Whether a 206, which nobody asked for, has the whole file: gateways hand on what an upstream said."""
    whole = _WHOLE_RANGE.fullmatch(answer.headers.get("content-range", "").strip())
    return answer.status == 206 and whole is not None and int(whole[1]) + 1 == int(whole[2])


def _refuse_oversize(bytes_count: int, bytes_max: int) -> None:
    if bytes_count > bytes_max:
        raise BadFile(f"the file has more than {bytes_max} bytes")
