"""Stored videos over HTTP: with a key, and by links that need none; by RFC 9110; never what was refused."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from rushes.client import Client
from rushes.files.links import LINK_STEP_SECONDS, FileLinks
from rushes.files.video_pictures import can_decode
from rushes.simulator import running_simulator
from tests.api.harness import RunningService, Tenant, assert_problem, eventually, running_service
from tests.harness import knobs


@pytest.fixture(scope="module")
def running(
    session_database_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service with an archive of its own; some files redirect to a private place."""
    faults = knobs(file_redirect=0.3, seed=5)
    place = str(tmp_path_factory.mktemp("objects"))
    # files of the simulator are trusted by its host; elsewhere private places are refused
    environment = {"RUSHES_ARCHIVE_URL": place, "RUSHES_ALLOW_PRIVATE_URLS": "0"}
    with running_simulator(faults) as simulator:
        url = session_database_url("sqlite")
        with running_service(url, simulator.base_url, environment) as service:
            yield service


@pytest.fixture(scope="module")
def tenant(running: RunningService) -> Tenant:
    return running.tenant()


@pytest.fixture(scope="module")
def items(tenant: Tenant) -> list[dict[str, Any]]:
    """The items of a finished batch whose files are stored or refused."""
    batch_id = tenant.batch(*(f"a boat, take {n}" for n in range(12)))["batch_id"]
    tenant.finished(batch_id)
    found: list[dict[str, Any]] = eventually(
        lambda: tenant.get(f"/v1/batches/{batch_id}/items")["items"],
        lambda items: all(item["archive"]["state"] != "due" for item in items),
    )
    return found


@pytest.fixture
def stored(items: list[dict[str, Any]]) -> dict[str, Any]:
    return next(item for item in items if item["archive"]["state"] == "stored")


@pytest.fixture
def refused(items: list[dict[str, Any]]) -> dict[str, Any]:
    return next(item for item in items if item["archive"]["state"] == "refused")


def test_an_item_tells_what_is_kept_of_it(items: list[dict[str, Any]]) -> None:
    assert {item["archive"]["state"] for item in items} == {"stored", "refused"}
    for item in items:
        kept = item["archive"]
        assert item["status"] == "succeeded"
        if kept["state"] == "refused":
            assert (item["video_url"], item["thumbnail_url"], kept["sha256"]) == (None, None, None)
            assert "must be an https URL" in kept["reason"]
            continue
        assert (kept["width"], kept["height"], kept["reason"]) == (90, 160, None)
        content = httpx2.get(item["video_url"]).content
        assert (len(content), hashlib.sha256(content).hexdigest()) == (kept["bytes"], kept["sha256"])


