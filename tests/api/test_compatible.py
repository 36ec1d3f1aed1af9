"""Programs written for the earlier service, and what HTTP clients of any kind count on."""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import httpx_sse
import openai
import pytest

from rushes.api.edge.protocol import URL_BYTES_MAX
from tests.api.harness import RunningService, Tenant, assert_problem, running_service

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")

ORIGIN = "https://app.example.com"


def _earlier(tenant: Tenant, path: str, document: object, **headers: str) -> httpx2.Response:
    return tenant.request("POST", path, json=document, headers=headers)


def test_the_earlier_services_example_runs_on_every_model(tenant: Tenant) -> None:
    """Its `duration` is 5 or 10, and 5 for every model."""
    items = [
        {"prompt": "a kite", "model": model, "duration": 5, "aspect_ratio": "9:16"}
        for model in ("sora-2", "veo-flash", "veo-pro", "minimax-h3")
    ]
    made = _earlier(tenant, "/api/enterprise/video-batch", {"items": items}, **{"x-request-id": "r-1"}).json()
    assert (made["status"], made["total_count"], made["request_id"]) == ("pending", 4, "r-1")
    found = tenant.get(f"/api/v1/batches/{made['batch_id']}/items")["items"]
    assert [item["options"].get("duration") for item in found] == [10, None, None, 5]
    assert tenant.finished(made["batch_id"])["succeeded_count"] == 4


