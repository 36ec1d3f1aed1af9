"""The dashboard in a real browser: watched, clicked, typed into."""

import json
import re

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.harness import Tenant, eventually
from tests.dashboard.conftest import SCREENSHOTS, SECRET, WAIT_MS, OpenContext, Serving

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def tenant(serving: Serving) -> Tenant:
    """An account with credits."""
    return serving.tenant("acme")


@pytest.fixture(scope="module")
def finished_batch(tenant: Tenant) -> str:
    """A batch with successes and failures, at its end."""
    prompts = [f"A paper boat drifts along a gutter, take {n}" for n in range(30)]
    items = [{"prompt": prompt, "custom_id": f"scene-12-shot-{n}"} for n, prompt in enumerate(prompts)]
    body = {"items": items, "webhook_url": "http://127.0.0.1:9/closed", "request_id": "storyboard-7"}
    batch = tenant.post("/v1/batches", body, status=201)
    ended = tenant.finished(batch["batch_id"], seconds_max=40)
    assert ended["status"] == "partial", ended
    return str(batch["batch_id"])


# --- signing in -----------------------------------------------------------------------------------------


def test_a_wrong_secret_is_refused_and_the_right_one_opens(browser: Browser, serving: Serving) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{serving.dashboard}/accounts")
    expect(page.get_by_role("heading")).to_have_text("Sign in")
    page.screenshot(path=SCREENSHOTS / "sign-in.png")
    page.get_by_label("Operator secret").fill("not-the-secret")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the operator's secret.")
    assert context.cookies() == []
    page.get_by_label("Operator secret").fill("operator-secret-canary-4c1e")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Accounts", exact=True)).to_be_visible()
    (cookie,) = [cookie for cookie in context.cookies() if cookie["name"] == "rushes_session"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/dashboard")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading")).to_have_text("Sign in")
    page.goto(f"{serving.dashboard}/batches")
    expect(page.get_by_role("heading")).to_have_text("Sign in")
    context.close()


# --- a batch --------------------------------------------------------------------------------------------


def test_a_batch_is_watched_to_its_end_without_reloading(
    page: Page, serving: Serving, tenant: Tenant
) -> None:
    batch_id = tenant.batch(*(f"watched {n}" for n in range(40)))["batch_id"]
    page.goto(f"{serving.dashboard}/batches/{batch_id}")
    page.evaluate("window.notReloaded = true")
    progress = page.locator(".card.progress")
    expect(progress.get_by_role("progressbar")).to_have_attribute("aria-valuemax", "40")
    expect(progress.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "40")
    expect(page.get_by_text("Proved: three tables agree")).to_be_visible()
    assert page.evaluate("window.notReloaded") is True
    batch = tenant.get(f"/v1/batches/{batch_id}")
    figures = page.locator(".sum > span:not(.sign):not(.chip)").all_inner_texts()
    assert [int(text.split()[0].replace(",", "")) for text in figures] == [
        batch["credits_reserved"],
        batch["credits_settled"],
        batch["credits_refunded"],
    ]
    page.screenshot(path=SCREENSHOTS / "batch-desktop.png", full_page=True)


def test_a_video_is_played(page: Page, serving: Serving, finished_batch: str) -> None:
    page.goto(f"{serving.dashboard}/batches/{finished_batch}?status=succeeded")
    page.locator("[data-act=play]").first.click()
    playing = page.locator("dialog video, .q-dialog video")
    expect(playing).to_be_visible()
    page.wait_for_function(
        "() => { const v = document.querySelector('.q-dialog video'); return v && v.currentTime > 0 }"
    )
    page.wait_for_timeout(500)  # the dialog fades in
    close = page.get_by_role("button", name="Close")
    assert close.evaluate("b => getComputedStyle(b).color") == "rgb(255, 255, 255)"
    page.screenshot(path=SCREENSHOTS / "player-desktop.png")
    page.keyboard.press("Escape")
    expect(playing).to_have_count(0)
    # who closes the page while it plays leaves no trouble behind: the service's log is looked at in the end
    page.locator("[data-act=play]").first.click()
    expect(page.get_by_role("dialog", name="Item")).to_be_visible()


