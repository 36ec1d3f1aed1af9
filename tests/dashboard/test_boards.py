"""What pages show and keep: proofs of the books, chosen batches, saved filters, charts, time lines."""

import re
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rushes.dashboard.pages.balance import balance_chart
from rushes.dashboard.pages.saved_filters import changed, read_filters
from rushes.dashboard.pieces import page_steps
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.operators import Role
from rushes.read.board.overview import InFlight, read_overview
from rushes.read.forecasts import Forecaster, ProviderPace
from rushes.read.ledger import LOTS_SHOWN_MAX
from rushes.store import installation, ledger
from rushes.store.database import Database
from tests.books import PROVIDER, REFUSED, Books, assert_sound, video
from tests.dashboard.operators import FROM_SCRIPT, NOW_MS, ORIGIN, dashboard_client, logged_acts, signed_in


@pytest.fixture
def client(database: Database, tmp_path: Path) -> TestClient:
    """The dashboard, with an operator of each role."""
    return dashboard_client(database, tmp_path)


def batches_of(database: Database) -> Books:
    """One that failed in part, one that waits; acme has 30 credits left."""
    books = Books(database, now_ms=NOW_MS)
    account_id = database.run_reading(ledger.account_id, "acme")
    books.accept(account_id, [10, 10, 10], name="bat_ended")
    first, *others = books.claim()
    books.name([first, *others])
    books.finish([(first, video(first)), *((task, REFUSED) for task in others)])
    books.accept(account_id, [10] * 6, name="bat_waits")
    return books


# --- the books ------------------------------------------------------------------------------------------


def test_the_books_are_proved_on_the_systems_page_and_it_says_how_long_ago(
    client: TestClient, database: Database
) -> None:
    books = batches_of(database)
    with client:
        signed_in(client, Role.OPERATOR)
        assert "Not proved yet" in client.get("/dashboard/system").text
        started = client.post("/dashboard/system/prove", headers=FROM_SCRIPT).json()
        assert started["said"].startswith("The proof was started")
        until = time.monotonic() + 20
        while (proof := database.run_reading(installation.last_proof)) is None:
            assert time.monotonic() < until
            client.get("/dashboard/system")
        assert (proof.violations, proof.batches, proof.tasks, proof.operator) == (0, 2, 9, "operator")
        page = client.get("/dashboard/system").text
        assert "The books are right" in page
        assert "2 batches, 9 tasks" in page
        assert logged_acts(database)[0]["action"] == "books.prove"
        books.sql("UPDATE accounts SET held = held + 1")
        client.post("/dashboard/system/prove", headers=FROM_SCRIPT)
        while database.run_reading(installation.last_proof) == proof:
            assert time.monotonic() < until
            client.get("/dashboard/system")
        page = client.get("/dashboard/system").text
    assert "violation" in page
    assert "The books are right" not in page


# --- several batches ------------------------------------------------------------------------------------


def test_chosen_batches_are_cancelled_together(client: TestClient, database: Database) -> None:
    books = batches_of(database)
    signed_in(client, Role.OPERATOR)
    page = client.get("/dashboard/batches").text
    assert 'name="batches" value="bat_waits"' in page
    where = "/dashboard/batches/cancel?batches=bat_waits,bat_ended"
    asked = client.get(where, headers=FROM_SCRIPT).text
    assert "Cancel 1 batch?" in asked
    assert "6 items that wait" in asked
    assert "1 has finished" in asked
    assert client.post(where, data={"agreed": "2:6"}, headers=FROM_SCRIPT).status_code == 409
    done = client.post(where, data={"agreed": "1:6", "token": "a"}, headers=FROM_SCRIPT).json()
    assert (done["said"], done["to"]) == ("1 batch cancelled: 60 credits refunded", "/dashboard/batches")
    again = client.post(where, data={"agreed": "0:0"}, headers=FROM_SCRIPT)
    assert (again.status_code, "None of these batches is open." in again.text) == (409, True)
    assert [row["subject"] for row in logged_acts(database)] == ["bat_waits"]
    assert_sound(books)


