"""What is between us and browsers: whose page sent a form, what it holds, the cookies, the files of pages."""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

FOLDER: Final = Path(__file__).with_name("assets")
_MEDIA_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

GZIP_BYTES_MIN: Final = 1000
GZIP_LEVEL: Final = 4

FORM_BYTES_MAX: Final = 65_536
SIGN_IN_BYTES_MAX: Final = 4096
FIELDS_MAX: Final = 2100
"""More than items can be selected one by one."""


class Asset:
    """A file of the wheel that pages load, under a name that changes with its content."""

    def __init__(self, name: str) -> None:
        path = FOLDER / name
        self.content = path.read_bytes()
        self.compressed = gzip.compress(self.content, mtime=0)
        digest = hashlib.blake2b(self.content, digest_size=6).hexdigest()
        self.name = f"{path.stem}-{digest}{path.suffix}"
        self.media_type = _MEDIA_TYPES[path.suffix]


STYLES: Final = Asset("dashboard.css")
SCRIPT: Final = Asset("dashboard.js")


def is_own(headers: Headers, base_url: str | None) -> bool:
    """Whether the request comes from one of our pages. Browsers always name the origin of a POST."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    own = {headers.get("host", "").lower()}
    if base_url is not None:
        own.add(urlsplit(base_url).netloc.lower())
    return urlsplit(origin).netloc.lower() in own


def is_encrypted(request: Request, base_url: str | None) -> bool:
    """Whether browsers reach us by https, so that cookies never leave without it."""
    return request.url.scheme == "https" or (base_url or "").startswith("https://")


def keep_cookie(
    answer: Response, name: str, value: str, *, seconds: int, request: Request, base_url: str | None
) -> None:
    """A cookie of the pages below the root, which no script reads and no other site's form brings along."""
    answer.set_cookie(
        name,
        value,
        max_age=seconds,
        path=request.scope.get("root_path", "") or "/",
        secure=is_encrypted(request, base_url),
        httponly=True,
        samesite="lax",
    )


def cookie_text(kept: object) -> str:
    """What a browser is to remember, as a cookie's value."""
    return quote(json.dumps(kept, separators=(",", ":")))


def cookie_entries(cookie: str | None, *, entries_max: int) -> list[tuple[str, Any]]:
    """The first entries of the object that a cookie holds; none of what is no such cookie."""
    try:
        found = json.loads(unquote(cookie or ""))
    except (ValueError, RecursionError):
        return []
    return list(found.items())[:entries_max] if isinstance(found, dict) else []


async def form_fields(request: Request, *, bytes_max: int = FORM_BYTES_MAX) -> dict[str, list[str]] | None:
    """The fields of a form that was sent; None when it is too large or no form."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            return None
    try:
        return parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        return None


def first_of(fields: Mapping[str, Sequence[str]] | None, name: str) -> str:
    """What a field of a form holds; empty where there is none."""
    return (fields or {}).get(name, [""])[0]


def asset_answer(name: str, asked: Headers, assets: Sequence[Asset]) -> Response:
    """A file of ours. One of another version, which a process beside this one may have named, is not kept."""
    for asset in assets:
        stem, suffix = Path(asset.name).stem, Path(asset.name).suffix
        if name == asset.name or (name.startswith(stem.partition("-")[0] + "-") and name.endswith(suffix)):
            kept = "public, max-age=31536000, immutable" if name == asset.name else "no-store"
            headers = {"cache-control": kept, "vary": "accept-encoding"}
            if "gzip" not in asked.get("accept-encoding", ""):
                return Response(asset.content, media_type=asset.media_type, headers=headers)
            headers["content-encoding"] = "gzip"
            return Response(asset.compressed, media_type=asset.media_type, headers=headers)
    return PlainTextResponse("no such file", 404)
