"""Two `rushes serve` behind a load balancer that takes turns with each request: the pages do not notice.

What a page shows comes from one process, what it asks from the other, and its form goes to the first again.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from rushes.simulator import SimulatorThread
from tests.cli.process import QUICK, Shell
from tests.dashboard.balancer import Balancer, balancing
from tests.dashboard.conftest import SECRET, WAIT_MS, sign_in

expect.set_options(timeout=WAIT_MS)


@contextlib.contextmanager
def two_services(shell: Shell, *second: str) -> Iterator[Balancer]:
    with contextlib.ExitStack() as stack:
        urls = []
        for options in ((), second):
            running = shell.start("serve", "--port", "0", *options)
            stack.callback(running.end)
            stack.callback(running.process.terminate)
            running.wait_until(lambda said: "dashboard at" in said, "it serves")
            found = re.search(r"serving on (http://\S+)", running.stderr())
            assert found is not None
            urls.append(found[1])
        yield stack.enter_context(balancing(*urls))


@pytest.mark.parametrize(("dialect", "second"), [("sqlite", ("--no-worker",)), ("postgresql", ())])
def test_everything_works_behind_a_balancer_that_takes_turns(
    browser: Browser,
    simulator: SimulatorThread,
    new_database_url: Callable[[str], str],
    tmp_path: Path,
    dialect: str,
    second: tuple[str, ...],
) -> None:
    environment = {
        **QUICK,
        "GRSAI_HOST": simulator.base_url,
        "RUSHES_DATABASE_URL": new_database_url(dialect),
        "RUSHES_DASHBOARD_SECRET": SECRET,
        "RUSHES_WEBHOOK_SECRET": "webhook-secret-canary-19ab",
        "RUSHES_ALLOW_PRIVATE_URLS": "1",
    }
    shell = Shell(tmp_path, environment)
    assert shell.run("credits", "grant", "1000", "--account", "acme").code == 0
    context = browser.new_context()
    context.set_default_timeout(WAIT_MS)
    with two_services(shell, *second) as balancer:
        page, other = context.new_page(), context.new_page()
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        dashboard = f"{balancer.url}/dashboard"
        sign_in(page, dashboard)
        _make(page, dashboard)
        _retry(page)
        _pause_and_resume(page, dashboard)
        other.goto(f"{dashboard}/accounts")
        _sign_out(page)
        other.wait_for_url("**/sign-in?next=*")
        first, last = balancer.passed.values()
        assert abs(first - last) <= 1
        assert first > 10
    context.close()
    assert shell.run("audit", "--json").document["ok"]


def _make(page: Page, dashboard: str) -> None:
    page.goto(f"{dashboard}/batches/new")
    page.get_by_label("Prompts, one a line").fill(
        "\n".join(f"a kite over the bay, take {n}" for n in range(16))
    )
    page.get_by_label("Name").fill("in turns")
    page.get_by_role("button", name="Create for 160 credits").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("in turns")
    expect(page.locator(".head")).to_contain_text("16 / 16")  # the stream of changes says so


def _retry(page: Page) -> None:
    page.get_by_role("link", name="Failures").click()
    page.get_by_role("table").get_by_role("button", name="Retry").first.click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile(r"Retry for \d+ credits")).click()
    expect(page.get_by_text(re.compile("waits? to be retried"))).to_be_visible()


def _pause_and_resume(page: Page, dashboard: str) -> None:
    page.goto(f"{dashboard}/")
    page.get_by_role("button", name="Pause… grsai").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("its invoice is open")
    page.keyboard.press("Enter")
    expect(page.locator(".chip", has_text="Paused")).to_be_visible()
    expect(page.get_by_text("its invoice is open").first).to_be_visible()
    page.get_by_role("button", name="Resume… grsai").click()
    page.get_by_role("dialog").locator("[data-submit]").click()
    expect(page.locator(".chip", has_text="Paused")).to_have_count(0)


def _sign_out(page: Page) -> None:
    page.locator("details.who summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
