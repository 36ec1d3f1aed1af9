"""Batches over HTTP: accepted once, shown as they are, cancelled, retried, exported."""

import csv
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rushes.api.shapes import models, quotes
from rushes.simulator import running_simulator
from tests.api.harness import RunningService, Tenant, assert_problem, code_of, running_service
from tests.harness import knobs


def test_a_batch_runs_to_its_end_and_every_answer_has_the_documented_shape(tenant: Tenant) -> None:
    made = tenant.batch("a boat", "a kite", request_id="order-1")
    models.AcceptedBatch.model_validate(made)
    assert made["required_credits"] == 20
    assert made["available_credits"] == 100_000 - 20
    assert made["cost_per_video"] == 10
    assert made["request_id"] == "order-1"
    batch = tenant.finished(made["batch_id"])
    models.Batch.model_validate(batch)
    assert batch["status"] == "succeeded"
    assert (batch["credits_settled"], batch["credits_refunded"]) == (20, 0)
    page = tenant.get(f"/v1/batches/{made['batch_id']}/items")
    models.ItemPage.model_validate(page)
    assert page["total"] == 2
    assert [item["prompt"] for item in page["items"]] == ["a boat", "a kite"]
    assert all(item["video_url"].startswith("http") for item in page["items"])
    models.Balance.model_validate(tenant.get("/v1/credits/balance"))


def test_items_carry_what_they_were_given(idle_tenant: Tenant) -> None:
    metadata = {"shop": "№ 7", "nested": {"list": [1, 2.5, None, True]}}
    made = idle_tenant.post(
        "/v1/batches",
        {"items": [{"prompt": "ein Bööt 🚤", "custom_id": "c-1", "metadata": metadata, "duration": 15}]},
        status=201,
    )
    (item,) = idle_tenant.get(f"/v1/batches/{made['batch_id']}/items")["items"]
    assert item["prompt"] == "ein Bööt 🚤"
    assert item["metadata"] == metadata
    assert item["custom_id"] == "c-1"
    assert item["status"] == "pending"
    assert item["item_id"] == f"{made['batch_id']}-0"


def test_cost_per_video_is_null_when_items_differ(idle_tenant: Tenant) -> None:
    items = [{"prompt": "a"}, {"prompt": "b", "model": "veo-pro"}]
    made = idle_tenant.post("/v1/batches", {"items": items}, status=201)
    assert made["cost_per_video"] is None
    assert made["required_credits"] == 70


def test_a_template_makes_one_item_per_combination(idle_tenant: Tenant) -> None:
    body = {
        "template": "A {style} shot of {scene}",
        "variables": {"style": ["wide", "close"], "scene": ["a bay", "a wood"]},
        "max_outputs": 3,
        "model": "veo-flash",
        "aspect_ratio": "9:16",
    }
    made = idle_tenant.post("/v1/batches", body, status=201)
    assert made["total_count"] == 3
    items = idle_tenant.get(f"/v1/batches/{made['batch_id']}/items")["items"]
    assert [item["prompt"] for item in items] == [
        "A wide shot of a bay",
        "A wide shot of a wood",
        "A close shot of a bay",
    ]
    assert {item["model"] for item in items} == {"veo-flash"}


def test_the_older_prefix_answers_the_same(idle_tenant: Tenant) -> None:
    made = idle_tenant.post("/api/v1/batches", {"items": [{"prompt": "a"}]}, status=201)
    batch_id = made["batch_id"]
    old, new = (idle_tenant.get(f"{prefix}/batches/{batch_id}") for prefix in ("/api/v1", "/v1"))
    assert old == new


# --- idempotency ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["body", "header"])
def test_a_repeat_returns_the_same_batch_and_reserves_nothing(idle_tenant: Tenant, place: str) -> None:
    body: dict[str, Any] = {"items": [{"prompt": "a"}]}
    headers = {"Idempotency-Key": "r-1"} if place == "header" else {}
    if place == "body":
        body["request_id"] = "r-1"
    first = idle_tenant.post("/v1/batches", body, status=201, headers=headers)
    again = idle_tenant.post("/v1/batches", body, status=200, headers=headers)
    assert again == {**first, "idempotent_replay": True}
    assert idle_tenant.get("/v1/credits/balance")["reserved"] == 10


