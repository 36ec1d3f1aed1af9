"""Streams of events: each once, in order, from where the client left off."""

import json
import threading
import time
from typing import Any

import httpx2
import pytest
from proofs.silent_proxy import SilentProxy

from rushes.api import event_hub
from rushes.api.shapes.events import Event, StreamedEvent
from rushes.simulator import SimulatorThread, running_simulator
from tests.api.harness import RunningService, Tenant, eventually, running_service
from tests.harness import knobs


def parsed(stream: str) -> list[tuple[int, str, dict[str, Any]]]:
    """`(id, event, data)` of each event in the text of a stream."""
    found = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def followed(tenant: Tenant, batch_id: str, last_event_id: int | None = None) -> httpx2.Response:
    """The whole stream, to its end."""
    headers = {} if last_event_id is None else {"last-event-id": str(last_event_id)}
    return tenant.request("GET", f"/v1/batches/{batch_id}/events", headers=headers)


def test_a_live_stream_tells_every_event_once_in_order_and_ends_with_the_batch(tenant: Tenant) -> None:
    batch_id = tenant.batch(*(f"p{n}" for n in range(5)))["batch_id"]
    answer = followed(tenant, batch_id)
    assert answer.headers["content-type"].startswith("text/event-stream")
    seen = parsed(answer.text)
    assert [number for number, _, _ in seen] == list(range(1, 8))
    kinds = [kind for _, kind, _ in seen]
    assert kinds[0] == "batch.processing"
    assert kinds[1:6] == ["video.succeeded"] * 5
    assert kinds[6] == "batch.succeeded"
    videos = [document["data"] for _, kind, document in seen if kind == "video.succeeded"]
    assert {video["item_id"] for video in videos} == {f"{batch_id}-{n}" for n in range(5)}
    assert all(video["video_url"] for video in videos)
    assert all("prompt" not in video for video in videos)
    assert seen[-1][2]["data"]["succeeded_count"] == 5
    for number, kind, document in seen:
        Event.model_validate(document)
        StreamedEvent(id=str(number), event=kind, data="{}")  # type: ignore[arg-type]


def test_a_stream_goes_on_after_the_last_event_seen(tenant: Tenant) -> None:
    batch_id = tenant.batch("a", "b")["batch_id"]
    tenant.finished(batch_id)
    whole = parsed(followed(tenant, batch_id).text)
    for number in range(len(whole)):
        assert parsed(followed(tenant, batch_id, number).text) == whole[number:]
    assert followed(tenant, batch_id, len(whole)).status_code == 204
    assert followed(tenant, batch_id, 10**9).status_code == 204


