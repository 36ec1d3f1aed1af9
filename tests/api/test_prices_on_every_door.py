"""The same video costs the same by every door, to the credit, and so says the ledger."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from rushes.library import Rushes
from rushes.store.caps import CREDITS, DayCap
from tests.api.harness import RunningService, Tenant, running_service

MODELS = {
    "sora-2": {
        "price": {"per_second": 3, "by": {"audio": {"true": "1.5"}}},
        "options": {
            "duration": {"kind": "whole_number", "minimum": 2, "maximum": 15, "default": 10},
            "audio": {"kind": "yes_no", "default": False},
        },
    }
}
CASES = [
    ({}, 30),
    ({"duration": 2}, 6),
    ({"duration": 10}, 30),
    ({"duration": 5, "audio": True}, 23),
]


@pytest.fixture(scope="module")
def running(session_database_url: Callable[[str], str]) -> Any:
    with running_service(
        session_database_url("sqlite"), environment={"RUSHES_MODELS": json.dumps(MODELS)}, with_worker=False
    ) as service:
        yield service


def reserved(tenant: Tenant) -> int:
    balance = tenant.get("/v1/credits/balance")
    return int(balance["reserved"])


@pytest.mark.parametrize(("options", "price"), CASES)
def test_every_door_asks_for_the_same(running: RunningService, options: dict[str, Any], price: int) -> None:
    tenant = running.tenant()
    item = {"prompt": "a boat", **options}
    quote = tenant.post("/v1/quotes", {"items": [item]})
    assert (quote["required_credits"], quote["items"][0]["credits"]) == (price, price)
    nested = {"items": [{"prompt": "a boat", "options": options}]}
    assert tenant.post("/v1/quotes", nested)["required_credits"] == price
    assert (
        tenant.post("/v1/quotes", {"items": [{"prompt": "a boat"}], **options})["required_credits"] == price
    )

    before = reserved(tenant)
    tenant.post("/v1/batches", {"items": [item]}, status=201)
    assert reserved(tenant) == before + price

    duration = options.get("duration")
    video = {"prompt": "a boat", "seconds": str(duration or 10)}
    more = {name: value for name, value in options.items() if name != "duration"}
    for body in ({**video, **more}, {**video, "options": more}):
        before = reserved(tenant)
        tenant.post("/v1/videos", body)
        assert reserved(tenant) == before + price
    form = {**video, **{name: json.dumps(value) for name, value in more.items()}}
    before = reserved(tenant)
    answer = tenant.request("POST", "/v1/videos", files={name: (None, value) for name, value in form.items()})
    assert answer.status_code == 200, answer.text
    assert reserved(tenant) == before + price

    async def by_the_library() -> int:
        async with Rushes(running.settings) as rushes:
            batch = await rushes.create_batch(["a boat"], account=tenant.account, **options)
            return int(batch["credits_reserved"])

    assert asyncio.run(by_the_library()) == price


def test_a_tenant_never_sees_what_a_provider_charges(running: RunningService) -> None:
    tenant = running.tenant()
    batch_id = tenant.post("/v1/batches", {"items": [{"prompt": "a"}]}, status=201)["batch_id"]
    running.ask(lambda rushes: rushes.cancel(batch_id))
    row = running.rows("SELECT expected_cost_micros, cost_currency FROM video_tasks ORDER BY id DESC LIMIT 1")
    assert row == [{"expected_cost_micros": 80_000, "cost_currency": "CNY"}], "it is there"
    for path in (
        f"/v1/batches/{batch_id}",
        f"/v1/batches/{batch_id}/items",
        f"/v1/batches/{batch_id}/items/0/attempts",
        f"/v1/batches/{batch_id}/export",
        f"/v1/batches/{batch_id}/export?format=csv",
        "/v1/credits/ledger",
        "/v1/stats",
    ):
        answer = tenant.request("GET", path)
        said = answer.text.replace("cost_per_video", "")
        for word in ("cost", "CNY", "margin", "0.08", "80000"):
            assert word not in said, (path, word)


def test_a_day_cap_refuses_at_every_door_with_what_is_left(running: RunningService) -> None:
    tenant = running.tenant()
    running.ask(lambda rushes: rushes.set_day_cap(DayCap("account", tenant.account, CREDITS, 40)))
    tenant.post("/v1/batches", {"items": [{"prompt": "a"}]}, status=201)
    refused = tenant.post("/v1/batches", {"items": [{"prompt": "a"}]}, status=402)
    assert (refused["error"], refused["left"], refused["cap"]) == ("DAY_CAP_REACHED", "10", "40")
    refused = tenant.post("/v1/videos", {"prompt": "a", "seconds": "10"}, status=402)
    assert (refused["error"]["code"], refused["left"], refused["cap"]) == ("DAY_CAP_REACHED", "10", "40")
    assert "10 are left" in refused["error"]["message"]
    assert reserved(tenant) == 30


def test_an_option_that_no_model_has_is_refused_with_the_nearest(running: RunningService) -> None:
    tenant = running.tenant()
    for path, body in (
        ("/v1/batches", {"items": [{"prompt": "a", "audoi": True}]}),
        ("/v1/batches", {"items": [{"prompt": "a", "options": {"audoi": True}}]}),
        ("/v1/batches", {"items": [{"prompt": "a"}], "audoi": True}),
        ("/v1/videos", {"prompt": "a", "audoi": True}),
        ("/v1/videos", {"prompt": "a", "options": {"audoi": True}}),
    ):
        refused = tenant.post(path, body, status=422)
        assert 'did you mean "audio"?' in refused["message"], refused
    assert reserved(tenant) == 0