@pytest.mark.parametrize(
    "change",
    [
        {"items": [{"prompt": "b"}]},
        {"items": [{"prompt": "a", "duration": 15}]},
        {"items": [{"prompt": "a", "metadata": {"n": 1}}]},
        {"items": [{"prompt": "a"}], "webhook_url": "http://127.0.0.1:9/hook"},
        {"items": [{"prompt": "a"}], "retries": 1},
    ],
)
def test_the_same_id_with_another_body_is_refused(idle_tenant: Tenant, change: dict[str, Any]) -> None:
    idle_tenant.post("/v1/batches", {"items": [{"prompt": "a"}], "request_id": "r"}, status=201)
    refused = idle_tenant.post("/v1/batches", {**change, "request_id": "r"}, status=422)
    assert refused["error"] == "IDEMPOTENCY_KEY_REUSED"
    assert idle_tenant.get("/v1/credits/balance")["reserved"] == 10


def test_an_id_in_the_header_is_read_as_utf_8(idle_tenant: Tenant) -> None:
    body = {"items": [{"prompt": "a"}]}
    headers = {"Idempotency-Key": "commande-é-注文".encode()}
    first = idle_tenant.post("/v1/batches", body, status=201, headers=headers)
    assert first["request_id"] == "commande-é-注文"
    both = {**body, "request_id": "commande-é-注文"}
    for arguments in ({"headers": headers}, {}):
        again = idle_tenant.post("/v1/batches", both, status=200, **arguments)
        assert again == {**first, "idempotent_replay": True}


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/videos"])
def test_an_id_in_the_header_that_is_no_utf_8_is_refused(idle_tenant: Tenant, path: str) -> None:
    body = {"prompt": "a"} if path == "/v1/videos" else {"items": [{"prompt": "a"}]}
    headers = {"Idempotency-Key": "commande-é".encode("latin-1")}
    refused = idle_tenant.post(path, body, status=422, headers=headers)
    assert (code_of(refused), refused["field"]) == ("INVALID_INPUT", "Idempotency-Key")
    assert "must be UTF-8" in refused["message"]
    assert idle_tenant.get("/v1/credits/balance")["reserved"] == 0


def test_header_and_body_must_name_the_same_request(idle_tenant: Tenant) -> None:
    body = {"items": [{"prompt": "a"}], "request_id": "r-1"}
    refused = idle_tenant.post("/v1/batches", body, status=422, headers={"Idempotency-Key": "r-2"})
    assert refused["field"] == "request_id"


def test_request_ids_of_two_keys_do_not_meet(idle_service: RunningService) -> None:
    bodies = {"items": [{"prompt": "a"}], "request_id": "same"}
    first, second = idle_service.tenant(), idle_service.tenant()
    one = first.post("/v1/batches", bodies, status=201)
    other = second.post("/v1/batches", bodies, status=201)
    assert one["batch_id"] != other["batch_id"]


def test_fifty_concurrent_duplicates_make_one_batch_and_one_reservation(idle_tenant: Tenant) -> None:
    body = {"items": [{"prompt": f"p{n}"} for n in range(20)], "request_id": "storm"}
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: idle_tenant.request("POST", "/v1/batches", json=body), range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["batch_id"] for answer in answers}) == 1
    assert idle_tenant.get("/v1/credits/balance")["reserved"] == 200
    assert len(idle_tenant.get("/v1/batches")["data"]) == 1


# --- refusals before anything is written ----------------------------------------------------------------


def test_missing_credits_are_named_and_nothing_is_written(idle_service: RunningService) -> None:
    poor = idle_service.tenant(credits=15)
    refused = poor.batch("a", "b", status=402)
    assert refused["error"] == "INSUFFICIENT_CREDITS"
    assert (refused["required"], refused["available"]) == (20, 15)
    assert poor.get("/v1/batches")["data"] == []
    assert poor.get("/v1/credits/balance")["available"] == 15


def test_every_faulty_item_is_named_with_its_index(idle_tenant: Tenant) -> None:
    items = [
        {"prompt": "fine"},
        {"prompt": " "},
        {"prompt": "x", "duration": 16},
        {"prompt": "y", "colour": 1},
    ]
    refused = idle_tenant.post("/v1/batches", {"items": items}, status=422)
    assert refused["field"] == "items[1].prompt"
    fields = [fault["field"] for fault in refused["errors"]]
    assert fields == ["items[1].prompt", "items[3].colour"]
    refused = idle_tenant.post("/v1/batches", {"items": [items[0], items[2]]}, status=422)
    assert refused["field"] == "items[1].duration"
    assert idle_tenant.get("/v1/batches")["data"] == []


