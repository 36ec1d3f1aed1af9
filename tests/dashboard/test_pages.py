"""The dashboard in a real browser: watched, clicked, typed into."""

import base64
import contextlib
import re
import zipfile
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.harness import Tenant, eventually
from tests.dashboard.conftest import SCREENSHOTS, SECRET, WAIT_MS, OpenContext, Serving, sign_in

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
    page.locator("details.who summary").click()
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
    progress = page.locator(".head").get_by_role("progressbar")
    expect(progress).to_have_attribute("aria-valuemax", "40")
    expect(progress).to_have_attribute("aria-valuenow", "40")
    expect(page.locator(".tile")).to_have_count(40)
    assert page.evaluate("window.notReloaded") is True
    page.get_by_role("link", name="Credits").click()
    expect(page.get_by_text("Proved: three tables agree")).to_be_visible()
    batch = tenant.get(f"/v1/batches/{batch_id}")
    figures = page.locator(".sum > span:not(.sign):not(.chip)").all_inner_texts()
    assert [int(text.split()[0].replace(",", "")) for text in figures] == [
        batch["credits_reserved"],
        batch["credits_settled"],
        batch["credits_refunded"],
    ]


def test_a_video_plays_on_the_wall_and_on_its_own_page(
    page: Page, serving: Serving, finished_batch: str
) -> None:
    page.goto(f"{serving.dashboard}/batches/{finished_batch}?status=succeeded")
    tile = page.locator(".tile").first
    tile.hover()
    page.wait_for_function(
        "() => { const v = document.querySelector('video.playing'); return v && v.currentTime > 0 }"
    )
    page.mouse.move(0, 0)
    expect(page.locator("video.playing")).to_have_count(0)
    tile.locator(".screen").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Item")
    page.locator(".player video").evaluate("v => { v.muted = true; return v.play() }")
    page.wait_for_function("() => document.querySelector('.player video').currentTime > 0")
    expect(page.get_by_text("What happened")).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "item-desktop.png", full_page=True)


def reserved(tenant: Tenant, batch_id: str) -> int:
    return int(tenant.get(f"/v1/batches/{batch_id}")["credits_reserved"])


def test_a_failure_is_retried_after_its_price_was_shown(
    page: Page, serving: Serving, finished_batch: str, tenant: Tenant
) -> None:
    before = tenant.get(f"/v1/batches/{finished_batch}")
    page.goto(f"{serving.dashboard}/batches/{finished_batch}?status=failed")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(before["failed_count"])
    expect(tiles.first.locator(".screen")).to_have_text(re.compile("Model error|Refused|Other|Took"))
    tiles.first.locator("input[name=items]").check()
    page.get_by_role("button", name="Retry selected…").click()
    dialog = page.get_by_role("dialog")
    price = before["cost_per_video"]
    balance = serving.command("credits", "balance", "--account", "acme", "--json").document["available"]
    expect(dialog.locator(".stakes")).to_contain_text(f"{balance - price:,}")
    dialog.get_by_role("link", name="Keep as it is").click()
    expect(dialog).to_have_count(0)
    assert reserved(tenant, finished_batch) == before["credits_reserved"], "it was only asked for"
    page.get_by_role("button", name="Retry selected…").click()
    page.get_by_role("dialog").get_by_role("button", name=f"Retry for {price} credits").click()
    expect(page.get_by_text("1 item waits to be retried")).to_be_visible()
    after = tenant.finished(finished_batch, seconds_max=40)
    assert after["credits_reserved"] == before["credits_reserved"] + price
    assert after["credits_reserved"] == after["credits_settled"] + after["credits_refunded"]


