"""The Python client against the real service, and against servers that no service should be."""

import asyncio
import hashlib
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from rushes import AsyncClient, Client
from rushes.api.shapes import account, models, quotes, results, webhooks
from rushes.client import (
    ClientClosed,
    RateLimited,
    ServiceRefused,
    ServiceUnreachable,
    StillRunning,
    UnexpectedAnswer,
    answers,
)
from rushes.client.event_stream import frames_of
from rushes.domain import errors
from rushes.domain.downloads import DownloadedFile
from rushes.simulator import running_simulator
from tests.api.harness import RunningService, Tenant, eventually, running_service
from tests.api.scripted import Line, Said, scripted
from tests.harness import knobs

KEY = "rsh_any"


@pytest.fixture
def client(tenant: Tenant) -> Iterator[Client]:
    """A client of a tenant of its own, on a service that works."""
    with Client(tenant.base_url, tenant.key) as opened:
        yield opened


@pytest.fixture
def idle_client(idle_tenant: Tenant) -> Iterator[Client]:
    """The same, where no worker is."""
    with Client(idle_tenant.base_url, idle_tenant.key) as opened:
        yield opened


def said(document: object, status: int = 200, **headers: str) -> Said:
    """A JSON answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(status, json.dumps(document).encode(), {"content-type": "application/json", **named})


def problem(status: int, code: str, **headers: str) -> Said:
    """A refusal of the service."""
    return said({"ok": False, "error": code, "message": "no", "request_id": "r1"}, status, **headers)


BATCH = dict.fromkeys(get_type_hints(answers.Batch)) | {"batch_id": "bat_1", "completed_at": "now"}


# --- a batch from beginning to end ----------------------------------------------------------------------


def test_a_batch_is_made_watched_and_downloaded(client: Client, tmp_path: Path) -> None:
    policy = {"max": 1, "reasons": ["network"]}
    quoted = client.quote(["a", "b", "c"], model="sora-2", retries=policy)
    accepted = client.create_batch(
        ["a", {"prompt": "b", "custom_id": "second"}, "c"], model="sora-2", retries=policy
    )
    assert accepted["required_credits"] == quoted["required_credits"]
    seen: list[answers.Batch] = []
    finished = client.watch(accepted["batch_id"], seen.append, timeout_seconds=30)
    assert (finished["status"], finished["succeeded_count"]) == ("succeeded", 3)
    assert seen[-1] == finished
    assert all(one != other for one, other in itertools.pairwise(seen))
    told: list[DownloadedFile] = []
    manifest = client.download_all(accepted["batch_id"], tmp_path / "videos", on_file=told.append)
    assert (manifest["downloaded"], manifest["present"], manifest["failed"]) == (3, 0, 0)
    assert len(told) == 3
    for line, item in zip(manifest["files"], client.items(accepted["batch_id"]), strict=True):
        assert line["file"] is not None
        content = (tmp_path / "videos" / line["file"]).read_bytes()
        assert content[4:8] == b"ftyp", "an MP4 file"
        assert (line["bytes"], line["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert (line["item_id"], line["custom_id"]) == (item["item_id"], item["custom_id"])
    stored = json.loads((tmp_path / "videos" / f"{accepted['batch_id']}.manifest.json").read_text())
    assert stored == manifest
    again = client.download_all(accepted["batch_id"], tmp_path / "videos")
    assert (again["downloaded"], again["present"]) == (0, 3)
    assert again["files"] == manifest["files"]
    assert not list((tmp_path / "videos").glob("*.part*"))
    (attempt,) = client.attempts(accepted["batch_id"], 1)
    assert (attempt["try"], attempt["status"]) == (1, "succeeded")
    assert client.rerolls(accepted["batch_id"])["pass_rate"] == 1.0
    assert client.pass_rates()["tries"] == 3
    entries = list(client.ledger(batch_id=accepted["batch_id"]))
    assert [entry["type"] for entry in entries].count("reserve") == 1
    assert client.balance()["total"] == client.balance()["available"]


def test_events_come_once_and_in_order_although_the_line_breaks(tenant: Tenant) -> None:
    batch_id = tenant.batch(*(f"p{n}" for n in range(12)))["batch_id"]
    line = Line(tenant.base_url)
    try:
        with Client(line.url, tenant.key, tries_max=10) as client:
            numbers = []
            for event in client.events(batch_id):
                numbers.append(event["id"])
                if event["type"] == "video.succeeded":
                    assert event["data"]["status"] == "succeeded"
                if len(numbers) in (1, 5):
                    line.cut()
        assert numbers == list(range(1, 15))
        assert line.connections >= 2, "the line was cut"
        with Client(tenant.base_url, tenant.key) as client:
            assert [event["id"] for event in client.events(batch_id, after=9)] == [10, 11, 12, 13, 14]
    finally:
        line.close()


def test_without_its_events_a_batch_is_polled(
    service: RunningService, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.service is not None
    monkeypatch.setattr(service.service.events, "_listeners_per_account_max", 0)
    with Client(tenant.base_url, tenant.key, tries_max=1) as client:
        batch = client.create_batch(["a"])
        with pytest.raises(RateLimited) as refused:
            list(client.events(batch["batch_id"]))
        assert refused.value.code == "TOO_MANY_LISTENERS"
        assert client.wait(batch["batch_id"], timeout_seconds=20)["status"] == "succeeded"


def test_a_watch_ends_in_time_and_outlives_the_services_restart(
    new_database_url: Callable[[str], str],
) -> None:
    url = new_database_url("sqlite")
    with running_simulator(knobs(render_seconds=2.0)) as simulator:
        with running_service(url, simulator.base_url) as service:
            tenant = service.tenant()
            port = int(service.base_url.rsplit(":", 1)[1])
            with Client(service.base_url, tenant.key, tries_max=2) as client:
                batch_id = client.create_batch(["a", "b"])["batch_id"]
                with pytest.raises(StillRunning):
                    client.wait(batch_id, timeout_seconds=0.5)
        ended: list[answers.Batch] = []
        with Client(f"http://127.0.0.1:{port}", tenant.key, tries_max=2) as client:
            waiting = threading.Thread(target=lambda: ended.append(client.wait(batch_id)))
            waiting.start()
            time.sleep(0.5)
            with running_service(url, simulator.base_url, port=port):
                waiting.join(30)
        assert [batch["status"] for batch in ended] == ["succeeded"]


def test_a_watch_ends_in_time_although_the_service_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, KEY) as client:
            waits: tuple[Callable[[], object], ...] = (
                lambda: client.wait("bat_1", timeout_seconds=0.6),
                lambda: client.watch("bat_1", lambda _now: None, timeout_seconds=0.6),
                lambda: list(client.progress("bat_1", timeout_seconds=0.6)),
                lambda: client.wait("bat_1", timeout_seconds=0.0),
            )
            for wait in waits:
                started = time.monotonic()
                with pytest.raises(StillRunning):
                    wait()
                assert time.monotonic() - started < 5


def test_asynchronous_and_many_at_once(tenant: Tenant) -> None:
    async def run() -> None:
        async with AsyncClient(tenant.base_url, tenant.key) as client:
            made = await asyncio.gather(*(client.create_batch(["a"], request_id=f"r{n}") for n in range(8)))
            again = await asyncio.gather(*(client.create_batch(["a"], request_id=f"r{n}") for n in range(8)))
            assert [one["batch_id"] for one in made] == [one["batch_id"] for one in again]
            assert all(one["idempotent_replay"] for one in again)
            ended = await asyncio.gather(*(client.wait(one["batch_id"], timeout_seconds=30) for one in made))
            assert {batch["status"] for batch in ended} == {"succeeded"}
            assert {batch["batch_id"] async for batch in client.batches()} == {
                one["batch_id"] for one in made
            }

    asyncio.run(run())


def test_pages_are_walked_to_the_end(idle_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rushes.client.account.PAGE_ITEMS", 7)
    monkeypatch.setattr("rushes.client.account.PAGE_BATCHES", 2)
    made = [idle_client.create_batch([f"p{n}" for n in range(20)])["batch_id"] for _ in range(5)]
    assert [batch["batch_id"] for batch in idle_client.batches()] == made[::-1]
    assert [item["index"] for item in idle_client.items(made[0])] == list(range(20))
    assert len(list(idle_client.ledger(type="reserve"))) == 5
    assert list(idle_client.items(made[0], status="failed")) == []


def test_templates_cancels_exports_and_webhooks(idle_client: Client, tmp_path: Path) -> None:
    made = idle_client.create_batch(
        template="a {colour} boat",
        variables={"colour": ("red", "blue")},
        model="sora-2",
        aspect_ratio="9:16",
        webhook_url="http://127.0.0.1:9/hook",
    )
    assert made["total_count"] == 2
    assert idle_client.cancel(made["batch_id"])["credits_refunded"] == made["required_credits"]
    size = idle_client.export(made["batch_id"], tmp_path / "items.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    assert size == (tmp_path / "items.jsonl").stat().st_size
    assert [row["prompt"] for row in rows] == ["a red boat", "a blue boat"]
    assert idle_client.export(made["batch_id"], tmp_path / "items.csv", format="csv") > 0
    exact = idle_client.export(made["batch_id"], tmp_path / "exact.csv", format="csv", raw=True)
    assert exact == (tmp_path / "exact.csv").stat().st_size > 0
    assert idle_client.webhook_secret().startswith("whsec_")
    delivery = eventually(lambda: list(idle_client.deliveries()), lambda found: found != [])[0]
    assert idle_client.replay_delivery(delivery["delivery_id"])["delivery_id"] == delivery["delivery_id"]


# --- refusals -------------------------------------------------------------------------------------------


def test_refusals_are_the_librarys_errors(idle_client: Client, idle_service: RunningService) -> None:
    accepted = idle_client.create_batch(["a"], request_id="one")
    with pytest.raises(errors.IdempotencyKeyReused):
        idle_client.create_batch(["b"], request_id="one")
    with pytest.raises(errors.NotFound) as lost:
        idle_client.get_batch("bat_none")
    assert lost.value.facts["status"] == 404
    assert lost.value.facts["request_id"]
    with pytest.raises(errors.InputError) as wrong:
        idle_client.create_batch(["a", {"prompt": "b", "duration": "long"}])
    assert wrong.value.field == "items[1].duration"
    assert str(wrong.value).count("items[1].duration") == 1
    with pytest.raises(errors.UnknownModel):
        idle_client.create_batch(["a"], model="sora-99")
    with pytest.raises(errors.ItemNotRetryable):
        idle_client.retry(accepted["batch_id"], 0)
    idle_client.cancel(accepted["batch_id"])
    with pytest.raises(errors.BatchNotCancellable):
        idle_client.cancel(accepted["batch_id"])
    poor = idle_service.tenant(credits=5)
    with Client(poor.base_url, poor.key) as client, pytest.raises(errors.InsufficientCredits) as short:
        client.create_batch(["a"])
    assert (short.value.required, short.value.available) == (10, 5)
    with Client(poor.base_url, KEY) as client, pytest.raises(errors.NotAuthorised):
        client.balance()
    limited = idle_service.tenant(rate_limit_per_min=1)
    with Client(limited.base_url, limited.key, tries_max=1) as client:
        client.balance()
        with pytest.raises(RateLimited) as many:
            client.balance()
    assert many.value.retry_after_seconds is not None
    assert many.value.retryable


def test_a_repeatable_request_is_repeated_and_no_other() -> None:
    busy = problem(503, "DATABASE_BUSY", retry_after="0")
    with scripted([busy, Said(502, b"<html>", {}), said(BATCH)]) as server, Client(server.url, KEY) as client:
        assert client.get_batch("bat_1")["batch_id"] == "bat_1"
        assert len(server.heard) == 3
    with scripted([Said(cut=1), busy]) as server, Client(server.url, KEY, tries_max=3) as client:
        with pytest.raises(errors.DatabaseBusy):
            client.create_batch(["a"])
        assert len(server.heard) == 3
        ids = {json.loads(request.body)["request_id"] for request in server.heard}
        assert len(ids) == 1, "the same request id each time"
    acts: tuple[Callable[[Client], object], ...] = (
        lambda client: client.cancel("b"),
        lambda client: client.retry("b", 0),
        lambda client: client.replay_delivery("m"),
    )
    for act in acts:
        with scripted([busy]) as server, Client(server.url, KEY) as client:
            with pytest.raises(errors.DatabaseBusy):
                act(client)
            assert len(server.heard) == 1
    off = problem(503, "WEBHOOKS_NOT_CONFIGURED")
    with scripted([off]) as server, Client(server.url, KEY) as client:
        with pytest.raises(ServiceRefused) as refused:
            client.webhook_secret()
        assert (refused.value.code, refused.value.retryable, len(server.heard)) == (
            "WEBHOOKS_NOT_CONFIGURED",
            False,
            1,
        )


@pytest.mark.parametrize(
    "answer",
    [
        Said(200, b"<html>hello"),
        said([1]),
        said({}),
        Said(200, b"[" * 100_000),
        Said(302, b"", {"location": "/"}),
    ],
)
def test_what_is_no_service_is_said_so(answer: Said) -> None:
    with scripted([answer]) as server, Client(server.url, KEY) as client:
        with pytest.raises(UnexpectedAnswer):
            client.get_batch("bat_1")
        assert len(server.heard) == 1, "no redirect is followed"


def test_a_service_that_is_away_or_silent_is_given_up() -> None:
    with Client("http://127.0.0.1:1", KEY, tries_max=2) as client, pytest.raises(ServiceUnreachable):
        client.balance()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, KEY, tries_max=1, timeout_seconds=0.3) as client:
            started = time.monotonic()
            with pytest.raises(ServiceUnreachable, match="in time"):
                client.balance()
            assert time.monotonic() - started < 10


@pytest.mark.parametrize("url", ["", "rushes.example.com", "ftp://x/", "https://u:p@x/", "https://x/?a=1"])
def test_a_wrong_address_or_key_is_refused_at_once(url: str) -> None:
    with pytest.raises(errors.InputError):
        AsyncClient(url, KEY)
    for key in ("", "with space", "with\r\nline: x", "schlüssel"):
        with pytest.raises(errors.InputError) as wrong:
            AsyncClient("https://x", key)
        assert key == "" or key not in str(wrong.value)


def test_a_prefix_in_the_address_is_understood(idle_tenant: Tenant) -> None:
    with Client(f"{idle_tenant.base_url}/v1/", idle_tenant.key) as client:
        assert client.balance()["account"] == idle_tenant.account


def test_a_closed_client_says_so_and_its_thread_is_gone(idle_tenant: Tenant) -> None:
    client = Client(idle_tenant.base_url, idle_tenant.key)
    stepping = client.batches()
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.balance()
    with pytest.raises(ClientClosed):
        next(stepping)
    assert not [thread for thread in threading.enumerate() if thread.name == "rushes-client"]
    assert idle_tenant.key not in repr(client)


# --- files ----------------------------------------------------------------------------------------------


def page_of(*items: dict[str, Any]) -> Said:
    """The items' page."""
    empty = dict.fromkeys(get_type_hints(answers.Item))
    rows = [{**empty, "index": n, "status": "succeeded", **item} for n, item in enumerate(items)]
    return said({"items": rows, "total": len(rows), "limit": 500, "offset": 0})


