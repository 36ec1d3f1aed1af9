"""Handing a video's bytes on from where they lie, part of them if asked for."""

import contextlib
import re
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rushes import telemetry
from rushes.api.parts import ApiParts
from rushes.api.problems import Refusal
from rushes.engine.guarded_http import NoAnswerFromUrl, StreamedAnswer
from rushes.engine.net_guard import UrlRefused

CONTENT_BYTES_MAX: Final = 2 * 1024 * 1024 * 1024
DOWNLOADS_AT_ONCE_MAX: Final = 32
DOWNLOAD_SECONDS_MAX: Final = 3600.0

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
            except NoAnswerFromUrl as error:
                # the answer stays incomplete: the server then drops the connection, and the client sees it
                log.warning(telemetry.DOWNLOAD_BROKEN, error=error.message, sent_bytes=sent)
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def file_response(
    parts: ApiParts, url: str, *, file_name: str, request_headers: Mapping[str, str]
) -> Response:
    """The file at the URL as an answer; `Range` and `If-Range` are passed on. Raises `Refusal`."""
    if parts.downloads.locked():
        raise Refusal(
            503,
            "TOO_MANY_DOWNLOADS",
            "this server hands on as many files as it can; try again",
            headers={"retry-after": "2"},
        )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(parts.downloads)
        try:
            answer = await stack.enter_async_context(
                parts.files.get(
                    url, headers=_asked_for(request_headers), timeout_seconds=DOWNLOAD_SECONDS_MAX
                )
            )
        except UrlRefused as error:  # the provider's fault, not the caller's
            raise Refusal(502, "FILE_UNREACHABLE", f"the file's place: {error.message}") from error
        except NoAnswerFromUrl as error:
            raise Refusal(502, "FILE_UNREACHABLE", f"the file's server: {error.message}") from error
        _check(answer)
        return _FileResponse(answer, stack.pop_all(), _headers(answer, file_name))
    raise AssertionError("unreachable")


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
