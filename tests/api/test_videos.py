"""The official OpenAI SDK, unmodified, against the service with the simulator behind it."""

import asyncio
import json
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import trustme
from sqlalchemy import text

from rushes.api.shapes import openai_models
from rushes.client import Client
from rushes.files.guard import addresses as net_guard
from rushes.files.guard.addresses import UrlRefused
from rushes.files.guard.client import GuardedHttp
from rushes.library import Rushes
from rushes.simulator import SimulatorThread, running_simulator
from tests.api.harness import RunningService, Tenant, running_service
from tests.harness import knobs

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


@pytest.fixture
def client(tenant: Tenant) -> Iterator[openai.OpenAI]:
    """The SDK with this account's key."""
    with openai.OpenAI(base_url=f"{tenant.base_url}/v1", api_key=tenant.key, max_retries=0) as opened:
        yield opened


def test_create_and_poll_then_download(client: openai.OpenAI, tenant: Tenant) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        video = client.videos.create_and_poll(
            model="sora-2", prompt="a paper boat", seconds="8", size="1280x720", poll_interval_ms=100
        )
        assert video.status == "completed"
        assert video.progress == 100
        assert (video.seconds, video.size, video.model) == ("10", "1280x720", "sora-2")
        assert video.prompt == "a paper boat"
        assert video.completed_at is not None
        assert video.completed_at >= video.created_at
        content = client.videos.download_content(video.id)
        data = content.read()
    assert data[4:8] == b"ftyp"
    assert content.response.headers["content-type"] == "video/mp4"
    balance = tenant.get("/v1/credits/balance")
    assert (balance["available"], balance["reserved"]) == (100_000 - 10, 0)


