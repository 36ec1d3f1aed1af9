"""A repeat finds what the request made before, whatever has become of its model since."""

import json
from typing import Any

import pytest

from tests.api.harness import Tenant, running_service

ALIAS = {"mine": {"alias_of": ["sora-2"], "credits": 12}}
OWN = {"my-sora": {"like": "sora-2"}}

CHANGES = pytest.mark.parametrize(
    ("model", "before", "after"),
    [
        ("sora-2", {}, {"sora-2": {"sunset_at": "2020-01-01"}}),
        ("sora-2", {}, {"sora-2": {"disabled": True}}),
        ("mine", ALIAS, {"sora-2": {"disabled": True}, **ALIAS}),
        ("mine", ALIAS, {}),
        ("my-sora", OWN, {}),
    ],
    ids=["retired", "disabled", "alias without a live model", "alias gone", "model gone"],
)


@CHANGES
def test_a_repeat_is_a_replay_though_its_model_takes_no_new_tasks_by_now(
    database_url: str, model: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    batch = {
        "items": [{"prompt": "a", "duration": 15}, {"prompt": "b"}],
        "model": model,
        "request_id": "r",
        "retries": {"max": 1, "last_model": "sora-2"},
        "webhook_url": "http://127.0.0.1:9/hook",
    }
    video, key = {"prompt": "a", "model": model, "seconds": "4"}, {"Idempotency-Key": "v"}
    with running_service(
        database_url, environment={"RUSHES_MODELS": json.dumps(before)}, with_worker=False
    ) as running:
        tenant = running.tenant(credits=1000)
        made = tenant.post("/v1/batches", batch, status=201)
        filmed = tenant.post("/v1/videos", video, headers=key)
        balance = tenant.get("/v1/credits/balance")
    with running_service(
        database_url,
        environment={"RUSHES_MODELS": json.dumps(after), "RUSHES_WEBHOOK_SECRET": ""},
        with_worker=False,
    ) as running:
        tenant = Tenant(running.base_url, tenant.account, tenant.key)
        again = tenant.post("/v1/batches", batch)
        assert again == {
            **made,
            "available_credits": balance["available"],
            "idempotent_replay": True,
        }
        assert tenant.post("/v1/videos", video, headers=key) == filmed
        for path, body, headers in (
            ("/v1/batches", {**batch, "request_id": "another"}, {}),
            ("/v1/batches", {**batch, "retries": 1}, {}),
            ("/v1/videos", {**video, "prompt": "b"}, key),
            ("/v1/videos", video, {}),
        ):
            refused = tenant.post(path, body, status=422, headers=headers)
            error = refused["error"]  # in the form of OpenAI's under /v1/videos
            code = error["code"] if isinstance(error, dict) else error
            assert code in ("MODEL_RETIRED", "INVALID_INPUT", "UNKNOWN_MODEL")
        unwritable = json.dumps({**batch, "retries": "\ud800"}).encode()
        json_body = {"content-type": "application/json"}
        assert tenant.request("POST", "/v1/batches", content=unwritable, headers=json_body).status_code == 422
        assert tenant.get("/v1/credits/balance") == balance
        assert running.ask(lambda rushes: rushes.audit()).ok
        tenant.http.close()