def test_the_failures_of_chosen_batches_are_retried_for_their_price(
    client: TestClient, database: Database
) -> None:
    books = batches_of(database)
    signed_in(client, Role.OPERATOR)
    where = "/dashboard/batches/retry?batches=bat_waits&batches=bat_ended"
    asked = client.get(where, headers=FROM_SCRIPT).text
    assert "Retry for 20 credits" in asked
    assert "Balance of acme after" in asked
    form = {"agreed": "2:20", "token": "once"}
    assert client.post(where, data=form, headers=FROM_SCRIPT).json()["said"] == "2 items wait to be retried"
    empty = client.get("/dashboard/batches/retry?batches=bat_waits", headers=FROM_SCRIPT).text
    assert "Nothing in these batches can be retried." in empty
    assert "data-submit" not in empty
    assert client.get("/dashboard/batches/retry?batches=bat_none", headers=FROM_SCRIPT).status_code == 404
    assert_sound(books)


def test_a_viewer_chooses_no_batches(client: TestClient, database: Database) -> None:
    batches_of(database)
    signed_in(client, Role.VIEWER)
    assert 'name="batches"' not in client.get("/dashboard/batches").text
    assert client.get("/dashboard/batches/cancel?batches=bat_waits").status_code == 403


# --- saved filters --------------------------------------------------------------------------------------


def test_a_filter_is_saved_under_a_name_and_forgotten(client: TestClient) -> None:
    signed_in(client, Role.VIEWER)
    assert "Save filter" not in client.get("/dashboard/batches").text
    query = "account=acme&status=failed"
    assert "Save filter" in client.get(f"/dashboard/batches?{query}").text
    form = {"name": "acme's <failures>", "query": query}
    saved = client.post("/dashboard/filters", data=form, headers=ORIGIN)
    assert (saved.status_code, saved.headers["location"]) == (303, f"/dashboard/batches?{query}")
    assert "httponly" in saved.headers["set-cookie"].lower()
    page = client.get("/dashboard/batches").text
    assert 'href="/dashboard/batches?account=acme&amp;status=failed"' in page
    assert "acme&#x27;s &lt;failures&gt;" in page
    assert "Save filter" not in client.get(f"/dashboard/batches?{query}").text
    gone = {"name": "acme's <failures>", "remove": "1"}
    client.post("/dashboard/filters", data=gone, headers=ORIGIN)
    assert "&lt;failures&gt;" not in client.get("/dashboard/batches").text


@pytest.mark.parametrize("query", ["x\r\nset-cookie: a=b", "//evil.example", "a#b", "a" * 2000])
def test_a_strange_filter_leads_nowhere_else(client: TestClient, query: str) -> None:
    signed_in(client, Role.VIEWER)
    answer = client.post("/dashboard/filters", data={"name": "x", "query": query}, headers=ORIGIN)
    assert answer.headers["location"] in ("/dashboard/", f"/dashboard/batches?{query}")
    assert client.get("/dashboard/batches").status_code == 200


def test_a_browser_keeps_the_newest_filters_and_a_strange_cookie_is_none() -> None:
    cookie = ""
    for number in range(40):
        cookie = changed(read_filters(cookie), {"name": f"n{number}", "query": f"search={number}"})
    assert list(read_filters(cookie)) == [f"n{number}" for number in range(28, 40)]
    for number in range(40):
        cookie = changed(read_filters(cookie), {"name": "é" * 40 + str(number), "query": "x=" + "y" * 298})
    assert len(cookie) < 4000
    for strange in ("", "x", "[]", "%7B%22a%22%3A1%7D", "null"):
        assert read_filters(strange) == {}


# --- charts and time lines ------------------------------------------------------------------------------


def test_a_part_of_the_chart_is_looked_at_by_itself(client: TestClient, database: Database) -> None:
    batches_of(database)
    signed_in(client, Role.VIEWER)
    page = client.get("/dashboard/?show=rate").text
    assert 'data-brush="/dashboard/?span=day&amp;by=model&amp;show=rate"' in page
    second = NOW_MS // 1000
    part = client.get(f"/dashboard/?span=day&from={second - 60}&to={second + 60}").text
    told = re.search(r'data-step="([^"]*)"', part)
    assert told is not None
    assert told[1] == "2.5"
    assert "3 finished" in part
    assert re.search(r"\d\d:\d\d:\d\d UTC to \d\d:\d\d:\d\d UTC", part)
    before = client.get(f"/dashboard/?span=day&from={second - 600}&to={second - 300}").text
    assert "Nothing has finished in this time." in before
    for odd in (f"from={second}&to={second + 3}", "from=x&to=y", f"from=0&to={second}", "from=9&to=1"):
        assert "last 24 hours" in client.get(f"/dashboard/?{odd}").text


