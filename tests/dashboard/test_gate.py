"""Who may see the pages: sessions, the brake on guessing, other sites' pages."""

from collections.abc import Iterator
from itertools import count

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from rushes.dashboard import gate
from rushes.dashboard.browsers import SCRIPT, STYLES
from rushes.dashboard.gate import COOKIE, FROM_SCRIPT, Gate
from rushes.dashboard.markup import link_target, tag, whole_number
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.session import SESSION_SECONDS
from rushes.domain.brake import FAILURES_MAX, FAILURES_SECONDS
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import DatabaseUnreachable, InputError
from rushes.domain.operators import SESSION_IDLE_SECONDS, Role
from rushes.files.links import FileLinks
from rushes.read.scope import ReadOnly
from rushes.store import action_log, operators
from rushes.store.database import Database
from rushes.store.migrations import migrate
from tests.forecasts import forecaster

SECRET = "operator-secret-1234"


class Clock:
    """Time that is set."""

    now_ms = 1_800_000_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database() -> Iterator[Database]:
    """A database of this version."""
    database = Database("sqlite://", inline=True)
    migrate.upgrade(database)
    yield database
    database.close()


@pytest.fixture
def client(clock: Clock, database: Database) -> TestClient:
    """The gate, mounted as the service does it, in front of one page."""

    async def page(_request: object) -> PlainTextResponse:
        return PlainTextResponse("the page")

    pages = Starlette(routes=[Route("/batches", page, methods=["GET", "POST"])])
    numbers = count()
    parts = DashboardParts(
        secret=SECRET,
        database=database,
        read=ReadOnly(database),
        now_ms=lambda: clock.now_ms,
        new_nonce=lambda: f"nonce-{next(numbers)}",
        new_batch_id=lambda: "bat_new",
        on_work=lambda: None,
        catalogue=DEFAULT_CATALOGUE,
        forecaster=forecaster(),
        links=FileLinks(b"any"),
        base_url="https://videos.example.com",
        signing_key=lambda: pytest.fail("nothing is signed here"),
        objects=None,
        uploads=None,  # type: ignore[arg-type]
        adopt=lambda *_: pytest.fail("nothing is adopted here"),
    )
    app = Starlette(routes=[Mount("/dashboard", Gate(pages, parts))])
    return TestClient(app, base_url="https://testserver", follow_redirects=False)


def sign_in(client: TestClient, secret: str = SECRET, **headers: str) -> httpx2.Response:
    answer: httpx2.Response = client.post(
        "/dashboard/sign-in", data={"secret": secret}, headers={"origin": "https://testserver", **headers}
    )
    return answer


def test_nobody_passes_without_a_session(client: TestClient) -> None:
    answer = client.get("/dashboard/batches")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/sign-in?next=%2Fbatches")
    assert client.get("/dashboard/").headers["location"] == "/dashboard/sign-in"
    assert client.get("/dashboard/batches", headers={FROM_SCRIPT: "1"}).status_code == 401
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/dashboard/ws"):
        pass
    client.cookies.set(COOKIE, "1900000000000.nonce.AAAA", path="/dashboard")
    assert client.get("/dashboard/batches").status_code == 303


def test_the_secret_opens_a_session_that_ends(client: TestClient, clock: Clock) -> None:
    answer = sign_in(client)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    for word in ("httponly", "secure", "samesite=lax", "path=/dashboard", f"max-age={SESSION_SECONDS}"):
        assert word in cookie
    assert SECRET not in cookie
    page = client.get("/dashboard/batches")
    assert page.text == "the page"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"].replace(
        "style-src-attr 'unsafe-inline'", ""
    )
    clock.now_ms += SESSION_SECONDS * 1000
    assert client.get("/dashboard/batches").status_code == 303


