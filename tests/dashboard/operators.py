"""The whole dashboard in front of a database, with an operator of each role who signs in and acts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from rushes.dashboard.mount import Dashboard
from rushes.domain.operators import Role
from rushes.files.objects import ObjectStore
from rushes.files.uploads import Uploads
from rushes.store import action_log, operators
from rushes.store.database import Database
from tests.books import Books
from tests.dashboard.visits import parts_on

NOW_MS = 900_000_000_000
ORIGIN = {"origin": "https://testserver"}
FROM_SCRIPT = {**ORIGIN, "x-rushes-script": "1"}


def dashboard_client(database: Database, folder: Path) -> TestClient:
    """The whole dashboard, with an operator of each role; the name is the role, the secret `secret-ROLE`."""
    books = Books(database, now_ms=NOW_MS)
    books.grant(books.account("acme"), 100)
    for role in Role:
        database.run(operators.create, role.value, role, secret=f"secret-{role.value}", now_ms=NOW_MS)
    objects = ObjectStore(str(folder))
    uploads = Uploads(database, objects, now_ms=lambda: NOW_MS, new_nonce=lambda: "0001")
    parts = replace(parts_on(database, now_ms=NOW_MS), uploads=uploads)
    app = Starlette(routes=[Mount("/dashboard", Dashboard(parts).app)])
    return TestClient(app, base_url="https://testserver", follow_redirects=False)


def signed_in(client: TestClient, role: Role) -> TestClient:
    form = {"name": role.value, "secret": f"secret-{role.value}"}
    answer = client.post("/dashboard/sign-in", data=form, headers=ORIGIN)
    assert answer.status_code == 303, answer.text
    return client


def logged_acts(database: Database) -> list[dict[str, Any]]:
    """What is in the log beside sign-ins."""
    found = database.run_reading(action_log.newest, limit=20)
    return [row for row in found if row["action"] != "operator.sign-in"]


def granted(client: TestClient, **changed: str) -> httpx2.Response:
    form = {"account": "acme", "amount": "7", "description": "a test", "token": "once", **changed}
    answer: httpx2.Response = client.post("/dashboard/accounts/grant", data=form, headers=FROM_SCRIPT)
    return answer
