"""Handing a video's bytes on from where they lie, part of them if asked for: the archive, or the provider."""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rushes import telemetry
from rushes.api.edge.problems import Refusal
from rushes.api.parts import ApiParts
from rushes.domain import downloads
from rushes.domain.archive import ArchiveState
from rushes.domain.errors import ArchiveUnavailable, NotFound
from rushes.files.fetch import open_file
from rushes.files.guard.addresses import UrlRefused
from rushes.files.guard.client import NoAnswerFromUrl, StreamedAnswer
from rushes.files.links import VARIANTS
from rushes.providers.base import ResultFiles

CONTENT_BYTES_MAX: Final = 2 * 1024 * 1024 * 1024
DOWNLOADS_AT_ONCE_MAX: Final = 32
"""Files that are handed on from elsewhere at the same time."""

KEPT_AT_ONCE_MAX: Final = 256
"""Files that are read from the archive at the same time."""

KEPT_SECONDS: Final = 3600
"""How long a browser may keep what it got from the archive: as long as a link lives at least."""

DOWNLOAD_SECONDS_MAX: Final = 3600.0

# a type that every generator of clients knows comes first
_CONTENT: Final = {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in ("application/octet-stream", "video/mp4", "image/jpeg")
}
FILE_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file.", "content": _CONTENT},
    206: {"description": "The part that `Range` asked for.", "content": _CONTENT},
    304: {"description": "The asker has it already: `If-None-Match` names it."},
}

_RANGE: Final = re.compile(r"bytes=[0-9 ,\-]{1,200}")
_VALIDATOR: Final = re.compile(r"[\x20-\x7e]{1,200}")
_PASSED_ON: Final = ("content-length", "content-range", "accept-ranges", "etag", "last-modified")
_GONE: Final = frozenset({401, 403, 404, 410})

log = telemetry.logger()