def test_a_failure_is_tried_again(page: Page, serving: Serving, finished_batch: str, tenant: Tenant) -> None:
    before = tenant.get(f"/v1/batches/{finished_batch}")
    page.goto(f"{serving.dashboard}/batches/{finished_batch}?status=failed")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(before["failed_count"])
    expect(tiles.first.locator(".reason")).not_to_be_empty()
    index = tiles.first.get_attribute("data-index")
    page.get_by_role("button", name=f"Retry item {index}", exact=True).click()
    expect(page.get_by_text("1 item waits to be tried again")).to_be_visible()
    after = tenant.finished(finished_batch, seconds_max=40)
    assert after["credits_reserved"] == before["credits_reserved"] + before["cost_per_video"]
    assert after["credits_reserved"] == after["credits_settled"] + after["credits_refunded"]


def test_selected_failures_and_then_all_are_tried_again(page: Page, serving: Serving, tenant: Tenant) -> None:
    batch_id = tenant.batch(*(f"fails now and then {n}" for n in range(24)))["batch_id"]
    before = tenant.finished(batch_id, seconds_max=40)
    assert before["failed_count"] >= 3
    page.goto(f"{serving.dashboard}/batches/{batch_id}?status=failed")
    boxes = page.get_by_role("checkbox")
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.get_by_role("button", name="Retry selected (2)").click()
    expect(page.get_by_text("2 items wait to be tried again")).to_be_visible()
    between = tenant.finished(batch_id, seconds_max=40)
    assert between["credits_reserved"] == before["credits_reserved"] + 2 * before["cost_per_video"]
    if between["failed_count"]:
        failed = page.get_by_role("button", name=f"Retry all {between['failed_count']} failed")
        failed.click()
        page.locator(".q-dialog").get_by_role("button", name="Try again").click()
        reserved = between["credits_reserved"] + between["failed_count"] * before["cost_per_video"]
        eventually(
            lambda: tenant.get(f"/v1/batches/{batch_id}"),
            lambda batch: batch["credits_reserved"] == reserved,
            seconds_max=40,
        )


def test_a_batch_is_cancelled(page: Page, serving: Serving) -> None:
    # more than the provider's limit lets go at once, so that some of it waits
    slow = serving.tenant("slow", credits=100_000)
    batch_id = slow.batch(*(f"cancelled {n}" for n in range(2000)))["batch_id"]
    page.goto(f"{serving.dashboard}/batches/{batch_id}")
    page.get_by_role("button", name="Cancel batch").click()
    page.locator(".q-dialog").get_by_role("button", name="Cancel batch").click()
    expect(page.get_by_text(re.compile("credits given back; .* at the provider, .* charged"))).to_be_visible()
    expect(page.locator(".card.progress .chip")).to_have_text("Cancelled")
    batch = slow.finished(batch_id, seconds_max=60)
    assert batch["credits_refunded"] > 0
    assert batch["credits_reserved"] == batch["credits_settled"] + batch["credits_refunded"]


# --- accounts -------------------------------------------------------------------------------------------


def test_credits_are_granted_and_the_ledger_tells(page: Page, serving: Serving) -> None:
    page.goto(f"{serving.dashboard}/accounts")
    page.get_by_label("Account").fill("studio")
    page.get_by_label("Credits").fill("nine")
    page.get_by_role("button", name="Grant").click()
    expect(page.get_by_text("must be a whole number")).to_be_visible()
    page.get_by_label("Credits").fill("1,250")
    page.get_by_role("button", name="Grant").click()
    page.locator(".q-dialog").get_by_role("button", name="Grant").click()
    expect(page.get_by_role("heading", name="studio")).to_be_visible()
    expect(page.locator(".stat-value").first).to_have_text("1,250")
    page.get_by_label("Credits").fill("50")
    page.get_by_label("Expire after days").fill("30")
    page.get_by_label("Description").fill("<b>a & b</b>")
    page.get_by_label("Description").press("Enter")
    page.locator(".q-dialog").get_by_role("button", name="Grant").click()
    expect(page.locator(".stat-value").first).to_have_text("1,300")
    expect(page.get_by_label("Credits")).to_have_value("")
    expect(page.get_by_text("<b>a & b</b>")).to_be_visible()
    balance = serving.command("credits", "balance", "--account", "studio", "--json").document
    assert balance["available"] == 1300
    assert sorted(lot["kind"] for lot in balance["lots"]) == ["bonus", "permanent"]
    page.screenshot(path=SCREENSHOTS / "account-desktop.png", full_page=True)


