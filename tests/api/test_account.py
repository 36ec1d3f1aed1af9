"""What an account steers and sees by itself: keys, usage, the event log, and waiting for a batch."""

import threading
import time
from typing import Any

import pytest
from sqlalchemy import Connection, text

from rushes.client import Client
from rushes.service import list_keys
from rushes.store import caps
from tests.api.harness import RunningService, Tenant, eventually
from tests.api.test_events import parsed


def key_of(tenant: Tenant, service: RunningService, **fields: Any) -> tuple[Tenant, int]:
    """A client with a new key of the account."""
    made = tenant.post("/v1/keys", fields, status=201)
    other = Tenant(service.base_url, tenant.account, made["key"])
    service._tenants.append(other)
    return other, made["key_id"]


def test_a_scope_allows_what_it_says_and_nothing_more(
    idle_service: RunningService, idle_tenant: Tenant
) -> None:
    batch_id = idle_tenant.batch("a")["batch_id"]
    reader, _ = key_of(idle_tenant, idle_service, scope="read", name="r")
    maker, _ = key_of(idle_tenant, idle_service)
    item = {"items": [{"prompt": "a"}]}
    for tenant, allowed in ((reader, {"read"}), (maker, {"read", "submit"})):
        for needed, method, path, body in (
            ("read", "GET", f"/v1/batches/{batch_id}", None),
            ("read", "GET", "/v1/usage", None),
            ("read", "POST", "/v1/quotes", item),
            ("submit", "POST", "/v1/batches", item),
            ("submit", "POST", f"/v1/batches/{batch_id}/items/9/cancel", None),
            ("admin", "GET", "/v1/keys", None),
            ("admin", "POST", "/v1/keys", {}),
            ("admin", "GET", "/v1/webhooks/secret", None),
            ("admin", "POST", "/v1/webhooks/endpoints", {"url": "https://example.com"}),
        ):
            answer = tenant.request(method, path, **({} if body is None else {"json": body}))
            if needed in allowed:
                assert answer.status_code in (200, 201, 404), (path, answer.text)
            else:
                refused = answer.json()
                assert (answer.status_code, refused["required_scope"]) == (403, needed), path


def test_a_key_is_listed_used_and_revoked(idle_service: RunningService, idle_tenant: Tenant) -> None:
    other, key_id = key_of(idle_tenant, idle_service, name="the shop", scope="read", rate_limit_per_min=5)
    listed = {key["key_id"]: key for key in idle_tenant.get("/v1/keys")["data"]}
    assert (listed[key_id]["name"], listed[key_id]["last_used_at"]) == ("the shop", None)
    assert [key["is_this"] for key in listed.values()] == [False, True]
    assert other.key not in str(listed)
    other.get("/v1/batches")
    used = eventually(
        lambda: idle_tenant.get("/v1/keys")["data"][0], lambda key: key["last_used_at"] is not None
    )
    assert used["key_id"] == key_id
    assert idle_tenant.request("DELETE", f"/v1/keys/{key_id}").json()["revoked"] is True
    eventually(lambda: other.request("GET", "/v1/batches").status_code, lambda status: status == 401)
    assert idle_tenant.request("DELETE", f"/v1/keys/{key_id}").status_code == 200
    (own,) = [key["key_id"] for key in idle_tenant.get("/v1/keys")["data"] if key["is_this"]]
    assert idle_tenant.request("DELETE", f"/v1/keys/{own}").status_code == 422
    stranger = idle_service.tenant()
    assert stranger.request("DELETE", f"/v1/keys/{own}").status_code == 404


def test_keys_are_made_and_listed_beside_any_number_of_revoked_ones(
    idle_service: RunningService, idle_tenant: Tenant
) -> None:
    (own,) = idle_tenant.get("/v1/keys")["data"]

    def revoked(connection: Connection) -> None:
        connection.execute(
            text(
                "INSERT INTO api_keys"
                " (account_id, name, shown, key_hash, scope, created_at_ms, revoked_at_ms)"
                " WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)"
                " SELECT account_id, '', 'x', key_hash || n, 'admin', created_at_ms, created_at_ms"
                " FROM api_keys CROSS JOIN n WHERE id = :own"
            ),
            {"own": own["key_id"]},
        )

    idle_service.ask(lambda rushes: rushes.database.transact(revoked))
    made = idle_tenant.post("/v1/keys", {"name": "new"}, status=201)
    listed = idle_tenant.get("/v1/keys")["data"]
    assert [key["key_id"] for key in listed[:2]] == [made["key_id"], own["key_id"]]
    assert [key["revoked_at"] is None for key in listed] == [True] * 2 + [False] * 998
    shown = idle_service.ask(lambda rushes: list_keys(rushes, account=idle_tenant.account, limit=3))
    assert [key["revoked_at"] is None for key in shown] == [True, True, False]


