"""The portal: a key signs in, sees its own account alone, and can do nothing there."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.api.harness import RunningService, Tenant, eventually

PAGES = ("/", "/batches", "/ledger", "/usage", "/keys", "/webhooks")


@pytest.fixture
def browser(idle_service: RunningService) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{idle_service.base_url}/portal", trust_env=False, timeout=15) as client:
        yield client


def sign_in(browser: httpx2.Client, key: str) -> httpx2.Response:
    return browser.post("/sign-in", data={"key": key})


def test_a_key_sees_its_account_and_nothing_of_another(
    browser: httpx2.Client, idle_service: RunningService, idle_tenant: Tenant
) -> None:
    batch_id = idle_tenant.batch("a boat <b>", name="Spring & autumn")["batch_id"]
    idle_tenant.post(
        "/v1/webhooks/endpoints", {"url": "https://example.com/x", "events": ["video.*"]}, status=201
    )
    stranger = idle_service.tenant()
    theirs = stranger.batch("secret prompt")["batch_id"]
    assert browser.get("/").status_code == 303
    answer = sign_in(browser, idle_tenant.key)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert idle_tenant.key not in cookie
    texts = {path: browser.get(path) for path in (*PAGES, f"/batches/{batch_id}")}
    assert {path: answer.status_code for path, answer in texts.items()} == dict.fromkeys(texts, 200)
    for path, answer in texts.items():
        assert theirs not in answer.text, path
        assert "script-src" not in answer.headers["content-security-policy"]
        assert "<script" not in answer.text
        assert idle_tenant.key not in answer.text
    assert "Spring &amp; autumn" in texts["/"].text
    assert "a boat &lt;b&gt;" in texts[f"/batches/{batch_id}"].text
    assert "https://example.com/x" in texts["/webhooks"].text
    assert "whsec_" not in texts["/webhooks"].text
    assert browser.get(f"/batches/{theirs}").status_code == 404
    style = texts["/"].text.partition('<link rel="stylesheet" href="/portal')[2].partition('"')[0]
    assert browser.get(style).headers["content-type"].startswith("text/css")


def test_a_wrong_key_a_forged_ticket_and_a_revoked_key_see_nothing(
    browser: httpx2.Client, idle_tenant: Tenant
) -> None:
    for key in ("", "rsh_wrong", "é", idle_tenant.key[:-1]):
        assert sign_in(browser, key).status_code == 403
    for ticket in ("1-99999999999-" + "0" * 64, "x", "a-b-c", "-", "1" * 300):
        answer = browser.get("/", headers={"cookie": f"rushes_portal={ticket}"})
        assert answer.status_code == 303, ticket
    made = idle_tenant.post("/v1/keys", {"scope": "read"}, status=201)
    assert sign_in(browser, made["key"]).status_code == 303
    keys = browser.get("/keys")
    assert keys.status_code == 200
    assert "Sign in with a key of the scope admin" in keys.text
    assert idle_tenant.key[:8] not in keys.text
    assert browser.get("/ledger").status_code == 200
    idle_tenant.request("DELETE", f"/v1/keys/{made['key_id']}")
    eventually(lambda: browser.get("/keys").status_code, lambda status: status == 303)


def test_another_sites_form_signs_nobody_in_or_out(browser: httpx2.Client, idle_tenant: Tenant) -> None:
    elsewhere = {"origin": "https://evil.example"}
    assert browser.post("/sign-in", data={"key": idle_tenant.key}, headers=elsewhere).status_code == 403
    assert sign_in(browser, idle_tenant.key).status_code == 303
    assert browser.post("/sign-out", headers=elsewhere).status_code == 403
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/").status_code == 303


def test_long_lists_are_in_pages(browser: httpx2.Client, idle_tenant: Tenant) -> None:
    batch_id = idle_tenant.batch(*(f"take {n}" for n in range(60)))["batch_id"]
    sign_in(browser, idle_tenant.key)
    first = browser.get(f"/batches/{batch_id}").text
    assert "take 49<" in first
    assert "take 50<" not in first
    assert f"/portal/batches/{batch_id}?offset=50" in first
    assert "take 59<" in browser.get(f"/batches/{batch_id}?offset=50").text
    for odd in ("x", "-1", "9" * 20):
        assert browser.get(f"/batches/{batch_id}?offset={odd}").status_code == 200
    assert browser.get("/batches/%00").status_code == 404
    assert browser.get("/batches?after=nothing").status_code == 404


def test_a_nul_in_an_address_is_nothings_name(browser: httpx2.Client, idle_tenant: Tenant) -> None:
    sign_in(browser, idle_tenant.key)
    for path, status in (
        ("/batches?after=%00", 404),
        ("/batches?after=bat_none", 404),
        ("/batches/a%00b", 404),
    ):
        assert browser.get(path).status_code == status, path
    assert idle_tenant.request("GET", "/v1/batches?after=%00").status_code < 500
    assert idle_tenant.request("GET", "/v1/batches/a%00b").status_code == 404
    assert idle_tenant.request("GET", "/v1/batches?account=%00").status_code < 500


def test_the_styles_are_sent_compressed_and_the_figures_have_theirs(
    browser: httpx2.Client, idle_tenant: Tenant
) -> None:
    sign_in(browser, idle_tenant.key)
    page = browser.get("/")
    style = page.text.partition('<link rel="stylesheet" href="/portal')[2].partition('"')[0]
    answer = browser.get(style, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]
    assert browser.get(style, headers={"accept-encoding": "identity"}).content == answer.content
    assert browser.get("/assets/other.css").status_code == 404
    assert page.headers["content-encoding"] == "gzip"
    for name in ("grid", "head"):
        assert f'<div class="{name}">' in page.text
        assert f".{name} {{" in answer.text


def test_a_revoked_key_ends_its_sign_in_at_the_next_click(
    browser: httpx2.Client, idle_tenant: Tenant
) -> None:
    made = idle_tenant.post("/v1/keys", {"scope": "admin"}, status=201)
    assert sign_in(browser, made["key"]).status_code == 303
    assert {browser.get(path).status_code for path in PAGES} == {200}
    idle_tenant.request("DELETE", f"/v1/keys/{made['key_id']}")
    assert {browser.get(path).status_code for path in PAGES} == {303}


def test_the_pages_are_in_the_browsers_language_or_the_chosen_one(
    browser: httpx2.Client, idle_tenant: Tenant
) -> None:
    chinese = {"accept-language": "zh-CN,zh;q=0.9"}
    assert "Enter an API key of your account." in browser.get("/sign-in").text
    assert "请输入您账户的 API 密钥。" in browser.get("/sign-in", headers=chinese).text
    refused = browser.post("/sign-in", data={"key": "rsh_wrong"}, headers=chinese)
    assert "密钥错误或已被吊销。" in refused.text
    batch_id = idle_tenant.batch("a boat", name="boats")["batch_id"]
    sign_in(browser, idle_tenant.key)
    for path, english, other in (
        ("/", "Newest batches", "最新批次"),
        ("/batches", "Batches", "批次"),
        (f"/batches/{batch_id}", "Time left", "剩余时间"),
        ("/ledger", "Reserve", "预留"),
        ("/usage", "By day and model", "按日期和模型"),
        ("/keys", "this one", "当前密钥"),
        ("/webhooks", "Nothing was sent.", "没有发送任何内容。"),
    ):
        assert english in browser.get(path).text, path
        shown = browser.get(path, headers=chinese).text
        assert other in shown, path
        assert f">{english}<" not in shown, path
        assert '<html lang="zh-CN"' in shown
    chosen = browser.post("/look", data={"language": "zh", "back": "/keys"})
    assert (chosen.status_code, chosen.headers["location"]) == (303, "/portal/keys")
    assert "当前密钥" in browser.get("/keys").text
    elsewhere = browser.post("/look", data={"theme": "dark", "back": "//evil.example"})
    assert elsewhere.headers["location"] == "/portal/"
    assert 'data-theme="dark"' in browser.get("/").text
    assert browser.post("/look", headers={"origin": "https://evil.example"}).status_code == 403