def test_all_failures_of_a_reason_are_retried_on_another_model(
    page: Page, serving: Serving, tenant: Tenant
) -> None:
    batch_id = tenant.batch(*(f"fails now and then {n}" for n in range(24)))["batch_id"]
    before = tenant.finished(batch_id, seconds_max=40)
    assert before["failed_count"] >= 3
    page.goto(f"{serving.dashboard}/batches/{batch_id}/failures")
    row = page.get_by_role("row").nth(1)
    count = int(row.get_by_role("cell").nth(2).inner_text())
    row.get_by_role("button", name="On another model…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("With").select_option("veo-flash")
    expect(dialog.get_by_role("button", name=f"Retry for {count * 15} credits")).to_be_visible()
    dialog.get_by_role("button", name="Retry for").click()
    expect(page.get_by_text(re.compile("waits? to be retried"))).to_be_visible()
    after = tenant.finished(batch_id, seconds_max=60)
    assert after["credits_reserved"] == before["credits_reserved"] + count * 15
    with_veo = [
        item for item in tenant.get(f"/v1/batches/{batch_id}/items")["items"] if item["model"] == "veo-flash"
    ]
    assert len(with_veo) == count


def test_a_price_that_has_changed_is_asked_about_again(serving: Serving, tenant: Tenant) -> None:
    batch_id = tenant.batch(*(f"stale question {n}" for n in range(24)))["batch_id"]
    before = tenant.finished(batch_id, seconds_max=40)
    assert before["failed_count"]
    with signed_in(serving) as http:
        where = f"/dashboard/batches/{batch_id}/retry?all=1"
        page = http.get(where).text
        assert f"Retry for {before['failed_count'] * before['cost_per_video']} credits" in page
        stale = http.post(where, data={"agreed": "1:1:"})
        assert stale.status_code == 409
        assert "What is at stake has changed meanwhile" in stale.text
    assert reserved(tenant, batch_id) == before["credits_reserved"]


def test_without_the_script_forms_do_the_same(serving: Serving, open_context: OpenContext) -> None:
    with open_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{serving.dashboard}/accounts")
        page.get_by_role("button", name="Grant credits…").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Grant credits")
        page.get_by_label("Account", exact=True).fill("plain")
        page.get_by_label("Credits", exact=True).fill("7")
        page.get_by_label("Reason").fill("no script")
        page.get_by_role("button", name="Grant").click()
        page.get_by_label("There is no account plain yet").check()
        page.get_by_role("button", name="Grant").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("plain")
        expect(page.get_by_role("status").first).to_contain_text("7 granted to plain")
        page.reload()
        assert page.get_by_text("granted to plain").count() == 0, "it is said once"


def test_a_batch_is_cancelled(page: Page, serving: Serving) -> None:
    # more than the provider's limit lets go at once, so that some of it waits
    slow = serving.tenant("slow", credits=100_000)
    batch_id = slow.batch(*(f"cancelled {n}" for n in range(2000)))["batch_id"]
    page.goto(f"{serving.dashboard}/batches/{batch_id}")
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel batch").click()
    expect(page.get_by_text(re.compile("credits? refunded; .* at the provider, .* charged"))).to_be_visible()
    expect(page.locator(".head .chip")).to_have_text("Cancelled")
    batch = slow.finished(batch_id, seconds_max=60)
    assert batch["credits_refunded"] > 0
    assert batch["credits_reserved"] == batch["credits_settled"] + batch["credits_refunded"]


def test_videos_are_rated_and_saved_together(page: Page, serving: Serving, finished_batch: str) -> None:
    page.goto(f"{serving.dashboard}/batches/{finished_batch}?status=succeeded")
    indexes = [page.locator(".tile").nth(n).get_attribute("data-index") for n in (0, 2)]
    for index in indexes:
        page.get_by_label(f"Select item {index}", exact=True).check()
    page.get_by_role("button", name="Good").click()
    expect(page.get_by_text("2 videos rated good")).to_be_visible()
    expect(page.locator(".verdict.ok")).to_have_count(2)
    page.get_by_label(f"Select item {indexes[0]}", exact=True).check()
    page.get_by_role("button", name="Bad").click()
    expect(page.get_by_text("1 was judged by a person before, and that stands")).to_be_visible()
    expect(page.locator(".verdict.ok")).to_have_count(2)
    page.locator(".tile .screen").first.click()
    expect(page.get_by_text("good · person:operator · person")).to_be_visible()
    page.go_back()
    for index in indexes:
        page.get_by_label(f"Select item {index}", exact=True).check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download ZIP").click()
    with zipfile.ZipFile(download.value.path()) as saved:
        assert saved.testzip() is None
        names = saved.namelist()
        assert [name[:5] for name in names] == [f"{int(index or 0):05d}" for index in indexes]
        assert all(saved.read(name)[4:8] == b"ftyp" for name in names), "they are videos"


def test_a_long_wall_fills_as_one_scrolls_and_forgets_what_is_far(page: Page, serving: Serving) -> None:
    long = serving.tenant("long", credits=20_000)
    made = long.batch(*(f"shot {n}" for n in range(1000)))["batch_id"]
    page.goto(f"{serving.dashboard}/batches/{made}")
    expect(page.locator(".block")).to_have_count(16)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    expect(page.locator("[data-index='999']")).to_be_visible()
    assert page.locator(".tile").count() < 500, "what is far away is not kept"
    page.evaluate("window.scrollTo(0, 0)")
    expect(page.locator("[data-index='0']")).to_be_visible()
    long.post(f"/v1/batches/{made}/cancel")


# --- a new batch ----------------------------------------------------------------------------------------


def test_a_batch_is_made_for_the_price_that_was_shown(page: Page, serving: Serving, tenant: Tenant) -> None:
    page.goto(f"{serving.dashboard}/batches/new")
    page.get_by_label("Account", exact=True).select_option("acme")
    before = serving.command("credits", "balance", "--account", "acme", "--json").document["available"]
    page.get_by_label("Prompts, one a line").fill("prompt,duration\na boat,10\n,10\na kite,99\na car,15\n")
    create = page.get_by_role("button", name="Create for 20 credits")
    expect(create).to_be_visible()
    expect(page.get_by_text("2 rows have an error and are left out")).to_be_visible()
    expect(page.get_by_text("line 3: prompt")).to_be_visible()
    page.get_by_label("Model").select_option("veo-flash")
    expect(page.get_by_text("veo-flash has no such option").first).to_be_visible()
    page.get_by_label("Model").select_option("sora-2")
    page.get_by_label("Name").fill("from the page")
    expect(page.get_by_text(f"{before - 20:,}")).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "new-batch-desktop.png", full_page=True)
    create.click()
    expect(page.get_by_text("2 videos ordered")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("from the page")
    batch_id = page.url.rpartition("/")[2]
    batch = tenant.finished(batch_id, seconds_max=40)
    assert (batch["total_count"], batch["credits_reserved"]) == (2, 20)
    page.get_by_role("link", name="Duplicate").click()
    expect(page.get_by_role("button", name="Create for 20 credits")).to_be_visible()


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_a_picture_is_kept_for_the_account_and_named_in_the_batch(
    page: Page, serving: Serving, tenant: Tenant
) -> None:
    page.goto(f"{serving.dashboard}/batches/new")
    page.get_by_label("Account", exact=True).select_option("acme")
    page.get_by_label("Prompts, one a line").fill("a boat")
    page.get_by_label("Model").select_option("sora-2")
    references = page.get_by_label("References", exact=True)
    choose = page.get_by_label("A file for References")
    choose.set_input_files({"name": "no.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(page.locator(".upload .hint")).not_to_be_empty()
    expect(references).to_have_value("")
    choose.set_input_files({"name": "dot.png", "mimeType": "image/png", "buffer": PNG})
    expect(page.locator(".upload .hint")).to_contain_text("dot.png 1 × 1")
    expect(references).to_have_value(re.compile("upl_[0-9a-f]{32}"))
    kept = tenant.get(f"/v1/uploads/{references.input_value()}")
    assert (kept["content_type"], kept["bytes"]) == ("image/png", len(PNG))
    expect(page.locator("[data-part=rows]")).to_contain_text(references.input_value()[:12])


def reserved_of(tenant: Tenant) -> int:
    return sum(batch["credits_reserved"] for batch in tenant.get("/v1/batches?limit=100")["data"])


def test_a_form_that_is_sent_twice_makes_one_batch(serving: Serving, tenant: Tenant) -> None:
    form = {"token": "the-same", "account": "acme", "text": "one\ntwo", "model": "sora-2"}
    with signed_in(serving) as http:
        where, from_script = "/dashboard/batches/new", {"x-rushes-script": "1"}
        before = reserved_of(tenant)
        stale = http.post(where, data={**form, "act": "create", "agreed": "2:19"}, headers=from_script)
        assert "The price is another one by now" in stale.json()["parts"]["quote"]
        assert reserved_of(tenant) == before
        sent = {**form, "act": "create", "agreed": "2:20"}
        first, second = (http.post(where, data=sent, headers=from_script).json() for _ in range(2))
    assert first["to"] == second["to"]
    batch = tenant.finished(first["to"].rpartition("/")[2], seconds_max=40)
    assert batch["credits_reserved"] == 20


def test_chosen_batches_are_acted_on_together(page: Page, serving: Serving, tenant: Tenant) -> None:
    serving.command("providers", "pause", "grsai", "--reason", "so that they wait")
    try:
        ids = [tenant.batch(*(f"chosen {n}" for n in range(4)))["batch_id"] for _ in range(2)]
        page.goto(f"{serving.dashboard}/batches")
        for batch_id in ids:
            page.locator(f"input[name=batches][value={batch_id}]").check()
        expect(page.locator("[data-selected]")).to_have_text("2 selected")
        page.get_by_role("button", name="Cancel…").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel 2 batches").click()
        expect(page.get_by_text("2 batches cancelled: 80 credits refunded")).to_be_visible()
        expect(page.locator("[data-selected]")).to_be_hidden()
        statuses = {tenant.get(f"/v1/batches/{batch_id}")["status"] for batch_id in ids}
    finally:
        serving.command("providers", "resume", "grsai")
    assert statuses == {"cancelled"}


def test_a_part_of_the_chart_is_dragged_over_and_looked_at(
    page: Page, serving: Serving, finished_batch: str
) -> None:
    assert finished_batch
    page.goto(f"{serving.dashboard}/?span=hour")
    chart = page.locator("svg[data-brush]")
    box = chart.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.8, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, y)
    page.mouse.move(box["x"] + box["width"] * 0.98, y)
    expect(chart.locator(".brush")).to_have_count(1)
    page.mouse.up()
    page.wait_for_url(re.compile("from=[0-9]+&to=[0-9]+"))
    expect(page.get_by_role("link", name=re.compile("UTC to .* UTC"))).to_have_attribute(
        "aria-current", "true"
    )
    page.get_by_role("link", name="last hour").click()
    page.wait_for_url(lambda address: "from=" not in address)


def test_another_model_is_chosen_without_the_script_too(
    serving: Serving, open_context: OpenContext, finished_batch: str
) -> None:
    with open_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{serving.dashboard}/batches/{finished_batch}/failures")
        page.get_by_role("button", name="On another model…").first.click()
        assert page.get_by_role("button", name=re.compile("^Retry for")).count() == 0
        page.get_by_label("With").select_option("veo-flash")
        page.get_by_role("button", name="Show its price").click()
        expect(page.get_by_role("button", name=re.compile("^Retry for [0-9]+ credits"))).to_be_visible()


# --- accounts -------------------------------------------------------------------------------------------


def test_credits_are_granted_and_the_ledger_tells(page: Page, serving: Serving) -> None:
    page.goto(f"{serving.dashboard}/accounts")
    page.get_by_role("button", name="Grant credits…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Account").fill("studio")
    dialog.get_by_label("Credits").fill("nine")
    dialog.get_by_label("Reason").fill("first order")
    dialog.get_by_role("button", name="Grant").click()
    expect(dialog.get_by_text("must be a whole number")).to_be_visible()
    expect(dialog.get_by_label("Credits")).to_be_focused()
    dialog.get_by_label("Credits").fill("1,250")
    dialog.get_by_role("button", name="Grant").click()
    expect(dialog.get_by_text("There is no account studio yet")).to_be_visible()
    dialog.get_by_label("There is no account studio yet").check()
    dialog.get_by_role("button", name="Grant").click()
    expect(page.get_by_role("heading", name="studio")).to_be_visible()
    expect(page.locator(".stat-value").first).to_have_text("1,250")
    page.get_by_role("button", name="Grant credits…").click()
    expect(dialog.get_by_text("1,250")).to_be_visible()
    dialog.get_by_label("Credits").fill("50")
    dialog.get_by_label("Expire after days").fill("30")
    dialog.get_by_label("Reason").fill("<b>a & b</b>")
    dialog.get_by_label("Reason").press("Enter")
    expect(page.locator(".stat-value").first).to_have_text("1,300")
    expect(page.get_by_text("<b>a & b</b>")).to_be_visible()
    balance = serving.command("credits", "balance", "--account", "studio", "--json").document
    assert balance["available"] == 1300
    assert sorted(lot["kind"] for lot in balance["lots"]) == ["bonus", "permanent"]
    page.screenshot(path=SCREENSHOTS / "account-desktop.png", full_page=True)


def test_a_given_up_or_waiting_delivery_is_sent_again(
    page: Page, serving: Serving, finished_batch: str
) -> None:
    page.goto(f"{serving.dashboard}/deliveries")
    page.locator(f"a[title={finished_batch}]").first.wait_for()
    page.get_by_role("table").get_by_role("button", name="again").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Send now").click()
    expect(page.get_by_text("It will be sent again now")).to_be_visible()


# --- two tabs, no network, two processes ----------------------------------------------------------------


def test_signed_out_in_one_tab_the_other_does_nothing_and_leads_to_sign_in(
    browser: Browser, serving: Serving, finished_batch: str, tenant: Tenant
) -> None:
    before = reserved(tenant, finished_batch)
    context = browser.new_context()
    context.set_default_timeout(WAIT_MS)
    first, second = context.new_page(), context.new_page()
    sign_in(first, serving.dashboard)
    second.goto(f"{serving.dashboard}/batches/{finished_batch}/failures")
    second.get_by_role("button", name="Retry").first.click()
    expect(second.get_by_role("dialog")).to_be_visible()
    first.locator("details.who summary").click()
    first.get_by_role("button", name="Sign out").click()
    expect(first.get_by_role("heading")).to_have_text("Sign in")
    # whichever comes first: the click, or the stream that ends with the session
    second.evaluate("document.querySelector('[data-submit]')?.click()")
    second.wait_for_url("**/sign-in?next=*")
    expect(second.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert reserved(tenant, finished_batch) == before
    context.close()


def test_a_click_without_a_network_is_not_sent_later(
    open_context: OpenContext, serving: Serving, finished_batch: str, tenant: Tenant
) -> None:
    before = reserved(tenant, finished_batch)
    with open_context() as context:
        page = context.new_page()
        page.goto(f"{serving.dashboard}/batches/{finished_batch}/failures")
        page.get_by_role("button", name="Retry").first.click()
        submit = page.get_by_role("dialog").locator("[data-submit]")
        expect(submit).to_be_visible()
        context.set_offline(True)
        submit.click()
        expect(page.get_by_text("nothing was done")).to_be_visible()
        expect(page.locator("#lost")).to_be_visible()
        assert page.evaluate("getComputedStyle(document.querySelector('main')).filter") == "grayscale(1)"
        context.set_offline(False)
        expect(page.locator("#lost")).to_be_hidden()
        expect(page.locator("body")).not_to_have_class(re.compile("is-lost"))
    assert reserved(tenant, finished_batch) == before


def test_a_page_and_its_stream_may_come_from_two_processes(
    serving: Serving, finished_batch: str, tenant: Tenant
) -> None:
    other = serving.shell.start("serve", "--port", "0", "--no-worker")
    try:
        other.wait_until(lambda said: "dashboard at" in said, "it serves")
        found = re.search(r"serving on (http://\S+)", other.stderr())
        assert found is not None
        with signed_in(serving) as first, httpx2.Client(base_url=found[1], trust_env=False) as second:
            second.cookies = first.cookies
            for turn in range(6):
                http = (first, second)[turn % 2]
                page = http.get(f"/dashboard/batches/{finished_batch}")
                assert page.status_code == 200
                version = re.search(r'data-version="(\w+)"', page.text)
                assert version is not None
                headers = {"accept": "text/event-stream", "x-rushes-script": version[1]}
                beside = (second, first)[turn % 2]
                with beside.stream("GET", f"/dashboard/batches/{finished_batch}", headers=headers) as stream:
                    event = next(line for line in stream.iter_lines() if line.startswith("event:"))
                assert event == "event: alive", "the same page, so nothing is sent again"
    finally:
        other.process.terminate()
        assert other.end().code == 0


# --- all pages ------------------------------------------------------------------------------------------


CUT_OFF = """() => [...document.querySelectorAll('.card, .tile, .chart svg')].flatMap(box => {
    const edge = box.getBoundingClientRect()
    return [...box.querySelectorAll('*')].filter(part => {
        const at = part.getBoundingClientRect()
        const isClipped = part.closest('.unseen, .clip, .tabs nav, option, video')
        return at.width && !isClipped && (at.right > edge.right + 1 || at.left < edge.left - 1)
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
            "table": f"/batches/{finished_batch}/table",
            "failures": f"/batches/{finished_batch}/failures",
            "credits": f"/batches/{finished_batch}/credits",
            "events": f"/batches/{finished_batch}/events",
            "item": f"/items/{finished_batch}-3",
            "system": "/system",
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
        assert (dark == "rgb(14, 17, 22)") == (look == "dark")


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
    assert {"Overview", "Batches", "Accounts", "Deliveries", "System", "operator"} <= set(reached)
    page.get_by_role("link", name="Batches", exact=True).first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Batches")).to_be_visible()
    # what is shown anew leaves the focus where it is
    link = page.get_by_role("link", name="storyboard-7")
    link.focus()
    made = tenant.batch("one more")["batch_id"]
    expect(page.get_by_role("link", name=made)).to_be_visible()
    assert page.evaluate("document.activeElement.textContent") == "storyboard-7"


def test_the_keyboard_alone_plays_a_video_and_retries_a_failure(
    page: Page, serving: Serving, tenant: Tenant
) -> None:
    batch_id = tenant.batch(*(f"by keyboard {n}" for n in range(24)))["batch_id"]
    before = tenant.finished(batch_id, seconds_max=40)
    eventually(  # a file that is stored meanwhile changes its tile
        lambda: {
            item["archive"]["state"]
            for item in tenant.get(f"/v1/batches/{batch_id}/items?status=succeeded&limit=100")["items"]
        },
        lambda states: states == {"stored"},
        seconds_max=60,
        pause=0.5,
    )
    page.goto(f"{serving.dashboard}/batches/{batch_id}?status=succeeded")
    page.wait_for_timeout(2500)  # the first look of the page's stream
    page.keyboard.press("j")
    expect(page.locator(".tile.is-current")).to_have_count(1)
    outline = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
    assert outline >= 2, "the focus cannot be seen"
    page.keyboard.press(" ")
    expect(page.locator("video.playing")).to_have_count(1)
    page.keyboard.press(" ")
    expect(page.locator("video.playing")).to_have_count(0)
    page.goto(f"{serving.dashboard}/batches/{batch_id}?status=failed")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("[data-selected]")).to_have_text("1 selected")
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("With")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('[data-submit]')"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 item waits to be retried")).to_be_visible()
    after = tenant.finished(batch_id, seconds_max=40)
    assert after["credits_reserved"] == before["credits_reserved"] + before["cost_per_video"]


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
    page.wait_for_timeout(4500)  # two looks of the server
    assert page.get_by_text(made).count() == 0
    page.evaluate(hide, False)
    expect(page.get_by_text(made)).to_be_visible()


def test_an_export_and_a_signed_statement_are_saved(
    page: Page, serving: Serving, finished_batch: str
) -> None:
    page.goto(f"{serving.dashboard}/batches/{finished_batch}")
    with page.expect_download() as download:
        page.locator("details.drop summary").click()
        page.get_by_role("link", name="CSV").click()
    assert download.value.path().read_text().count("\n") == 31
    with page.expect_download() as download:
        page.locator("details.drop").get_by_role("link", name="Signed statement").click()
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


@contextlib.contextmanager
def signed_in(serving: Serving) -> Iterator[httpx2.Client]:
    """A client with a session; it follows no redirect."""
    with httpx2.Client(base_url=serving.url, trust_env=False, headers={"origin": serving.url}) as http:
        http.post("/dashboard/sign-in", data={"secret": SECRET})
        yield http


def test_what_is_not_there_has_a_page_of_its_own_with_the_way_back(serving: Serving) -> None:
    with signed_in(serving) as http:
        for path in ("/nope", "/batches/bat_none", "/items/bat_none-3", "/items/x", "/accounts?account=none"):
            answer = http.get(f"/dashboard{path}")
            assert answer.status_code == 404, path
            assert "<h1>Not found</h1>" in answer.text
            assert 'href="/dashboard/"' in answer.text
        for path in ("/batches/bat_none/retry", "/deliveries/99999999/replay", "/batches/bat_none/cancel"):
            answer = http.get(f"/dashboard{path}", headers={"x-rushes-script": "1"})
            assert answer.status_code == 404, path
            assert "<html" not in answer.text, "a fragment for a dialog"
        moved = http.get("/dashboard/workers")
        assert (moved.status_code, moved.headers["location"]) == (308, "/dashboard/system")
    strange = [line for line in serving.said().splitlines() if not line.startswith(("{", "rushes: "))]
    assert strange == []


def test_other_sites_and_unsigned_visitors_cannot_act(
    serving: Serving, finished_batch: str, tenant: Tenant
) -> None:
    before = reserved(tenant, finished_batch)
    where = f"/dashboard/batches/{finished_batch}/retry?all=1"
    with signed_in(serving) as http:
        evil = http.post(where, data={"agreed": ""}, headers={"origin": "https://evil.example"})
        assert evil.status_code == 403
    answer = httpx2.post(f"{serving.url}{where}", headers={"origin": serving.url}, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/sign-in")
    assert reserved(tenant, finished_batch) == before


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
