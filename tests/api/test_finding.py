"""Lists find what is asked for, and nothing else; items are cancelled one by one, or by their deadline."""

import time
from datetime import datetime
from typing import Any

import pytest

from tests.api.harness import Tenant, eventually


def found(tenant: Tenant, **query: Any) -> list[str]:
    """The ids of the batches that a list has, page by page of two."""
    ids: list[str] = []
    while True:
        page = tenant.get("/v1/batches", params={"limit": 2, **query, **({"after": ids[-1]} if ids else {})})
        ids += [batch["batch_id"] for batch in page["data"]]
        if not page["has_more"]:
            return ids


def made(tenant: Tenant, *prompts: str, **fields: Any) -> str:
    """A new batch's id."""
    batch_id: str = tenant.batch(*prompts, **fields)["batch_id"]
    return batch_id


def test_batches_are_found_by_each_filter_and_by_all_together(idle_tenant: Tenant) -> None:
    north = made(idle_tenant, name="Spring", metadata={"team": "north", "year": 2026, "draft": False})
    veo = made(idle_tenant, model="veo-flash", metadata={"team": "south"}, request_id="order-1")
    plain = made(idle_tenant, "a", "b", "c")
    idle_tenant.post(f"/v1/batches/{plain}/cancel")
    for query, expected in (
        ({}, [plain, veo, north]),
        ({"order": "asc"}, [north, veo, plain]),
        ({"status": "cancelled"}, [plain]),
        ({"status": "pending"}, [veo, north]),
        ({"model": "veo-flash"}, [veo]),
        ({"model": "sora-2"}, [plain, north]),
        ({"request_id": "order-1"}, [veo]),
        ({"metadata.team": "north"}, [north]),
        ({"metadata.year": "2026"}, [north]),
        ({"metadata.draft": "false"}, [north]),
        ({"metadata.team": "north", "metadata.year": "2025"}, []),
        ({"metadata.TEAM": "north"}, []),
        ({"metadata.team": "no\0rth"}, []),
        ({"model": "sora-2", "status": "pending", "metadata.team": "north"}, [north]),
    ):
        assert found(idle_tenant, **query) == expected, query
    batch = idle_tenant.get(f"/v1/batches/{north}")
    assert (batch["name"], batch["metadata"]) == ("Spring", {"team": "north", "year": 2026, "draft": False})
    created_at = idle_tenant.get(f"/v1/batches/{veo}")["created_at"]
    assert veo not in found(idle_tenant, created_after=created_at)
    assert veo not in found(idle_tenant, created_before=created_at)
    assert found(idle_tenant, created_before="2020-01-01") == []
    assert len(found(idle_tenant, created_after="2020-01-01T00:00:00+02:00")) == 3


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/batches/{}/items", "/v1/webhooks/deliveries"])
def test_a_parameter_given_twice_is_refused(idle_tenant: Tenant, path: str) -> None:
    """All values but one would be ignored."""
    at = path.format(made(idle_tenant))
    refused = idle_tenant.request("GET", f"{at}?status=failed&status=pending")
    assert (refused.status_code, refused.json()["field"]) == (422, "status")
    assert refused.json()["detail"] == "status: given more than once; this path takes one value"


def test_no_condition_of_many_is_left_out(idle_tenant: Tenant) -> None:
    metadata = {f"k{n}": "v" for n in range(11)}
    batch_id = made(idle_tenant, metadata=metadata)
    query = {f"metadata.{name}": value for name, value in metadata.items()}
    refused = idle_tenant.request("GET", "/v1/batches", params=query)
    assert refused.status_code == 422
    assert refused.json()["detail"] == "at most 10 conditions on model and metadata, not 11"
    del query["metadata.k0"]
    assert found(idle_tenant, **query) == [batch_id]


