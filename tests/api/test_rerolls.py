"""Re-rolls over HTTP: the policy, every try as a row, and pass rates that agree with both."""

from typing import Any

from rushes.simulator import running_simulator
from tests.api.harness import Tenant, running_service
from tests.harness import knobs

ITEMS = 50
CAP = 200


def tries_of(tenant: Tenant, batch_id: str) -> list[list[dict[str, Any]]]:
    """The attempts of each item."""
    return [
        tenant.get(f"/v1/batches/{batch_id}/items/{index}/attempts")["attempts"] for index in range(ITEMS)
    ]


def test_rates_tries_credits_and_the_cap_agree_with_what_the_service_did(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=0.1, output_moderation=0.6, seed=5)) as flaky,
        running_service(database_url, flaky.base_url) as running,
    ):
        tenant, stranger = running.tenant(credits=10_000), running.tenant(credits=10)
        policy = {"max": 3, "reasons": ["output_moderation"], "credits_max": CAP, "last_model": "veo-flash"}
        batch_id = tenant.batch(*(f"p{n}" for n in range(ITEMS)), retries=policy)["batch_id"]
        batch = tenant.finished(batch_id, seconds_max=60)
        tries = tries_of(tenant, batch_id)
        flat = [attempt for of_item in tries for attempt in of_item]
        passed = [attempt for attempt in flat if attempt["status"] == "succeeded"]
        rerolls = [attempt for attempt in flat if attempt["try"] > 1]
        used = sum(attempt["credits"] for attempt in rerolls if attempt["status"] == "succeeded")

        # the tries are those that the service saw, and each has the price of its model
        assert len({attempt["remote_task_id"] for attempt in flat}) == len(flat) == flaky.report().accepted
        assert all(a["credits"] == (15 if a["model"] == "veo-flash" else 10) for a in flat)
        assert all(a["model"] == ("veo-flash" if a["try"] == 4 else "sora-2") for a in flat)
        for of_item in tries:
            assert [attempt["try"] for attempt in of_item] == list(range(1, len(of_item) + 1))
            assert all(attempt["failure_type"] == "output_moderation" for attempt in of_item[:-1])
        # credits, to the credit
        assert batch["credits_reserved"] == sum(attempt["credits"] for attempt in flat)
        assert batch["credits_settled"] == sum(attempt["credits"] for attempt in passed)
        assert batch["credits_refunded"] == batch["credits_reserved"] - batch["credits_settled"]
        assert tenant.get("/v1/credits/balance")["available"] == 10_000 - batch["credits_settled"]
        assert 0 < used <= CAP
        assert any(len(of_item) < 4 and of_item[-1]["status"] == "failed" for of_item in tries), (
            "the cap ended some"
        )
        told = tenant.get(f"/v1/batches/{batch_id}/retries")
        assert told == {
            "ok": True,
            "batch_id": batch_id,
            "policy": {**policy, "stop_loss": None, "repairs": []},
            "rerolls_count": len(rerolls),
            "credits_used": used,
            "stopped_at": None,
            "tries_ended": len(flat),
            "tries_passed": len(passed),
            "pass_rate": round(len(passed) / len(flat), 6),
            "repairs": [],
        }
        # pass rates
        stats = tenant.get("/v1/models/stats?prompts=1000")
        assert stats["tries"] == len(flat)
        assert not stats["is_cut_short"]
        for model in stats["models"]:
            of_model = [attempt for attempt in flat if attempt["model"] == model["model"]]
            good = [attempt for attempt in of_model if attempt["status"] == "succeeded"]
            assert (model["tries"], model["passed"]) == (len(of_model), len(good))
            assert model["failures"] == {"output_moderation": len(of_model) - len(good)}
            assert model["credits_settled"] == sum(attempt["credits"] for attempt in good)
        by_prompt = {one["prompt"]: (one["tries"], one["passed"]) for one in stats["prompts"]}
        assert by_prompt == {
            f"p{n}": (len(of_item), int(of_item[-1]["status"] == "succeeded"))
            for n, of_item in enumerate(tries)
        }
        # nothing of it is another account's
        assert stranger.get("/v1/models/stats")["models"] == []
        of_items = f"/v1/batches/{batch_id}/items"
        for who, path in (
            (stranger, f"/v1/batches/{batch_id}/retries"),
            (stranger, f"{of_items}/0/attempts"),
            (tenant, f"{of_items}/{ITEMS}/attempts"),
        ):
            assert who.request("GET", path).status_code == 404


def test_the_stop_loss_ends_a_batch_that_mostly_fails(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=0.1, output_moderation=1.0)) as refusing,
        running_service(database_url, refusing.base_url) as running,
    ):
        tenant = running.tenant(credits=10_000)
        policy = {"max": 5, "stop_loss": {"pass_rate_min": 0.1, "after": 20}}
        batch_id = tenant.batch(*(f"p{n}" for n in range(20)), retries=policy)["batch_id"]
        batch = tenant.finished(batch_id, seconds_max=60)
        told = tenant.get(f"/v1/batches/{batch_id}/retries")
        assert told["stopped_at"] is not None
        assert told["tries_ended"] == 20 + told["rerolls_count"] < 120
        assert (batch["status"], batch["credits_settled"]) == ("failed", 0)
        assert tenant.get("/v1/credits/balance")["available"] == 10_000