def video(body: bytes, status: int = 200, cut: int | None = None, **headers: str) -> Said:
    """A file's answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(status, body, {"content-type": "video/mp4", "etag": '"v1"', **named}, cut)


def test_a_file_that_broke_off_is_gone_on_with(tmp_path: Path) -> None:
    content = bytes(range(256)) * 400
    rest = video(content[50_000:], 206, content_range=f"bytes 50000-{len(content) - 1}/{len(content)}")
    with scripted([video(content, cut=50_000), rest]) as files:
        page = page_of({"item_id": "bat_1-0", "video_url": f"{files.url}/a.mp4"})
        with scripted([page]) as server, Client(server.url, KEY) as client:
            manifest = client.download_all("bat_1", tmp_path)
        asked = files.heard[1].headers
        assert (asked["range"], asked["if-range"]) == ("bytes=50000-", '"v1"')
        assert all("x-api-key" not in request.headers for request in files.heard), "the key stays at home"
    assert manifest["files"][0]["error"] is None
    assert (tmp_path / "bat_1-0.mp4").read_bytes() == content


def test_a_part_of_an_earlier_run_is_gone_on_with_and_another_file_begins_anew(tmp_path: Path) -> None:
    content = b"x" * 1000
    for name, answer in (
        ("same", video(content[300:], 206, content_range="bytes 300-999/1000")),
        ("other", video(content)),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "bat_1-0.mp4.part").write_bytes(content[:300] if name == "same" else b"y" * 300)
        (folder / "bat_1-0.mp4.part.tag").write_text('"v1"')
        with scripted([answer]) as files:
            page = page_of({"item_id": "bat_1-0", "video_url": f"{files.url}/a"})
            with scripted([page]) as server, Client(server.url, KEY) as client:
                client.download_all("bat_1", folder)
            assert files.heard[0].headers["range"] == "bytes=300-"
        assert (folder / "bat_1-0.mp4").read_bytes() == content
        assert sorted(path.name for path in folder.iterdir()) == ["bat_1-0.mp4", "bat_1.manifest.json"]


def test_what_cannot_be_had_is_in_the_manifest_and_stops_nothing(tmp_path: Path) -> None:
    with scripted([Said(410, b"gone")]) as gone, scripted([video(b"good")]) as good:
        page = page_of(
            {"item_id": "bat_1-0", "video_url": f"{gone.url}/a"},
            {"item_id": "bat_1-1", "status": "failed", "error": "blocked"},
            {"item_id": "bat_1-2", "video_url": f"{good.url}/a"},
        )
        fallback = problem(410, "VIDEO_EXPIRED")
        with scripted([page, fallback]) as server, Client(server.url, KEY) as client:
            manifest = client.download_all("bat_1", tmp_path, parallel=1)
            assert server.heard[1].path == "/v1/videos/bat_1-0/content"
            assert server.heard[1].headers["x-api-key"] == KEY
    assert [line["error"] for line in manifest["files"]] == ["no", "blocked", None]
    assert (manifest["downloaded"], manifest["failed"]) == (1, 2)


def test_a_page_in_a_files_place_and_an_id_that_is_a_path_are_refused(tmp_path: Path) -> None:
    with scripted([Said(200, b"<html>", {"content-type": "text/html"})]) as files:
        page = page_of({"item_id": "bat_1-0", "video_url": f"{files.url}/a"})
        with scripted([page, video(b"from the service")]) as server, Client(server.url, KEY) as client:
            client.download_all("bat_1", tmp_path)
    assert (tmp_path / "bat_1-0.mp4").read_bytes() == b"from the service"
    page = page_of({"item_id": "../../evil", "video_url": "http://127.0.0.1:1/"})
    with scripted([page]) as server, Client(server.url, KEY) as client, pytest.raises(UnexpectedAnswer):
        client.download_all("bat_1", tmp_path)


def test_the_key_does_not_follow_a_redirect_to_another_place(tmp_path: Path) -> None:
    with scripted([video(b"file")]) as elsewhere:
        away = Said(302, b"", {"location": f"{elsewhere.url}/file"})
        page = page_of({"item_id": "bat_1-0", "video_url": "/files/bat_1-0"})
        with scripted([page, away]) as server, Client(server.url, KEY) as client:
            client.download_all("bat_1", tmp_path)
            assert server.heard[1].headers["x-api-key"] == KEY
        assert "x-api-key" not in elsewhere.heard[0].headers
    assert (tmp_path / "bat_1-0.mp4").read_bytes() == b"file"


# --- shapes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        (answers.AcceptedBatch, models.AcceptedBatch),
        (answers.Batch, models.Batch),
        (answers.Item, models.Item),
        (answers.CancelledBatch, models.CancelledBatch),
        (answers.CancelledItem, models.CancelledItem),
        (answers.RetriedItem, models.RetriedItem),
        (answers.Quote, quotes.QuoteAnswer),
        (answers.Balance, models.Balance),
        (answers.LedgerEntry, models.LedgerEntry),
        (answers.Delivery, webhooks.Delivery),
        (answers.BatchManifest, results.BatchManifest),
        (answers.NewKey, account.NewKeyAnswer),
        (answers.Usage, account.Usage),
        (answers.UsageRow, account.UsageRow),
        (answers.AccountEvent, account.AccountEvent),
        (answers.ManifestFile, results.ManifestFile),
        (answers.Endpoint, webhooks.Endpoint),
        (answers.EndpointWithSecret, webhooks.EndpointAnswer),
        (answers.EndpointTest, webhooks.EndpointTest),
        (answers.Attempt, models.Attempt),
        (answers.Rerolls, models.BatchRerolls),
        (answers.PassRates, models.PassRates),
    ],
)
def test_the_clients_types_name_nothing_that_the_api_does_not_answer(kind: Any, model: Any) -> None:
    assert get_type_hints(kind).keys() <= {field.alias or name for name, field in model.model_fields.items()}


def test_the_client_loads_nothing_of_the_service() -> None:
    program = "import sys; from rushes import Client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = set(loaded.stdout.split())
    assert "rushes.client" in modules
    assert not modules & {
        "sqlalchemy",
        "fastapi",
        "pydantic",
        "rushes.store",
        "rushes.money",
        "rushes.run",
        "rushes.read",
        "rushes.library",
    }


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stream_of_events_is_read_however_it_is_cut(size: int, end: str) -> None:
    lines = [
        "retry: 5",
        "",
        ": ping",
        "id: 1",
        "event: a",
        "data: é",
        "data:two",
        "",
        "id: 2",
        "data: x",
        "",
        "data: y",
    ]
    raw = (end.join(lines) + end).encode()

    async def chunks() -> Any:
        for start in range(0, len(raw), size):
            yield raw[start : start + size]

    async def read() -> list[tuple[str, str]]:
        return [(frame.id, frame.data) async for frame in frames_of(chunks())]

    assert asyncio.run(read()) == [("1", "é\ntwo"), ("2", "x")]
