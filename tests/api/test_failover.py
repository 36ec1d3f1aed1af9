"""Failover and holding through the service: an alias outlives a provider; a paused model holds its items."""

import json
from typing import Any

from rushes.simulator import running_simulator
from tests.api.harness import Tenant, eventually, running_service
from tests.harness import FAST

NOBODY = "http://127.0.0.1:1"
ALIAS = {"any-veo": {"alias_of": ["fal-veo3.1", "veo-flash"], "credits": 21}}
PAUSED = {"sora-2": {"disabled": True}}


def test_an_alias_outlives_its_first_choice_and_costs_what_was_quoted(database_url: str) -> None:
    environment = {"FAL_KEY": "a-key", "FAL_HOST": NOBODY, "RUSHES_MODELS": json.dumps(ALIAS)}
    items = [{"prompt": f"p{n}", "model": "any-veo"} for n in range(20)]
    with (
        running_simulator(FAST) as simulator,
        running_service(database_url, simulator.base_url, environment) as running,
    ):
        tenant = running.tenant(credits=1000)
        quote = tenant.post("/v1/quotes", {"items": items})
        assert quote["models"] == [{"model": "any-veo", "count": 20, "credits_per_video": 21, "credits": 420}]
        made = tenant.post("/v1/batches", {"items": items}, status=201, headers={"idempotency-key": "k"})
        assert (made["required_credits"], made["cost_per_video"]) == (420, 21)
        batch = tenant.finished(made["batch_id"], seconds_max=60)
        again = tenant.post("/v1/batches", {"items": items}, headers={"idempotency-key": "k"})
        assert (again["batch_id"], again["idempotent_replay"]) == (made["batch_id"], True)
        done = tenant.get(f"/v1/batches/{made['batch_id']}/items")["items"]
        assert batch["status"] == "succeeded"
        assert {(item["alias"], item["model"]) for item in done} == {("any-veo", "veo-flash")}
        assert all(item["held_reason"] is None for item in done)
        attempts = tenant.get(f"/v1/batches/{made['batch_id']}/items/0/attempts")["attempts"]
        assert [(a["model"], a["credits"], a["provider"]) for a in attempts] == [("veo-flash", 21, "grsai")]
        assert batch["credits_settled"] == 420
        assert tenant.get("/v1/credits/balance") == {
            **tenant.get("/v1/credits/balance"),
            "available": 580,
            "reserved": 0,
        }
        video = tenant.post("/v1/videos", {"prompt": "one", "model": "any-veo"})
        assert video["model"] in ("fal-veo3.1", "veo-flash")
        assert running.ask(lambda rushes: rushes.audit()).ok
        assert simulator.report().accepted >= 20


def held(tenant: Tenant, batch_id: str) -> list[Any]:
    """Why each item is held."""
    return [item["held_reason"] for item in tenant.get(f"/v1/batches/{batch_id}/items")["items"]]


def test_a_paused_model_holds_its_items_with_a_reason_until_it_returns(database_url: str) -> None:
    with running_simulator(FAST) as simulator:
        with running_service(database_url, simulator.base_url, with_worker=False) as running:
            tenant = running.tenant(credits=100)
            items = [{"prompt": "a", "model": "sora-2"}, {"prompt": "b", "model": "veo-flash"}]
            batch_id = tenant.post("/v1/batches", {"items": items}, status=201)["batch_id"]
            assert held(tenant, batch_id) == [None, None], "without a worker nothing is known"
        environment = {"RUSHES_MODELS": json.dumps(PAUSED)}
        with running_service(database_url, simulator.base_url, environment) as running:
            client = Tenant(running.base_url, tenant.account, tenant.key)
            batch = eventually(
                lambda: client.get(f"/v1/batches/{batch_id}"), lambda batch: batch["succeeded_count"] == 1
            )
            assert batch["pending_count"] == 1
            assert held(client, batch_id) == ["sora-2 is disabled by the operator", None]
            (found,) = running.ask(lambda rushes: rushes.held_tasks())
            assert found["count"] == 1
            assert found["reason"] == "sora-2 is disabled by the operator"
            client.http.close()
        assert simulator.report().submits == 1
        with running_service(database_url, simulator.base_url) as running:
            client = Tenant(running.base_url, tenant.account, tenant.key)
            assert client.finished(batch_id)["succeeded_count"] == 2
            client.http.close()


def test_what_waits_too_long_fails_and_is_refunded(database_url: str) -> None:
    with running_simulator(FAST) as simulator:
        with running_service(database_url, simulator.base_url, with_worker=False) as running:
            tenant = running.tenant(credits=100)
            batch_id = tenant.batch("a", "b")["batch_id"]
        environment = {"RUSHES_MODELS": json.dumps(PAUSED), "RUSHES_WAIT_SECONDS_MAX": "0.5"}
        with running_service(database_url, simulator.base_url, environment) as running:
            client = Tenant(running.base_url, tenant.account, tenant.key)
            batch = client.finished(batch_id)
            assert (batch["status"], batch["credits_refunded"]) == ("failed", 20)
            items = client.get(f"/v1/batches/{batch_id}/items")["items"]
            assert {(item["error"], item["failure_type"]) for item in items} == {("TIMEOUT", "timeout")}
            assert client.get("/v1/credits/balance")["available"] == 100
            assert running.ask(lambda rushes: rushes.audit()).ok
            client.http.close()
        assert simulator.report().submits == 0
