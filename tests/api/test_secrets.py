"""The operator's and the accounts' secrets: strong ones only, and both while one replaces the other."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from rushes.domain.callback_tokens import callback_token
from rushes.domain.errors import SettingsError
from rushes.files.links import FileLinks
from rushes.notify.secrets import webhook_secret
from rushes.store.database import Database
from rushes.store.migrations import migrate
from tests.api.harness import SECRETS, RunningService, running_service

OLD = "the-secret-before-0123456789"


def test_a_new_installation_refuses_weak_secrets(new_database_url: Callable[[str], str]) -> None:
    for variable, weak in (
        ("RUSHES_WEBHOOK_SECRET", "a"),
        ("RUSHES_WORKER_SECRET", "abcdefgabcdefgabcdefg"),
        ("RUSHES_METRICS_TOKEN", "123456789012345"),
    ):
        with (
            pytest.raises(
                SettingsError, match=f"{variable} is too weak: it has .*rushes keys secret"
            ) as refused,
            running_service(new_database_url("sqlite"), environment={variable: weak}, with_worker=False),
        ):
            pass
        assert weak not in str(refused.value).split() or len(weak) == 1


def test_an_installation_that_was_in_use_starts_with_its_weak_secret(
    new_database_url: Callable[[str], str],
) -> None:
    url = new_database_url("sqlite")
    database = Database(url)
    migrate.upgrade(database)
    database.run(
        lambda connection: connection.execute(
            text("INSERT INTO installation_facts (name, value) VALUES ('weak_secrets', 'until 0.3')")
        )
    )
    database.close()
    with running_service(url, environment={"RUSHES_WEBHOOK_SECRET": "a"}, with_worker=False) as service:
        assert service.tenant().get("/v1/webhooks/secret")["secret"].startswith("whsec_")


def test_an_account_replaces_its_webhook_secret(idle_service: RunningService) -> None:
    tenant = idle_service.tenant()
    before = tenant.get("/v1/webhooks/secret")
    assert (before["version"], before["older_secrets"], before["previous_until"]) == (1, [], None)
    after = tenant.post("/v1/webhooks/secret/rotate")
    assert (after["version"], after["older_secrets"]) == (2, [before["secret"]])
    assert after["secret"] != before["secret"]
    assert after["previous_until"].endswith("Z")
    assert tenant.get("/v1/webhooks/secret") == after
    at_once = tenant.post("/v1/webhooks/secret/rotate?overlap_seconds=0")
    assert (at_once["version"], at_once["older_secrets"]) == (3, [])
    refused = tenant.request("POST", "/v1/webhooks/secret/rotate?overlap_seconds=-1")
    assert refused.status_code == 422


def test_both_of_the_operators_secrets_count_during_an_overlap(
    new_database_url: Callable[[str], str],
) -> None:
    environment = {
        "RUSHES_WEBHOOK_SECRET_PREVIOUS": OLD,
        "RUSHES_WORKER_SECRET_PREVIOUS": OLD,
        "RUSHES_METRICS_TOKEN": "metrics-token-canary-c88e02",
        "RUSHES_METRICS_TOKEN_PREVIOUS": OLD,
    }
    with running_service(new_database_url("sqlite"), environment=environment, with_worker=False) as service:
        tenant = service.tenant()
        found = tenant.get("/v1/webhooks/secret")
        account_id = service.rows("SELECT id FROM accounts WHERE name = :name", name=tenant.account)[0]["id"]
        assert found["secret"] == webhook_secret(SECRETS["RUSHES_WEBHOOK_SECRET"], account_id)
        assert found["older_secrets"] == [webhook_secret(OLD, account_id)]
        for secret in (SECRETS["RUSHES_WEBHOOK_SECRET"], OLD):
            token = callback_token(secret.encode(), task_id=10**9, attempt=1)
            assert tenant.request("POST", f"/callbacks/grsai/{token}", json={"id": "x"}).status_code == 200
        assert service.service is not None
        link = FileLinks(OLD.encode()).link(7, "video", now_ms=0).removeprefix("/files/")
        assert service.service.links.read(link, now_ms=0) == (7, "video")
        for token in ("metrics-token-canary-c88e02", OLD):
            headers = {"authorization": f"Bearer {token}"}
            assert tenant.request("GET", "/metrics", headers=headers).status_code == 200
        for secret in (SECRETS["RUSHES_WORKER_SECRET"], OLD):
            ticked = tenant.request("POST", "/internal/batch-worker", headers={"x-worker-secret": secret})
            assert ticked.status_code == 200