def test_a_key_spends_no_more_in_a_day_than_its_account_allows(
    idle_service: RunningService, idle_tenant: Tenant
) -> None:
    price = idle_tenant.post("/v1/quotes", {"items": [{"prompt": "a"}]})["required_credits"]
    other, _ = key_of(idle_tenant, idle_service, credits_per_day_max=2 * price)
    other.batch("a", "b")
    refused = other.batch("c", status=402)
    assert (refused["error"], refused["left"]) == ("DAY_CAP_REACHED", "0")
    idle_tenant.batch("c")


def test_keys_that_a_capped_key_makes_spend_no_more_than_it_may(
    idle_service: RunningService, idle_tenant: Tenant
) -> None:
    price = idle_tenant.post("/v1/quotes", {"items": [{"prompt": "a"}]})["required_credits"]
    capped, capped_id = key_of(idle_tenant, idle_service, scope="admin", credits_per_day_max=3 * price)
    child, child_id = key_of(capped, idle_service, scope="admin")
    grandchild, _ = key_of(child, idle_service, credits_per_day_max=2 * price)
    sibling, _ = key_of(capped, idle_service)
    listed = {key["key_id"]: key["made_by_key_id"] for key in capped.get("/v1/keys")["data"]}
    assert (listed[capped_id] in listed, listed[child_id]) == (True, capped_id)
    grandchild.batch("a")
    assert grandchild.batch("b", "c", status=402)["scope"] == "key"
    sibling.batch("d")
    for tenant in (capped, child, grandchild, sibling):
        assert tenant.batch("e", "f", status=402)["error"] == "DAY_CAP_REACHED"
    assert idle_tenant.request("DELETE", f"/v1/keys/{capped_id}").status_code == 200
    child.batch("g")
    assert sibling.batch("h", status=402)["left"] == "0"
    idle_tenant.batch("i")


def test_an_operators_cap_on_a_key_holds_for_those_that_it_made(
    idle_service: RunningService, idle_tenant: Tenant
) -> None:
    price = idle_tenant.post("/v1/quotes", {"items": [{"prompt": "a"}]})["required_credits"]
    made, key_id = key_of(idle_tenant, idle_service, scope="admin")
    child, _ = key_of(made, idle_service)
    cap = caps.DayCap("key", str(key_id), caps.CREDITS, 2 * price)
    idle_service.ask(lambda rushes: rushes.set_day_cap(cap))
    child.batch("a")
    made.batch("b")
    assert child.batch("c", status=402)["left"] == "0"
    views = idle_service.ask(lambda rushes: rushes.day_caps())
    (view,) = [view for view in views if view["subject"] == str(key_id)]
    assert (view["scope"], view["spent"], view["left"]) == ("key", str(2 * price), "0")


