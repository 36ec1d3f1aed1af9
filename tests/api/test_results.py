"""Results last: their address is the service's own in webhooks, streams, exports and manifests."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rushes.api.shapes.events import Event
from rushes.client import Client
from rushes.simulator import running_simulator
from tests.api.harness import RunningService, Tenant, eventually, running_service
from tests.api.test_events import followed, parsed
from tests.harness import knobs
from tests.notify.test_notify import Receiver


@pytest.fixture(scope="module")
def running(
    session_database_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service with an archive and a public address; some files can never be stored."""
    environment = {
        "RUSHES_ARCHIVE_URL": str(tmp_path_factory.mktemp("objects")),
        "RUSHES_BASE_URL": "https://videos.example.com",
    }
    with (
        running_simulator(knobs(file_truncated=0.3, render_seconds=0.2, seed=5)) as simulator,
        running_service(session_database_url("postgresql"), simulator.base_url, environment) as service,
    ):
        yield service


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


@pytest.fixture(scope="module")
def tenant(running: RunningService) -> Tenant:
    return running.tenant()


@pytest.fixture(scope="module")
def batch_id(tenant: Tenant, receiver: Receiver) -> str:
    """A finished batch, some of whose files are stored and some lost, and whose webhooks have all arrived."""
    tenant.post("/v1/webhooks/endpoints", {"url": f"{receiver.url}/all", "events": ["video.*"]}, status=201)
    made: str = tenant.batch(*(f"take {n}" for n in range(8)), webhook_url=receiver.url)["batch_id"]
    tenant.finished(made)
    eventually(
        lambda: {item["archive"]["state"] for item in items_of(tenant, made)},
        lambda states: states == {"stored", "refused"},
        seconds_max=60,
    )
    eventually(lambda: len(receiver.received), lambda count: count >= 18 + 16, seconds_max=30)
    return made


def items_of(tenant: Tenant, batch_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tenant.get(f"/v1/batches/{batch_id}/items")["items"]
    return found


def kept_url(item_id: str) -> str:
    return f"https://videos.example.com/v1/videos/{item_id}/content"


def test_the_address_of_a_stored_video_is_the_services_own_everywhere(tenant: Tenant, batch_id: str) -> None:
    items = items_of(tenant, batch_id)
    urls = {
        item["item_id"]: kept_url(item["item_id"]) if item["archive"]["state"] == "stored" else None
        for item in items
    }
    assert {item["item_id"]: item["content_url"] for item in items} == urls
    assert None in urls.values()
    text = tenant.request("GET", f"/v1/batches/{batch_id}/export").text
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["item_id"]: line["content_url"] for line in lines} == urls
    assert {line["item_id"]: line["video_url"] for line in lines} == urls
    rows = csv.DictReader(
        io.StringIO(tenant.request("GET", f"/v1/batches/{batch_id}/export?format=csv").text)
    )
    assert {row["item_id"]: row["content_url"] or None for row in rows} == urls
    manifest = tenant.get(f"/v1/batches/{batch_id}/manifest")
    assert {file["item_id"]: file["content_url"] for file in manifest["files"]} == urls
    assert manifest["stored_count"] + manifest["missing_count"] == 8
    streamed = parsed(followed(tenant, batch_id).text)
    videos = [document["data"] for _, kind, document in streamed if kind.startswith("video.")]
    assert {video["item_id"]: video["video_url"] for video in videos} == urls


def test_an_address_serves_the_file_whose_sum_is_everywhere(tenant: Tenant, batch_id: str) -> None:
    manifest = tenant.get(f"/v1/batches/{batch_id}/manifest")
    file = next(each for each in manifest["files"] if each["sha256"])
    path = file["content_url"].removeprefix("https://videos.example.com")
    content = tenant.request("GET", path).content
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    text = tenant.request("GET", f"/v1/batches/{batch_id}/export").text
    (line,) = [json.loads(each) for each in text.splitlines() if file["item_id"] in each]
    same = ("archive_path", "sha256", "bytes", "width", "height", "duration_seconds", "expires_at")
    assert {name: line[name] for name in same} == {name: file[name] for name in same}
    assert min(line["width"], line["height"], line["duration_seconds"]) > 0
    lost = next(each for each in manifest["files"] if each["content_url"] is None)
    assert lost["reason"]
    with Client(tenant.base_url, tenant.key) as client:
        assert client.manifest(batch_id)["files"] == manifest["files"]


def test_each_file_has_one_event_that_says_what_happened_to_it(tenant: Tenant, batch_id: str) -> None:
    states = {item["item_id"]: item["archive"]["state"] for item in items_of(tenant, batch_id)}
    seen: dict[str, str] = {}
    for _, kind, document in parsed(followed(tenant, batch_id).text):
        Event.model_validate(document)
        if kind in ("video.stored", "video.lost"):
            data = document["data"]
            assert data["item_id"] not in seen
            seen[data["item_id"]] = {"video.stored": "stored", "video.lost": "refused"}[kind]
            assert data["archive"]["state"] == seen[data["item_id"]]
            assert (data["archive"]["sha256"] is not None) is (kind == "video.stored")
    assert seen == states


def test_webhooks_after_the_batchs_end_arrive_once(
    running: RunningService, batch_id: str, receiver: Receiver
) -> None:
    rows = running.rows("SELECT seq, type FROM batch_events")
    own = [headers["webhook-id"] for path, headers, _ in receiver.received if path == "/hook"]
    assert sorted(own) == sorted(f"msg_{batch_id}_{row['seq']}" for row in rows)
    videos = [headers["webhook-id"] for path, headers, _ in receiver.received if path == "/hook/all"]
    expected = [row["seq"] for row in rows if row["type"].startswith("video.")]
    assert sorted(videos) == sorted(f"msg_{batch_id}_{seq}" for seq in expected)
    kinds = {json.loads(body)["type"] for _, _, body in receiver.received}
    assert {"video.stored", "video.lost", "batch.succeeded"} <= kinds


def test_the_books_are_sound_with_events_after_the_end(running: RunningService, batch_id: str) -> None:
    report = running.ask(lambda rushes: rushes.audit())
    assert report.violations == (), batch_id


def test_a_deleted_video_has_no_address(tenant: Tenant, batch_id: str) -> None:
    video = tenant.post("/v1/videos", {"prompt": "a boat"})["id"]
    eventually(lambda: items_of(tenant, video)[0], lambda item: item["status"] == "succeeded", seconds_max=30)
    tenant.request("DELETE", f"/v1/videos/{video}")
    item = items_of(tenant, video)[0]
    assert (item["content_url"], item["video_url"], item["expires_at"]) == (None, None, None)
    (file,) = tenant.get(f"/v1/batches/{video}/manifest")["files"]
    assert (file["content_url"], file["sha256"]) == (None, None)


def test_another_accounts_manifest_is_not_found(running: RunningService, batch_id: str) -> None:
    assert running.tenant().request("GET", f"/v1/batches/{batch_id}/manifest").status_code == 404