def test_the_balance_is_drawn_by_day_without_gaps() -> None:
    day = 86_400_000
    now_ms = 20_000 * day + 5
    chart = balance_chart([(19_990 * day, 100), (19_993 * day, 40)], now_ms=now_ms)
    (points,) = re.findall(r'<polyline points="([^"]*)"', chart)
    heights = [float(point.partition(",")[2]) for point in points.split(" ")]
    assert len(heights) == 2 * 11, "each day from the first to today, with its start and end"
    assert len(set(heights)) == 2
    assert heights[:6] == [heights[0]] * 6
    assert "Balance by day: 100 at first, 40 now" in chart
    assert "40 credits" in chart
    assert "Nothing happened" in balance_chart([], now_ms=now_ms)


def test_an_accounts_page_and_an_items_time_line(client: TestClient, database: Database) -> None:
    batches_of(database)
    signed_in(client, Role.OWNER)
    assert "Balance over time" in client.get("/dashboard/accounts?account=acme").text
    form = {"agreed": "10", "token": "a", "reason": "the face melts"}
    client.post("/dashboard/items/bat_ended-0/refund", data=form, headers=FROM_SCRIPT)
    page = client.get("/dashboard/items/bat_ended-0").text
    line = page.partition("What happened")[2]
    for word in ("accepted", "submitted", "succeeded", "Afterwards", "10 credits were given back"):
        assert word in line, word


def test_the_strip_of_providers_has_the_tasks_in_flight_and_their_limit(database: Database) -> None:
    books = Books(database, now_ms=NOW_MS)
    books.grant(books.account("acme"), 100)
    books.accept(1, [10] * 5, name="bat_1")
    books.name(books.claim(3))
    pace = {PROVIDER: ProviderPace(in_flight_tasks_max=20)}
    forecaster = Forecaster(DEFAULT_CATALOGUE, pace, unconfirmed_grace_seconds=900)
    look = database.run_reading(
        read_overview, catalogue=DEFAULT_CATALOGUE, forecaster=forecaster, batches_max=6, now_ms=NOW_MS
    )
    assert look.in_flight == {PROVIDER: InFlight(3, 20)}
    assert [batch["batch_id"] for batch in look.recent] == ["bat_1"]


def test_a_search_names_the_batch_of_each_item(client: TestClient, database: Database) -> None:
    batches_of(database)
    page = signed_in(client, Role.VIEWER).get("/dashboard/batches?search=bat_ended-1").text
    found = re.findall(r'<a href="/dashboard/batches/bat_ended" class="clip short" title="([^"]+)"', page)
    assert found == ["bat_ended"]


def test_an_accounts_page_shows_the_next_lots_and_how_many_more_there_are(
    client: TestClient, database: Database
) -> None:
    account_id = database.run_reading(ledger.account_id, "acme")
    had = database.run_reading(ledger.count_lots, account_id, NOW_MS)
    for _ in range(LOTS_SHOWN_MAX + 7 - had):
        database.run(ledger.grant, account_id, 40, now_ms=NOW_MS)
    page = signed_in(client, Role.VIEWER).get("/dashboard/accounts?account=acme").text
    assert "7 more lots, spent later: 280" in page
    assert page.count("Permanent</span>") == LOTS_SHOWN_MAX


def test_a_long_list_leads_to_its_first_last_and_far_pages() -> None:
    shown = page_steps(500, 50_050, 50, lambda page: f"/list?page={page}")
    assert shown is not None
    pages = [int(page) for page in re.findall(r"page=(\d+)", shown)]
    assert sorted(set(pages)) == [1, 400, 490, 499, 501, 510, 600, 1001]
    assert page_steps(1, 50, 50, str) is None


def test_a_quote_is_answered_with_what_changes_alone(client: TestClient) -> None:
    signed_in(client, Role.OPERATOR)
    form = {"text": "a boat", "account": "acme", "model": "sora-2", "token": "t"}
    parts = client.post("/dashboard/batches/new", data=form, headers=FROM_SCRIPT).json()["parts"]
    assert set(parts) == {"options", "quote", "rows"}
    assert "Create for 10 credits" in parts["quote"]