def test_retrieve_list_and_delete(client: openai.OpenAI, tenant: Tenant) -> None:
    made = [
        client.videos.create_and_poll(prompt=f"p{n}", model="sora-2", poll_interval_ms=100) for n in range(3)
    ]
    assert client.videos.retrieve(made[0].id).id == made[0].id
    assert [video.id for video in client.videos.list()] == [video.id for video in reversed(made)]
    paged = [video.id for video in client.videos.list(limit=1, order="asc")]
    assert paged == [video.id for video in made]
    deleted = client.videos.delete(made[1].id)
    assert (deleted.id, deleted.deleted, deleted.object) == (made[1].id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(made[1].id)
    with pytest.raises(openai.NotFoundError):
        client.videos.download_content(made[1].id)
    with pytest.raises(openai.NotFoundError):
        client.videos.delete(made[1].id)
    assert [video.id for video in client.videos.list()] == [made[2].id, made[0].id]
    assert tenant.get(f"/v1/batches/{made[1].id}")["status"] == "succeeded", "the books stay"


def test_nothing_links_to_a_deleted_video_any_more(
    tenant: Tenant, service: RunningService, tmp_path: Path
) -> None:
    batch_id = tenant.batch("a", "b")["batch_id"]
    tenant.finished(batch_id)
    tenant.request("DELETE", f"/v1/videos/{batch_id}-0")
    gone, there = tenant.get(f"/v1/batches/{batch_id}/items")["items"]
    assert (gone["status"], gone["video_url"], gone["thumbnail_url"]) == ("succeeded", None, None)
    assert (gone["archive"]["state"], gone["archive"]["reason"]) == ("removed", "the video was deleted")
    assert there["video_url"] is not None
    export = tenant.request("GET", f"/v1/batches/{batch_id}/export").text
    assert [json.loads(line)["video_url"] is None for line in export.splitlines()] == [True, False]
    (attempt,) = tenant.get(f"/v1/batches/{batch_id}/items/0/attempts")["attempts"]
    assert attempt["video_url"] is None
    stream = tenant.request("GET", f"/v1/batches/{batch_id}/events").text
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    urls = {
        event["data"]["index"]: event["data"]["video_url"] for event in events if "video." in event["type"]
    }
    assert urls == {0: None, 1: urls[1]}
    assert urls[1] is not None
    with Client(tenant.base_url, tenant.key) as client:
        by_client = client.download_all(batch_id, tmp_path / "client")
    by_library = service.ask(lambda rushes: rushes.download(batch_id, tmp_path / "library"))
    for manifest in (by_client, by_library):
        assert (manifest["downloaded"], manifest["failed"]) == (1, 1)
        assert manifest["files"][0]["error"] == "the video was deleted"
    assert tenant.get(f"/v1/batches/{batch_id}")["succeeded_count"] == 2, "the books stay"


def test_the_sdk_understands_refusals(client: openai.OpenAI, service: RunningService) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.videos.create(prompt="", model="sora-2")
    assert refused.value.code == "INVALID_INPUT"
    assert refused.value.response.json()["field"] == "prompt"
    assert refused.value.request_id is not None
    with pytest.raises(openai.UnprocessableEntityError) as unknown:
        client.videos.create(prompt="a", model="sora-9")
    assert unknown.value.code == "UNKNOWN_MODEL"
    assert "sora-9" in unknown.value.response.json()["message"]
    with pytest.raises(openai.NotFoundError) as missing:
        client.videos.retrieve("video_0")
    assert missing.value.code == "NOT_FOUND"
    poor = service.tenant(credits=1)
    with (
        openai.OpenAI(base_url=f"{poor.base_url}/v1", api_key=poor.key, max_retries=0) as other,
        pytest.raises(openai.APIStatusError) as unpaid,
    ):
        other.videos.create(prompt="a", model="sora-2")
    assert unpaid.value.status_code == 402
    with (
        openai.OpenAI(base_url=f"{poor.base_url}/v1", api_key="sk-wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.videos.list()


def test_a_reference_by_url_reaches_the_provider_and_an_upload_is_refused(
    client: openai.OpenAI, tenant: Tenant, service: RunningService
) -> None:
    video = client.videos.create(
        prompt="a",
        model="sora-2",
        extra_body={"input_reference": {"image_url": "https://example.com/cat.png"}},
    )
    (row,) = service.rows(
        "SELECT t.options FROM video_tasks t JOIN batches b ON b.id = t.batch_id WHERE b.public_id = :id",
        id=video.id,
    )
    assert '"references":["https://example.com/cat.png"]' in row["options"]
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.videos.create(prompt="a", model="sora-2", input_reference=("cat.png", b"\x89PNG", "image/png"))
    assert refused.value.response.json()["field"] == "input_reference"


def test_a_failed_video_says_why(session_database_url: Callable[[str], str]) -> None:
    with (
        running_simulator(knobs(render_seconds=0.1, output_moderation=1.0)) as strict,
        running_service(session_database_url("sqlite"), strict.base_url) as running,
    ):
        tenant = running.tenant()
        with openai.OpenAI(base_url=f"{tenant.base_url}/v1", api_key=tenant.key, max_retries=0) as client:
            video = client.videos.create_and_poll(prompt="a", model="sora-2", poll_interval_ms=50)
            assert video.status == "failed"
            assert video.error is not None
            assert (video.error.code, video.error.message) == ("output_moderation", "output_moderation")
            with pytest.raises(openai.BadRequestError):
                client.videos.download_content(video.id)
        assert tenant.get("/v1/credits/balance")["available"] == 100_000


# --- over plain HTTP ------------------------------------------------------------------------------------


def test_json_bodies_work_and_have_the_documented_shape(idle_tenant: Tenant) -> None:
    made = idle_tenant.post("/v1/videos", {"prompt": "a", "model": "veo-flash", "size": "720x1280"})
    openai_models.Video.model_validate(made)
    assert (made["status"], made["progress"], made["seconds"]) == ("queued", 0, None)
    openai_models.VideoPage.model_validate(idle_tenant.get("/v1/videos"))
    refused = idle_tenant.request("DELETE", f"/v1/videos/{made['id']}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "VIDEO_NOT_FINISHED")
    refused = idle_tenant.request("GET", f"/v1/videos/{made['id']}/content")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "VIDEO_NOT_FINISHED")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": "a", "seconds": "16"}, "seconds"),
        ({"prompt": "a", "seconds": "x"}, "seconds"),
        ({"prompt": "a", "seconds": -4}, "seconds"),
        ({"prompt": "a", "seconds": 10**30}, "seconds"),
        ({"prompt": "a", "seconds": True}, "seconds"),
        ({"prompt": "a", "seconds": "x", "model": "veo-pro"}, "seconds"),
        ({"prompt": "a", "size": "1x1"}, "size"),
        ({"prompt": "a", "size": "1792x1024", "model": "veo-pro"}, "size"),
        ({"prompt": "a", "input_reference": {"file": "f"}}, "input_reference.file"),
        ({"prompt": "a", "input_reference": 7}, "input_reference"),
        ({"prompt": "a", "input_reference": "data:image/png;base64,AAAA"}, "input_reference"),
        ({"prompt": "a", "input_reference": {"file_id": "f"}}, "input_reference"),
        ({"prompt": "a", "colour": 1}, "colour"),
    ],
)
def test_a_wrong_parameter_is_named(idle_tenant: Tenant, fields: dict[str, Any], field: str) -> None:
    assert idle_tenant.post("/v1/videos", fields, status=422)["field"] == field


@pytest.mark.parametrize(
    ("seconds", "model", "expected"),
    [(None, "sora-2", "10"), ("4", "sora-2", "10"), ("12", "sora-2", "15"), (15, "sora-2", "15"),
     (None, "minimax-h3", "4"), ("8", "minimax-h3", "8"), ("8", "veo-pro", None)],
)  # fmt: skip
def test_lengths_become_those_that_the_model_has(
    idle_tenant: Tenant, seconds: object, model: str, expected: str | None
) -> None:
    fields = {"prompt": "a", "model": model, **({} if seconds is None else {"seconds": seconds})}
    assert idle_tenant.post("/v1/videos", fields)["seconds"] == expected


def test_a_repeat_with_the_same_idempotency_key_is_the_same_video(idle_tenant: Tenant) -> None:
    headers = {"Idempotency-Key": "v-1"}
    first = idle_tenant.post("/v1/videos", {"prompt": "a"}, headers=headers)
    again = idle_tenant.post("/v1/videos", {"prompt": "a"}, headers=headers)
    assert first["id"] == again["id"]
    refused = idle_tenant.post("/v1/videos", {"prompt": "b"}, headers=headers, status=422)
    assert refused["error"]["code"] == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b"--x\r\n\r\n",
        b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n\xff\r\n--x--',
    ],
)
def test_a_broken_form_is_refused(idle_tenant: Tenant, body: bytes) -> None:
    for kind in ("multipart/form-data; boundary=x", "multipart/form-data"):
        answer = idle_tenant.request("POST", "/v1/videos", content=body, headers={"content-type": kind})
        assert answer.status_code in (400, 422), answer.text