def test_a_key_under_a_cap_retries_only_in_batches_that_it_made_itself(
    idle_service: RunningService, idle_tenant: Tenant
) -> None:
    price = idle_tenant.post("/v1/quotes", {"items": [{"prompt": "a"}]})["required_credits"]
    capped, capped_id = key_of(idle_tenant, idle_service, scope="admin", credits_per_day_max=5 * price)
    child, _ = key_of(capped, idle_service)
    by_operator, operators_id = key_of(idle_tenant, idle_service)
    cap = caps.DayCap("key", str(operators_id), "USD", 10**9)
    idle_service.ask(lambda rushes: rushes.set_day_cap(cap))
    free, _ = key_of(idle_tenant, idle_service)
    makers = (idle_tenant, capped, child, by_operator, free)
    made = {maker.key: maker.batch("a")["batch_id"] for maker in makers}
    for maker in makers:
        idle_tenant.post(f"/v1/batches/{made[maker.key]}/items/0/cancel")
    balance = idle_tenant.get("/v1/credits/balance")["available"]
    for buyer in (capped, child, by_operator):
        for maker in makers:
            if maker is buyer:
                continue
            refused = buyer.post(f"/v1/batches/{made[maker.key]}/items/0/retry", status=402)
            assert (refused["error"], refused["scope"]) == ("DAY_CAP_REACHED", "key")
            assert "only in batches that it made itself" in refused["detail"]
            assert refused.keys() >= {"cap", "left", "unit", "renews_at"}
    assert idle_tenant.get("/v1/credits/balance")["available"] == balance, "nothing was written"
    for buyer in (capped, child, by_operator):
        buyer.post(f"/v1/batches/{made[buyer.key]}/items/0/retry")
    free.post(f"/v1/batches/{made[idle_tenant.key]}/items/0/retry")
    assert idle_tenant.request("DELETE", f"/v1/keys/{capped_id}").status_code == 200
    refused = child.post(f"/v1/batches/{made[free.key]}/items/0/retry", status=402)
    assert refused["error"] == "DAY_CAP_REACHED"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"scope": "root"}, "scope"),
        ({"scope": ["read"]}, "scope"),
        ({"rate_limit_per_min": 0}, "rate_limit_per_min"),
        ({"rate_limit_per_min": True}, "rate_limit_per_min"),
        ({"credits_per_day_max": -1}, "credits_per_day_max"),
        ({"credits_per_day_max": 1.5}, "credits_per_day_max"),
        ({"name": "a\nb"}, "name"),
        ({"account": "other"}, "account"),
    ],
)
def test_a_key_that_cannot_be_is_refused(idle_tenant: Tenant, document: dict[str, Any], field: str) -> None:
    assert idle_tenant.post("/v1/keys", document, status=422)["field"] == field


def test_a_key_gives_no_higher_limit_than_its_own(idle_service: RunningService) -> None:
    tenant = idle_service.tenant(rate_limit_per_min=50)
    refused = tenant.post("/v1/keys", {"rate_limit_per_min": 51}, status=422)
    assert refused["field"] == "rate_limit_per_min"
    assert tenant.post("/v1/keys", {}, status=201)["rate_limit_per_min"] == 50


def test_a_key_gives_no_higher_cap_than_its_own(idle_service: RunningService, idle_tenant: Tenant) -> None:
    capped, _ = key_of(idle_tenant, idle_service, scope="admin", credits_per_day_max=30)
    refused = capped.post("/v1/keys", {"credits_per_day_max": 31}, status=422)
    assert (refused["field"], refused["detail"]) == (
        "credits_per_day_max",
        "credits_per_day_max: at most 30, the cap of the key that asks",
    )
    assert capped.post("/v1/keys", {}, status=201)["credits_per_day_max"] == 30
    assert capped.post("/v1/keys", {"credits_per_day_max": 0}, status=201)["credits_per_day_max"] == 0
    assert idle_tenant.post("/v1/keys", {}, status=201)["credits_per_day_max"] is None


def test_usage_agrees_with_the_ledger_and_the_batches(tenant: Tenant, service: RunningService) -> None:
    other, key_id = key_of(tenant, service)
    for client, count, model in ((tenant, 2, "sora-2"), (other, 1, "veo-flash")):
        made = client.batch(*("a" for _ in range(count)), model=model)["batch_id"]
        client.finished(made)
    total = tenant.get("/v1/usage")["total"]
    entries = tenant.get("/v1/credits/ledger", params={"limit": 1000})["entries"]
    reserved = -sum(entry["delta"] for entry in entries if entry["type"] == "reserve")
    refunded = sum(entry["delta"] for entry in entries if entry["type"] == "refund")
    assert (total["tries"], total["open"], total["credits_held"]) == (3, 0, 0)
    assert (total["credits_refunded"], total["credits_settled"]) == (refunded, reserved - refunded)
    by_key = {row["key_id"]: row["tries"] for row in tenant.get("/v1/usage?by=key")["rows"]}
    assert by_key[key_id] == 1
    assert sum(by_key.values()) == 3
    rows = tenant.get("/v1/usage?by=day,model")["rows"]
    assert {row["model"]: row["tries"] for row in rows} == {"sora-2": 2, "veo-flash": 1}
    assert {row["day"] for row in rows} == {time.strftime("%Y-%m-%d", time.gmtime())}
    assert tenant.get("/v1/usage?from=2020-01-01&to=2020-02-01")["rows"] == []
    for query, field in (("by=hour", "by"), ("from=2020-01-01", "from"), ("from=x", "from")):
        assert tenant.request("GET", f"/v1/usage?{query}").json()["field"] == field
    with Client(tenant.base_url, tenant.key) as asker:
        assert asker.usage(by=["model"])["total"] == total


