"""Files of a batch's videos: fetched a few at a time, resumed where they broke off, never half there.

A file under its final name is complete. Until then it is `NAME.part`, beside `NAME.part.tag`: the
validator under which the service will continue it; without one a partial file starts over.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pyreqwest.response import Response

from rushes.client.answers import Item
from rushes.client.errors import ServiceRefused, ServiceUnreachable, UnexpectedAnswer
from rushes.client.http import Http, chunks_of, headers_of, refusal_of
from rushes.domain.downloads import DownloadedFile, further_name, line_without_file
from rushes.domain.errors import InputError, NotFound, RushesError
from rushes.video_folder import folder_at, size_and_digest, write_text

ITEM_NAMES: Final = "{item_id}.mp4"
FILE_BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_\-]{1,128}")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")

OnFile = Callable[[DownloadedFile], None]


async def download(http: Http, item: Item, name: str, folder: Path) -> tuple[DownloadedFile, bool]:
    """The item's file in the folder, and whether it was there before; what went wrong is in `error`."""
    path = folder / name
    line = line_without_file(item)
    was_there = path.exists()
    if not was_there:
        if item["video_url"] is None:
            kept = item["archive"]
            reason = item["error"] or (kept and kept["reason"]) or f"the item is {item['status']}"
            return {**line, "error": reason}, False
        try:
            folder_at(path.parent)
            await _fetch(http, item, path)
        except RushesError as error:
            return {**line, "error": error.message}, False
    found = await asyncio.to_thread(size_and_digest, path)
    if found is None:
        return {**line, "error": "the file disappeared after it was fetched"}, False
    line |= {"file": name, "bytes": found[0], "sha256": found[1]}
    beside = item.get("further_files")  # a service of an earlier version has none
    if beside:
        line["further_files"] = [
            await _further(http, item, number, file, path, folder) for number, file in enumerate(beside, 1)
        ]
    return line, was_there


async def _further(
    http: Http, item: Item, number: int, file: Mapping[str, Any], video: Path, folder: Path
) -> dict[str, Any]:
    """A file that came besides the video, next to it."""
    path = video.with_name(further_name(video.name, number, file["kind"], file["content_type"]))
    line = {"kind": file["kind"], "file": None, "bytes": None, "sha256": None, "error": file["reason"]}
    if file["content_url"] is None:
        return line
    try:
        if not path.exists():
            place = f"/v1/videos/{quote(item['item_id'], safe='')}/content?file={number}"
            await _one_try(http, place, path)
    except RushesError as error:
        return {**line, "error": error.message}
    found = await asyncio.to_thread(size_and_digest, path)
    size, digest = found or (None, None)
    name = str(path.relative_to(folder))
    return {**line, "file": name, "bytes": size, "sha256": digest, "error": None}


def item_id_of(item: Item) -> str:
    """The item's id. Raises `UnexpectedAnswer` for one that names something else in a path."""
    if _NAME.fullmatch(item["item_id"]) is None:
        raise UnexpectedAnswer("an item's id that no rushes service gives")
    return item["item_id"]


async def _fetch(http: Http, item: Item, path: Path) -> None:
    """Get the file from where the item says it is, or through the service when it is no longer there."""
    places = [item["video_url"] or "", f"/v1/videos/{quote(item['item_id'], safe='')}/content"]
    for number in range(1, http.tries_max + 1):
        try:
            await _one_try(http, places[0], path)
            return
        except (ServiceRefused, ServiceUnreachable, NotFound, UnexpectedAnswer) as error:
            if error.retryable and number < http.tries_max:
                await http.pause(http.backoff_seconds(number))
            elif error.retryable or len(places) == 1:
                raise
            else:  # a link that has ended, or a page in the file's place: what else there is
                places.pop(0)
    await _one_try(http, places[0], path)


async def _one_try(http: Http, url: str, path: Path) -> None:
    part, tag = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.tag")
    offset, validator = _left_from_before(part, tag)
    asked = {"range": f"bytes={offset}-", "if-range": validator} if offset else {}
    async with http.open_file(url, headers=asked) as response:
        if response.status == 416:
            _forget(part, tag)
            raise ServiceUnreachable("the file changed since the download started; it starts over")
        if response.status >= 400:
            raise await refusal_of(response)
        headers = headers_of(response)
        _check_kind(headers)
        total = _total_bytes(response, headers, offset)
        start = offset if response.status == 206 else 0
        write_text(tag, _validator_of(headers))
        try:
            with part.open("r+b" if start else "wb") as file:
                file.seek(start)
                async for chunk in chunks_of(response):
                    file.write(chunk)
                    if file.tell() > FILE_BYTES_MAX:
                        raise UnexpectedAnswer(f"the file has more than {FILE_BYTES_MAX} bytes")
                file.truncate()
                size = file.tell()
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", source=str(part)) from error
    if total is not None and size != total:
        raise ServiceUnreachable(f"the file broke off after {size} of {total} bytes")
    part.replace(path)
    tag.unlink(missing_ok=True)


def _left_from_before(part: Path, tag: Path) -> tuple[int, str]:
    """How much of the file is there, and its validator; 0 when it cannot be resumed."""
    try:
        offset, validator = part.stat().st_size, tag.read_text("utf-8")
    except (OSError, ValueError):
        return 0, ""
    return (offset, validator) if validator else (0, "")


def _validator_of(headers: Mapping[str, str]) -> str:
    """A strong validator, as `If-Range` needs it (RFC 9110, section 13.1.5); empty without one."""
    etag = headers.get("etag", "")
    if etag.startswith('"') and etag.isascii() and etag.isprintable():
        return etag
    return ""


def _check_kind(headers: Mapping[str, str]) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind.endswith(("json", "xml")):
        raise UnexpectedAnswer(f"{kind} in the place of a video")


def _total_bytes(response: Response, headers: Mapping[str, str], offset: int) -> int | None:
    """How many bytes the whole file has, when the answer says so."""
    if response.status == 206:
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if found is None or int(found[1]) != offset:
            raise UnexpectedAnswer("another part of the file than was asked for")
        return int(found[3])
    length = headers.get("content-length", "")
    return int(length[:18]) if length.isascii() and length.isdecimal() else None


def _forget(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