# --- files ----------------------------------------------------------------------------------------------


def test_any_items_file_is_served_in_parts_too(tenant: Tenant) -> None:
    batch_id = tenant.batch("a", "b")["batch_id"]
    tenant.finished(batch_id)
    path = f"/v1/videos/{batch_id}-1/content"
    whole = tenant.request("GET", path)
    assert whole.status_code == 200
    assert int(whole.headers["content-length"]) == len(whole.content) > 1000
    assert "nosniff" in whole.headers["x-content-type-options"]
    part = tenant.request("GET", path, headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, whole.content[4:8])
    assert part.headers["content-range"] == f"bytes 4-7/{len(whole.content)}"
    beyond = tenant.request("GET", path, headers={"range": "bytes=99999999-"})
    assert (beyond.status_code, beyond.json()["error"]["code"]) == (416, "RANGE_NOT_SATISFIABLE")
    assert tenant.request("GET", f"/v1/videos/{batch_id}/content").status_code == 404, "which of the two?"
    assert tenant.request("GET", path, params={"variant": "thumbnail"}).status_code == 404
    assert tenant.request("GET", path, params={"variant": "poster"}).status_code == 422


@pytest.mark.parametrize(
    ("habits", "status", "code"),
    [
        ({"file_redirect": 1.0, "file_redirect_url": "http://127.0.0.1:1/"}, 502, "FILE_UNREACHABLE"),
        ({"file_redirect": 1.0, "file_redirect_url": "file:///etc/passwd"}, 502, "FILE_UNREACHABLE"),
        ({"file_server_error": 1.0}, 502, "FILE_UNREACHABLE"),
        ({"file_expiry_seconds": 0.0}, 410, "VIDEO_EXPIRED"),
    ],
)
def test_a_file_that_cannot_be_had_is_a_refusal(
    session_database_url: Callable[[str], str], habits: dict[str, Any], status: int, code: str
) -> None:
    with (
        running_simulator(knobs(render_seconds=0.1, **habits)) as simulator,
        running_service(session_database_url("sqlite"), simulator.base_url) as running,
    ):
        tenant = running.tenant()
        video_id = tenant.post("/v1/videos", {"prompt": "a"})["id"]
        tenant.finished(video_id)
        answer = tenant.http.get(f"/v1/videos/{video_id}/content")
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def test_private_files_are_out_of_reach_unless_the_operator_allows_them(
    session_database_url: Callable[[str], str],
) -> None:
    """The provider's own host is the operator's choice; a file that it has elsewhere is not."""
    strict = {"RUSHES_ALLOW_PRIVATE_URLS": "", "RUSHES_ARCHIVE_URL": "none"}
    with (
        running_simulator(knobs(render_seconds=0.1), public_url="http://127.0.0.2:9") as simulator,
        running_service(session_database_url("sqlite"), simulator.base_url, strict) as running,
    ):
        tenant = running.tenant()
        video_id = tenant.post("/v1/videos", {"prompt": "a"})["id"]
        tenant.finished(video_id)
        answer = tenant.http.get(f"/v1/videos/{video_id}/content")
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "FILE_UNREACHABLE")