def test_a_retired_model_is_refused_before_any_credit_is_reserved(
    new_database_url: Callable[[str], str],
) -> None:
    retired = {"RUSHES_MODELS": json.dumps({"veo-pro": {"sunset_at": "2020-01-01"}})}
    with running_service(new_database_url("sqlite"), environment=retired, with_worker=False) as running:
        tenant = running.tenant()
        refused = tenant.post("/v1/batches", {"items": [{"prompt": "a", "model": "veo-pro"}]}, status=422)
        assert refused["error"] == "MODEL_RETIRED"
        assert tenant.get("/v1/credits/balance")["reserved"] == 0


def test_a_quote_prices_the_same_body_and_writes_nothing(idle_service: RunningService) -> None:
    poor = idle_service.tenant(credits=30)
    before = {
        table: idle_service.rows(f"SELECT COUNT(*) AS n FROM {table}")
        for table in ("batches", "ledger_entries")
    }
    items = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "c", "model": "veo-pro"}]
    quoted = poor.post("/v1/quotes", {"items": items})
    quotes.QuoteAnswer.model_validate(quoted)
    assert quoted["required_credits"] == 80
    assert quoted["sufficient"] is False
    assert {model["model"]: model["credits"] for model in quoted["models"]} == {"sora-2": 20, "veo-pro": 60}
    assert quoted["items"] == [
        {"index": 0, "model": "sora-2", "credits": 10},
        {"index": 1, "model": "sora-2", "credits": 10},
        {"index": 2, "model": "veo-pro", "credits": 60},
    ]
    assert "provider_cost" not in str(quoted), "what a provider charges is for operators only"
    finish = quoted["expected_finish"]
    assert quoted["finish_seconds"] == {"p50": finish["p50_seconds"], "p95": finish["p95_seconds"]}
    assert 0 < finish["p50_seconds"] < finish["p95_seconds"]
    assert finish["p50_seconds"] > 400  # a Veo's typical time
    after = {table: idle_service.rows(f"SELECT COUNT(*) AS n FROM {table}") for table in before}
    assert after == before


# --- lists ----------------------------------------------------------------------------------------------


def test_the_cursor_walks_all_batches_once_newest_first(idle_tenant: Tenant) -> None:
    made = [idle_tenant.batch(f"p{n}")["batch_id"] for n in range(7)]
    seen: list[str] = []
    after: str | None = None
    while True:
        parameters = {"limit": 3, **({"after": after} if after else {})}
        page = idle_tenant.get("/v1/batches", params=parameters)
        models.BatchPage.model_validate(page)
        seen += [batch["batch_id"] for batch in page["data"]]
        if not page["has_more"]:
            break
        after = seen[-1]
    assert seen == made[::-1]


def test_items_are_paged_and_filtered_with_their_totals(idle_tenant: Tenant) -> None:
    batch_id = idle_tenant.batch(*(f"p{n}" for n in range(5)))["batch_id"]
    page = idle_tenant.get(f"/v1/batches/{batch_id}/items", params={"limit": 2, "offset": 3})
    assert [item["index"] for item in page["items"]] == [3, 4]
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 3)
    failed = idle_tenant.get(f"/v1/batches/{batch_id}/items", params={"status": "failed"})
    assert (failed["items"], failed["total"]) == ([], 0)


# --- cancel, retry, export ------------------------------------------------------------------------------


def test_cancelling_refunds_what_no_provider_has(idle_tenant: Tenant) -> None:
    batch_id = idle_tenant.batch("a", "b", "c")["batch_id"]
    cancelled = idle_tenant.post(f"/v1/batches/{batch_id}/cancel")
    models.CancelledBatch.model_validate(cancelled)
    assert cancelled == {"ok": True, "batch_id": batch_id, "status": "cancelled", "credits_refunded": 30}
    items = idle_tenant.get(f"/v1/batches/{batch_id}/items")["items"]
    assert {(item["status"], item["error"]) for item in items} == {("failed", "CANCELLED")}
    refused = idle_tenant.post(f"/v1/batches/{batch_id}/cancel", status=400)
    assert refused["error"] == "BATCH_NOT_CANCELLABLE"
    assert idle_tenant.get("/v1/credits/balance")["available"] == 100_000


def test_a_failed_item_is_tried_again_with_a_new_reservation(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=0.1, error=1.0)) as failing,
        running_service(database_url, failing.base_url) as running,
    ):
        tenant = running.tenant(credits=100)
        batch_id = tenant.batch("a", "b")["batch_id"]
        assert tenant.finished(batch_id)["status"] == "failed"
        failing.use(knobs(render_seconds=0.1))
        retried = tenant.post(f"/v1/batches/{batch_id}/items/{batch_id}-1/retry")
        models.RetriedItem.model_validate(retried)
        assert retried["required_credits"] == 10
        batch = tenant.finished(batch_id)
        assert batch["status"] == "partial"
        assert (batch["credits_reserved"], batch["credits_settled"], batch["credits_refunded"]) == (
            30,
            10,
            20,
        )
        again = tenant.post(f"/v1/batches/{batch_id}/items/1/retry", status=400)
        assert again["error"] == "ITEM_NOT_RETRYABLE"
        assert tenant.post(f"/v1/batches/{batch_id}/items/7/retry", status=404)
        assert tenant.post(f"/v1/batches/{batch_id}/items/bat_0-1/retry", status=404)


