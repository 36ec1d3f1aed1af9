"""Webhook endpoints over HTTP, and by the client: made, changed, rotated, tested, replayed, deleted."""

from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from rushes.client import Client
from tests.api.harness import RunningService, Tenant, eventually
from tests.notify.test_notify import Receiver

PATH = "/v1/webhooks/endpoints"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


def made(tenant: Tenant, url: str, **fields: Any) -> dict[str, Any]:
    document: dict[str, Any] = tenant.post(PATH, {"url": url, **fields}, status=201)
    return document


def patched(tenant: Tenant, endpoint_id: str, **fields: Any) -> Any:
    return tenant.request("PATCH", f"{PATH}/{endpoint_id}", json=fields).json()


def test_an_endpoints_life(idle_tenant: Tenant, receiver: Receiver) -> None:
    tenant = idle_tenant
    first = made(tenant, receiver.url, events=["batch.*", "video.failed"], description="the shop")
    endpoint_id = first["endpoint"]["endpoint_id"]
    assert first["endpoint"]["events"] == ["batch.*", "video.failed"]
    assert tenant.get(f"{PATH}/{endpoint_id}") == first
    assert [one["endpoint_id"] for one in tenant.get(PATH)["data"]] == [endpoint_id]
    assert "secret" not in tenant.get(PATH)["data"][0]

    tested = tenant.post(f"{PATH}/{endpoint_id}/test")
    assert (tested["delivered"], tested["http_status"]) == (True, 200)
    _, headers, body = receiver.received[0]
    assert Webhook(first["secret"]).verify(body, headers)["type"] == "webhook.test"
    assert headers["webhook-id"] == tested["webhook_id"]

    batch_id = tenant.batch("a")["batch_id"]
    tenant.post(f"/v1/batches/{batch_id}/cancel")
    eventually(lambda: len(receiver.received), lambda count: count == 3)
    seen = {headers["webhook-id"] for _, headers, _ in receiver.received[1:]}
    assert seen == {f"msg_{batch_id}_1", f"msg_{batch_id}_2"}
    page = eventually(
        lambda: tenant.get("/v1/webhooks/deliveries", params={"endpoint_id": endpoint_id})["data"],
        lambda found: [one["status"] for one in found] == ["delivered"] * 2,
    )
    assert page[0]["delivery_id"] == f"msg_{batch_id}_2-{endpoint_id}"
    replay = f"/v1/webhooks/deliveries/{page[0]['delivery_id']}/replay"
    assert tenant.post(replay)["delivery"]["status"] == "pending"
    eventually(lambda: len(receiver.received), lambda count: count == 4)

    rotated = tenant.post(f"{PATH}/{endpoint_id}/rotate?overlap_seconds=60")
    assert rotated["older_secrets"] == [first["secret"]]
    assert rotated["secret"] != first["secret"]
    off = patched(tenant, endpoint_id, enabled=False, events=None)["endpoint"]
    assert (off["enabled"], off["disabled_reason"], off["events"]) == (False, "owner", None)
    assert tenant.post(f"{PATH}/{endpoint_id}/replay", {}, status=422)["field"] == "endpoint_id"
    assert patched(tenant, endpoint_id, enabled=True)["endpoint"]["enabled"] is True
    assert tenant.post(f"{PATH}/{endpoint_id}/replay", {"since": "2026-01-01"})["replayed"] == 0
    assert tenant.request("DELETE", f"{PATH}/{endpoint_id}").json()["deleted"] is True
    assert tenant.request("DELETE", f"{PATH}/{endpoint_id}").status_code == 404


def test_the_client_does_the_same(idle_tenant: Tenant, receiver: Receiver) -> None:
    with Client(idle_tenant.base_url, idle_tenant.key) as client:
        endpoint = client.create_endpoint(receiver.url, events=["video.*"], description="d")["endpoint"]
        name = endpoint["endpoint_id"]
        assert client.endpoint(name)["endpoint"] == endpoint
        assert client.change_endpoint(name, events=None, enabled=False)["endpoint"]["enabled"] is False
        assert client.change_endpoint(name, enabled=True)["endpoint"]["events"] is None
        assert client.rotate_endpoint(name, overlap_seconds=0)["older_secrets"] == []
        assert client.send_test_event(name)["delivered"]
        assert client.replay_endpoint(name, since="2026-01-01") == 0
        client.delete_endpoint(name)
        assert client.endpoints() == []


def test_a_test_event_says_why_it_was_not_taken(idle_tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [503]
    endpoint_id = made(idle_tenant, receiver.url)["endpoint"]["endpoint_id"]
    tested = idle_tenant.post(f"{PATH}/{endpoint_id}/test")
    assert (tested["delivered"], tested["http_status"], tested["error"]) == (False, 503, "HTTP 503")
    nowhere = made(idle_tenant, "http://127.0.0.1:1/hook")["endpoint"]["endpoint_id"]
    tested = idle_tenant.post(f"{PATH}/{nowhere}/test")
    assert (tested["delivered"], tested["http_status"]) == (False, None)
    assert tested["error"]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://example.com", "events": []}, "events"),
        ({"url": "https://example.com", "events": ["video.succeded"]}, "events[0]"),
        ({"url": "https://example.com", "enabled": 1}, "enabled"),
        ({"url": "https://example.com", "description": "a\nb"}, "description"),
        ({"url": "https://example.com", "name": "x"}, "name"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(
    idle_tenant: Tenant, document: dict[str, Any], field: str
) -> None:
    assert idle_tenant.post(PATH, document, status=422)["field"] == field


def test_another_accounts_endpoint_is_not_found(idle_service: RunningService, idle_tenant: Tenant) -> None:
    theirs = made(idle_service.tenant(), "https://example.com/hook")["endpoint"]["endpoint_id"]
    for method, more in (("GET", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/test")):
        assert idle_tenant.request(method, f"{PATH}/{theirs}{more}").status_code == 404
    assert idle_tenant.request("PATCH", f"{PATH}/{theirs}", json={"enabled": False}).status_code == 404
    assert idle_tenant.request("POST", f"{PATH}/{theirs}/replay", json={}).status_code == 404
    assert idle_tenant.request("GET", f"{PATH}/we_%00").status_code == 404


@pytest.mark.parametrize("events", [[], "video.*", ["nothing"], 7])
def test_a_batchs_own_filter_is_checked(idle_tenant: Tenant, events: object) -> None:
    fields: dict[str, Any] = {"webhook_url": "https://example.com", "webhook_events": events}
    assert str(idle_tenant.batch("a", status=422, **fields)["field"]).startswith("webhook_events")
    alone: dict[str, Any] = {"webhook_events": ["video.*"]}
    assert idle_tenant.batch("a", status=422, **alone)["field"] == "webhook_events"


def test_deliveries_of_an_endpoint_that_is_none_of_yours_are_not_found(idle_service: RunningService) -> None:
    tenant, stranger = idle_service.tenant(), idle_service.tenant()
    own = made(tenant, "https://example.com/hook")["endpoint"]["endpoint_id"]
    theirs = made(stranger, "https://example.com/hook")["endpoint"]["endpoint_id"]
    path = "/v1/webhooks/deliveries?endpoint_id="
    assert tenant.get(path + own)["data"] == []
    for unknown in ("x", "we_0", theirs, "%00", "we_" + "9" * 60):
        refused = tenant.request("GET", path + unknown)
        assert (refused.status_code, refused.json()["message"]) == (404, "there is no endpoint with this id")
    tenant.request("DELETE", f"{PATH}/{own}")
    assert tenant.get(path + own)["data"] == [], "its deliveries stay listed"
