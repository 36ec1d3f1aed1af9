"""`rushes serve` as a real process with the simulator behind it, and Debian's chromium in front of it."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from rushes.simulator import SimulatorThread, running_simulator
from tests.api.harness import Tenant
from tests.cli.process import QUICK, Ended, Shell
from tests.harness import knobs

SECRET = "operator-secret-canary-4c1e"
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
WAIT_MS = 30_000
CHROMIUM = shutil.which("chromium")
CHROMIUM_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Serving:
    """A running service."""

    shell: Shell
    url: str
    said: Callable[[], str]
    tenants: list[Tenant] = field(default_factory=list)

    @property
    def dashboard(self) -> str:
        """Where the pages are."""
        return f"{self.url}/dashboard"

    def command(self, *arguments: str) -> Ended:
        """A command, in a thread of its own: playwright has this one's event loop."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self.shell.call, *arguments).result()

    def tenant(self, account: str, *, credits: int = 5000) -> Tenant:
        """An account with credits and a key."""
        if credits:
            self.command("credits", "grant", str(credits), "--account", account)
        made = self.command(
            "keys", "create", "--account", account, "--rate-limit-per-min", "0", "--json"
        ).document
        tenant = Tenant(self.url, account, made["key"])
        self.tenants.append(tenant)
        return tenant


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    """Slow enough to be watched; a quarter of the tasks fails."""
    with running_simulator(knobs(render_seconds=1.5, error=0.25, seed=11)) as running:
        yield running


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, simulator: SimulatorThread) -> Iterator[Serving]:
    """The service with its dashboard."""
    shell = Shell(
        tmp_path_factory.mktemp("dashboard"),
        {
            **QUICK,
            "GRSAI_HOST": simulator.base_url,
            "RUSHES_DASHBOARD_SECRET": SECRET,
            "RUSHES_WEBHOOK_SECRET": "webhook-secret-canary-19ab",
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
        },
    )
    running = shell.start("serve", "--port", "0")
    try:
        running.wait_until(lambda said: "dashboard at" in said, "it serves")
        found = re.search(r"serving on (http://\S+)", running.stderr())
        assert found is not None
        serving = Serving(shell, found[1], running.stderr)
        yield serving
        for tenant in serving.tenants:
            tenant.http.close()
        running.process.terminate()
        ended = running.end()
        assert ended.code == 0, ended.stderr
        assert "Traceback" not in ended.stderr, ended.stderr
        assert SECRET not in ended.stderr
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium, no longer than the module: its driver keeps an event loop running.

    Without it the test is skipped, which on a CI server is a failure.
    """
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no chromium, and CI must run the dashboard's tests")
        pytest.skip("there is no chromium: `apt-get install chromium`")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_OPTIONS))
        yield running
        running.close()


OpenContext = Callable[..., contextlib.AbstractContextManager[BrowserContext]]


@pytest.fixture(scope="module")
def open_context(browser: Browser, serving: Serving) -> OpenContext:
    """Opens contexts of the browser that are signed in, and sees that nothing is loaded from elsewhere."""

    first = browser.new_context()
    page = first.new_page()
    page.set_default_timeout(WAIT_MS)
    sign_in(page, serving.dashboard)
    session = first.storage_state()
    first.close()

    @contextlib.contextmanager
    def opened(**options: object) -> Iterator[BrowserContext]:
        context = browser.new_context(storage_state=session, **options)  # type: ignore[arg-type]
        context.set_default_timeout(WAIT_MS)
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        yield context
        context.close()
        elsewhere = [url for url in asked if not url.startswith((serving.url, "data:", "http://127.0.0.1"))]
        assert elsewhere == []

    return opened


@pytest.fixture
def page(open_context: OpenContext) -> Iterator[Page]:
    """A signed-in page of a desktop. It must have no error of a script."""
    with open_context(viewport={"width": 1280, "height": 900}) as context:
        opened = context.new_page()
        errors: list[str] = []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        yield opened
        assert errors == []


def sign_in(page: Page, dashboard: str) -> None:
    """Sign in by keyboard alone."""
    page.goto(f"{dashboard}/")
    page.wait_for_url("**/sign-in")
    page.wait_for_function("document.activeElement.id === 'secret'")
    page.keyboard.type(SECRET)
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Overview')")
