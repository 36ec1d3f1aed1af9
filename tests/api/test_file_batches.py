"""OpenAI's Batch API, by its official SDK: from a file of requests to the files of results."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest

from rushes.api.shapes import openai_models
from rushes.simulator import SimulatorThread, running_simulator
from tests.api.harness import RunningService, Tenant, code_of, eventually, running_service
from tests.harness import knobs

FORM: dict[str, Any] = {"data": {"purpose": "batch"}}


@pytest.fixture
def client(tenant: Tenant) -> Iterator[openai.OpenAI]:
    """The SDK with this account's key, at the front door of its own."""
    with openai.OpenAI(base_url=f"{tenant.base_url}/openai/v1", api_key=tenant.key, max_retries=0) as opened:
        yield opened


def line(custom_id: str, **body: Any) -> dict[str, Any]:
    """One request."""
    fields = {"model": "sora-2", "prompt": "a kite", **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/videos", "body": fields}


def lines(*requests: object) -> bytes:
    """A file of them."""
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


def uploaded(client: openai.OpenAI, data: bytes) -> str:
    """The id of a file with these bytes."""
    return client.files.create(file=("requests.jsonl", data), purpose="batch").id


def test_from_file_upload_to_output_file(client: openai.OpenAI, tenant: Tenant) -> None:
    data = lines(
        line("a", seconds="8", size="1280x720"), line("b", model="veo-flash"), line("c", metadata={"n": 1})
    )
    file = client.files.create(file=("requests.jsonl", data), purpose="batch")
    assert (file.bytes, file.filename, file.purpose) == (len(data), "requests.jsonl", "batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/videos", completion_window="24h", metadata={"order": "7"}
    )
    assert (made.status, made.endpoint, made.input_file_id) == ("in_progress", "/v1/videos", file.id)
    assert made.expires_at == made.created_at + 86_400
    batch = eventually(lambda: client.batches.retrieve(made.id), lambda b: b.status == "completed")
    assert batch.metadata == {"order": "7"}
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (
        3,
        3,
        0,
    )
    assert batch.error_file_id is None
    assert batch.output_file_id is not None
    text = client.files.content(batch.output_file_id).text
    results = [json.loads(each) for each in text.splitlines()]
    assert [result["custom_id"] for result in results] == ["a", "b", "c"]
    assert all(result["error"] is None and result["response"]["status_code"] == 200 for result in results)
    first = results[0]["response"]["body"]
    assert (first["status"], first["seconds"], first["size"]) == ("completed", "10", "1280x720")
    assert client.videos.download_content(first["id"]).read()[4:8] == b"ftyp"
    output = client.files.retrieve(batch.output_file_id)
    assert (output.bytes, output.purpose) == (len(text.encode()), "batch_output")
    assert [each.id for each in client.batches.list()] == [made.id]
    assert tenant.get(f"/v1/batches/{made.id}")["metadata"] == {"order": "7"}, (
        "the same batch by its own door"
    )
    assert tenant.get("/v1/credits/balance")["reserved"] == 0


def test_failures_are_in_the_file_of_errors(session_database_url: Callable[[str], str]) -> None:
    with (
        running_simulator(knobs(render_seconds=0.1, output_moderation=1.0)) as strict,
        running_service(session_database_url("sqlite"), strict.base_url) as running,
    ):
        tenant = running.tenant()
        with openai.OpenAI(base_url=f"{tenant.base_url}/openai/v1", api_key=tenant.key) as client:
            made = client.batches.create(
                input_file_id=uploaded(client, lines(line("a"))),
                endpoint="/v1/videos",
                completion_window="24h",
            )
            batch = eventually(lambda: client.batches.retrieve(made.id), lambda b: b.status == "completed")
            assert batch.output_file_id is None
            assert batch.error_file_id is not None
            (failed,) = client.files.content(batch.error_file_id).text.splitlines()
        assert json.loads(failed)["custom_id"] == "a"
        assert json.loads(failed)["error"] == {"code": "output_moderation", "message": "output_moderation"}
        assert json.loads(failed)["response"] is None


def test_files_are_listed_downloaded_and_deleted(idle_tenant: Tenant, idle_service: RunningService) -> None:
    other = idle_service.tenant()
    with (
        openai.OpenAI(base_url=f"{idle_tenant.base_url}/openai/v1", api_key=idle_tenant.key) as client,
        openai.OpenAI(base_url=f"{other.base_url}/openai/v1", api_key=other.key) as stranger,
    ):
        data = [lines(line(str(n))) for n in range(3)]
        ids = [uploaded(client, each) for each in data]
        assert [file.id for file in client.files.list()] == ids[::-1]
        assert [file.id for file in client.files.list(limit=1, order="asc")] == ids
        assert client.files.content(ids[1]).read() == data[1]
        for ask in (
            lambda: stranger.files.retrieve(ids[0]),
            lambda: stranger.files.content(ids[0]),
            lambda: stranger.files.delete(ids[0]),
            lambda: stranger.batches.create(
                input_file_id=ids[0], endpoint="/v1/videos", completion_window="24h"
            ),
            lambda: client.files.retrieve("file-output-bat_0"),
            lambda: client.files.content("file-none"),
        ):
            with pytest.raises(openai.NotFoundError):
                ask()
        assert client.files.delete(ids[0]).deleted
        assert [file.id for file in client.files.list()] == ids[:0:-1]
        assert list(stranger.files.list()) == []
        short = client.files.create(
            file=("x.jsonl", data[0]),
            purpose="batch",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )
        assert short.expires_at == short.created_at + 3600
    openai_models.FileList.model_validate(idle_tenant.get("/openai/v1/files"))


def test_a_repeat_is_the_same_batch_and_a_cancel_refunds(idle_tenant: Tenant) -> None:
    with openai.OpenAI(base_url=f"{idle_tenant.base_url}/openai/v1", api_key=idle_tenant.key) as client:
        file_id = uploaded(client, lines(line("a"), line("b")))

        def create(window: str = "24h") -> Any:
            return client.batches.create(
                input_file_id=file_id,
                endpoint="/v1/videos",
                completion_window=window,  # type: ignore[arg-type] # others than OpenAI's work here
                extra_headers={"Idempotency-Key": "k"},
            )

        first, again = create(), create()
        assert first.id == again.id
        assert idle_tenant.get("/v1/credits/balance")["reserved"] == 20
        with pytest.raises(openai.UnprocessableEntityError, match="another body"):
            create("48h")
        cancelled = client.batches.cancel(first.id)
        assert (cancelled.status, cancelled.output_file_id) == ("cancelled", None)
        assert idle_tenant.get("/v1/credits/balance")["available"] == 100_000
        with pytest.raises(openai.BadRequestError):
            client.batches.cancel(first.id)
        own = idle_tenant.batch("a")["batch_id"]
        with pytest.raises(openai.NotFoundError):
            client.batches.retrieve(own)


WRONG_FILES: list[tuple[bytes, str]] = [
    (b"\n \n", "requests.jsonl: has no requests"),
    (b"\xff\xfe", "requests.jsonl: is not UTF-8"),
    (b"{", "requests.jsonl:1: not JSON"),
    (b"[]", "requests.jsonl:1: must be an object"),
    (
        lines(line("a"), {**line("b"), "url": "/v1/chat/completions"}),
        "requests.jsonl:2: url: must be /v1/videos",
    ),
    (lines({**line("a"), "method": "GET"}), "requests.jsonl:1: method: must be POST"),
    (lines({**line("a"), "colour": 1}), 'requests.jsonl:1: unknown field "colour"'),
    (lines({**line("a"), "body": "x"}), "requests.jsonl:1: body: must be an object"),
    (lines({**line("a"), "custom_id": None}), "requests.jsonl:1: custom_id: missing"),
    (lines(line("a"), line("a")), 'requests.jsonl:2: custom_id: "a" is already used by line 1'),
    (lines(line("a"), line("b", prompt=" ")), "requests.jsonl:2: body.prompt: blank"),
    (lines(line("a", model="sora-9")), 'requests.jsonl:1: body.model: unknown model "sora-9"'),
    (lines(line("a", seconds="99")), "requests.jsonl:1: body.seconds: sora-2 makes at most 15 seconds"),
    (lines(line("a", metadata=[])), "requests.jsonl:1: body.metadata: must be an object"),
]


def test_a_faulty_request_is_named_by_its_line_and_nothing_is_reserved(idle_tenant: Tenant) -> None:
    for data, message in WRONG_FILES:
        file = {"file": ("requests.jsonl", data)}
        answer = idle_tenant.request("POST", "/openai/v1/files", files=file, **FORM)
        assert answer.status_code == 200, (data, answer.text)
        body = {"input_file_id": answer.json()["id"], "endpoint": "/v1/videos", "completion_window": "24h"}
        refused = idle_tenant.post("/openai/v1/batches", body, status=422)
        assert refused["message"].startswith(message), refused["message"]
    assert idle_tenant.get("/v1/batches")["data"] == []
    poor = {"input_file_id": uploaded_by(idle_tenant, lines(*(line(str(n)) for n in range(10_001))))}
    refused = idle_tenant.post(
        "/openai/v1/batches", {**poor, "endpoint": "/v1/videos", "completion_window": "24h"}, status=422
    )
    assert "more than 10000 requests" in refused["message"]


def uploaded_by(tenant: Tenant, data: bytes) -> str:
    """The id of a file, by plain HTTP."""
    answer: httpx2.Response = tenant.request(
        "POST", "/openai/v1/files", files={"file": ("requests.jsonl", data)}, **FORM
    )
    found: str = answer.json()["id"]
    return found


def test_wrong_uploads_and_batches_are_refused_by_their_field(idle_tenant: Tenant) -> None:
    file = {"file": ("x.jsonl", lines(line("a")))}
    uploads: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({}, file, "purpose"),
        ({"purpose": "fine-tune"}, file, "purpose"),
        ({"purpose": "batch"}, {"file": ("x.jsonl", b"")}, "file"),
        ({"purpose": "batch"}, {"other": ("x.jsonl", b"a")}, "file"),
        ({"purpose": "batch", "colour": "red"}, file, "colour"),
        ({"purpose": "batch", "expires_after[seconds]": "5"}, file, "expires_after.seconds"),
        ({"purpose": "batch", "expires_after[seconds]": "9" * 30}, file, "expires_after.seconds"),
    ]
    for data, files, field in uploads:
        answer = idle_tenant.request("POST", "/openai/v1/files", data=data, files=files)
        assert (answer.status_code, answer.json().get("field")) == (422, field), answer.text
    answer = idle_tenant.request("POST", "/openai/v1/files", json={"purpose": "batch"})
    assert (answer.status_code, code_of(answer.json())) == (415, "UNSUPPORTED_MEDIA_TYPE")
    sound = {"input_file_id": uploaded_by(idle_tenant, lines(line("a"))), "endpoint": "/v1/videos"}
    for more, field in (
        ({}, "completion_window"),
        ({"completion_window": "31d"}, "completion_window"),
        ({"completion_window": "24"}, "completion_window"),
        ({"completion_window": "24h", "endpoint": "/v1/responses"}, "endpoint"),
        ({"completion_window": "24h", "input_file_id": 7}, "input_file_id"),
        ({"completion_window": "24h", "metadata": []}, "metadata"),
        ({"completion_window": "24h", "colour": 1}, "colour"),
    ):
        assert idle_tenant.post("/openai/v1/batches", {**sound, **more}, status=422)["field"] == field
    unknown = {**sound, "input_file_id": "file-0", "completion_window": "24h"}
    idle_tenant.post("/openai/v1/batches", unknown, status=404)


def test_files_are_bounded_expire_and_are_erased(
    session_database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, simulator: SimulatorThread
) -> None:
    from rushes.store.inputs import request_files

    monkeypatch.setattr(request_files, "FILES_PER_ACCOUNT_MAX", 2)
    with running_service(session_database_url("sqlite"), simulator.base_url) as running:
        tenant = running.tenant()
        ids = [uploaded_by(tenant, lines(line("secret prompt"))) for _ in range(2)]
        answer = tenant.request("POST", "/openai/v1/files", files={"file": ("x", b"{}")}, **FORM)
        assert (answer.status_code, answer.json()["field"]) == (422, "file")

        async def expire(rushes: Any) -> int:
            late: int = await rushes.database.transact(request_files.remove_expired, 10**15)
            return late

        batch = {"input_file_id": ids[0], "endpoint": "/v1/videos", "completion_window": "1h"}
        made = tenant.post("/openai/v1/batches", batch)
        tenant.finished(made["id"])
        running.ask(lambda rushes: rushes.erase(batch=made["id"]))
        assert tenant.request("GET", f"/openai/v1/files/{ids[0]}").status_code == 404
        assert running.ask(expire) == 1
        assert tenant.get("/openai/v1/files")["data"] == []
