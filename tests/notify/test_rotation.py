"""While a webhook secret is changed, by the account or by the operator, receivers with either verify."""

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from rushes.domain.errors import InputError
from rushes.notify.notifier import signed_headers
from rushes.notify.secrets import WebhookSecrets, webhook_secret
from rushes.store import webhook_keys
from rushes.store.database import Database
from tests.books import Books

NOW_MS = 1_000_000


@pytest.fixture
def account_id(database: Database) -> int:
    return Books(database).account()


def rotated(database: Database, account_id: int, *, at_ms: int = NOW_MS, overlap_seconds: int = 100) -> int:
    versions = database.run(webhook_keys.rotate, account_id, overlap_seconds=overlap_seconds, now_ms=at_ms)
    return versions.current


def versions(database: Database, account_id: int, now_ms: int) -> webhook_keys.KeyVersions:
    return database.run_reading(webhook_keys.versions_of, account_id, now_ms=now_ms)


def test_an_account_that_never_rotated_keeps_the_secret_it_has(database: Database, account_id: int) -> None:
    found = versions(database, account_id, NOW_MS)
    assert WebhookSecrets("s").all(account_id, found) == [webhook_secret("s", account_id)]


def test_both_secrets_sign_until_the_overlap_ends(database: Database, account_id: int) -> None:
    assert rotated(database, account_id) == 2
    during, after = (versions(database, account_id, at) for at in (NOW_MS + 99_999, NOW_MS + 100_000))
    secrets = WebhookSecrets("s")
    assert secrets.all(account_id, during) == [
        webhook_secret("s", account_id, 2),
        webhook_secret("s", account_id, 1),
    ]
    assert secrets.all(account_id, after) == [webhook_secret("s", account_id, 2)]
    assert rotated(database, account_id, at_ms=NOW_MS + 200_000) == 3
    assert versions(database, account_id, NOW_MS + 200_000).all == (3, 2)


def test_a_leaked_secret_ends_at_once(database: Database, account_id: int) -> None:
    rotated(database, account_id, overlap_seconds=0)
    assert versions(database, account_id, NOW_MS).all == (2,)


def test_one_account_rotates_for_itself_alone(database: Database, account_id: int) -> None:
    other = Books(database).account("other")
    rotated(database, account_id)
    assert versions(database, other, NOW_MS) == webhook_keys.KeyVersions()


@pytest.mark.parametrize("seconds", [-1, webhook_keys.OVERLAP_SECONDS_MAX + 1])
def test_a_strange_overlap_is_refused(database: Database, account_id: int, seconds: int) -> None:
    with pytest.raises(InputError, match="overlap_seconds"):
        rotated(database, account_id, overlap_seconds=seconds)


def test_the_official_library_verifies_with_every_secret_of_the_overlap_and_with_no_other() -> None:
    import time

    secrets = WebhookSecrets("new", previous="old")
    found = webhook_keys.KeyVersions(3, 2, NOW_MS)
    signing = secrets.all(7, found)
    assert len(signing) == 4
    headers = dict(signed_headers(signing, "msg_1", b"{}", now_ms=int(time.time() * 1000)))
    for secret in signing:
        Webhook(secret).verify(b"{}", headers)
    for secret in (webhook_secret("new", 7, 1), webhook_secret("new", 8, 3), webhook_secret("x", 7, 3)):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(b"{}", headers)