def test_many_listeners_see_the_same(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=1.0)) as simulator,
        running_service(database_url, simulator.base_url) as service,
    ):
        tenant = service.tenant()
        batch_id = tenant.batch(*(f"p{n}" for n in range(30)))["batch_id"]
        streams: list[str] = []
        threads = [
            threading.Thread(target=lambda: streams.append(followed(tenant, batch_id).text))
            for _ in range(30)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(streams) == 30
        first = parsed(streams[0])
        assert len(first) == 32
        assert all(parsed(stream) == first for stream in streams)
        assert service.service is not None
        eventually(lambda: service.service.events.listener_count, lambda count: count == 0)  # type: ignore[union-attr]


def test_more_events_than_one_page_and_than_the_tail_arrive_complete(
    idle_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "PAGE_EVENTS_MAX", 7)
    tenant = idle_service.tenant()
    batch_id = tenant.batch(*(f"p{n}" for n in range(40)))["batch_id"]
    seen: list[str] = []
    listening = threading.Thread(target=lambda: seen.append(followed(tenant, batch_id).text))
    listening.start()
    time.sleep(0.3)
    tenant.post(f"/v1/batches/{batch_id}/cancel")
    listening.join(10)
    assert [number for number, _, _ in parsed(seen[0])] == list(range(1, 42))
    assert parsed(seen[0]) == parsed(followed(tenant, batch_id).text)


def test_a_quiet_stream_is_kept_alive(idle_service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "KEEP_ALIVE_SECONDS", 0.1)
    tenant = idle_service.tenant()
    batch_id = tenant.batch()["batch_id"]
    with tenant.http.stream("GET", f"/v1/batches/{batch_id}/events") as answer:
        received = ""
        for text in answer.iter_text():
            received += text
            if received.count(": ping") >= 3:
                break
    assert "data:" not in received


def test_a_stream_that_catches_up_gives_signs_of_life_while_the_database_says_nothing(
    silent_database: tuple[SilentProxy, str], simulator: SimulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "KEEP_ALIVE_SECONDS", 0.3)
    proxy, url = silent_database
    with running_service(url, simulator.base_url, {"RUSHES_DATABASE_TIMEOUT_SECONDS": "4"}) as running:
        tenant = running.tenant()
        batch_id = tenant.batch("a", "b")["batch_id"]
        tenant.finished(batch_id)
        hush_before(event_hub._read_frames, running, proxy, monkeypatch)
        received, longest, last = "", 0.0, time.monotonic()
        with tenant.http.stream("GET", f"/v1/batches/{batch_id}/events") as answer:
            for text in answer.iter_text():
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
                received += text
        longest = max(longest, time.monotonic() - last)
        proxy.speak()
        assert proxy.silenced_links > 0
        assert received.count(": ping") > 3
        assert longest < 3
        assert "data:" not in received, "it ended in order, and the client comes back"


def hush_before(
    asked: object, running: RunningService, proxy: SilentProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once `asked` is about to be read, the database answers nothing any more."""
    assert running.service is not None
    database = running.service.events._database
    read = database.read

    async def listened(function: Any, /, *arguments: Any, **options: Any) -> Any:
        if function is asked:
            proxy.hush()
        return await read(function, *arguments, **options)

    monkeypatch.setattr(database, "read", listened)


def test_listeners_are_bounded(idle_service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    assert idle_service.service is not None
    monkeypatch.setattr(idle_service.service.events, "_listeners_per_account_max", 2)
    tenant = idle_service.tenant()
    batch_id = tenant.batch()["batch_id"]
    path = f"/v1/batches/{batch_id}/events"
    with tenant.http.stream("GET", path) as one, tenant.http.stream("GET", path) as two:
        iterators = [one.iter_text(), two.iter_text()]  # kept: a dropped one hangs up
        for iterator in iterators:
            next(iterator)
        refused = tenant.request("GET", path)
        assert (refused.status_code, refused.json()["error"]) == (429, "TOO_MANY_LISTENERS")

    def again() -> int:
        with tenant.http.stream("GET", path) as answer:
            return answer.status_code

    eventually(again, lambda status: status == 200)


def test_a_service_stops_although_streams_are_open(database_url: str) -> None:
    with running_service(database_url, with_worker=False) as service:
        tenant = service.tenant()
        batch_id = tenant.batch()["batch_id"]
        texts: list[str] = []
        listening = threading.Thread(target=lambda: texts.append(followed(tenant, batch_id).text))
        listening.start()
        assert service.service is not None
        eventually(lambda: service.service.events.listener_count, lambda count: count == 1)  # type: ignore[union-attr]
        started = time.monotonic()
        service._loop.call_soon_threadsafe(service._stop.set)  # type: ignore[union-attr]
        listening.join(5)
        assert time.monotonic() - started < 5
        assert len(texts) == 1, "the stream ended in order, not by a broken connection"


def test_a_replay_tells_what_happened_and_not_how_the_batch_is_now(tenant: Tenant) -> None:
    batch_id = tenant.batch("a", "b")["batch_id"]
    batch = tenant.finished(batch_id)
    found = [
        (event["data"]["status"], event["data"]["completed_at"])
        for event in tenant.get("/v1/events?limit=500")["data"]
        if event["type"].startswith("batch.") and event["data"]["batch_id"] == batch_id
    ]
    assert found == [("processing", None), ("succeeded", batch["completed_at"])]
    told = parsed(followed(tenant, batch_id).text)
    streamed = [document["data"] for _, kind, document in told if kind.startswith("batch.")]
    assert [(data["status"], data["completed_at"]) for data in streamed] == found
