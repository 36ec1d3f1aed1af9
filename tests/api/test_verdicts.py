"""Verdicts over HTTP: a gate's on every clip, a person's once, and what follows from both."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rushes.files.video_pictures import can_decode
from rushes.simulator import running_simulator
from tests.api.harness import Tenant, running_service
from tests.harness import knobs

pytestmark = pytest.mark.skipif(not can_decode(), reason="PyAV is not installed")

SECONDS_MAX = 60.0


def judged(tenant: Tenant, batch_id: str) -> dict[str, Any]:
    """The batch's verdicts, once none is open and the batch is closed."""
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        found: dict[str, Any] = tenant.get(f"/v1/batches/{batch_id}/verdicts")
        batch = tenant.get(f"/v1/batches/{batch_id}")
        if not found["verdicts"]["open"] and batch["completed_at"] is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("a verdict is still open")


def test_a_gate_best_of_and_a_persons_word(database_url: str, tmp_path: Path) -> None:
    environment = {"RUSHES_ARCHIVE_URL": str(tmp_path / "archive")}
    with (
        running_simulator(knobs(render_seconds=0.1, clip_black=0.5, seed=3)) as simulator,
        running_service(database_url, simulator.base_url, environment) as running,
    ):
        tenant, stranger = running.tenant(credits=1000), running.tenant(credits=10)
        batch_id = tenant.batch("a", "b", "c", "d", accept={"n_max": 8, "credits_max": 80})["batch_id"]
        found = judged(tenant, batch_id)
        assert (found["verdicts"]["accepted"], found["reasons"].keys()) == (4, {"black"})
        assert found["credits_settled"] == 10 * simulator.report().accepted
        assert found["accept"] == {"n_max": 8, "credits_max": 80, "score_min": None}
        (model,) = tenant.get("/v1/models/accepted")["data"]
        assert model["cost_per_accepted"] == found["cost_per_accepted"] == found["credits_settled"] / 4

        path = f"/v1/batches/{batch_id}/items/2/verdict"
        said = {"verdict": "rejected", "reason": "six fingers"}
        assert stranger.http.post(path, json=said).status_code == 404
        assert tenant.http.post(path, json={"verdict": "meh"}).status_code == 422
        assert tenant.http.post(path, json={**said, "why": 1}).status_code == 422
        capped = tenant.post("/v1/keys", {"credits_per_day_max": 500}, status=201)["key"]
        refused = tenant.http.post(path, json=said, headers={"x-api-key": capped})
        assert (refused.status_code, refused.json()["error"]) == (402, "DAY_CAP_REACHED")
        assert tenant.get(f"/v1/batches/{batch_id}/verdicts") == found, "nothing was written"
        first = tenant.http.post(path, json=said)
        assert (first.status_code, first.json()["buys"]) == (200, True)
        again = judged(tenant, batch_id)
        assert again["clips"] > found["clips"]
        assert again["reasons"]["judge:six fingers"] == 1
        item = tenant.get(f"/v1/batches/{batch_id}/items")["items"][2]
        assert (item["status"], item["verdict"], item["verdict_by"]) == ("succeeded", "accepted", "gate")
        assert tenant.http.post(path, json={"verdict": "accepted"}).status_code == 200
        other = tenant.http.post(path, json=said)
        assert (other.status_code, other.json()["error"]) == (409, "ITEM_NOT_JUDGEABLE")
        batch = tenant.get(f"/v1/batches/{batch_id}")
        assert batch["credits_settled"] == batch["credits_reserved"] == 10 * simulator.report().accepted


def test_auto_in_a_batch_is_bounded_quoted_and_chosen_over_http(database_url: str, tmp_path: Path) -> None:
    environment = {"RUSHES_ARCHIVE_URL": str(tmp_path / "archive")}
    with (
        running_simulator(knobs(render_seconds=0.1)) as simulator,
        running_service(database_url, simulator.base_url, environment) as running,
    ):
        tenant = running.tenant(credits=1000)
        rule = {"among": ["sora-2", "veo-flash"], "credits_max": 20, "seed": 5}
        items = [{"prompt": f"take {number}", "model": "auto"} for number in range(10)]
        body = {"items": items, "auto": rule}
        quoted = tenant.http.post("/v1/quotes", json=body).json()
        assert (quoted["required_credits"], quoted["credits_max"]) == (100, 150)
        assert [model["model"] for model in quoted["models"]] == ["auto"]
        batch_id = tenant.post("/v1/batches", body, status=201)["batch_id"]
        found = judged(tenant, batch_id)
        assert found["verdicts"]["accepted"] == 10
        assert found["auto"] == {**rule, "finish_by": None}
        made = tenant.get(f"/v1/batches/{batch_id}/items")["items"]
        assert {item["model"] for item in made} <= {"sora-2", "veo-flash"}
        assert all(item["alias"] == "auto" for item in made)
        assert all("credits per accepted clip drawn" in item["model_choice"] for item in made)
        more = {"items": items, "auto": rule, "accept": {"n_max": 3}}
        (known,) = tenant.http.post("/v1/quotes", json=more).json()["accept"]["models"]
        assert known["chance"] in (None, 1.0), "of a model with 8 clips or more all were accepted"
        assert quoted["accept"] is None
        batch = tenant.get(f"/v1/batches/{batch_id}")
        prices = {"sora-2": 10, "veo-flash": 15}
        assert batch["credits_settled"] == sum(prices[item["model"]] for item in made)
        assert batch["credits_reserved"] == batch["credits_settled"]
        for wrong, field in (
            ({"items": items, "auto": {"credits_max": 1}}, "items[0].model"),
            ({"items": items, "gate": False}, "model"),
            ({"items": [{"prompt": "a"}], "auto": rule}, "auto"),
            ({"items": items, "auto": {"seeds": 1}}, "auto"),
        ):
            refused = tenant.http.post("/v1/batches", json=wrong)
            assert (refused.status_code, refused.json()["field"]) == (422, field)
        soon = datetime.now(UTC) + timedelta(seconds=10)
        for path in ("/v1/quotes", "/v1/batches"):
            for by, why in (("2020-01-01T00:00:00Z", "has passed"), (soon.isoformat(), "cannot be met")):
                late = {"items": items, "auto": {**rule, "finish_by": by}}
                refused = tenant.http.post(path, json=late)
                assert (refused.status_code, refused.json()["field"]) == (422, "auto.finish_by")
                assert f"{why}: the earliest is " in refused.json()["message"]
        earliest = refused.json()["message"].split("the earliest is ")[1].split(",")[0]
        at = datetime.fromisoformat(earliest) + timedelta(minutes=1)
        in_time = {"items": items, "auto": {**rule, "finish_by": at.isoformat()}}
        assert tenant.http.post("/v1/quotes", json=in_time).status_code == 200
        video = tenant.http.post("/v1/videos", json={"prompt": "a", "model": "auto"})
        assert video.status_code == 422, "a single video has no gate to learn from"