class _FileResponse(Response):
    """Streams an open answer; closes it however the sending ends."""

    def __init__(
        self,
        answer: StreamedAnswer,
        open_resources: contextlib.AsyncExitStack,
        headers: Mapping[str, str],
    ) -> None:
        self.status_code = answer.status
        self.background = None
        self._answer = answer
        self._open_resources = open_resources
        self.body = b""
        self.init_headers(dict(headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._open_resources:
            headers = [header for header in self.raw_headers if header != (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
            sent = 0
            try:
                async for chunk in self._answer.chunks:
                    sent += len(chunk)
                    if sent > CONTENT_BYTES_MAX:
                        raise NoAnswerFromUrl("the file is too large")
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except (NoAnswerFromUrl, ArchiveUnavailable, NotFound) as error:
                # the answer stays incomplete: the server then drops the connection, and the client sees it
                log.warning(telemetry.DOWNLOAD_BROKEN, error=error.message, sent_bytes=sent)
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def file_response(
    parts: ApiParts, provider: str, url: str, *, file_name: str, request_headers: Mapping[str, str]
) -> Response:
    """The file at the provider's URL as an answer; `Range` and `If-Range` are passed on. Raises `Refusal`.

    Where the file lies at the provider's own host, the provider's key goes along.
    """
    way = parts.files_of.get(provider, ResultFiles())
    async with contextlib.AsyncExitStack() as stack:
        await _enter(stack, parts.downloads)
        try:
            answer = await stack.enter_async_context(
                open_file(
                    parts.files,
                    url,
                    way=way,
                    headers=_asked_for(request_headers),
                    timeout_seconds=DOWNLOAD_SECONDS_MAX,
                )
            )
        except UrlRefused as error:  # the provider's fault, not the caller's
            raise Refusal(502, "FILE_UNREACHABLE", f"the file's place: {error.message}") from error
        except NoAnswerFromUrl as error:
            raise Refusal(502, "FILE_UNREACHABLE", f"the file's server: {error.message}") from error
        _check(answer)
        return _FileResponse(answer, stack.pop_all(), _headers(answer, file_name))
    raise AssertionError("unreachable")


async def kept_response(
    parts: ApiParts,
    kept: Mapping[str, Any],
    variant: str,
    *,
    file_name: str,
    request_headers: Mapping[str, str],
) -> Response:
    """What is kept of a video as an answer, by RFC 9110: `Range`, `If-Range`, `If-None-Match`.

    `kept` is the row of a file that is stored. Raises `Refusal`.
    """
    column, media_type = VARIANTS[variant]
    media_type = kept.get("content_type") or media_type
    key = kept[column]
    if parts.objects is None or key is None:
        raise Refusal(404, "NOT_FOUND", "nothing of that kind is kept of this video")
    headers = {
        # never written over, so that a name stands for its bytes
        "etag": f'"{kept["sha256"]}{"" if variant == "video" else f"-{variant}"}"',
        "accept-ranges": "bytes",
        "cache-control": f"private, max-age={KEPT_SECONDS}",
    }
    if headers["etag"] in request_headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    async with contextlib.AsyncExitStack() as stack:
        await _enter(stack, parts.kept_downloads)
        try:
            size = kept["bytes"] if variant == "video" else await parts.objects.size_of(key)
            first, end, status = _range_of(request_headers, size, headers["etag"])
            bounds = {"first": first, "end": end} if status == 206 else {}
            chunks = parts.objects.read(key, **bounds)
            first_chunk = await anext(chunks, b"")  # a failed read is known before the answer starts
        except NotFound:
            raise Refusal(410, "VIDEO_EXPIRED", "the file is no longer in the archive") from None
        except ArchiveUnavailable as error:
            raise Refusal(503, "ARCHIVE_UNAVAILABLE", error.message, headers={"retry-after": "5"}) from error
        if status == 206:
            headers["content-range"] = f"bytes {first}-{end - 1}/{size}"
        headers |= {
            "content-length": str(end - first),
            "content-type": media_type,
            "content-disposition": f'inline; filename="{file_name}"',
        }
        answer = StreamedAnswer(status, {}, _with_first(first_chunk, chunks))
        return _FileResponse(answer, stack.pop_all(), headers)
    raise AssertionError("unreachable")


def file_name_of(name: str, variant: str) -> str:
    """The file name under which a browser saves it."""
    return f"{name}.mp4" if variant == "video" else f"{name}-{variant}.jpg"


def further_name(name: str, file: Mapping[str, Any]) -> str:
    """The file name of one that came besides the video."""
    return downloads.further_name(name, file["position"], file["kind"], file["content_type"])


def refuse_unkept(kept: Mapping[str, Any]) -> None:
    """Raise `Refusal` for a file that is gone, or never existed."""
    match ArchiveState(kept["state"]):
        case ArchiveState.EXPIRED:
            raise Refusal(410, "VIDEO_EXPIRED", f"the file was lost with its link: {kept['reason']}")
        case ArchiveState.REMOVED:
            raise Refusal(410, "VIDEO_EXPIRED", "the file was removed: its time of retention is over")
        case ArchiveState.REFUSED:
            raise Refusal(410, "VIDEO_REFUSED", f"what the provider gave was refused: {kept['reason']}")
        case _:
            return


async def _enter(stack: contextlib.AsyncExitStack, places: Any) -> None:
    if places.locked():
        raise Refusal(
            503,
            "TOO_MANY_DOWNLOADS",
            "this server hands on as many files as it can; try again",
            headers={"retry-after": "2"},
        )
    await stack.enter_async_context(places)


async def _with_first(first_chunk: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first_chunk
    async for chunk in chunks:
        yield chunk


_ONE_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def _range_of(headers: Mapping[str, str], size: int, etag: str) -> tuple[int, int, int]:
    """First byte, end (excluded) and status; the whole for several ranges, and for what is no range."""
    asked = _ONE_RANGE.fullmatch(headers.get("range", "").strip())
    if asked is None or asked[0] == "bytes=-" or headers.get("if-range", etag) != etag:
        return 0, size, 200
    if asked[1] == "":
        first, end = max(0, size - int(asked[2])), size
    else:
        first, end = int(asked[1]), min(size, int(asked[2]) + 1) if asked[2] else size
        if asked[2] and int(asked[2]) < first:
            return 0, size, 200
    if first >= end:
        raise Refusal(
            416,
            "RANGE_NOT_SATISFIABLE",
            "the file has no such range",
            headers={"content-range": f"bytes */{size}"},
        )
    return first, end, 206


def _asked_for(headers: Mapping[str, str]) -> dict[str, str]:
    """The request's headers that say which part is wanted, if they are sound."""
    wanted: dict[str, str] = {"accept": "video/*, */*;q=0.1"}
    range_asked = headers.get("range", "")
    if _RANGE.fullmatch(range_asked):
        wanted["range"] = range_asked
        condition = headers.get("if-range", "")
        if _VALIDATOR.fullmatch(condition):
            wanted["if-range"] = condition
    return wanted


def _check(answer: StreamedAnswer) -> None:
    if answer.status in _GONE:
        raise Refusal(410, "VIDEO_EXPIRED", "the provider no longer has the file")
    if answer.status == 416:
        given = answer.headers.get("content-range", "")
        headers = {"content-range": given} if _VALIDATOR.fullmatch(given) else {}
        raise Refusal(416, "RANGE_NOT_SATISFIABLE", "the file has no such range", headers=headers)
    if answer.status not in (200, 206):
        raise Refusal(502, "FILE_UNREACHABLE", f"the file's server answered HTTP {answer.status}")
    length = answer.headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and int(length[:20]) > CONTENT_BYTES_MAX:
        raise Refusal(502, "FILE_TOO_LARGE", f"the file has more than {CONTENT_BYTES_MAX} bytes")


def _headers(answer: StreamedAnswer, file_name: str) -> dict[str, str]:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_video = re.fullmatch(r"video/[a-z0-9.+\-]{1,60}", kind) is not None
    return {
        **{
            name: answer.headers[name]
            for name in _PASSED_ON
            if _VALIDATOR.fullmatch(answer.headers.get(name, ""))
        },
        # nothing that a file host says of itself can make a browser run it
        "content-type": kind if is_video else "application/octet-stream",
        "content-disposition": f'inline; filename="{file_name}"',
        "cache-control": "private, max-age=0",
    }