def test_a_link_needs_no_key_and_obeys_ranges(running: RunningService, stored: dict[str, Any]) -> None:
    url, size = stored["video_url"], stored["archive"]["bytes"]
    assert url.startswith(f"{running.base_url}/files/")
    whole = httpx2.get(url)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    assert whole.headers["accept-ranges"] == "bytes"
    tag = whole.headers["etag"]
    assert tag == f'"{stored["archive"]["sha256"]}"'
    for asked, first, end in (
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, size),
        ("bytes=-50", size - 50, size),
        (f"bytes=10-{size * 2}", 10, size),
        (f"bytes=-{size * 2}", 0, size),
    ):
        part = httpx2.get(url, headers={"range": asked})
        assert part.status_code == 206, asked
        assert part.content == whole.content[first:end]
        assert part.headers["content-range"] == f"bytes {first}-{end - 1}/{size}"
        assert part.headers["content-length"] == str(end - first)
    for asked in ("bytes=5-2", "bytes=a-b", "bytes=-", "bytes=0-1,5-6", "items=0-1"):
        assert httpx2.get(url, headers={"range": asked}).status_code == 200, asked
    beyond = httpx2.get(url, headers={"range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    changed = httpx2.get(url, headers={"range": "bytes=0-9", "if-range": '"another"'})
    assert (changed.status_code, changed.content) == (200, whole.content)
    assert httpx2.get(url, headers={"range": "bytes=0-9", "if-range": tag}).status_code == 206
    assert httpx2.get(url, headers={"if-none-match": tag}).status_code == 304


def test_a_link_that_ended_or_was_changed_leads_nowhere(
    running: RunningService, stored: dict[str, Any]
) -> None:
    base, _, token = stored["video_url"].rpartition("/")
    task_id, variant, ends_at, mac = token.split("-")
    for wrong in (
        f"{int(task_id) + 1}-{variant}-{ends_at}-{mac}",
        f"{task_id}-thumbnail-{ends_at}-{mac}",
        f"{task_id}-{variant}-{int(ends_at) + 3600}-{mac}",
        f"{task_id}-{variant}-{ends_at}-{'0' * 40}",
        "x", "%00", "é", "a" * 500, "1-video-9999999999-",
    ):  # fmt: skip
        answer = httpx2.get(f"{base}/{wrong}")
        assert answer.status_code == 404, wrong
        assert_problem(answer)
    links = FileLinks(b"key", "https://videos.example.com")
    now_ms = 1_795_435_200_123
    link = links.link(7, "video", now_ms=now_ms)
    assert link == links.link(7, "video", now_ms=now_ms + 1000), "a browser fetches it once"
    made = link.rpartition("/")[2]
    assert links.read(made, now_ms=now_ms + LINK_STEP_SECONDS * 1000) == (7, "video")
    assert links.read(made, now_ms=now_ms + 2 * LINK_STEP_SECONDS * 1000) is None
    assert FileLinks(b"another key").read(made, now_ms=now_ms) is None


def test_content_comes_from_the_archive_with_its_pictures(tenant: Tenant, stored: dict[str, Any]) -> None:
    path = f"/v1/videos/{stored['item_id']}/content"
    answer = tenant.request("GET", path, headers={"range": "bytes=0-3"})
    assert (answer.status_code, answer.headers["etag"]) == (206, f'"{stored["archive"]["sha256"]}"')
    if not can_decode():
        return
    for variant, url in (
        ("thumbnail", stored["thumbnail_url"]),
        ("spritesheet", stored["archive"]["spritesheet_url"]),
    ):
        picture = tenant.request("GET", path, params={"variant": variant})
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
        assert picture.content.startswith(b"\xff\xd8\xff")
        assert httpx2.get(url).content == picture.content


def test_what_was_refused_is_not_handed_on(tenant: Tenant, refused: dict[str, Any]) -> None:
    path = f"/v1/videos/{refused['item_id']}/content"
    for variant in ("video", "thumbnail"):
        answer = tenant.request("GET", path, params={"variant": variant})
        assert (answer.status_code, assert_problem(answer)["error"]["code"]) == (410, "VIDEO_REFUSED")


def test_another_account_has_no_part_in_it(running: RunningService, stored: dict[str, Any]) -> None:
    other = running.tenant()
    assert other.request("GET", f"/v1/videos/{stored['item_id']}/content").status_code == 404
    batch_id = stored["item_id"].rpartition("-")[0]
    assert other.request("GET", f"/v1/batches/{batch_id}/items").status_code == 404


def test_a_deleted_video_and_a_lost_object_are_gone_for_links_too(
    running: RunningService, tenant: Tenant, items: list[dict[str, Any]]
) -> None:
    last, before = [item for item in items if item["archive"]["state"] == "stored"][-1:-3:-1]
    assert tenant.request("DELETE", f"/v1/videos/{last['item_id']}").status_code == 200
    assert httpx2.get(last["video_url"]).status_code == 404
    (row,) = running.rows(
        "SELECT video_key FROM archived_files WHERE sha256 = :sha256", sha256=before["archive"]["sha256"]
    )
    folder = running.settings.archive_place
    assert folder is not None

    (Path(folder) / row["video_key"]).unlink()
    answer = httpx2.get(before["video_url"])
    assert (answer.status_code, assert_problem(answer)["error"]) == (410, "VIDEO_EXPIRED")


def test_the_client_downloads_from_the_archive_under_names(
    tenant: Tenant, items: list[dict[str, Any]], tmp_path: Any
) -> None:
    batch_id = items[0]["item_id"].rpartition("-")[0]
    with Client(tenant.base_url, tenant.key, tries_max=1) as client:
        manifest = client.download_all(batch_id, tmp_path, names="{index:03d}-{slug}.mp4")
    by_index = {item["index"]: item for item in items}
    good = [line for line in manifest["files"] if line["file"]]
    assert len(good) >= 3
    for line in good:
        assert line["file"] == f"{line['index']:03d}-a-boat-take-{line['index']}.mp4"
        assert line["sha256"] == by_index[line["index"]]["archive"]["sha256"]


def test_a_deleted_video_has_no_link_and_is_not_copied_out(
    running: RunningService, tenant: Tenant, tmp_path: Path
) -> None:
    batch_id = tenant.batch(*(f"a kite, take {n}" for n in range(6)))["batch_id"]
    tenant.finished(batch_id)
    items = eventually(
        lambda: tenant.get(f"/v1/batches/{batch_id}/items")["items"],
        lambda items: all(item["archive"]["state"] != "due" for item in items),
    )
    before = next(item for item in items if item["archive"]["state"] == "stored")
    tenant.request("DELETE", f"/v1/videos/{before['item_id']}")
    assert httpx2.get(before["video_url"]).status_code == 404
    after = tenant.get(f"/v1/batches/{batch_id}/items")["items"][before["index"]]
    assert (after["video_url"], after["thumbnail_url"]) == (None, None)
    assert after["archive"]["state"] == "removed"
    assert after["archive"]["spritesheet_url"] is None
    manifest = running.ask(lambda rushes: rushes.download(batch_id, tmp_path))
    line = manifest["files"][before["index"]]
    assert (line["file"], line["error"]) == (None, "the video was deleted")