def test_a_batch_that_asks_for_retries_gets_them_before_it_ends(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=0.1, error=0.5, seed=11)) as flaky,
        running_service(database_url, flaky.base_url) as running,
    ):
        tenant = running.tenant(credits=10_000)
        batch_id = tenant.batch(*(f"p{n}" for n in range(12)), retries=5)["batch_id"]
        batch = tenant.finished(batch_id)
        assert batch["succeeded_count"] >= 11
        assert batch["credits_reserved"] > 120, "each try has a reservation of its own"
        assert batch["credits_settled"] == 10 * batch["succeeded_count"]
        assert batch["credits_reserved"] == batch["credits_settled"] + batch["credits_refunded"]


def test_an_export_has_every_item_exactly_as_it_is(idle_tenant: Tenant) -> None:
    prompts = ["=1+1", 'she said "hi",\nand left', "ünïcödé 🚤", *(f"p{n}" for n in range(600))]
    batch_id = idle_tenant.batch(*prompts)["batch_id"]
    as_lines = idle_tenant.request("GET", f"/v1/batches/{batch_id}/export")
    assert as_lines.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["prompt"] for line in as_lines.text.splitlines()] == prompts
    exact = {"format": "csv", "raw": "true"}
    as_csv = idle_tenant.request("GET", f"/v1/batches/{batch_id}/export", params=exact)
    assert as_csv.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(as_csv.text, newline="")))
    assert [row["prompt"] for row in rows] == prompts
    assert rows[3]["item_id"] == f"{batch_id}-3"
    safe = idle_tenant.request("GET", f"/v1/batches/{batch_id}/export", params={"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(safe.text, newline="")))
    assert [row["prompt"] for row in rows] == ["'=1+1", *prompts[1:]]


def test_ten_thousand_items_are_one_batch_and_one_more_is_none(idle_service: RunningService) -> None:
    rich = idle_service.tenant(credits=200_000)
    items = [{"prompt": f"prompt {n}"} for n in range(10_000)]
    assert rich.post("/v1/batches", {"items": items}, status=201)["total_count"] == 10_000
    refused = rich.post("/v1/batches", {"items": [*items, {"prompt": "one more"}]}, status=422)
    assert "10000" in refused["message"]


def test_a_webhook_needs_the_operators_secret(new_database_url: Callable[[str], str]) -> None:
    without = {"RUSHES_WEBHOOK_SECRET": ""}
    with running_service(new_database_url("sqlite"), environment=without, with_worker=False) as running:
        refused = running.tenant().batch("a", webhook_url="http://127.0.0.1:9/x", status=422)
        assert refused["field"] == "webhook_url"
        assert "sends no webhooks" in refused["message"]
        assert_problem(running.tenant().request("GET", "/v1/credits/ledger", params={"limit": 0}))


def test_a_quote_takes_the_body_of_a_batch_checks_it_and_writes_nothing(idle_tenant: Tenant) -> None:
    body = {
        "request_id": "order-1742",
        "items": [{"prompt": "a paper boat on a puddle"}],
        "webhook_url": "https://example.com/hooks/rushes",
        "webhook_events": ["batch.succeeded"],
        "name": "Spring campaign",
        "metadata": {"team": "north"},
        "deadline": 3600,
        "retries": 2,
    }
    quoted = idle_tenant.post("/v1/quotes", body)
    assert idle_tenant.get("/v1/batches")["data"] == []
    for field, wrong in (
        ("webhook_url", "http:/x"),
        ("webhook_events", "nothing"),
        ("name", ""),
        ("metadata", [1]),
        ("deadline", "tomorrow"),
        ("request_id", ""),
    ):
        for route in ("/v1/quotes", "/v1/batches"):
            refused = idle_tenant.post(route, {**body, field: wrong}, status=422)
            assert refused["field"] == field, (route, refused)
    made = idle_tenant.post("/v1/batches", body, status=201)
    assert made["required_credits"] == quoted["required_credits"]
    assert made["idempotent_replay"] is False, "the quote did not take the request id"
