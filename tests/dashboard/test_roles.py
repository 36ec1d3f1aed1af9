"""What each role may do on the pages, and that the log of actions says who did it; and pages that fail."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import Message

from rushes.dashboard import downloads
from rushes.dashboard.mount import Dashboard
from rushes.dashboard.pages import accounts, deliveries, item_actions
from rushes.dashboard.pages.batch import actions
from rushes.dashboard.pages.new_batch.given import OPTION_PREFIX
from rushes.dashboard.pages.overview import providers
from rushes.dashboard.visit import Page, Visit
from rushes.domain.errors import DatabaseUnreachable
from rushes.domain.operators import Role
from rushes.files.objects import ObjectStore
from rushes.store import operators
from rushes.store.database import Database
from tests.dashboard.operators import (
    FROM_SCRIPT,
    NOW_MS,
    ORIGIN,
    dashboard_client,
    granted,
    logged_acts,
    signed_in,
)
from tests.dashboard.visits import parts_on
from tests.files import media_samples

ACTS = (*accounts.ACTS, *deliveries.ACTS, *item_actions.ACTS, *actions.ACTS, *providers.ACTS)


@pytest.fixture
def client(database: Database, tmp_path: Path) -> TestClient:
    """The dashboard, with an operator of each role."""
    return dashboard_client(database, tmp_path)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_an_owner_grants_credits(client: TestClient, database: Database, role: Role) -> None:
    signed_in(client, role)
    page = client.get("/dashboard/accounts").text
    assert 'aria-disabled="true"' in page
    assert 'href="/dashboard/accounts/grant"' not in page
    assert client.get("/dashboard/accounts/grant").status_code == 403
    refused = granted(client)
    assert refused.status_code == 403
    assert "Your role may not do this" in refused.text
    assert logged_acts(database) == []


def test_an_owner_grants_and_the_log_names_them(client: TestClient, database: Database) -> None:
    signed_in(client, Role.OWNER)
    done = granted(client)
    assert done.json()["said"] == "7 granted to acme, permanent"
    (logged,) = logged_acts(database)
    assert (logged["operator"], logged["place"], logged["action"], logged["subject"]) == (
        "owner",
        "dashboard",
        "credits.grant",
        "acme",
    )
    assert logged["after"] == {"credits": 7, "expires_at_ms": None, "description": "a test"}
    assert "acme" in client.get("/dashboard/system").text


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "1e3"}, "amount"),
        ({"amount": "9" * 30}, "amount"),
        ({"description": ""}, "description"),
        ({"description": "x" * 201}, "description"),
        ({"description": "a\x00b"}, "description"),
        ({"days": "-1"}, "days"),
        ({"account": "nobody yet"}, "account"),
        ({"account": "x" * 300}, "account"),
    ],
)
def test_a_wrong_field_is_named_beside_it_and_nothing_is_granted(
    client: TestClient, database: Database, changed: dict[str, str], field: str
) -> None:
    signed_in(client, Role.OWNER)
    answer = granted(client, **changed)
    assert answer.status_code == 422
    assert "field-error" in answer.text
    assert f'name="{field}"' in answer.text
    assert logged_acts(database) == []


def test_a_viewer_makes_nothing(client: TestClient) -> None:
    signed_in(client, Role.VIEWER)
    page = client.get("/dashboard/batches/new?text=a&account=acme&model=sora-2").text
    assert "Your role may not do this" in page
    assert 'value="create"' not in page
    form = {"act": "create", "text": "a", "account": "acme", "agreed": "1:10"}
    assert client.post("/dashboard/batches/new", data=form, headers=ORIGIN).status_code == 403
    upload = client.post("/dashboard/batches/new/upload?account=acme", content=b"x", headers=FROM_SCRIPT)
    assert upload.status_code == 403
    assert "New batch" not in client.get("/dashboard/batches").text


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (RuntimeError("secret-detail"), 500, "Something went wrong here"),
        (DatabaseUnreachable("secret-detail"), 503, "The database does not answer"),
    ],
)
def test_a_page_that_fails_says_so_without_the_details(
    database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, says: str
) -> None:
    async def broken(_visit: Visit) -> Page:
        raise error

    monkeypatch.setattr(deliveries, "show", broken)
    database.run(operators.create, "viewer", Role.VIEWER, secret="secret-viewer", now_ms=NOW_MS)
    app = Starlette(routes=[Mount("/dashboard", Dashboard(parts_on(database, now_ms=NOW_MS)).app)])
    client = signed_in(TestClient(app, base_url="https://testserver", follow_redirects=False), Role.VIEWER)
    answer = client.get("/dashboard/deliveries")
    assert answer.status_code == status
    assert says in answer.text
    assert "secret-detail" not in answer.text
    assert 'href="/dashboard/"' in answer.text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.OWNER])
def test_each_address_that_acts_looks_at_the_role(client: TestClient, database: Database, role: Role) -> None:
    signed_in(client, role)
    acts = {act.path: act.role for act in ACTS}
    gives = {path for path, wanted in acts.items() if wanted is Role.OWNER}
    assert gives == {"/accounts/grant", "/items/{item_id}/refund"}
    for path in (*acts, "/batches/new", "/batches/new/upload"):
        where = path.format(batch_id="bat_x", item_id="bat_x-0", delivery_id="1")
        answer = client.post(f"/dashboard{where}", data={"text": ""}, headers=FROM_SCRIPT)
        may = role is Role.OWNER or (role is Role.OPERATOR and path not in gives)
        assert (answer.status_code == 403) == (not may), path
        assert "Your role" in answer.text or may, path
    assert logged_acts(database) == []


def test_a_batch_that_is_sent_twice_is_logged_once(client: TestClient, database: Database) -> None:
    signed_in(client, Role.OPERATOR)
    form = {"act": "create", "text": "a boat", "account": "acme", "model": "sora-2", "token": "t"}
    for _ in range(2):
        made = client.post("/dashboard/batches/new", data={**form, "agreed": "1:10"}, headers=FROM_SCRIPT)
        assert made.json()["to"] == "/dashboard/batches/bat_new"
    (logged,) = logged_acts(database)
    assert (logged["action"], logged["subject"]) == ("batch.create", "bat_new")
    assert logged["after"] == {"account": "acme", "items": 1, "credits": 10}


def test_a_dropped_file_is_logged(client: TestClient, database: Database) -> None:
    signed_in(client, Role.OPERATOR)
    picture = media_samples.png()
    where = "/dashboard/batches/new/upload"
    for account in ("nobody", "a\x00b"):
        refused = client.post(where, params={"account": account}, content=picture, headers=FROM_SCRIPT)
        assert refused.status_code == 422
    kept = client.post(where, params={"account": "acme"}, content=picture, headers=FROM_SCRIPT)
    (logged,) = logged_acts(database)
    assert (logged["operator"], logged["action"]) == ("operator", "upload.keep")
    assert logged["subject"] == kept.json()["upload_id"]
    assert logged["after"] == {"account": "acme", "bytes": len(picture), "content_type": "image/png"}


def test_a_file_that_cannot_be_handed_on_is_named_with_the_price(client: TestClient) -> None:
    signed_in(client, Role.OPERATOR)
    form = {"text": "a boat", "account": "acme", "model": "sora-2", "token": "t"}
    unknown = {**form, f"{OPTION_PREFIX}references": f"upl_{'0' * 32}"}
    quote = client.post("/dashboard/batches/new", data=unknown, headers=FROM_SCRIPT).json()["parts"]["quote"]
    assert re.search('role="alert">[^<]*upl_0000', quote), quote
    plain = client.post("/dashboard/batches/new", data=form, headers=FROM_SCRIPT).json()["parts"]["quote"]
    assert 'role="alert"' not in plain


@pytest.mark.parametrize("name", ["x" * 129, "a\x00b", "a\x1bb"])
def test_a_new_batchs_name_is_checked(client: TestClient, database: Database, name: str) -> None:
    signed_in(client, Role.OPERATOR)
    form = {
        "act": "create",
        "text": "a boat",
        "account": "acme",
        "model": "sora-2",
        "agreed": "1:10",
        "token": "t",
    }
    answer = client.post("/dashboard/batches/new", data={**form, "name": name}, headers=FROM_SCRIPT)
    assert answer.status_code == 200
    assert "Nothing was made" in answer.json()["parts"]["quote"]
    assert "must be 1 to 128" in client.get("/dashboard/batches/new", params={**form, "name": name}).text
    assert logged_acts(database) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/batches/a%00b", 404),
        ("/items/a%00b-1", 404),
        ("/batches/bat_x/export", 404),
        ("/batches/a%00b/export", 404),
        ("/batches/a%00b/zip?items=0", 409),
        ("/batches?search=%00&account=%00&model=%00", 200),
        ("/accounts?account=%00", 404),
        ("/deliveries?endpoint=%00", 200),
        ("/batches/new?account=%00&name=%00", 200),
    ],
)
def test_a_nul_in_an_address_is_nothings_name(client: TestClient, path: str, status: int) -> None:
    signed_in(client, Role.OWNER)
    assert client.get(f"/dashboard{path}").status_code == status


@pytest.mark.parametrize(
    ("path", "field"),
    [("/deliveries/replay-failed", "endpoint"), ("/batches/new", "account"), ("/batches/new", "token")],
)
def test_a_nul_in_a_form_is_nothings_name(client: TestClient, path: str, field: str) -> None:
    signed_in(client, Role.OWNER)
    form = {"act": "create", "text": "a boat", "account": "acme", "model": "sora-2", "agreed": "1:10"}
    answer = client.post(f"/dashboard{path}", data={**form, field: "a\x00b"}, headers=FROM_SCRIPT)
    assert answer.status_code < 500


@pytest.mark.parametrize("path", ["/batches/bat_x/export", "/batches/bat_x/zip", "/batches/bat_x/statement"])
def test_what_is_saved_says_when_the_database_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str
) -> None:
    def away(*_arguments: object, **_named: object) -> None:
        raise DatabaseUnreachable("secret-detail")

    for name in ("export_page", "stored_videos", "make_statement"):
        monkeypatch.setattr(downloads, name, away)
    database.run(operators.create, "viewer", Role.VIEWER, secret="secret-viewer", now_ms=NOW_MS)
    key = Ed25519PrivateKey.generate()
    objects = ObjectStore(str(tmp_path))
    parts = replace(parts_on(database, now_ms=NOW_MS), objects=objects, signing_key=lambda: key)
    app = Starlette(routes=[Mount("/dashboard", Dashboard(parts).app)])
    client = signed_in(TestClient(app, base_url="https://testserver", follow_redirects=False), Role.VIEWER)
    answer = client.get(f"/dashboard{path}")
    assert answer.status_code == 503
    assert "The database does not answer" in answer.text
    assert "secret-detail" not in answer.text


@pytest.mark.parametrize("path", ["/dashboard/batches/new", "/dashboard/batches/new/upload?account=acme"])
def test_who_may_not_send_a_form_has_none_of_it_read(client: TestClient, path: str) -> None:
    signed_in(client, Role.VIEWER)
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "POST",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "https",
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 443),
        "headers": [
            (b"host", b"testserver"),
            (b"origin", b"https://testserver"),
            (b"cookie", cookie.encode()),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ],
    }
    sent: list[Message] = []

    async def receive() -> Message:
        pytest.fail("the form was read")

    async def send(message: Message) -> None:
        sent.append(message)

    async def call() -> None:
        await client.app(scope, receive, send)

    asyncio.run(call())
    assert sent[0]["status"] == 403
