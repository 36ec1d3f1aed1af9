"""How a file is got from servers that answer otherwise than with 200 and its bytes."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushes.files.fetch import BadStatus, fetch_file
from rushes.files.guard.addresses import UrlRefused
from rushes.files.guard.client import GuardedHttp, NoAnswerFromUrl
from rushes.providers.base import ResultFiles
from rushes.providers.openai_dialects import video_url_of
from tests.files.file_host import CLIP, FileHost, Reply

KEY = {"authorization": "Bearer sk-1"}
CONTENT = "/v1/videos/t/content"
JSON = {"content-type": "application/json; charset=utf-8"}
WHOLE = {"content-range": f"bytes 0-{len(CLIP) - 1}/{len(CLIP)}"}


@pytest.fixture
def gateway() -> Iterator[FileHost]:
    with FileHost().running() as host:
        yield host


@pytest.fixture
def elsewhere() -> Iterator[FileHost]:
    with FileHost().running() as host:
        yield host


def fetched(
    gateway: FileHost, into: Path, *, allow_private: bool = True, at: FileHost | None = None
) -> bytes:
    way = ResultFiles(3600.0, KEY, gateway.origin, video_url_of, lambda url: url.removesuffix("/content"))

    async def fetch() -> None:
        http = GuardedHttp(allow_private=allow_private)
        try:
            await fetch_file(http, f"{(at or gateway).origin}{CONTENT}", into, way=way)
        finally:
            await http.close()

    asyncio.run(fetch())
    return into.read_bytes()


def described(url: str) -> Reply:
    return Reply(json.dumps({"id": "t", "metadata": {"url": url}}).encode(), headers=JSON)


def test_json_instead_of_bytes_leads_to_the_file_without_the_key(
    gateway: FileHost, elsewhere: FileHost, tmp_path: Path
) -> None:
    elsewhere.replies["/v.mp4"] = [Reply(CLIP)]
    gateway.replies[CONTENT] = [described(f"{elsewhere.origin}/v.mp4")]
    assert fetched(gateway, tmp_path / "v.mp4") == CLIP
    assert {headers.get("authorization") for _, headers in gateway.requests} == {"Bearer sk-1"}
    assert [headers.get("authorization") for _, headers in elsewhere.requests] == [None]


@pytest.mark.parametrize("status", [400, 404, 405, 410, 501])
def test_where_no_content_path_is_the_video_object_names_the_file(
    gateway: FileHost, elsewhere: FileHost, tmp_path: Path, status: int
) -> None:
    elsewhere.replies["/v.mp4"] = [Reply(CLIP)]
    gateway.replies[CONTENT] = [Reply(b'{"error":{"message":"no such path"}}', status, JSON)]
    gateway.replies["/v1/videos/t"] = [described(f"{elsewhere.origin}/v.mp4")]
    assert fetched(gateway, tmp_path / "v.mp4") == CLIP


@pytest.mark.parametrize(
    "reply",
    [Reply(CLIP, 206, WHOLE), Reply(status=302, headers={"location": "/v.mp4"}), Reply(CLIP, headers={})],
)
def test_a_whole_206_and_a_redirect_are_taken(gateway: FileHost, tmp_path: Path, reply: Reply) -> None:
    gateway.replies |= {CONTENT: [reply], "/v.mp4": [Reply(CLIP)]}
    assert fetched(gateway, tmp_path / "v.mp4") == CLIP


@pytest.mark.parametrize(
    ("reply", "words", "is_final"),
    [
        (Reply(status=202), "not ready", False),
        (Reply(CLIP[:100], 206, {"content-range": f"bytes 0-99/{len(CLIP)}"}), "HTTP 206", False),
        (Reply(CLIP, 206), "HTTP 206", False),
        (Reply(status=404), "HTTP 404", True),
    ],
)
def test_what_is_not_the_whole_file_is_tried_again(
    gateway: FileHost, tmp_path: Path, reply: Reply, words: str, is_final: bool
) -> None:
    gateway.replies[CONTENT] = [reply]
    with pytest.raises(BadStatus, match=words) as refused:
        fetched(gateway, tmp_path / "v.mp4")
    assert refused.value.is_final is is_final


@pytest.mark.parametrize("body", [b'{"status":"completed"}', b"{", b"[]"])
def test_json_that_names_no_file_is_no_file(gateway: FileHost, tmp_path: Path, body: bytes) -> None:
    gateway.replies[CONTENT] = [Reply(body, headers=JSON)]
    with pytest.raises(NoAnswerFromUrl, match="names no file"):
        fetched(gateway, tmp_path / "v.mp4")
    assert not (tmp_path / "v.mp4").exists()


def test_a_named_private_place_is_refused(gateway: FileHost, elsewhere: FileHost, tmp_path: Path) -> None:
    gateway.replies[CONTENT] = [described(f"{elsewhere.origin}/v.mp4")]
    with pytest.raises(UrlRefused):
        fetched(gateway, tmp_path / "v.mp4", allow_private=False)
    assert elsewhere.requests == []


def test_json_is_followed_once(gateway: FileHost, tmp_path: Path) -> None:
    gateway.replies[CONTENT] = [described(f"{gateway.origin}{CONTENT}")]
    assert fetched(gateway, tmp_path / "v.mp4").startswith(b"{")  # no video, as the check of files will say
    assert len(gateway.requests) == 3


def test_only_the_provider_s_own_host_is_read_for_another_place(
    gateway: FileHost, elsewhere: FileHost, tmp_path: Path
) -> None:
    elsewhere.replies[CONTENT] = [described(f"{gateway.origin}/v.mp4")]
    assert fetched(gateway, tmp_path / "v.mp4", at=elsewhere).startswith(b"{")
    assert gateway.requests == []


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_host_that_may_have_the_file_later_is_not_asked_for_another_place(
    gateway: FileHost, tmp_path: Path, status: int
) -> None:
    gateway.replies[CONTENT] = [Reply(status=status)]
    with pytest.raises(BadStatus, match=f"HTTP {status}"):
        fetched(gateway, tmp_path / "v.mp4")
    assert [path for path, _ in gateway.requests] == [CONTENT]