def test_a_given_up_or_waiting_delivery_is_sent_again(
    page: Page, serving: Serving, finished_batch: str
) -> None:
    page.goto(f"{serving.dashboard}/deliveries")
    expect(page.get_by_text(finished_batch).first).to_be_visible()
    page.get_by_role("button", name="again").first.click()
    expect(page.get_by_text("It will be sent again now")).to_be_visible()


# --- all pages ------------------------------------------------------------------------------------------


CUT_OFF = """() => [...document.querySelectorAll('.card, .tile, .chart svg')].flatMap(box => {
    const edge = box.getBoundingClientRect()
    return [...box.querySelectorAll('*')].filter(part => {
        const at = part.getBoundingClientRect()
        return at.width && !part.closest('.unseen') && (at.right > edge.right + 1 || at.left < edge.left - 1)
    }).map(part => `${part.tagName} ${part.className.baseVal ?? part.className}: ${part.textContent}`)
})"""
"""Whatever reaches beyond the card, tile or chart that it stands in."""


@pytest.mark.parametrize("look", ["light", "dark"])
def test_every_page_fits_a_phone(
    open_context: OpenContext, serving: Serving, finished_batch: str, look: str
) -> None:
    options = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    with open_context(**options, color_scheme=look) as context:
        page = context.new_page()
        for name, path in {
            "overview": "/",
            "batches": "/batches",
            "batch": f"/batches/{finished_batch}",
            "accounts": "/accounts",
            "account": "/accounts?account=acme",
            "workers": "/workers",
            "deliveries": "/deliveries",
            "no-batch": "/batches/bat_none",
        }.items():
            page.goto(f"{serving.dashboard}{path}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, f"{name} is {width} wide"
            assert page.evaluate(CUT_OFF) == [], f"of {name} something is cut off"
            page.screenshot(path=SCREENSHOTS / f"{name}-phone-{look}.png")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(14, 16, 22)") == (look == "dark")


def test_the_keyboard_reaches_everything_and_keeps_its_place(
    page: Page, serving: Serving, finished_batch: str, tenant: Tenant
) -> None:
    page.goto(f"{serving.dashboard}/")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Overview", "Batches", "Accounts", "Workers", "Deliveries", "Sign out"} <= set(reached)
    page.get_by_role("link", name="Batches", exact=True).first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Batches")).to_be_visible()
    # what is shown anew leaves the focus where it is
    link = page.get_by_role("link", name=finished_batch)
    link.focus()
    made = tenant.batch("one more")["batch_id"]
    expect(page.get_by_role("link", name=made)).to_be_visible()
    assert page.evaluate("document.activeElement.textContent") == finished_batch


def test_the_keyboard_alone_plays_a_video_and_tries_a_failure_again(
    page: Page, serving: Serving, tenant: Tenant
) -> None:
    batch_id = tenant.batch(*(f"by keyboard {n}" for n in range(24)))["batch_id"]
    before = tenant.finished(batch_id, seconds_max=40)
    page.goto(f"{serving.dashboard}/batches/{batch_id}")
    play = page.locator("[data-act=play]").first

    def press_until(key: str, wanted: str) -> None:
        """Press the key until what it reaches is called so; it can be seen that it is reached."""
        for _ in range(80):
            page.keyboard.press(key)
            name, outline = page.evaluate(FOCUSED)
            if name.startswith(wanted):
                assert float(outline) >= 2, f"the focus on {name} cannot be seen"
                return
        pytest.fail(f"the keyboard does not reach {wanted}")

    expect(play).to_be_visible()
    press_until("Tab", "Play item")
    page.keyboard.press("Enter")
    expect(page.locator(".q-dialog video")).to_be_visible()
    page.wait_for_timeout(500)  # the dialog takes the focus when it has faded in
    press_until("Tab", "Open the file")
    press_until("Tab", "Close")
    page.keyboard.press("Escape")
    expect(page.locator(".q-dialog")).to_have_count(0)
    expect(play).to_be_focused()
    press_until("Tab", "Select item")
    page.keyboard.press("Space")
    press_until("Shift+Tab", "Retry selected (1)")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 item waits to be tried again")).to_be_visible()
    after = tenant.finished(batch_id, seconds_max=40)
    assert after["credits_reserved"] == before["credits_reserved"] + before["cost_per_video"]


FOCUSED = """() => {
    const at = document.activeElement
    const name = at.getAttribute('aria-label') || at.textContent.trim()
    return [name, parseFloat(getComputedStyle(at).outlineWidth)]
}"""


def test_a_hidden_tab_asks_for_nothing(page: Page, serving: Serving, tenant: Tenant) -> None:
    page.goto(f"{serving.dashboard}/batches")
    expect(page.get_by_role("heading", name="Batches")).to_be_visible()
    hide = (
        "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')) }"
    )
    page.evaluate(hide, True)
    page.wait_for_timeout(500)
    made = tenant.batch("while hidden")["batch_id"]
    page.wait_for_timeout(4500)  # two refreshes
    assert page.get_by_text(made).count() == 0
    page.evaluate(hide, False)
    expect(page.get_by_text(made)).to_be_visible()


def test_an_export_and_a_signed_statement_are_saved(
    page: Page, serving: Serving, finished_batch: str
) -> None:
    page.goto(f"{serving.dashboard}/batches/{finished_batch}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    assert download.value.path().read_text().count("\n") == 31
    with page.expect_download() as download:
        page.get_by_role("link", name="Signed statement").click()
    saved = serving.shell.folder / "statement.json"
    download.value.save_as(saved)
    verified = serving.command("audit", "verify", str(saved))
    assert verified.code == 0, verified.stderr


def test_the_api_is_as_before(serving: Serving) -> None:
    answer = httpx2.get(f"{serving.url}/v1/batches", trust_env=False)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_address_that_is_written_everywhere_leads_to_the_pages(serving: Serving) -> None:
    answer = httpx2.get(serving.dashboard, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/dashboard/")
    assert httpx2.head(serving.dashboard, trust_env=False).status_code == 307


def test_a_page_that_is_not_there_is_a_line_of_the_log_like_all_others(serving: Serving) -> None:
    with httpx2.Client(base_url=serving.url, trust_env=False) as http:
        http.post("/dashboard/sign-in", data={"secret": SECRET}, headers={"origin": serving.url})
        assert http.get("/dashboard/nope").status_code == 404
    lines = serving.said().splitlines()
    strange = [line for line in lines if not line.startswith(("{", "rushes: "))]
    assert strange == []
    said = [json.loads(line) for line in lines if "/dashboard/nope" in line]
    assert [line["event"] for line in said] == ["dashboard.said"]


def test_the_list_of_batches_says_which_credits_it_means(
    page: Page, serving: Serving, finished_batch: str, tenant: Tenant
) -> None:
    batch = tenant.get(f"/v1/batches/{finished_batch}")
    page.goto(f"{serving.dashboard}/batches?search={finished_batch}")
    table = page.get_by_role("table", name="Batches")
    heads = table.get_by_role("columnheader").all_inner_texts()
    cells = table.get_by_role("row").nth(1).get_by_role("cell").all_inner_texts()
    shown = dict(zip([head.lower() for head in heads], cells, strict=True))
    assert shown["reserved"] == str(batch["credits_reserved"])
    assert shown["settled"] == str(batch["credits_settled"])
    assert shown["reserved"] != shown["settled"]