def test_signing_in_leads_on_to_the_page_that_was_asked_for(client: TestClient) -> None:
    page = "/dashboard/batches?status=failed&search=%C3%A9%20%26%20x"
    address = client.get(page).headers["location"]
    headers = {"origin": "https://testserver"}
    form = client.get(address).text
    assert f'action="{address.replace("&", "&amp;")}"' in form
    wrong = client.post(address, data={"secret": "wrong"}, headers=headers)
    assert f'action="{address.replace("&", "&amp;")}"' in wrong.text, "a second try leads there, too"
    right = client.post(address, data={"secret": SECRET}, headers=headers)
    assert (right.status_code, right.headers["location"]) == (303, page)
    again = client.get(address)
    assert (again.status_code, again.headers["location"]) == (303, page), "signed in already"


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "///evil.example",
        "/batches//evil.example",
        "/%2fevil.example",
        "/%2F%2Fevil.example",
        "https:evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/%5cevil.example",
        "/%5C%5Cevil.example",
        "evil.example",
        "batches",
        "@evil.example",
        "/../v1/batches",
        "/%2e%2e/v1/batches",
        "/batches/%2E./../..",
        "/.",
        "javascript:alert(1)",
        "/x\r\nset-cookie: a=b",
        "/x%0d%0aset-cookie:a=b",
        "/\t/evil.example",
        "/%09/evil.example",
        "/batches#x",
        "/é",
        "/" + "x" * 1000,
    ],
)
def test_signing_in_leads_to_no_other_place(client: TestClient, wanted: str) -> None:
    headers = {"origin": "https://testserver"}
    answer = client.post(
        "/dashboard/sign-in", params={"next": wanted}, data={"secret": SECRET}, headers=headers
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/")
    assert client.get("/dashboard/sign-in", params={"next": wanted}).headers["location"] == "/dashboard/"


def test_other_sites_pages_can_do_nothing(client: TestClient) -> None:
    assert sign_in(client, origin="https://evil.example").status_code == 403
    sign_in(client)
    for origin in ("https://evil.example", "null", "https://testserver.evil.example"):
        assert client.post("/dashboard/batches", headers={"origin": origin}).status_code == 403
        assert client.post("/dashboard/sign-out", headers={"origin": origin}).status_code == 403
    assert client.post("/dashboard/batches", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    public = {"origin": "https://videos.example.com"}
    assert client.post("/dashboard/batches", headers=public).text == "the page"


def test_guessing_is_slowed_down_and_the_right_secret_still_opens(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "SLOW_SECONDS", 0.05)
    for _ in range(FAILURES_MAX):
        assert sign_in(client, "wrong").status_code == 403
    refused = sign_in(client, "wrong")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= FAILURES_SECONDS + 1
    assert sign_in(client).status_code == 303


def test_who_guesses_does_not_fill_the_log_of_actions(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "SLOW_SECONDS", 0)
    for _ in range(3 * FAILURES_MAX):
        sign_in(client, "wrong")
    sign_in(client)
    logged = database.run_reading(action_log.newest, limit=100)
    assert [row["after"]["session"] for row in logged] == ["opened"] + ["refused"] * (FAILURES_MAX + 1)


@pytest.mark.parametrize("body", [b"", b"secret=", b"\xff\xfe", b"secret=" + b"x" * 5000, b"&" * 500])
def test_a_strange_form_is_a_wrong_secret(client: TestClient, body: bytes) -> None:
    headers = {"origin": "https://testserver", "content-type": "application/x-www-form-urlencoded"}
    assert client.post("/dashboard/sign-in", content=body, headers=headers).status_code == 403


@pytest.mark.parametrize("cookie", ["", ".", "1.2.3", "9" * 5000, "nonce", "nonce-0x"])
def test_a_strange_cookie_is_no_session(client: TestClient, cookie: str) -> None:
    sign_in(client)
    client.cookies.clear()
    client.cookies.set(COOKIE, cookie, path="/dashboard")
    assert client.get("/dashboard/batches").status_code == 303


def test_signed_out_in_one_tab_the_other_tabs_next_click_does_nothing(client: TestClient) -> None:
    sign_in(client)
    token = client.cookies[COOKIE]
    own = {"origin": "https://testserver"}
    assert client.post("/dashboard/batches", headers=own).text == "the page"
    assert client.post("/dashboard/sign-out", headers=own).status_code == 303
    client.cookies.set(COOKIE, token, path="/dashboard")  # a tab that still has it, or a stolen one
    clicked = client.post("/dashboard/batches", headers=own)
    assert (clicked.status_code, clicked.headers["location"]) == (303, "/dashboard/sign-in")
    assert client.post("/dashboard/batches", headers={**own, FROM_SCRIPT: "1"}).status_code == 401


def test_an_idle_session_ends_and_a_used_one_goes_on(client: TestClient, clock: Clock) -> None:
    sign_in(client)
    for _ in range(5):
        clock.now_ms += (SESSION_IDLE_SECONDS - 60) * 1000
        assert client.get("/dashboard/batches").status_code == 200
    clock.now_ms += SESSION_IDLE_SECONDS * 1000
    assert client.get("/dashboard/batches").status_code == 303


def test_a_page_that_is_left_open_does_not_keep_its_session(client: TestClient, clock: Clock) -> None:
    sign_in(client)
    for _ in range(3):
        clock.now_ms += SESSION_IDLE_SECONDS // 3 * 1000
        asked = client.get("/dashboard/batches", headers={"accept": "text/event-stream", FROM_SCRIPT: "1"})
    assert asked.status_code == 401


def test_operators_sign_in_by_name_and_a_revoked_one_is_out_at_once(
    client: TestClient, database: Database, clock: Clock
) -> None:
    assert 'name="name"' not in client.get("/dashboard/sign-in").text
    sign_in(client)
    secret = "a-random-secret-of-ann-0123456789"
    database.run(operators.create, "ann", Role.VIEWER, secret=secret, now_ms=clock.now_ms)
    assert client.get("/dashboard/batches").status_code == 303, "the installation's secret is not enough now"
    assert 'name="name"' in client.get("/dashboard/sign-in").text
    assert sign_in(client).status_code == 403
    own = {"origin": "https://testserver"}
    wrong = client.post("/dashboard/sign-in", data={"name": "bob", "secret": secret}, headers=own)
    assert wrong.status_code == 403
    assert "Name or secret is wrong." in wrong.text
    right = client.post("/dashboard/sign-in", data={"name": "ann", "secret": secret}, headers=own)
    assert right.status_code == 303
    assert client.get("/dashboard/batches").status_code == 200
    database.run(operators.revoke, "ann", now_ms=clock.now_ms)
    assert client.get("/dashboard/batches").status_code == 303


def test_while_the_database_is_away_nothing_is_done_and_that_is_said(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client)

    async def away(*_arguments: object, **_named: object) -> None:
        raise DatabaseUnreachable("gone")

    monkeypatch.setattr(database, "read", away)
    answer = client.post("/dashboard/batches", headers={"origin": "https://testserver"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "Nothing was done" in answer.text


def test_the_files_of_the_pages_are_kept_by_browsers_and_open_to_all(client: TestClient) -> None:
    for asset in (STYLES, SCRIPT):
        answer = client.get(f"/dashboard/assets/{asset.name}")
        assert (answer.status_code, answer.content) == (200, asset.content)
        assert answer.headers["content-encoding"] == "gzip"
        plain = client.get(f"/dashboard/assets/{asset.name}", headers={"accept-encoding": "identity"})
        assert (plain.content, plain.headers.get("content-encoding")) == (asset.content, None)
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"] == asset.media_type
    # a page of another version's process beside this one asks for its own file: better these than none
    other = client.get("/dashboard/assets/dashboard-000000000000.css")
    assert (other.content, other.headers["cache-control"]) == (STYLES.content, "no-store")
    assert client.get("/dashboard/assets/../mount.py").status_code != 200
    assert client.get("/dashboard/assets/mount.py").status_code == 404


def test_the_sign_in_page_speaks_the_browsers_language(client: TestClient) -> None:
    english = client.get("/dashboard/sign-in").text
    assert '<html lang="en"' in english
    assert "<h1>Sign in</h1>" in english
    chinese = client.get("/dashboard/sign-in", headers={"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}).text
    assert '<html lang="zh-CN"' in chinese
    assert "<h1>登录</h1>" in chinese


def test_no_text_becomes_a_page() -> None:
    assert tag("p", '<img src=x onerror="1">', title='"><script>') == (
        '<p title="&quot;&gt;&lt;script&gt;">&lt;img src=x onerror=&quot;1&quot;&gt;</p>'
    )
    assert link_target("javascript:alert(1)") is None
    assert link_target("JavaScript:alert(1)") is None
    assert link_target("data:text/html,x") is None
    assert link_target("HTTPS://host/v.mp4") == "HTTPS://host/v.mp4"


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1e3", "٣", "9" * 30, "1 000"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        whole_number(text, low=1, high=1000, field="credits")


def test_no_session_is_looked_up_for_the_files_of_the_pages(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client)

    async def asked(*_arguments: object, **_named: object) -> None:
        pytest.fail("the database was asked")

    monkeypatch.setattr(database, "read", asked)
    monkeypatch.setattr(database, "transact", asked)
    answer = client.get(f"/dashboard/assets/{STYLES.name}")
    assert (answer.status_code, answer.content) == (200, STYLES.content)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