@pytest.mark.parametrize("path", ["/api/enterprise/video-batch", "/api/video/batch"])
def test_there_x_request_id_makes_a_repeat_harmless(idle_tenant: Tenant, path: str) -> None:
    body, headers = {"items": [{"prompt": "a", "duration": 10}]}, {"x-request-id": "order 17/a"}
    first = _earlier(idle_tenant, path, body, **headers)
    again = _earlier(idle_tenant, path, body, **headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["idempotent_replay"]
    assert first.json()["batch_id"] == again.json()["batch_id"]
    assert idle_tenant.get("/v1/credits/balance")["reserved"] == 10
    other = _earlier(idle_tenant, path, {"items": [{"prompt": "b"}]}, **headers)
    assert other.json()["error"] == "IDEMPOTENCY_KEY_REUSED"
    own_name = _earlier(idle_tenant, path, {**body, "request_id": "mine"}, **headers)
    assert (own_name.status_code, own_name.json()["request_id"]) == (201, "mine")
    at_v1 = _earlier(idle_tenant, "/v1/batches", {"items": [{"prompt": "b"}]}, **headers)
    assert at_v1.status_code == 201, "elsewhere it only names the request"


@pytest.mark.parametrize("value", ["", "x" * 129])
def test_a_bad_x_request_id_is_refused_by_its_own_name(idle_tenant: Tenant, value: str) -> None:
    refused = _earlier(
        idle_tenant, "/api/video/batch", {"items": [{"prompt": "a"}]}, **{"x-request-id": value}
    )
    assert (refused.status_code, refused.json()["field"]) == (422, "x-request-id")
    assert refused.json()["detail"] == "x-request-id: must be 1 to 128 printable characters"


def test_a_length_that_a_model_lacks_becomes_its_next_longer_one(idle_tenant: Tenant) -> None:
    for route, status in (("/v1/batches", 201), ("/v1/quotes", 200)):
        for asked in (1, 9, 10):
            body = {"items": [{"prompt": "a", "duration": asked}]}
            assert idle_tenant.post(route, body, status=status)["required_credits"] == 10
        for wrong in (16, 0, -1, "5", True, 5.5):
            faulty = {"items": [{"prompt": "a", "duration": wrong}]}
            problem = idle_tenant.post(route, faulty, status=422)
            assert problem["field"] == "items[0].duration", problem
            assert "10 or 15" in problem["message"]
    template = {"template": "a {b}", "variables": {"b": ["c"]}, "duration": 11}
    batch_id = idle_tenant.post("/v1/batches", template, status=201)["batch_id"]
    (item,) = idle_tenant.get(f"/v1/batches/{batch_id}/items")["items"]
    assert item["options"] == {"duration": 15}


def test_running_is_a_word_for_processing(idle_tenant: Tenant) -> None:
    batch_id = idle_tenant.batch("a")["batch_id"]
    for status, count in (("running", 0), ("processing", 0), ("pending", 1)):
        assert idle_tenant.get(f"/v1/batches/{batch_id}/items?status={status}")["total"] == count
    assert idle_tenant.request("GET", f"/v1/batches/{batch_id}/items?status=done").status_code == 422


def test_an_unknown_parameter_is_refused_by_its_name(idle_tenant: Tenant) -> None:
    batch_id = idle_tenant.batch("a")["batch_id"]
    for path, field in (
        ("/v1/batches?limitt=3", "limitt"),
        (f"/v1/batches/{batch_id}/items?limit=3&offfset=1", "offfset"),
        (f"/v1/batches/{batch_id}?x=", "x"),
        ("/v1/credits/balance?account=other", "account"),
        ("/v1/videos?status=completed", "status"),
        ("/api/v1/batches?%00=1", None),
    ):
        answer = idle_tenant.request("GET", path)
        assert answer.status_code == 422, path
        assert assert_problem(answer).get("field") == field
    assert "did you mean" in idle_tenant.request("GET", "/v1/batches?limitt=3").json()["message"]
    unknown = httpx2.get(f"{idle_tenant.base_url}/v1/batches?x=1", trust_env=False)
    assert unknown.json()["error"] == "MISSING_API_KEY", "strangers learn nothing"


def test_an_empty_idempotency_key_is_refused(idle_tenant: Tenant) -> None:
    for path, body in (("/v1/batches", {"items": [{"prompt": "a"}]}), ("/v1/videos", {"prompt": "a"})):
        answer = idle_tenant.request("POST", path, json=body, headers={"Idempotency-Key": ""})
        assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")
    assert idle_tenant.get("/v1/batches")["data"] == []


def test_refusals_have_openais_shape_where_its_clients_ask(idle_service: RunningService) -> None:
    tenant = idle_service.tenant(credits=5)
    blank, sound = {"json": {"prompt": ""}}, {"json": {"prompt": "a"}}
    cases: list[tuple[str, str, dict[str, Any], int, str, str, str | None]] = [
        ("POST", "/v1/videos", blank, 422, "INVALID_INPUT", "invalid_request_error", "prompt"),
        ("POST", "/v1/videos", sound, 402, "INSUFFICIENT_CREDITS", "insufficient_quota", None),
        ("GET", "/v1/videos/video_1", {}, 404, "NOT_FOUND", "not_found_error", None),
        ("GET", "/api/v1/videos/video_1", {}, 404, "NOT_FOUND", "not_found_error", None),
        ("PUT", "/v1/videos", {}, 405, "METHOD_NOT_ALLOWED", "invalid_request_error", None),
        ("GET", "/v1/videos?limit=0", {}, 422, "INVALID_INPUT", "invalid_request_error", "limit"),
        ("GET", "/openai/v1/nothing", {}, 404, "NOT_FOUND", "not_found_error", None),
    ]  # fmt: skip
    for method, path, arguments, status, code, kind, param in cases:
        answer = tenant.request(method, path, **arguments)
        problem = assert_problem(answer)
        assert answer.status_code == status, answer.text
        assert problem["error"] == {
            "message": problem["message"],
            "type": kind,
            "code": code,
            "param": param,
        }
    assert tenant.request("GET", "/v1/batches/bat_1").json()["error"] == "NOT_FOUND"
    assert tenant.request("GET", "/v1/videosx").json()["error"] == "NOT_FOUND"


def test_the_sdk_says_what_is_wrong(idle_tenant: Tenant) -> None:
    with openai.OpenAI(base_url=f"{idle_tenant.base_url}/v1", api_key=idle_tenant.key) as client:
        with pytest.raises(
            openai.UnprocessableEntityError, match='unknown model "sora-3"; did you mean'
        ) as caught:
            client.videos.create(model="sora-3", prompt="a kite")
        assert (caught.value.code, caught.value.param) == ("UNKNOWN_MODEL", "model")
        made = client.videos.create(model="sora-2", prompt="a kite")
        with pytest.raises(openai.ConflictError, match="still being made") as conflict:
            client.videos.download_content(made.id)
    assert conflict.value.response.headers["x-should-retry"] == "false"


def test_head_is_answered_wherever_get_is(tenant: Tenant) -> None:
    batch_id = tenant.batch("a")["batch_id"]
    tenant.finished(batch_id)
    paths = ["/v1/batches", f"/v1/batches/{batch_id}", f"/v1/batches/{batch_id}/items", "/v1/credits/balance",
             f"/v1/batches/{batch_id}/export", f"/v1/videos/{batch_id}/content", "/healthz", "/openapi.json",
             f"/v1/batches/{batch_id}/events"]  # fmt: skip
    for path in paths:
        head = tenant.http.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["x-request-id"]
    content = tenant.http.get(f"/v1/videos/{batch_id}/content")
    head = tenant.http.head(f"/v1/videos/{batch_id}/content")
    for name in ("content-length", "content-type", "accept-ranges"):
        assert head.headers.get(name) == content.headers.get(name)
    assert tenant.http.head("/v1/batches/bat_0").status_code == 404
    assert tenant.http.head("/v1/quotes").status_code == 405
    assert "HEAD" in tenant.http.post("/healthz").headers["allow"]


@pytest.fixture(scope="module")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that one page may use."""
    url = f"sqlite:///{tmp_path_factory.mktemp('cors') / 'a.db'}"
    with running_service(url, environment={"RUSHES_CORS_ORIGINS": ORIGIN}, with_worker=False) as running:
        yield running


def test_pages_of_named_origins_may_ask(open_service: RunningService) -> None:
    tenant = open_service.tenant()
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-api-key",
    }
    for path in ("/v1/batches", "/api/v1/batches", "/api/video/batch", "/openai/v1/files"):
        answer = tenant.http.options(path, headers=asked)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, ORIGIN), path
        assert "x-api-key" in answer.headers["access-control-allow-headers"]
        assert "POST" in answer.headers["access-control-allow-methods"]
        stranger = tenant.http.options(path, headers={**asked, "origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in stranger.headers
    for path, status in (("/v1/batches", 200), ("/v1/batches/bat_1", 404)):
        answer = tenant.http.get(path, headers={"origin": ORIGIN})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert answer.headers["vary"] == "Origin"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
    for path in ("/healthz", "/internal/batch-worker", "/metrics"):
        assert "access-control-allow-origin" not in tenant.http.get(path, headers={"origin": ORIGIN}).headers


def test_without_origins_only_links_to_files_are_for_pages(idle_tenant: Tenant) -> None:
    answer = idle_tenant.http.get("/v1/batches", headers={"origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers
    link = idle_tenant.http.get("/files/17-video-1-abc", headers={"origin": ORIGIN})
    assert link.headers["access-control-allow-origin"] == "*"
    plain = idle_tenant.http.options("/v1/batches")
    assert (plain.status_code, plain.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    assert idle_tenant.http.options("/v1/nothing").status_code == 404


def test_decoders_of_others_take_every_frame(tenant: Tenant) -> None:
    batch_id = tenant.batch("a", "b")["batch_id"]
    tenant.finished(batch_id)
    path = f"/v1/batches/{batch_id}/events"
    raw = tenant.http.get(path).content
    frames = raw.decode().removesuffix("\n\n").split("\n\n")
    assert frames[0].startswith(": ping\nretry: 2000\n")
    assert all("\ndata: {" in f"\n{frame}" for frame in frames), frames
    assert raw.count(b"retry:") == 1
    with httpx_sse.connect_sse(tenant.http, "GET", path) as source:  # type: ignore[arg-type] # same interface
        read = [event.json()["type"] for event in source.iter_sse()]
    with tenant.http.stream("GET", path) as response:
        decoder = openai._streaming.SSEDecoder()
        decoded = [json.loads(event.data)["type"] for event in decoder.iter_bytes(response.iter_bytes())]
    assert read == decoded == [re.search(r'data: {"type":"([a-z.]+)"', frame)[1] for frame in frames]  # type: ignore[index]
    assert read[-1] == "batch.succeeded"


def test_a_long_url_is_called_too_long(idle_service: RunningService) -> None:
    address = urlsplit(idle_service.base_url)
    for length in (URL_BYTES_MAX + 10, 70_000, 200_000):
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(b"GET /v1/batches?after=" + b"a" * length + b" HTTP/1.1\r\nhost: a\r\n\r\n")
            received = connection.recv(65536)
        assert received.startswith(b"HTTP/1.1 414 "), received[:200]
        assert b"URI_TOO_LONG" in received


def test_tenants_read_nothing_of_the_operators_settings(session_database_url: Any) -> None:
    environment = {"GRSAI_API_KEY": "", "FAL_KEY": "id:secret", "RUSHES_WEBHOOK_SECRET": ""}
    with running_service(
        session_database_url("sqlite"), environment=environment, with_worker=False
    ) as service:
        tenant = service.tenant()
        refused = tenant.post("/v1/batches", {"items": [{"prompt": "a", "model": "sora-2"}]}, status=422)
        assert '"sora-2" is unavailable: the service does not offer it' in refused["message"]
        texts = [
            json.dumps(refused),
            tenant.http.get("/v1/webhooks/secret").text,
            json.dumps(tenant.batch("a", model="fal-veo3.1", webhook_url="https://example.com/", status=422)),
        ]
        for text in texts:
            assert "RUSHES_" not in text, text
            assert "_KEY" not in text.replace("INVALID_API_KEY", ""), text


def test_what_has_not_changed_is_not_sent_again(idle_tenant: Tenant) -> None:
    batch_id = idle_tenant.batch("a")["batch_id"]
    for path in ("/v1/credits/balance", "/v1/credits/ledger", "/v1/models", f"/v1/batches/{batch_id}/items"):
        first = idle_tenant.http.get(path)
        tag = first.headers["etag"]
        assert tag.startswith('W/"')
        for given in (tag, f'"x", {tag}', tag.removeprefix("W/"), "*"):
            again = idle_tenant.http.get(path, headers={"if-none-match": given})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), path
            assert again.headers["x-request-id"]
        assert idle_tenant.http.get(path, headers={"if-none-match": '"x"'}).status_code == 200
    before = idle_tenant.http.get("/v1/credits/balance").headers["etag"]
    idle_tenant.batch("b")
    changed = idle_tenant.http.get("/v1/credits/balance", headers={"if-none-match": before})
    assert (changed.status_code, changed.json()["reserved"]) == (200, 20)
    assert idle_tenant.http.head("/v1/credits/balance").headers["etag"] == changed.headers["etag"]
    refused = idle_tenant.http.get("/v1/batches/bat_0", headers={"if-none-match": "*"})
    assert (refused.status_code, "etag" in refused.headers) == (404, False)
