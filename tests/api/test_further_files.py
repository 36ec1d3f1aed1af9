"""Several files of one success: priced, fetched, stored, shown, downloaded, and removed with the video."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection, text

from rushes.client import Client
from rushes.simulator import SimulatorThread, running_simulator
from rushes.simulator.families.vertex import VertexWire
from tests.api.harness import RunningService, Tenant, eventually, running_service
from tests.harness import knobs

BOATS, KITES = 6, 4
LAST_FRAME = {"model": "seedance-2.0-mini", "return_last_frame": True, "duration": 4}
SEVERAL = {"model": "vertex-veo3.1-lite", "n": 3, "duration": 4}
ITEMS = [
    *({"prompt": f"a boat, take {n}", **LAST_FRAME} for n in range(BOATS)),
    *({"prompt": f"a kite, take {n}", **SEVERAL} for n in range(KITES)),
]
FURTHER = BOATS + KITES * 2


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    weather = knobs(
        seed=4,
        file_server_error=0.2,
        file_server_error_seconds=1.0,
        file_cut_body=0.2,
        file_html=0.1,
        file_redirect=0.1,
    )
    with running_simulator(weather) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def service(
    session_database_url: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
    simulator: SimulatorThread,
) -> Iterator[RunningService]:
    environment = {
        **VertexWire().exports(simulator.base_url, ""),
        "ARK_API_KEY": "a-key",
        "ARK_HOST": f"{simulator.base_url}/api/v3",
        "RUSHES_ARCHIVE_URL": str(tmp_path_factory.mktemp("objects")),
        "RUSHES_ALLOW_PRIVATE_URLS": "0",
    }
    with running_service(session_database_url("sqlite"), simulator.base_url, environment) as service:
        yield service


@pytest.fixture(scope="module")
def tenant(service: RunningService) -> Tenant:
    return service.tenant()


@pytest.fixture(scope="module")
def batch_id(tenant: Tenant) -> str:
    batch = tenant.post("/v1/batches", {"items": ITEMS}, status=201)
    assert batch["required_credits"] == 6 * 4 * 9 + 4 * 4 * 7 * 3, "each of the videos is paid"
    tenant.finished(batch["batch_id"], seconds_max=120)
    found: str = batch["batch_id"]
    return found


@pytest.fixture(scope="module")
def items(tenant: Tenant, batch_id: str) -> list[dict[str, Any]]:
    def is_settled(items: list[dict[str, Any]]) -> bool:
        states = {file["state"] for item in items for file in (item["archive"], *item["further_files"])}
        return "due" not in states

    found: list[dict[str, Any]] = eventually(
        lambda: tenant.get(f"/v1/batches/{batch_id}/items")["items"], is_settled, seconds_max=240
    )
    return found


def stored_of(items: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int, dict[str, Any]]]:
    return [
        (item, number, file)
        for item in items
        for number, file in enumerate(item["further_files"], 1)
        if file["state"] == "stored"
    ]


def test_every_file_is_stored_or_says_why_not(items: list[dict[str, Any]]) -> None:
    files = [file for item in items for file in item["further_files"]]
    assert len(files) == FURTHER
    assert {file["state"] for file in files} == {"stored", "refused"}
    for file in files:
        assert (file["reason"] is None) == (file["state"] == "stored")
        assert (file["sha256"] is None) == (file["state"] == "refused") == (file["content_url"] is None)
    stored = stored_of(items)
    assert {(file["kind"], file["content_type"]) for _, _, file in stored} == {
        ("last_frame", "image/png"),
        ("video", "video/mp4"),
    }
    hashes = [file["sha256"] for _, _, file in stored if file["kind"] == "video"]
    assert len(set(hashes)) == len(hashes), "each of them is another video"


def test_they_come_with_a_key_and_by_links_without_one(
    service: RunningService, tenant: Tenant, items: list[dict[str, Any]]
) -> None:
    other = service.tenant()
    for item, number, file in stored_of(items):
        by_link = httpx2.get(file["url"])
        assert by_link.headers["content-type"] == file["content_type"]
        path = file["content_url"].removeprefix(service.base_url)
        by_key = tenant.request("GET", path)
        assert by_key.content == by_link.content
        assert hashlib.sha256(by_key.content).hexdigest() == file["sha256"]
        assert len(by_key.content) == file["bytes"]
        part = tenant.request("GET", path, headers={"range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, by_key.content[:4])
        assert other.request("GET", path).status_code == 404
        gone = tenant.request("GET", f"/v1/videos/{item['item_id']}/content?file={number + 9}")
        assert gone.status_code == 404


def test_they_are_in_downloads_and_exports(
    service: RunningService, tenant: Tenant, batch_id: str, items: list[dict[str, Any]], tmp_path: Path
) -> None:
    manifest = service.ask(lambda rushes: rushes.download(batch_id, tmp_path / "a"))
    wanted = {file["sha256"] for _, _, file in stored_of(items)}
    with Client(service.base_url, tenant.key) as client:
        by_the_client = client.download_all(batch_id, tmp_path / "b")
    for folder, found in (("a", manifest), ("b", by_the_client)):
        lines = [line for file in found["files"] for line in file.get("further_files", [])]
        # the video of some was refused: what came besides it is there all the same, or its reason
        there = [line for line in lines if line["file"] is not None]
        assert {line["sha256"] for line in there} <= wanted
        assert there
        for line in there:
            content = (tmp_path / folder / line["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == line["sha256"]
            assert line["file"].endswith(".png" if line["kind"] == "last_frame" else ".mp4")
    again = service.ask(lambda rushes: rushes.download(batch_id, tmp_path / "a"))
    assert again["downloaded"] == 0
    exported = tenant.request("GET", f"/v1/batches/{batch_id}/export").text.splitlines()
    paths = [path for line in exported for path in (json.loads(line)["further_paths"] or "").split("|")]
    assert len([path for path in paths if path]) == len(wanted)


def test_they_go_with_the_video(
    service: RunningService, tenant: Tenant, items: list[dict[str, Any]], batch_id: str
) -> None:
    item, _, file = next(found for found in stored_of(items) if found[0]["archive"]["state"] == "stored")
    folder = Path(str(service.settings.archive_place or ""))
    keys = service.rows("SELECT object_key FROM further_files WHERE state = 'stored'")
    assert all((folder / row["object_key"]).exists() for row in keys)
    assert tenant.request("DELETE", f"/v1/videos/{item['item_id']}").status_code == 200
    assert httpx2.get(file["url"]).status_code == 404
    (shown,) = [
        one for one in tenant.get(f"/v1/batches/{batch_id}/items")["items"] if one["index"] == item["index"]
    ]
    assert shown["further_files"] == []
    service.ask(lambda rushes: rushes.prune_archive(days=365))
    left = service.rows("SELECT object_key FROM further_files WHERE state = 'stored'")
    gone = {row["object_key"] for row in keys} - {row["object_key"] for row in left}
    assert len(gone) == len([one for one in item["further_files"] if one["state"] == "stored"])
    assert not any((folder / key).exists() for key in gone)

    def erase(connection: Connection) -> int:
        return int(connection.scalar(text("SELECT COUNT(*) FROM further_files WHERE url <> 'erased'")) or 0)

    service.ask(lambda rushes: rushes.erase(batch=batch_id))
    assert service.ask(lambda rushes: rushes.database.read(erase)) == 0


def test_without_a_bucket_videos_come_in_the_answers(
    session_database_url: Callable[[str], str], tmp_path: Path, simulator: SimulatorThread
) -> None:
    environment = {
        **VertexWire().exports(simulator.base_url, ""),
        "VERTEX_STORAGE_URI": "",
        "RUSHES_ARCHIVE_URL": str(tmp_path),
        "RUSHES_ALLOW_PRIVATE_URLS": "0",
    }
    with running_service(session_database_url("sqlite"), simulator.base_url, environment) as service:
        tenant = service.tenant()
        items = [{"prompt": f"a bird, take {n}", "model": "vertex-veo3.1-lite", "n": 2} for n in range(3)]
        batch_id = tenant.post("/v1/batches", {"items": items}, status=201)["batch_id"]
        tenant.finished(batch_id, seconds_max=120)

        def files_of(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [file for item in found for file in (item["archive"], *item["further_files"])]

        found = eventually(
            lambda: tenant.get(f"/v1/batches/{batch_id}/items")["items"],
            lambda items: all(file["state"] == "stored" for file in files_of(items)),
            seconds_max=60,
        )
        hashes = {file["sha256"] for file in files_of(found)}
        assert len(hashes) == 6
        for item in found:
            content = tenant.request("GET", f"/v1/videos/{item['item_id']}/content").content
            assert hashlib.sha256(content).hexdigest() == item["archive"]["sha256"]


@pytest.mark.parametrize(
    ("model", "n", "reason"),
    [
        ("vertex-veo3.1-lite", 5, "items[0].n: must be a whole number from 1 to 4, not 5"),
        ("vertex-veo3.1-lite", 0, "items[0].n: must be a whole number from 1 to 4, not 0"),
        ("vertex-veo3.1-lite", "2", 'items[0].n: must be a whole number from 1 to 4, not "2"'),
        ("seedance-2.0-mini", 2, "items[0].n: seedance-2.0-mini has no such option"),
    ],
)
def test_more_videos_than_the_model_makes_are_refused_before_anything_is_reserved(
    tenant: Tenant, model: str, n: object, reason: str
) -> None:
    before = tenant.get("/v1/credits/balance")
    refused = tenant.post("/v1/batches", {"items": [{"prompt": "a", "model": model, "n": n}]}, status=422)
    assert refused["message"].startswith(reason)
    assert tenant.get("/v1/credits/balance") == before