def test_nobody_finds_anothers_batches(idle_tenant: Tenant, idle_service: Any) -> None:
    other = idle_service.tenant()
    mine, theirs = made(idle_tenant, metadata={"a": "b"}), made(other, metadata={"a": "b"})
    assert found(idle_tenant, **{"metadata.a": "b"}) == [mine]
    assert found(other, **{"metadata.a": "b", "model": "sora-2"}) == [theirs]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "finished"}, "status"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"model": "a\0b"}, "model"),
        ({"order": "up"}, "order"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(idle_tenant: Tenant, query: dict[str, str], field: str) -> None:
    answer = idle_tenant.request("GET", "/v1/batches", params=query)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_items_are_found_by_each_filter_and_counted(idle_tenant: Tenant) -> None:
    items = [
        {"prompt": "a", "custom_id": "first"},
        {"prompt": "b", "custom_id": "second", "model": "veo-flash"},
        {"prompt": "c"},
    ]
    batch_id = idle_tenant.post("/v1/batches", {"items": items}, status=201)["batch_id"]
    path = f"/v1/batches/{batch_id}/items"
    idle_tenant.post(f"{path}/2/cancel")
    for query, expected in (
        ({"custom_id": "second"}, [1]),
        ({"model": "veo-flash"}, [1]),
        ({"failure_type": "cancelled"}, [2]),
        ({"failure_type": "timeout"}, []),
        ({"status": "pending", "order": "desc"}, [1, 0]),
        ({"status": "failed", "custom_id": "first"}, []),
    ):
        page = idle_tenant.get(path, params=query)
        assert [item["index"] for item in page["items"]] == expected, query
        assert page["total"] == len(expected), query


def test_deliveries_are_found_by_batch_and_event(idle_tenant: Tenant) -> None:
    first, second = (made(idle_tenant, webhook_url="http://127.0.0.1:1/hook") for _ in range(2))
    for batch_id in (first, second):
        idle_tenant.post(f"/v1/batches/{batch_id}/cancel")

    def kinds(**query: str) -> list[tuple[str, str]]:
        page = idle_tenant.get("/v1/webhooks/deliveries", params=query)
        return [(one["batch_id"], one["type"]) for one in page["data"]]

    eventually(kinds, lambda seen: len(seen) == 4)
    assert kinds(batch_id=first) == [(first, "batch.cancelled"), (first, "video.failed")]
    assert kinds(batch_id=second, event="video.failed") == [(second, "video.failed")]


def test_an_item_is_cancelled_alone_and_refunded_once(idle_tenant: Tenant) -> None:
    batch_id = made(idle_tenant, "a", "b")
    before = idle_tenant.get("/v1/credits/balance")["available"]
    path = f"/v1/batches/{batch_id}/items"
    done = idle_tenant.post(f"{path}/{batch_id}-1/cancel")
    assert (done["item_id"], done["status"]) == (f"{batch_id}-1", "failed")
    assert idle_tenant.get("/v1/credits/balance")["available"] == before + done["credits_refunded"]
    again = idle_tenant.post(f"{path}/1/cancel", status=400)
    assert again["error"] == "ITEM_NOT_CANCELLABLE"
    assert idle_tenant.post(f"{path}/7/cancel", status=404)["error"] == "NOT_FOUND"
    batch = idle_tenant.get(f"/v1/batches/{batch_id}")
    assert (batch["status"], batch["pending_count"], batch["failed_count"]) == ("pending", 1, 1)
    idle_tenant.post(f"{path}/0/cancel")
    batch = idle_tenant.get(f"/v1/batches/{batch_id}")
    assert batch["status"] == "failed"
    assert batch["credits_refunded"] == batch["credits_reserved"]


@pytest.mark.parametrize(
    "deadline", [0, -1, True, 1.5, "yesterday", "2020-01-01", 31 * 86_400, "9999-12-31", [], 10**30]
)
def test_a_deadline_that_cannot_be_is_refused(idle_tenant: Tenant, deadline: object) -> None:
    refused = idle_tenant.batch("a", status=422, deadline=deadline)
    assert refused["field"] == "deadline", refused


@pytest.mark.parametrize("metadata", [[], "x", {"a": "x" * 5000}, {"a": {"b": [[[[]]]] * 2000}}])
def test_metadata_of_a_batch_is_a_small_object(idle_tenant: Tenant, metadata: object) -> None:
    assert idle_tenant.batch("a", status=422, metadata=metadata)["field"] == "metadata"


def test_the_same_request_with_another_name_is_another_body(idle_tenant: Tenant) -> None:
    fields: dict[str, Any] = {"request_id": "once", "name": "n", "metadata": {"a": 1}, "deadline": 3600}
    first = idle_tenant.batch("a", **fields)
    assert idle_tenant.batch("a", status=200, **fields)["batch_id"] == first["batch_id"]
    for other in ({"name": "m"}, {"metadata": {"a": 2}}, {"deadline": 60}):
        refused = idle_tenant.batch("a", status=422, **(fields | other))
        assert refused["error"] == "IDEMPOTENCY_KEY_REUSED"


def test_an_items_own_deadline_holds_for_it_alone_and_the_earlier_one_counts(idle_tenant: Tenant) -> None:
    items: list[dict[str, Any]] = [
        {"prompt": "a", "deadline": 3600},
        {"prompt": "b"},
        {"prompt": "c", "deadline": "2999-01-01"},
    ]
    refused = idle_tenant.post("/v1/batches", {"items": items}, status=422)
    assert (refused["field"], len(refused["errors"])) == ("items[2].deadline", 1)
    wrong: object
    for wrong in (0, -1, True, 1.5, "yesterday", "2020-01-01", [], {}, 10**30):
        body: dict[str, Any] = {"items": [{"prompt": "a", "deadline": wrong}]}
        assert idle_tenant.post("/v1/batches", body, status=422)["field"] == "items[0].deadline", wrong
        assert idle_tenant.post("/v1/quotes", body, status=422)["field"] == "items[0].deadline", wrong
    items[2]["deadline"] = 20 * 86_400
    body = {"items": items, "deadline": 86_400, "request_id": "until"}
    made = idle_tenant.post("/v1/batches", body, status=201)
    found = idle_tenant.get(f"/v1/batches/{made['batch_id']}/items")["items"]
    until = [datetime.fromisoformat(item["deadline"]).timestamp() - time.time() for item in found]
    assert [round(seconds / 3600) for seconds in until] == [1, 24, 24]
    assert idle_tenant.post("/v1/batches", body)["batch_id"] == made["batch_id"]
    items[0]["deadline"] = 3601
    other = idle_tenant.post("/v1/batches", body, status=422)
    assert other["error"] == "IDEMPOTENCY_KEY_REUSED"
