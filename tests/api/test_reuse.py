"""Reuse over HTTP: named in the quote, free in the batch, and a file as any other."""

import time
from pathlib import Path
from typing import Any

from rushes.simulator import running_simulator
from tests.api.harness import Tenant, running_service
from tests.harness import knobs

SECONDS_MAX = 60.0


def stored(tenant: Tenant, batch_id: str) -> list[dict[str, Any]]:
    """The batch's items, once each has its file."""
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        items: list[dict[str, Any]] = tenant.get(f"/v1/batches/{batch_id}/items")["items"]
        if all((item["archive"] or {}).get("state") == "stored" for item in items):
            return items
        time.sleep(0.1)
    raise AssertionError("a file is not stored")


def test_equal_items_are_named_reused_and_served(database_url: str, tmp_path: Path) -> None:
    environment = {"RUSHES_ARCHIVE_URL": str(tmp_path / "archive")}
    with (
        running_simulator(knobs(render_seconds=0.1)) as simulator,
        running_service(database_url, simulator.base_url, environment) as running,
    ):
        tenant, stranger = running.tenant(credits=100), running.tenant(credits=100)
        first = tenant.batch("a fox", "a boat", "a fox", reuse=True)
        assert tenant.get(f"/v1/batches/{first['batch_id']}")["credits_reserved"] == 20
        items = stored(tenant, first["batch_id"])
        assert items[2]["reused_from"] == {"item_id": f"{first['batch_id']}-0", "index": 0}
        assert items[0]["reused_from"] is None
        assert items[0]["archive"]["sha256"] == items[2]["archive"]["sha256"]
        content = tenant.http.get(f"/v1/videos/{items[2]['item_id']}/content")
        assert content.status_code == 200
        assert content.content == tenant.http.get(f"/v1/videos/{items[0]['item_id']}/content").content

        body = {"items": [{"prompt": "a boat"}, {"prompt": "a bird"}]}
        quote = tenant.http.post("/v1/quotes", json=body).json()
        (named,) = quote["bought_before"]
        assert (named["index"], named["item_id"], named["is_stored"]) == (0, items[1]["item_id"], True)
        assert (quote["required_credits"], quote["reuse_saves_credits"]) == (20, 10)
        quote = tenant.http.post("/v1/quotes", json={**body, "reuse": True}).json()
        assert (quote["required_credits"], quote["reuse_saves_credits"]) == (10, 10)
        assert [item["credits"] for item in quote["items"]] == [0, 10]
        assert stranger.http.post("/v1/quotes", json=body).json()["bought_before"] == []

        assert tenant.http.post("/v1/quotes", json={**body, "reuse": "yes"}).status_code == 422
        once = {**body, "reuse": True, "request_id": "r-1"}
        assert tenant.http.post("/v1/batches", json=once).status_code == 201
        assert tenant.http.post("/v1/batches", json=once).status_code == 200
        assert tenant.http.post("/v1/batches", json={**once, "reuse": False}).status_code == 422
        assert simulator.report().accepted in (2, 3)


def test_a_service_that_keeps_no_files_refuses_reuse(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=0.1)) as simulator,
        running_service(database_url, simulator.base_url, {"RUSHES_ARCHIVE_URL": "none"}) as running,
    ):
        tenant = running.tenant(credits=100)
        refused = tenant.http.post("/v1/batches", json={"items": [{"prompt": "a"}], "reuse": True})
        assert (refused.status_code, refused.json()["field"]) == (422, "reuse")
