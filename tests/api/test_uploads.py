"""Uploads over HTTP: kept per account, named by items, handed on to a real service that takes bytes."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from rushes.client import Client
from rushes.domain.errors import InputError
from rushes.simulator import SimulatorThread
from tests.api.harness import RunningService, Tenant, eventually, running_service
from tests.files import media_samples as samples

PNG = samples.png()
DATA_URI = f"data:image/png;base64,{b64encode(PNG).decode()}"
MODEL = "runway-gen4.5"


@pytest.fixture(scope="module", params=("sqlite", "postgresql"))
def keeping(
    request: pytest.FixtureRequest,
    session_database_url: Callable[[str], str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningService]:
    """A service with an archive, whose providers are Grsai and Runway at the simulator."""
    environment = {
        "RUSHES_ARCHIVE_URL": str(tmp_path_factory.mktemp("uploads") / "archive"),
        "RUNWAYML_HOST": simulator.base_url,
        "RUNWAYML_API_SECRET": "key-1",
        "RUSHES_UPLOAD_BYTES_MAX": "300000",
    }
    with running_service(session_database_url(request.param), simulator.base_url, environment) as running:
        yield running


@pytest.fixture
def client(keeping: RunningService) -> Tenant:
    return keeping.tenant()


def upload(client: Tenant, data: bytes = PNG, status: int = 201) -> Any:
    return client.post("/v1/uploads", content=data, status=status)


def test_bytes_and_a_form_are_the_same_upload(client: Tenant) -> None:
    raw = upload(client)
    form = client.post("/v1/uploads", files={"file": ("a.png", PNG, "image/png")}, status=201)
    assert form["upload_id"] == raw["upload_id"]
    assert {name: raw[name] for name in ("content_type", "bytes", "width", "height", "duration_seconds")} == {
        "content_type": "image/png",
        "bytes": len(PNG),
        "width": 64,
        "height": 48,
        "duration_seconds": None,
    }
    assert client.get(f"/v1/uploads/{raw['upload_id']}")["sha256"] == raw["sha256"]


def test_another_account_does_not_have_it(client: Tenant, keeping: RunningService) -> None:
    upload_id = upload(client)["upload_id"]
    other = keeping.tenant()
    assert other.request("GET", f"/v1/uploads/{upload_id}").status_code == 404
    refused = other.batch("a", model=MODEL, first_frame=upload_id, status=422)
    assert refused["field"] == "items[0].first_frame"
    assert refused["message"].endswith("it expired, or was never yours")
    assert other.get("/v1/credits/balance")["reserved"] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ({"content": b""}, 422, "file: the file is empty"),
        ({"content": b"<html>"}, 422, "file: the file is not a PNG"),
        ({"content": PNG[:50]}, 422, "file: the picture breaks off"),
        ({"content": b"x" * 300_001}, 413, "the body has more than 300000 bytes"),
        ({"files": {"picture": ("a.png", PNG)}}, 422, "file: missing: the form has no file of that name"),
        (
            {"content": b"--", "headers": {"content-type": "multipart/form-data"}},
            400,
            "",
        ),
    ],
)
def test_what_is_no_file_is_refused(
    client: Tenant, arguments: dict[str, Any], status: int, message: str
) -> None:
    assert client.post("/v1/uploads", status=status, **arguments)["message"].startswith(message)


@pytest.mark.parametrize("way", ["upload", "data URI"])
def test_a_picture_goes_into_a_video(
    client: Tenant, simulator: SimulatorThread, keeping: RunningService, way: str
) -> None:
    value = upload(client)["upload_id"] if way == "upload" else DATA_URI
    batch = client.batch(f"a boat by {way}", model=MODEL, first_frame=value)
    assert client.finished(batch["batch_id"])["succeeded_count"] == 1
    (row,) = keeping.rows(
        "SELECT t.options FROM video_tasks t JOIN batches b ON b.id = t.batch_id WHERE b.public_id = :id",
        id=batch["batch_id"],
    )
    assert f'"first_frame":"{upload(client)["upload_id"]}"' in row["options"]


def test_a_model_that_takes_urls_only_refuses_an_upload_before_anything_is_reserved(client: Tenant) -> None:
    refused = client.batch("a", model="veo-pro", first_frame=DATA_URI, status=422)
    assert refused["message"] == (
        "items[0].first_frame: the model takes URLs only, and uploads have no public link here;"
        " give the file's URL"
    )
    assert client.get("/v1/credits/balance")["reserved"] == 0
    assert (
        client.post("/v1/quotes", {"items": [{"prompt": "a", "model": "veo-pro"}]})["required_credits"] == 60
    )


def test_a_batch_that_cannot_be_paid_stores_no_file(keeping: RunningService) -> None:
    poor = keeping.tenant(credits=1)
    refused = poor.batch("a", model=MODEL, first_frame=DATA_URI, status=402)
    assert refused["error"] == "INSUFFICIENT_CREDITS"
    assert (
        keeping.rows(
            "SELECT u.id FROM uploads u JOIN accounts a ON a.id = u.account_id WHERE a.name = :name",
            name=poor.account,
        )
        == []
    )


def test_a_broken_data_uri_is_named_by_its_item(client: Tenant) -> None:
    items = [{"prompt": "a"}, {"prompt": "b", "first_frame": DATA_URI[:-40]}]
    refused = client.post("/v1/batches", {"items": items, "model": MODEL}, status=422)
    assert refused["field"] == "items[1].first_frame"


def test_openais_sdk_gives_a_file_a_data_uri_or_an_upload(client: Tenant) -> None:
    sdk = openai.OpenAI(base_url=f"{client.base_url}/v1", api_key=client.key, max_retries=0)
    given: list[dict[str, Any]] = [
        {"input_reference": ("boat.png", PNG, "image/png")},
        {"extra_body": {"input_reference": {"image_url": DATA_URI}}},
        {"extra_body": {"input_reference": {"file_id": upload(client)["upload_id"]}}},
    ]
    for reference in given:
        video = sdk.videos.create(prompt="a boat", model=MODEL, **reference)
        assert client.finished(video.id)["succeeded_count"] == 1
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        sdk.videos.create(prompt="a", model=MODEL, input_reference=("a.png", b"no picture", "image/png"))
    said = refused.value.response.json()
    assert said["message"].startswith("input_reference: the file is not a PNG")


def test_a_file_of_requests_names_uploads_and_brings_data_uris(client: Tenant) -> None:
    sdk = openai.OpenAI(base_url=f"{client.base_url}/openai/v1", api_key=client.key, max_retries=0)

    def batch_of(*references: Any) -> Any:
        bodies = [{"model": MODEL, "prompt": "a kite", "input_reference": each} for each in references]
        lines = [
            {"custom_id": str(n), "method": "POST", "url": "/v1/videos", "body": body}
            for n, body in enumerate(bodies)
        ]
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        file = sdk.files.create(file=("requests.jsonl", data), purpose="batch")
        return sdk.batches.create(input_file_id=file.id, endpoint="/v1/videos", completion_window="24h")

    made = batch_of({"image_url": DATA_URI}, {"file_id": upload(client)["upload_id"]})
    done = eventually(lambda: sdk.batches.retrieve(made.id), lambda batch: batch.status == "completed")
    assert done.request_counts is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (2, 0)
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        batch_of({"image_url": DATA_URI}, {"file_id": "upl_" + "0" * 32})
    assert "requests.jsonl:2" in refused.value.response.text
    assert "there is no upload upl_000" in refused.value.response.text


def test_a_link_to_an_upload_gives_its_bytes_until_it_ends(client: Tenant, keeping: RunningService) -> None:
    service = keeping.service
    assert service is not None
    upload_id = upload(client)["upload_id"]

    def link(now_ms: int) -> str:
        async def find(rushes: Any) -> Any:
            return await rushes.uploads.kept(upload_id)

        return str(service.links.at(client.base_url).upload_link(keeping.ask(find), now_ms=now_ms))

    (found,) = keeping.rows("SELECT created_at_ms FROM uploads WHERE public_id = :id", id=upload_id)
    fresh = link(found["created_at_ms"])
    assert fresh.endswith(".png")
    answer = client.http.get(fresh, headers={"x-api-key": ""})
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
    for bad in (link(0), fresh.replace("upl_", "upl_0"), fresh[:-10] + ".png"):
        assert client.http.get(bad).status_code == 404


def test_the_python_client_uploads_a_path_or_bytes(client: Tenant, tmp_path: Path) -> None:
    (tmp_path / "frame.png").write_bytes(PNG)
    with Client(client.base_url, client.key) as rushes:
        upload_id = rushes.upload(tmp_path / "frame.png")["upload_id"]
        assert rushes.upload(PNG)["upload_id"] == upload_id
        batch = rushes.create_batch([{"prompt": "a", "first_frame": upload_id}], model=MODEL)
        assert rushes.wait(batch["batch_id"])["succeeded_count"] == 1
        with pytest.raises(InputError, match="the file is not a PNG"):
            rushes.upload(b"no picture")
        with pytest.raises(InputError, match="cannot be read: No such file"):
            rushes.upload(tmp_path / "gone.png")


def test_the_library_takes_paths_beside_the_prompts(keeping: RunningService, tmp_path: Path) -> None:
    (tmp_path / "frame.png").write_bytes(PNG)

    async def make(rushes: Any) -> Any:
        return await rushes.create_batch(
            [{"prompt": "a", "first_frame": "frame.png"}], model=MODEL, folder=tmp_path, grant=1000
        )

    assert keeping.ask(make)["credits_reserved"] > 0
    assert b64decode(DATA_URI.partition(",")[2]) == PNG
