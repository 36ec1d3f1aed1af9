"""Who may see the pages: sessions, the brake on guessing, other sites' pages."""

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from rushes.dashboard.gate import COOKIE, Gate
from rushes.dashboard.markup import link_target, tag, whole_number
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.session import (
    ADDRESSES_MAX,
    FAILURES_MAX,
    FAILURES_SECONDS,
    SESSION_SECONDS,
    Brake,
    Sessions,
)
from rushes.domain.errors import InputError
from rushes.domain.models import DEFAULT_CATALOGUE
from rushes.engine.file_links import FileLinks
from rushes.engine.operator_reads import ReadOnly
from rushes.store.database import Database

SECRET = "operator-secret-1234"


class Clock:
    """Time that is set."""

    now_ms = 1_800_000_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(clock: Clock) -> TestClient:
    """The gate, mounted as the service does it, in front of one page and one WebSocket."""

    async def page(_request: object) -> PlainTextResponse:
        return PlainTextResponse("the page")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    pages = Starlette(
        routes=[Route("/batches", page, methods=["GET", "POST"]), WebSocketRoute("/ws", socket)]
    )
    database = Database("sqlite://", inline=True)
    parts = DashboardParts(
        secret=SECRET,
        database=database,
        read=ReadOnly(database),
        now_ms=lambda: clock.now_ms,
        new_nonce=lambda: "nonce",
        on_work=lambda: None,
        catalogue=DEFAULT_CATALOGUE,
        links=FileLinks(b"any"),
        base_url="https://videos.example.com",
        signing_key=lambda: pytest.fail("nothing is signed here"),
    )
    app = Starlette(routes=[Mount("/dashboard", Gate(pages, parts))])
    return TestClient(app, base_url="https://testserver", follow_redirects=False)


def sign_in(client: TestClient, secret: str = SECRET, **headers: str) -> httpx2.Response:
    answer: httpx2.Response = client.post(
        "/dashboard/sign-in", data={"secret": secret}, headers={"origin": "https://testserver", **headers}
    )
    return answer


def socket_headers(origin: str) -> dict[str, str]:
    """What a browser with a good session sends; the client would keep a secure cookie to itself here."""
    cookie = Sessions(SECRET).new_cookie(nonce="n", now_ms=Clock.now_ms)
    return {"origin": origin, "cookie": f"{COOKIE}={cookie}"}


def test_nobody_passes_without_a_session(client: TestClient) -> None:
    answer = client.get("/dashboard/batches")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/sign-in?next=%2Fbatches")
    assert client.get("/dashboard/").headers["location"] == "/dashboard/sign-in"
    assert client.get("/dashboard/_nicegui/x.js").status_code == 401
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
    with client.websocket_connect("/dashboard/ws", headers=socket_headers("https://testserver")) as socket:
        assert socket.receive_text() == "hello"
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
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/dashboard/ws", headers=socket_headers(origin)),
        ):
            pass
    assert client.post("/dashboard/batches", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    public = {"origin": "https://videos.example.com"}
    assert client.post("/dashboard/batches", headers=public).text == "the page"


def test_guessing_is_slowed_down(client: TestClient) -> None:
    for _ in range(FAILURES_MAX):
        assert sign_in(client, "wrong").status_code == 403
    refused = sign_in(client)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= FAILURES_SECONDS + 1


@pytest.mark.parametrize("body", [b"", b"secret=", b"\xff\xfe", b"secret=" + b"x" * 5000, b"&" * 500])
def test_a_strange_form_is_a_wrong_secret(client: TestClient, body: bytes) -> None:
    headers = {"origin": "https://testserver", "content-type": "application/x-www-form-urlencoded"}
    assert client.post("/dashboard/sign-in", content=body, headers=headers).status_code == 403


@pytest.mark.parametrize("cookie", ["", ".", "..", "1.2.3", "9" * 5000, "x.y.é", "1900000000000.nonce."])
def test_a_strange_cookie_is_no_session(cookie: str) -> None:
    assert Sessions(SECRET).expiry_ms(cookie, now_ms=0) is None


def test_a_changed_cookie_or_one_of_another_secret_is_no_session() -> None:
    cookie = Sessions(SECRET).new_cookie(nonce="n", now_ms=0)
    assert Sessions(SECRET).expiry_ms(cookie, now_ms=0) == SESSION_SECONDS * 1000
    assert Sessions(SECRET).expiry_ms("9" + cookie, now_ms=0) is None
    assert Sessions(SECRET + "5").expiry_ms(cookie, now_ms=0) is None


def test_the_brake_is_for_one_network_and_for_a_while() -> None:
    brake = Brake()
    for n in range(FAILURES_MAX):
        brake.failed(f"2001:db8::{n}", 10.0 + n)
    assert brake.wait_seconds("2001:db8::ffff", 15.0) == FAILURES_SECONDS - 5
    assert brake.wait_seconds("2001:db8:0:1::1", 15.0) == 0
    assert brake.wait_seconds("192.0.2.1", 15.0) == 0
    assert brake.wait_seconds("2001:db8::1", 10.0 + FAILURES_SECONDS) == 0
    brake.failed("2001:db8::1", 11.0 + FAILURES_SECONDS)
    assert brake.wait_seconds("2001:db8::1", 11.0 + FAILURES_SECONDS) == 0, "a new window has begun"
    for n in range(ADDRESSES_MAX + 10):
        brake.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 100.0)
    assert len(brake._failures) == ADDRESSES_MAX


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