def test_the_event_log_has_all_batches_events_in_pages_without_gaps(
    idle_service: RunningService, idle_tenant: Tenant
) -> None:
    assert idle_tenant.get("/v1/events") == {"ok": True, "data": [], "has_more": False, "last_id": 0}
    ids = [idle_tenant.batch("a", "b")["batch_id"] for _ in range(3)]
    for batch_id in ids:
        idle_tenant.post(f"/v1/batches/{batch_id}/cancel")
    seen: list[dict[str, Any]] = []
    page = {"has_more": True, "last_id": 0}
    while page["has_more"]:
        page = idle_tenant.get("/v1/events", params={"after": page["last_id"], "limit": 4})
        seen += page["data"]
    assert [event["id"] for event in seen] == list(range(1, 10))
    kinds = [event["type"] for event in seen]
    assert kinds == ["video.failed", "video.failed", "batch.cancelled"] * 3
    assert [event["batch_id"] for event in seen] == [each for each in ids for _ in range(3)]
    assert seen[0]["data"]["item_id"] == f"{ids[0]}-0"
    assert seen[2]["data"]["status"] == "cancelled"
    assert idle_service.tenant().get("/v1/events")["data"] == []
    with Client(idle_tenant.base_url, idle_tenant.key) as client:
        assert [event["id"] for event in client.account_events(after=4)] == [5, 6, 7, 8, 9]
        (own,) = client.keys()
        assert own["is_this"]
        made = client.create_key(name="n", scope="read", rate_limit_per_min=5, credits_per_day_max=7)
        assert (made["scope"], made["credits_per_day_max"]) == ("read", 7)
        client.revoke_key(made["key_id"])


def test_a_wait_ends_with_a_change_and_at_once_for_a_finished_batch(idle_tenant: Tenant) -> None:
    batch_id = idle_tenant.batch("a", "b")["batch_id"]
    timer = threading.Timer(0.5, lambda: idle_tenant.post(f"/v1/batches/{batch_id}/items/0/cancel"))
    timer.start()
    started = time.monotonic()
    assert idle_tenant.get(f"/v1/batches/{batch_id}?wait=12")["failed_count"] == 1
    assert 0.4 < time.monotonic() - started < 11
    timer.join()
    assert idle_tenant.get(f"/v1/batches/{batch_id}?wait=1")["status"] == "pending"
    idle_tenant.post(f"/v1/batches/{batch_id}/cancel")
    assert idle_tenant.get(f"/v1/batches/{batch_id}?wait=60")["completed_at"] is not None
    assert idle_tenant.request("GET", f"/v1/batches/{batch_id}?wait=61").status_code == 422


def test_the_log_is_a_stream_too_and_is_resumed(idle_tenant: Tenant) -> None:
    first, second = (idle_tenant.batch("a")["batch_id"] for _ in range(2))
    idle_tenant.post(f"/v1/batches/{first}/cancel")
    timer = threading.Timer(0.3, lambda: idle_tenant.post(f"/v1/batches/{second}/cancel"))
    timer.start()
    seen = streamed(idle_tenant, 4)
    timer.join()
    assert [number for number, _, _ in seen] == [1, 2, 3, 4]
    assert [document["batch_id"] for _, _, document in seen] == [first, first, second, second]
    assert [kind for _, kind, _ in seen] == ["video.failed", "batch.cancelled"] * 2
    assert streamed(idle_tenant, 1, last_event_id="3") == seen[3:]
    answer = idle_tenant.request(
        "GET", "/v1/events", headers={"accept": "text/event-stream", "last-event-id": "x"}
    )
    assert answer.status_code == 422


def streamed(tenant: Tenant, count: int, **headers: str) -> list[tuple[int, str, dict[str, Any]]]:
    """The first events of the stream."""
    sent = {"accept": "text/event-stream", **{name.replace("_", "-"): text for name, text in headers.items()}}
    text = ""
    with tenant.http.stream("GET", "/v1/events", headers=sent) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for chunk in answer.iter_text():
            text += chunk
            if len(parsed(text)) >= count:
                break
    return parsed(text)[:count]
