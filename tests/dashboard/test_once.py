"""What acts do: once for each form, after a choice where one is asked, with a reason where it matters."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rushes.domain.operators import Role
from rushes.store import ledger
from rushes.store.database import Database
from tests.books import REFUSED, Books, assert_sound, video
from tests.dashboard.operators import FROM_SCRIPT, NOW_MS, dashboard_client, granted, logged_acts, signed_in


@pytest.fixture
def client(database: Database, tmp_path: Path) -> TestClient:
    """The dashboard, with an operator of each role."""
    return dashboard_client(database, tmp_path)


def available_of(database: Database) -> int:
    account_id = database.run_reading(ledger.account_id, "acme")
    return database.run_reading(ledger.available_credits, account_id, NOW_MS)


def test_a_grant_that_is_sent_twice_grants_once(client: TestClient, database: Database) -> None:
    signed_in(client, Role.OWNER)
    assert granted(client).json()["said"] == "7 granted to acme, permanent"
    again = granted(client).json()
    assert again["said"] == "This form was sent before. It was done then, and not again."
    assert (again["is_warning"], again["to"]) == (True, "/dashboard/accounts")
    assert granted(client, amount="9").json()["is_warning"], "the form itself counts, whatever it says now"
    assert available_of(database) == 107
    assert len(logged_acts(database)) == 1
    assert granted(client, token="another").json()["said"] == "7 granted to acme, permanent"
    assert available_of(database) == 114


def test_a_grant_without_its_token_is_asked_about_again(client: TestClient, database: Database) -> None:
    signed_in(client, Role.OWNER)
    answer = granted(client, token="")
    assert answer.status_code == 409
    assert "The form was not whole" in answer.text
    assert 'name="token"' in answer.text
    assert available_of(database) == 100


def failed_batch(database: Database, *, prices: Sequence[int] = (10, 10, 10)) -> Books:
    """A batch of acme whose items are a success and failures."""
    books = Books(database, now_ms=NOW_MS)
    books.accept(database.run_reading(ledger.account_id, "acme"), prices)
    first, *others = books.claim()
    books.name([first, *others])
    books.finish([(first, video(first)), *((task, REFUSED) for task in others)])
    return books


def test_a_retry_that_is_sent_twice_retries_once(client: TestClient, database: Database) -> None:
    books = failed_batch(database)
    signed_in(client, Role.OPERATOR)
    form = {"agreed": "2:20:", "token": "once"}
    where = "/dashboard/batches/bat_1/retry?all=1"
    assert client.post(where, data=form, headers=FROM_SCRIPT).json()["said"] == "2 items wait to be retried"
    # both fail again before the second click arrives
    tasks = books.claim()
    books.name(tasks)
    books.finish([(task, REFUSED) for task in tasks])
    assert client.post(where, data=form, headers=FROM_SCRIPT).json()["is_warning"]
    assert client.post(where, data={"agreed": "2:20:"}, headers=FROM_SCRIPT).status_code == 409
    assert books.claim() == []


def test_another_model_is_chosen_before_anything_can_be_sent(client: TestClient, database: Database) -> None:
    failed_batch(database).sql("UPDATE video_tasks SET options = '{}'")
    signed_in(client, Role.OPERATOR)
    where = "/dashboard/batches/bat_1/retry?all=1&other=1"
    asked = client.get(where, headers=FROM_SCRIPT).text
    assert "Retry 2 items on another model" in asked
    assert "data-submit" not in asked
    assert 'value="sora-2"' not in asked, "it is another model that is wanted"
    assert "the same models" not in asked
    refused = client.post(where, data={"token": "a", "agreed": ""}, headers=FROM_SCRIPT)
    assert refused.status_code == 409
    chosen = client.get(f"{where}&model=veo-flash", headers=FROM_SCRIPT).text
    assert "Retry for 30 credits" in chosen
    assert "the same models" not in chosen
    form = {"token": "a", "agreed": "2:30:veo-flash", "model": "veo-flash"}
    done = client.post(f"{where}&model=veo-flash", data=form, headers=FROM_SCRIPT)
    assert done.json()["said"] == "2 items wait to be retried"


@pytest.mark.parametrize(
    "query", ["items=7", "items=7&model=veo-flash", "items=0&model=veo-flash", "items=", ""]
)
def test_a_retry_of_nothing_cannot_be_sent(client: TestClient, database: Database, query: str) -> None:
    failed_batch(database)
    signed_in(client, Role.OPERATOR)
    where = f"/dashboard/batches/bat_1/retry?{query}"
    asked = client.get(where, headers=FROM_SCRIPT).text
    assert "None of these items can be retried" in asked
    assert "data-submit" not in asked
    for agreed in ("0:0:", "0:0:veo-flash"):
        sent = client.post(where, data={"token": "a", "agreed": agreed}, headers=FROM_SCRIPT)
        assert sent.status_code == 409


def test_a_video_is_refunded_once_with_a_reason(client: TestClient, database: Database) -> None:
    books = failed_batch(database)
    signed_in(client, Role.OWNER)
    where = "/dashboard/items/bat_1-0"
    assert "Refund…" in client.get(where).text
    asked = client.get(f"{where}/refund", headers=FROM_SCRIPT).text
    assert "Give 10 credits back" in asked
    form = {"agreed": "10", "token": "a", "reason": "the face melts"}
    unsaid = client.post(f"{where}/refund", data={**form, "reason": " "}, headers=FROM_SCRIPT)
    assert (unsaid.status_code, "field-error" in unsaid.text) == (422, True)
    done = client.post(f"{where}/refund", data=form, headers=FROM_SCRIPT).json()
    assert done["said"] == "10 credits were given back"
    assert available_of(database) == 100
    again = client.post(f"{where}/refund", data={**form, "token": "b"}, headers=FROM_SCRIPT)
    assert again.status_code == 409
    assert "Its credits were given back before: the face melts" in again.text
    page = client.get(where).text
    assert "10 credits: the face melts" in page
    assert "Refund…" not in page
    assert client.get("/dashboard/items/bat_1-1/refund", headers=FROM_SCRIPT).text.count("data-submit") == 0
    (logged,) = logged_acts(database)
    assert (logged["action"], logged["subject"]) == ("item.refund", "bat_1-0")
    assert logged["after"] == {"credits": 10, "expired": 0, "reason": "the face melts"}
    assert_sound(books)


def test_a_provider_is_paused_and_resumed_on_the_overview(client: TestClient, database: Database) -> None:
    books = Books(database, now_ms=NOW_MS)
    books.accept(database.run_reading(ledger.account_id, "acme"), [10, 10])
    signed_in(client, Role.OPERATOR)
    page = client.get("/dashboard/").text
    assert "Pause a provider…" in page
    choice = client.get("/dashboard/pause", headers=FROM_SCRIPT).text
    assert '<option value="grsai">' in choice
    asked = client.get("/dashboard/pause?provider=grsai", headers=FROM_SCRIPT).text
    assert "2 tasks" in asked
    for form, field in (
        ({"provider": "grsai"}, "reason"),
        ({"provider": "nobody", "reason": "x"}, "provider"),
    ):
        wrong = client.post("/dashboard/pause", data=form, headers=FROM_SCRIPT)
        assert (wrong.status_code, "field-error" in wrong.text, field in wrong.text) == (422, True, True)
    form = {"provider": "grsai", "reason": "every render is <black>"}
    done = client.post("/dashboard/pause", data=form, headers=FROM_SCRIPT).json()
    assert (done["said"], done["to"]) == ("grsai is paused", "/dashboard/")
    assert books.claim() == []
    twice = client.post("/dashboard/pause", data=form, headers=FROM_SCRIPT)
    assert (twice.status_code, "grsai is paused already." in twice.text) == (409, True)
    strip = client.get("/dashboard/").text.partition('data-part="providers"')[2]
    assert "by operator: every render is &lt;black&gt;" in strip
    assert "Resume…" in strip
    asked = client.get("/dashboard/resume?provider=grsai", headers=FROM_SCRIPT).text
    assert "every render is &lt;black&gt;" in asked
    assert client.post("/dashboard/resume?provider=grsai", headers=FROM_SCRIPT).json()["said"] == (
        "grsai is resumed"
    )
    assert client.post("/dashboard/resume?provider=grsai", headers=FROM_SCRIPT).status_code == 409
    assert len(books.claim()) == 2
    log = logged_acts(database)
    assert [(row["action"], row["operator"], row["subject"]) for row in log] == [
        ("provider.resume", "operator", "grsai"),
        ("provider.pause", "operator", "grsai"),
    ]