def test_a_page_served_as_a_video_is_handed_on_as_mere_bytes(
    session_database_url: Callable[[str], str],
) -> None:
    with (
        running_simulator(knobs(render_seconds=0.1, file_oversize=0.0, file_html=1.0)) as simulator,
        running_service(session_database_url("sqlite"), simulator.base_url) as running,
    ):
        tenant = running.tenant()
        video_id = tenant.post("/v1/videos", {"prompt": "a"})["id"]
        tenant.finished(video_id)
        answer = tenant.request("GET", f"/v1/videos/{video_id}/content")
        assert answer.headers["content-type"] in ("video/mp4", "application/octet-stream")
        assert answer.headers["x-content-type-options"] == "nosniff"


class _BreaksOff(BaseHTTPRequestHandler):
    """Promises ten megabytes and sends one."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "video/mp4")
        self.send_header("content-length", "10000000")
        self.end_headers()
        self.wfile.write(b"x" * 1_000_000)

    def log_message(self, *_arguments: object) -> None:
        pass


def test_a_transfer_that_breaks_off_is_seen_to_be_incomplete(
    session_database_url: Callable[[str], str], simulator: SimulatorThread
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _BreaksOff)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with running_service(session_database_url("sqlite"), simulator.base_url) as running:
        tenant = running.tenant()
        video_id = tenant.post("/v1/videos", {"prompt": "a"})["id"]
        tenant.finished(video_id)

        async def move(rushes: Rushes) -> None:
            url = f"http://127.0.0.1:{server.server_port}/video.mp4"
            await rushes.database.transact(
                lambda connection: connection.execute(
                    text("UPDATE video_tasks SET video_url = :url"), {"url": url}
                )
            )

        running.ask(move)
        with pytest.raises(httpx2.TransportError):
            tenant.http.get(f"/v1/videos/{video_id}/content")
    server.shutdown()
    server.server_close()


def test_a_redirect_into_the_private_network_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from outside: the first host passes for a public one, the place it redirects to does not."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("files.example").configure_cert(context)
    reached: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.readuntil(b"\r\n\r\n"))
        location = (
            b"https://10.0.0.1/secret" if b"/literal" in reached[-1] else b"https://inside.example/secret"
        )
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def resolve(host: str, _port: int) -> list[str]:
        return ["127.0.0.1"] if host == "files.example" else ["127.0.0.2"]

    monkeypatch.setattr(net_guard, "is_public", lambda address: str(address) == "127.0.0.1")

    async def scenario() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        http = GuardedHttp(
            allow_private=False, resolve=resolve, root_certificates_pem=authority.cert_pem.bytes()
        )
        for path in ("literal", "name"):
            with pytest.raises(UrlRefused):
                async with http.get(f"https://files.example:{port}/{path}", headers={}, timeout_seconds=5):
                    pytest.fail("it was followed")
        await http.close()
        server.close()

    asyncio.run(scenario())
    assert len(reached) == 2


# --- what else OpenAI's clients ask ---------------------------------------------------------------------


def test_the_sdk_lists_models(client: openai.OpenAI, tenant: Tenant) -> None:
    found = {model.id: model for model in client.models.list()}
    assert {"sora-2", "veo-pro", "minimax-h3"} <= found.keys()
    sora = client.models.retrieve("sora-2")
    assert (sora.id, sora.object, sora.owned_by) == ("sora-2", "model", "grsai")
    facts = sora.model_extra["rushes"] if sora.model_extra else {}
    assert (facts["price"], facts["available"], facts["why_not"]) == ("10 a video", True, None)
    assert {"duration", "aspect_ratio"} <= {option["name"] for option in facts["options"]}
    assert {option["name"] for option in facts["inputs"]} == {"references"}
    with pytest.raises(openai.NotFoundError, match="no such model"):
        client.models.retrieve("gpt-2")
    openai_models.ModelList.model_validate(tenant.get("/v1/models"))
    with openai.OpenAI(base_url=f"{tenant.base_url}/openai/v1", api_key=tenant.key) as other:
        assert {model.id for model in other.models.list()} == found.keys()
        assert other.videos.list().data == []


def test_dated_names_metadata_and_user_are_taken(client: openai.OpenAI, tenant: Tenant) -> None:
    more = {"metadata": {"shelf": "7"}, "user": "u-1"}
    video = client.videos.create(prompt="a", model="sora-2-2025-10-06", extra_body=more)
    assert video.model == "sora-2"
    (item,) = tenant.get(f"/v1/batches/{video.id}/items")["items"]
    assert item["metadata"] == {"shelf": "7"}
    fields = {"prompt": "a", "model": "veo-pro-2026-13-45", "metadata": {"a": 1}}
    assert tenant.post("/v1/videos", fields)["model"] == "veo-pro"
    assert tenant.post("/v1/videos", {"prompt": "a", "model": "x-2025-10-06"}, status=422)["field"] == "model"
    assert client.models.retrieve("sora-2-2025-10-06").id == "sora-2"
    for unknown in ("x-2025-10-06", "sora-2-2025-10"):
        assert tenant.request("GET", f"/v1/models/{unknown}").status_code == 404
    assert tenant.post("/v1/videos", {"prompt": "a", "user": 7}, status=422)["field"] == "user"
    assert tenant.post("/v1/videos", {"prompt": "a", "metadata": []}, status=422)["field"] == "metadata"


def test_what_no_model_does_is_said_in_a_sentence(client: openai.OpenAI) -> None:
    video = client.videos.create(prompt="a", model="sora-2")
    with pytest.raises(openai.InternalServerError, match="no model here changes a finished video") as refused:
        client.videos.remix(video.id, prompt="b")
    assert (refused.value.status_code, refused.value.code) == (501, "NOT_SUPPORTED")
    with pytest.raises(openai.NotFoundError):
        client.videos.remix("video_0", prompt="b")
    with pytest.raises(openai.InternalServerError, match="edits or extends"):
        client.videos.edit(video=b"x", prompt="b")
